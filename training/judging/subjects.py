"""What is judged: networks by name and checkpoint, run by the engine that mattes shots.

`Observed` stands between the engine and a matting network: it keeps the priors, which are reported
beside the network's own answer, and it can narrow the window, to learn what the window is worth.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.checkpoint import read_record, sha256_of_file
from model.engine import EngineOptions
from model.errors import SetupError
from model.exposure import ExposureMap
from model.face import Estimate, Frame, MattingNetwork
from model.passes import blocks, spans
from model.pipeline import ENGINE_VERSION, ShotMatte
from model.plates.hint import placed_hint
from model.plates.plate import Trimap
from model.plates.trimap import place_trimap
from model.registry import NETWORKS, NetworkEntry, checkpoint_path, find, open_network
from model.view import LightView
from training.judging.datasets import Alpha, Item, Judged
from training.judging.kept import Kept, key_of, sources_digest
from training.judging.resized import Resized, at_most, published

WINDOWS = (1, 3, 5)
FLOW = "trimap_flow"
_ENGINE = (
    "model/classical",
    "model/pipeline.py",
    "model/carry.py",
    "model/tiles.py",
    "model/blend.py",
    "model/trimap_classes.py",
    "model/waiting.py",
    "model/plates/hint.py",
)
_LEARNED = ("model/networks", "cuda_ops")


@dataclass(frozen=True)
class Matte:
    """Of one frame, each array float32 H×W over the plate's data window, 0…1."""

    alpha: Alpha
    confidence: Alpha
    prior: Alpha
    prior_confidence: Alpha


@dataclass(frozen=True)
class Subject:
    """A network that is judged.

    Attributes:
        label: in tables.
        entry: of the registry.
        checkpoint: its path; "" if it learns nothing.
        digest: sha256 of the checkpoint; "" without one.
        exposure: the map it was trained with.
        network: opened.
        window: frames of the window that it sees, 1, 3 or 5; the rest repeat the nearest of them.
        way: how frames are brought to it; "" = whole and at their size.
        tile: side of the engine's tiles; 0 = as the engine chooses.
    """

    label: str
    entry: NetworkEntry
    checkpoint: str
    digest: str
    exposure: ExposureMap
    network: Any
    window: int = 5
    way: str = ""
    tile: int = 0

    @property
    def prior_label(self) -> str:
        return f"prior of {self.entry.name}" + (f", {self.way}" if self.way else "")


def open_subjects(
    names: Sequence[str],
    checkpoints: Sequence[str],
    windows: Sequence[int],
    device: torch.device,
) -> tuple[Subject, ...]:
    """Open what is to be judged, matting networks first.

    A checkpoint says in its record which network it belongs to. A network that is named has the
    shipped one, if it needs any, and stands beside checkpoints of its own; one that comes without
    weights has those checkpoints alone. With neither, it is the best matting network that is
    installed.

    Raises:
        SetupError: an unknown network, a missing or foreign checkpoint.
    """
    brought = [(_entry(read_record(Path(path)).network), path) for path in checkpoints]
    own = {entry.name for entry, _ in brought}
    named = [_entry(name) for name in (names if names or checkpoints else ("",))]
    asked = [(entry, "") for entry in named if entry.weights or entry.name not in own] + brought
    opened = []
    for (entry, checkpoint), label in zip(asked, _labels(asked), strict=True):
        opened += _open(entry, checkpoint, windows, device, label)
    return tuple(sorted(opened, key=lambda one: one.entry.kind != "matting"))


def _labels(asked: Sequence[tuple[NetworkEntry, str]]) -> list[str]:
    """The network's name; with its checkpoint's where it comes more than once, and with the folder
    of that where those are called alike, as the last ones of several runs are."""
    paths = [Path(checkpoint or entry.weights) for entry, checkpoint in asked]
    plain = [entry.name for entry, _ in asked]
    stems = [f"{name} ({path.stem})" for name, path in zip(plain, paths, strict=True)]
    places = [
        f"{name} ({path.parent.absolute().name}/{path.stem})" if checkpoint else f"{name} (shipped)"
        for name, path, (_, checkpoint) in zip(plain, paths, asked, strict=True)
    ]
    levels = (plain, stems, places, [f"{place} {i}" for i, place in enumerate(places, 1)])
    return [
        next((level[i] for level in levels if level.count(level[i]) == 1), levels[-1][i])
        for i in range(len(asked))
    ]


def brought_by(
    subject: Subject, mode: str, *, tile: int, most: int, published_resize: bool
) -> Subject:
    """The same network, run in another way.

    Args:
        subject: any; networks that carry trimaps stay as they are.
        mode: ``whole``, ``tiled`` (the engine's tiles of side ``tile``) or ``resized`` (the longer
            side is at most ``most``).
        tile: see mode.
        most: see mode.
        published_resize: as the CVPR 2021 network's own test does it: the size is cut to a multiple
            of 32, by nearest neighbour both ways.

    Raises:
        SetupError: ``setup.published_resize`` for another network.
    """
    if subject.entry.kind != "matting":
        return subject
    if published_resize:
        if subject.entry.name != "st_fam_r50":
            raise SetupError(
                "setup.published_resize",
                f"--published-resize is how st_fam_r50 was published, not {subject.entry.name}",
                hint="leave it out, or judge checkpoints of st_fam_r50 alone",
            )
        way, network = "published resize", Resized(subject.network, published, nearest=True)
        return replace(subject, network=network, way=way, label=f"{subject.label}, {way}")
    if mode == "tiled":
        way = f"tiles of {tile}"
        return replace(subject, tile=tile, way=way, label=f"{subject.label}, {way}")
    if mode == "resized":
        way, network = f"at most {most}", Resized(subject.network, at_most(most))
        return replace(subject, network=network, way=way, label=f"{subject.label}, {way}")
    return subject


