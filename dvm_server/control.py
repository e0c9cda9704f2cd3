"""Answers on the control socket: heartbeats, cancel, status, shutdown. Never behind plates."""

from __future__ import annotations

from typing import Any

from dvm_server.config import ServerConfig
from dvm_server.desk import package_version
from dvm_server.spool import Spool
from dvm_server.yard import Yard
from host_plugins.client.errors import ProtocolError
from host_plugins.client.wire import Message


def answer(message: Message, config: ServerConfig, yard: Yard, spool: Spool) -> Message:
    """The answer to a request. ``shutdown`` is answered here and carried out by the server.

    Raises:
        ProtocolError: it is no message of the control socket.
    """
    match message.type:
        case "ping":
            jobs = {
                id: job.progress()
                for id, job in yard.jobs.items()
                if not message.job or id == message.job
            }
            busy = any(not job.ended for job in yard.jobs.values())
            return message.answer("pong", {"jobs": jobs, "busy": busy})
        case "cancel":
            return message.answer("cancelled", {"state": _cancel(message.job, yard)})
        case "status":
            return message.answer("status", _status(config, yard, spool))
        case "shutdown":
            return message.answer("bye")
        case _:
            raise ProtocolError(f"{message.type!r} is not a message of the control socket")


def _cancel(id: str, yard: Yard) -> str:
    job = yard.jobs.get(id)
    if job is None:
        return "unknown"
    if job.ended:
        return "cancelled" if job.state == "cancelled" else "finished"
    yard.cancel(job)
    return "cancelled"


def _status(config: ServerConfig, yard: Yard, spool: Spool) -> dict[str, Any]:
    workers = []
    for hand in yard.crew.hands.values():
        process = hand.process
        if process is None:
            state = "down"
        elif not hand.ready:
            state = "starting"
        else:
            state = "busy" if hand.unit >= 0 else "idle"
        workers.append(
            {
                "device": hand.device,
                "pid": process.pid if process else 0,
                "state": state,
                "rss_bytes": hand.rss_bytes,
            }
        )
    return {
        "jobs": [{"job": id, "name": job.name, **job.progress()} for id, job in yard.jobs.items()],
        "workers": workers,
        "state_dir": str(config.state),
        "spool_bytes": spool.used_bytes(),
        "version": package_version(),
    }
