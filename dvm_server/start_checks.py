"""What a server is told that cannot be, found out before it says that it is there."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from host_plugins.client.errors import SetupError

_DEVICE = re.compile(r"auto|cpu|cuda(:(?P<index>\d+))?")
# In a process of its own: the server's has no torch.
_COUNT = "import torch; print(torch.cuda.device_count())"


def check_roots_are_there(roots: Sequence[Path]) -> None:
    """Refuse roots that nothing could lie under.

    Raises:
        SetupError: ``setup.root``.
    """
    for root in roots:
        if not root.is_dir():
            raise SetupError(
                "setup.root",
                f"the root {root} is not a folder",
                hint="correct --root, or roots in the server's settings; mount it first",
            )


def check_devices(devices: Sequence[str]) -> None:
    """Refuse devices that are none, or are not in this machine.

    Raises:
        SetupError: ``setup.device``.
    """
    indices = {}
    for name in devices:
        found = _DEVICE.fullmatch(name)
        if not found:
            raise SetupError(
                "setup.device",
                f"{name!r} is not a device",
                hint="use auto, cpu or cuda:0, cuda:1 …",
            )
        if name.startswith("cuda"):
            indices[name] = int(found["index"] or 0)
    if not indices:
        return
    ran = subprocess.run(
        [sys.executable, "-c", _COUNT], capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        return  # torch cannot be imported: the worker will say why
    count = int(ran.stdout)
    for name, index in indices.items():
        if index >= count:
            raise SetupError(
                "setup.device",
                f"there is no device {name}: {count} CUDA devices are visible",
                hint="use --device auto or cpu; `dvm doctor` says what is there",
            )
