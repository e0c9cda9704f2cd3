"""From what is saved in the .blend to the shot that is submitted, and where its files go."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..client.desk import FOLDER, MATTE, VERSION
from ..client.errors import InputError
from ..client.guides import Guides
from ..client.shot import Client, Keyframe, Options, Outputs, Plates, Shot, shot_id
from ..client.timing import Timing, is_movie, pattern_of, sequence_or_one
from . import adapter, paths, rendered

# Properties by what the client calls them.
GUIDES = {"garbage": "garbage_matte", "core": "core_matte", "clean": "clean_plate"}


@dataclass(frozen=True)
class Source:
    """The plates of a shot.

    Attributes:
        pattern: absolute; ``####`` for the number, or a movie.
        timing: where they lie in the scene's time.
        step: from one plate to the next; more than 1 where the scene was rendered so.
        colourspace: the server's name of it; "" = from the files.
        shown_in: Blender's name of it.
    """

    pattern: str
    timing: Timing
    colourspace: str
    shown_in: str
    step: int = 1

    @property
    def plates(self) -> range:
        """Their numbers."""
        return range(self.timing.first, self.timing.last + 1, self.step)

    def plate(self, number: int) -> Path:
        """The file of a plate."""
        width = self.pattern.count("#")
        return Path(
            self.pattern.replace("#" * width, f"{number:0{width}d}") if width else self.pattern
        )


def source_of(tree) -> Source:
    """Where a shot's plates are.

    Raises:
        InputError: ``input.no_clip``, ``input.missing_plate`` if none is chosen, or it has no file.
    """
    shot = tree.dvm
    if shot.source == "CLIP":
        if shot.clip is None:
            raise _no_clip("no movie clip is chosen", "choose the clip in the node's panel")
        path, timing = adapter.clip_path(shot.clip), adapter.clip_timing(shot.clip)
        named = shot.clip
    elif shot.source == "IMAGE":
        if shot.image is None or not shot.image.filepath:
            raise _no_clip("no image sequence is chosen", "choose the image in the node's panel")
        path = adapter.absolute(shot.image.filepath, shot.image)
        timing, named = adapter.image_timing(shot.image, shot.start), shot.image
    else:
        return rendered_source(tree)
    pattern = path if is_movie(path) else pattern_of(path)[0]
    space = shot.colourspace or adapter.colourspace_of(named)
    return Source(pattern, timing, space, adapter.blender_colourspace(named))


def rendered_source(tree) -> Source:
    """Plates that were rendered from what comes into the node; they are numbered by the scene."""
    folder = Path(paths.find(tree.dvm, "rendered") or rendered_folder(tree))
    plates = rendered.plates(folder)
    if not plates:
        where = paths.lost(tree.dvm, "rendered")
        raise _no_clip(
            "what comes into the node has not been rendered to plates, or not to the end"
            + (f", or they are no longer in {where}" if where else ""),
            "press Render Plates, or choose a clip",
        )
    pattern = str(folder / f"{rendered.NAME}.exr")
    timing = Timing(plates[0], plates[-1] - plates[0] + 1, plates[0])
    space = tree.dvm.colourspace or "lin_rec709_scene"
    return Source(pattern, timing, space, "", plates.step)


def home(tree) -> Path:
    """The folder of all our files: ``dvm`` beside the .blend, or the user's own for an unsaved
    one."""
    file = adapter.saved_as()
    return (file.parent if file else adapter.user_folder()) / FOLDER


def rendered_folder(tree) -> Path:
    """Where plates are rendered to; where those are that were is told by the shot."""
    return home(tree) / "plates" / tree.dvm.uid[:12]


def trimap_folder(tree) -> Path:
    """For trimaps that were made from masks and paintings: an artist's work, no cache."""
    return home(tree) / "trimaps" / tree.dvm.uid[:12]


def numbers_of(tree, source: Source) -> range:
    """The plates that are wanted, at least one.

    Raises:
        InputError: ``input.frame_range``.
    """
    shot, timing, plates = tree.dvm, source.timing, source.plates
    if not shot.use_range:
        return plates
    wanted = plates[bisect_left(plates, shot.first) : bisect_right(plates, shot.last)]
    if not (wanted and timing.holds(shot.first) and timing.holds(shot.last)):
        raise InputError(
            "input.frame_range",
            f"plates {shot.first} to {shot.last} are wanted, and the clip has {timing.first} to "
            f"{timing.last}",
            hint="correct the part of the clip in the node's panel",
        )
    return wanted


def build(tree, source: Source, layers: Sequence[str], cache: Path) -> Shot:
    """The shot to submit.

    Args:
        tree: of the node.
        source: from `source_of`.
        layers: wanted.
        cache: folder that holds a folder for each shot's mattes.

    Raises:
        InputError: ``input.no_keyframe``, ``input.frame_range``, ``input.missing_trimap``.
    """
    wanted = numbers_of(tree, source)
    shot = tree.dvm
    keyframes = []
    for one in sorted(shot.keyframes, key=lambda key: key.frame):
        path = paths.find(one, "path")
        if not (path and Path(path).is_file()):
            raise InputError(
                "input.missing_trimap",
                f"the trimap of plate {one.frame} ({paths.lost(one, 'path') or 'never made'}) is "
                "not there",
                frame=one.frame,
                hint="copy it there, make it from the masks again, or remove the keyframe",
            )
        if one.frame in wanted:
            keyframes.append(Keyframe(one.frame, trimap=path))
    if not keyframes:
        raise InputError(
            "input.no_keyframe",
            f"{tree.name} has no keyframe between the plates {wanted[0]} and {wanted[-1]}",
            hint="draw the masks on one frame and press Trimap From Masks",
        )
    made = Shot(
        name=Path(source.pattern).name,  # not the node's: its copies are the same shot
        frames=((wanted[0], wanted[-1], wanted.step),),
        plates=Plates(
            pattern=source.pattern,
            colourspace=source.colourspace,
            composited_in="" if shot.composited_in == "AUTO" else shot.composited_in,
            premultiplied=shot.premultiplied,
        ),
        keyframes=tuple(keyframes),
        outputs=Outputs(layers=tuple(layers), split=True, foreground="straight"),
        options=Options(
            network=shot.network,
            checkpoint=paths.find(shot, "checkpoint"),
            window=shot.window,
            missing=shot.missing,
            overwrite=True,  # mattes of other plates or trimaps: they are in our own cache
        ),
        client=Client(adapter.host_name(), VERSION),
        guides=_guides(tree, wanted),
    )
    pattern = cache / shot_id(made)[:16] / "alpha.####.exr"
    return replace(made, outputs=replace(made.outputs, pattern=str(pattern)))


def _guides(tree, plates: Sequence[int]) -> Guides:
    chosen = {role: paths.find(tree.dvm, name) for role, name in GUIDES.items()}
    return Guides.of_patterns(
        {role: sequence_or_one(path, plates) for role, path in chosen.items()}
    )


def layers_wanted(tree) -> tuple[str, ...]:
    """What Matte asks for."""
    return (*MATTE, "foreground") if tree.dvm.use_foreground else MATTE


def _no_clip(message: str, hint: str) -> InputError:
    return InputError("input.no_clip", message, hint=hint)
