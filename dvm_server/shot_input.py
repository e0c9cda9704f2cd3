"""From what a person types to a `Shot`, with every check that needs no server.

A mistake in a file name is told at once, before a server is started or a frame is computed. The
server checks again: it trusts no client.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from host_plugins.client.guides import NAMES
from host_plugins.client.shot import (
    Client,
    Guides,
    Keyframe,
    Options,
    Outputs,
    Plates,
    Roto,
    Shot,
    Trimaps,
    handle_numbers,
)
from model.errors import InputError, SetupError
from model.plates import colour
from model.plates.atomic import check_name
from model.plates.file_errors import is_there
from model.plates.holdout import check_clean_plate
from model.plates.image_files import read_header
from model.plates.input_mattes import place_input_matte, read_input_matte
from model.plates.mattes import check_outputs, matte_paths
from model.plates.movies import is_movie, movie_frames, read_movie_frame
from model.plates.plate import PlateHeader, Window
from model.plates.ranges import FramePattern, FrameRange
from model.plates.region import matte_header
from model.plates.roto import trimap_of_shape
from model.plates.same_files import RealNames, SameFiles, would_be_overwritten
from model.plates.trimap import place_trimap, read_trimap


@dataclass(frozen=True)
class Clip:
    """Plates as named on the command line.

    Attributes:
        source: absolute pattern, image or movie.
        frames: the frames that are wanted.
        movie: whether ``source`` is one.
        handles: so many frames before and after them are read as well.
    """

    source: str
    frames: FrameRange
    movie: bool
    handles: int = 0

    def handle_frames(self) -> tuple[int, ...]:
        """The frames of the handles."""
        before, after = handle_numbers(self.frames.triples(), self.handles)
        return (*before, *after)

    def path(self, frame: int) -> Path:
        """The file a frame is in."""
        return Path(self.source) if self.movie else FramePattern.parse(self.source).path(frame)

    def has(self, frame: int) -> bool:
        """Whether there is a plate of one of its frames."""
        return self.movie or is_there(self.path(frame), frame)

    def header(self, frame: int) -> PlateHeader:
        if self.movie:
            return read_movie_frame(self.source, frame).header
        return read_header(self.path(frame), frame=frame)


@dataclass(frozen=True)
class Wishes:
    """All of a shot but its plates, as typed. Empty text means the default."""

    out: str
    keyframes: Mapping[int, Path]
    trimaps: str = ""
    layers: tuple[str, ...] = ("alpha",)
    split: bool = False
    compression: str = "zip"
    colourspace: str = ""
    composited_in: str = ""
    options: Options = field(default_factory=Options)
    guides: Guides = field(default_factory=Guides)
    foreground: str = "premultiplied"
    roi: tuple[int, int, int, int] | None = None
    shapes: Mapping[int, Path] = field(default_factory=dict)
    roto: Roto = field(default_factory=Roto)

    def drawn(self) -> dict[int, Path]:
        """The file of every frame that was painted or drawn on."""
        return {**self.keyframes, **self.shapes}

    def keys(self) -> tuple[Keyframe, ...]:
        """As a shot has them."""
        shapes = {f: Keyframe(f, str(path), roto=self.roto) for f, path in self.shapes.items()}
        painted = {f: Keyframe(f, str(path)) for f, path in self.keyframes.items()}
        return tuple(one for _, one in sorted({**painted, **shapes}.items()))


def find_clip(
    plates: str, frames: str, keyframes: Collection[int], missing: str, handles: int = 0
) -> Clip:
    """Which plates are meant.

    Args:
        plates: a pattern with a frame number, one image, or a movie.
        frames: a range in Nuke's way; "" = from the first plate on disk to the last, all of a
            movie, and for one image the frame of its only keyframe, else 1.
        keyframes: frames that have a painted trimap.
        missing: ``error``, ``hold`` or ``black``.
        handles: so many frames before and after the range are read as well.

    Raises:
        InputError: ``input.no_plates``, ``input.missing_plate``, ``input.pattern``,
            ``input.frame_range``.
    """
    source = os.path.abspath(plates)  # noqa: PTH100  Path.resolve would follow links
    wanted = FrameRange.parse(frames) if frames else None
    pattern = FramePattern.parse(source)
    if pattern.is_single:
        if not Path(source).is_file():
            raise InputError(
                "input.no_plates",
                f"{source} is not there",
                hint="give a pattern such as plate.####.exr, one image, or a movie",
            )
        if is_movie(source):
            return _movie_clip(source, wanted, handles)
        only = FrameRange(tuple(keyframes) if len(keyframes) == 1 else (1,))
        if handles or (wanted is not None and len(wanted) > 1):
            more = f"{len(wanted)} frames" if wanted is not None and len(wanted) > 1 else "handles"
            raise InputError(
                "input.pattern",
                f"{source} is one image, and {more} are wanted",
                hint="write the frame number as ####, e.g. plate.####.exr",
            )
        return Clip(source, wanted or only, False)
    there = pattern.frames_on_disk()
    if not len(there):
        raise InputError(
            "input.no_plates",
            f"no file matches {source}",
            hint="check folder, name and the number of digits: #### stands for four or more",
        )
    if wanted is None:
        wanted = FrameRange(tuple(range(there.frames[0], there.frames[-1] + 1)))
    clip = Clip(source, wanted, False, handles)
    _check_present(clip, there, missing)
    return clip


def _movie_clip(source: str, wanted: FrameRange | None, handles: int) -> Clip:
    first, last = movie_frames(source)
    clip = Clip(source, wanted or FrameRange(tuple(range(first, last + 1))), True, handles)
    outside = [f for f in (*clip.frames, *clip.handle_frames()) if not first <= f <= last]
    if outside:
        raise InputError(
            "input.missing_plate",
            f"{source} has frames {first} to {last}, and frame {outside[0]} is wanted"
            + (" as a handle" if outside[0] not in clip.frames else ""),
            frame=outside[0],
            hint="movies count from 1; give --frames within them, and handles that are there",
        )
    return clip


def _check_present(clip: Clip, there: FrameRange, missing: str) -> None:
    handles = [frame for frame in clip.handle_frames() if frame not in there]
    if handles and missing == "error":
        raise InputError(
            "input.missing_plate",
            f"the plate of frame {handles[0]}, a handle, is not there: {clip.path(handles[0])}",
            frame=handles[0],
            hint="handles lie outside of --frames: give a shorter range, or fewer --handles",
        )
    absent = [frame for frame in clip.frames if frame not in there]
    if not absent or (missing != "error" and len(absent) < len(clip.frames)):
        return
    more = f" ({len(absent)} plates are missing)" if len(absent) > 1 else ""
    raise InputError(
        "input.missing_plate",
        f"the plate of frame {absent[0]} is not there: {clip.path(absent[0])}{more}",
        frame=absent[0],
        hint="render it, leave it out with --frames, or choose --missing hold or --missing black",
    )


def build_shot(clip: Clip, wishes: Wishes, *, remote: bool = False) -> Shot:
    """Put the shot together, by path, and check all of it that can be checked here.

    Makes the folder of the outputs if it is not there. With a ``remote`` server the checkpoint is
    the server's to look for.

    Raises:
        InputError: about trimaps (``input.no_keyframe``, ``input.keyframe``,
            ``input.missing_trimap``, ``input.not_a_trimap``, ``input.trimap_size``), outputs
            (``input.pattern``, ``input.output_is_input``, ``input.output_unwritable``,
            ``input.lossy_compression``), or ``input.unknown_colourspace``.
        SetupError: ``setup.no_checkpoint``.
    """
    if wishes.colourspace:
        colour.resolve(wishes.colourspace)
    checkpoint = wishes.options.checkpoint
    guides = wishes.guides.resolved(os.path.abspath)
    out = os.path.abspath(wishes.out)  # noqa: PTH100
    trimaps = Trimaps(os.path.abspath(wishes.trimaps)) if wishes.trimaps else None  # noqa: PTH100
    patterns = [guide.pattern for _, guide in guides.given()]
    patterns += [trimaps.pattern] if trimaps else []
    _check_text((clip.source, out, checkpoint, *map(str, wishes.drawn().values()), *patterns))
    if checkpoint and not remote and not os.path.isfile(checkpoint):  # noqa: PTH113  Path's raises where a name is too long
        raise SetupError(
            "setup.no_checkpoint",
            f"the checkpoint {checkpoint} is not there",
            hint="check the path given with --checkpoint, or leave it out",
        )
    given = _given_trimaps(clip, wishes)
    _check_trimaps(clip, wishes, given)
    _check_roi(clip, wishes.roi)
    read = {*wishes.drawn().values(), *given.values(), *_check_guides(clip, guides)}
    _check_outputs(clip, out, wishes, read)
    return Shot(
        name=Path(FramePattern.parse(clip.source).before).name.rstrip("._-") or "shot",
        frames=tuple((a, b, step) for a, b, step in clip.frames.triples()),
        plates=Plates(
            clip.source, colourspace=wishes.colourspace, composited_in=wishes.composited_in
        ),
        keyframes=wishes.keys(),
        trimaps=trimaps,
        outputs=Outputs(out, wishes.layers, wishes.split, wishes.compression, wishes.foreground),
        options=wishes.options,
        client=Client("dvm", version("deep-video-matte")),
        guides=guides,
        handles=clip.handles,
        roi=wishes.roi,
    )


def _check_text(names: Iterable[str]) -> None:
    """Refuse names whose bytes are no text: a shot is JSON.

    Raises:
        InputError: ``input.pattern``.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            readable = os.fsencode(name).decode(errors="replace")
            raise InputError(
                "input.pattern",
                f"the name {readable} is not in UTF-8",
                hint="rename the file or folder where it has the sign �",
            ) from None


