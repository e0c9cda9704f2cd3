"""`st_fam_s`: alpha from a frame, its prior, and what its neighbours show.

    picture, trimap, prior of frame t+k          k = −2 … 2, each frame once
              │
        FrameEncoder ──────────── 1   1/2   1/4   1/8   1/16
                                  │    │     │     │     │
                                  │    │     narrowed by 1×1
                                  │    │     │     │     │
        Alignment of t+k to t     │    │     ◄──── ◄──── ●   shifts from coarse to fine,
                                  │    │     │     │     │   then deformable convolution
        Fusion over k, over space │    │     ●     ●     ●
                                  │    │     │     │     │
        Decoder                   ◄─── ◄──── ◄──── ◄──── ●
              │
        residual, confidence's logit             alpha = clamp(prior + residual)

The idea is that of Y. Sun et al., "Deep Video Matting via Spatio-Temporal Alignment and
Aggregation", CVPR 2021: neighbours aligned by deformable convolution at several scales, attention
over time and space, a decoder. The residual on a classical prior, the coarse-to-fine shifts and the
size are ours. Untrained, it answers the prior: the closed form, in which each pixel is joined to
look-alikes as well (`model.classical.look_alikes`).

Tensor names: N frames or windows, K frames of a window, C channels, H×W of the frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.checkpoint import load_tensors, read_record
from model.classical.closed_form import solve_alpha
from model.errors import SetupError
from model.face import Estimate, Frame
from model.networks.alignment import Alignment
from model.networks.blocks import conv
from model.networks.decoder import Decoder
from model.networks.frame_encoder import BOTH, PRIOR, FrameEncoder, frame_planes
from model.networks.fusion import Fusion

NAME = "st_fam_s"
REACHES = (1, 3, 3)  # of the matching windows at 1/4, 1/8, 1/16
SURE = 0.1  # confidence is the probability that alpha is at most this far from the truth


@dataclass(frozen=True)
class Encoding:
    """One frame as the network keeps it while it is in a window.

    Attributes:
        planes: N×9×H×W, what the encoder looked at.
        prior: N×1×H×W.
        maps: the encoder's five.
        narrowed: those of 1/4, 1/8, 1/16 as they are aligned and fused.
    """

    planes: Tensor
    prior: Tensor
    maps: tuple[Tensor, ...]
    narrowed: tuple[Tensor, ...]


@dataclass(frozen=True)
class Answer:
    """What the network says about the centre of a window.

    Attributes:
        alpha: float32 N×1×H×W, the prior plus the trusted share of the residual; not clamped.
        logit: float32 N×1×H×W, of the confidence.
        shifts: the neighbours' shifts at 1/4, float32 (N·(K−1))×2×H/4×W/4, for a loss.
    """

    alpha: Tensor
    logit: Tensor
    shifts: Tensor


class StFamS(nn.Module):
    """The network itself. See `StFamSMatting` for its face.

    Args:
        channels: of the encoder at full size, 1/2, 1/4, 1/8, 1/16.
        narrow: of what is aligned and fused at 1/4, 1/8, 1/16.
        guide: of the map that alignment hands from scale to scale.
        trust: share of the residual that is added to the prior. Taught with 1; less is for use,
            where a prior must not be made much worse. Frames whose prior knew nothing get all.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 64, 96, 160),
        narrow: Sequence[int] = (32, 48, 64),
        guide: int = 32,
        trust: float = 1.0,
    ):
        super().__init__()
        self.config: Mapping[str, Any] = {
            "channels": list(channels),
            "narrow": list(narrow),
            "guide": guide,
            "trust": trust,
        }
        self.trust = trust
        full, half, quarter, eighth, sixteenth = channels
        wide = (full, half, quarter, eighth, sixteenth)
        self.encoder = FrameEncoder(wide)
        self.narrow = nn.ModuleList(
            conv(a, b, size=1) for a, b in zip(wide[2:], narrow, strict=True)
        )
        self.align = nn.ModuleList(
            Alignment(c, guide, reach) for c, reach in zip(narrow, REACHES, strict=True)
        )
        self.fuse = nn.ModuleList(Fusion(b, a) for a, b in zip(wide[2:], narrow, strict=True))
        self.decoder = Decoder(wide)

    def encode(self, planes: Tensor) -> Encoding:
        """N×9×H×W, H and W multiples of 16; see `frame_planes`."""
        maps = self.encoder(planes)
        narrowed = [narrow(x) for narrow, x in zip(self.narrow, maps[2:], strict=True)]
        return Encoding(
            planes, planes[:, PRIOR : PRIOR + 1].float() + 0.5, tuple(maps), tuple(narrowed)
        )

    def decode(
        self, window: Sequence[Encoding], centre: int, away: Sequence[int] | None = None
    ) -> Answer:
        """The centre of a window of up to five frames, each of N pictures.

        Args:
            away: how many frames each is from the centre, up to 2; None = as they stand.
        """
        middle = window[centre]
        others = [i for i in range(len(window)) if i != centre]
        distance = away or [abs(i - centre) for i in range(len(window))]
        order = [min(distance[i], 2) for i in (centre, *others)]
        apart = torch.tensor(order, device=middle.planes.device)
        n = len(middle.planes)
        fused: list[Tensor] = []
        shifts = middle.planes.new_zeros(0, 2, 1, 1)
        coarser = None
        for scale in (2, 1, 0):
            own = middle.narrowed[scale]
            stack = own[:, None]
            if others:
                neighbours = torch.cat([window[i].narrowed[scale] for i in others])
                aligned, coarser = self.align[scale](
                    neighbours, own.repeat(len(others), 1, 1, 1), coarser
                )
                shifts = coarser[1]
                aligned = aligned.view(len(others), n, *own.shape[1:]).transpose(0, 1)
                stack = torch.cat([stack, aligned.to(own.dtype)], 1)
            fused.append(self.fuse[scale](middle.maps[2 + scale], own, stack, apart))
        maps = [middle.maps[0], middle.maps[1], *reversed(fused)]
        found = self.decoder(maps, middle.planes)
        knew = middle.planes[:, BOTH : BOTH + 1].float()
        share = 1 - (1 - self.trust) * knew
        return Answer(middle.prior + share * found[:, :1], found[:, 1:], shifts)


