"""Small pictures in panels: thumbnails of trimaps, and the colours of the strip of confidence."""

from __future__ import annotations

from pathlib import Path

import bpy.utils.previews

_SHADES = 12
_SIDE = 16
_WORST = 0.35  # doubt that is as red as it gets

_found = None


def thumbnail(path: str) -> int:
    """The icon of a trimap's file, of its present state; 0 if there is none."""
    file = Path(path) if path else None
    if file is None or not file.is_file():
        return 0
    name = f"{path} {file.stat().st_mtime_ns}"
    held = _previews()
    if name not in held:
        held.load(name, path, "IMAGE")
    return held[name].icon_id


def colour_of(doubt: float) -> int:
    """The icon of a doubt 0…1: green is sure, red is not."""
    shade = min(round(doubt / _WORST * (_SHADES - 1)), _SHADES - 1)
    held = _previews()
    name = f"doubt {shade}"
    if name not in held:
        share = shade / (_SHADES - 1)
        colour = (min(2 * share, 1.0) * 0.85, min(2 - 2 * share, 1.0) * 0.7, 0.1, 1.0)
        made = held.new(name)
        made.icon_size = (_SIDE, _SIDE)
        made.icon_pixels_float = colour * (_SIDE * _SIDE)
    return held[name].icon_id


def end() -> None:
    """Give them back to Blender, which counts them."""
    global _found
    if _found is not None:
        bpy.utils.previews.remove(_found)
        _found = None


def _previews():
    global _found
    if _found is None:
        _found = bpy.utils.previews.new()
    return _found
