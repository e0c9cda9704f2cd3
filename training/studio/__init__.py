"""A studio's own plates and finished mattes, brought in as training clips (`dvm-train footage`)."""
