"""A shot made ready to go by value: which files it needs, their digests, the parts that travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import files
from .errors import InputError
from .shot import Keyframe, Plates, Shot, Trimaps
from .wire import Part


@dataclass(frozen=True)
class PlateFile:
    """A plate on our disk, as announced to the server."""

    path: Path
    bytes: int
    sha256: str

    def entry(self, frame: int) -> dict[str, Any]:
        """Its line in ``submit``."""
        return {
            "frame": frame,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "suffix": files.suffix(self.path),
        }


@dataclass(frozen=True)
class Submission:
    """What is handed in.

    Attributes:
        shot: as the server gets it.
        plates: the plates that may be asked for, by frame; empty by path.
        trimaps: the parts that go with the shot.
    """

    shot: Shot
    plates: Mapping[int, PlateFile] = field(default_factory=dict)
    trimaps: tuple[Part, ...] = ()


def prepare(
    shot: Shot,
    plates: Mapping[int, Path] | None,
    trimaps: Mapping[int, Path],
    check: Callable[[], None],
) -> Submission:
    """Make a shot ready to submit.

    Args:
        shot: as written; what goes by value may still stand in it as paths.
        plates: files by frame, to go by value; None if the server reads them itself. Files that are
            not there are left out: what a missing plate means is the server's to say.
        trimaps: files by frame, to go by value: keyframes, and beside them given trimaps. With
            plates by value, keyframes that are not in here are read from their paths.
        check: called between files; raises to give up.

    Raises:
        InputError: ``input.missing_trimap``, ``input.unreadable``, ``input.bad_shot``.
    """
    by_value = plates is not None
    found = _announced(shot, plates or {}, check)
    keys = {one.frame for one in shot.keyframes}
    parts: list[Part] = []
    keyframes: list[Keyframe] = []
    for one in shot.keyframes:
        check()
        path = trimaps.get(one.frame) or (Path(one.trimap) if by_value and one.trimap else None)
        if path is None:
            if one.part:
                raise _no_trimap(shot, one.frame)
            keyframes.append(one)
            continue
        part = files.read_part("trimap", Path(path), one.frame)
        parts.append(part)
        keyframes.append(Keyframe(one.frame, part=part.sha256))
    given = [frame for frame in sorted(trimaps) if frame not in keys]
    for frame in given:
        check()
        parts.append(files.read_part("trimap", Path(trimaps[frame]), frame))
    sent = replace(shot, keyframes=tuple(keyframes))
    if given:
        sent = replace(sent, trimaps=Trimaps(by_value=True))
    elif by_value and shot.trimaps is not None:
        raise InputError(
            "input.missing_trimap",
            f"the given trimaps of the shot {shot.name!r} are to go by value and no file is named",
            shot=shot.name,
            hint="name a trimap file for each frame that has one",
        )
    if by_value:
        sent = replace(sent, plates=_by_value(shot.plates))
    # Read as the server will read it: a shot put together wrongly is refused here.
    return Submission(Shot.from_json(sent.to_json()), found, tuple(parts))


def _announced(
    shot: Shot, plates: Mapping[int, Path], check: Callable[[], None]
) -> dict[int, PlateFile]:
    found: dict[int, PlateFile] = {}
    for frame in shot.numbers():
        path = Path(plates[frame]) if frame in plates else None
        if path is None or not path.exists():
            continue
        check()
        try:
            found[frame] = PlateFile(path, path.stat().st_size, files.digest(path))
        except OSError as error:
            raise files.unreadable("plate", path, frame, error) from error
    return found


def _by_value(plates: Plates) -> Plates:
    return replace(plates, pattern="", by_value=True)


def _no_trimap(shot: Shot, frame: int) -> InputError:
    return InputError(
        "input.missing_trimap",
        f"no file is named for the trimap of keyframe {frame}",
        shot=shot.name,
        frame=frame,
        hint="name the file of every keyframe's trimap",
    )
