"""What mattes are judged on: items with a true alpha, from folders or made by synthesis.

A folder holds one item, or one folder an item. What an item is, its files tell (`LAYOUTS`):

    clip        comp/0000.jpg …  alpha/0000.png …  trimap/0000.png …
    layered     comp.1001.exr …  fg_premult.1001.exr …  trimap.1001.png …
    still       comp.png  alpha.png  trimap.png
    solved      NAME.png  NAME_alpha.png  NAME_trimap.png        truth by a solver
    scribbles   source.png  scribbles.png  matlab_alpha.png      truth by a solver

The truth of a layered item is the alpha of its premultiplied foreground, 0 outside of its window.

Where a layout's trimap files are missing, trimaps are made from the truth (`drawn_trimap`). What a
solver made favours solvers: such items take no part in any mean and are judged only when named.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from model.errors import InputError
from model.plates import colour
from model.plates.channels import find_alpha
from model.plates.file_errors import entries
from model.plates.image_files import read_plate, rgb
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from model.plates.trimap import place_trimap, read_trimap
from training.composing.composed_pixels import placed
from training.composing.manifest import entry_of, read_manifest
from training.judging.flow_files import Flow, find_flow, read_flow

Alpha = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

# Who has a person in it. The hair is a card without a head: what a person's footage teaches does
# not help there, and that is what the two groups are kept apart for.
PERSONS = ("clip_dancer_A_pan_stream", "clip_dancer_B_video_bg", "exr_linear_dancer")
SYNTHETIC = ("synthetic:matting", "synthetic:propagation")
FOOTAGE_SEED = 990_000_000  # beyond every seed of training and of the synthetic hold-out
_SPACES = {"linear": "lin_rec709_scene", "display": "srgb_rec709_scene"}
PICTURES = (".exr", ".png", ".tif", ".tiff", ".dpx", ".jpg", ".jpeg")
# They move by themselves too, half of them: what of that is in pictures is in no flow.
_STIRS = ("person", "strands", "fur", "smoke", "cloth")
_REACH = 7


@dataclass(frozen=True)
class Footage:
    """Clips that are made of a person's held-out shot.

    Attributes:
        width, height, frames: of each clip.
        seed: of the first; the next ones follow it.
        linear: for each clip whether it is composited in linear light, or in display light.
    """

    width: int
    height: int
    frames: int
    seed: int
    linear: tuple[bool, ...]


# The larger clips tell margins apart that come to the same number of pixels in the others, which
# networks are chosen by.
FOOTAGE = {
    "footage:heldout": Footage(480, 272, 12, FOOTAGE_SEED, (False, False, True, True)),
    "footage:large": Footage(
        640, 368, 14, FOOTAGE_SEED + 100, tuple(number % 4 == 3 for number in range(10))
    ),
}


@dataclass(frozen=True)
class Judged:
    """One frame with its truth.

    Attributes:
        plate: what networks are given.
        trimap: given for this frame.
        truth: float32 H×W over the plate's data window, 0…1.
    """

    plate: Plate
    trimap: Trimap
    truth: Alpha

    @property
    def classes(self) -> Picture:
        """The trimap over the plate's data window: 0, 128, 255."""
        return place_trimap(self.trimap, self.plate.header)


@dataclass(frozen=True)
class Item:
    """A clip or a still that mattes are judged on.

    Attributes:
        name: of its folder; of made ones, the data set's with a number and a kind.
        data_set: as it was asked for.
        frames: their numbers.
        person: whether there is one in it.
        light: ``linear`` or ``display``: what it is composited in.
        solved: its truth was made by a classical solver; not part of means.
        read: a frame by its number; raises InputError.
        flow: where what a frame shows lies in the next one, from the first number to the second:
            H×W×2, x and y in pixels, NaN where nothing is known, or None; raises InputError. None
            for an item without any.
        flow_source: what that flow is.
    """

    name: str
    data_set: str
    frames: tuple[int, ...]
    person: bool
    light: str
    solved: bool
    read: Callable[[int], Judged]
    flow: Callable[[int, int], Flow | None] | None = None
    flow_source: str = ""

    @property
    def moving(self) -> bool:
        return len(self.frames) > 1


@dataclass(frozen=True)
class Layout:
    """Where an item of one kind has its files.

    Attributes:
        name: of the layout.
        place: from the item's folder to its files by frame number, or None if it is no such item.
        solved: the truth is a solver's.
    """

    name: str
    place: Callable[[Path], dict[int, Files] | None]
    solved: bool = False


@dataclass(frozen=True)
class Files:
    """Of one frame. ``truth`` is a grey picture, or one with an alpha; ``trimap`` may be None."""

    comp: Path
    truth: Path
    trimap: Path | None
    scribbles: bool = False


