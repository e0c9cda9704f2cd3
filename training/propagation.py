"""The stage that teaches `trimap_memory_s`: what it is shown, what it is asked, how it is judged.

A step shows a few frames in a row of several clips, cropped, with their keyframes. The network
walks through them as in use: the answers of the last two frames, its own, are what it remembers.

What is asked of a trimap: where alpha is truly mixed (and 2 px around) it must be unknown; further
than a margin from there it must be certain; in between it may be either; and it must never be
certain of the wrong class. The first two are weighed by the size of the mixed band, as in the
metrics they stand for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.classical.working_size import PIXELS
from model.errors import SetupError
from model.networks.memory_guess import CLASSES, CONFIDENCE
from model.networks.memory_keys import Look
from model.networks.trimap_memory_s import RECENT, TrimapMemoryS
from training.judging.carried import CarriedClip, CarriedClips, made
from training.judging.metrics import trimap_quality
from training.loop.recipe_file import table_of, tables_of
from training.loop.recipe_values import kinds_of, kinds_of_fields, number, row, whole
from training.material import read_material
from training.pool import WHOLE, Share
from training.sprites import sprite_library
from training.synthesis import HOLD_OUT_SEED, Synthesis, SynthesisConfig
from training.synthesis_values import SYNTHESIS, synthesis_of

_MANY = 1 << 20  # clips; a run ends before
_BEFORE = 2 + RECENT  # frames of a window that are only remembered: keyframes, frames gone by
_MIXED = 0.02, 0.98
SETTLED = 0.9  # probability from which on a class need not become more certain; a guess has more
_CARRIED = slice(4, 7)  # planes of a guess that the network answers nothing about
GROWN = 2  # px
SIZES = ((272, 480),)  # heights and widths of clips, if a recipe names none
LEVELS = np.array([0, 128, 255], np.uint8)  # of a trimap's classes, as `chosen` numbers them
_WRONG = 0.05  # alpha further than this from a certain class makes it wrong
_LEAST_BAND = 0.01  # of the frame: no band counts as smaller
_NEAR = 24.0  # px of a 640×360 picture around the unknown, where confidence is asked for twice

WEIGHTS = {
    "missed": 6.0,  # mixed, not unknown
    "wide": 1.0,  # unknown, far from mixed
    "wrong": 6.0,  # certain of the wrong class
    "confidence": 1.0,
    "stay": 0.002,  # changing what was right
    "margin": 6.0,  # px of a 640×360 picture; no weight, but tuned with them
}


@dataclass
class Batch:
    """Windows of N clips: two keyframes, the last `RECENT` frames, and then the frames asked for.

    Attributes:
        picture: N×F×3×H×W, 0…1.
        guess: N×F×7×H×W, 0…1, see `model.networks.memory_guess`.
        alpha: N×F×1×H×W, the truth.
        scale: N, on the CPU: the clips' pixels per pixel of a 640×360 picture, before cropping.
        step: of the run.
    """

    picture: Tensor
    guess: Tensor
    alpha: Tensor
    scale: Tensor
    step: int


@dataclass(frozen=True)
class PoolConfig:
    """How clips are made and used.

    Attributes:
        size: the newest clips are used, this many.
        first: so many are made before the first step.
        every: steps from one new clip to the next.
        unroll: frames in a row that are asked for.
        crop: height and width in pixels, multiples of 16.
        workers: processes that make clips; 0 for none but this one.
    """

    size: int = 256
    first: int = 24
    every: float = 4.0
    unroll: int = 4
    crop: tuple[int, int] = (256, 384)
    workers: int = 2


class PropagationPool:
    """The newest clips, each used many times.

    What a step sees is a function of (recipe, step) alone; a resumed run makes the clips again that
    the pool held. A step that is due a clip that is still being made waits for it.
    """

    def __init__(
        self, dataset: CarriedClips, config: PoolConfig, seed: int, device: torch.device
    ) -> None:
        self.dataset, self.config, self.seed, self.device = dataset, config, seed, device
        self.share = WHOLE
        self._held: dict[int, tuple[Tensor, Tensor, Tensor, CarriedClip]] = {}
        self._source: Iterator[CarriedClip] | None = None
        self._next = 0

    def batch(self, step: int, count: int) -> Batch:
        """The batch of a step; steps may only rise."""
        self._keep_up(step)
        rng = np.random.default_rng((self.seed, 1, step))
        windows = [self._window(rng) for _ in range(count)]
        windows = [windows[place] for place in self.share.of(count)]
        picture, guess, alpha, scale = (torch.stack(x) for x in zip(*windows, strict=True))
        return Batch(picture, guess, alpha, scale, step)

    def _keep_up(self, step: int) -> None:
        end = self.config.first + int(step / self.config.every)
        begin = max(0, end - self.config.size)
        if self._source is None:
            self._next = begin
            self._source = made(self.dataset, range(begin, _MANY), self.config.workers)
        while self._next < end:
            clip = next(self._source)
            planes = (clip.picture, clip.guess, clip.alpha)
            picture, guess, alpha = (torch.from_numpy(p).to(self.device) for p in planes)
            self._held[self._next] = (picture, guess, alpha, clip)
            self._next += 1
        for old in [n for n in self._held if n < begin]:
            del self._held[old]

    def _window(self, rng: np.random.Generator) -> tuple[Tensor, ...]:
        """A window of a random clip, cropped, mirrored now and then, its colours changed."""
        first = min(self._held)
        picture, guess, alpha, clip = self._held[first + int(rng.integers(len(self._held)))]
        frames, unroll = len(picture), self.config.unroll
        last = frames - (2 if clip.keyframes[1] else 1)
        begin = int(rng.integers(1, max(2, last - unroll + 2)))
        asked = [min(begin + i, last) for i in range(unroll)]
        recent = [max(0, begin - i) for i in range(RECENT, 0, -1)]
        order = [*clip.keyframes, *recent, *asked]
        cut = _crop(clip.alpha, asked, self.config.crop, rng)
        scale = torch.tensor(math.sqrt(clip.alpha[0].size / PIXELS))
        planes = [x[order][(..., *cut)].float() / 255 for x in (picture, guess, alpha)]
        if rng.random() < 0.5:
            planes = [x.flip(3) for x in planes]
        planes[0] = _recoloured(planes[0], rng)
        return (*planes, scale)


class PropagationStage:
    """Batches, loss and judgement for `trimap_memory_s`.

    Args:
        recipe: the whole recipe; this reads ``synthesis``, ``sizes`` (heights and widths of clips),
            ``library``, ``propagation`` (`PoolConfig`), ``loss``, ``judge``, ``batch``, ``seed``.
        material: folder with real material, or None: then everything is procedural.
        device: where the network is taught; clips are made on the CPU.
    """

    TABLES: Mapping[str, Any] = {
        "": {},
        "synthesis": SYNTHESIS,
        "library": {"count": whole(1), "workers": whole()},
        "propagation": kinds_of_fields(
            PoolConfig,
            **{name: whole(1) for name in ("size", "first", "unroll")},
            every=number(above=True),
            crop=row(whole(16, step=16), 2),
            sizes=row(row(whole(16), 2)),
        ),
        "loss": kinds_of(WEIGHTS),
        "judge": {"clips": whole(1), "frames": whole(2), "sprites": whole(1)},
    }

    @staticmethod
    def check(recipe: Mapping[str, Any]) -> None:
        """What values together may be.

        Raises:
            SetupError: ``setup.bad_recipe``.
        """
        given = [name for name in ("source", "validation") if tables_of(recipe, name)]
        if given:
            raise SetupError(
                "setup.bad_recipe",
                "the stage propagation is taught by synthetic clips alone, and the recipe has a "
                f"[{given[0]}]",
                hint="leave it out; keyed shots are brought in with --material",
            )
        synthesis_of(recipe)
        table = table_of(recipe, "propagation")
        crop = table.get("crop", PoolConfig.crop)
        for size in table.get("sizes", SIZES):
            if size[0] < crop[0] or size[1] < crop[1]:
                raise SetupError(
                    "setup.bad_recipe",
                    f"the recipe's propagation.crop is {list(crop)}, and clips of {list(size)} are "
                    "smaller",
                    hint="make propagation.sizes larger, or crop smaller; heights come first",
                )

    def __init__(self, recipe: Mapping[str, Any], material: Path | None, device: torch.device):
        self.seed = int(recipe.get("seed", 0))
        self.count = int(recipe["batch"])
        self.weights = {**WEIGHTS, **recipe.get("loss", {})}
        self.device = device
        table = dict(recipe.get("propagation", {}))
        sizes = [tuple(size) for size in table.pop("sizes", SIZES)]
        if "crop" in table:
            table["crop"] = tuple(table["crop"])
        config = PoolConfig(**table)
        look = {"framing": "whole", "frames": 10, **recipe.get("synthesis", {})}
        library = {"count": 64, "workers": max(1, config.workers), **recipe.get("library", {})}
        judge = {"clips": 8, "frames": 12, "sprites": 24, **recipe.get("judge", {})}
        taught = _makers(material, "train", self.seed, library, look, sizes)
        self.pool = PropagationPool(CarriedClips(taught, self.seed), config, self.seed, device)
        held_out = {"count": judge["sprites"], "workers": library["workers"]}
        look = {**look, "frames": judge["frames"]}
        judges = _makers(material, "held_out", HOLD_OUT_SEED, held_out, look, sizes[:1])
        dataset = CarriedClips(judges, HOLD_OUT_SEED, judged=True)
        self._judged = list(made(dataset, range(judge["clips"]), config.workers))

    def take_share(self, share: Share) -> None:
        """Be one of several processes: see a part of each batch alone."""
        self.pool.share = share

    def batches(self, first_step: int) -> Iterator[Batch]:
        """From a step on; the same for the same step."""
        step = first_step
        while True:
            yield self.pool.batch(step, self.count)
            step += 1

    def loss(self, network: TrimapMemoryS, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts before weighing."""
        sums: dict[str, Tensor] = {}
        asked = range(_BEFORE, batch.picture.shape[1])
        for i, given in zip(asked, walk(network, batch.picture, batch.guess), strict=True):
            parts = frame_losses(
                given, batch.guess[:, i], batch.alpha[:, i], batch.scale, self.weights["margin"]
            )
            for name, part in parts.items():
                sums[name] = sums.get(name, part.new_zeros(())) + part / len(asked)
        weighted = [w * sums[name] for name, w in self.weights.items() if name in sums]
        total = torch.stack(weighted).sum()
        return total, {name: part.detach() for name, part in sums.items()}

    @torch.no_grad()
    def validate(self, network: TrimapMemoryS) -> dict[str, float]:
        """Means over the held-out clips' frames, carried forward from the first: recall, width and
        per cent certainly wrong of the network and of `trimap_flow`, and how far their confidences
        are from right, as mean squares ×10³. ``score`` is mostly the worst of three ratios, missed
        recall, width and wrong over those of `trimap_flow`: lower is better, and 1 is no better."""
        return judged(network, self._judged, self.device)

    @torch.no_grad()
    def pictures(self, network: TrimapMemoryS) -> dict[str, NDArray[np.uint8]]:
        """The last frame of each held-out clip: picture, truth, `trimap_flow`, ours, confidence;
        uint8 H×W×3."""
        rows = []
        levels = torch.tensor([0, 0.5, 1], device=self.device)
        for clip in self._judged:
            picture, guess, alpha = _window_of(clip, self.device)
            given = list(walk(network, picture, guess))[-1]
            theirs, ours = (levels[x.argmax(1)] for x in (guess[:, -1, CLASSES], given.logits))
            greys = [alpha[0, -1], theirs, ours, given.sure[0].sigmoid()]
            rows.append(torch.cat([picture[0, -1], *(g.expand(3, -1, -1) for g in greys)], 2))
        sheet = torch.cat(rows, 1).permute(1, 2, 0).clamp(0, 1)
        return {"held out": np.asarray((sheet * 255).round().byte().cpu())}


