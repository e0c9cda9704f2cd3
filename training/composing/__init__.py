"""The published layout becomes clips, in a folder or as they are read."""
