"""Files at the client's end: digests, reading a part, writing a matte in one step."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from .errors import CapacityError, InputError
from .guides import NAMES
from .wire import Buffer, Part

_CHUNK = 1 << 20
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def digest(path: Path, go_on: Callable[[], object] = lambda: None) -> str:
    """Sha256 of a file's bytes, in hex.

    Args:
        path: of the file.
        go_on: called again and again while it is read; may raise to give it up.

    Raises:
        OSError: it cannot be read, or is no file.
    """
    _check_file(path)
    found = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            go_on()
            chunk = file.read(_CHUNK)
            if not chunk:
                return found.hexdigest()
            found.update(chunk)


def _check_file(path: Path) -> None:
    """Refuse what is no regular file before it is opened: a pipe would keep us waiting for ever.

    Raises:
        OSError: that is what it is, or nothing is there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def suffix(path: Path) -> str:
    """The suffix as it travels: lower case, with its dot."""
    return path.suffix.lower()


def read_part(role: str, path: Path, frame: int | None) -> Part:
    """A file as a part, with its digest.

    Raises:
        InputError: ``input.missing_plate``, ``input.missing_trimap``, ``input.missing_guide`` or
            ``input.unreadable``.
    """
    try:
        _check_file(path)
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(role, path, frame, error) from error
    return Part(role, data, suffix(path), frame, sha256=hashlib.sha256(data).hexdigest())


def unreadable(role: str, path: Path, frame: int | None, error: OSError) -> InputError:
    """The error for a plate, a trimap or a guide that cannot be read."""
    if role in NAMES:
        return InputError(
            "input.missing_guide",
            f"the {NAMES[role]} {path} cannot be read ({error.strerror})",
            frame=frame,
            hint="check its path and permissions",
        )
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return InputError(
            f"input.missing_{role}",
            f"the {role} of frame {frame}, {path}, is not there",
            frame=frame,
            hint=f"render or copy the {role}, or correct its path",
        )
    return InputError(
        "input.unreadable",
        f"the {role} of frame {frame}, {path}, cannot be read: {error.strerror}",
        frame=frame,
        hint="check what is there, and its permissions",
    )


def write_whole(path: Path, data: Buffer, mode: int = 0o666) -> None:
    """Write a file so that under its name there is either all of it or what was there before.

    Args:
        path: of the file.
        data: all of it.
        mode: its permissions, but for what the umask takes.

    Raises:
        OSError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        # What a killed process left goes. With O_EXCL a link laid there is not followed, and with
        # the mode given at creation there is no moment at which others may read it.
        temporary.unlink(missing_ok=True)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        # Gone already if all went well.
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: Buffer, frame: int | None = None) -> None:
    """`write_whole` of a shot's file, that is to outlast a power cut.

    Raises:
        CapacityError: ``capacity.disk_full``.
        InputError: ``input.output_unwritable``.
    """
    try:
        write_whole(path, data)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise CapacityError(
                "capacity.disk_full",
                f"no space left to write {path}",
                frame=frame,
                hint="free some space and submit again; finished frames are kept",
            ) from error
        raise unwritable(path, error.strerror or str(error), frame) from error


def unwritable(path: Path, reason: str, frame: int | None = None) -> InputError:
    """The error for an output that cannot be written."""
    return InputError(
        "input.output_unwritable",
        f"{path} cannot be written: {reason}",
        frame=frame,
        hint="make the folder, or choose another one for the mattes",
    )


def _sync_folder(folder: Path) -> None:
    """Make the new name durable too; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
