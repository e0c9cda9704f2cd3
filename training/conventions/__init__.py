"""Matting metrics as other projects' evaluation code computes them."""
