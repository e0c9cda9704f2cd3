"""`st_fam_s`: alpha from a frame, its prior, and what its neighbours show.

    picture, trimap, prior of frame t+k          k = −2 … 2, each frame once
              │
        FrameEncoder ──────────── 1   1/2   1/4   1/8   1/16
                                  │    │     │     │     │
                                  │    │     │     narrowed by 1×1
                                  │    │     │     │     │
        Alignment of t+k to t     │    │     │     ◄──── ●   shifts from coarse to fine,
                                  │    │     │     │     │   then deformable convolution
        Fusion over k, over space │    │     │     ●     ●   (older weights: at 1/4 too)
                                  │    │     │     │     │
        Decoder                   ◄─── ◄──── ◄──── ◄──── ●
              │
        residual, confidence's logit             alpha = clamp(prior + residual)

The idea is that of Y. Sun et al., "Deep Video Matting via Spatio-Temporal Alignment and
Aggregation", CVPR 2021: neighbours aligned by deformable convolution at several scales, attention
over time and space, a decoder. The residual on a classical prior, the coarse-to-fine shifts and the
size are ours. Untrained, it answers the prior: the closed form, in which each pixel is joined to
look-alikes as well (`model.classical.coarse_to_fine`).

Tensor names: N frames or windows, K frames of a window, C channels, H×W of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops.maps import filled
from cuda_ops.replay import Replayed
from model.checkpoint import trained_network
from model.classical.clean_plate import evidence
from model.classical.coarse_to_fine import MOST_PIXELS, prior_alpha
from model.classical.data_term import ENOUGH, joined
from model.face import Estimate, Frame
from model.networks.alignment import Alignment
from model.networks.blocks import conv
from model.networks.decoder import Decoder
from model.networks.frame_encoder import BOTH, LINEAR, PRIOR, FrameEncoder, frame_planes
from model.networks.fusion import Fusion
from model.networks.st_fam_s_widened import widened

NAME = "st_fam_s"
REACHES = (1, 3, 3)  # of the matching windows at 1/4, 1/8, 1/16
SCALES = (4, 8, 16)  # a pixel there is so many of the frame's to a side
STOOD_IN = 0.5  # confidence of a prior that they spoke for
MAPS = 5  # of the encoder
SURE = 0.1  # confidence is the probability that alpha is at most this far from the truth


@dataclass(frozen=True)
class Encoding:
    """One frame as the network keeps it while it is in a window.

    Attributes:
        planes: N×9×H×W, what the encoder looked at.
        prior: N×1×H×W.
        added_whole: bool N×1×H×W, where what a residual adds is believed whole, see `StFamS`.
        maps: the encoder's five.
        narrowed: the coarsest of them as they are aligned and fused, finest first.
    """

    planes: Tensor
    prior: Tensor
    added_whole: Tensor
    maps: tuple[Tensor, ...]
    narrowed: tuple[Tensor, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of it in a row."""
        return (self.planes, self.prior, self.added_whole, *self.maps, *self.narrowed)

    @staticmethod
    def of(tensors: Sequence[Tensor], scales: int) -> Encoding:
        """From such a row of a network that aligns so many scales."""
        planes, prior, added_whole, *maps = tensors
        return Encoding(planes, prior, added_whole, tuple(maps[:-scales]), tuple(maps[-scales:]))

    @staticmethod
    def size(scales: int) -> int:
        """How many tensors such a row has."""
        return 3 + MAPS + scales


@dataclass(frozen=True)
class Answer:
    """What the network says about the centre of a window.

    Attributes:
        alpha: float32 N×1×H×W, the prior plus the trusted share of the residual; not clamped.
        logit: float32 N×1×H×W, of the confidence.
        shifts: the neighbours' shifts at the finest scale that is aligned, float32
            (N·(K−1))×2×h×w, for a loss.
    """

    alpha: Tensor
    logit: Tensor
    shifts: Tensor