def _entry(name: str) -> NetworkEntry:
    kinds = {entry.name: entry.kind for entry in NETWORKS}
    if name and name not in kinds:
        raise SetupError(
            "setup.unknown_network",
            f"there is no network called {name!r}",
            hint=f"use one of: {', '.join(kinds)}",
        )
    return find(name, kinds.get(name, "matting"))


def _open(
    entry: NetworkEntry,
    checkpoint: str,
    windows: Sequence[int],
    device: torch.device,
    label: str,
) -> list[Subject]:
    path = checkpoint_path(entry, checkpoint)
    network = open_network(entry, checkpoint, device)
    first = Subject(
        label,
        entry,
        "" if path is None else str(path),
        "" if path is None else sha256_of_file(path),
        ExposureMap() if path is None else read_record(path).exposure,
        network,
    )
    if entry.kind != "matting" or network.reach == 0:
        return [first]
    return [
        replace(first, window=window, label=label if window == 5 else f"{label}, window {window}")
        for window in windows
    ]


class Observed:
    """A matting network for the engine, as `model.face.MattingNetwork`.

    Priors are solved once a frame and kept; ``decode`` gives the network the middle ``window``
    frames of the window alone, the outer places filled with the outermost of those.
    """

    def __init__(self, network: MattingNetwork, window: int, solve: Callable[[Frame], Estimate]):
        self.needs_both, self.causal = network.needs_both, network.causal
        self.tiles_itself = network.tiles_itself
        self.reach, self.halo, self.multiple = network.reach, network.halo, network.multiple
        self._network, self._side, self._solve = network, window // 2, solve
        self.priors: dict[int, Estimate] = {}

    def prior(self, frame: Frame) -> Estimate:
        if frame.number not in self.priors:
            self.priors[frame.number] = self._solve(frame)
        return self.priors[frame.number]

    def encode(self, frame: Frame, prior: Estimate) -> Any:
        return self._network.encode(frame, prior)

    def decode(self, window: Sequence[Any], centre: int, side: int = 0) -> Estimate:
        near = [
            window[centre + max(min(i - centre, self._side), -self._side)]
            for i in range(len(window))
        ]
        return self._network.decode(near, centre, side)


def run_matting(
    subject: Subject,
    item: Item,
    frames: Mapping[int, Judged],
    trimaps: Mapping[int, Trimap],
    wanted: Sequence[int],
    device: torch.device,
    kept: Kept,
) -> dict[int, Matte]:
    """The mattes of an item's frames, each from its window, as the engine makes them.

    Args:
        frames: all frames of the item: windows reach beyond what is wanted.
        trimaps: one for every frame.
        wanted: which mattes.
        kept: where priors and mattes are looked for first.

    Raises:
        EngineError: as the engine does.
    """
    view = LightView("", item.light, subject.exposure, device)
    digests = {n: _digest(f, trimaps[n], item.light) for n, f in frames.items()}
    way = (subject.way,) if subject.way else ()
    identity = (
        ENGINE_VERSION, subject.entry.name, subject.digest, subject.window, str(device), *way
    )  # fmt: skip
    found: dict[int, Matte] = {}
    order = tuple(frames)
    keys = {}
    for place, n in enumerate(order):
        around = [order[min(max(place + d, 0), len(order) - 1)] for d in range(-2, 3)]
        read = [digests[one] for one in (around if subject.network.reach else (n,))]
        keys[n] = key_of("matte", _code(subject), identity, read)
    for n in wanted:
        arrays = kept.find(keys[n])
        if arrays is not None:
            found[n] = Matte(**arrays)
    network = Observed(subject.network, subject.window, _kept_prior(subject, kept, device))
    engine = _engine(network, subject, view, device)
    missing = set(wanted) - set(found)
    for block in blocks(order):
        part = [n for n in block.frames if n in missing]
        for matte in engine.matte(
            block, order, part, lambda n: frames[n].plate, lambda n: trimaps[n], _never
        ):
            prior = network.priors[matte.frame]
            assert matte.alpha is not None and matte.confidence is not None
            inside = _data_window(frames[matte.frame], prior)
            one = Matte(matte.alpha, matte.confidence, inside[0], inside[1])
            kept.keep(keys[matte.frame], vars(one))
            found[matte.frame] = one
    return {n: found[n] for n in wanted}


def _digest(frame: Judged, trimap: Trimap, light: str) -> str:
    """Of all that a matte's window reads of one frame."""
    plate = frame.plate
    return key_of(plate.pixels, plate.header.colourspace, trimap.pixels, trimap.hint, light)


