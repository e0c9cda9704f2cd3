"""Whether suggested keyframes serve better than evenly spaced ones, at equal count.

    python tests/benchmarks/suggested_keyframes.py [--out FILE] [--network NAME] [--clips NAME …]

Each clip has its true trimap at the first frame. To 2, 3 and 4 keyframes in total, the next one is
the frame that `model.suggest` names from what was carried so far; beside that, as many keyframes
spaced evenly: with both ends among them, or in equal steps from the first (0, n/k, 2n/k …), for an
artist may space them either way. Carried as in use: span by span, both ways where there are two
keyframes, blended. Judged are the frames that are no keyframes, by the conventions of
`training.judging.metrics`: certainly wrong, and 1 − recall of the mixed band.

Clips: two dancers of ``shared/data/eval``, 36 frames each, and the synthetic hold-out for
propagation, 8 clips of 24 frames without persons.

Expected before measuring: first measured with suggestions at two thirds of a tail, they lost to
even spacing (.059 % certainly wrong against .020 % with both ends, five synthetic clips). Since
then a frame between two keyframes counts as a quarter as doubtful, which puts the second keyframe
at nine tenths: with two keyframes about equal to both ends, clearly better than equal steps; with
three and four about equal to the better of the two in the mean, single clips either way. Chosen on
seven clips made of training material, none of those judged here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from propagation import CLIPS, SHARED, read_clip

from model.blend import blend
from model.face import Frame, PropagationNetwork
from model.passes import Span, spans
from model.plates.plate import Trimap
from model.registry import find, open_network
from model.suggest import doubt_of, suggest_keyframe
from model.trimap_classes import Classes
from training.judging.metrics import CERTAINLY_WRONG, MIXED_RECALL, trimap_quality
from training.synthesis import Clips, hold_out

MATERIAL = SHARED.parent / "train"
COUNTS = (2, 3, 4)
SUGGESTED, ENDS, STEPS = "suggested", "even, both ends", "even, equal steps"


@dataclass(frozen=True)
class Row:
    """One line of the table; errors are means over the frames that are no keyframes.

    Attributes:
        clip: its name.
        count: of keyframes.
        method: how they were chosen.
        keyframes: counted from 0.
        wrong: convention `CERTAINLY_WRONG`.
        missed: 1 − recall, convention `MIXED_RECALL`.
    """

    clip: str
    count: int
    method: str
    keyframes: tuple[int, ...]
    wrong: float
    missed: float


class Carrier:
    """A clip, carried from any keyframes; spans that were carried before are remembered."""

    def __init__(
        self, name: str, frames: Sequence[Frame], alphas: Sequence[np.ndarray],
        network: PropagationNetwork,
    ):  # fmt: skip
        self.name, self.count = name, len(frames)
        self._frames, self._alphas, self._network = frames, alphas, network
        self._carried: dict[Span, dict[int, Trimap]] = {}

    def carried(self, keyframes: Sequence[int]) -> dict[int, Trimap]:
        """The trimaps of all other frames."""
        found: dict[int, Trimap] = {}
        for span in spans(range(self.count), keyframes):
            if span not in self._carried:
                self._carried[span] = self._carry(span)
            found |= self._carried[span]
        return found

    def row(self, method: str, keyframes: Sequence[int]) -> Row:
        """How good they are."""
        judged = [
            trimap_quality(trimap.pixels, self._alphas[i])
            for i, trimap in self.carried(keyframes).items()
        ]
        return Row(
            self.name,
            len(keyframes),
            method,
            tuple(sorted(keyframes)),
            wrong=float(np.mean([one.certainly_wrong for one in judged])),
            missed=1 - float(np.mean([one.mixed_recall for one in judged])),
        )

    def _carry(self, span: Span) -> dict[int, Trimap]:
        """As `model.pipeline.ShotMatte.propagate` does it."""
        ways = [
            self._one_way(span, order) if order[0] in span.keyframes else None
            for order in (span.frames, span.frames[::-1])
        ]
        found = {}
        for i in span.wanted:
            position = span.frames.index(i) / (len(span.frames) - 1)
            forward, backward = (None if way is None else way[i] for way in ways)
            pixels, confidence = (x.cpu().numpy() for x in blend(forward, backward, position))
            sure = np.rint(confidence * 255).astype(np.uint8)
            found[i] = Trimap(pixels, None, "propagated", sure)
        return found

    def _one_way(self, span: Span, order: Sequence[int]) -> dict[int, Classes]:
        memory = self._network.start([self._frames[k] for k in span.keyframes], order[0])
        found = {}
        for i in order[1:]:
            if i not in span.keyframes:
                memory, found[i] = self._network.step(memory, self._frames[i])
        return found


def measure(carrier: Carrier) -> list[Row]:
    """All methods on one clip."""
    last = carrier.count - 1
    rows = [carrier.row("first frame only", [0])]
    chosen = [0]
    for count in COUNTS:
        doubts = {i: doubt_of(t) for i, t in carrier.carried(chosen).items()}
        suggested = suggest_keyframe(doubts, chosen)
        if suggested is None:
            print(f"{carrier.name}: nothing suggested beyond {chosen}")
        else:
            chosen = sorted([*chosen, suggested])
            rows.append(carrier.row(SUGGESTED, chosen))
        ends = [round(last * i / (count - 1)) for i in range(count)]
        steps = [round(carrier.count * i / count) for i in range(count)]
        rows += [carrier.row(ENDS, ends), carrier.row(STEPS, steps)]
    return rows


def table(rows: Sequence[Row]) -> str:
    """Markdown: each clip, then the mean over clips with the share of the evenly spaced ones'."""
    lines = [
        "| clip | keyframes | chosen | at | certainly wrong % | 1 − recall |",
        "|---|--:|---|---|--:|--:|",
    ]
    for row in rows:
        at = ", ".join(map(str, row.keyframes))
        figures = f"{row.wrong:.4f} | {row.missed:.4f}"
        lines.append(f"| {row.clip} | {row.count} | {row.method} | {at} | {figures} |")
    lines += ["", "| keyframes | chosen | certainly wrong % | 1 − recall |", "|--:|---|--:|--:|"]
    for (count, method), (wrong, missed) in means(rows).items():
        lines.append(f"| {count} | {method} | {wrong:.4f} | {missed:.4f} |")
    return "\n".join(lines)


