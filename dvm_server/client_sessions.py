"""The server's side of client sessions: answers on the main socket, mattes on their way."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from dvm_server.background import Background
from dvm_server.config import ServerConfig
from dvm_server.delivery import Attachment
from dvm_server.dispatch import DISK, Dispatch
from dvm_server.jobs import Offer, needed_plates, remaining
from dvm_server.ledger import Ledger
from dvm_server.live_job import CANCELLED, LiveJob, Submission
from dvm_server.spool import Spool
from dvm_server.submission import guide_parts, read_offer, trimap_parts
from dvm_server.translate import wire_error
from host_plugins.client.errors import (
    Cancelled,
    CapacityError,
    DvmError,
    InputError,
    ProtocolError,
)
from host_plugins.client.shot import INPUTS
from host_plugins.client.wire import PROTOCOL, Message, Part
from model import registry
from model.plates import colour
from model.plates.ranges import FrameRange

_LOG = logging.getLogger("dvm.sessions")

# Sends a message to a peer; False if the peer is gone.
Send = Callable[[bytes, Message], bool]


class ClientSessions:
    """Clients of the main socket. All of it runs in the main loop."""

    def __init__(
        self, config: ServerConfig, dispatch: Dispatch, spool: Spool, ledger: Ledger, send: Send
    ):
        self._config = config
        self._dispatch = dispatch
        self._spool = spool
        self._ledger = ledger
        self._send = send
        self._background: Background = dispatch.background
        self._greeted: set[bytes] = set()
        self._ocio = colour.config_digest()
        dispatch.listen(self._surveyed, self._progressed)

    def receive(self, peer: bytes, message: Message) -> None:
        """Take a message from a client.

        Raises:
            DvmError: it is to be answered with ``failed``.
        """
        if message.type == "hello":
            self._hello(peer, message)
            return
        if peer not in self._greeted:
            raise ProtocolError(f"{message.type!r} came before hello")
        match message.type:
            case "submit":
                self._submit(peer, message)
            case "plate":
                self._plate(peer, message)
            case "got":
                self._got(peer, message)
            case "bye":
                self.forget(peer)
            case _:
                raise ProtocolError(f"{message.type!r} is not a message of the main socket")

    def forget(self, peer: bytes) -> None:
        """A client left, or is gone. Its jobs go on."""
        self._greeted.discard(peer)
        for job in self._dispatch.jobs.values():
            job.attachments.pop(peer, None)
            job.arriving.pop(peer, None)
            job.waiting = [one for one in job.waiting if one.peer != peer]

    def tick(self) -> None:
        """Forget clients that leave mattes unacknowledged for too long: they pin the spool. Who has
        nothing to acknowledge may wait for as long as its mattes take."""
        oldest = time.monotonic() - self._config.client_seconds
        for job in self._dispatch.jobs.values():
            for attachment in tuple(job.attachments.values()):
                if attachment.unacknowledged and attachment.heard < oldest:
                    _LOG.info("%s: a client is silent and is sent no more", job.name)
                    del job.attachments[attachment.peer]

    def _tell(self, peer: bytes, message: Message) -> None:
        if not self._send(peer, message):
            self.forget(peer)

    def _hello(self, peer: bytes, message: Message) -> None:
        protocols = message.body.get("protocols")
        if not isinstance(protocols, list) or PROTOCOL not in protocols:
            raise ProtocolError(
                f"the client speaks protocols {protocols}, this server speaks {PROTOCOL}",
                "install the plug-in of the server's release",
            )
        self._greeted.add(peer)
        body = {
            "protocol": PROTOCOL,
            "server": {"version": package_version(), "pid": os.getpid()},
            "device": self._dispatch.pool.device(),
            "limits": self._config.limits.to_wire(),
            "networks": networks(),
            "ocio": self._ocio,
            "inputs": list(INPUTS),
        }
        self._tell(peer, message.answer("welcome", body))

    def _submit(self, peer: bytes, message: Message) -> None:
        offer = read_offer(message, self._config.limits)
        trimaps, guides = trimap_parts(message, offer.shot), guide_parts(message, offer.shot)
        parts = [*trimaps.values(), *guides.values()]
        submission = Submission(peer, message, offer)

        def store() -> None:
            for part in parts:
                name = self._spool.file_name(part.sha256, part.suffix)
                self._spool.store(name, part.data, self._dispatch.needed_names)

        def stored(_: None) -> None:
            self._dispatch.incoming.remove(submission)
            self._stored(submission)

        def failed(error: Exception) -> None:
            self._dispatch.incoming.remove(submission)
            self._refuse(submission, wire_error(error, shot=offer.shot.name))

        if parts:
            self._dispatch.incoming.append(submission)
            self._background.run(DISK, store, stored, failed)
        else:
            self._stored(submission)

    def _stored(self, submission: Submission) -> None:
        """The trimaps and guides of a submission are on disk: begin the job, or join it."""
        if submission.peer not in self._greeted:
            return
        job = self._dispatch.jobs.get(submission.offer.id)
        if job is not None and job.superseded_by(submission.offer):
            # By value the shot's id does not know the plates: these are others, and newer.
            if job.can_be_joined:
                self._dispatch.cancel(job)
            job = None
        if job is None or not job.can_be_joined:
            self._dispatch.begin(submission)
        else:
            self._wait(job, submission)

    def _wait(self, job: LiveJob, submission: Submission) -> None:
        """Have it answered when the job has a plan and is known to be made from its files."""
        job.waiting.append(submission)
        if job.plan is not None:
            self._compare(job, submission)

    def _compare(self, job: LiveJob, submission: Submission) -> None:
        """Join the job if the shot would be made from the same files now; else begin it anew.

        By path the shot's id knows no file, and what lies there may have been painted or rendered
        again since the job began.
        """

        def waits() -> bool:
            return submission in job.waiting

        def compared(same: bool) -> None:
            if not waits():
                return  # it has left, or was answered when the job ended
            job.waiting.remove(submission)
            if not job.can_be_joined or self._dispatch.jobs.get(job.id) is not job:
                self._stored(submission)
            elif same or _is_elsewhere(job, submission.offer):
                self._join(job, submission)
            else:
                others, job.waiting = job.waiting, []
                self._dispatch.cancel(job)
                self._dispatch.begin(submission)
                for one in others:
                    self._stored(one)

        def failed(error: Exception) -> None:
            if waits():
                job.waiting.remove(submission)
                self._refuse(submission, wire_error(error, shot=job.name))

        self._dispatch.compare(job, submission.offer, waits, compared, failed)

    def _surveyed(self, job: LiveJob) -> None:
        """A job's plan is made, or will never be, or it has ended: answer who waits for it."""
        waiting, job.waiting = job.waiting, []
        for submission in waiting:
            if job.plan is None or job.state == CANCELLED:
                cancelled = Cancelled(message="the shot was cancelled", shot=job.name)
                self._refuse(submission, job.error or cancelled)
            elif job.ended:
                self._stored(submission)
            elif submission.offer is job.plan.offer:
                self._join(job, submission)
            else:
                self._wait(job, submission)

    def _join(self, job: LiveJob, submission: Submission) -> None:
        """Answer ``accepted`` and send what is made already."""
        offer, plan = submission.offer, job.plan
        assert plan is not None
        try:
            has = self._has(job, offer)
        except DvmError as error:
            self._refuse(submission, error)
            return
        owed = set(plan.frames) - has
        need = needed_plates(remaining(plan, job.arrived)) if offer.by_value else []
        left = {f for f in need if f not in job.arrived} if job.state != "done" else set()
        attachment = Attachment(submission.peer, self._config.credit, owed, job.computed)
        job.attachments[submission.peer] = attachment
        body = {
            "credit": self._config.credit,
            "total": len(plan.frames),
            "done": FrameRange(tuple(has)).triples(),
            "need": FrameRange(tuple(left)).triples(),
            "network": str(plan.description.get("network", "")),
            "checkpoint": str(plan.description.get("checkpoint", "")),
            "device": str(plan.description.get("device", "")),
        }
        self._tell(submission.peer, submission.message.answer("accepted", body, job=job.id))
        attachment.made(job.made)
        self._progressed(job)

    def _has(self, job: LiveJob, offer: Offer) -> set[int]:
        """Frames that this client needs not be sent.

        Raises:
            InputError: it wants the mattes elsewhere than who submitted the job first.
            CapacityError: it lacks mattes that are neither made nor being made.
        """
        plan = job.plan
        assert plan is not None
        if offer is plan.offer:
            return set(plan.done)
        if _is_elsewhere(job, offer):
            raise InputError(
                "input.output_elsewhere",
                f"this shot is being matted already, into {plan.offer.shot.outputs.pattern}",
                shot=job.name,
                hint="wait until it is done, or cancel it",
            )
        if not offer.by_value:
            return set(plan.done)
        has = {
            frame
            for frame in plan.frames
            if all(
                (record := self._ledger.find(offer.have.get((frame, layer), ""), layer)) is not None
                and record.key == plan.keys[frame]
                for layer in plan.outputs[frame]
            )
        }
        if not plan.done <= has | set(job.made):
            raise CapacityError(
                "capacity.job_busy",
                "this shot is being matted for another client, which has other frames already",
                shot=job.name,
                hint="try again when it is done",
            )
        return has

    def _plate(self, peer: bytes, message: Message) -> None:
        job, frame = self._dispatch.jobs.get(message.job), message.frame
        if job is None or job.ended or peer not in job.attachments:
            return  # sent before the client heard that the job had ended
        part = message.parts[0] if len(message.parts) == 1 else None
        plates = (job.plan.offer.plates if job.plan else None) or {}
        if frame is None or part is None or part.role != "plate" or frame not in plates:
            raise ProtocolError(f"the plate of frame {frame} was not announced")
        sent = plates[frame]
        if part.sha256 != sent.sha256 or part.suffix != sent.suffix:
            raise ProtocolError(f"the plate of frame {frame} is not the one that was announced")
        if job.arriving.get(peer, 0) >= self._config.credit:
            raise ProtocolError("more plates are under way than the credit allows")
        job.arriving[peer] = job.arriving.get(peer, 0) + 1

        def store() -> None:
            self._spool.store(sent.name, part.data, self._dispatch.needed_names)

        def stored(_: None) -> None:
            job.arriving[peer] = max(job.arriving.get(peer, 0) - 1, 0)
            self._tell(peer, message.answer("got", frame=frame))
            self._dispatch.plate_arrived(job, sent)

        def failed(error: Exception) -> None:
            self._dispatch.fail(job, wire_error(error, shot=job.name, frame=frame))

        self._background.run(DISK, store, stored, failed)

    def _got(self, peer: bytes, message: Message) -> None:
        job = self._dispatch.jobs.get(message.job)
        attachment = job.attachments.get(peer) if job else None
        if job is None or attachment is None:
            return  # of a job that has been forgotten since
        if not attachment.got(message.re):
            raise ProtocolError(f"a receipt for frame {message.frame}, which is not under way")
        self._progressed(job)

    def _progressed(self, job: LiveJob) -> None:
        """Send each client what it may be sent; tell the end once all is sent."""
        for attachment in tuple(job.attachments.values()):
            while (frame := attachment.next_frame()) is not None:
                self._deliver(job, attachment, frame)
            if job.ended and not attachment.told and (attachment.drained or job.state != "done"):
                attachment.told = True
                self._tell(attachment.peer, job.final(attachment))

    def _deliver(self, job: LiveJob, attachment: Attachment, frame: int) -> None:
        body: dict[str, Any] = dict(job.made[frame])
        paths = job.paths(frame)
        assert job.plan is not None
        if not job.plan.offer.by_value:
            body["paths"] = {layer: str(path) for layer, path in paths.items()}
            self._send_matte(attachment, Message("matte", job=job.id, frame=frame, body=body))
            return

        def load() -> tuple[Part, ...]:
            return tuple(_part(path, layer, frame) for layer, path in paths.items())

        def loaded(parts: tuple[Part, ...]) -> None:
            self._send_matte(
                attachment, Message("matte", job=job.id, frame=frame, body=body, parts=parts)
            )
            self._progressed(job)

        def failed(error: Exception) -> None:
            attachment.loading -= 1
            said = wire_error(error, shot=job.name, frame=frame)
            self._dispatch.fail(job, said)
            if not attachment.told:
                attachment.told = True
                message = Message("failed", job=job.id, body={"error": said.to_wire()})
                self._tell(attachment.peer, message)

        self._background.run(DISK, load, loaded, failed)

    def _send_matte(self, attachment: Attachment, message: Message) -> None:
        attachment.sent(message.id, message.frame or 0)
        self._tell(attachment.peer, message)

    def _refuse(self, submission: Submission, error: DvmError) -> None:
        answer = submission.message.answer(
            "failed", {"error": error.to_wire()}, job=submission.offer.id
        )
        self._tell(submission.peer, answer)


def _is_elsewhere(job: LiveJob, offer: Offer) -> bool:
    """The job writes to other files than this client wants: its mattes are not for it to take."""
    return not offer.by_value and offer.shot.outputs.pattern != job.offer.shot.outputs.pattern


def networks() -> list[dict[str, Any]]:
    """What ``welcome`` says of the networks."""
    found, defaults = [], set()
    for one in registry.NETWORKS:
        default = one.available and one.kind not in defaults
        if default:
            defaults.add(one.kind)
        found.append(
            {
                "name": one.name,
                "kind": one.kind,
                "default": default,
                "available": one.available,
                "summary": one.summary,
            }
        )
    return found


def package_version() -> str:
    """Of this installation; "" from a bare checkout."""
    try:
        return version("deep-video-matte")
    except PackageNotFoundError:
        return ""


def _part(path: Path, layer: str, frame: int) -> Part:
    data = path.read_bytes()
    return Part("matte", data, path.suffix, frame, layer, hashlib.sha256(data).hexdigest())
