"""What the file system and OpenImageIO raise or report, as our errors: one place for each."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from model.errors import CapacityError, EngineError, InputError, SetupError

# What to do about a plate; `no_plate` knows by it that nothing else has been found out.
_AGAIN = "render or copy this frame"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def require_file(path: Path, frame: int | None) -> None:
    """See that ``path`` can be opened for reading, and is a file: a pipe would wait for ever.

    Raises:
        InputError: ``input.missing_plate`` or ``input.unreadable``.
    """
    try:
        other = not_a_file(path.stat())
        if other:
            raise InputError(
                "input.unreadable",
                f"{path} is {other}, not a file",
                frame=frame,
                hint="give the name of an image file",
            )
        with path.open("rb"):
            pass
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            "input.missing_plate",
            f"{path} is not there",
            frame=frame,
            hint=f"{_AGAIN}, or choose --missing hold or black",
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            "input.unreadable",
            f"{path} cannot be opened: {reason}",
            frame=frame,
            hint="check its name and permissions",
        ) from None


def is_there(path: Path, frame: int | None) -> bool:
    """Whether anything has this name.

    Raises:
        InputError: ``input.unreadable``: nobody can tell, as where the name is too long or its
            folder may not be looked into.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"{path} cannot be looked at: {error.strerror}",
            frame=frame,
            hint="check its name, and the permissions of its folder",
        ) from None
    return True


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name.

    Raises:
        InputError: ``input.unreadable``.
    """
    with looking_into(folder):
        return sorted(folder.iterdir())


@contextmanager
def looking_into(folder: Path) -> Iterator[None]:
    """Turns what the file system raises while names are looked at into ``input.unreadable``."""
    try:
        yield
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"the folder {error.filename or folder} cannot be read: {error.strerror}",
            hint="check its permissions",
        ) from error


def not_a_file(found: os.stat_result) -> str:
    """What is at a path: ``a folder``, ``a pipe or a device``, or "" if it is a regular file."""
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    return "" if stat.S_ISREG(found.st_mode) else "a pipe or a device"


@contextmanager
def reading(path: Path, frame: int | None) -> Iterator[None]:
    """Turns what OpenImageIO's bindings raise into ``input.damaged``."""
    try:
        yield
    except UnicodeDecodeError:
        raise damaged(path, frame, "its header holds text that is not UTF-8") from None
    except MemoryError as error:
        raise InputError(
            "input.damaged",
            f"{path} asks for more memory than there is to decode it",
            frame=frame,
            hint="check the file, or give the decoder more memory",
        ) from error
    except (RuntimeError, OverflowError) as error:
        raise damaged(path, frame, str(error)) from error


@contextmanager
def no_plate(what: str) -> Iterator[None]:
    """Around the reading of a trimap or a guide: nobody renders those, or can do without them."""
    try:
        yield
    except InputError as error:
        if error.hint.startswith(_AGAIN):
            error.hint = f"save or copy {what} again"
        raise


def writing(folder: Path) -> AbstractContextManager[None]:
    """Turns errors of the file system into ``capacity.disk_full``, ``input.output_unwritable``."""
    return _told_of_writing(
        folder,
        lambda why: InputError(
            "input.output_unwritable",
            why,
            hint="make the folder, see that it can be written to, or choose another",
        ),
    )


def keeping(folder: Path) -> AbstractContextManager[None]:
    """As `writing`, for what is put aside: where that goes is no business of the artist's, so it is
    ``setup.state`` if the folder cannot be written to."""
    return _told_of_writing(
        folder,
        lambda why: SetupError(
            "setup.state",
            why,
            hint="see to its permissions, or choose another directory with --state",
        ),
    )


@contextmanager
def _told_of_writing(folder: Path, closed: Callable[[str], EngineError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if no_space(error):
            raise disk_full(folder) from error
        raise closed(f"{folder} cannot be written to: {error.strerror or error}") from error


def no_space(error: OSError) -> bool:
    """Whether a disk, a quota or a limit on the size of files is what failed."""
    return error.errno in _NO_SPACE


def disk_full(folder: Path) -> CapacityError:
    """``capacity.disk_full``."""
    return CapacityError(
        "capacity.disk_full",
        f"no space left to write in {folder}",
        hint="free some space and submit again; finished frames are kept",
    )


def damaged(path: Path, frame: int | None, reason: str) -> InputError:
    """``input.damaged`` with the first line of what the library says."""
    told = (reason.strip().splitlines() or ["OpenImageIO gives no reason"])[0]
    told = told.replace(f"EXR Error ({path}): ", "").rstrip(".")
    return InputError(
        "input.damaged",
        f"{path} is damaged or not an image: {told[:200]}",
        frame=frame,
        hint=f"{_AGAIN} again",
    )


def unsupported(path: Path, frame: int | None, what: str) -> InputError:
    """``input.unsupported_image``: nothing is wrong with the file, but it is not for us."""
    return InputError(
        "input.unsupported_image",
        f"{path} {what}, which cannot be read here",
        frame=frame,
        hint="convert it to RGB in EXR, PNG, TIFF, DPX or JPEG",
    )
