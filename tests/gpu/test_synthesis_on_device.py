"""The device makes the clips that the CPU makes."""

import cv2
import numpy as np
import pytest
import torch

from training.sprites import Sprite
from training.synthesis import Synthesis, SynthesisConfig

pytestmark = pytest.mark.gpu


def sprites() -> list[Sprite]:
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:160, :160]
    found = []
    for number, soft in enumerate((4.0, 12.0, 20.0)):
        coarse = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        colour = cv2.resize(coarse, (160, 160), interpolation=cv2.INTER_CUBIC)
        alpha = np.clip((54 - np.hypot(x - 80, y - 80)) / soft + 0.5, 0, 1)
        frame = np.dstack([colour, (alpha * 255).round().astype(np.uint8)])
        found.append(Sprite(f"disc {number}", "solid", np.stack([frame] * 2), "filmed"))
    return found


def test_clips(device):
    config = SynthesisConfig(height=96, width=112, frames=4, occluder_share=0.4, pair_share=0.4)
    rng = np.random.default_rng(2)
    photographs = [rng.integers(0, 256, (150, 170, 3), dtype=np.uint8)]
    photographs = [cv2.GaussianBlur(photographs[0], (0, 0), 4)]
    films = [np.stack([photographs[0]] * 3)]
    right = Synthesis(sprites(), photographs, films, config, "cpu").clips(4, 8)
    found = Synthesis(sprites(), photographs, films, config, device).clips(4, 8)
    assert found.kinds == right.kinds
    for name in ("light", "picture", "alpha", "foreground", "background", "flow", "trimap"):
        plane = getattr(found, name)
        assert plane.device.type == device.type
        error = (plane.cpu() - getattr(right, name)).abs()
        # A radius or a code may fall the other side of a rounding.
        assert float((error > 0.02).float().mean()) < 0.01, name
        assert float(error.median()) < 1e-3, name


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_does_not_wait(device):
    if device.type != "cuda":
        pytest.skip("only CUDA waits")
    maker = Synthesis(sprites(), [], [], SynthesisConfig(height=64, width=64, frames=3), device)
    maker.clips(1, 4)
    torch.cuda.set_sync_debug_mode("error")
    try:
        maker.clips(2, 4)
    finally:
        torch.cuda.set_sync_debug_mode("default")
