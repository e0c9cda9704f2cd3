"""How a layer of a synthetic clip moves: an affine path, and a smooth bending on top of it.

Two coordinate systems, both in pixels with the centre of the first pixel at 0, x before y: the
*source* (a sprite, a photograph) and the *frame*. A path says where the source lies in the frame
at a time; times are counted in frames and may be fractions. The bending shifts what is looked up
in the source, so the source place seen at frame pixel x is ``place(x) + shift(place(x))``. It is
drawn at the knots of a cubic B-spline over the frame; the spline itself is the motion, so that
what pictures show and what flow says are the same thing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from training.synthetic.sending import send

Array = NDArray[np.float64]

KNOT = 16  # pixels of the frame between knots of the bending
_STEPS = 6  # of the search for a flow: bendings shrink the error by half or more in each


@dataclass(frozen=True)
class Sway:
    """A number that changes smoothly: ``level`` at time ``middle``, swinging by ``swing`` at
    ``rate`` radians a frame."""

    level: float
    swing: float = 0.0
    rate: float = 0.0
    phase: float = 0.0
    middle: float = 0.0

    def at(self, times: Array) -> Array:
        wave = np.sin(self.rate * (times - self.middle) + self.phase) - math.sin(self.phase)
        return self.level + self.swing * wave


@dataclass(frozen=True)
class Path:
    """Where a source lies in the frame.

    Attributes:
        anchor: x, y in the source: the point that x and y place in the frame.
        x, y: of the anchor in the frame.
        turn: radians.
        zoom: natural logarithm of frame pixels per source pixel.
        stretch: width over height of what was a square.
        mirrored: left and right swapped.
    """

    anchor: tuple[float, float]
    x: Sway
    y: Sway
    turn: Sway
    zoom: Sway
    stretch: float = 1.0
    mirrored: bool = False

    def to_frame(self, times: Array) -> Array:
        """K×2×3: source (x, y, 1) to frame, at each of K times."""
        turn, size = self.turn.at(times), np.exp(self.zoom.at(times))
        cosine, sine = np.cos(turn) * size, np.sin(turn) * size
        across = self.stretch**0.5 * (-1 if self.mirrored else 1)
        down = self.stretch**-0.5
        linear = np.stack((cosine * across, -sine * down, sine * across, cosine * down), -1)
        linear = linear.reshape(-1, 2, 2)
        place = np.stack((self.x.at(times), self.y.at(times)), -1)
        offset = place - linear @ np.asarray(self.anchor)
        return np.concatenate((linear, offset[:, :, None]), -1)

    def to_source(self, times: Array) -> Array:
        """K×2×3: frame (x, y, 1) to source."""
        return inverted(self.to_frame(times))


def inverted(affine: Array) -> Array:
    """The inverse of each of K×2×3 affine maps."""
    linear = np.linalg.inv(affine[:, :, :2])
    return np.concatenate((linear, -linear @ affine[:, :, 2:]), -1)


def mapped(affine: Array, points: Array) -> Array:
    """P×2 points under each of K maps: K×P×2."""
    result: Array = np.einsum("kij,pj->kpi", affine[:, :, :2], points) + affine[:, None, :, 2]
    return result


@dataclass(frozen=True)
class Bending:
    """Waves that run through the source, stronger where it hangs loose.

    Attributes:
        waves: W×2, radians per source pixel.
        shifts: W×2, how far each wave shifts, in source pixels.
        rates: W, radians a frame.
        phases: W, radians.
        looseness: h×w, 0…1, over the whole source: how far each part gives way.
        size: height and width of the source.
    """

    waves: Array
    shifts: Array
    rates: Array
    phases: Array
    looseness: NDArray[np.float32]
    size: tuple[int, int]

    @property
    def reach(self) -> float:
        """No shift is longer, in source pixels."""
        return float(np.hypot(self.shifts[:, 0], self.shifts[:, 1]).sum())

    def at(self, places: Array, times: Array) -> Array:
        """The shift in source pixels at K×P×2 places of the source, each row at its own time."""
        angle = places @ self.waves.T + times[:, None, None] * self.rates + self.phases
        height, width = self.looseness.shape
        x = (places[..., 0] + 0.5) * (width / self.size[1]) - 0.5
        y = (places[..., 1] + 0.5) * (height / self.size[0]) - 0.5
        loose = cv2.remap(
            self.looseness,
            x.astype(np.float32),
            y.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        shift: Array = (np.sin(angle) @ self.shifts) * loose[..., None]
        return shift


def spline(length: int) -> NDArray[np.float32]:
    """The cubic B-spline that carries values at knots, `KNOT` pixels apart, to ``length`` pixels.

    Returns:
        length×knots, rows sum to 1. Knot j lies at pixel (j − 1)·KNOT.
    """
    place = np.arange(length) / KNOT
    first = np.floor(place).astype(int)
    part = place - first
    weights = (
        (1 - part) ** 3 / 6,
        (3 * part**3 - 6 * part**2 + 4) / 6,
        (-3 * part**3 + 3 * part**2 + 3 * part + 1) / 6,
        part**3 / 6,
    )
    basis = np.zeros((length, int(first[-1]) + 4), np.float32)
    for offset, weight in enumerate(weights):
        basis[np.arange(length), first + offset] = weight
    return basis


def knots(height: int, width: int) -> Array:
    """P×2: where the knots of `spline` lie in the frame, row by row."""
    rows, columns = spline(height).shape[1], spline(width).shape[1]
    y, x = np.mgrid[:rows, :columns]
    return np.stack(((x.ravel() - 1) * KNOT, (y.ravel() - 1) * KNOT), -1).astype(np.float64)


class Warp:
    """The source place of every frame pixel, at some times, on a device.

    Attributes:
        affine: K×2×3 on the CPU, frame to source.
        shift: K×2×H×W in source pixels on the device, or None where nothing bends.
    """

    def __init__(
        self,
        path: Path,
        bending: Bending | None,
        times: Array,
        height: int,
        width: int,
        device: torch.device,
    ) -> None:
        self.affine = path.to_source(times)
        self.height, self.width, self.device = height, width, device
        self.shift: Tensor | None = None
        self._reach = 0.0 if bending is None else bending.reach
        if bending is not None:
            values = bending.at(mapped(self.affine, knots(height, width)), times)
            down, across = spline(height), spline(width)
            values = values.reshape(len(times), down.shape[1], across.shape[1], 2)
            grid = send(values.transpose(0, 3, 1, 2).astype(np.float32), device)
            self.shift = send(down, device) @ grid @ send(across, device).T

    def box(self, height: int, width: int) -> tuple[slice, slice]:
        """Rows and columns of a source that can be seen; at least one pixel of it."""
        corners = np.array(
            [[x, y] for x in (-0.5, self.width - 0.5) for y in (-0.5, self.height - 0.5)]
        )
        seen = mapped(self.affine, corners).reshape(-1, 2)
        margin = self._reach + 8

        def span(values: Array, size: int) -> slice:
            first = min(max(math.floor(values.min() - margin), 0), size - 1)
            end = min(max(math.ceil(values.max() + margin) + 1, first + 1), size)
            return slice(first, max(end, first + 1))

        return span(seen[:, 1], height), span(seen[:, 0], width)

    def grid(self, box: tuple[slice, slice], level: int, height: int, width: int) -> Tensor:
        """K×H×W×2 places for `torch.nn.functional.grid_sample` without aligned corners.

        Args:
            box: the part of the source that is sampled.
            level: how often it was halved.
            height, width: of that part now, after halving.
        """
        step = 2.0**level
        size = np.array([width, height], float) * step
        offset = np.array([box[1].start, box[0].start], float)
        linear = self.affine[:, :, :2] * (2 / size)[:, None]
        constant = (self.affine[:, :, 2] - offset + 0.5) * (2 / size) - 1
        return self._places(linear, constant, 2 / size)

    def places(self) -> Tensor:
        """K×H×W×2: source places in pixels."""
        return self._places(self.affine[:, :, :2], self.affine[:, :, 2], np.ones(2))

    def _places(self, linear: Array, constant: Array, unit: Array) -> Tensor:
        x = np.arange(self.width)
        y = np.arange(self.height)
        across = linear[:, None, :, 0] * x[:, None] + constant[:, None, :]
        down = linear[:, None, :, 1] * y[:, None]
        grid = (
            send(across.astype(np.float32), self.device)[:, None]
            + send(down.astype(np.float32), self.device)[:, :, None]
        )
        if self.shift is not None:
            grid[..., 0] += self.shift[:, 0] * float(unit[0])
            grid[..., 1] += self.shift[:, 1] * float(unit[1])
        return grid


def flow_of(warp: Warp) -> Tensor:
    """Where what a frame shows lies in the next frame.

    Found by asking, for the source place under each pixel, which pixel of the next frame shows
    it; a few rounds of substitution, each of which takes the affine part back exactly.

    Args:
        warp: at T consecutive frames.

    Returns:
        T×2×H×W, x and y in pixels; 0 for the last frame.
    """
    frames, height, width = len(warp.affine), warp.height, warp.width
    flow = torch.zeros(frames, 2, height, width, device=warp.device)
    if frames < 2:
        return flow
    back = inverted(warp.affine[1:])
    step = np.concatenate((warp.affine[:-1], np.tile([0.0, 0.0, 1.0], (frames - 1, 1, 1))), 1)
    through = back @ step - np.eye(2, 3)
    y, x = np.arange(height), np.arange(width)
    across = through[:, :, :1] * x + through[:, :, 2:]
    down = through[:, :, 1:2] * y
    send_to = warp.device
    still = (
        send(across.astype(np.float32), send_to)[:, :, None]
        + send(down.astype(np.float32), send_to)[:, :, :, None]
    )
    if warp.shift is None:
        flow[:-1] = still
        return flow
    linear = send(back[:, :, :2].astype(np.float32), send_to)

    def in_frame(shift: Tensor) -> Tensor:
        return torch.stack(
            [
                linear[:, i, 0, None, None] * shift[:, 0]
                + linear[:, i, 1, None, None] * shift[:, 1]
                for i in range(2)
            ],
            1,
        )

    now = still + in_frame(warp.shift[:-1])
    then = in_frame(warp.shift[1:])
    pixel = torch.stack(
        torch.meshgrid(
            torch.arange(height, device=send_to, dtype=torch.float32),
            torch.arange(width, device=send_to, dtype=torch.float32),
            indexing="ij",
        )[::-1],
        -1,
    )
    unit = send(np.array([2 / width, 2 / height], np.float32), send_to)
    guess = now - then
    for _ in range(_STEPS - 1):
        place = (pixel + guess.permute(0, 2, 3, 1) + 0.5) * unit - 1
        seen = functional.grid_sample(then, place, padding_mode="border", align_corners=False)
        guess = now - seen
    flow[:-1] = guess
    return flow
