"""Several decoders side by side, each with a thread that asks it and waits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from dvm_server.decoder import Decoder
from model.ahead import at_once
from model.plates.input_mattes import InputMatte
from model.plates.plate import Plate, PlateHeader, Trimap

Found = TypeVar("Found", Plate, Trimap, InputMatte, PlateHeader)

# Beside a GPU that mattes a hundred frames a second, eight of them are what reading takes at HD.
_CORES_EACH = 2
_MOST = 8


class Decoders:
    """What is asked here is read in the background, in the order asked as far as one decoder goes.

    Args:
        count: of processes; 0 = one for every two cores, at least one, at most eight.
        memory_bytes: address space of each; 0 = no bound.
        seconds: a file that takes longer is damaged.
    """

    def __init__(self, count: int, *, memory_bytes: int, seconds: float):
        count = count or at_once(_CORES_EACH, _MOST)
        self._lanes = [
            _Lane(Decoder(memory_bytes=memory_bytes, seconds=seconds)) for _ in range(count)
        ]

    def __len__(self) -> int:
        return len(self._lanes)

    def plate(
        self, path: str, frame: int | None, sha256: str = "", stamp: str = "", *, way: int = 0
    ) -> Future[Plate]:
        """Begin to read a plate. The future raises what `Decoder.plate` does.

        Frames of a movie are found one after the other, by the decoder that has it open: one for
        each ``way`` that is gone through it at the same time.
        """
        lane = self._free() if sha256 else self._lanes[way % len(self._lanes)]
        return lane.ask(lambda decoder: decoder.plate(path, frame, sha256, stamp))

    def trimap(self, path: str, frame: int, source: str, sha256: str = "") -> Future[Trimap]:
        """Begin to read a painted or given trimap."""
        return self._free().ask(lambda decoder: decoder.trimap(path, frame, source, sha256))

    def matte(self, path: str, frame: int | None, sha256: str = "") -> Future[InputMatte]:
        """Begin to read a garbage or core matte."""
        return self._free().ask(lambda decoder: decoder.matte(path, frame, sha256))

    def header(self, path: str, frame: int | None) -> Future[PlateHeader]:
        """Begin to read a plate's header."""
        return self._free().ask(lambda decoder: decoder.header(path, frame))

    def matte_header(self, path: str) -> Future[PlateHeader]:
        """Begin to read the header of a matte of ours."""
        return self._free().ask(lambda decoder: decoder.matte_header(path))

    def drop(self) -> None:
        """Be free for other questions, whatever becomes of those asked so far."""
        for lane in self._lanes:
            lane.drop()

    def close(self) -> None:
        """End the processes."""
        for lane in self._lanes:
            lane.close()

    def _free(self) -> _Lane:
        return min(self._lanes, key=lambda lane: lane.waiting)


class _Lane:
    """A decoder and the thread that has it: a child dies with the thread that started it."""

    def __init__(self, decoder: Decoder):
        self._decoder = decoder
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._asked: list[Future[Any]] = []

    @property
    def waiting(self) -> int:
        """How many questions have no answer yet."""
        self._asked = [one for one in self._asked if not one.done()]
        return len(self._asked)

    def ask(self, question: Callable[[Decoder], Found]) -> Future[Found]:
        asked = self._thread.submit(question, self._decoder)
        self._asked.append(asked)
        return asked

    def drop(self) -> None:
        for one in self._asked:
            one.cancel()
        wait(self._asked)
        self._asked = []

    def close(self) -> None:
        self.drop()
        self._thread.submit(self._decoder.close).result()
        self._thread.shutdown()
