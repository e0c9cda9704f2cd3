"""Sprites: things with exact alpha that clips are composed of.

python -m training.sprites --out sheet.png [--kind fur] [--material FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from model.errors import EngineError, InputError
from model.plates.atomic import write_bytes
from training.synthetic.cloth import cloth
from training.synthetic.clumps import clump
from training.synthetic.curves import curves
from training.synthetic.fur import fur
from training.synthetic.lace import lace
from training.synthetic.painting import Picture, extended
from training.synthetic.smoke import smoke
from training.synthetic.solids import solid
from training.synthetic.strands import hair

if TYPE_CHECKING:
    from training.material import Material

__all__ = ["KINDS", "Sprite", "extended", "grow_sprite", "sprite_library"]

# How many of each kind in a library, of 100.
SHARES = {
    "strands": 26,
    "fur": 22,
    "solid": 18,
    "curves": 12,
    "lace": 8,
    "smoke": 9,
    "cloth": 5,
}
# Clumps came after the hold-outs were made, which are to stay as they are: recipes ask for them.
KINDS = (*SHARES, "clumps")
MATERIAL_KINDS = ("cutout", "person", "effect")
_STILL = {"solid": solid, "curves": curves, "lace": lace, "clumps": clump}
_MOVING = {"strands": hair, "fur": fur, "smoke": smoke, "cloth": cloth}
_FRAMES = 8  # of those that move by themselves, half of the time
_MARGIN = 12  # pixels of nothing around a sprite


@dataclass(frozen=True)
class Sprite:
    """One thing with alpha.

    Attributes:
        name: unique in a library.
        kind: one of `KINDS` or `MATERIAL_KINDS`.
        frames: uint8 T×H×W×4: straight sRGB-encoded colour, carried on where alpha is 0, and alpha;
            T = 1 for stills.
        motion: ``still``: it moves as a whole only; ``filmed``: frame t follows frame t−1.
    """

    name: str
    kind: str
    frames: NDArray[np.uint8]
    motion: str


def grow_sprite(kind: str, seed: int, photographs: Sequence[Picture]) -> Sprite:
    """A procedural sprite, the same for the same arguments.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"a procedural sprite is one of {', '.join(KINDS)}, not {kind!r}")
    rng = np.random.default_rng((KINDS.index(kind), seed))
    frames = _FRAMES if rng.random() < 0.5 else 1
    if kind in _STILL:
        made = _STILL[kind](rng, photographs)
    else:
        made = _MOVING[kind](rng, photographs, frames)
    made = _cropped(made)
    return Sprite(f"{kind} {seed}", kind, made, "filmed" if len(made) > 1 else "still")


def _cropped(frames: Picture) -> Picture:
    """Without most of the emptiness around it: sprites lie in memory by the hundred."""
    seen = frames[..., 3].max(0) > 0
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    top, left = max(rows[0] - _MARGIN, 0), max(columns[0] - _MARGIN, 0)
    kept = frames[:, top : rows[-1] + 1 + _MARGIN, left : columns[-1] + 1 + _MARGIN]
    return np.ascontiguousarray(kept)


def sprite_library(
    material: Material, seed: int, count: int, workers: int, clumps: int = 0
) -> tuple[Sprite, ...]:
    """``count`` procedural sprites of all kinds by `SHARES`, clumps, then the material's own.

    Args:
        material: its photographs colour the procedural sprites.
        seed: of the first; the others follow.
        workers: processes that grow them.
        clumps: how many of that kind, which has no share.
    """
    total = sum(SHARES.values())
    wanted = [
        (kind, seed + i)
        for kind, share in SHARES.items()
        for i in range(max(1, round(count * share / total)))
    ]
    wanted += [("clumps", seed + i) for i in range(clumps)]
    if workers <= 1:
        grown = [grow_sprite(kind, number, material.photographs) for kind, number in wanted]
    else:
        with ProcessPoolExecutor(
            workers, get_context("spawn"), _prepare, (material.photographs,)
        ) as pool:
            grown = list(pool.map(_grow, wanted, chunksize=4))
    return (*grown, *material.sprites)


_photographs: Sequence[Picture] = ()


def _prepare(photographs: Sequence[Picture]) -> None:
    global _photographs
    _photographs = photographs
    cv2.setNumThreads(1)


def _grow(wanted: tuple[str, int]) -> Sprite:
    return grow_sprite(*wanted, _photographs)


def sheet(sprites: Sequence[Sprite], columns: int = 6, side: int = 320) -> Picture:
    """Sprites over a checker, and their alpha beside it; RGB."""
    y, x = np.mgrid[:side, :side] // 16
    checker = np.where((x + y) % 2, 90, 150).astype(np.float32)[..., None]
    tiles = []
    for sprite in sprites:
        frame = sprite.frames[0]
        scale = side / max(frame.shape[:2])
        small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        canvas = np.zeros((side, side, 4), np.uint8)
        canvas[: small.shape[0], : small.shape[1]] = small[:side, :side]
        alpha = canvas[..., 3:].astype(np.float32) / 255
        over = (canvas[..., :3] * alpha + checker * (1 - alpha)).astype(np.uint8)
        cv2.putText(over, sprite.name[:36], (4, 14), 0, 0.42, (255, 60, 60), 1, cv2.LINE_AA)
        tiles.append(np.hstack([over, np.repeat(canvas[..., 3:], 3, 2)]))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw a contact sheet of sprites."""
    from training.material import Material, read_material

    parser = argparse.ArgumentParser(prog="python -m training.sprites", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--material", type=Path, help="folder of real material")
    parser.add_argument("--kind", choices=KINDS, help="this kind alone")
    parser.add_argument("--real", action="store_true", help="the material's own sprites")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    if chosen.real and not chosen.material:
        parser.error("--real shows the sprites of a folder: name it with --material")
    try:
        found = read_material(chosen.material, "train")
    except InputError as error:
        raise SystemExit(f"{error.message}: {error.hint}") from None
    if chosen.real:
        sprites: Sequence[Sprite] = found.sprites
    elif chosen.kind:
        sprites = [
            grow_sprite(chosen.kind, chosen.seed + i, found.photographs)
            for i in range(chosen.count)
        ]
    else:
        sprites = sprite_library(Material((), found.photographs), chosen.seed, chosen.count, 1)
    # Not imwrite, which does not see a disk that is full.
    done, data = cv2.imencode(chosen.out.suffix or ".png", sheet(sprites)[..., ::-1])
    if not done:
        raise SystemExit(f"{chosen.out} cannot be made: end its name in .png or .jpg")
    try:
        write_bytes(chosen.out, data.tobytes())
    except EngineError as error:
        raise SystemExit(f"{error.message}: {error.hint}") from None


if __name__ == "__main__":
    main()