@dataclass(frozen=True)
class Given:
    """One frame's answer: logits of the classes N×3×H×W and of the confidence N×1×H×W, and what of
    the former was added to the guess."""

    logits: Tensor
    sure: Tensor
    added: Tensor


def walk(network: TrimapMemoryS, picture: Tensor, guess: Tensor) -> Iterator[Given]:
    """Answers for all frames of a window but its first, which are remembered; see `Batch`.

    As `model.networks.trimap_memory_s.TrimapMemory` does it, for N windows at once: what is
    remembered of a frame is what was answered for it, and nothing is learned through that.
    """
    n, frames = picture.shape[:2]
    looks = network.look(picture.flatten(0, 1))

    def look(i: int) -> Look:
        def of(x: Tensor) -> Tensor:
            return x.view(n, frames, *x.shape[1:])[:, i]

        return Look(tuple(of(x) for x in looks.maps), of(looks.key))

    kept = [network.keep(look(i), picture[:, i], guess[:, i]) for i in range(_BEFORE)]
    pinned, recent = kept[:2], kept[2:]
    for i in range(_BEFORE, frames):
        answer = network.answer(look(i), picture[:, i], guess[:, i], pinned, recent)
        logits, sure = answer.over(guess[:, i, CLASSES], guess[:, i, CONFIDENCE])
        yield Given(logits, sure, answer.classes)
        own = [logits.detach().softmax(1), sure.detach().sigmoid(), guess[:, i, _CARRIED]]
        kept = [network.keep(look(i), picture[:, i], torch.cat(own, 1))]
        recent = (recent + kept)[-RECENT:]


