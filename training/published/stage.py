"""The stage that trains as the published `train.py` does: `st_fam_r50`, and `st_fam_s` too.

A step shows a few frames in a row of one clip for each place in the batch, cropped around what is
unknown; an epoch shows each clip once. The losses are those of `training.published.losses`, weighed
by the recipe; the best weights are those with the least SAD on ``[validation]``.

A clip that a step sees is a function of (recipe, clips, step, place in the batch) alone: a resumed
run goes on as if nothing had been, and processes that share a batch see what one would.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from model.errors import InputError, SetupError
from model.networks.st_fam_s import NAME as ST_FAM_S
from model.networks.st_fam_s import SURE
from training import losses
from training.loop.recipe_file import table_of
from training.loop.recipe_values import FLAG, check_values, kinds_of, one_of, whole
from training.matting import SIDE
from training.pool import COARSE, WHOLE, Share, elsewhere, forked
from training.prior import exact_priors, knows_both, quick_priors
from training.published import losses as published_losses
from training.published.answers import PublishedBatch, Reply, Window, asking
from training.published.judge import PublishedJudge
from training.source_clips import Sources, open_sources
from training.source_crops import (
    CROP_KINDS,
    TRIMAP_KINDS,
    crop_of,
    cropped,
    drawing_of,
    picture_of,
)
from training.sources import ClipFrames

Planes = dict[str, NDArray[Any]]
WEIGHTS = {
    "soft": 1.0,  # of diff and refine, in the unknown region
    "hard": 0.5,  # outside of it
    "diff": 1.0,
    "comp": 0.0,
    "grad": 0.0,
    "kld": 0.0,
    "temp": 0.0,
    "refine": 1.0,
    "confidence": 0.0,  # not published: st_fam_s tells one
}
NORMS = ("learns", "frozen", "first_epoch")
PLAIN_CROP = 320, 320, (320, 480, 640)  # height, width, sides, if a recipe says nothing
_EPOCH, _CLIP = 5, 6  # what random numbers are for
_NEEDED = {
    "source": "clips to teach with",
    "validation": "clips to choose the best weights by",
}


class PublishedStage:
    """Batches, losses and judgement.

    Args:
        recipe: the whole recipe; see `TABLES`. ``norm`` says what BatchNorm does: it ``learns``
            from each clip, is ``frozen``, or learns during the ``first_epoch`` alone, as published:
            there validation freezes it, and nothing thaws it again.
        material: not looked at: everything comes from ``[source]``.
        device: where the network is taught.
    """

    TABLES: Mapping[str, Any] = {
        "": {"workers": whole(), "norm": one_of(*NORMS), "quick": FLAG},
        "clips": {
            **CROP_KINDS,
            **{name: whole() for name in ("shift", "ahead", "max_n_video")},
            "n_frames": whole(1),
        },
        "trimap": TRIMAP_KINDS,
        "loss": kinds_of(WEIGHTS),
        "quirks": dict.fromkeys(("grad_reweighs", "kld_whole_frame", "temp_whole_frame"), FLAG),
        "judge": dict.fromkeys(("max_n_chunk", "max_n_video", "tile"), whole()),
    }

    @staticmethod
    def check(recipe: Mapping[str, Any]) -> None:
        """What values together may be.

        Raises:
            SetupError: ``setup.bad_recipe``.
        """
        clips = table_of(recipe, "clips")
        asking(str(recipe["network"]), table_of(recipe, "network_config"), window_of(clips))
        drawing_of(table_of(recipe, "trimap"), "published")
        if recipe["network"] == ST_FAM_S:
            check_values(clips, {"load_size": SIDE}, "clips")

    def __init__(
        self,
        recipe: Mapping[str, Any],
        material: Path | None,
        device: torch.device,
    ):
        clips = table_of(recipe, "clips")
        self.window = window_of(clips)
        self.asking = asking(
            str(recipe["network"]), table_of(recipe, "network_config"), self.window
        )
        self.seed, self.count = int(recipe.get("seed", 0)), int(recipe["batch"])
        self.weights = {**WEIGHTS, **table_of(recipe, "loss")}
        self.quirks = dict(table_of(recipe, "quirks"))
        self.norm = str(recipe.get("norm", "learns"))
        self.crop = crop_of(clips, *PLAIN_CROP)
        self.drawing = drawing_of(table_of(recipe, "trimap"), "published")
        self.device = device
        self.workers = int(recipe.get("workers", 0))
        solved_here = device.type == "cuda" and not self.workers
        self._solve = quick_priors if solved_here or recipe.get("quick") else exact_priors
        self._solved_on = device if solved_here else torch.device("cpu")
        self.share = WHOLE
        self.sources = shown(opened(recipe, "source"), recipe)
        held_out = opened(recipe, "validation")
        self.judge = PublishedJudge(
            held_out,
            self.window,
            self.asking,
            table_of(recipe, "judge"),
            device,
            first_only=self.drawing.first_only,
        )
        self.described = {
            "source": self.sources.described,
            "validation": held_out.described,
            "clips": [name for _, name in self.sources.entries],
        }

    @property
    def epoch_steps(self) -> int:
        """Steps until each clip has been seen."""
        return steps_of_epoch(self.sources, self.count)

    def take_share(self, share: Share) -> None:
        """Be one of several processes: make only a part of each batch."""
        self.share = share

    def batches(self, first_step: int) -> Iterator[PublishedBatch]:
        """From a step on; the same for the same step."""
        mine = self.share.of(self.count)
        numbers = (
            step * self.count + place for step in itertools.count(first_step) for place in mine
        )
        made = self._made(numbers)
        for step in itertools.count(first_step):
            yield self._batch([next(made) for _ in mine], step)

    def loss(self, network: Any, batch: PublishedBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum, a mean over clips, and its parts before weighing."""
        learned = self.norm == "first_epoch" and batch.step >= self.epoch_steps
        freeze(network, frozen=learned or self.norm == "frozen")
        reply = self.asking.ask(network, batch, self.window)
        parts = [self._losses(reply, batch, i) for i in range(len(batch.linear))]
        means = {name: torch.stack([one[name] for one in parts]).mean() for name in parts[0]}
        total = torch.stack([self.weights[name] * one for name, one in means.items()]).sum()
        return total, {name: one.detach() for name, one in means.items()}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """See `PublishedJudge`."""
        return self.judge.figures(network)

    def pictures(self, network: nn.Module) -> dict[str, NDArray[np.uint8]]:
        """See `PublishedJudge`."""
        return self.judge.pictures(network)

    def make(self, number: int) -> Planes:
        """What the place ``number`` of the run shows: T×C×H×W each. On the CPU."""
        count = len(self.sources.entries)
        epoch, place = divmod(number, count)
        order = np.random.default_rng((self.seed, _EPOCH, epoch)).permutation(count)
        entry = self.sources.entries[int(order[place])]
        rng = np.random.default_rng((self.seed, _CLIP, number))
        spare = max(self.sources.length(entry) - self.window.frames, 0)
        first = int(rng.integers(spare + 1))
        frames = self.sources.read(entry, first, self.window.frames)
        self._check_layers(frames, entry[1])
        found = cropped(frames, self.window.shift, self.crop, self.drawing, rng)
        assert found.trimap is not None
        planes = {
            "light": found.light,
            "picture": picture_of(found),
            "alpha": found.alpha,
            "trimap": found.trimap,
            "linear": torch.tensor(found.linear),
        }
        if self.weights["comp"]:
            assert found.foreground is not None and found.background is not None
            planes |= {"foreground": found.foreground, "background": found.background}
        if self.asking.needs_prior:
            factor = 1 + int(rng.choice(len(COARSE), p=COARSE))
            here, count = self._solved_on, self.window.frames
            linear = planes["linear"].expand(count).to(here)
            light, trimap = found.light.to(here), found.trimap.to(here)
            prior = self._solve(light, trimap, linear, [factor] * count)
            planes["prior"] = prior.cpu()
        return {name: one.contiguous().numpy() for name, one in planes.items()}

    def _made(self, numbers: Iterator[int]) -> Iterator[Planes]:
        """In their order, by processes a few places ahead if the recipe has ``workers``."""
        if not self.workers:
            yield from map(self.make, numbers)
            return
        with forked(self.make, self.workers) as pool:
            ahead: deque[Future[Planes]] = deque()
            for number in numbers:
                ahead.append(pool.submit(elsewhere, number))
                if len(ahead) > 2 * self.workers:
                    yield ahead.popleft().result()

    def _batch(self, clips: Sequence[Planes], step: int) -> PublishedBatch:
        def planes(name: str) -> Tensor:
            if name not in clips[0]:
                return torch.zeros(0, device=self.device)
            return torch.from_numpy(np.stack([one[name] for one in clips])).to(self.device)

        trimap = planes("trimap")
        return PublishedBatch(
            picture=planes("picture"),
            alpha=planes("alpha"),
            prior=planes("prior"),
            trimap=trimap,
            both=knows_both(trimap),
            linear=planes("linear"),
            step=step,
            light=planes("light"),
            foreground=planes("foreground"),
            background=planes("background"),
        )

    def _losses(self, reply: Reply, batch: PublishedBatch, clip: int) -> dict[str, Tensor]:
        """Of one clip; those without a weight are left out."""
        centres, odd, w = self.window.centres, self.quirks, self.weights
        truth, alpha = batch.alpha[clip, centres], reply.coarse[clip]
        unknown = batch.trimap[clip, centres] == 0.5
        about = alpha, truth, unknown
        soft, hard = float(w["soft"]), float(w["hard"])
        found = {"diff": published_losses.difference(*about, soft, hard)}
        if w["comp"]:
            found["comp"] = published_losses.composite(
                alpha,
                batch.light[clip, centres],
                batch.foreground[clip, centres],
                batch.background[clip, centres],
                unknown,
                linear=bool(batch.linear[clip]),
            )
        if w["grad"]:
            found["grad"] = published_losses.gradient(
                *about, reweighs=bool(odd.get("grad_reweighs"))
            )
        if w["kld"]:
            whole = bool(odd.get("kld_whole_frame"))
            found["kld"] = published_losses.divergence(*about, whole=whole, least=reply.least)
        if w["temp"]:
            found["temp"] = published_losses.temporal(
                *about, whole=bool(odd.get("temp_whole_frame"))
            )
        if w["refine"] and reply.alpha is not None:
            found["refine"] = published_losses.difference(
                reply.alpha[clip], truth, unknown, soft, hard
            )
        if w["confidence"] and reply.logit is not None:
            logit = reply.logit[clip]
            found["confidence"] = losses.confidence(logit, alpha, truth, unknown, SURE)
        return found

    def _check_layers(self, frames: ClipFrames, name: str) -> None:
        if not self.weights["comp"]:
            return
        lacking = [k for k in ("foreground", "background") if getattr(frames, k) is None]
        if lacking:
            raise InputError(
                "input.no_layer",
                f"the clip {name} has no {' and no '.join(lacking)}, which the comp loss needs",
                hint="use clips with these layers, or --set loss.comp=0",
            )