def means(rows: Sequence[Row]) -> Mapping[tuple[int, str], tuple[float, float]]:
    """Mean errors over the clips, by count and method."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.count, row.method), []).append(row)
    return {
        key: (float(np.mean([r.wrong for r in of])), float(np.mean([r.missed for r in of])))
        for key, of in sorted(found.items())
    }


def filmed(names: Sequence[str], network: PropagationNetwork) -> Iterator[Carrier]:
    """Clips of ``shared/data/eval``, in display light."""
    for name in names:
        if not (SHARED / name / "alpha").is_dir():
            raise SystemExit(f"there is no clip with true alpha at {SHARED / name}")
        clip = read_clip(SHARED / name)
        frames = []
        for i, (picture, levels) in enumerate(zip(clip.pictures, clip.trimaps, strict=True)):
            planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
            planes = planes[None].float() / 255
            trimap = np.select([levels == 0, levels == 255], [0.0, 1.0], 0.5).astype(np.float32)
            frames.append(Frame(i, planes, planes, torch.from_numpy(trimap)[None, None], "display"))
        yield Carrier(name, frames, clip.alphas, network)


def made_up(network: PropagationNetwork, count: int) -> Iterator[Carrier]:
    """The first clips of the synthetic hold-out; procedural if there is no material."""
    material = MATERIAL if MATERIAL.is_dir() else None
    for number, clips in zip(range(count), hold_out("propagation", material), strict=False):
        yield Carrier(
            f"synthetic {number} ({clips.kinds[0]})",
            frames_of(clips),
            [alpha.numpy().astype(np.float64) for alpha in clips.alpha[0, :, 0]],
            network,
        )


def frames_of(clips: Clips) -> list[Frame]:
    """The first clip, each frame with its true trimap."""
    name = "linear" if clips.linear[0] else "display"
    return [
        Frame(i, *(x[:1, i] for x in (clips.light, clips.picture, clips.trimap)), name)
        for i in range(clips.alpha.shape[1])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, help="write the rows as JSON")
    parser.add_argument("--network", default="", help="that carries trimaps; default: as in use")
    parser.add_argument("--clips", nargs="*", default=CLIPS, help="folders of shared/data/eval")
    parser.add_argument("--synthetic", type=int, default=8, help="clips of the hold-out")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    began = time.perf_counter()
    entry = find(options.network, "propagation")
    network = open_network(entry, "", torch.device("cpu"))
    rows: list[Row] = []
    for source in (filmed(options.clips, network), made_up(network, options.synthetic)):
        for carrier in source:
            rows += measure(carrier)
            print(f"{carrier.name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(table(rows))
    conventions = (CERTAINLY_WRONG, MIXED_RECALL)
    print(f"\n{entry.name}\n" + "\n".join(conventions))
    if options.out:
        record = {
            "network": entry.name,
            "conventions": conventions,
            "seconds": time.perf_counter() - began,
            "means": [
                {"count": count, "method": method, "wrong": wrong, "missed": missed}
                for (count, method), (wrong, missed) in means(rows).items()
            ],
            "rows": [asdict(row) for row in rows],
        }
        options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