def find_items(
    data: str, material: Path | None = None, names: Sequence[str] = (), workers: int = 1
) -> tuple[Item, ...]:
    """The items of a data set.

    Args:
        data: a folder, ``synthetic:matting``, ``synthetic:propagation``, ``footage:heldout`` or
            ``footage:large``.
        material: folder of real material that the made ones use; see `training.material`.
        names: which items of it; all without a solver's truth if empty.
        workers: processes that grow sprites for the synthetic sets.

    Raises:
        InputError: ``input.unknown_data``, ``input.no_items``, ``input.no_material`` or what
            reading a first frame raises.
    """
    if data in SYNTHETIC:
        found = tuple(_synthetic(data, material, workers))
    elif data in FOOTAGE:
        found = tuple(_footage(data, material))
    elif ":" in data and not Path(data).exists():
        raise InputError(
            "input.unknown_data",
            f"there is no data set called {data}",
            hint=f"use a folder, or one of: {', '.join((*SYNTHETIC, *FOOTAGE))}",
        )
    else:
        found = tuple(_in_folder(Path(data), data, names))
    if names:
        return tuple(item for item in found if item.name in names)
    return tuple(item for item in found if not item.solved)


def drawn_trimap(truth: Alpha) -> Picture:
    """A trimap by a fixed rule: certain is what lies more than 7 px (a disc) inside of truth ≥ 0.98
    or of truth ≤ 0.02; all else is unknown. Data sets' own trimaps follow the same rule often.

    Args:
        truth: float32 H×W, 0…1.

    Returns:
        uint8 H×W: 0, 128, 255.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _REACH + 1, 2 * _REACH + 1))
    trimap = np.full(truth.shape, 128, np.uint8)
    trimap[cv2.erode((truth >= 0.98).astype(np.uint8), disc) > 0] = 255
    trimap[cv2.erode((truth <= 0.02).astype(np.uint8), disc) > 0] = 0
    return trimap


def first_frames(item: Item, count: int) -> Item:
    """The item's first ``count`` frames; all for 0."""
    return replace(item, frames=item.frames[:count]) if count else item


def _in_folder(folder: Path, data: str, names: Sequence[str]) -> Iterator[Item]:
    if not folder.is_dir():
        raise InputError(
            "input.unknown_data", f"the folder {folder} is not there", hint="check --data"
        )
    clips = _composed(folder)
    if clips:
        manifest = read_manifest(folder) or {}
        for name, frames in clips.items():
            if not names or name in names:
                said = _said_of_clip(manifest, name)
                yield _item(folder / "v" / name, data, frames, COMPOSED, said)
        return
    places = [folder, *(one for one in entries(folder) if one.is_dir())]
    found = 0
    for place in places:
        for layout in LAYOUTS:
            files = layout.place(place)
            if files:
                found += 1
                wanted = place.name in names if names else not layout.solved
                if wanted:
                    yield _item(place, data, files, layout, _said(place))
                break
        if found and place is folder:
            return
    if not found:
        raise InputError(
            "input.no_items",
            f"{folder} holds no item with plates and a true alpha",
            hint="see the layouts in training/README.md, Evaluating",
        )


def _item(
    place: Path, data: str, files: Mapping[int, Files], layout: Layout, said: Mapping[str, Any]
) -> Item:
    numbers = tuple(sorted(files))
    space = colour.plate_colourspace(read_plate(files[numbers[0]].comp).header)

    vectors = find_flow(place)

    def read(number: int) -> Judged:
        return _read(files[number], number)

    def flow(now: int, after: int) -> Flow | None:
        path = vectors.get((now, after))
        return None if path is None else read_flow(path)

    return Item(
        name=place.name,
        data_set=data,
        frames=numbers,
        person=bool(said.get("person", place.name in PERSONS)),
        light=str(said.get("light", colour.default_composited_in(space))),
        solved=layout.solved,
        read=read,
        flow=flow if vectors else None,
        flow_source="given flow" if vectors else "",
    )


def _said(place: Path) -> Mapping[str, Any]:
    """``person`` and ``light`` of the item's meta.json, if it has them."""
    path = place / "meta.json"
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError("input.unreadable", f"{path} is not JSON: {error}") from error
    return said if isinstance(said, dict) else {}


def _read(files: Files, number: int) -> Judged:
    plate = read_plate(files.comp, frame=number)
    truth = read_alpha(files.truth, plate.header, number)
    if files.trimap is None:
        trimap = Trimap(drawn_trimap(truth), plate.header.data_window, "given")
    elif files.scribbles:
        trimap = _scribbled(files.trimap, plate)
    else:
        trimap = read_trimap(files.trimap, frame=number, source="given")
    return Judged(plate, trimap, truth)