def frame_losses(
    given: Given, guess: Tensor, alpha: Tensor, scale: Tensor, margin: float
) -> dict[str, Tensor]:
    """What is asked of one answer; see the module and `WEIGHTS`.

    Args:
        given: the answer.
        guess: N×7×H×W, what was answered over.
        alpha: N×1×H×W, the truth.
        scale: N, on the CPU: pixels per pixel of a 640×360 picture.
        margin: how far from the mixed band the unknown may reach, in pixels of a 640×360 picture.
    """
    band = _band(alpha)
    far = 1 - _grown_each(band, margin * scale)
    log = F.log_softmax(given.logits, 1)
    likely = log.exp()
    right_class = torch.where(alpha > 0.5, log[:, 2:], log[:, :1])
    wrong = torch.cat([likely[:, :1] * (alpha > _WRONG), likely[:, 2:] * (alpha < 1 - _WRONG)], 1)
    likely_right = 1 - wrong.sum(1, keepdim=True).clamp_max(1 - 1e-4)
    size = band.flatten(1).sum(1).clamp_min(_LEAST_BAND * band[0].numel())

    def per_band(values: Tensor) -> Tensor:
        return (values.flatten(1).sum(1) / size).mean()

    answer = chosen(given.logits.detach())
    right = is_right(answer, band, alpha).float()
    prior = is_right(chosen(guess[:, CLASSES]), band, alpha).float()
    doubt = F.binary_cross_entropy_with_logits(given.sure, right, reduction="none")
    unknown = torch.maximum((answer == 1).float(), guess[:, 1:2])
    near = _grown_each(unknown, _NEAR * scale)
    return {
        "missed": per_band(_unsettled(log[:, 1:2]) * band),
        "wide": per_band(_unsettled(right_class) * far),
        "wrong": per_band(_unsettled(likely_right.log())),
        "confidence": doubt.mean() + (doubt * near).sum() / near.sum().clamp_min(1),
        "stay": (given.added.square() * prior).mean(),
    }


