"""Weights for `st_fam_r50` that are made by rule, since its own are not ours to give.

The rule is that of `tests/golden/dvm/README.md`, by the published name of each tensor: so the full
network is the one whose outputs lie there, and a narrow one is the same architecture at test speed.
torch, numpy and safetensors are enough.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch

from model.checkpoint import CheckpointRecord, save_checkpoint
from model.networks.r50_published_names import published_name
from model.networks.st_fam_r50 import NAME, StFamR50

NARROW = (8, 32, 32, 64, 64)
PUBLISHED = (64, 256, 512, 1024, 2048)


def by_rule(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The numbers of a tensor, by its published name."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    state = np.random.RandomState(zlib.crc32(key.encode()))
    drawn = torch.from_numpy(np.asarray(state.standard_normal(shape), np.float32))
    if key.endswith("running_var"):
        return 1 + 0.1 * drawn.abs()
    if key.endswith("running_mean"):
        return 0.1 * drawn
    if len(shape) == 1 and key.endswith("weight"):
        return 1 + 0.1 * drawn
    if key.endswith("bias"):
        return 0.1 * drawn
    spread = np.prod(shape[1:]) ** -0.5
    return drawn * np.float32(0.5 * spread if "conv_offset_mask" in key else spread)


def network_by_rule(
    channels=None, shift: int = 2, refine: bool = True, upsample: str = "shuffle"
) -> StFamR50:
    """In evaluation mode; the published widths if none are named."""
    with torch.device("meta"):
        network = StFamR50(channels or PUBLISHED, shift, refine, upsample)
    state = {
        name: by_rule(published_name(name), tuple(one.shape))
        for name, one in network.state_dict().items()
    }
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def narrow_checkpoint(folder: Path, upsample: str = "shuffle") -> Path:
    """A small one that the registry's network opens."""
    network = network_by_rule(NARROW, upsample=upsample)
    path = folder / "narrow.safetensors"
    save_checkpoint(path, network.state_dict(), CheckpointRecord(NAME, network.config))
    return path
