"""Answers on the control socket: heartbeats, cancel, status, shutdown. Never behind plates."""

from __future__ import annotations

from typing import Any

from dvm_server.client_sessions import package_version
from dvm_server.config import ServerConfig
from dvm_server.dispatch import Dispatch
from dvm_server.spool import Spool
from host_plugins.client.errors import ProtocolError
from host_plugins.client.wire import Message


def answer(message: Message, config: ServerConfig, dispatch: Dispatch, spool: Spool) -> Message:
    """The answer to a request. ``shutdown`` is answered here and carried out by the server.

    Raises:
        ProtocolError: it is no message of the control socket.
    """
    match message.type:
        case "ping":
            jobs = {
                id: job.progress()
                for id, job in dispatch.jobs.items()
                if not message.job or id == message.job
            }
            busy = any(not job.ended for job in dispatch.jobs.values())
            return message.answer("pong", {"jobs": jobs, "busy": busy})
        case "cancel":
            return message.answer("cancelled", {"state": _cancel(message.job, dispatch)})
        case "status":
            return message.answer("status", _status(config, dispatch, spool))
        case "shutdown":
            return message.answer("bye")
        case _:
            raise ProtocolError(f"{message.type!r} is not a message of the control socket")


def _cancel(id: str, dispatch: Dispatch) -> str:
    job = dispatch.jobs.get(id)
    if job is None:
        return "unknown"
    if job.ended:
        return "finished"
    dispatch.cancel(job)
    return "cancelled"


def _status(config: ServerConfig, dispatch: Dispatch, spool: Spool) -> dict[str, Any]:
    workers = []
    for worker in dispatch.pool.workers.values():
        process = worker.process
        if process is None:
            state = "down"
        elif not worker.ready:
            state = "starting"
        else:
            state = "busy" if worker.unit >= 0 else "idle"
        workers.append(
            {
                "device": worker.device,
                "pid": process.pid if process else 0,
                "state": state,
                "rss_bytes": worker.rss_bytes,
            }
        )
    return {
        "jobs": [
            {"job": id, "name": job.name, **job.progress()} for id, job in dispatch.jobs.items()
        ],
        "workers": workers,
        "state_dir": str(config.state),
        "spool_bytes": spool.used_bytes(),
        "version": package_version(),
    }
