"""One job of the fake server: mattes are scripted, plates and receipts are held to the protocol."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from . import fields, files, wire
from .errors import DvmError, InputError, ProtocolError
from .fake_submit import Script
from .outputs import layers_of_files, output_path
from .shot import Shot, shot_id


@dataclass
class Job:
    """A shot on the fake server.

    Attributes:
        shot: as submitted.
        plates: digests by frame, as announced; by value only.
        held: frames whose plates are here.
        finished: digests of finished files, by frame and layer.
        client: routing id of who gets the mattes; None if nobody is attached.
        to_send: frames whose mattes the client still lacks.
        unconfirmed: mattes under way, by message id.
        want: plates still to come, in order.
        receipts: plates to confirm: when, the message.
    """

    shot: Shot
    plates: dict[int, dict[str, Any]] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    finished: dict[int, dict[str, str]] = field(default_factory=dict)
    client: bytes | None = None
    state: str = "waiting"
    error: DvmError | None = None
    to_send: list[int] = field(default_factory=list)
    unconfirmed: dict[str, int] = field(default_factory=dict)
    want: list[int] = field(default_factory=list)
    receipts: list[tuple[float, wire.Message]] = field(default_factory=list)
    kept: tuple[int, ...] = ()
    computed: int = 0
    began: float = field(default_factory=time.monotonic)
    due: float = 0.0

    @property
    def id(self) -> str:
        return shot_id(self.shot)

    def attach(self, client: bytes, message: wire.Message, script: Script) -> wire.Message:
        """Give the job's mattes to this client from now on, and answer its ``submit``.

        Raises:
            InputError: a file the client has is not one of ours.
        """
        self.kept = self._kept(message) if self.shot.plates.by_value else self._kept_by_path()
        self.client, self.error = client, None
        self.unconfirmed.clear()
        self.receipts.clear()
        self.began = time.monotonic()
        self.computed = 0
        self.to_send = [frame for frame in self.shot.numbers() if frame not in self.kept]
        keys = [one.frame for one in self.shot.keyframes]
        order = sorted(self.plates, key=lambda frame: (frame not in keys, frame))
        self.want = [frame for frame in order if frame not in self.held] if self.to_send else []
        self.state = "waiting" if self.want else "matting"
        return message.answer(
            "accepted",
            {
                "credit": script.credit,
                "total": len(self.shot.numbers()),
                "done": [[frame, frame, 1] for frame in self.kept],
                "need": [[frame, frame, 1] for frame in self.want],
                "network": self.shot.options.network or script.networks[0],
                "checkpoint": "",
                "device": "cpu",
            },
            job=self.id,
        )

    def plate(self, message: wire.Message, script: Script) -> None:
        """Take a plate; it is confirmed after the scripted time."""
        frame = message.frame
        if len(message.parts) != 1 or frame is None or message.parts[0].frame != frame:
            raise ProtocolError("a plate message holds one part, of its own frame")
        part = message.parts[0]
        if part.role != "plate" or not self.want or frame != self.want[0]:
            raise ProtocolError(f"the plate of frame {frame} was not wanted now")
        if len(self.receipts) >= script.credit:
            raise ProtocolError("more plates are under way than the credit allows")
        announced = self.plates[frame]
        if part.sha256 != announced["sha256"] or part.suffix != announced["suffix"]:
            raise ProtocolError(f"the plate of frame {frame} is not the one announced")
        self.want.pop(0)
        self.receipts.append((time.monotonic() + script.receipt, message))

    def confirm(self) -> list[wire.Message]:
        """The receipts that are due."""
        now = time.monotonic()
        due = [message for when, message in self.receipts if when <= now]
        self.receipts = [one for one in self.receipts if one[0] > now]
        self.held.update(one.frame for one in due if one.frame is not None)
        if due:
            self.state = "matting"
        return [one.answer("got", frame=one.frame) for one in due]

    def got(self, message: wire.Message) -> None:
        """Take a client's receipt."""
        if self.unconfirmed.pop(message.re, None) != message.frame:
            raise ProtocolError(f"a receipt for frame {message.frame}, which is not under way")

    def next_message(self, script: Script) -> wire.Message | None:
        """The next matte, the end of the job, or None if there is nothing to say yet."""
        if self.client is None or self.state in ("done", "failed", "cancelled"):
            return None
        if not self.to_send:
            self.state = "done"
            return self.end()
        frame = self.to_send[0]
        if self.shot.plates.by_value and frame in self.plates and frame not in self.held:
            return None
        if len(self.unconfirmed) >= script.credit or time.monotonic() < self.due:
            return None
        if frame in script.fail:
            self.state, self.error = "failed", script.fail[frame]
            return self.end()
        self.to_send.pop(0)
        self.due = time.monotonic() + script.seconds
        message = self._matte(frame, script)
        self.unconfirmed[message.id] = frame
        return message

    def end(self) -> wire.Message:
        """The final state as a message."""
        if self.state == "cancelled":
            return wire.Message("cancelled", job=self.id)
        if self.error is not None:
            return wire.Message("failed", job=self.id, body={"error": self.error.to_wire()})
        body = {
            "total": len(self.shot.numbers()),
            "computed": self.computed,
            "kept": len(self.shot.numbers()) - self.computed,
            "seconds": time.monotonic() - self.began,
        }
        return wire.Message("done", job=self.id, body=body)

    def progress(self) -> dict[str, Any]:
        """The job's line in ``pong``."""
        total = len(self.shot.numbers())
        return {
            "state": self.state,
            "done": total - len(self.to_send),
            "total": total,
            "propagated": 0,
            "to_propagate": 0,
            "frame": None,
        }

    def _matte(self, frame: int, script: Script) -> wire.Message:
        layers = layers_of_files(self.shot.outputs)
        data = {layer: script.matte(frame, layer) for layer in layers}
        cached = frame in self.finished
        self.computed += not cached
        self.finished[frame] = {
            layer: hashlib.sha256(one).hexdigest() for layer, one in data.items()
        }
        body: dict[str, Any] = {
            "seconds": script.seconds,
            "source": "propagated",
            "fallback": "",
            "cached": cached,
        }
        parts: tuple[wire.Part, ...] = ()
        if self.shot.plates.by_value:
            parts = tuple(
                wire.Part("matte", one, ".exr", frame, layer) for layer, one in data.items()
            )
        else:
            paths = {
                layer: output_path(self.shot.outputs.pattern, frame, layer) for layer in layers
            }
            for layer, path in paths.items():
                files.write_atomically(path, data[layer], frame)
            body["paths"] = {layer: str(path) for layer, path in paths.items()}
        return wire.Message("matte", job=self.id, frame=frame, body=body, parts=parts)

    def _kept(self, message: wire.Message) -> tuple[int, ...]:
        theirs: dict[int, dict[str, str]] = {}
        for one in fields.maps(message.body, "have"):
            frame = fields.whole(one, "frame", -fields.FARTHEST_FRAME, fields.FARTHEST_FRAME)
            layer = fields.text(one, "layer", fields.WORD)
            theirs.setdefault(frame, {})[layer] = fields.text(one, "sha256", fields.SHA256)
        for frame, digests in theirs.items():
            ours = self.finished.get(frame, {})
            strange = [one for one in digests if digests[one] != ours.get(one)]
            if strange and not self.shot.options.overwrite:
                raise self._exists(f"the output of frame {frame}", frame)
        return tuple(sorted(frame for frame in theirs if theirs[frame] == self.finished.get(frame)))

    def _kept_by_path(self) -> tuple[int, ...]:
        kept = []
        for frame in self.shot.numbers():
            ours = self.finished.get(frame, {})
            same = []
            for layer in layers_of_files(self.shot.outputs):
                path = output_path(self.shot.outputs.pattern, frame, layer)
                same.append(path.exists() and files.digest(path) == ours.get(layer))
                if path.exists() and not same[-1] and not self.shot.options.overwrite:
                    raise self._exists(str(path), frame)
            if all(same):
                kept.append(frame)
        return tuple(kept)

    def _exists(self, what: str, frame: int) -> InputError:
        return InputError(
            "input.output_exists",
            f"{what} exists and was not made by this server",
            shot=self.shot.name,
            frame=frame,
            hint="choose another name, or allow overwriting",
        )
