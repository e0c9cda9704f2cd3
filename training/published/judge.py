"""How weights are judged while the published training goes on: SAD and MSE over the unknown region
of held-out clips, whole frames or tiles, the trimap as the source has it or drawn from alpha.

Convention: the published one. SAD is Σ|p − a| of a frame, alphas 0…1, not in thousands; MSE is
Σ(p − a)² / (pixels + 1); both are means over frames. The score, lower is better, is the SAD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from training.pool import Batch, batch_of
from training.prior import exact_priors, knows_both
from training.published.answers import Asking, Window
from training.source_clips import Sources
from training.source_crops import JUDGED, picture_of, with_trimap

_OVERLAP = 40  # pixels of tiles, as published
_MULTIPLE = 16
_SHOWN, _SHOWN_SIDE = 6, 256  # clips on a sheet, pixels of a tile's height


class PublishedJudge:
    """Judges on the clips of ``[validation]``.

    Args:
        sources: the clips.
        window, asking: how the network is asked.
        table: ``[judge]``: ``max_n_chunk`` runs of asked frames of a clip, counted from its first
            frame (0 = all), ``max_n_video`` clips (0 = all), ``tile``: side of tiles in pixels
            (0 = whole frames).
        device: where the network is.
        first_only: see `training.source_crops.Drawing`.
    """

    def __init__(
        self,
        sources: Sources,
        window: Window,
        asking: Asking,
        table: Mapping[str, Any],
        device: torch.device,
        *,
        first_only: bool = False,
    ):
        self.drawing = replace(JUDGED, first_only=first_only)
        most = int(table.get("max_n_video", 0))
        self.sources = replace(sources, entries=sources.entries[: most or None])
        self.window, self.asking, self.device = window, asking, device
        self.chunks, self.tile = int(table.get("max_n_chunk", 1)), int(table.get("tile", 0))
        self._priors: dict[tuple[str, int], Tensor] = {}

    @torch.no_grad()
    def figures(self, network: nn.Module) -> dict[str, float]:
        """Means over all frames that are asked for: of the network, of its alpha before the
        refining stage if there is one, and of the prior if it has one."""
        rows: dict[str, list[float]] = {}
        for batch in self._chunks(self.chunks):
            coarse, alpha = self._ask(network, batch)
            answers = {"": alpha}
            if not torch.equal(coarse, alpha):
                answers[" before refining"] = coarse
            if self.asking.needs_prior:
                answers[" of the prior"] = batch.prior[:, self.window.centres]
            truth = batch.alpha[:, self.window.centres]
            unknown = batch.trimap[:, self.window.centres] == 0.5
            for name, answer in answers.items():
                error = ((answer - truth) * unknown).flatten(0, 1).flatten(1)
                pixels = unknown.flatten(0, 1).flatten(1).sum(1)
                rows.setdefault(f"SAD{name}", []).extend(error.abs().sum(1).tolist())
                mse = error.square().sum(1) / (pixels + 1)
                rows.setdefault(f"MSE{name}", []).extend(mse.tolist())
        found = {name: float(np.mean(values)) for name, values in rows.items()}
        return {**found, "score": found["SAD"]}

    @torch.no_grad()
    def pictures(self, network: nn.Module) -> dict[str, NDArray[np.uint8]]:
        """A sheet of the first frame asked for of a few clips: picture, trimap, truth, before and
        after refining; uint8 H×W×3."""
        rows = []
        for batch in self._chunks(1):
            coarse, alpha = self._ask(network, batch)
            at = self.window.shift
            greys = [batch.trimap[0, at], batch.alpha[0, at], coarse[0, 0], alpha[0, 0]]
            tiles = [batch.picture[0, at], *(grey.expand(3, -1, -1) for grey in greys)]
            rows.append(_fitted(torch.cat(tiles, 2), len(tiles)))
            if len(rows) == _SHOWN:
                break
        sheet = torch.cat(rows, 1).permute(1, 2, 0).clamp(0, 1)
        return {"held out": np.asarray((sheet * 255).round().byte().cpu())}

    def _chunks(self, most: int) -> Iterator[Batch]:
        """Whole frames of one clip at a time, on the device; at most so many of a clip, 0 = all."""
        asked = self.window.asked
        for entry in self.sources.entries:
            length = self.sources.length(entry)
            last = max(length - asked, 0)
            starts = [*range(0, last, asked), last]
            for start in starts[: most or None]:
                yield self._read(entry, start)

    def _read(self, entry: tuple[int, str], start: int) -> Batch:
        frames = self.sources.read(entry, start - self.window.shift, self.window.frames)
        frames = with_trimap(frames, self.window.shift, self.drawing, np.random.default_rng(0))
        assert frames.trimap is not None
        linear = torch.tensor([frames.linear])
        prior = torch.zeros(0)
        if self.asking.needs_prior:
            key = f"{entry[0]}:{entry[1]}", start
            if key not in self._priors:
                flags = linear.expand(len(frames.alpha))
                self._priors[key] = exact_priors(frames.light, frames.trimap, flags).half()
            prior = self._priors[key].float()
            prior = torch.where(frames.trimap == 0.5, prior, frames.trimap)[None]
        both = knows_both(frames.trimap)[None]
        planes = (picture_of(frames)[None], frames.alpha[None], prior, frames.trimap[None])
        return batch_of([one.to(self.device) for one in (*planes, both, linear)], 0)

    def _ask(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Coarse and final alpha, 1×n×1×H×W, with the trimap where it is certain."""
        trimap = batch.trimap[:, self.window.centres]
        height, width = trimap.shape[-2:]
        if not self.tile or self.tile >= max(height, width):
            found = self._ask_padded(network, batch)
        else:
            found = self._ask_tiles(network, batch)
        coarse, alpha = (
            torch.where(trimap == 0.5, one.float().clamp(0, 1), trimap) for one in found
        )
        return coarse, alpha

    def _ask_tiles(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """Square tiles with unknown pixels; where they overlap, the mean."""
        trimap = batch.trimap[:, self.window.centres]
        height, width = trimap.shape[-2:]
        sums = [torch.zeros_like(trimap), torch.zeros_like(trimap)]
        seen = torch.zeros_like(trimap)
        for top in _starts(height, self.tile):
            for left in _starts(width, self.tile):
                at = (..., slice(top, top + self.tile), slice(left, left + self.tile))
                if not bool((trimap[at] == 0.5).any()):
                    continue
                planes = batch.picture, batch.alpha, batch.prior, batch.trimap
                tiles = [one[at] if len(one) else one for one in planes]
                answer = self._ask_padded(network, batch_of([*tiles, batch.both, batch.linear], 0))
                for total, one in zip(sums, answer, strict=True):
                    total[at] += one.float()
                seen[at] += 1
        coarse, alpha = (total / seen.clamp_min(1) for total in sums)
        return coarse, alpha

    def _ask_padded(self, network: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
        """At a size that every network takes."""
        height, width = batch.picture.shape[-2:]
        margin = (0, -width % _MULTIPLE, 0, -height % _MULTIPLE)

        def pad(planes: Tensor) -> Tensor:
            if not len(planes):
                return planes
            wider = F.pad(planes.flatten(0, 1), margin, mode="replicate")
            return wider.view(*planes.shape[:2], *wider.shape[1:])

        planes = map(pad, (batch.picture, batch.alpha, batch.prior, batch.trimap))
        reply = self.asking.ask(
            network, batch_of([*planes, batch.both, batch.linear], 0), self.window
        )
        here = (..., slice(height), slice(width))
        return reply.coarse[here], reply.final[here]


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along one axis; the last one ends with the frame."""
    last = max(length - side, 0)
    return [*range(0, last, max(side - _OVERLAP, 1)), last]


def _fitted(row: Tensor, tiles: int) -> Tensor:
    """A row of tiles at the sheet's size, whatever the clip's."""
    size = _SHOWN_SIDE, tiles * _SHOWN_SIDE * 3 // 2
    return F.interpolate(row[None], size, mode="area")[0]