class StFamSMatting:
    """The face of `model.face.MattingNetwork`.

    Matting does not care which of two layers is called the foreground: with the trimap turned
    around, alpha must become 1 − alpha. The network is taught both ways, but not exactly alike, so
    it is asked both ways and the answers are averaged; on clips held out that takes a good part of
    the error. Inside, each frame is therefore two pictures: as it is, and turned around.
    """

    needs_both = False  # it has learned what smoke looks like, where a prior knows nothing
    reach = 2
    multiple = 16
    halo = 352  # the receptive field of all boxes and the furthest shift; measured by a test

    def __init__(self, network: StFamS):
        self.network = network.eval().requires_grad_(False)

    def prior(self, frame: Frame) -> Estimate:
        """Closed form with look-alikes, on the whole frame. Its confidence says whether the trimap
        has both classes: 1, or 0 if the prior could not tell anything."""
        if frame.trimap is None:
            raise ValueError(f"frame {frame.number} came to {NAME} without a trimap")
        alpha = solve_alpha(
            frame.light,
            frame.trimap,
            composited_in=frame.composited_in,
            picture=frame.picture,
        )
        both = bool((frame.trimap == 0).any()) and bool((frame.trimap == 1).any())
        return Estimate(alpha, torch.full_like(alpha, float(both)))

    def encode(self, frame: Frame, prior: Estimate) -> Encoding:
        linear = torch.full_like(prior.alpha, float(frame.composited_in == "linear"))
        if frame.trimap is None:
            raise ValueError(f"frame {frame.number} came to {NAME} without a trimap")
        sides = (frame.trimap, prior.alpha), (1 - frame.trimap, 1 - prior.alpha)
        planes = torch.cat(
            [frame_planes(frame.picture, t, p, prior.confidence, linear) for t, p in sides]
        )
        # The pipeline pads, but a network asked directly takes any size too.
        down, right = -planes.shape[2] % self.multiple, -planes.shape[3] % self.multiple
        return self.network.encode(F.pad(planes, (0, right, 0, down), mode="replicate"))

    def decode(self, window: Sequence[Encoding], centre: int) -> Estimate:
        answer = self.network.decode(window, centre)
        straight, turned = answer.alpha.clamp(0, 1).chunk(2)
        alpha = 0.5 * (straight + 1 - turned)
        confidence = torch.sigmoid(answer.logit.mean(0, keepdim=True))
        return Estimate(alpha, confidence)


def open_network(checkpoint: str | None, device: torch.device) -> StFamSMatting:
    """With the weights of a checkpoint.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint``
            if it belongs to another network or does not fit.
    """
    if checkpoint is None:
        raise SetupError(
            "setup.no_checkpoint",
            f"{NAME} has to be given a checkpoint",
            hint="name one with --checkpoint, or use the network closed_form",
        )
    path = Path(checkpoint)
    record = read_record(path)
    if record.network != NAME:
        raise SetupError(
            "setup.other_checkpoint",
            f"{path} holds {record.network}, not {NAME}",
            hint=f"use --network {record.network}, or a checkpoint of {NAME}",
        )
    try:
        network = StFamS(**record.config)  # type: ignore[arg-type]
        network.load_state_dict({k: v.float() for k, v in load_tensors(path, device).items()})
    except (RuntimeError, TypeError, ValueError) as error:
        raise SetupError(
            "setup.other_checkpoint",
            f"the weights in {path} do not fit {NAME} ({error})",
            hint="use a checkpoint written by dvm-train for this version",
        ) from error
    return StFamSMatting(network.to(device))
