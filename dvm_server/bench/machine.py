"""What was measured, where and by which command: the head of every file of figures."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_ROOT = Path(__file__).parents[2]


def describe(device: torch.device, command: Sequence[str]) -> dict[str, Any]:
    """The machine, the versions and the command line.

    Args:
        device: that is measured.
        command: as typed; of its first word only the name is kept.

    Returns:
        ``load`` is that of the minute before, see `load`.
    """
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "threads": torch.get_num_threads(),
        "load": load(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "command": " ".join([Path(command[0]).name, *command[1:]]) if command else "",
    }


def load() -> float:
    """How many processes wanted a core in the last minute, this one's included. Where that is more
    than the cores, others were at work, and figures are worse than the machine."""
    return round(os.getloadavg()[0], 1)


def commit() -> str:
    """Of the checkout, ``+`` if files differ from it; else the version that is installed."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        try:
            return metadata.version("deep-video-matte")
        except metadata.PackageNotFoundError:
            return "unknown"


def tell(text: str) -> None:
    """Say on stderr what is under way."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(_ROOT), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