def read_alpha(path: Path, header: PlateHeader, number: int) -> Alpha:
    """A finished matte or a truth over its plate's data window; outside of its own it is 0.

    Args:
        path: a picture's channel A, if it has one; else its grey.
        header: of the plate.
        number: of the frame.

    Returns:
        float32 H×W, 0…1.

    Raises:
        InputError: as `read_plate`; ``input.truth_size`` if it does not fit the plate,
            ``input.matte_nan`` if it holds there what is no number: errors would be none either.
    """
    image = read_plate(path, frame=number, choose=find_alpha)
    values = image.pixels[:, :, :1].astype(np.float32)
    window, place = image.header.data_window, header.display_window
    if path.suffix.lower() == ".exr":
        fits = image.header.display_window == place
    else:
        place = next((w for w in (place, header.data_window) if _size(w) == _size(window)), place)
        fits = _size(place) == _size(window)
        window = place
    if not fits:
        raise InputError(
            "input.truth_size",
            f"{path} is {_size(image.header.display_window)}, its plate is {_size(place)}",
            frame=number,
            hint="give it the plate's format",
        )
    alpha = placed(values, window, header.data_window)[..., 0]
    if not np.isfinite(alpha).all():
        raise InputError(
            "input.matte_nan",
            f"{path} holds values that are not numbers",
            frame=number,
            hint="write it again; an alpha lies between 0 and 1",
        )
    return np.ascontiguousarray(alpha.clip(0, 1))


def _size(window: Window) -> str:
    return f"{window.width}×{window.height}"


def _scribbled(path: Path, plate: Plate) -> Trimap:
    """White strokes on the plate are foreground, black ones background."""
    strokes, bare = rgb(read_plate(path)), rgb(plate)
    drawn = np.abs(strokes - bare).max(2) > 0.05
    trimap = np.full(drawn.shape, 128, np.uint8)
    trimap[drawn & (strokes.min(2) > 0.95)] = 255
    trimap[drawn & (strokes.max(2) < 0.05)] = 0
    return Trimap(trimap, plate.header.data_window, "given", path=str(path))


def _clip(place: Path) -> dict[int, Files] | None:
    if not (place / "comp").is_dir() or not (place / "alpha").is_dir():
        return None
    comps, truths, trimaps = (_numbered(place / part) for part in ("comp", "alpha", "trimap"))
    return _matched(place, comps, truths, trimaps)


def _layered(place: Path) -> dict[int, Files] | None:
    comps, truths, trimaps = (_numbered(place, part) for part in ("comp", "fg_premult", "trimap"))
    return _matched(place, comps, truths, trimaps) if comps and truths else None


def _composed(folder: Path) -> dict[str, dict[int, Files]]:
    """Clips by name, as `dvm-train compose` and `footage` write them: ``{v,a[,t]}/NAME/``."""
    plates, truths, trimaps = (folder / part for part in "vat")
    if not plates.is_dir() or not truths.is_dir():
        return {}
    return {
        place.name: _matched(
            place, *(_numbered(part / place.name) for part in (plates, truths, trimaps))
        )
        for place in entries(plates)
        if place.is_dir()
    }