def _check_guides(clip: Clip, guides: Guides) -> set[Path]:
    """See that garbage and core mattes and clean plates are there and fit; returns their files.

    Raises:
        InputError: ``input.missing_guide``, ``input.not_a_matte``, ``input.guide_size``, and what
            reading them raises.
    """
    files: set[Path] = set()
    there = [frame for frame in clip.frames if clip.has(frame)] if guides else []
    for role, guide in guides.given():
        pattern = FramePattern.parse(guide.pattern)
        for frame in there:
            if not pattern.path(frame).is_file():
                of = "" if pattern.is_single else f" of frame {frame}"
                raise InputError(
                    "input.missing_guide",
                    f"the {NAMES[role]}{of} is not there: {pattern.path(frame)}",
                    frame=frame,
                    hint="make one for every frame of the shot, or give one image for all of them",
                )
            files.add(pattern.path(frame))
        # The first tells if they fit; the server reads them all in any case.
        for frame in there[:1]:
            path, header = pattern.path(frame), clip.header(frame)
            if role == "clean":
                check_clean_plate(read_header(path, frame=frame), header, frame)
            else:
                matte = read_input_matte(path, frame=frame)
                place_input_matte(matte, header, frame=frame, what=f"the {NAMES[role]}")
    return files


def _check_roi(clip: Clip, roi: tuple[int, int, int, int] | None) -> None:
    """See that a region lies on the plates.

    Raises:
        InputError: ``input.roi``.
    """
    if roi is None:
        return
    frame = next((f for f in clip.frames if clip.has(f)), None)
    if frame is not None:
        matte_header(clip.header(frame), Window(*roi), frame)


