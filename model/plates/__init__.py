"""Plates, trimaps and mattes as files: OpenImageIO, OCIO and numpy. No torch."""
