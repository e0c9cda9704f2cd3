"""Our kernels on a device: where they can run, and each as it is compiled there at first use."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from cuda_ops import nvrtc

__all__ = ["Variant", "card_refusal", "kernel_on"]

_SOURCES = Path(__file__).parent / "csrc"
_OLDEST = (8, 0)  # cp.async, and products of matrices of bfloat16


@dataclass(frozen=True)
class Variant:
    """A kernel as it is compiled, and launched.

    Attributes:
        name: of the function, and of its file in csrc.
        before: files that come before that one.
        options: see the head of its source.
        threads: of a block.
        shared: bytes of shared memory of a block.
        blocks: see `nvrtc.loaded`.
    """

    name: str
    before: tuple[str, ...]
    options: tuple[tuple[str, int], ...]
    threads: int
    shared: int = 0
    blocks: int = 0

    @property
    def flags(self) -> list[str]:
        return [f"-D{name}={value}" for name, value in self.options]

    @property
    def source(self) -> str:
        files = (*self.before, self.name)
        return "".join((_SOURCES / f"{one}.cu").read_text(encoding="utf-8") for one in files)


@cache
def card_refusal(device: torch.device) -> str:
    """Why no kernel of ours can run on a device; empty if they can."""
    if torch.version.hip:
        return "the kernels are for NVIDIA's cards, this torch is for AMD's"
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < _OLDEST:
        return f"a card of compute capability {major}.{minor} is older than 8.0"
    if nvrtc.library_path() is None:
        return "NVRTC was not found; it comes with torch built for CUDA"
    return ""


_ready: dict[tuple[torch.device, Variant], nvrtc.Kernel] = {}
_making = threading.Lock()


def kernel_on(device: torch.device, variant: Variant) -> nvrtc.Kernel:
    """A variant on a device, compiled at first use.

    Raises:
        KernelError: if it cannot be.
    """
    found = _ready.get((device, variant))
    if found is None:
        with _making:
            found = _ready.get((device, variant))
            if found is None:
                major, minor = torch.cuda.get_device_capability(device)
                code = nvrtc.compiled(
                    variant.source, variant.name, variant.flags, 10 * major + minor
                )
                found = nvrtc.loaded(code, variant.name, device, variant.shared, variant.blocks)
                _ready[device, variant] = found
    return found
