"""Judging: networks, mattes and trimaps against truth, their priors and the classics."""
