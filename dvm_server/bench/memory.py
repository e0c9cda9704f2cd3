"""The most memory that something takes: of a device, of this process, of a family of processes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cuda_ops import replay
from dvm_server.allocator import give_back

_SAMPLE_SECONDS = 0.05
# Written to it, this sets the process's peak back to what it holds now (Linux).
_CLEAR, _PEAK = Path("/proc/self/clear_refs"), "5"


def peak_bytes(call: Callable[[], Any], device: torch.device) -> int | None:
    """What a call takes on top of what there is, at its highest: on CUDA what torch takes of the
    device, elsewhere resident memory. None where the system does not tell.

    On CUDA the call is made three times: what it records as a graph it records the second time, and
    that is part of what it takes.
    """
    if device.type == "cuda":
        replay.let_go()
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_reserved(device)
        for _ in range(3):
            call()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_reserved(device) - before)
    try:
        # What earlier calls have freed and the allocator kept would hide what this one takes.
        give_back()
        _CLEAR.write_text(_PEAK)
    except OSError:
        call()
        return None
    resident = _status("self", "VmRSS")
    call()
    return max(_status("self", "VmHWM") - resident, 0)


class Watch:
    """Samples the resident memory of a process and of all that descend from it.

    What counts is what two samples in a row have seen: a process that is being started shows, for a
    moment, the memory of the one that starts it as its own.

    Raises:
        OSError: there is no /proc to read it from.
    """

    def __init__(self, pid: int):
        self.most = 0
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        _resident(pid)  # raises here, and not in the thread, where there is no /proc

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        before = 0
        while not self._end.wait(_SAMPLE_SECONDS):
            now = sum(_resident(pid) for pid in _family(self._pid))
            self.most = max(self.most, min(before, now))
            before = now


def _family(pid: int) -> list[int]:
    found = [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # it ended since
                continue
    return found


def _resident(pid: int) -> int:
    """Resident bytes; 0 for a process that has ended."""
    try:
        return _status(str(pid), "VmRSS")
    except (FileNotFoundError, ProcessLookupError):
        if not Path("/proc/self/status").exists():
            raise
        return 0


def _status(pid: str, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = [line for line in lines if line.startswith(name)]
    return int(found[0].split()[1]) * 1024 if found else 0