def opened(recipe: Mapping[str, Any], table: str) -> Sources:
    """What the recipe's ``[source]`` or ``[validation]`` names.

    Raises:
        SetupError: ``setup.bad_recipe``, also if it has none.
        InputError: as `open_sources`.
    """
    found = open_sources(recipe, table)
    if found is None:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe has no [{table}], {_NEEDED[table]}",
            hint=f"add [{table}] with kind and folder; --{table} FOLDER may give the folder",
        )
    return found


def shown(found: Sources, recipe: Mapping[str, Any]) -> Sources:
    """Those clips of ``[source]`` that an epoch shows.

    Raises:
        SetupError: ``setup.bad_recipe`` if the sources have shares.
    """
    if len(set(found.shares)) > 1:
        raise SetupError(
            "setup.bad_recipe",
            "the stage published shows each clip once an epoch, so its sources have no shares",
            hint="leave share out of [[source]], or use the stage matting",
        )
    most = int(table_of(recipe, "clips").get("max_n_video", 0))
    return replace(found, entries=found.entries[: most or None])


def steps_of_epoch(sources: Sources, count: int) -> int:
    """Steps of ``count`` clips until each clip has been seen."""
    return -(-len(sources.entries) // count)


def window_of(clips: Mapping[str, Any]) -> Window:
    """What the recipe's ``[clips]`` says of it: ``n_frames`` are asked for."""
    return Window(*(int(clips.get(k, v)) for k, v in (("n_frames", 2), ("shift", 2), ("ahead", 0))))


def freeze(network: nn.Module, *, frozen: bool) -> None:
    """BatchNorm uses what it has learned, and learns no more; or each clip's own figures."""
    if network.training == frozen:
        network.train(not frozen)
