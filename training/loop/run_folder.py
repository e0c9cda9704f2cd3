"""A run's folder: whether a run may begin in it, and what is written there, whole or not at all."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from model.errors import CapacityError, InputError, SetupError
from model.plates.atomic import write_bytes
from model.plates.file_errors import writing

STATE, LAST, BEST, LOG = "state.pt", "last.safetensors", "best.safetensors", "log.jsonl"
BOARD = "tensorboard"
_SAVED = frozenset(
    ["recipe", "network", "average", "optimiser", "step", "best"]  # what came later may lack
)


def check_out(out: Path, *, resume: bool, overwrite: bool) -> None:
    """See that a run can begin in ``out``, as far as that shows without writing anything.

    Raises:
        InputError: ``input.output_unwritable``.
        SetupError: ``setup.run_there`` if there is a run that nobody asked to resume or overwrite.
    """
    with writing(out):
        there = out
        while not there.exists():
            there = there.parent
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "may not be written to" if there.is_dir() else "is a file"
        raise InputError(
            "input.output_unwritable",
            f"the run's folder {out} cannot be written: {there} {what}",
            hint="name another folder with --out",
        )
    found = files_of_a_run(out)
    if not found or resume or overwrite:
        return
    going_on = (
        "go on with it by --resume"
        if (out / STATE).is_file()
        else "it never saved what --resume needs"
    )
    raise SetupError(
        "setup.run_there",
        f"there is a run in {out} already ({', '.join(one.name for one in found)})",
        hint=f"{going_on}; name another folder with --out, or remove that run with --overwrite",
    )


def remove_run(out: Path) -> None:
    """Remove the files of a run, so that the next one's log does not go on in its.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    for path in files_of_a_run(out):
        with writing(out):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def files_of_a_run(out: Path) -> list[Path]:
    """What a run has left in its folder."""
    named = [out / name for name in (STATE, BEST, LAST, LOG, BOARD)]
    return [one for one in (*named, *sorted(out.glob("not-finite-*.pt"))) if one.exists()]


@contextmanager
def into(out: Path) -> Iterator[None]:
    """Turns errors of the file system into ours, with what to do about them here."""
    try:
        with writing(out):
            yield
    except CapacityError as error:
        if (out / STATE).is_file():
            error.hint = "free some space, then go on with --resume from what was saved before"
        else:
            error.hint = "free some space, then begin again, with --overwrite"
        raise


def write_tensors(path: Path, kept: Mapping[str, Any]) -> None:
    """Write what `torch.load` reads, in one step. It is put together in memory first, because what
    `torch.save` says of a full disk cannot be told from its own faults.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    made = io.BytesIO()
    torch.save(dict(kept), made)
    with into(path.parent):
        write_bytes(path, made.getvalue())


def saved_state(out: Path, recipe_sha256: str) -> dict[str, Any]:
    """What a run saved, on the CPU.

    Args:
        out: its folder.
        recipe_sha256: of the recipe that it is to go on with.

    Raises:
        SetupError: ``setup.no_run`` if there is none, ``setup.bad_run`` if it is cut or damaged,
            ``setup.other_run`` if it had another recipe.
    """
    path = out / STATE
    if not path.is_file():
        raise SetupError(
            "setup.no_run", f"there is no run to resume at {path}", hint="leave --resume out"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        lacking = _SAVED - set(state)
    except (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError) as error:
        raise _damaged(path, str(error) or "it ends too early") from error
    except pickle.UnpicklingError as error:
        raise _damaged(path, "it is no file of torch's") from error
    if lacking:
        raise _damaged(path, f"it lacks {', '.join(sorted(lacking))}")
    if state["recipe"] != recipe_sha256:
        raise SetupError(
            "setup.other_run",
            f"the run at {path} was made with another recipe",
            hint="resume it with its own recipe, or start anew with --init and another --out",
        )
    return dict(state)


def _damaged(path: Path, reason: str) -> SetupError:
    return SetupError(
        "setup.bad_run",
        f"the run cannot be resumed: {path} is cut or damaged ({reason.splitlines()[0][:120]})",
        hint=f"bring it back from a copy, or start anew with --init {path.with_name(LAST)} and "
        "another --out",
    )
