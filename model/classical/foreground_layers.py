"""What the colours of each layer are around a pixel: mean and covariance, filled in from afar.

Where a layer is seen its colours count; where it is not, the nearest places where it is, through a
pyramid (push–pull of S. Gortler et al., "The Lumigraph", SIGGRAPH 1996). Mean and covariance of the
colours nearby are the layer model of Y.-Y. Chuang et al., "A Bayesian Approach to Digital Matting",
CVPR 2001.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

_FILL = 0.2  # what coarser levels weigh against one surely seen pixel
_GLARE = 4.0  # colours so many times brighter than is usual weigh a fifth, brighter ones less
_ROUND = 1e-5  # share of the squared mean that is added to variances: what single precision leaves
_NEVER = 1e-12


@dataclass(frozen=True)
class Layer:
    """Colours of one layer at M pixels.

    Attributes:
        mean: float32 3×M.
        covariance: float32 6×M: rr, gg, bb, rg, rb, gb; positive semidefinite.
        everywhere: float32 1×3×H×W, the mean at every pixel of the frame.
    """

    mean: Tensor
    covariance: Tensor
    everywhere: Tensor


def layer_around(light: Tensor, weight: Tensor, places: Tensor, usual: Tensor) -> Layer:
    """The colours of a layer around some pixels.

    Args:
        light: float32 1×3×H×W.
        weight: float32 1×1×H×W in 0…1: how surely each pixel shows this layer alone. If it is 0
            everywhere, mean and covariance are 0.
        places: int64 M, raster indices of the pixels.
        usual: float32 scalar, a luminance that is usual in this frame; positive.
    """
    weight = weight / (1 + light.abs().mean(1, keepdim=True) / (_GLARE * usual))
    r, g, b = (light[:, i : i + 1] for i in range(3))
    # At half the size from the start: pixels that ask do not show one layer alone.
    sums = [_halved(weight)] + [_halved(weight * c) for c in (r, g, b)]
    sums += [_halved(weight * x * y) for x, y in ((r, r), (g, g), (b, b), (r, g), (r, b), (g, b))]
    filled = _filled(_counted(torch.cat(sums, 1)))
    height, width = light.shape[-2:]
    means = F.interpolate(filled[:, 1:4], scale_factor=2.0, mode="bilinear", align_corners=False)
    everywhere = means[..., :height, :width]
    found = _sampled(filled, places, width)
    mean = found[1:4]
    r, g, b = mean
    squares = torch.stack([r * r, g * g, b * b, r * g, r * b, g * b])
    covariance = found[4:] - squares
    own = covariance[:3].clamp_min(0) + _ROUND * squares[:3]
    return Layer(mean, torch.cat([own, covariance[3:]]), everywhere)


def widened(layer: Layer, variance: Tensor) -> Layer:
    """A layer whose colours vary by so much more, M, in each channel."""
    covariance = torch.cat([layer.covariance[:3] + variance, layer.covariance[3:]])
    return replace(layer, covariance=covariance)


def _halved(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)


def _counted(sums: Tensor) -> Tensor:
    """Of four pixels one that is seen is enough: weights times four, at most 1; the rest alike."""
    weight = sums[:, :1]
    return sums * (4 * weight).clamp_max(1) / weight.clamp_min(_NEVER)


def _filled(sums: Tensor) -> Tensor:
    """1×C×h×w of sums, weights first, to what they are per weight, everywhere."""
    height, width = sums.shape[-2:]
    if max(height, width) == 1:
        return sums / sums[:, :1].clamp_min(_NEVER)
    coarse = _filled(_counted(_halved(sums)))
    coarse = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return (sums + _FILL * coarse) / (sums[:, :1] + _FILL)


def _sampled(planes: Tensor, places: Tensor, width: int) -> Tensor:
    """C×M: planes of half the size, read at pixels of the whole."""
    rows, columns = planes.shape[-2:]
    y, x = places // width, places % width
    size = planes.new_tensor([2 * columns, 2 * rows])
    grid = 2 * (torch.stack([x, y], 1) + 0.5) / size - 1  # -1 is the edge of the first pixel
    return F.grid_sample(
        planes, grid[None, None], mode="bilinear", padding_mode="border", align_corners=False
    )[0, :, 0]
