"""Synthetic clips with exact truth: sprites, how they move, the camera that sees them, trimaps."""
