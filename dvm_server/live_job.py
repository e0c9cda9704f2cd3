"""A job while the server knows it: its state for clients, its plan, who waits for it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvm_server.delivery import Attachment
from dvm_server.jobs import Offer, Plan
from host_plugins.client.errors import DvmError
from host_plugins.client.wire import Message
from model.suggest import suggest_keyframe

WAITING, PROPAGATING, MATTING = "waiting", "propagating", "matting"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"
FINAL = (DONE, FAILED, CANCELLED)


@dataclass(eq=False)
class Submission:
    """A ``submit`` that has not been answered yet; equal to none but itself."""

    peer: bytes
    message: Message
    offer: Offer


@dataclass
class LiveJob:
    """One job.

    Attributes:
        id: the shot's.
        name: the shot's.
        offer: what it was begun for.
        state: one of the six above.
        plan: None until the survey is done.
        needs: what in the spool it reads or sends: of the plan, before there is one of the offer.
        waiting: submissions to be answered when it is, or once their files have been compared.
        attachments: clients that are sent its mattes, by peer.
        made: what is known of each frame that can be sent, in the order made.
        computed: frames computed since it was submitted.
        carried: propagated trimaps that are there.
        doubts: how doubtful each of them is, see `model.suggest`.
        suggest: once it is done, the frame best painted next; None if none would help.
        arrived: by value: frames whose plates are here.
        arriving: by value: plates on their way to the disk, by peer.
        frame: the last one worked on.
        error: why it failed.
        began: monotonic seconds.
        seconds: how long it took, once it has ended.
    """

    id: str
    name: str
    offer: Offer
    state: str = WAITING
    plan: Plan | None = None
    needs: frozenset[str] = frozenset()
    waiting: list[Submission] = field(default_factory=list)
    attachments: dict[bytes, Attachment] = field(default_factory=dict)
    made: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    computed: int = 0
    carried: set[int] = field(default_factory=set)
    doubts: dict[int, float] = field(default_factory=dict)
    suggest: int | None = None
    arrived: set[int] = field(default_factory=set)
    arriving: dict[bytes, int] = field(default_factory=dict)
    frame: int | None = None
    error: DvmError | None = None
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def can_be_joined(self) -> bool:
        """Its mattes are being made, or still being sent; else a new survey finds out more."""
        return not self.ended or (self.state == DONE and self.busy)

    def superseded_by(self, offer: Offer) -> bool:
        """The offer has the same shot, but other files."""
        return self.offer.files() != offer.files()

    @property
    def busy(self) -> bool:
        """It may still read or send what lies in the spool."""
        return not self.ended or any(not one.drained for one in tuple(self.attachments.values()))

    def end(self, state: str, error: DvmError | None = None) -> None:
        self.state, self.error = state, error
        self.seconds = time.monotonic() - self.began
        if state == DONE and self.plan is not None:
            painted = [one.frame for one in self.plan.offer.shot.keyframes]
            inside = {f: self.doubts[f] for f in self.plan.frames if f in self.doubts}
            self.suggest = suggest_keyframe(inside, painted)
        if state != DONE:
            for attachment in self.attachments.values():
                attachment.queue = deque()

    def progress(self) -> dict[str, Any]:
        """The job's line in ``pong`` and ``status``."""
        plan = self.plan
        total = len(plan.frames) if plan else 0
        kept = len(plan.done | plan.ready) if plan else 0
        return {
            "state": self.state,
            "done": kept + self.computed,
            "total": total,
            "propagated": len(self.carried),
            "to_propagate": len(plan.trimap_keys) if plan else 0,
            "frame": self.frame,
        }

    def final(self, attachment: Attachment) -> Message:
        """The message that tells a client its end; what was made before it came was kept."""
        if self.state == CANCELLED:
            return Message("cancelled", job=self.id)
        if self.error is not None:
            return Message("failed", job=self.id, body={"error": self.error.to_wire()})
        total = len(self.plan.frames) if self.plan else 0
        computed = self.computed - attachment.made_before
        body: dict[str, Any] = {"total": total, "computed": computed, "kept": total - computed}
        if self.suggest is not None:
            body["suggest"] = self.suggest
        return Message("done", job=self.id, body={**body, "seconds": self.seconds})

    def paths(self, frame: int) -> Mapping[str, Path]:
        """A frame's files by layer."""
        assert self.plan is not None
        return self.plan.outputs[frame]
