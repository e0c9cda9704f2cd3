"""The prior of many frames at once, for training: closed form with look-alikes.

In use the prior is solved exactly, frame by frame (`model.classical.closed_form`). That takes about
a tenth of a second a crop on a processor core, far too long to feed a GPU. Here all frames of a
batch are one system, put below each other as one tall picture, and solved by conjugate gradients
from a guess made at half the size. What is left of the error is small against what the network is
to correct, and tests compare it with the exact solution.

Source: A. Levin, D. Lischinski, Y. Weiss, "A Closed-Form Solution to Natural Image Matting",
IEEE TPAMI 30(2), 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from model.classical.closed_form import ALIKE, regularisation
from model.classical.coarse_to_fine import MOST_PIXELS, prior_alpha
from model.classical.laplacian import OWN, UnknownSystem, assemble
from model.classical.look_alikes import LookAlikes, look_alikes, side_by_side
from model.exposure import ExposureMap, to_picture

_COARSEST = 40  # no guess is made from frames with a side below this
_APART = 2  # rows between frames
_STIFF = 1e-4  # share of the diagonal that ties pixels to the guess where nothing else does


def _looks(light: Tensor, linear: Tensor) -> Tensor:
    """What networks see of a batch's light, N×3×H×W, 0…1."""
    return torch.where(
        linear[:, None, None, None], to_picture(light, ExposureMap()), light.clamp(0, 1)
    )


def knows_both(trimap: Tensor) -> Tensor:
    """Bool, of each frame of …×1×H×W: whether its trimap is certain of foreground somewhere and of
    background elsewhere, without which a prior is of one class alone."""
    flat = trimap.flatten(-3)
    return (flat == 0).any(-1) & (flat == 1).any(-1)


def exact_priors(
    light: Tensor, trimap: Tensor, linear: Tensor, factors: Sequence[int] | None = None
) -> Tensor:
    """As in use, one frame after the other; see `quick_priors` for shapes.

    Args:
        factors: for each frame, how many of its pixels to a side are solved as one: in use that
            comes with the size of a plate, and clips for training are small. None = by their size.
    """
    looks = _looks(light, linear)
    found = []
    for i, one in enumerate(linear.tolist()):
        name, at = "linear" if one else "display", slice(i, i + 1)
        most = MOST_PIXELS if factors is None else trimap[at].numel() // factors[i] ** 2
        found.append(prior_alpha(light[at], trimap[at], looks[at], name, most))
    return torch.cat(found)


def quick_priors(
    light: Tensor,
    trimap: Tensor,
    linear: Tensor,
    factors: Sequence[int] | None = None,
    iterations: int = 120,
) -> Tensor:
    """Nearly as in use, all frames at once.

    Args:
        light: float N×3×H×W, in the light each frame is composited in.
        trimap: float N×1×H×W: 0, 0.5, 1.
        linear: bool N.
        factors: not looked at: every frame is solved pixel by pixel.
        iterations: of conjugate gradients at each size.

    Returns:
        float32 N×1×H×W in 0…1; 0 or 1 where the trimap is, and everywhere where a frame knows
        foreground or background alone.
    """
    looks = _looks(light, linear)
    return _solve(light.float(), trimap.float(), linear, iterations, looks)


