"""Deep Video Matte in Nuke 14 to 17."""
