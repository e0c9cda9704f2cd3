"""One shot teaches the networks: low-rank deltas of their weights, held out and bounded."""
