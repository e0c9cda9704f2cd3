"""Tiny layouts of the published form, and what tests of composing ask of their clips."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from training.composing.manifest import PARTS

ROOT = Path(__file__).parents[2]
FG_COLOUR = (200, 120, 40)  # RGB, all over a foreground where it is there at all


def save(path: Path, codes: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shown = codes if codes.ndim == 2 else codes[..., [2, 1, 0, 3][: codes.shape[2]]]
    assert cv2.imwrite(str(path), np.ascontiguousarray(shown))


def disc(width: int = 40, height: int = 30, soft: float = 2.0, bits: int = 8) -> np.ndarray:
    """An alpha: a disc that ends softly."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot(x - width / 2, y - height / 2)
    share = np.clip((min(width, height) / 3 - away) / soft + 0.5, 0, 1)
    kind, most = (np.uint8, 255) if bits == 8 else (np.uint16, 65535)
    return np.rint(share * most).astype(kind)


def flat(alpha: np.ndarray, garbage: int = 255) -> np.ndarray:
    """One colour where alpha is not 0, and something else where it is."""
    colour = np.full((*alpha.shape, 3), garbage, np.uint8)
    colour[alpha > 0] = FG_COLOUR
    return colour


def noise(height: int, width: int, seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3))
    return cv2.resize(small.astype(np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def still(root: Path, name: str, alpha: np.ndarray | None = None, phase: str = "train") -> None:
    """A foreground image."""
    alpha = disc() if alpha is None else alpha
    save(root / f"fg/image/{phase}/alpha/{name}", alpha)
    save(root / f"fg/image/{phase}/fg/{name}", flat(alpha))


def footage(root: Path, name: str, frames: int = 6, phase: str = "train") -> None:
    """A foreground that moves by itself, as folders of frames."""
    for index in range(frames):
        alpha = np.roll(disc(), index, 1)
        save(root / f"fg/video/{phase}/{name}/a/{index:05d}.png", alpha)
        save(root / f"fg/video/{phase}/{name}/f/{index:05d}.png", flat(alpha))


def background(
    root: Path, name: str, frames: int = 5, size: tuple[int, int] = (64, 48), phase: str = "train"
) -> None:
    """A background as a folder of frames."""
    for index in range(frames):
        seed = int.from_bytes(hashlib.sha256(f"{name} {index}".encode()).digest()[:4], "big")
        save(root / f"bg/{phase}/{name}/{index:04d}.png", noise(size[1], size[0], seed))


def movie(path: Path, frames: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def layout(root: Path) -> Path:
    """Two images and one shot over three backgrounds, names as awkward as they come."""
    still(root, "leaf (1) [b].v2.png")
    still(root, "a+b.png", disc(36, 36))
    footage(root, "0000")
    background(root, "0000")
    background(root, "sky_1")
    background(root, "0002", frames=7)
    return root


def read(path: Path) -> np.ndarray:
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert codes is not None, path
    return codes if codes.ndim == 2 else codes[..., ::-1]


def hashes(out: Path) -> dict[str, str]:
    """SHA-256 of every file of every clip."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for part in PARTS
        for path in sorted((out / part).rglob("*.png"))
    }


def staged(out: Path) -> list[str]:
    """What lies where clips are made: nothing, once a run is over."""
    return [one.name for one in (out / ".composing").iterdir() if one.name != "lock"]


def require_bare(kind: str, folder: Path, holds: str) -> None:
    """See that ``holds`` is true of a source ``s`` in a process of its own, and that it imports
    nothing which a bare training machine lacks."""
    code = (
        "import sys\nfrom training.sources import open_source\n"
        f"s = open_source({{'kind': {kind!r}, 'folder': {str(folder)!r}}})\n"
        f"assert {holds}\n"
        "print(sorted({'OpenImageIO', 'av', 'typer', 'rich', 'kornia'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stdout.strip()) == (0, "[]"), said.stderr
