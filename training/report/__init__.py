"""The report of an evaluation in HTML, and what other pages are built of."""
