"""Half-written files of a worker that was killed: removed, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dvm_server import journal
from dvm_server.jobs import Plan


def remove_leftovers(
    plan: Plan, pid: int, look: Callable[[Path], None] = lambda path: None
) -> None:
    """Remove the temporary files of one dead process for a plan's outputs.

    Args:
        plan: of the shot.
        pid: of the process.
        look: called before each is looked for; may raise to give up.
    """
    for files in plan.outputs.values():
        for path in files.values():
            look(path)
            _temporary(path, pid).unlink(missing_ok=True)


def remove_leftovers_of_journal(plan: Plan, path: Path, look: Callable[[Path], None]) -> None:
    """Remove those of every process that worked at the job before and is gone; see above."""
    events = journal.read(path).events
    pids = {int(event["pid"]) for event in events if event.get("event") == "unit"}
    for pid in pids:
        if not _alive(pid):
            remove_leftovers(plan, pid, look)


def _temporary(path: Path, pid: int) -> Path:
    """Where `model.plates.atomic` of that process writes ``path`` before it gets its name."""
    return path.with_name(f".{path.name}.tmp-{pid}")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
