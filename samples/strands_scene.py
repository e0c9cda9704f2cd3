"""The sample's scene: a soft body covered in strands, moving over a moving photograph.

All of it is geometry and shading; files are written by `make_sample.py`. Positions are in pixels of
the final picture, colours scene-linear Rec.709, time in frames counted from the shot's first.

The body is a unit sphere seen from the front, so a root on it is also its normal. A strand leaves
along its normal, falls with gravity, trails behind the body's motion and waves; it is drawn as one
quadrilateral per section, tapered from root to tip, on a canvas four times as large, once per
sub-frame of a half-frame shutter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

WIDTH, HEIGHT = 640, 360
SUPERSAMPLING = 4
SUBFRAMES = 20
SHUTTER = 0.5
SECTIONS = 16
SUBPIXEL_BITS = 4

RADIUS = np.array([88.0, 98.0], np.float32)
LIGHT = np.array([-0.45, -0.75, 0.48], np.float32)
RIM = np.array([0.80, -0.45, -0.40], np.float32)


@dataclass(frozen=True)
class Strands:
    """N strands in the body's frame, back to front.

    Attributes:
        root: float32 N×3, on the unit sphere; x right, y down, z towards the camera.
        lean: float32 N×3, direction a strand leaves in, of unit length.
        length: float32 N, pixels.
        width: float32 N, pixels at the root.
        curl: float32 N×2, sideways amplitude in pixels and phase.
        phase: float32 N, of the wave that runs along the strand.
        tint: float32 N×3, scene-linear.
    """

    root: Array
    lean: Array
    length: Array
    width: Array
    curl: Array
    phase: Array
    tint: Array


def grow(seed: int, locks: int = 360, per_lock: int = 9) -> Strands:
    """Scatter locks of strands over the body, denser where the silhouette will be."""
    random = np.random.default_rng(seed)
    z = random.uniform(-0.35, 0.95, locks)
    turn = random.uniform(0, 2 * np.pi, locks)
    flat = np.sqrt(1 - z**2)
    centres = np.stack([flat * np.cos(turn), flat * np.sin(turn), z], 1)
    centres = np.repeat(centres, per_lock, 0)
    count = len(centres)

    root = centres + random.normal(0, 0.05, (count, 3))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    lean = root + random.normal(0, 0.16, (count, 3)) + np.array([0.0, 0.32, -0.12])
    lean /= np.linalg.norm(lean, axis=1, keepdims=True)
    lock_length = np.repeat(
        random.uniform(30, 66, locks) * (1 + 0.5 * (random.random(locks) < 0.08)), per_lock
    )
    lock_phase = np.repeat(random.uniform(0, 1.2, locks), per_lock)
    lock_shade = np.repeat(random.uniform(0.7, 1.15, locks), per_lock)
    silver = np.array([0.62, 0.60, 0.52]) * (1 + random.normal(0, 0.10, (count, 1)))
    order = np.argsort(root[:, 2], kind="stable")
    strands = Strands(
        root,
        lean,
        lock_length * random.uniform(0.75, 1.2, count),
        random.uniform(0.65, 1.45, count),
        np.stack([random.normal(0, 5.5, count), random.uniform(0, 2 * np.pi, count)], 1),
        lock_phase + 2.2 * root[:, 0] + random.normal(0, 0.12, count),
        silver * lock_shade[:, None],
    )
    fields = vars(strands).items()
    return Strands(**{name: value[order].astype(np.float32) for name, value in fields})


def body_at(time: float) -> tuple[Array, float, float]:
    """Centre in pixels, roll in radians, and sideways speed in pixels a frame, at ``time``."""
    swing = 2 * np.pi * time / 26
    centre = np.array([290 + 30 * (1 - np.cos(swing)), 226 - 6 * np.sin(2 * swing)], np.float32)
    return centre, float(0.10 * np.sin(swing)), float(30 * np.sin(swing) * 2 * np.pi / 26)


def curves(strands: Strands, time: float) -> Array:
    """Centre lines, float32 N×(SECTIONS+1)×3: x and y in pixels, z in pixels towards the camera."""
    centre, roll, speed = body_at(time)
    along = np.linspace(0, 1, SECTIONS + 1, dtype=np.float32)[None, :, None]
    cos, sin = np.cos(roll), np.sin(roll)
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float32)
    scale = np.array([RADIUS[0], RADIUS[1], RADIUS[0]], np.float32) * 0.97
    length = strands.length[:, None, None]

    line = (strands.root * scale)[:, None] + strands.lean[:, None] * length * along
    amplitude, phase = strands.curl[:, :1, None], strands.curl[:, 1:, None]
    side = np.stack([-strands.lean[:, 1], strands.lean[:, 0], 0 * strands.lean[:, 0]], 1)[:, None]
    line = line + side * amplitude * along * np.sin(5.0 * along + phase)
    line = line @ spin.T
    wave = np.sin(2 * np.pi * time / 15 - 1.3 * along + strands.phase[:, None, None])
    bend = along**1.8 * (6.0 * wave - 1.5 * speed) * (length / 60)
    droop = 17 * along**2 * (length / 60)
    line = line + np.concatenate([bend, droop, np.zeros_like(bend)], 2)
    return np.asarray(line + np.append(centre, 0), np.float32)


def shade(strands: Strands, line: Array) -> Array:
    """Colour of each section, float32 N×SECTIONS×3.

    Kajiya and Kay's diffuse and highlight ("Rendering fur with three dimensional textures", 1989)
    and light that shines through from behind.
    """
    tangent = np.diff(line, axis=1)
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True) + 1e-6
    along = (np.arange(SECTIONS, dtype=np.float32) + 0.5)[None, :, None] / SECTIONS
    half = LIGHT + np.array([0, 0, 1], np.float32)
    half /= np.linalg.norm(half)

    def across(direction: Array) -> Array:
        return np.sqrt(np.clip(1 - (tangent @ direction) ** 2, 0, 1))[..., None]

    facing = np.clip(strands.root @ LIGHT, -0.2, 1)[:, None, None]
    hidden = 0.35 + 0.65 * np.clip(0.35 + 0.65 * along, 0, 1)
    diffuse = (
        strands.tint[:, None] * (0.10 + 0.75 * across(LIGHT) * (0.35 + 0.65 * facing)) * hidden
    )
    glint = 3.4 * across(half) ** 60 * np.clip(facing, 0, 1) * np.array([1.0, 0.97, 0.9])
    behind = np.clip(strands.root @ RIM, 0, 1)[:, None, None] ** 1.5
    rim = 1.9 * behind * along * np.array([1.0, 0.62, 0.30])
    return np.asarray(diffuse + glint + rim, np.float32)


def outlines(strands: Strands, line: Array) -> npt.NDArray[np.int32]:
    """Quadrilaterals of each section in fixed-point canvas coordinates, int32 N×SECTIONS×4×2."""
    across = np.diff(line[..., :2], axis=1, append=2 * line[:, -1:, :2] - line[:, -2:-1, :2])
    across = np.stack([-across[..., 1], across[..., 0]], 2)
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-6
    along = np.linspace(0, 1, SECTIONS + 1, dtype=np.float32)[None, :, None]
    half = 0.5 * strands.width[:, None, None] * (1 - 0.78 * along**1.4)
    left, right = line[..., :2] - across * half, line[..., :2] + across * half
    quads = np.stack([left[:, :-1], left[:, 1:], right[:, 1:], right[:, :-1]], 2)
    fixed = (quads * SUPERSAMPLING - 0.5) * (1 << SUBPIXEL_BITS)
    return np.asarray(np.rint(fixed), np.int32)


def paint_strands(
    canvas: Array, strands: Strands, time: float, which: npt.NDArray[np.bool_]
) -> None:
    """Draw the strands ``which`` selects onto a premultiplied RGBA canvas, back to front."""
    line = curves(strands, time)
    quads, colours = outlines(strands, line)[which], shade(strands, line)[which]
    values = np.concatenate([colours, np.ones_like(colours[..., :1])], 2).astype(np.float64)
    for strand, tints in zip(quads, values.tolist(), strict=True):
        for quad, tint in zip(strand, tints, strict=True):
            cv2.fillConvexPoly(canvas, quad, tint, cv2.LINE_8, SUBPIXEL_BITS)


def paint_body(canvas: Array, time: float, fuzz: Array) -> None:
    """Lay the shaded, soft-edged body over the canvas; ``fuzz`` is its texture, 256×256."""
    centre, roll, _ = body_at(time)
    low = np.maximum(((centre - RADIUS * 1.05) * SUPERSAMPLING).astype(int), 0)
    high = ((centre + RADIUS * 1.05) * SUPERSAMPLING).astype(int) + 1
    part = canvas[low[1] : high[1], low[0] : high[0]]
    x = (np.arange(low[0], low[0] + part.shape[1], dtype=np.float32) + 0.5) / SUPERSAMPLING
    y = (np.arange(low[1], low[1] + part.shape[0], dtype=np.float32) + 0.5) / SUPERSAMPLING
    u, v = np.meshgrid((x - centre[0]) / RADIUS[0], (y - centre[1]) / RADIUS[1])
    square = u**2 + v**2
    z = np.sqrt(np.clip(1 - square, 0, 1))
    lit = np.clip(u * LIGHT[0] + v * LIGHT[1] + z * LIGHT[2], -0.25, 1) + 0.25
    cos, sin = np.float32(np.cos(roll)), np.float32(np.sin(roll))
    across, down = 110 * (cos * u + sin * v) + 128, 110 * (cos * v - sin * u) + 128
    texture = cv2.remap(fuzz, across, down, cv2.INTER_LINEAR)
    tone = (0.05 + 0.62 * lit) * texture * (0.55 + 0.45 * z)
    ramp = np.clip((1.0 - np.sqrt(square)) / 0.06, 0, 1)
    cover = (ramp * ramp * (3 - 2 * ramp))[..., None]
    colour = tone[..., None] * np.array([0.20, 0.42, 0.50], np.float32)
    part *= 1 - cover
    part[..., :3] += colour * cover
    part[..., 3:] += cover


def foreground(strands: Strands, fuzz: Array, frame: int) -> Array:
    """Premultiplied RGBA of one frame with its motion blur, float32 HEIGHT×WIDTH×4."""
    behind = strands.root[:, 2] < 0.05
    total = np.zeros((HEIGHT, WIDTH, 4), np.float32)
    canvas = np.empty((HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING, 4), np.float32)
    for time in exposure(frame):
        canvas[:] = 0
        paint_strands(canvas, strands, time, behind)
        paint_body(canvas, time, fuzz)
        paint_strands(canvas, strands, time, ~behind)
        total += cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return total / SUBFRAMES


def exposure(frame: int) -> Iterator[float]:
    """Times at which the shutter of ``frame`` is sampled."""
    for i in range(SUBFRAMES):
        yield frame + SHUTTER * ((i + 0.5) / SUBFRAMES - 0.5)


def photograph(path: Path) -> Array:
    """The photograph, float32 H×W×3 scene-linear Rec.709, its clipped highlights back above 1."""
    encoded = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if encoded is None:
        raise FileNotFoundError(path)
    value = encoded[..., ::-1].astype(np.float32) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    bright = np.clip((linear.min(2, keepdims=True) - 0.55) / 0.45, 0, 1)
    return np.asarray(linear * (1 + 4.5 * bright**2), np.float32)


def background(photo: Array, frame: int) -> Array:
    """The photograph behind a slow pan, a little out of focus, float32 HEIGHT×WIDTH×3."""
    total = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    zoom = 1.22
    for time in exposure(frame):
        shift = np.array([22 + 3.1 * time, 96 - 2.3 * time - 4 * np.sin(time / 2.5)])
        move = np.array([[zoom, 0, -shift[0]], [0, zoom, -shift[1]]], np.float32)
        total += cv2.warpAffine(photo, move, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    return cv2.GaussianBlur(total / SUBFRAMES, (0, 0), 1.1)


def texture(seed: int) -> Array:
    """Fuzz of the body: two octaves of smoothed noise around 1, float32 256×256."""
    random = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(random.normal(0, 1, (256, 256)).astype(np.float32), (0, 0), 1.2)
    broad = cv2.GaussianBlur(random.normal(0, 1, (256, 256)).astype(np.float32), (0, 0), 6)
    return np.asarray(1 + 0.55 * fine + 2.0 * broad, np.float32).clip(0.2, 2)
