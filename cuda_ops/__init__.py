"""Operators that torch lacks. Each has one public door and a plain-torch specification."""