def _data_window(frame: Judged, prior: Estimate) -> tuple[Alpha, Alpha]:
    """The prior over the plate's data window; it was solved on the canvas, display and data
    windows together."""
    header = frame.plate.header
    canvas = header.display_window.union(header.data_window)
    where = header.data_window.inside(canvas)
    alpha, confidence = (
        np.ascontiguousarray(x[0, 0][where].cpu().numpy(), np.float32)
        for x in (prior.alpha, prior.confidence)
    )
    return alpha, confidence


def alphas_of(subject: Subject, mattes: Mapping[int, Matte]) -> dict[str, dict[int, Alpha]]:
    """By method, as in tables, the prior first; then by frame number."""
    return {
        subject.prior_label: {n: matte.prior for n, matte in mattes.items()},
        subject.label: {n: matte.alpha for n, matte in mattes.items()},
    }


def run_propagation(
    subject: Subject,
    item: Item,
    frames: Mapping[int, Judged],
    keyframes: Sequence[int],
    device: torch.device,
    kept: Kept,
) -> dict[int, Trimap]:
    """The trimaps of the frames between keyframes that have their given trimap.

    Raises:
        EngineError: as the engine does.
    """
    order = tuple(frames)
    identity = (ENGINE_VERSION, subject.entry.name, subject.digest, tuple(keyframes), str(device))
    plates = [
        key_of(f.plate.pixels, f.plate.header.colourspace, f.classes) for f in frames.values()
    ]
    key = key_of("carried", _code(subject), identity, item.light, plates)

    def compute() -> Mapping[str, npt.NDArray[Any]]:
        view = LightView("", item.light, subject.exposure, device)
        matting = open_network(find("closed_form", "matting"), "", device)
        engine = ShotMatte(matting, subject.network, view, EngineOptions(), {})
        painted = {n: replace(frames[n].trimap, source="painted") for n in keyframes}
        found: dict[str, npt.NDArray[Any]] = {}
        for span in spans(order, keyframes):
            with tempfile.TemporaryDirectory() as scratch:
                for n, trimap in engine.propagate(
                    span,
                    lambda n: frames[n].plate,
                    lambda n: frames[n].plate.header,
                    painted,
                    Path(scratch),
                    _never,
                ):
                    found[f"{n} trimap"] = place_trimap(trimap, frames[n].plate.header)
                    sure = Trimap(_present(trimap.confidence), trimap.window)
                    found[f"{n} confidence"] = place_trimap(sure, frames[n].plate.header)
                    hint = placed_hint(trimap, frames[n].plate.header)
                    if hint is not None:
                        found[f"{n} hint"] = hint
        return found

    arrays = kept.arrays(key, compute)
    return {
        n: Trimap(
            arrays[f"{n} trimap"],
            frames[n].plate.header.data_window,
            "propagated",
            arrays[f"{n} confidence"],
            hint=arrays.get(f"{n} hint"),
        )
        for n in order
        if f"{n} trimap" in arrays
    }


def _kept_prior(subject: Subject, kept: Kept, device: torch.device) -> Callable[[Frame], Estimate]:
    """The network's prior, which belongs to its code and not to its checkpoint."""
    module = subject.entry.factory.partition(":")[0].replace(".", "/")
    code = sources_digest("model/classical", f"{module}.py")

    def solve(frame: Frame) -> Estimate:
        assert frame.trimap is not None
        planes = [frame.light, frame.trimap]
        if frame.hint is not None:
            planes += [frame.hint.alpha, frame.hint.weight]
        seen = (*(plane.cpu().numpy() for plane in planes), frame.composited_in)
        way = [subject.way] if isinstance(subject.network, Resized) else []
        key = key_of("prior", ENGINE_VERSION, code, subject.entry.name, str(device), *way, *seen)

        def compute() -> Mapping[str, npt.NDArray[Any]]:
            estimate = subject.network.prior(frame)
            return {
                "alpha": estimate.alpha.cpu().numpy(),
                "confidence": estimate.confidence.cpu().numpy(),
            }

        arrays = kept.arrays(key, compute)
        return Estimate(*(torch.from_numpy(arrays[n]).to(device) for n in ("alpha", "confidence")))

    return solve


def _engine(
    network: Observed, subject: Subject, view: LightView, device: torch.device
) -> ShotMatte:
    propagation = open_network(find(FLOW, "propagation"), "", device)
    options = EngineOptions(precision="float32", tile=subject.tile, layers=("alpha", "confidence"))
    return ShotMatte(network, propagation, view, options, {"network": subject.entry.name})


def _code(subject: Subject) -> str:
    """Of all that makes its mattes or trimaps; what learns nothing is not made by the networks."""
    learned = subject.entry.factory.startswith("model.networks.")
    resized = ("training/judging/resized.py",) if isinstance(subject.network, Resized) else ()
    return sources_digest(*_ENGINE, *(_LEARNED if learned else ()), *resized)


def _never() -> bool:
    return False


def _present(confidence: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.uint8]:
    assert confidence is not None
    return confidence
