"""Mattes that lie in files, made by whatever program: judged against the truth like a network's.

A folder has one folder an item, called like it, or is itself the folder of the one item judged:

    FOLDER/ITEM/0001.png    FOLDER/ITEM/shot.1001.exr    FOLDER/ITEM/anything.png (of a still)

The last number in a file's name is its frame's. An alpha is a picture's channel A, if it has one,
else its grey. What `dvm` writes beside a matte (``NAME.trimap.0001.exr`` …) is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import InputError
from model.plates.file_errors import entries
from training.judging.datasets import PICTURES, Alpha, Item, Judged, read_alpha

_BESIDE = ("trimap", "confidence", "foreground")  # layers of ours in files of their own


@dataclass(frozen=True)
class GivenMattes:
    """Of one folder.

    Attributes:
        folder: where they lie.
        label: in tables.
    """

    folder: Path
    label: str


def open_given(folders: Sequence[str]) -> tuple[GivenMattes, ...]:
    """Folders of mattes, called by the last part of their path that tells them apart.

    Raises:
        InputError: ``input.unknown_mattes`` if one is not a folder.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise InputError(
                "input.unknown_mattes",
                f"the folder of mattes {folder} is not there",
                hint="check --mattes",
            )
    names = [Path(folder).resolve().name for folder in folders]
    return tuple(
        GivenMattes(
            Path(folder),
            f"mattes {name}" if names.count(name) == 1 else f"mattes {_longer(folder)}",
        )
        for folder, name in zip(folders, names, strict=True)
    )


def files_of(given: GivenMattes, item: Item, *, alone: bool) -> Mapping[int, Path]:
    """The item's mattes by frame number; none if the folder has none of it.

    Args:
        given: the folder.
        item: whose mattes.
        alone: no other item is judged, so that the folder may be the item's own.

    Raises:
        InputError: ``input.mattes_twice`` if a frame has two files.
    """
    names = (item.name, safe_name(item.name))
    own = next((given.folder / name for name in names if (given.folder / name).is_dir()), None)
    place = given.folder if own is None and alone else own
    if place is None:
        return {}
    files = [path for path in entries(place) if _is_matte(path)]
    if not item.moving and len(files) == 1:
        return {item.frames[0]: files[0]}
    found: dict[int, Path] = {}
    for path in files:
        digits = re.search(r"\d+$", path.stem)
        number = int(digits[0]) if digits else -1
        if number not in item.frames:
            continue
        if number in found:
            raise InputError(
                "input.mattes_twice",
                f"frame {number} of {item.name} has two mattes: {found[number]} and {path.name}",
                frame=number,
                hint="keep one sequence of alphas in a folder",
            )
        found[number] = path
    return found


def read_given(files: Mapping[int, Path], frames: Mapping[int, Judged]) -> dict[int, Alpha]:
    """Alphas over their plates' data windows, float32 H×W, clipped to 0…1.

    Raises:
        InputError: as `read_alpha` does.
    """
    return {
        number: read_alpha(path, frames[number].plate.header, number)
        for number, path in files.items()
    }


def safe_name(item: str) -> str:
    """An item's name as a file's: made items have colons and spaces in theirs."""
    return re.sub(r"[^\w.-]+", "_", item)


def _is_matte(path: Path) -> bool:
    if not path.is_file() or path.suffix.lower() not in PICTURES or path.name.startswith("."):
        return False
    return not set(path.stem.split(".")) & set(_BESIDE)


def _longer(folder: str) -> str:
    path = Path(folder).resolve()
    return f"{path.parent.name}/{path.name}"
