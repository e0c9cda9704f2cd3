"""Box 2 of `st_fam_r50`: a frame's features moved to where they are in the frame that is matted.

Modulated deformable convolution (X. Zhu et al., "Deformable ConvNets v2", CVPR 2019) of the earlier
frame; where its taps look is told by both frames' features.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops.deform_conv import modulated_deform_conv2d

GROUPS = 8
TAPS = 9
SLOPE = 0.1  # of the leaky activations


class R50Alignment(nn.Module):
    """One level. ``channels`` divide by 8."""

    def __init__(self, channels: int):
        super().__init__()
        self.look = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.think = nn.Conv2d(channels, channels, 3, padding=1)
        self.taps = nn.Conv2d(channels, 3 * GROUPS * TAPS, 3, padding=1)
        nn.init.zeros_(self.taps.weight)
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        nn.init.uniform_(self.weight, -1 / (3 * channels**0.5), 1 / (3 * channels**0.5))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, neighbour: Tensor, centre: Tensor) -> Tensor:
        """Both N×C×h×w; the neighbour's features as the centre would see them. The weights want
        the centre aligned to itself by this too."""
        thought = F.leaky_relu(self.look(torch.cat([neighbour, centre], 1)), SLOPE)
        thought = F.leaky_relu(self.think(thought), SLOPE)
        offset, mask = wishes(thought, self.taps)
        return modulated_deform_conv2d(neighbour, offset, mask, self.weight, self.bias, padding=1)


def wishes(thought: Tensor, convolve: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Where taps look and what they weigh.

    Offsets are float16 or better: under autocast to bfloat16 this convolution is made in float32.

    Args:
        thought: N×C×h×w.
        convolve: the convolution to N×216×h×w, with float32 weights.

    Returns:
        Offsets N×(2·8·9)×h×w, ordered (group, tap, (y, x)), and masks N×(8·9)×h×w, both float32.
    """
    device = thought.device.type
    if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16:
        with torch.autocast(device, enabled=False):
            found = convolve(thought.float())
    else:
        found = convolve(thought).float()
    return found[:, : 2 * GROUPS * TAPS], torch.sigmoid(found[:, 2 * GROUPS * TAPS :])
