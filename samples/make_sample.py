"""Make samples/strands: plates, keyframe trimaps, the true alpha, shot.json. Always the same bytes.

    python samples/make_sample.py [FOLDER]

Plates are composited in linear light, pixel by pixel: plate = F·α + (1−α)·B, with the alpha that is
written as truth.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import strands_scene as scene

from model.plates.atomic import write_bytes
from model.plates.image_files import write_image

SEED = 20260917
FIRST, LAST = 1001, 1012
KEYFRAMES = (1001, 1012)
DWA_LEVEL = 120.0
TRUTH_STEPS = 256  # exact in half floats, and compresses well
SAMPLES = Path(__file__).parent

SHOT = {
    "schema": 1,
    "name": "strands",
    "frames": [[FIRST, LAST, 1]],
    "plates": {
        "pattern": "plate.####.exr",
        "colourspace": "lin_rec709",
        "composited_in": "linear",
        "premultiplied": False,
    },
    "keyframes": [{"frame": frame, "trimap": f"trimap.{frame}.png"} for frame in KEYFRAMES],
    "outputs": {
        "pattern": "../../demo-output/alpha.####.exr",
        "layers": ["alpha", "trimap", "foreground"],
    },
}


def paint_trimap(alpha: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """A trimap as an artist would paint it: generous around mixed pixels, with smooth outlines.

    Args:
        alpha: float32 H×W, the truth.

    Returns:
        uint8 H×W, 0 / 128 / 255; never certain where the truth is mixed.
    """

    mixed = ((alpha > 0) & (alpha < 1)).astype(np.uint8)
    unknown = cv2.dilate(mixed, brush(4))
    padded = cv2.copyMakeBorder(unknown, 20, 20, 20, 20, cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, brush(9))[20:-20, 20:-20]
    trimap = np.where(alpha >= 1, 255, 0).astype(np.uint8)
    trimap[closed > 0] = 128
    return trimap


def brush(radius: int) -> npt.NDArray[np.uint8]:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8
    )


def make(folder: Path) -> None:
    """Write the whole sample into ``folder``; takes about a minute."""
    folder.mkdir(parents=True, exist_ok=True)
    strands, fuzz = scene.grow(SEED), scene.texture(SEED + 1)
    photo = scene.photograph(SAMPLES / "background.jpg")
    for frame in range(FIRST, LAST + 1):
        time = frame - FIRST
        painted = scene.foreground(strands, fuzz, time)
        truth = np.round(painted[..., 3].clip(0, 1) * TRUTH_STEPS) / TRUTH_STEPS
        straight = painted[..., :3] / np.maximum(painted[..., 3:], 1e-6)
        cover = truth[..., None]
        plate = straight * cover + (1 - cover) * scene.background(photo, time)
        write_image(
            folder / f"plate.{frame}.exr",
            plate.astype(np.float16),
            ("R", "G", "B"),
            compression="dwaa",
            attributes={
                "colorInteropID": "lin_rec709_scene",
                "FramesPerSecond": (24, 1),
                "dwaCompressionLevel": DWA_LEVEL,
            },
        )
        write_image(
            folder / f"truth.{frame}.exr",
            truth[..., None].astype(np.float16),
            ("A",),
            compression="zip",
        )
        if frame in KEYFRAMES:
            _, data = cv2.imencode(".png", paint_trimap(truth))
            write_bytes(folder / f"trimap.{frame}.png", data.tobytes())  # imwrite tells no error
        print(f"frame {frame}", flush=True)
    (folder / "shot.json").write_text(json.dumps(SHOT, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    make(Path(sys.argv[1]) if len(sys.argv) > 1 else SAMPLES / "strands")
