"""Files that are there whole or not at all: written beside their place, fsynced, renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from model.errors import InputError
from model.plates.file_errors import writing


def temporary_path(path: Path) -> Path:
    """Where ``path`` is written before it gets its name: in the same folder, hidden."""
    return path.with_name(f".{path.name}.tmp-{os.getpid()}")


def check_name(path: Path) -> None:
    """Refuse a name that is too long for the file system, with what it gets while it is written.

    Raises:
        InputError: ``input.output_unwritable``.
    """
    try:
        temporary_path(path).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(
                "input.output_unwritable",
                f"{path} cannot be written: the name is too long",
                hint="give the mattes a shorter name, or another folder",
            ) from error
        # That nothing is there is as it should be; other trouble is told when it is written.


def publish(staged: Mapping[Path, Path]) -> None:
    """Give temporary files their names, all of them or, if one cannot be renamed, none.

    Args:
        staged: the temporary file of each path, already fsynced.

    Raises:
        InputError: ``input.output_unwritable``; all temporary files are gone then.
    """
    done: list[Path] = []
    try:
        for path in staged:  # while no file of an earlier run has been replaced yet
            with writing(path.parent):
                if path.is_dir():
                    raise IsADirectoryError(errno.EISDIR, f"{path.name} is a folder", str(path))
        for path, temporary in staged.items():
            with writing(path.parent):
                temporary.replace(path)
            done.append(path)
        for folder in {path.parent for path in staged}:
            with writing(folder):
                _sync_folder(folder)
    except BaseException:
        discard(*done, *staged.values())
        raise


def write_bytes(path: Path, data: bytes) -> None:
    """Write a whole file in one step.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    temporary = temporary_path(path)
    try:
        with writing(path.parent), temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        publish({path: temporary})
    except BaseException:
        discard(temporary)
        raise


def discard(*paths: Path) -> None:
    """Remove what a failed write left. Trouble with that must not hide what failed."""
    for path in paths:
        with suppress(OSError):
            path.unlink()


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # Windows has no handle on a folder to fsync
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