def _solve(
    light: Tensor, trimap: Tensor, linear: Tensor, iterations: int, looks: Tensor | None = None
) -> Tensor:
    unknown = (trimap > 0) & (trimap < 1)
    guess = torch.where(unknown, _guess(light, trimap, unknown, linear, iterations), trimap)
    one_sided = ~knows_both(trimap)
    height, width = trimap.shape[2:]
    tall = _stacked(light.double()), _stacked(guess.double()), _stacked(unknown)[0]
    between = _between(len(trimap), height, width, trimap.device)
    pixels = tall[2].flatten().nonzero().squeeze(1)
    if not len(pixels):
        return trimap.clone()
    epsilon = _stacked(regularisation(light.double(), unknown[:, 0], linear)[:, None], fill=1.0)[0]
    exact = assemble(tall[0], tall[1][0], tall[2], pixels, epsilon, between)
    system = UnknownSystem(exact.neighbours, exact.weights.float(), exact.right.float())
    apply, right, diagonal = system.apply, system.right, system.weights[OWN]
    if looks is not None:
        alike = _alike(looks, trimap, unknown, linear)
        right, diagonal = right + alike.right, diagonal + alike.diagonal

        def apply(x: Tensor) -> Tensor:
            return system.apply(x) + alike.apply(x)

    start = tall[1].flatten()[pixels].float()
    solution = _descend(apply, right, diagonal, start, iterations)
    flat = tall[1].float().flatten().index_copy(0, pixels, solution.clamp(0, 1))
    alpha = flat.view(len(trimap), height + _APART, width)[:, None, :height]
    known = (trimap == 1).flatten(1).any(1).float()[:, None, None, None]
    alpha = torch.where(one_sided[:, None, None, None], known.expand_as(alpha), alpha)
    return torch.where(unknown, alpha, trimap)


def _alike(looks: Tensor, trimap: Tensor, unknown: Tensor, linear: Tensor) -> LookAlikes:
    """Of all frames, in single precision."""
    parts = []
    for picture, known, open_, one in zip(looks, trimap, unknown, linear.tolist(), strict=True):
        pixels = open_.flatten().nonzero().squeeze(1)
        if len(pixels):
            strength = ALIKE["linear" if one else "display"]
            parts.append(look_alikes(picture, known[0], pixels, strength))
    found = side_by_side(parts)
    return replace(
        found,
        weights=found.weights.float(),
        diagonal=found.diagonal.float(),
        right=found.right.float(),
    )


def _guess(
    light: Tensor, trimap: Tensor, unknown: Tensor, linear: Tensor, iterations: int
) -> Tensor:
    """The alpha at half the size, enlarged; 0.5 if half would be too small."""
    height, width = trimap.shape[2:]
    if min(height, width) < 2 * _COARSEST:
        return torch.full_like(trimap, 0.5)
    small = F.avg_pool2d(light, 2, ceil_mode=True, count_include_pad=False)
    known = F.avg_pool2d(trimap, 2, ceil_mode=True, count_include_pad=False)
    open_ = F.max_pool2d(unknown.float(), 2, ceil_mode=True) > 0
    known = torch.where(open_ | ((known > 0) & (known < 1)), 0.5, known)
    coarse = _solve(small, known, linear, iterations)
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


def _descend(
    apply: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, x: Tensor, iterations: int
) -> Tensor:
    """Conjugate gradients with the diagonal as preconditioner, a fixed number of steps: how far
    they have come is not looked at, for that would make the GPU wait each time."""
    diagonal = diagonal.clamp_min(1e-8)
    residual = right - apply(x)
    z = residual / diagonal
    direction = z
    energy = torch.dot(residual, z)
    for _ in range(iterations):
        image = apply(direction)
        step = energy / torch.dot(direction, image).clamp_min(1e-20)
        x = x + step * direction
        residual = residual - step * image
        z = residual / diagonal
        before, energy = energy, torch.dot(residual, z)
        direction = z + (energy / before.clamp_min(1e-20)) * direction
    return x


def _stacked(planes: Tensor, fill: float = 0) -> Tensor:
    """N×C×H×W → C×(N·(H+2))×W, frames below each other."""
    padded = F.pad(planes, (0, 0, 0, _APART), value=fill)
    return padded.transpose(0, 1).flatten(1, 2)


def _between(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Windows that are not inside of one frame, by their centres."""
    inside = torch.zeros(height + _APART, width, dtype=torch.bool, device=device)
    inside[1 : height - 1] = True
    return ~inside.repeat(count, 1)
