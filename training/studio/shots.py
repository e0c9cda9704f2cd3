"""The list of shots that a studio brings: a TOML file, one table a shot.

[[shot]]
name = "sh010"                        # of the clip; letters, digits, . _ -
plates = "sh010/plate.####.exr"       # relative to the list
mattes = "sh010/matte.####.exr"       # left out: channel A of the plates
kind = "auto"                         # plate, premultiplied or straight, see `kinds`
group = "sq01"                        # shots of one group go to the same side of the split
frames = "1001-1100"                  # left out: all plates on disk, which lack none between
colourspace = ""                      # left out: as the file says
composited_in = ""                    # linear or display; left out: by the colourspace
split = "train"                       # or test; left out: drawn by the group's name
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from model.errors import InputError
from model.plates import colour
from model.plates.ranges import FramePattern, FrameRange

KINDS = ("auto", "plate", "premultiplied", "straight")
SPLITS = ("train", "test")
_CHOICES = {"kind": KINDS, "split": ("", *SPLITS), "composited_in": ("", "linear", "display")}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MANY = 5
_FEW = 2  # plates that tell of no step
_NAME_THEM = "bring it back, or name the frames with frames = …"


@dataclass(frozen=True)
class StudioShot:
    """One shot of the list, paths absolute.

    Attributes:
        mattes: pattern; "" = channel A of the plates.
        numbers: frames, ascending, of which plate and matte are both there.
        split: ``train`` or ``test``.
    """

    name: str
    plates: str
    mattes: str
    kind: str
    group: str
    numbers: tuple[int, ...]
    colourspace: str
    composited_in: str
    split: str

    def files(self, number: int) -> tuple[Path, Path]:
        """Plate and matte of a frame; the same file if the plate holds its matte."""
        plate = FramePattern.parse(self.plates).path(number)
        return plate, FramePattern.parse(self.mattes).path(number) if self.mattes else plate


@dataclass(frozen=True)
class _Row:
    name: str = ""
    plates: str = ""
    mattes: str = ""
    kind: str = "auto"
    group: str = ""
    frames: str = ""
    colourspace: str = ""
    composited_in: str = ""
    split: str = ""


def read_shots(path: Path, test_share: float) -> tuple[list[StudioShot], list[str]]:
    """The shots of a list.

    Args:
        path: of the TOML file.
        test_share: of the groups that are not told a side, for testing: by a hash of the group's
            name, so that a list that grows moves no shot to the other side.

    Returns:
        Shots whose files are all there, and what is wrong with the others, a sentence each.

    Raises:
        InputError: ``input.no_shots`` if the file cannot be read, ``input.bad_shots`` if it is no
            such list.
    """
    rows = _rows(path)
    found, wrong = [], []
    sides: dict[str, str] = {}
    for row in rows:
        side = row.split or _drawn(row.group or row.name, test_share)
        before = sides.setdefault(row.group or row.name, side)
        if before != side:
            wrong.append(
                f"{row.name}: its group {row.group} is on the {before} side already; "
                "shots of a group look alike, keep them on one side"
            )
            continue
        try:
            found.append(_shot(row, path.parent, side))
        except InputError as error:
            wrong.append(f"{row.name}: {error.message}")
    return found, wrong


def _rows(path: Path) -> list[_Row]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "input.no_shots", f"the list {path} cannot be read ({error.strerror})",
            hint="see training/README.md, Studio footage",
        ) from error  # fmt: skip
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _bad(path, f"is not TOML: {error}") from error
    tables = content.get("shot")
    if not isinstance(tables, list) or not tables or set(content) != {"shot"}:
        raise _bad(path, "holds no tables [[shot]], or something beside them")
    return [_row(path, place, table) for place, table in enumerate(_unlike(path, tables), 1)]


def _unlike(path: Path, tables: list[Any]) -> list[Any]:
    names = [str(table.get("name")) for table in tables if isinstance(table, Mapping)]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise _bad(path, f"has two shots called {', '.join(double[:_MANY])}")
    return tables


def _row(path: Path, place: int, table: Any) -> _Row:
    known = [one.name for one in fields(_Row)]
    if not isinstance(table, Mapping):
        raise _bad(path, f"has a shot {place} that is no table")
    named = f"shot {table.get('name', place)}"
    for key, value in table.items():
        if key not in known:
            raise _bad(path, f"says {key!r} of {named}; known are {', '.join(known)}")
        if not isinstance(value, str):
            raise _bad(path, f"says {key} = {value!r} of {named}, which is to be a text")
        if key in _CHOICES and value not in _CHOICES[key]:
            ways = ", ".join(filter(None, _CHOICES[key]))
            raise _bad(path, f"says {key} = {value!r} of {named}, which is one of {ways}")
    row = _Row(**table)
    if not _NAME.fullmatch(row.name):
        raise _bad(path, f"names a shot {row.name!r}; use letters, digits, '.', '_' and '-'")
    if not row.plates:
        raise _bad(path, f"says no plates of {named}")
    return row


def _shot(row: _Row, folder: Path, side: str) -> StudioShot:
    plates = os.path.abspath(folder / row.plates)  # noqa: PTH100  Path.resolve would follow links
    mattes = os.path.abspath(folder / row.mattes) if row.mattes else ""  # noqa: PTH100
    there = _on_disk(plates)
    wanted = set(FrameRange.parse(row.frames)) if row.frames else there
    if not row.frames:
        _require(_run_of(there), there, "plate", plates, f", between others: {_NAME_THEM}")
    _require(wanted, there, "plate", plates)
    if mattes:
        matted = _on_disk(mattes)
        _require(wanted, matted, "matte", mattes)
        if not row.frames:
            _require(matted, there, "plate", plates, f", which has a matte: {_NAME_THEM}")
    if row.colourspace:
        colour.resolve(row.colourspace)
    return StudioShot(
        name=row.name,
        plates=plates,
        mattes=mattes,
        kind=row.kind,
        group=row.group or row.name,
        numbers=tuple(sorted(wanted)),
        colourspace=row.colourspace,
        composited_in=row.composited_in,
        split=side,
    )


def _on_disk(pattern: str) -> set[int]:
    there = set(FramePattern.parse(pattern).frames_on_disk())
    if not there:
        raise InputError(
            "input.no_plates", f"no file matches {pattern}", hint="check folder, name and digits"
        )
    return there


def _run_of(there: set[int]) -> set[int]:
    """Frames from the first to the last, in the steps that they have if these are even: frames that
    are not neighbours would be taught as if they were."""
    numbers = sorted(there)
    steps = {after - before for before, after in pairwise(numbers)}
    if len(numbers) > _FEW and len(steps) == 1:
        return there
    return set(range(numbers[0], numbers[-1] + 1))


def _require(wanted: set[int], there: set[int], what: str, pattern: str, why: str = "") -> None:
    missing = sorted(wanted - there)
    if missing:
        more = f" and {len(missing) - _MANY} more" if len(missing) > _MANY else ""
        raise InputError(
            f"input.missing_{what}",
            f"{pattern} lacks the {what} of frame {', '.join(map(str, missing[:_MANY]))}{more}"
            f"{why}",
            frame=missing[0],
            hint="render it, or name the finished frames with frames = …",
        )


def _drawn(group: str, test_share: float) -> str:
    drawn = int.from_bytes(hashlib.sha256(group.encode()).digest()[:8]) / 2**64
    return "test" if drawn < test_share else "train"


def _bad(path: Path, what: str) -> InputError:
    return InputError(
        "input.bad_shots", f"the list {path} {what}", hint="see training/README.md, Studio footage"
    )
