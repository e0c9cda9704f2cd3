"""What learns nothing and is not ours: the figures that a network has to beat in the same run."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.errors import SetupError
from model.exposure import ExposureMap
from model.plates.plate import Trimap
from model.view import LightView
from training.datasets import Alpha, Item, Judged
from training.kept import Kept, key_of

HALF = "0.5"
PYMATTING = "pymatting"
ENCODED = "pymatting, encoded"
LIGHT = (
    f"{PYMATTING} solves in the light the item is composited in, clipped to 0…1 as it wants; "
    f"{ENCODED}: linear items in the sRGB-encoded picture that networks see"
)
REFUSED = (
    f"{PYMATTING} refuses trimaps without a foreground or without a background; what its equations "
    "say there, the one class that is known, stands in (marked *)"
)


def half(classes: npt.NDArray[np.uint8]) -> Alpha:
    """0.5 wherever the trimap (uint8 H×W, 0 / 128 / 255) does not know; float32 H×W."""
    unknown = (classes > 0) & (classes < 255)
    return np.where(unknown, 0.5, classes / 255).astype(np.float32)


def pymatting_version() -> str:
    """Raises SetupError, ``setup.no_pymatting``, if it is not installed."""
    try:
        return version("pymatting")
    except PackageNotFoundError as error:
        raise SetupError(
            "setup.no_pymatting",
            "the baseline needs pymatting, which is not installed",
            hint="pip install 'deep-video-matte[test]', or leave it out with --no-pymatting",
        ) from error


def closed_form_of_pymatting(
    item: Item, frames: Mapping[int, Judged], number: int, kept: Kept, *, encoded: bool
) -> tuple[Alpha, bool]:
    """pymatting's closed form of one frame, with its default ε and preconditioner.

    Args:
        encoded: solve in the encoded picture, whatever the item is composited in.

    Returns:
        Alpha, float32 H×W over the plate's data window; and whether it refused.

    Raises:
        SetupError: ``setup.no_pymatting``.
    """
    judged = frames[number]
    known = half(judged.classes)
    certain = set(np.unique(known)) - {np.float32(0.5)}
    if len(certain) < 2:
        return np.full_like(known, max(certain, default=0.5)), True
    seen = _seen(item, judged, encoded=encoded)
    key = key_of(PYMATTING, pymatting_version(), seen, known)

    def compute() -> Mapping[str, npt.NDArray[Any]]:
        from pymatting.alpha.estimate_alpha_cf import estimate_alpha_cf

        alpha = estimate_alpha_cf(seen.astype(np.float64), known.astype(np.float64))
        return {"alpha": alpha.astype(np.float32)}

    return kept.arrays(key, compute)["alpha"], False


def _seen(item: Item, judged: Judged, *, encoded: bool) -> Alpha:
    """H×W×3, 0…1, over the plate's data window."""
    view = LightView("", item.light, ExposureMap(), torch.device("cpu"))
    header = judged.plate.header
    trimap = Trimap(judged.classes, header.data_window)
    frame = view.frame(0, judged.plate, header.data_window, trimap)
    planes = frame.picture if encoded else frame.light
    return np.ascontiguousarray(planes[0].permute(1, 2, 0).numpy().clip(0, 1))