class StFamS(nn.Module):
    """The network itself. See `StFamSMatting` for its face.

    Args:
        channels: of the encoder at full size, 1/2, 1/4, 1/8, 1/16.
        narrow: of what is aligned and fused, at 1/8 and 1/16, or at 1/4, 1/8 and 1/16.
        guide: of the map that alignment hands from scale to scale.
        trust: share of the residual that is added to the prior. Taught with 1; less is for use,
            where a prior must not be made much worse. In display light, where priors are not as
            good, what makes alpha more is added whole, unless a clean plate or a hint stood in for
            a class that is nowhere certain. Frames whose prior knew nothing get all.
        both_ways: in use, each frame is asked for turned around too, see `StFamSMatting`. What is
            added one way is taken the other: ``trust`` is then for half of either.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 96, 160),
        narrow: Sequence[int] = (48, 64),
        guide: int = 32,
        trust: float = 1.0,
        both_ways: bool = True,
    ):
        super().__init__()
        if not 1 <= len(narrow) <= len(SCALES):
            raise ValueError(f"{len(narrow)} scales cannot be aligned, 1 to {len(SCALES)} can")
        self.config: Mapping[str, Any] = {
            "channels": list(channels),
            "narrow": list(narrow),
            "guide": guide,
            "trust": trust,
            "both_ways": both_ways,
        }
        self.trust, self.both_ways = trust, both_ways
        full, half, quarter, eighth, sixteenth = channels
        wide = (full, half, quarter, eighth, sixteenth)
        self.encoder = FrameEncoder(wide)
        self.aligned = len(narrow)
        deep, reaches = wide[-self.aligned :], REACHES[-self.aligned :]
        self.narrow = nn.ModuleList(conv(a, b, size=1) for a, b in zip(deep, narrow, strict=True))
        self.align = nn.ModuleList(
            Alignment(c, guide, reach) for c, reach in zip(narrow, reaches, strict=True)
        )
        self.fuse = nn.ModuleList(Fusion(b, a) for a, b in zip(deep, narrow, strict=True))
        self.decoder = Decoder(wide)

    @property
    def finest(self) -> int:
        """A pixel of the finest scale that is aligned is so many of the frame's to a side."""
        return SCALES[-self.aligned]

    def taken_over(
        self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """The weights of a network with another config as this one names them; those of scales that
        only the other aligns are left out."""
        narrow = len(config.get("narrow", self.config["narrow"]))
        found = {}
        for name, tensor in tensors.items():
            box, _, rest = name.partition(".")
            if box in ("narrow", "align", "fuse"):
                place, _, inner = rest.partition(".")
                kept = int(place) - narrow + self.aligned
                if kept < 0:
                    continue
                name = f"{box}.{kept}.{inner}"
            found[name] = tensor
        return found

    def encode(self, planes: Tensor) -> Encoding:
        """N×9×H×W, H and W multiples of 16; see `frame_planes`."""
        prior = planes[:, PRIOR : PRIOR + 1].float() + 0.5
        display = planes[:, LINEAR : LINEAR + 1] == 0
        device, dtype = planes.device.type, self.encoder.stem.weight.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)  # convolutions would make it that each time
        if self.encoder.stem.weight.shape[1] != planes.shape[1]:
            planes = filled(planes)  # as weights were
        planes = planes.to(dtype, memory_format=torch.channels_last)
        maps = self.encoder(planes)
        narrowed = [narrow(x) for narrow, x in zip(self.narrow, maps[-self.aligned :], strict=True)]
        return Encoding(planes, prior, display, tuple(maps), tuple(narrowed))

    def decode(
        self, window: Sequence[Encoding], centre: int, away: Sequence[int] | None = None
    ) -> Answer:
        """The centre of a window of up to five frames, each of N pictures.

        Args:
            away: how many frames each is from the centre, up to 2; None = as they stand.
        """
        middle, others, order = _centred(window, centre, away)
        apart = torch.tensor(order, device=middle.planes.device)
        return self.answer(middle, others, apart)

    def answer(self, middle: Encoding, others: Sequence[Sequence[Tensor]], apart: Tensor) -> Answer:
        """The centre of a window, by what its neighbours' narrowed maps show.

        Args:
            apart: int64, how far from the centre it and they are, 0…2.
        """
        n = len(middle.planes)
        fused: list[Tensor] = []
        shifts = middle.planes.new_zeros(0, 2, 1, 1)
        coarser = None
        for scale in range(self.aligned - 1, -1, -1):
            own = middle.narrowed[scale]
            stack = own[:, None]
            if others:
                neighbours = torch.cat([one[scale] for one in others])
                aligned, coarser = self.align[scale](
                    neighbours, own.repeat(len(others), 1, 1, 1), coarser
                )
                shifts = coarser[1]
                aligned = aligned.view(len(others), n, *own.shape[1:]).transpose(0, 1)
                stack = torch.cat([stack, aligned.to(own.dtype)], 1)
            wide = middle.maps[scale - self.aligned]
            fused.append(self.fuse[scale](wide, own, stack, apart))
        maps = [*middle.maps[: -self.aligned], *reversed(fused)]
        found = self.decoder(maps, middle.planes)
        return Answer(middle.prior + self._trusted(found[:, :1], middle), found[:, 1:2], shifts)

    def _trusted(self, residual: Tensor, frame: Encoding) -> Tensor:
        """What of a residual, N×1×H×W, is believed; see ``trust``."""
        knew = frame.planes[:, BOTH : BOTH + 1].float()
        doubtful = torch.where(frame.added_whole, residual.clamp_max(0), residual)
        return residual - (1 - self.trust) * knew * doubtful


