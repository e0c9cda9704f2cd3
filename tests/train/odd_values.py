"""Files with values that our own writer refuses to write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio


def write_matte(path: Path, alpha: np.ndarray) -> None:
    """An EXR with the one channel A, float, as it is: NaN and infinities too."""
    height, width = alpha.shape
    spec = oiio.ImageSpec(width, height, 1, "float")
    spec.channelnames = ("A",)
    path.parent.mkdir(parents=True, exist_ok=True)
    out = oiio.ImageOutput.create("plain.exr")
    assert out.open(str(path), spec)
    assert out.write_image(np.ascontiguousarray(alpha[..., None], np.float32))
    assert out.close()
