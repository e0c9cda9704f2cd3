"""Box 3 of `st_fam_s`: aligned frames made one, by attention over time and then over space.

Attention over time weighs the frames pixel by pixel, and is the same function for any number of
frames in any order but for how far each is from the centre. Source of the attention over space: the
maximum and the mean over channels through a 7×7 convolution, S. Woo et al., "CBAM", ECCV 2018, as
the spatio-temporal feature aggregation of Y. Sun et al., "Deep Video Matting via Spatio-Temporal
Alignment and Aggregation", CVPR 2021, has it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.networks.blocks import act, conv

HEADS = 4
DISTANCES = 3  # 0, 1 and 2 frames from the centre


class Fusion(nn.Module):
    """One scale. ``narrow`` channels of the aligned maps, ``wide`` of the centre's own."""

    def __init__(self, narrow: int, wide: int):
        super().__init__()
        self.query = conv(narrow, narrow, size=1)
        self.key = conv(narrow, narrow, size=1)
        self.value = conv(narrow, narrow, size=1)
        self.distance = nn.Parameter(torch.zeros(DISTANCES, HEADS))
        self.space = conv(2, 1, size=7)
        self.merge = conv(3 * narrow, wide)
        self.merge.weight.data.mul_(0.1)

    def forward(self, own: Tensor, centre: Tensor, aligned: Tensor, distance: Tensor) -> Tensor:
        """Fuse.

        Args:
            own: N×W×h×w, the centre's map before it was narrowed.
            centre: N×C×h×w, the narrowed one.
            aligned: N×K×C×h×w, all frames of the window, the centre among them.
            distance: int64 K, frames from the centre, 0…2.

        Returns:
            N×W×h×w.
        """
        n, k, c, h, w = aligned.shape
        flat = aligned.flatten(0, 1)
        keys = self.key(flat).view(n, k, HEADS, c // HEADS, h, w)
        values = self.value(flat).view(n, k, HEADS, c // HEADS, h, w)
        query = self.query(centre).view(n, 1, HEADS, c // HEADS, h, w)
        scores = (query * keys).sum(3).float() / (c // HEADS) ** 0.5
        scores = scores + self.distance[distance][None, :, :, None, None].float()
        weights = scores.softmax(1).to(values.dtype)[:, :, :, None]
        mean = (weights * values).sum(1)
        spread = (weights * (values - mean[:, None]).abs()).sum(1)
        over_time = act(mean.flatten(1, 2))
        peaks = torch.cat([over_time.amax(1, True), over_time.mean(1, True)], 1)
        over_space = over_time * torch.sigmoid(self.space(peaks))
        seen = torch.cat([over_space, spread.flatten(1, 2), act(centre)], 1)
        return self.merge.then(seen, other=own)
