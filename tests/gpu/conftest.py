"""For tests that run on a bare GPU machine: torch, numpy, scipy, opencv, safetensors, nothing more.

Each names the device it is for by the fixture; without one it is skipped. `check.py` runs them.
"""

import os

import pytest
import torch

from model.face import Frame


@pytest.fixture(scope="session")
def device():
    name = os.environ.get("DVM_CHECK_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(name)


@pytest.fixture(autouse=True)
def full_precision():
    """Float32 means float32: what is compared with the CPU must not go through TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def disc_clip(count=4, height=63, width=90):
    """Frames with trimaps, on the CPU: a soft textured disc that moves over another texture."""
    g = torch.Generator().manual_seed(3)
    behind = 0.1 + 0.3 * torch.rand(1, 3, height, width, generator=g)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frames = []
    for i in range(count):
        distance = torch.hypot(y - height / 2, x - width * 0.4 - 1.5 * i)
        alpha = ((height / 3 - distance) / 6 + 0.5).clamp(0, 1)[None, None]
        front = torch.stack([0.8 + 0.1 * torch.sin(x / 3 - i / 2), 0.5 + 0 * x, 0.2 + y / 300])[
            None
        ]
        light = alpha * front + (1 - alpha) * behind
        trimap = torch.where((distance - height / 3).abs()[None, None] < 5, 0.5, alpha.round())
        frames.append(Frame(i, light, light.clamp(0, 1), trimap, "display"))
    return frames


@pytest.fixture
def clip_of():
    return disc_clip


@pytest.fixture
def on():
    """Frames moved to a device."""

    def moved(frames, device):
        return [
            Frame(
                f.number, f.light.to(device), f.picture.to(device), f.trimap.to(device),
                f.composited_in,
            )
            for f in frames
        ]  # fmt: skip

    return moved
