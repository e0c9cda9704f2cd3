"""Clips that lie as the published tools lay them out: `<folder>/<key>/<clip>/<number>.jpg` or png.

A frame is known by its number, the last digits of its file's name, and never by its place in a
list; the keys are those of `pictures.NAMES`. Whatever does not fit is told, nothing is left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import InputError
from training.composing.layout import names_in
from training.tfrecords.pictures import NAMES

# The keys that each of the published modes writes.
MODES = {"vfba": ("v", "f", "b", "a"), "va": ("v", "a"), "vt": ("v", "t"), "vat": ("v", "a", "t")}
PICTURES = (".jpg", ".jpeg", ".png")
_OTHERS = (".exr", ".tif", ".tiff", ".dpx", ".bmp", ".tga", ".webp")
_SPARSE = 1000  # so many numbers a frame are no numbers of frames
_NUMBER = re.compile(r"([0-9]+)[^0-9]*$")


@dataclass(frozen=True)
class SourceClip:
    """A clip as files.

    Attributes:
        name: of its folders.
        first: the number of its first frame.
        frames: the file of each key, frame by frame.
    """

    name: str
    first: int
    frames: tuple[Mapping[str, Path], ...]


def find_clips(
    folder: Path, mode: str, only: Collection[str] | None = None
) -> tuple[dict[str, SourceClip], dict[str, list[str]]]:
    """All clips under the keys of a mode, by name.

    Args:
        folder: holds a folder for each key.
        mode: one of `MODES`.
        only: look at none but these; None = at all.

    Returns:
        The clips that are whole; and of each other one what is wrong, each in one sentence.

    Raises:
        InputError: ``input.no_clips`` if a key's folder is missing, there is no clip at all, or a
            folder cannot be read.
    """
    try:
        return _found(folder, mode, only)
    except OSError as error:
        raise InputError(
            "input.no_clips",
            f"{error.filename} cannot be read: {error.strerror}",
            hint="check its permissions",
        ) from error


def _found(
    folder: Path, mode: str, only: Collection[str] | None
) -> tuple[dict[str, SourceClip], dict[str, list[str]]]:
    keys = MODES[mode]
    missing = [key for key in keys if not (folder / key).is_dir()]
    if missing:
        told = ", ".join(f"{key} ({NAMES[key]})" for key in missing)
        raise InputError(
            "input.no_clips",
            f"{folder} has no folder {told}, which mode {mode} reads",
            hint="clips lie as KEY/CLIP/00000.png; -m says which keys are read",
        )
    names = sorted({one for key in keys for one in names_in(folder / key, folders=True)})
    if not names:
        raise InputError(
            "input.no_clips", f"no clips lie in {folder}", hint="clips lie as KEY/CLIP/00000.png"
        )
    good, bad = {}, {}
    for name in names:
        if only is not None and name not in only:
            continue
        clip, problems = _clip(folder, name, keys)
        if clip is None:
            bad[name] = problems
        else:
            good[name] = clip
    return good, bad


def require_known(only: Collection[str], names: Collection[str], folder: Path) -> None:
    """See that all names that somebody listed are there.

    Raises:
        InputError: ``input.unknown_clips``.
    """
    unknown = sorted(set(only) - set(names))
    if unknown:
        told = ", ".join(unknown[:5]) + (", …" if len(unknown) > 5 else "")
        raise InputError(
            "input.unknown_clips",
            f"{len(unknown)} of the clips asked for with --only are not in {folder}: {told}",
            hint="a line of that file is the name of a clip, without a suffix",
        )


def read_names(path: Path) -> frozenset[str]:
    """The names in a file, one a line; lines that begin with ``#`` are remarks.

    Raises:
        InputError: ``input.names`` if it cannot be read or names nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(
            "input.names", f"{path} cannot be read: {told}", hint="check --only"
        ) from error
    found = {line.strip() for line in lines} - {""}
    names = frozenset(one for one in found if not one.startswith("#"))
    if not names:
        raise InputError("input.names", f"{path} names no clip", hint="one name a line")
    return names


def _clip(folder: Path, name: str, keys: Sequence[str]) -> tuple[SourceClip | None, list[str]]:
    problems: list[str] = []
    files: dict[str, dict[int, Path]] = {}
    for key in keys:
        place = folder / key / name
        if not place.is_dir():
            problems.append(f"the folder {key}/{name} ({NAMES[key]}) is missing")
            continue
        files[key], told = _numbered(place)
        problems += (f"{key}/{name}: {one}" for one in told)
    numbers = sorted({number for found in files.values() for number in found})
    if not numbers:
        return None, [*problems, f"{name} holds no JPEG or PNG"]
    whole = range(numbers[0], numbers[-1] + 1)
    if len(whole) > _SPARSE * len(numbers):
        wide = f"{len(numbers)} frames of {name} are numbered from {whole[0]} to {whole[-1]}"
        return None, [*problems, wide]
    for key, found in files.items():
        gaps = [number for number in whole if number not in found]
        if gaps:
            problems.append(f"{key}/{name} lacks {frames_told(gaps)} of {whole[0]}–{whole[-1]}")
    if problems:
        return None, problems
    frames = tuple({key: files[key][number] for key in keys} for number in whole)
    return SourceClip(name, whole[0], frames), []


def _numbered(folder: Path) -> tuple[dict[int, Path], list[str]]:
    found: dict[int, Path] = {}
    problems = []
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in PICTURES + _OTHERS:
            continue
        number = _NUMBER.search(path.stem)
        if suffix in _OTHERS:
            problems.append(f"{path.name} is neither JPEG nor PNG")
        elif number is None:
            problems.append(f"{path.name} has no frame number in its name")
        elif int(number[1]) in found:
            other = found[int(number[1])].name
            problems.append(f"{other} and {path.name} are the same frame")
        else:
            found[int(number[1])] = path
    return found, problems


def frames_told(numbers: Sequence[int]) -> str:
    """Frame numbers for a message: ``frames 3, 7–9``."""
    told = ", ".join(f"{a}–{b}" if b > a else str(a) for a, b in _runs(numbers))
    return f"frame{'s' if len(numbers) > 1 else ''} {told}"


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = numbers[0]
    for number in numbers[1:]:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last
