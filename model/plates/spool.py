"""Propagated trimaps between the two passes: one lossless file a frame.

A file is one line with the sha256 of all that follows, one line of JSON, and the pixels of the
trimap, its confidence and its hint through zlib. It lives no longer than its job, but may outlive a
crash, so it is believed only if the sum is right.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import astuple
from pathlib import Path

import numpy as np

from model.plates.atomic import write_bytes
from model.plates.plate import Trimap, Window

_FASTEST = 1


def write_trimap_spool(path: str | Path, trimap: Trimap) -> None:
    """Write a trimap with its window, confidence, hint and source, in one step.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    said = {
        "shape": list(trimap.pixels.shape),
        "window": None if trimap.window is None else list(astuple(trimap.window)),
        "source": trimap.source,
        "confidence": trimap.confidence is not None,
        "hint": trimap.hint is not None,
    }
    more = [plane for plane in (trimap.confidence, trimap.hint) if plane is not None]
    pixels = b"".join(plane.tobytes() for plane in (trimap.pixels, *more))
    body = json.dumps(said).encode() + b"\n" + zlib.compress(pixels, _FASTEST)
    write_bytes(Path(path), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def read_trimap_spool(path: str | Path) -> Trimap:
    """Read what `write_trimap_spool` wrote, to the bit.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is cut short, spoiled or not ours; it is to be computed again.
    """
    body = _body(path)
    if body is None:
        raise ValueError(f"{path} is not a whole spooled trimap")
    line, _, packed = body.partition(b"\n")
    said = json.loads(line)
    pixels = bytearray(zlib.decompress(packed))  # so that the arrays can be written to
    planes = np.frombuffer(pixels, np.uint8).reshape(-1, *said["shape"])
    return Trimap(
        pixels=planes[0],
        window=None if said["window"] is None else Window(*said["window"]),
        source=said["source"],
        confidence=planes[1] if said["confidence"] else None,
        hint=planes[-2:] if said["hint"] else None,
    )


def is_whole_trimap_spool(path: str | Path) -> bool:
    """Whether `read_trimap_spool` would read it."""
    try:
        return _body(path) is not None
    except OSError:
        return False


def _body(path: str | Path) -> bytes | None:
    """What follows the sum; None if that is another one."""
    digest, _, body = Path(path).read_bytes().partition(b"\n")
    return body if hashlib.sha256(body).hexdigest().encode() == digest else None
