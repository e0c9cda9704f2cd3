"""A shot made ready to go by value: which files it needs, their digests, the parts that travel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import files
from .errors import InputError
from .guides import NAMES, Guide, Guides
from .plate_files import FilePattern
from .shot import Plates, Shot, Trimaps
from .timing import is_movie
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
        parts: trimaps and guides, which go with the shot.
        sent: the files of all that goes by value, and a movie whose frames do.
    """

    shot: Shot
    plates: Mapping[int, PlateFile] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    sent: tuple[Path, ...] = ()


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
            plates by value, keyframes that are not in here are read from their paths. Guides go
            as the plates do, and are read from the shot's paths.
        check: called between files; raises to give up.

    Raises:
        InputError: ``input.missing_trimap``, ``input.missing_guide``, ``input.unreadable``,
            ``input.movie``, ``input.bad_shot``.
    """
    by_value = plates is not None
    _check_no_movie(shot, plates or {})
    found = _announced(shot, plates or {}, check)
    keys = {one.frame for one in shot.keyframes}
    parts: list[Part] = []
    read = [one.path for one in found.values()]
    if by_value and shot.plates.pattern:
        clip = FilePattern.parse(shot.plates.pattern)
        read += [] if clip.numbered else [clip.path(0)]

    def add(role: str, path: Path, frame: int | None) -> Part:
        check()
        parts.append(files.read_part(role, path, frame))
        read.append(path)
        return parts[-1]

    keyframes = []
    for one in shot.keyframes:
        path = trimaps.get(one.frame) or (Path(one.trimap) if by_value and one.trimap else None)
        if path is None:
            if one.part:
                raise _no_trimap(shot, one.frame)
            keyframes.append(one)
            continue
        part = add("trimap", Path(path), one.frame)
        keyframes.append(replace(one, trimap="", part=part.sha256))
    given = [frame for frame in sorted(trimaps) if frame not in keys]
    for frame in given:
        add("trimap", Path(trimaps[frame]), frame)
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
        guides = _guides(shot.guides, shot.all_numbers(), add)
        sent = replace(sent, plates=_by_value(shot.plates), guides=guides)
    # Read as the server will read it: a shot put together wrongly is refused here.
    return Submission(Shot.from_json(sent.to_json()), found, tuple(parts), tuple(read))


def _announced(
    shot: Shot, plates: Mapping[int, Path], check: Callable[[], None]
) -> dict[int, PlateFile]:
    found: dict[int, PlateFile] = {}
    for frame in shot.all_numbers():
        path = Path(plates[frame]) if frame in plates else None
        if path is None or not path.exists():
            continue
        check()
        try:
            found[frame] = PlateFile(path, path.stat().st_size, files.digest(path))
        except OSError as error:
            raise files.unreadable("plate", path, frame, error) from error
    return found


def _check_no_movie(shot: Shot, plates: Mapping[int, Path]) -> None:
    """A plate by value is one frame's file; a movie would be sent as a whole for each of them."""
    for path in plates.values():
        if is_movie(str(path)):
            raise InputError(
                "input.movie",
                f"the movie {path} cannot be sent to the server: plates travel as a file a frame",
                shot=shot.name,
                hint="have the server read it by path, or render it to an image sequence",
            )


def _by_value(plates: Plates) -> Plates:
    return replace(plates, pattern="", by_value=True)


def _guides(
    guides: Guides, frames: tuple[int, ...], add: Callable[[str, Path, int | None], Part]
) -> Guides:
    """Guides as they are announced by value; their files are added.

    One image for all frames is one part without a frame. Frames of a pattern whose file is not
    there are left out: what that means is the server's to say.
    """
    for role, guide in guides.given():
        if not guide.pattern:
            raise InputError(
                "input.missing_guide",
                f"the {NAMES[role]} is to go by value and no file is named",
                hint="name its file, or a pattern of its files",
            )
        pattern = FilePattern.parse(guide.pattern)
        for frame in frames if pattern.numbered else (None,):
            path = pattern.path(frame or 0)
            if frame is None or path.exists():
                add(role, path, frame)
    return Guides(**{role: Guide(by_value=True) for role, _ in guides.given()})


def _no_trimap(shot: Shot, frame: int) -> InputError:
    return InputError(
        "input.missing_trimap",
        f"no file is named for the trimap of keyframe {frame}",
        shot=shot.name,
        frame=frame,
        hint="name the file of every keyframe's trimap",
    )
