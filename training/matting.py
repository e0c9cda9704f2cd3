"""The stage that teaches `st_fam_s`: what it is shown, what it is asked, how it is judged.

A step shows a batch of six-frame crops. All frames are encoded once; two neighbouring frames are
the centres of two windows, so that the change between them can be asked for as well. Now and then a
window ends at the centre, as at the ends of a shot, or looks back only, as in causal use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.errors import SetupError
from model.networks.frame_encoder import frame_planes
from model.networks.st_fam_s import SURE, Answer, Encoding, StFamS
from training import losses
from training.loop.recipe_file import table_of, tables_of
from training.loop.recipe_values import FLAG, SHARE, kinds_of, kinds_of_fields, whole
from training.material import read_material
from training.pool import (
    Batch,
    ClipPool,
    Maker,
    PoolConfig,
    Share,
    batch_of,
    elsewhere,
    forked,
)
from training.prior import exact_priors, knows_both, quick_priors
from training.source_clips import MixedClips, SourceClips, Sources, open_sources
from training.source_crops import (
    CROP_KINDS,
    TRIMAP_KINDS,
    crop_of,
    drawing_of,
)
from training.sprites import sprite_library
from training.synthesis import HOLD_OUT_SEED, Synthesis, SynthesisConfig
from training.synthesis_values import SYNTHESIS, synthesis_of

FRAMES = 6  # of a clip
CENTRES = (2, 3)
WINDOWS = [[c, c - 2, c - 1, c + 1, c + 2] for c in CENTRES]  # whole ones, the centre first
LEAK = 0.05
AWAY = (0, 2, 1, 1, 2)  # of a window's frames, the centre first; also where a frame is repeated
WEIGHTS = {
    "squared": 4.0,
    "absolute": 0.5,
    "pyramid": 0.25,
    "gradient": 0.2,
    "temporal": 4.0,
    "confidence": 0.02,
    "shift": 0.1,
}


SIDE = whole(16, step=16)  # of pictures that are taught with: the network halves them four times


class MattingStage:
    """Batches, loss and judgement for `st_fam_s`.

    Args:
        recipe: the whole recipe; this reads ``synthesis``, ``pool``, ``library``, ``loss``,
            ``batch``, ``seed``, and ``alone``: the share of the steps that see no neighbours (1 is
            a stage of stills). Where there is a ``source``, clips are crops of it, and
            ``synthesis_share`` of them synthetic (0 if left out); ``validation`` takes the place of
            the synthetic hold-out.
        material: folder with real material, or None: then everything is procedural.
        device: where crops are made; clips too, unless the pool has processes of its own for it.
    """

    TABLES: Mapping[str, Any] = {
        "": {"alone": SHARE, "quick": FLAG, "synthesis_share": SHARE},
        "synthesis": {**SYNTHESIS, "height": SIDE, "width": SIDE},
        "pool": kinds_of_fields(
            PoolConfig,
            **{name: whole(1) for name in ("size", "fill", "every", "start")},
            crop=SIDE,
        ),
        "library": {"count": whole(1), "workers": whole(), "clumps": whole()},
        "judge": {"clips": whole(1), "sprites": whole(1)},
        "loss": kinds_of(WEIGHTS),
        "clips": {**CROP_KINDS, "load_size": SIDE},
        "trimap": TRIMAP_KINDS,
    }

    @staticmethod
    def check(recipe: Mapping[str, Any]) -> None:
        """What values together may be.

        Raises:
            SetupError: ``setup.bad_recipe``.
        """
        drawing_of(table_of(recipe, "trimap"), "brush")
        if recipe.get("synthesis_share") == 0 and not tables_of(recipe, "source"):
            raise SetupError(
                "setup.bad_recipe",
                "the recipe's synthesis_share is 0, and it has no [source]: no clips are left to "
                "teach with",
                hint="leave synthesis_share out, or write a [source] with its kind and folder",
            )
        config = synthesis_of(recipe)
        if config.frames != FRAMES:
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's synthesis.frames is {config.frames}, and st_fam_s is taught on "
                f"clips of {FRAMES}",
                hint="leave it out",
            )
        pool = PoolConfig(**table_of(recipe, "pool"))
        if pool.size % pool.fill:
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's pool.size is {pool.size}, which is no multiple of its pool.fill "
                f"{pool.fill}",
                hint="clips come into the pool a fill at a time: change one of them",
            )
        size = config.height, config.width
        if pool.crop > min(size) != max(size):
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's pool.crop is {pool.crop}, and its clips are {size[1]}×{size[0]}",
                hint="crops are turned, so they are square: make pool.crop smaller",
            )

    def __init__(self, recipe: Mapping[str, Any], material: Path | None, device: torch.device):
        self.seed = int(recipe.get("seed", 0))
        self.count = int(recipe["batch"])
        self.alone = float(recipe.get("alone", 0.05))
        self.weights = {**WEIGHTS, **recipe.get("loss", {})}
        self.device = device
        config = synthesis_of(recipe)
        library = {"count": 64, "workers": 2, "clumps": 0, **recipe.get("library", {})}
        pool = PoolConfig(**recipe.get("pool", {}))
        made_on = torch.device("cpu") if pool.workers else device
        makers: list[tuple[float, Maker]] = []
        sources = open_sources(recipe)
        if sources is not None:
            makers.append((1.0, self._of_sources(recipe, sources, config, made_on)))
        share = float(recipe.get("synthesis_share", 0.0 if makers else 1.0))
        if share > 0:
            real = read_material(material, "train")
            sprites = sprite_library(
                real, self.seed, library["count"], library["workers"], library["clumps"]
            )
            synthesis = Synthesis(sprites, real.photographs, real.clips, config, made_on)
            makers = [(1 - share, maker) for _, maker in makers]
            makers.append((share, synthesis))
        maker = makers[0][1] if len(makers) == 1 else MixedClips(makers)
        solve = quick_priors if made_on.type == "cuda" or recipe.get("quick") else exact_priors
        self.pool = ClipPool(maker, solve, pool, self.seed, device)
        judged = {"clips": 32, "sprites": 24, **recipe.get("judge", {})}
        validation = open_sources(recipe, "validation")
        if validation is None:
            self._judged = self._hold_out(material, config, judged, library["workers"])
        else:
            makes = self._of_sources(recipe, validation, config, torch.device("cpu"))
            self._judged = self._judge_on(makes, judged["clips"], library["workers"])
        found = ("source", sources), ("validation", validation)
        self.described = {name: one.described for name, one in found if one is not None}

    @staticmethod
    def _of_sources(
        recipe: Mapping[str, Any], sources: Sources, config: SynthesisConfig, device: torch.device
    ) -> SourceClips:
        """Clips like synthetic ones in size: crops of the sources' frames, up to twice as wide."""
        least = min(config.height, config.width)
        sides = least, least * 3 // 2, least * 2
        crop = crop_of(table_of(recipe, "clips"), config.height, config.width, sides)
        drawing = drawing_of(table_of(recipe, "trimap"), "brush")
        return SourceClips(sources, FRAMES, crop, drawing, device)

    def take_share(self, share: Share) -> None:
        """Be one of several processes: see a part of each batch alone."""
        self.pool.share = share

    def batches(self, first_step: int) -> Iterator[Batch]:
        """From a step on; the same for the same step."""
        step = first_step
        while True:
            yield self.pool.batch(step, self.count)
            step += 1

    def loss(self, network: StFamS, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, and its parts before weighing."""
        windows = self._windows(batch.step)
        answer, centres = answers(network, batch, windows)
        pairs = len(centres)
        alpha = bounded(answer.alpha)
        truth = torch.cat([batch.alpha[:, c] for c in centres])
        unknown = torch.cat([batch.trimap[:, c] == 0.5 for c in centres])
        prior = torch.cat([batch.prior[:, c] for c in centres])
        parts = still_losses(alpha, answer.logit, truth, unknown)
        if pairs == 2:
            first, second = alpha.chunk(2)
            before, after = truth.chunk(2)
            region = torch.logical_or(*unknown.chunk(2))
            parts["temporal"] = losses.temporal((first, second), (before, after), region)
        if len(answer.shifts):
            parts["shift"] = shift_loss(answer.shifts, batch, windows, network.finest)
        total = sum(
            (self.weights[name] * part for name, part in parts.items()), truth.new_zeros(())
        )
        parts["of the prior"] = losses.squared(prior, truth, unknown)
        return total, {name: part.detach() for name, part in parts.items()}

    def _windows(self, step: int) -> list[list[int]]:
        """Frame numbers of each centre's window, the centre first."""
        rng = np.random.default_rng((self.seed, 2, step))
        draw = rng.random()
        if draw < self.alone:
            # Any two frames: none of a clip is left unused, and no two are much alike.
            return [[int(c)] for c in rng.permutation(FRAMES)[: len(CENTRES)]]
        draw = (draw - self.alone) / (1 - self.alone)
        if draw < 0.1:
            return [[c, c - 2, c - 1] for c in CENTRES]
        if draw < 0.2:
            return [[c, c - 2, c - 1, c, c] for c in CENTRES]
        return WINDOWS

    def _hold_out(
        self,
        material: Path | None,
        config: SynthesisConfig,
        judged: Mapping[str, int],
        workers: int,
    ) -> list[Batch]:
        """Clips of sprites, photographs and shots that are never taught with."""
        real = read_material(material, "held_out")
        sprites = sprite_library(real, HOLD_OUT_SEED, judged["sprites"], workers)
        synthesis = Synthesis(sprites, real.photographs, real.clips, config, "cpu")
        return self._judge_on(synthesis, judged["clips"], workers)

    def _judge_on(self, maker: Maker, count: int, workers: int) -> list[Batch]:
        numbers = range(count)
        make = partial(_judged_clip, maker)
        if workers <= 1:
            return [_on(make(number), self.device) for number in numbers]
        with forked(make, workers) as pool:
            return [_on(one, self.device) for one in pool.map(elsewhere, numbers)]

    @torch.no_grad()
    def validate(self, network: StFamS) -> dict[str, float]:
        """Mean over the held-out clips: MSE ×10³ and the pairs' dtSSD in the unknown region, of the
        network, of it with the centre frame alone, and of the prior. ``score`` is the network's MSE
        over the prior's plus its dtSSD over the prior's: lower is better."""
        rows = []
        for batch in self._judged:
            for i in range(len(batch.linear)):
                one = batch_of([planes[i : i + 1] for planes in _planes(batch)], 0)
                full, _ = answers(network, one, WINDOWS)
                alone, _ = answers(network, one, [[c] for c in CENTRES])
                prior = torch.cat([one.prior[:, c] for c in CENTRES])
                rows.append(
                    [
                        _judge(one, a)
                        for a in (full.alpha.clamp(0, 1), alone.alpha.clamp(0, 1), prior)
                    ]
                )
        figures = torch.tensor(rows).mean(0)
        names = ("network", "window 1", "prior")
        found = {f"MSE {n}": float(f[0]) for n, f in zip(names, figures, strict=True)}
        found |= {f"dtSSD {n}": float(f[1]) for n, f in zip(names, figures, strict=True)}
        found["score"] = (
            found["MSE network"] / found["MSE prior"]
            + found["dtSSD network"] / found["dtSSD prior"]
        )
        return found

    @torch.no_grad()
    def pictures(self, network: StFamS) -> dict[str, np.ndarray[Any, Any]]:
        """A held-out sheet: picture, trimap, truth, prior, ours; uint8 H×W×3."""
        rows = []
        for batch in self._judged:
            one = batch_of([planes[:1] for planes in _planes(batch)], 0)
            full, _ = answers(network, one, WINDOWS)
            known = one.trimap[:, 2] != 0.5
            ours = torch.where(known, one.trimap[:, 2], full.alpha[:1].clamp(0, 1))
            grey = [one.trimap[:, 2], one.alpha[:, 2], one.prior[:, 2], ours]
            tiles = [one.picture[:, 2], *(g.expand(-1, 3, -1, -1) for g in grey)]
            rows.append(torch.cat(tiles, 3)[0])
        sheet = torch.cat(rows, 1).permute(1, 2, 0).float().clamp(0, 1)
        return {"held out": (sheet * 255).round().byte().cpu().numpy()}


def _judged_clip(maker: Maker, number: int) -> Batch:
    """The prior of every other one is solved at half the size, as larger plates have it."""
    clips = maker.clips(HOLD_OUT_SEED + number, 1)
    frames = clips.light.shape[1]
    prior = exact_priors(
        clips.light.flatten(0, 1),
        clips.trimap.flatten(0, 1),
        clips.linear.repeat_interleave(frames),
        [1 + number % 2] * frames,
    )
    both = knows_both(clips.trimap)
    prior = prior.view_as(clips.alpha)
    return Batch(clips.picture, clips.alpha, prior, clips.trimap, both, clips.linear, 0)


def _on(batch: Batch, device: torch.device) -> Batch:
    return batch_of([planes.to(device) for planes in _planes(batch)], batch.step)


def answers(
    network: StFamS,
    batch: Batch,
    windows: Sequence[Sequence[int]],
    away: Sequence[int] = AWAY,
) -> tuple[Answer, list[int]]:
    """Encode each frame that is needed once, then all windows as one batch.

    Args:
        windows: frames of each window, its centre first; all of one length.
        away: how far each of a window's frames is from its centre; longer than a window it may be.

    Returns:
        The answer for all centres, centre after centre (len(windows)·N pictures), and the centres.
    """
    needed = sorted({frame for window in windows for frame in window})
    n = len(batch.linear)
    linear = batch.linear.float()[:, None, None, None].expand_as(batch.prior[:, 0])
    planes = torch.cat(
        [
            frame_planes(
                batch.picture[:, f],
                batch.trimap[:, f],
                batch.prior[:, f],
                batch.both[:, f].float()[:, None, None, None].expand_as(linear),
                linear,
            )
            for f in needed
        ]
    )
    encoded = network.encode(planes)
    place = {frame: i for i, frame in enumerate(needed)}

    def gathered(frames: Sequence[int]) -> Encoding:
        def pick(x: Tensor) -> Tensor:
            return torch.cat([x[place[f] * n : (place[f] + 1) * n] for f in frames])

        return Encoding(
            pick(encoded.planes),
            pick(encoded.prior),
            pick(encoded.added_whole),
            tuple(map(pick, encoded.maps)),
            tuple(map(pick, encoded.narrowed)),
        )

    by_place = [gathered(frames) for frames in zip(*windows, strict=True)]
    return network.decode(by_place, 0, away[: len(by_place)]), [window[0] for window in windows]


def bounded(alpha: Tensor) -> Tensor:
    """Clamped to 0…1, with a little slope outside: what is clamped in use is hardly an error, but
    must find its way back."""
    inside = alpha.clamp(0, 1)
    return inside + LEAK * (alpha - inside)


def still_losses(alpha: Tensor, logit: Tensor, truth: Tensor, unknown: Tensor) -> dict[str, Tensor]:
    """What is asked of each picture by itself, before it is weighed by `WEIGHTS`.

    Args:
        alpha: `bounded`, N×1×H×W as all.
        logit: of the confidence.
        truth, unknown: see `training.losses`.
    """
    return {
        "squared": losses.squared(alpha, truth, unknown),
        "absolute": losses.absolute(alpha, truth, unknown),
        "pyramid": losses.pyramid(alpha, truth, unknown),
        "gradient": losses.gradient(alpha, truth, unknown),
        "confidence": losses.confidence(logit, alpha, truth, unknown, SURE),
    }


def shift_loss(
    shifts: Tensor, batch: Batch, windows: Sequence[Sequence[int]], scale: int
) -> Tensor:
    """How unlike the pictures look after the shifts, at 1/``scale``: no truth is needed, and the
    background counts too. The neighbours come one after the other, each for all centres."""
    from model.networks.alignment import warp

    small = torch.nn.functional.avg_pool2d(batch.picture.flatten(0, 1), scale)
    small = small.view(*batch.picture.shape[:2], *small.shape[1:])
    others = list(zip(*windows, strict=True))[1:]
    centre = torch.cat([small[:, window[0]] for window in windows])
    neighbours = torch.cat([torch.cat([small[:, f] for f in frames]) for frames in others])
    moved = warp(neighbours, shifts)
    return (moved - centre.repeat(len(others), 1, 1, 1)).abs().mean()


def _planes(batch: Batch) -> tuple[Tensor, ...]:
    return batch.picture, batch.alpha, batch.prior, batch.trimap, batch.both, batch.linear


def _judge(batch: Batch, alpha: Tensor) -> list[float]:
    truth = torch.cat([batch.alpha[:, c] for c in CENTRES])
    unknown = torch.cat([batch.trimap[:, c] == 0.5 for c in CENTRES])
    error = torch.where(unknown, alpha - truth, 0.0)
    change = losses.within((error[1:] - error[:1]).square(), unknown[1:] | unknown[:1])
    return [1e3 * float(losses.squared(alpha, truth, unknown)), 100 * float(change.sqrt())]