class StFamSMatting:
    """The face of `model.face.MattingNetwork`.

    Matting does not care which of two layers is called the foreground: with the trimap turned
    around, alpha must become 1 − alpha. The network is taught both ways, but not exactly alike. One
    whose record says ``both_ways`` is asked both ways and the answers are averaged, for twice the
    time: then each frame is two pictures inside, as it is and turned around.
    """

    causal = False
    tiles_itself = False
    needs_both = False  # it has learned what smoke looks like, where a prior knows nothing
    reach = 2
    multiple = 16
    halo = 352  # the receptive field of all boxes and the furthest shift; measured by a test

    def __init__(self, network: StFamS):
        network = network.eval().requires_grad_(False)
        self.network = network.to(memory_format=torch.channels_last)
        self._on_card: dict[torch.dtype, OnCard] = {}

    def prior(self, frame: Frame) -> Estimate:
        """Closed form with look-alikes, of the whole frame, and with what a clean plate and a
        carried trimap's hint say. Its confidence is 1; where the trimap lacks a class a half, if
        they stand in for it, or 0, if they say something of less than a fifth of what is unknown,
        and the prior could tell next to nothing."""
        # A region is solved on the grid that the whole frame would be.
        most = math.ceil(MOST_PIXELS * frame.share)
        told = joined(evidence(frame), frame.hint)
        alpha = prior_alpha(
            frame.light, frame.known, frame.picture, frame.composited_in, most, told
        )
        both = (frame.known == 0).any() & (frame.known == 1).any()
        # Only what is told is worth the host's waiting for the device here.
        if told is not None and not both:
            knows = STOOD_IN if told.share(frame.known == 0.5) >= ENOUGH else 0.0
            return Estimate(alpha, torch.full_like(alpha, knows))
        return Estimate(alpha, both.to(alpha.dtype).expand_as(alpha).contiguous())

    def encode(self, frame: Frame, prior: Estimate) -> Encoding:
        linear = torch.full_like(prior.alpha, float(frame.composited_in == "linear"))
        given = (frame.picture, frame.known, prior.alpha, prior.confidence, linear)
        card = self._card(frame.picture.device)
        if card is None:
            return encoded(self.network, *given)
        return Encoding.of(card.encode(*given), self.network.aligned)

    def decode(self, window: Sequence[Encoding], centre: int, side: int = 0) -> Estimate:
        middle, others, order = _centred(window, centre)
        apart = _distances(order, middle.prior.device)
        card = self._card(middle.prior.device)
        if card is None:
            return Estimate(*estimated(self.network, middle, others, apart))
        beside = [one for several in others for one in several]
        return Estimate(*card.decode(apart, *middle.tensors, *beside))

    def _card(self, device: torch.device) -> OnCard | None:
        if device.type != "cuda":
            return None
        halves = torch.is_autocast_enabled(device.type)
        dtype = torch.get_autocast_dtype(device.type) if halves else torch.float32
        if dtype not in self._on_card:
            self._on_card[dtype] = OnCard(self.network, dtype)
        return self._on_card[dtype]


