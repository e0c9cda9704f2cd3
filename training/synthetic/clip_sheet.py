"""Contact sheets of synthetic clips: a row for each, for people to look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.exposure import ExposureMap, to_picture

if TYPE_CHECKING:
    from training.synthesis import Clips


def write_sheet(clips: Clips, path: Path) -> None:
    """Write a PNG: picture of the first and last frame, of foreground and background, alpha of the
    first and last frame, trimap and flow of the first.

    Raises:
        OSError: the file cannot be written.
    """
    rows = []
    for i in range(len(clips.alpha)):
        cells = [
            clips.picture[i, 0],
            clips.picture[i, -1],
            _shown(clips.foreground[i, 0], bool(clips.linear[i])),
            _shown(clips.background[i, 0], bool(clips.linear[i])),
            clips.alpha[i, 0].expand(3, -1, -1),
            clips.alpha[i, -1].expand(3, -1, -1),
            clips.trimap[i, 0].expand(3, -1, -1),
            flow_colour(clips.flow[i, 0]),
        ]
        row = np.concatenate([_bytes(cell) for cell in cells], 1)
        label = f"{i} {clips.kinds[i]} {'linear' if clips.linear[i] else 'display'}"
        for thickness, colour in ((3, (0, 0, 0)), (1, (255, 255, 255))):
            cv2.putText(row, label, (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, thickness)
        rows.append(row)
    done, data = cv2.imencode(".png", np.concatenate(rows, 0)[..., ::-1])
    if not done:
        raise OSError(f"{path}: no PNG could be made")
    path.write_bytes(data.tobytes())


def flow_colour(flow: Tensor, most: float = 10.0) -> Tensor:
    """2×H×W to 3×H×W: hue is the direction, brightness the speed, full at ``most`` pixels."""
    x, y = flow
    speed = torch.hypot(x, y) / most
    angle = torch.atan2(y, x)
    thirds = [angle, angle - 2 * torch.pi / 3, angle + 2 * torch.pi / 3]
    return torch.stack([speed * (0.5 + 0.5 * torch.cos(third)) for third in thirds]).clamp(0, 1)


def _shown(layer: Tensor, linear: bool) -> Tensor:
    return to_picture(layer, ExposureMap()) if linear else layer


def _bytes(picture: Tensor) -> NDArray[np.uint8]:
    codes = (picture.clamp(0, 1) * 255).round().to(torch.uint8)
    return np.ascontiguousarray(codes.permute(1, 2, 0).cpu().numpy())