def _given_trimaps(clip: Clip, wishes: Wishes) -> dict[int, Path]:
    if not wishes.trimaps:
        return {}
    pattern = FramePattern.parse(os.path.abspath(wishes.trimaps))  # noqa: PTH100
    there = pattern.frames_on_disk()
    numbers = (*clip.frames, *clip.handle_frames())
    found = {f: pattern.path(f) for f in numbers if f in there and f not in wishes.drawn()}
    if not found:
        raise InputError(
            "input.missing_trimap",
            f"no file matches {pattern} for a frame of the clip",
            hint="check the pattern given with --trimaps",
        )
    return found


def _check_trimaps(clip: Clip, wishes: Wishes, given: Mapping[int, Path]) -> None:
    twice = sorted(wishes.keyframes.keys() & wishes.shapes.keys())
    if twice:
        raise InputError(
            "input.keyframe",
            f"frame {twice[0]} has a trimap and a shape",
            frame=twice[0],
            hint="leave one of --trimap and --roto",
        )
    for frame in wishes.drawn():
        if frame not in clip.frames and frame not in clip.handle_frames():
            wanted = clip.frames.format("nuke")
            handles = f", nor one of its {clip.handles} handles" if clip.handles else ""
            raise InputError(
                "input.keyframe",
                f"there is a trimap for frame {frame}, which is not one of {wanted}{handles}",
                frame=frame,
                hint="correct the number before the colon, --frames, or --handles",
            )
    if not wishes.drawn() and not given:
        raise InputError(
            "input.no_keyframe",
            f"{clip.source} comes without any trimap",
            hint="paint one on at least one frame and add it: --trimap FRAME:FILE",
        )
    # Of a long run of given ones the first will tell; the server reads them all in any case.
    for frame, path in [*wishes.keyframes.items(), *list(given.items())[:1]]:
        trimap = read_trimap(path, frame=frame)
        if clip.has(frame):
            place_trimap(trimap, clip.header(frame), frame=frame)
    for frame, path in wishes.shapes.items():
        shape = read_input_matte(path, frame=frame)
        if clip.has(frame):
            placed = place_input_matte(shape, clip.header(frame), frame=frame, what="the shape")
            size = wishes.roto
            trimap_of_shape(placed, size.shrink, size.grow, frame=frame, path=str(path))


def _check_outputs(clip: Clip, out: str, wishes: Wishes, trimaps: set[Path]) -> None:
    pattern = FramePattern.parse(out)
    if pattern.is_single and len(clip.frames) > 1:
        raise InputError(
            "input.pattern",
            f"{out} is one file, and there are {len(clip.frames)} frames",
            hint="write the frame number as ####, e.g. alpha.####.exr",
        )
    check_outputs(wishes.layers, wishes.split, wishes.compression)
    plates = {clip.path(frame) for frame in (*clip.frames, *clip.handle_frames())}
    read = SameFiles((Path(os.path.abspath(one)) for one in trimaps | plates), RealNames())  # noqa: PTH100
    for frame in clip.frames:
        for path in matte_paths(out, frame, wishes.layers, wishes.split).values():
            own = read.find(path)
            if own is not None:
                raise InputError(
                    "input.output_is_input",
                    would_be_overwritten(path, own),
                    frame=frame,
                    hint="give the mattes another name or folder",
                )
    folder = Path(out).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error.strerror or str(error)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(folder, "it is write-protected")
    for path in matte_paths(out, clip.frames.frames[-1], wishes.layers, wishes.split).values():
        check_name(path)


def _unwritable(folder: Path, why: str) -> InputError:
    return InputError(
        "input.output_unwritable",
        f"mattes cannot be written to {folder}: {why}",
        hint="choose another folder with --out",
    )
