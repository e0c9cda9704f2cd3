"""What one evaluation is asked for, what it gathers, and what is handed through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from training.judging.baselines import CHEAP, OF_PYMATTING
from training.judging.datasets import Alpha, Item, Judged
from training.judging.given_mattes import GivenMattes
from training.judging.judgement import OURS, Row
from training.judging.kept import Kept
from training.judging.subjects import Subject
from training.judging.views import View

PLACEMENTS = ("first", "both-ends")
MODES = ("whole", "tiled", "resized")
KNN_PIXELS = 1_000_000
Say = Callable[[str], None]
# By data set and method, then by item: confidences and absolute errors of its unknown pixels.
Errors = dict[tuple[str, str], dict[str, tuple[Alpha, Alpha]]]


@dataclass(frozen=True)
class Request:
    """What is asked for; see the command's options."""

    data: tuple[str, ...]
    out: Path
    networks: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()
    mattes: tuple[str, ...] = ()
    windows: tuple[int, ...] = (5,)
    trimaps: str = "every"
    keyframes: tuple[str, ...] = PLACEMENTS
    items: tuple[str, ...] = ()
    material: Path | None = None
    cache: Path | None = None
    first: int = 0
    every: int = 1
    device: str = "cpu"
    workers: int = 1
    conventions: tuple[str, ...] = ()
    as_published: bool = False
    baselines: tuple[str, ...] = CHEAP
    knn_pixels: int = KNN_PIXELS
    pymatting: bool = True
    carried_mattes: bool = False
    sheets: bool = True
    mode: str = "whole"
    tile: int = 512
    max_side: int = 1600
    published_resize: bool = False

    @property
    def judged_conventions(self) -> tuple[str, ...]:
        """`OURS` first: gates are in it, whatever else is asked for."""
        return tuple(dict.fromkeys((OURS, *self.conventions)))

    @property
    def judged_baselines(self) -> tuple[str, ...]:
        """Without those of pymatting, where that is left out."""
        without = () if self.pymatting else OF_PYMATTING
        return tuple(one for one in self.baselines if one not in without)


@dataclass
class Found:
    """What a run gathers, item after item."""

    mattes: list[Row] = field(default_factory=list)
    carried: list[Row] = field(default_factory=list)
    carried_mattes: list[Row] = field(default_factory=list)
    errors: Errors = field(default_factory=dict)
    views: list[View] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """Handed through: what is asked for, who is judged, where things lie.

    Attributes:
        request: what is asked for.
        subjects: networks that are judged.
        given: folders of mattes that are judged.
        device: where networks run.
        kept: what was computed before.
        say: progress, a line.
        alone: whether a single item is judged.
        found: what is gathered.
    """

    request: Request
    subjects: Sequence[Subject]
    given: Sequence[GivenMattes]
    device: torch.device
    kept: Kept
    say: Say
    alone: bool
    found: Found

    @property
    def matting(self) -> list[Subject]:
        return [one for one in self.subjects if one.entry.kind == "matting"]

    def leave_out(self, what: str) -> None:
        """Say, and write down, that something is not in the figures."""
        self.say(what)
        self.found.left_out.append(what)


def wanted(item: Item, every: int) -> list[int]:
    """All frames, or the first two of every few: errors between neighbours need both."""
    if every <= 1 or not item.moving:
        return list(item.frames)
    return [number for place, number in enumerate(item.frames) if place % every < 2]


Frames = Mapping[int, Judged]
