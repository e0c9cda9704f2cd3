"""Classes of foregrounds, easy, medium and hard, by which a data set can be chosen.

The published tool has the option, for "classes of foreground images/videos to be used", and does
nothing with it; no list of classes was ever published. Here a class comes from the first of these
that tells it: a classes file, with lines ``NAME+class``; the fourth column of the pair list; the
foreground's own alpha. Measured, it is the share of what is there that is partly transparent:

    share = pixels with 0.02 < α < 0.98  ÷  pixels with α > 0.02

below 0.1 easy (solid things, trimmed hair), from 0.4 on hard (strands, smoke, glass, lace), medium
in between. Of footage, up to five frames from all over it count together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from model.errors import InputError
from training.composing.layout_frames import Codes, alpha_of, open_frames
from training.composing.pair_list import CLASSES, lines_of, read_text

LIMITS = (0.1, 0.4)
_EDGES = (0.02, 0.98)
_LOOKED_AT = 5


def read_classes(path: Path) -> Mapping[str, str]:
    """Class by the foreground's name, from a file with lines ``NAME+class``.

    Raises:
        InputError: ``input.classes``: it cannot be read or tells of nothing, a line has no class,
            or two disagree.
    """
    hint = f"a line is NAME+class, and the class one of {', '.join(CLASSES)}"
    try:
        lines = lines_of(read_text(path))
    except OSError as error:
        raise InputError(
            "input.classes", f"the classes file {path} cannot be read: {error.strerror}", hint=hint
        ) from error
    if not lines:
        raise InputError("input.classes", f"the classes file {path} tells no class", hint=hint)
    found: dict[str, str] = {}
    for number, line in lines:
        name, _, level = line.rpartition("+")
        if not name or level not in CLASSES:
            raise InputError(
                "input.classes",
                f"line {number} of {path} tells no class: {line}",
                hint=hint,
            )
        if found.setdefault(name, level) != level:
            raise InputError(
                "input.classes",
                f"line {number} of {path} says {level} of {name}, a line before {found[name]}",
                hint="tell each foreground's class once",
            )
    return found


def measured_class(path: Path) -> tuple[str, float]:
    """Class and share of an alpha: a picture, a movie or a folder of pictures.

    Raises:
        InputError: it cannot be read.
    """
    frames = open_frames(path)
    try:
        count = min(frames.count, _LOOKED_AT)
        places = np.linspace(0, frames.count - 1, count).round().astype(int)
        share = partial_share(alpha_of(frames.read(int(i)), path) for i in places)
    finally:
        frames.close()
    return class_of(share), share


def class_of(share: float) -> str:
    return CLASSES[sum(share >= limit for limit in LIMITS)]


def partial_share(alphas: Iterable[Codes]) -> float:
    """See the module; 0 where nothing is there."""
    partial = there = 0
    for alpha in alphas:
        most = np.iinfo(alpha.dtype).max
        seen = alpha > _EDGES[0] * most
        there += int(seen.sum())
        partial += int((seen & (alpha < _EDGES[1] * most)).sum())
    return partial / there if there else 0.0