class OnCard:
    """What a CUDA card does of `StFamSMatting`: the network in shapes that it multiplies fast, and
    both of its steps replayed as they were recorded.

    Args:
        network: is not changed.
        dtype: of its numbers.
        recorded: False = as the CPU can do it too.
    """

    def __init__(self, network: StFamS, dtype: torch.dtype, *, recorded: bool = True):
        self._network = widened(network, dtype)
        self.encode = Replayed(self._encode, enabled=recorded)
        self.decode = Replayed(self._decode, enabled=recorded)

    @torch.no_grad()  # the kernels between convolutions know no gradients
    def _encode(self, *given: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(given[0].device.type, enabled=False):
            return encoded(self._network, *given).tensors

    @torch.no_grad()
    def _decode(self, apart: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        scales, own = self._network.aligned, Encoding.size(self._network.aligned)
        middle = Encoding.of(given[:own], scales)
        others = [given[i : i + scales] for i in range(own, len(given), scales)]
        with torch.autocast(apart.device.type, enabled=False):
            return estimated(self._network, middle, others, apart)


def encoded(
    network: StFamS, picture: Tensor, trimap: Tensor, prior: Tensor, sure: Tensor, linear: Tensor
) -> Encoding:
    """One frame, and turned around too if the network wants both ways.

    Args:
        picture: 1×3×H×W, 0…1, sRGB-encoded; the others 1×1×H×W.
        trimap: 0, 0.5, 1.
        prior: its alpha.
        sure: its confidence.
        linear: 1 if composited in linear light, else 0.
    """
    knew = (sure > 0).to(sure.dtype)
    sides = [(trimap, prior)]
    if network.both_ways:
        sides.append((1 - trimap, 1 - prior))
    planes = torch.cat([frame_planes(picture, t, p, knew, linear) for t, p in sides])
    # The pipeline pads, but a network asked directly takes any size too.
    down, right = (-length % StFamSMatting.multiple for length in planes.shape[2:])
    if down or right:
        planes = F.pad(planes, (0, right, 0, down), mode="replicate")
    found = network.encode(planes)
    certain = (sure != STOOD_IN).all()  # stays on the device: nobody waits for it
    return replace(found, added_whole=found.added_whole & certain)


def estimated(
    network: StFamS, middle: Encoding, others: Sequence[Sequence[Tensor]], apart: Tensor
) -> tuple[Tensor, Tensor]:
    """Alpha and confidence, 1×1×H×W, of the frame that `StFamS.answer` is asked for."""
    answer = network.answer(middle, others, apart)
    alpha = answer.alpha.clamp(0, 1)
    if network.both_ways:
        straight, turned = alpha.chunk(2)
        alpha = 0.5 * (straight + 1 - turned)
    return alpha, torch.sigmoid(answer.logit.mean(0, keepdim=True))


def _centred(
    window: Sequence[Encoding], centre: int, away: Sequence[int] | None = None
) -> tuple[Encoding, list[tuple[Tensor, ...]], tuple[int, ...]]:
    """The frame at the centre, the others' narrowed maps, and how far it and they are from it."""
    others = [i for i in range(len(window)) if i != centre]
    distance = away or [abs(i - centre) for i in range(len(window))]
    order = tuple(min(distance[i], 2) for i in (centre, *others))
    return window[centre], [window[i].narrowed for i in others], order


@lru_cache(maxsize=64)
def _distances(order: tuple[int, ...], device: torch.device) -> Tensor:
    """Made once: sending a few numbers to a device takes as long as a small kernel's launch."""
    with torch.inference_mode(False):
        return torch.tensor(order, device=device)


def open_network(checkpoint: str | None, device: torch.device) -> StFamSMatting:
    """With the weights of a checkpoint.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint``
            if it belongs to another network or does not fit.
    """
    return StFamSMatting(trained_network(checkpoint, NAME, StFamS, device, "closed_form"))