def _unsettled(log: Tensor) -> Tensor:
    """Cross-entropy, but nothing where the right is likely enough: most of a frame is far from any
    doubt, and would drown the rest by being made more certain still."""
    return torch.where(log.detach().exp() < SETTLED, -log, 0.0)


def chosen(planes: Tensor) -> Tensor:
    """N×1×H×W: 0, 1 or 2, the class of N×3×H×W; as arg-max, which is slow on the CPU."""
    background, unknown, foreground = planes.chunk(3, 1)
    certain = 2 * (foreground > background).long()
    return torch.where(unknown > torch.maximum(background, foreground), 1, certain)


def is_right(answer: Tensor, band: Tensor, alpha: Tensor) -> Tensor:
    """Bool N×1×H×W: unknown, or certain of what is true and not in the mixed band.

    Args:
        answer: N×1×H×W: 0 background, 1 unknown, 2 foreground.
        band: N×1×H×W, 1 where alpha is truly mixed.
        alpha: N×1×H×W.
    """
    certain = torch.where(answer == 2, alpha >= 1 - _WRONG, alpha <= _WRONG)
    return (answer == 1) | (certain & (band == 0))


@torch.no_grad()
def judged(
    network: TrimapMemoryS, clips: Sequence[CarriedClip], device: torch.device
) -> dict[str, float]:
    """See `PropagationStage.validate`."""
    rows: list[tuple[float, ...]] = []
    for clip in clips:
        picture, guess, alpha = _window_of(clip, device)
        frames = range(_BEFORE, picture.shape[1])
        for i, given in zip(frames, walk(network, picture, guess), strict=True):
            truth = alpha[0, i, 0]
            band = _band(truth[None, None])
            if not bool(band.any()):
                continue  # width would be infinite, recall unknown
            row: list[float] = []
            for planes, sure in (
                (given.logits, given.sure.sigmoid()),
                (guess[:, i, CLASSES], guess[:, i, CONFIDENCE]),
            ):
                answer = chosen(planes)
                right = is_right(answer, band, truth).float()
                levels = LEVELS[answer[0, 0].cpu().numpy()]
                found = trimap_quality(levels, truth.double().cpu().numpy())
                row += [found.mixed_recall, found.band_width, found.certainly_wrong]
                row += [1e3 * float((sure - right).square().mean())]
            rows.append(tuple(row))
    means = np.mean(rows, 0)
    names = ("recall", "width", "wrong", "confidence")
    figures = {f"{n} network": float(x) for n, x in zip(names, means[:4], strict=True)}
    figures |= {f"{n} prior": float(x) for n, x in zip(names, means[4:], strict=True)}
    least = 1e-4  # so that a prior without fault does not make every network infinitely worse
    ratios = [
        (1 - means[0] + least) / (1 - means[4] + least),
        means[1] / means[5],
        (means[2] + 100 * least) / (means[6] + 100 * least),
    ]
    figures["score"] = float(0.9 * max(ratios) + 0.1 * np.mean(ratios))
    return figures


