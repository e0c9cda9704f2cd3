"""In which numbers a network works, where that is left to the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

PRECISIONS = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def resolved(name: str, device: torch.device) -> str:
    """What ``auto`` means on a device; any other name is what it says.

    Halves where the device multiplies them faster: float16 on CUDA, bfloat16 on processors that
    have it in hardware. What that does to alpha is measured by `dvm bench networks`: less than a
    half float in an EXR rounds away in the mean.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "float16"
    return "bfloat16" if _has_bfloat16() else "float32"


def _has_bfloat16() -> bool:
    """Elsewhere bfloat16 is emulated, and slower than float32."""
    ask: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    found = ask()  # nothing, with torch 2.10
    return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
