"""What a client still has to be sent of a job, and what it has not acknowledged yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Attachment:
    """A client that waits for a job's mattes.

    Attributes:
        peer: its routing id on the main socket.
        credit: mattes it may have unacknowledged.
        owed: frames it lacks and has not been sent, made or not.
        made_before: frames that were computed before it came.
        queue: those of them that are made, in the order they were.
        unacknowledged: frame of each matte under way, by message id.
        loading: mattes being read from the spool.
        told: it has been sent the end of the job.
        heard: since when it owes us a receipt, or when it last sent one, or came (monotonic
            seconds).
    """

    peer: bytes
    credit: int
    owed: set[int]
    made_before: int = 0
    queue: deque[int] = field(default_factory=deque)
    unacknowledged: dict[str, int] = field(default_factory=dict)
    loading: int = 0
    told: bool = False
    heard: float = field(default_factory=time.monotonic)

    def made(self, frames: Iterable[int]) -> None:
        """Frames are ready to be sent."""
        for frame in frames:
            if frame in self.owed:
                self.owed.discard(frame)
                self.queue.append(frame)

    def next_frame(self) -> int | None:
        """The next frame to send, if there is one and credit allows; takes credit."""
        if not self.queue or self.loading + len(self.unacknowledged) >= self.credit:
            return None
        self.loading += 1
        return self.queue.popleft()

    def sent(self, message_id: str, frame: int) -> None:
        """The frame that `next_frame` gave is on its way."""
        self.loading -= 1
        if not self.unacknowledged:
            # Until now there was nothing to acknowledge: it waited for us, not we for it.
            self.heard = time.monotonic()
        self.unacknowledged[message_id] = frame

    def got(self, message_id: str) -> bool:
        """The client has it; False if it was not under way."""
        self.heard = time.monotonic()
        return self.unacknowledged.pop(message_id, None) is not None

    @property
    def drained(self) -> bool:
        """Every matte that was made has been sent."""
        return not self.queue and not self.loading
