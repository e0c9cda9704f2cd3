"""The list of keyframes, and how their trimaps are made: read in the main thread, drawn and written
in another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ..client.errors import InputError
from ..client.plate_files import plate_size
from . import adapter, paths, raster, targa
from .shots import Source, trimap_folder

Errand = Callable[[], Path]


def find(tree, plate: int):
    """The keyframe of a plate, or None."""
    return next((one for one in tree.dvm.keyframes if one.frame == plate), None)


def put(tree, plate: int, kind: str, path: Path | None = None, image=None):
    """Add a keyframe, or replace the one of that plate; the list stays ascending."""
    shot = tree.dvm
    one = find(tree, plate)
    if one is None:
        one = shot.keyframes.add()
        one.frame = plate
        place = sum(other.frame < plate for other in shot.keyframes)
        shot.keyframes.move(len(shot.keyframes) - 1, place)
        one = shot.keyframes[place]
        shot.active = place
    one.kind, one.image = kind, image
    if path is not None:
        one.path = adapter.stored(str(path))
    return one


def remove(tree, index: int) -> None:
    """Take a keyframe off the list; its trimap's file stays."""
    shot = tree.dvm
    shot.keyframes.remove(index)
    shot.active = min(shot.active, max(len(shot.keyframes) - 1, 0))


def path_for(tree, plate: int) -> Path:
    """Where the trimap of a plate is written."""
    return _of_ours(tree, f"trimap.{plate:04d}", ".png")


def _of_ours(tree, name: str, suffix: str) -> Path:
    """A file in the node's folder that no other node's list names: a copy has its original's list,
    and must not change with it."""
    taken = set()
    for other in adapter.shot_trees():
        for one in other.dvm.keyframes if other != tree else ():
            taken.add(paths.find(one, "path"))
            if one.image is not None:
                taken.add(adapter.absolute(one.image.filepath_raw, one.image))
    path, number = trimap_folder(tree) / f"{name}{suffix}", 2
    while str(path) in taken:
        path, number = path.with_name(f"{name}-{number}{suffix}"), number + 1
    return path


def check_plate(source: Source, plate: int) -> None:
    """
    Raises:
        InputError: ``input.frame_range`` if the clip has no such plate.
    """
    plates = source.plates
    if plate not in plates:
        by = "" if plates.step == 1 else f", {plates.step} apart"
        raise InputError(
            "input.frame_range",
            f"the clip has no plate {plate}: its plates are {plates[0]} to {plates[-1]}{by}",
            hint="go to a frame where the clip is",
        )


def from_masks(tree, plate: int, file: Path) -> Errand:
    """Read the masks as they are at the scene's current frame.

    Args:
        tree: of the node.
        plate: that is shown now.
        file: of that plate, or the movie: the trimap is as large.

    Returns:
        What draws the trimap and writes it; it touches nothing of Blender's.

    Raises:
        InputError: ``input.no_mask``, ``input.empty_mask``, ``input.parented_mask``.
    """
    shot = tree.dvm
    if shot.mask is None:
        raise InputError(
            "input.no_mask",
            "no mask is chosen",
            hint="press New Masks, or choose one with the layers core and edge",
        )
    core = adapter.mask_layers(shot.mask, shot.core)
    edge = adapter.mask_layers(shot.mask, shot.edge)
    if not core and not edge:
        raise InputError(
            "input.empty_mask",
            f"the mask {shot.mask.name!r} has no shapes on its layers {shot.core!r} and "
            f"{shot.edge!r}",
            hint="draw the core, which is surely foreground, and the edge around all of it",
        )
    grow, shrink, band = shot.grow, shot.shrink, shot.band
    path = path_for(tree, plate)
    told = adapter.clip_size(shot.clip) if shot.source == "CLIP" else None

    def draw() -> Path:
        width, height = told or plate_size(file)
        inner = raster.rasterise(core, width, height)
        outer = raster.rasterise(edge, width, height) if edge else None
        rows = raster.trimap(inner, outer, width, height, grow=grow, shrink=shrink, band=band)
        path.parent.mkdir(parents=True, exist_ok=True)
        raster.write_png(path, rows, width, height)
        return path

    return draw


def from_painting(tree, plate: int) -> Errand:
    """Save what was painted, to be read in another thread.

    Raises:
        InputError: ``input.no_painting``.
    """
    one = find(tree, plate)
    if one is None or one.image is None:
        raise InputError(
            "input.no_painting",
            f"nothing is being painted for plate {plate}",
            frame=plate,
            hint="press Paint first",
        )
    path = path_for(tree, plate)
    saved = adapter.save_painting(one.image)

    def decode() -> Path:
        rows, width, height = targa.trimap_rows(saved, plate)
        raster.write_png(path, rows, width, height)
        return path

    return decode


def chosen(tree):
    """The keyframe that is chosen in the list.

    Raises:
        InputError: ``input.no_keyframe``.
    """
    shot = tree.dvm
    if not 0 <= shot.active < len(shot.keyframes):
        raise InputError(
            "input.no_keyframe",
            f"no keyframe of {tree.name} is chosen",
            hint="add one, or choose one in the list",
        )
    return shot.keyframes[shot.active]


def neighbour(tree, plate: int, *, ahead: bool) -> int:
    """The next keyframe's plate, or the previous one's; the same plate if there is none."""
    plates = sorted(one.frame for one in tree.dvm.keyframes)
    beyond = [p for p in plates if (p > plate if ahead else p < plate)]
    return (beyond[0] if ahead else beyond[-1]) if beyond else plate


def check_file(path: str, plate: int) -> None:
    """
    Raises:
        InputError: ``input.missing_trimap``. Whether it is a trimap is the server's to say.
    """
    if not Path(path).is_file():
        raise InputError(
            "input.missing_trimap",
            f"there is no file {path or '(none chosen)'} for the trimap of plate {plate}",
            frame=plate,
            hint="choose a trimap image",
        )


def begin_painting(uid: str, source: Source, plate: int, show) -> Iterator[None]:
    """Make the image that a plate's trimap is painted on, in two steps: each takes a moment.

    Args:
        uid: of the shot; its tree is looked up at each step.
        source: of the plates.
        plate: its number.
        show: called with the image when it is there.

    Raises:
        InputError: ``input.unreadable``.
    """
    seen = adapter.see(source.plate(plate), source.shown_in)
    yield
    tree = adapter.tree_of(uid)
    if tree is None:
        return
    path = _of_ours(tree, f"painting.{plate:04d}", ".tga")
    path.parent.mkdir(parents=True, exist_ok=True)
    image = adapter.new_painting(f"trimap {plate} {uid[:4]}", seen, path)
    put(tree, plate, "PAINT", image=image)
    show(image)
