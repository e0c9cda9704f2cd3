"""Where the flow that MESSDdt follows comes from: an item's own, or looked for on its plates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from model.classical.flow import luminance, motion
from model.errors import InputError
from training.judging.datasets import Item, Judged
from training.judging.flow_files import Flow
from training.judging.kept import Kept, key_of, sources_digest
from training.judging.views import shown

COMPUTED = "DIS flow of the plates"


@dataclass(frozen=True)
class Flows:
    """Flow between neighbouring frames of one item.

    Attributes:
        source: what it is, as tables say it.
        between: float32 H×W×2, x and y, from the first frame number given to the second.
    """

    source: str
    between: Callable[[int, int], Flow]


def flows_of(item: Item, frames: Mapping[int, Judged], kept: Kept) -> Flows:
    """The item's own flow if it has any, else DIS flow of its encoded plates.

    DIS flow counts as known everywhere. What `Flows.between` raises: InputError, ``input.flow``, if
    the item's own flow lacks a pair, or is of another size.
    """
    if item.flow is None:
        return Flows(COMPUTED, lambda now, after: _computed(item, frames, now, after, kept))
    given = item.flow

    def between(now: int, after: int) -> Flow:
        flow = given(now, after)
        size = frames[now].truth.shape
        if flow is None or flow.shape[:2] != size:
            wrong = (
                "is missing" if flow is None else f"is {flow.shape[1]}×{flow.shape[0]} pixels large"
            )
            raise InputError(
                "input.flow",
                f"the flow of {item.name} from frame {now} to {after} {wrong}",
                frame=now,
                hint=f"the plate has {size[1]}×{size[0]} pixels; without any flow files it is "
                "looked for on the plates",
            )
        return flow

    return Flows(item.flow_source, between)


def _computed(item: Item, frames: Mapping[int, Judged], now: int, after: int, kept: Kept) -> Flow:
    first, second = (luminance(shown(item, frames[n])) for n in (now, after))
    code = sources_digest("model/classical/flow.py")
    arrays = kept.arrays(
        key_of("flow", code, first, second), lambda: {"flow": motion(first, second).forth}
    )
    return np.asarray(arrays["flow"], np.float32)
