"""A shot's own files, as they are sent: no matte takes the place of one, whatever leads there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Union

from .errors import InputError
from .outputs import layers_of_files, output_path
from .shot import Shot

# The name that a path has without links, or device and number of the file.
_Same = Union[str, tuple[int, int]]


def check_apart(shot: Shot, sent: Iterable[Path], check: Callable[[], None]) -> None:
    """Refuse mattes that would replace what they are made from, whatever ``overwrite`` says.

    The server sees to that for files that it opens itself; of those that are sent it knows no path.

    Args:
        shot: as written, with the pattern of its outputs.
        sent: plates, trimaps and guides that go by value.
        check: called between files; raises to give up.

    Raises:
        InputError: ``input.output_is_input``, ``input.pattern``.
    """
    own: dict[_Same, Path] = {}
    for path in sent:
        check()
        own.update(dict.fromkeys(_same(path), path))
    if not own:
        return
    for frame in shot.numbers():
        check()
        for layer in layers_of_files(shot.outputs):
            path = output_path(shot.outputs.pattern, frame, layer)
            found = next((own[one] for one in _same(path) if one in own), None)
            if found is not None:
                reached = "" if found == path else f", {found},"
                raise InputError(
                    "input.output_is_input",
                    f"{path} is one of the shot's own plates, trimaps or guides{reached} and would "
                    "be overwritten",
                    shot=shot.name,
                    frame=frame,
                    hint="give the mattes another name or folder",
                )


def _same(path: Path) -> tuple[_Same, ...]:
    """What a file has in common with itself under other paths; nothing if there is none.

    By its number it is known through hard links, too, and whatever the case of letters; by its name
    on network file systems that number nothing, or anew each time.
    """
    try:
        found = path.stat()
    except OSError:
        return ()  # if that is wrong, who opens it says why
    name = os.path.realpath(path)
    return (name, (found.st_dev, found.st_ino)) if found.st_ino else (name,)
