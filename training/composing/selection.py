"""Which clips a data set has: a pair list, read or drawn, then kinds, classes and limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.errors import InputError
from training.composing.classes import measured_class, read_classes
from training.composing.layout import Layout, Sources, Trouble
from training.composing.pair_list import KINDS, Pair, clip_name, read_pair_list, readings

MOST_CLIPS = {"image": 4000, "video": 1000}
PER_FOREGROUND = 4
SEED = 2019


@dataclass(frozen=True)
class Request:
    """What somebody wants composed.

    Attributes:
        root: of the layout.
        phase: ``train`` or ``test``.
        pairs: a pair list; None = one drawn from ``seed``.
        numbered: whether lines of ``pairs`` are told by their number; not those of a list that was
            drawn before, so that they are told as when it was.
        seed: of the drawn list, and of every clip.
        per_foreground: backgrounds for each foreground of a drawn list.
        kinds: of foregrounds: ``image``, ``video``.
        classes: of foregrounds; empty = all.
        classes_file: lines ``NAME+class``.
        most: clips of each kind.
        bg_blur: whether backgrounds are blurred.
    """

    root: Path
    phase: str = "train"
    pairs: Path | None = None
    seed: int = SEED
    per_foreground: int = PER_FOREGROUND
    kinds: tuple[str, ...] = KINDS
    classes: tuple[str, ...] = ()
    classes_file: Path | None = None
    most: Mapping[str, int] = field(default_factory=lambda: dict(MOST_CLIPS))
    bg_blur: bool = False
    numbered: bool = True


@dataclass(frozen=True)
class Clip:
    """A clip to be composed.

    Attributes:
        name: see `training.composing.pair_list.clip_name`.
        pair: of the list.
        sources: its files.
        level: the foreground's class; ``""`` if nobody asked and the list does not tell.
        measured: the share that the class was measured by, if it was.
    """

    name: str
    pair: Pair
    sources: Sources
    level: str = ""
    measured: float | None = None


@dataclass(frozen=True)
class Selection:
    """What a request comes to.

    Attributes:
        clips: to be composed, in the list's order.
        troubles: pairs that cannot be.
        notes: one sentence for each choice that left pairs out.
    """

    clips: tuple[Clip, ...]
    troubles: tuple[Trouble, ...]
    notes: tuple[str, ...]


def select(request: Request) -> Selection:
    """Choose clips. Limits count clips that can be composed, and what comes after them in the list
    is not looked at.

    Raises:
        InputError: ``input.no_layout``, ``input.pair_list``, ``input.classes``, or
            ``input.no_pairs`` if nothing at all is left.
    """
    layout = Layout(request.root, request.phase)
    told = read_classes(request.classes_file) if request.classes_file else {}
    clips: list[Clip] = []
    troubles: list[Trouble] = []
    left_out = {"kind": 0, "class": 0, **dict.fromkeys(KINDS, 0)}
    taken = dict.fromkeys(KINDS, 0)
    seen: dict[tuple[str, str, str], str] = {}
    measured: dict[Path, tuple[str, float]] = {}
    for where, located, pair in _located(request, layout):
        if pair is not None and pair.kind not in request.kinds:
            left_out["kind"] += 1
        elif pair is not None and taken[pair.kind] >= request.most[pair.kind]:
            left_out[pair.kind] += 1
        elif isinstance(located, Trouble) or pair is None:
            troubles.append(located if isinstance(located, Trouble) else Trouble(where, ()))
        elif pair.key in seen:
            troubles.append(Trouble(where, (f"{seen[pair.key]} is the same pair",)))
        else:
            seen[pair.key] = where
            try:
                level, share = _class(pair, located, request, told, measured)
            except InputError as error:
                troubles.append(Trouble(where, (error.message,)))
                continue
            if request.classes and level not in request.classes:
                left_out["class"] += 1
                continue
            taken[pair.kind] += 1
            clips.append(Clip(clip_name(pair), pair, located, level, share))
    notes = _notes(request, left_out)
    if not clips and not troubles:
        raise InputError(
            "input.no_pairs",
            f"no pair is left to compose in {request.root}"
            + (f": {'; '.join(notes)}" if notes else ""),
            hint="give other classes, kinds or limits, or a list that has such pairs",
        )
    return Selection(tuple(clips), tuple(troubles), notes)


def draw_pairs(layout: Layout, seed: int, per_foreground: int) -> tuple[Pair, ...]:
    """A pair list for a layout that has none; no training list was ever published.

    As in the published test list, each foreground gets so many backgrounds, and backgrounds are
    dealt like cards: as far as can be, none is used twice before all have been used once. They are
    dealt in rounds, so that a limit cuts off backgrounds and not foregrounds, and so that a list
    with more for each begins like the one with fewer.

    Raises:
        InputError: ``input.no_pairs`` if there are no foregrounds or no backgrounds.
    """
    rng = np.random.default_rng(seed)
    foregrounds = [(kind, name) for kind in KINDS for name in layout.foregrounds(kind)]
    backgrounds = layout.backgrounds()
    if not foregrounds or not backgrounds:
        lacking = "foregrounds" if not foregrounds else "backgrounds"
        raise InputError(
            "input.no_pairs",
            f"{layout.root} has no {lacking} for {layout.phase}",
            hint="see training/README.md, Composing a data set, for where they lie",
        )
    deck: list[str] = []
    hands: dict[tuple[str, str], set[str]] = {one: set() for one in foregrounds}
    pairs = []
    for _ in range(min(per_foreground, len(backgrounds))):
        for (kind, name), hand in hands.items():
            card = next((one for one in deck if one not in hand), None)
            if card is None:  # all that are left are in the hand: a new deck under them
                deck += [backgrounds[i] for i in rng.permutation(len(backgrounds))]
                card = next(one for one in deck if one not in hand)
            deck.remove(card)
            hand.add(card)
            pairs.append(Pair(kind, name, card))
    return tuple(pairs)


Located = tuple[str, Sources | Trouble, Pair | None]


def _located(request: Request, layout: Layout) -> Iterator[Located]:
    """Each line with its files or what is wrong with it, and the pair that it (maybe) means."""
    if request.pairs is None:
        for pair in draw_pairs(layout, request.seed, request.per_foreground):
            yield pair.line, layout.locate(pair), pair
        return
    for number, line in read_pair_list(request.pairs):
        where = f"line {number}, {line}" if request.numbered else line
        meant = readings(line)
        if not meant:
            reason = "it is no pair; a line is kind+foreground+background, the kind image or video"
            yield where, Trouble(where, (reason,)), None
            continue
        places = [(pair, layout.locate(pair)) for pair in meant]
        there = [(pair, place) for pair, place in places if isinstance(place, Sources)]
        if len(there) == 1:
            yield where, there[0][1], there[0][0]
        elif there:
            yield where, Trouble(where, (_ambiguous(pair for pair, _ in there),)), there[0][0]
        else:
            if not request.numbered:  # the pair that was drawn is the one that most is there of
                places = [min(places, key=lambda one: _lacks(one[1]))]
            yield where, _none_there(where, line, places, request.numbered), places[0][0]


def _lacks(place: Sources | Trouble) -> int:
    return len(place.reasons) if isinstance(place, Trouble) else 0


def _none_there(
    where: str,
    line: str,
    places: Sequence[tuple[Pair, Sources | Trouble]],
    numbered: bool,
) -> Trouble:
    pair, place = places[0]
    if not numbered or line.count("+") == pair.line.count("+") == (3 if pair.level else 2):
        assert isinstance(place, Trouble)
        return Trouble(where, place.reasons)
    return Trouble(
        where, (f"its + can be read in {len(places)} ways, and no one names files that are there",)
    )


def _ambiguous(pairs: Iterable[Pair]) -> str:
    ways = " or ".join(f"{pair.foreground!r} over {pair.background!r}" for pair in pairs)
    return f"its + can be read as {ways}; rename one of the files"


def _class(
    pair: Pair,
    sources: Sources,
    request: Request,
    told: Mapping[str, str],
    measured: dict[Path, tuple[str, float]],
) -> tuple[str, float | None]:
    level = told.get(pair.foreground) or pair.level
    if level or not request.classes:
        return level, None
    if sources.alpha not in measured:
        measured[sources.alpha] = measured_class(sources.alpha)
    return measured[sources.alpha]


def _notes(request: Request, left_out: Mapping[str, int]) -> tuple[str, ...]:
    found = []
    if left_out["kind"]:
        found.append(f"{left_out['kind']} pairs are not of the kind asked for")
    if left_out["class"]:
        found.append(f"{left_out['class']} pairs are not {' or '.join(request.classes)}")
    for kind in KINDS:
        if left_out[kind]:
            found.append(
                f"{left_out[kind]} pairs are beyond the limit of {request.most[kind]} clips "
                f"from {kind} foregrounds"
            )
    return tuple(found)
