"""Which plates in a folder Render Plates has made, the last time that it came to its end.

It is kept beside the plates and not on the node: undo, and a .blend that was not saved, change no
plates, and whoever copies their folder to a farm has it too.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..client.files import write_atomically

NAME = "plate.####"  # of the files, without their suffix
_RECORD = "rendered.json"


def begin(folder: Path) -> None:
    """From now on plates there are of two renders, until this one has come to its end."""
    (folder / _RECORD).unlink(missing_ok=True)


def ended(folder: Path, plates: range) -> None:
    """Take note of what was rendered.

    Raises:
        CapacityError, InputError: as `write_atomically`.
    """
    told = {"first": plates[0], "last": plates[-1], "step": plates.step}
    write_atomically(folder / _RECORD, json.dumps(told).encode())


def plates(folder: Path) -> range | None:
    """The numbers of the plates; None if no render has come to its end there."""
    try:
        told = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return range(told["first"], told["last"] + 1, told["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # whoever asks says that they are to be rendered
