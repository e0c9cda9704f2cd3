"""Plate and trimap in, matte out. Knows no wire, no server and no training."""
