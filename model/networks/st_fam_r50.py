"""`st_fam_r50`: the network of Y. Sun et al., "Deep Video Matting via Spatio-Temporal Alignment and
Aggregation", CVPR 2021, for whoever owns a checkpoint of it. Written anew; none comes with this.

    picture, trimap of frame t−2, t−1, t        each frame once
              │
        R50Encoder ────────── 1/2   1/4   1/8   1/16   1/32
                               │     │     │     │      │
        R50Alignment to t      ●     ●     ●     ●      │     t itself is aligned too
        R50Fusion              ●     ●     ●     ●      ●     its means are of the whole frame
        WideKernel             ●     ●     ●     ●      ●
              │                │     │     │     │      │
        Rise  ◄─── planes of t, then ◄──── ◄──── ◄───── ●
              │
        logit of a first alpha ─── Refine ─── what is added to it

Here is the *plain form*: all of a window is computed for each frame. It is what is trained, and the
specification. What runs is `model.networks.r50_fast`: the same weights, the same answer.

As published: the window looks back only; the trimap is a plane of 0, 128/255 and 1; the right
branch of `WideKernel`. Not as published, where that only hurts: frames are padded to what divides
by 32 and not squeezed by nearest neighbour, and nothing is rounded to 8 bit.

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

from model.checkpoint import with_weights
from model.errors import SetupError
from model.face import Estimate, Frame
from model.networks.r50_alignment import R50Alignment
from model.networks.r50_decoder import UPSAMPLES, R50Decoder, Refine
from model.networks.r50_encoder import PLANES, R50Encoder
from model.networks.r50_fast import FastR50, FrameMaps
from model.networks.r50_fusion import R50Fusion

NAME = "st_fam_r50"
MULTIPLE, LEAST_WIDTH = 32, 224  # seven columns at 1/32, which the wide kernels need
UNKNOWN = 128 / 255  # the published trimaps are of 8 bit
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green, blue


@dataclass(frozen=True)
class Answer:
    """Of N frames.

    Attributes:
        coarse: N×1×H×W, alpha before the refining stage.
        alpha: N×1×H×W, after it; the same as ``coarse`` if there is none.
        fused: the five fused levels, for tests.
    """

    coarse: Tensor
    alpha: Tensor
    fused: tuple[Tensor, ...]


class StFamR50(nn.Module):
    """The network in its plain form. See `StFamR50Matting` for its face.

    Args:
        channels: of the encoder's levels; all divide by 8. The published ones if left out.
        shift: how many earlier frames a window has.
        refine: whether there is a refining stage.
        upsample: how the decoder doubles sizes, ``shuffle`` or ``deconv``; see `Rise`.

    Raises:
        ValueError: there is no such ``upsample``.
    """

    def __init__(
        self,
        channels: Sequence[int] = (64, 256, 512, 1024, 2048),
        shift: int = 2,
        refine: bool = True,
        upsample: str = "shuffle",
    ):
        super().__init__()
        if upsample not in UPSAMPLES:
            raise ValueError(f"upsample {upsample!r} is none of {', '.join(UPSAMPLES)}")
        self.config: Mapping[str, Any] = {
            "channels": list(channels),
            "shift": shift,
            "refine": refine,
            # Came later: checkpoints of before say nothing of it, and are what they were.
            **({} if upsample == "shuffle" else {"upsample": upsample}),
        }
        self.shift = shift
        self.encoder = R50Encoder(channels)
        self.align = nn.ModuleList(R50Alignment(c) for c in channels[:-1])
        self.fuse = nn.ModuleList(R50Fusion(c, shift + 1) for c in channels)
        self.decoder = R50Decoder(channels, PLANES, upsample)
        self.refine = Refine(channels[0]) if refine else None

    def forward(self, planes: Tensor) -> Answer:
        """Consecutive frames, oldest first, (shift+N)×4×H×W, to the answers for the last N of them.

        H divides by 32, and so does W, which is 224 or more; see `planes_of`.
        """
        maps = self.encoder(planes)
        count = len(planes) - self.shift
        fused = []
        for level, fuse in enumerate(self.fuse):
            x = maps[level]
            slices = [x[first : first + count] for first in range(self.shift + 1)]
            if level < len(self.align):
                slices = [self.align[level](one, x[-count:]) for one in slices]
            fused.append(fuse(torch.cat(slices, 1)))
        coarse, alpha = self.alphas(fused, planes[-count:])
        return Answer(coarse, alpha, tuple(fused))

    def alphas(self, fused: Sequence[Tensor], planes: Tensor) -> tuple[Tensor, Tensor]:
        """The first alpha and the refined one, N×1×H×W each: `Answer`'s.

        Args:
            fused: the five levels of N frames.
            planes: of these frames, N×4×H×W.
        """
        logit = self.decoder(fused, planes).float()
        coarse = torch.sigmoid(logit)
        if self.refine is None:
            return coarse, coarse
        return coarse, torch.sigmoid(logit + self.refine(planes[:, :3], coarse).float())


def planes_of(picture: Tensor, trimap: Tensor) -> Tensor:
    """What the network is given of a frame.

    Args:
        picture: N×3×h×w, red, green, blue, 0…1, sRGB-encoded.
        trimap: N×1×h×w: 0, 0.5, 1.

    Returns:
        N×4×H×W; the edges are repeated to the right and below up to a size that it takes.
    """
    mean, spread = (picture.new_tensor(one)[:, None, None] for one in (MEAN, SPREAD))
    classes = torch.where(trimap == 0.5, UNKNOWN, trimap)
    return padded(torch.cat([(picture - mean) / spread, classes], 1))


def padded(x: Tensor) -> Tensor:
    """With the edges repeated, to the right and below, up to a size that the network takes."""
    height, width = x.shape[-2:]
    down, right = -height % MULTIPLE, max(-width % MULTIPLE, LEAST_WIDTH - width)
    return F.pad(x, (0, right, 0, down), mode="replicate")


@dataclass(frozen=True)
class Encoding:
    """One frame as it is kept while it is in a window.

    Attributes:
        maps: of the padded frame.
        trimap: 1×1×h×w, as it was given.
    """

    maps: FrameMaps
    trimap: Tensor


class StFamR50Matting:
    """The face of `model.face.MattingNetwork`.

    Its confidence is 1 − |alpha − first alpha|: how little the refining stage had to move it. That
    is a weight and no probability. Without that stage it is 1 − 2·min(alpha, 1 − alpha).
    """

    needs_both = False
    reach = 2
    causal = True  # it was taught to look back
    tiles_itself = True  # its attention over channels wants means of the whole frame
    multiple = 1  # it pads by itself
    halo = 0

    def __init__(self, network: StFamR50):
        self.config = network.config
        self.network = FastR50(network.eval().requires_grad_(False))

    def prior(self, frame: Frame) -> Estimate:
        """There is none: the trimap stands in, and nothing looks at it."""
        trimap = frame.known
        return Estimate(trimap, torch.ones_like(trimap))

    def encode(self, frame: Frame, prior: Estimate) -> Encoding:
        trimap = frame.known
        return Encoding(self.network.encode(planes_of(frame.picture, trimap)), trimap)

    def decode(self, window: Sequence[Encoding], centre: int, side: int = 0) -> Estimate:
        """Of frames after the centre nothing is seen. Where a window is too short, its oldest frame
        stands in for those before it, as at the start of a shot."""
        count = self.network.shift + 1
        seen = [window[max(centre - back, 0)] for back in reversed(range(count))]
        trimap = window[centre].trimap
        height, width = trimap.shape[-2:]
        inside = trimap == 0.5
        unknown = F.pad(inside, _padding(trimap, seen[-1].maps.planes))
        alpha = trimap.clone()
        confidence = torch.ones_like(alpha)
        if not inside.any():
            return Estimate(alpha, confidence)
        found = self.network.decode([one.maps for one in seen], unknown, side)
        there = (..., slice(height), slice(width))
        refined, coarse = found.alpha[there], found.coarse[there]
        if self.network.refines:
            sure = 1 - (refined - coarse).abs()
        else:
            sure = 1 - 2 * torch.minimum(refined, 1 - refined)
        return Estimate(torch.where(inside, refined, alpha), torch.where(inside, sure, confidence))


def _padding(small: Tensor, large: Tensor) -> tuple[int, int, int, int]:
    return 0, large.shape[-1] - small.shape[-1], 0, large.shape[-2] - small.shape[-2]


def load_network(path: Path, device: torch.device) -> StFamR50:
    """The plain form with the weights of a checkpoint, in evaluation mode.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint``
            if it belongs to another network or does not fit.
    """

    def build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> StFamR50:
        with torch.device("meta"):  # 319 million numbers need not be drawn first
            network = StFamR50(**config)
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}, assign=True
        )
        return network.eval()

    hint = "import it again: dvm-train checkpoint import best_net_Base.pth"
    return with_weights(path, NAME, build, device, hint)


def open_network(checkpoint: str | None, device: torch.device) -> StFamR50Matting:
    """With the weights of a checkpoint.

    Raises:
        SetupError: as `load_network`, and ``setup.no_checkpoint`` if none is named.
    """
    if checkpoint is None:
        raise SetupError(
            "setup.no_checkpoint",
            f"{NAME} needs your own copy of the published checkpoint",
            hint="dvm-train checkpoint import best_net_Base.pth, then --checkpoint FILE",
        )
    return StFamR50Matting(load_network(Path(checkpoint), device))