def _said_of_clip(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The light that a manifest says of a clip, or of all."""
    light = entry_of(manifest, name).get("light") or manifest.get("light")
    return {"light": light} if light else {}


def _still(place: Path) -> dict[int, Files] | None:
    return _one(_single(place, "comp"), _single(place, "alpha"), _single(place, "trimap"))


def _solved(place: Path) -> dict[int, Files] | None:
    name = place.name
    return _one(
        _single(place, name), _single(place, f"{name}_alpha"), _single(place, f"{name}_trimap")
    )


def _scribbles(place: Path) -> dict[int, Files] | None:
    strokes = _single(place, "scribbles")
    found = _one(_single(place, "source"), _single(place, "matlab_alpha"), strokes)
    if not found or strokes is None:
        return None
    return {number: replace(files, scribbles=True) for number, files in found.items()}


COMPOSED = Layout("composed", lambda place: None)  # many items in one folder: see `_composed`
LAYOUTS = (
    Layout("clip", _clip),
    Layout("layered", _layered),
    Layout("still", _still),
    Layout("solved", _solved, solved=True),
    Layout("scribbles", _scribbles, solved=True),
)


def _one(comp: Path | None, truth: Path | None, trimap: Path | None) -> dict[int, Files] | None:
    return {1: Files(comp, truth, trimap)} if comp and truth else None


def _single(place: Path, stem: str) -> Path | None:
    candidates = (place / f"{stem}{ending}" for ending in PICTURES)
    return next((path for path in candidates if path.is_file()), None)


def _numbered(place: Path, stem: str = "") -> dict[int, Path]:
    """Pictures by number: ``0001.png``, or ``stem.0001.png``."""
    if not place.is_dir():
        return {}
    found = {}
    for path in entries(place):
        before, _, number = path.stem.rpartition(".")
        if before == stem and number.isdigit() and path.suffix.lower() in PICTURES:
            found[int(number)] = path
    return found


def _matched(
    place: Path, comps: Mapping[int, Path], truths: Mapping[int, Path], trimaps: Mapping[int, Path]
) -> dict[int, Files]:
    """Raises InputError if the three do not cover the same frames (or there is no trimap)."""
    for what, there in (("true alpha", truths), ("trimap", trimaps)):
        missing = sorted(set(comps) ^ set(there))
        if missing and (there or what != "trimap"):
            raise InputError(
                "input.missing_truth",
                f"{place}: plates and {what} differ in frame {missing[0]}",
                frame=missing[0],
                hint="every plate needs its truth, and either all frames a trimap or none",
            )
    if not comps:
        raise InputError("input.no_items", f"{place} has no plates", hint="check the folder")
    return {number: Files(comps[number], truths[number], trimaps.get(number)) for number in comps}


def _synthetic(data: str, material: Path | None, workers: int) -> Iterator[Item]:
    from training.synthesis import hold_out  # it brings torch and scipy

    for index, clips in enumerate(hold_out(data.partition(":")[2], material, workers)):
        yield _made(f"{data} {index:02} {clips.kinds[0]}", data, clips)


def _footage(data: str, material: Path | None) -> Iterator[Item]:
    for index, clips in enumerate(held_out_footage(material, data)):
        yield _made(f"{data} {index:02}", data, clips)


def held_out_footage(material: Path | None, data: str = "footage:heldout") -> Iterator[Any]:
    """The person's held-out shot over held-out pictures and clips, as `FOOTAGE` has it.

    Yields:
        `training.synthesis.Clips` of one clip each.

    Raises:
        InputError: ``input.no_material``.
    """
    from training.material import read_material
    from training.synthesis import Synthesis, SynthesisConfig

    found = read_material(material, "held_out")
    persons = [sprite for sprite in found.sprites if sprite.kind == "person"]
    if not persons:
        raise InputError(
            "input.no_material",
            f"{data} needs keyed footage of a person, and there is none "
            f"{f'in {material}' if material else 'without --material'}",
            hint="name the folder of real material with --material",
        )
    footage = FOOTAGE[data]
    config = SynthesisConfig(
        height=footage.height,
        width=footage.width,
        frames=footage.frames,
        framing="whole",
        occluder_share=0.0,
        pair_share=0.0,
    )
    for index, linear in enumerate(footage.linear):
        lit = replace(config, linear_share=float(linear))
        synthesis = Synthesis(persons, found.photographs, found.clips, lit, "cpu")
        yield synthesis.clips(footage.seed + index, 1)


def _made(name: str, data: str, clips: Any) -> Item:
    """An item of one synthetic clip (`training.synthesis.Clips`, N = 1), frames from 1 on."""
    light = clips.light[0].permute(0, 2, 3, 1).numpy()
    truth = clips.alpha[0, :, 0].numpy()
    trimap = (clips.trimap[0, :, 0].numpy() * 255).round().astype(np.uint8)
    name_of_light = "linear" if bool(clips.linear[0]) else "display"
    window = Window.of_size(light.shape[2], light.shape[1])
    header = PlateHeader(
        ("R", "G", "B"), window, window, colourspace=_SPACES[name_of_light], pixel_type="float"
    )

    def read(number: int) -> Judged:
        i = number - 1
        return Judged(
            Plate(np.ascontiguousarray(light[i], np.float32), header),
            Trimap(trimap[i], window, "given"),
            truth[i].astype(np.float32),
        )

    def flow(now: int, after: int) -> Flow | None:
        if after != now + 1:
            return None
        vectors = clips.flow[0, now - 1].permute(1, 2, 0).cpu().numpy()
        return np.ascontiguousarray(vectors, np.float32)

    return Item(
        name=name,
        data_set=data,
        frames=tuple(range(1, len(light) + 1)),
        person=clips.kinds[0] == "person",
        light=name_of_light,
        solved=False,
        read=read,
        flow=None if clips.kinds[0] in _STIRS else flow,
        flow_source="" if clips.kinds[0] in _STIRS else "true flow of the foreground's content",
    )
