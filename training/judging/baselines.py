"""What learns nothing and is not ours: the figures that a network has to beat in the same run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model.classical.flow import luminance, motion, warp
from model.errors import CapacityError, SetupError
from model.plates.plate import Trimap
from training.judging.chained_flow import chained
from training.judging.datasets import Alpha, Item, Judged
from training.judging.kept import Kept, key_of
from training.judging.metrics import unknown_region
from training.judging.views import in_light, shown

HALF = "0.5"
GUIDED = "guided filter"
PYMATTING = "pymatting"
ENCODED = "pymatting, encoded"
KNN = "pymatting KNN"
AVERAGED = "flow-averaged pymatting"
CHAINED = "chained DIS flow"
# By the name that --baselines knows them by.
BASELINES = {
    "guided-filter": GUIDED,
    "closed-form": PYMATTING,
    "knn": KNN,
    "flow-averaged": AVERAGED,
    "chained-flow": CHAINED,
}
CHEAP = ("guided-filter", "closed-form", "flow-averaged", "chained-flow")
OF_PYMATTING = ("closed-form", "knn", "flow-averaged")
MATTES = (HALF, GUIDED, PYMATTING, ENCODED, KNN, AVERAGED)  # in columns' order
SAYS = {
    HALF: "the trimap itself, one half where it is unknown",
    GUIDED: "the trimap, filtered along the edges of the frame's luminance (radius 10, ε 1e-4)",
    PYMATTING: "closed form, with its defaults",
    KNN: "KNN matting, with its defaults",
    AVERAGED: "the mean of pymatting's closed form and of that of the frames before and after, "
    "brought here by DIS flow of the plates",
    CHAINED: "the keyframe's trimap, carried from frame to frame by DIS flow alone",
}
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
    return np.where(unknown_region(classes), 0.5, classes / 255).astype(np.float32)


def guided_filter(
    light: Alpha, classes: npt.NDArray[np.uint8], *, radius: int = 10, epsilon: float = 1e-4
) -> Alpha:
    """The trimap, filtered along the edges of the frame's luminance, known pixels put back.

    Source: K. He, J. Sun, X. Tang, "Guided Image Filtering", ECCV 2010.

    Args:
        light: H×W×3; its mean, clipped to 0…1, is the guide.
        classes: the trimap, uint8 H×W, 0 / 128 / 255.
        radius: of the filter's square windows.
        epsilon: its regularisation.

    Returns:
        float32 H×W, 0…1.
    """

    def mean(image: Alpha) -> Alpha:
        return np.asarray(cv2.blur(image, (2 * radius + 1, 2 * radius + 1)), np.float32)

    guide, target = light.clip(0, 1).mean(2), half(classes)
    covariance = mean(guide * target) - mean(guide) * mean(target)
    slope = covariance / (mean(guide * guide) - mean(guide) ** 2 + epsilon)
    offset = mean(target) - slope * mean(guide)
    filtered = (mean(slope) * guide + mean(offset)).clip(0, 1)
    return np.where(unknown_region(classes), filtered, target).astype(np.float32)


def guided(item: Item, frames: Mapping[int, Judged], number: int) -> Alpha:
    """`guided_filter` of one frame, in the light the item is composited in."""
    judged = frames[number]
    return guided_filter(_seen(item, judged, encoded=False), judged.classes)


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

    def solve(seen: Alpha, known: Alpha) -> npt.NDArray[np.float64]:
        from pymatting.alpha.estimate_alpha_cf import estimate_alpha_cf

        return np.asarray(estimate_alpha_cf(seen.astype(np.float64), known.astype(np.float64)))

    return _of_pymatting(PYMATTING, solve, item, frames[number], kept, encoded=encoded)


def knn_of_pymatting(
    item: Item, frames: Mapping[int, Judged], number: int, kept: Kept
) -> tuple[Alpha, bool]:
    """pymatting's KNN matting of one frame, with its defaults; as `closed_form_of_pymatting`.

    It takes up to a minute for a frame of half a million pixels.

    Raises:
        SetupError: ``setup.no_pymatting``.
        CapacityError: ``capacity.knn`` if its solver does not converge.
    """

    def solve(seen: Alpha, known: Alpha) -> npt.NDArray[np.float64]:
        from pymatting.alpha.estimate_alpha_knn import estimate_alpha_knn

        try:
            found = estimate_alpha_knn(seen.astype(np.float64), known.astype(np.float64))
        except ValueError as error:
            if "did not converge" not in str(error):
                raise
            raise CapacityError(
                "capacity.knn",
                f"pymatting's KNN matting of {item.name} does not converge in frame {number}",
                frame=number,
                hint="leave the baseline knn out for this item",
            ) from error
        return np.asarray(found)

    return _of_pymatting(KNN, solve, item, frames[number], kept, encoded=False)


def flow_averaged(
    item: Item, frames: Mapping[int, Judged], number: int, kept: Kept
) -> tuple[Alpha, bool]:
    """The coherence that warping alone gives: pymatting's closed form of a frame, averaged with its
    neighbours', which DIS flow of the encoded plates brings here. Known pixels stay known.

    Returns:
        As `closed_form_of_pymatting`; whether it refused any of the frames.
    """
    order = list(item.frames)
    place = order.index(number)
    around = [order[i] for i in (place - 1, place + 1) if 0 <= i < len(order)]
    alpha, refused = closed_form_of_pymatting(item, frames, number, kept, encoded=False)
    here = luminance(_seen(item, frames[number], encoded=True))
    total = alpha.astype(np.float64)
    for other in around:
        theirs, too = closed_form_of_pymatting(item, frames, other, kept, encoded=False)
        there = luminance(_seen(item, frames[other], encoded=True))
        total += warp(theirs, motion(there, here).back)
        refused = refused or too
    known = half(frames[number].classes)
    mean = total / (1 + len(around))
    return np.where(known == np.float32(0.5), mean, known).astype(np.float32), refused


def chained_trimaps(
    item: Item, frames: Mapping[int, Judged], keyframes: Sequence[int]
) -> dict[int, Trimap]:
    """The keyframes' trimaps carried by `training.judging.chained_flow` to all frames between."""
    order = list(frames)
    pictures = [luminance(_seen(item, frame, encoded=True)) for frame in frames.values()]
    painted = {order.index(n): frames[n].classes for n in keyframes}
    return {
        order[i]: Trimap(pixels, frames[order[i]].plate.header.data_window, "propagated")
        for i, pixels in chained(pictures, painted).items()
    }


def _of_pymatting(
    name: str,
    solve: Callable[[Alpha, Alpha], npt.NDArray[np.float64]],
    item: Item,
    judged: Judged,
    kept: Kept,
    *,
    encoded: bool,
) -> tuple[Alpha, bool]:
    """What it answers, kept; and what its equations say where it refuses, which is the one class
    that is known."""
    known = half(judged.classes)
    certain = set(np.unique(known)) - {np.float32(0.5)}
    if len(certain) < 2:
        return np.full_like(known, max(certain, default=0.5)), True
    seen = _seen(item, judged, encoded=encoded)
    key = key_of(name, pymatting_version(), seen, known)

    def compute() -> Mapping[str, npt.NDArray[Any]]:
        return {"alpha": solve(seen, known).astype(np.float32)}

    return kept.arrays(key, compute)["alpha"], False


def _seen(item: Item, judged: Judged, *, encoded: bool) -> Alpha:
    """H×W×3, 0…1, over the plate's data window."""
    return (shown if encoded else in_light)(item, judged).clip(0, 1)