def _makers(
    material: Path | None,
    split: str,
    seed: int,
    library: Mapping[str, int],
    look: Mapping[str, Any],
    sizes: Sequence[tuple[int, int]],
) -> list[Synthesis]:
    """One maker of clips for each size, on the CPU, all with the same sprites."""
    real = read_material(material, split)
    sprites = sprite_library(real, seed, library["count"], library["workers"])
    makers = []
    for height, width in sizes:
        config = SynthesisConfig(**{**look, "height": height, "width": width})
        makers.append(Synthesis(sprites, real.photographs, real.clips, config, "cpu"))
    return makers


def _window_of(clip: CarriedClip, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """A whole clip as a window of one, see `Batch`: picture, guess, alpha."""
    order = [*clip.keyframes, *([0] * RECENT), *range(1, len(clip.picture))]
    planes = (clip.picture, clip.guess, clip.alpha)
    picture, guess, alpha = (
        torch.from_numpy(p[order]).to(device).float()[None] / 255 for p in planes
    )
    return picture, guess, alpha


def _crop(
    alpha: NDArray[np.uint8],
    asked: Sequence[int],
    size: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[slice, slice]:
    """Where to cut: around a random pixel of the edge of a frame asked for, if there is one."""
    frame = alpha[asked[int(rng.integers(len(asked)))], 0]
    places = np.argwhere((frame > 5) & (frame < 250))
    draw = rng.random(3)
    cut = []
    for axis, (side, length) in enumerate(zip(size, frame.shape, strict=True)):
        room = length - side
        begin = draw[axis] * room
        if len(places):
            # Anywhere that shows the pixel.
            place = int(places[int(draw[2] * len(places)), axis])
            begin = np.clip(place - side + draw[axis] * side, 0, room)
        cut.append(slice(int(begin), int(begin) + side))
    return cut[0], cut[1]


def _recoloured(picture: Tensor, rng: np.random.Generator) -> Tensor:
    """Another camera: channels changed about, gains, a gamma; the same for all frames."""
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    gains = np.exp(rng.normal(0, 0.12, (3, 1, 1)) + rng.normal(0, 0.15)).astype(np.float32)
    gamma = float(np.exp(rng.normal(0, 0.2)))
    changed = picture[:, order].clamp_min(1e-4) ** gamma
    return (changed * torch.from_numpy(gains).to(picture.device)).clamp(0, 1)


def _band(alpha: Tensor) -> Tensor:
    """N×1×H×W, 1 where alpha is truly mixed, grown; as `training.judging.metrics.mixed_band`."""
    mixed = ((alpha > _MIXED[0]) & (alpha < _MIXED[1])).float()
    return F.max_pool2d(mixed, 2 * GROWN + 1, 1, GROWN)


def _grown_each(region: Tensor, distances: Tensor) -> Tensor:
    """Each picture's region (0 or 1, N×1×H×W) grown by its own distance, in a square."""
    grown = []
    for one, distance in zip(region, distances.tolist(), strict=True):
        reach = max(1, round(distance))
        # Rows, then columns: a square, at a fraction of the cost.
        wide = F.max_pool2d(one, (1, 2 * reach + 1), 1, (0, reach))
        grown.append(F.max_pool2d(wide, (2 * reach + 1, 1), 1, (reach, 0)))
    return torch.stack(grown)
