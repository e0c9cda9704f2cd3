"""A function of tensors, recorded once on a CUDA device and then replayed as one CUDA graph.

A network of hundreds of small kernels keeps a processor busier with launching them than the device
with running them; a graph is launched at once. It is bound to shapes and to memory: what goes in is
copied to where the recording reads, what comes out is copied away before the next replay.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Replayed", "let_go"]

Tensors = tuple[Tensor, ...]
Key = tuple[tuple[torch.Size, torch.dtype, torch.device], ...]
_LOG = logging.getLogger("dvm.kernels")
_everyone: weakref.WeakSet[Replayed] = weakref.WeakSet()
_recording = threading.Lock()  # torch records all on one stream


def let_go() -> None:
    """Free what all recordings hold: for when a device is full."""
    for one in list(_everyone):
        one.let_go()


@dataclass(frozen=True)
class _Recording:
    key: Key
    inside: Tensors
    outside: Tensors
    graph: torch.cuda.CUDAGraph


class Replayed:
    """The same function, replayed where it is asked for the same shapes again.

    Shapes that come twice running are recorded the second time; the first call, as every one with
    other shapes, is the function itself, which compiles and chooses kernels on the way. One
    recording is kept, of the latest such shapes. Threads take turns.

    Args:
        function: of CUDA tensors, to a tuple of them. It must launch the same kernels whatever its
            tensors hold, wait for none of them, and keep nothing.
        enabled: False = the function itself, always.
    """

    def __init__(self, function: Callable[..., Tensors], *, enabled: bool = True):
        self._function = function
        self._enabled = enabled
        self._last: Key = ()
        self._recording: _Recording | None = None
        self._turn = threading.Lock()
        _everyone.add(self)

    def let_go(self) -> None:
        """Forget the recording, and free its memory."""
        with self._turn:
            self._recording, self._last = None, ()

    @property
    def records(self) -> bool:
        """Whether there is a recording."""
        return self._recording is not None

    def __call__(self, *tensors: Tensor) -> Tensors:
        """The function's result, in memory of its own."""
        if not self._enabled or torch.cuda.is_current_stream_capturing():
            return self._function(*tensors)
        key = tuple((one.shape, one.dtype, one.device) for one in tensors)
        with self._turn:
            found = self._recording
            if found is None or found.key != key:
                known, self._last = self._last, key
                if known != key:
                    return self._function(*tensors)
                self._recording = None  # its memory goes before another's comes
                found = self._recorded(key, tensors)
                if found is None:
                    return self._function(*tensors)
                self._recording = found
            for here, there in zip(tensors, found.inside, strict=True):
                there.copy_(here)
            found.graph.replay()
            return tuple(one.clone() for one in found.outside)

    def _recorded(self, key: Key, tensors: Tensors) -> _Recording | None:
        """None, and a line in the log, where that does not go; then it is not tried again."""
        # Not as tensors of inference mode: they could not be written to outside of it.
        with torch.inference_mode(False), torch.no_grad():
            inside = tuple(torch.empty_like(one) for one in tensors)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may ask for memory meanwhile: only this one's calls are recorded.
            with _recording, torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outside = self._function(*inside)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self._enabled = False
            reason = str(error).strip().splitlines()[0]
            _LOG.warning("kernels are launched one by one, which is slower: %s", reason)
            return None
        return _Recording(key, inside, outside, graph)
