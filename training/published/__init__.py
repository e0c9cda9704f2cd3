"""The published training: its losses, beginnings and judgement, for both matting networks."""
