"""Clips out of a folder of tfrecords, for training: frames in any order, through the index.

Needs OpenCV, numpy and torch alone. An index that is missing or belongs to another file is made
again in memory; nothing is written. Options, of a recipe's ``[source]``:

    foreground   what f holds, ``premultiplied`` or ``straight``; else what records.json says, else
                 premultiplied, as published
    light        what clips are composited in, ``display`` or ``linear``; else what records.json
                 says, else display. Pictures are sRGB-encoded either way
    only         a file with the names of the clips that are meant, one a line
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.checkpoint import sha256_of_file
from model.errors import InputError, SetupError
from model.exposure import encode_srgb
from training.sources import ClipFrames
from training.synthetic.camera import decode_srgb
from training.synthetic.painting import extended
from training.tfrecords.check import RECORD, index_path, record_path
from training.tfrecords.format import (
    DamagedRecord,
    Place,
    covers,
    parse_example,
    places,
    read_data,
    read_index,
)
from training.tfrecords.layout import read_names, require_known
from training.tfrecords.manifest import FOREGROUNDS, LIGHTS, NAME, Listed, read_manifest
from training.tfrecords.pictures import NAMES, BadPicture, Plane, classes, colour, grey

_OPTIONS = {"foreground": FOREGROUNDS, "light": LIGHTS}


def open_records(folder: Path, options: Mapping[str, Any]) -> RecordSource:
    """The clips of a folder of records.

    Raises:
        SetupError: ``setup.bad_recipe`` for an option that is not known.
        InputError: ``input.no_records``; ``input.bad_record`` if the first one cannot be read or
            has no plate or no alpha; what is wrong with records.json or with ``only``.
    """
    for key, value in options.items():
        if key != "only" and value not in _OPTIONS.get(key, ()):
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's [source] says {key} = {value!r}, which records do not know",
                hint="foreground is premultiplied or straight, light display or linear, only a "
                "file with names",
            )
    found = sorted(folder.glob(f"*{RECORD}")) if folder.is_dir() else []
    names = sorted(one.name.removesuffix(RECORD) for one in found if one.name[0] != ".")
    if "only" in options:
        only = read_names(Path(options["only"]))
        require_known(only, names, folder)
        names = sorted(only)
    if not names:
        raise InputError(
            "input.no_records",
            f"there are no records in {folder}",
            hint="`dvm-train records` writes them",
        )
    source = RecordSource(folder, names, options)
    source.read(names[0], [0])
    return source


class RecordSource:
    """See `training.sources.ClipSource`."""

    def __init__(self, folder: Path, names: Sequence[str], options: Mapping[str, Any]):
        self._folder = folder
        self._names = tuple(names)
        self._options = dict(options)
        self._places: dict[str, tuple[Place, ...]] = {}
        manifest = read_manifest(folder)
        self._listed = dict(manifest.clips) if manifest else {}

    @property
    def names(self) -> Sequence[str]:
        return self._names

    @property
    def described(self) -> Mapping[str, Any]:
        """The folder's name, the clips' number, the sha256 of records.json or of names and sizes of
        all records, and the options."""
        path = self._folder / NAME
        if path.exists():
            told = {"manifest_sha256": sha256_of_file(path)}
        else:
            sizes = {one: record_path(self._folder, one).stat().st_size for one in self._names}
            listing = json.dumps(sizes, sort_keys=True).encode()
            told = {"names_and_sizes_sha256": hashlib.sha256(listing).hexdigest()}
        options = {key: str(value) for key, value in self._options.items()}
        return {
            "kind": "records", "folder": self._folder.name, "clips": len(self._names), **told,
            **options,
        }  # fmt: skip

    def length(self, name: str) -> int:
        """Frames of a clip.

        Raises:
            InputError: ``input.bad_record``.
        """
        if name not in self._places:
            self._places[name] = self._indexed(name)
        return len(self._places[name])

    def read(self, name: str, frames: Sequence[int]) -> ClipFrames:
        """Frames by their place in the clip, from 0.

        Raises:
            InputError: ``input.bad_record``: damaged, without plate or alpha, or pictures that
                cannot be decoded or differ in size.
        """
        pictures = [self._pictures(name, number) for number in frames]
        listed = self._listed.get(name, Listed(0, 0, ""))
        linear = self._options.get("light", listed.light) == "linear"
        premultiplied = self._options.get("foreground", listed.foreground) == "premultiplied"
        kinds = {tuple((key, *plane.shape[:2]) for key, plane in one.items()) for one in pictures}
        if len(kinds) != 1:
            told = f"frames {', '.join(map(str, frames))} differ in size or in their keys"
            raise self._bad(name, DamagedRecord(told))
        planes = {key: np.stack([one[key] for one in pictures]) for key in pictures[0]}
        if "f" in planes and premultiplied:
            made = zip(planes["f"], planes["a"], strict=True)
            planes["f"] = np.stack([straight(f, a, linear) for f, a in made])

        def light(key: str) -> Tensor:
            picture = torch.from_numpy(planes[key]).permute(0, 3, 1, 2).contiguous()
            return decode_srgb(picture) if linear else picture

        trimap = classes(planes["t"])[:, None] if "t" in planes else None
        return ClipFrames(
            light("v"),
            torch.from_numpy(planes["a"][:, None]),
            light("f") if "f" in planes else None,
            light("b") if "b" in planes else None,
            torch.from_numpy(trimap) if trimap is not None else None,
            linear,
        )

    def _indexed(self, name: str) -> tuple[Place, ...]:
        """By the index file if it can be this record's, else by the record."""
        path = record_path(self._folder, name)
        try:
            index = read_index(index_path(self._folder, name))
            if covers(index, path.stat().st_size):
                return index
        except (DamagedRecord, OSError):
            pass  # the record itself tells as well
        return self._scanned(name)

    def _scanned(self, name: str) -> tuple[Place, ...]:
        try:
            return places(record_path(self._folder, name))
        except (DamagedRecord, OSError) as error:
            raise self._bad(name, error) from error

    def _data(self, name: str, number: int) -> bytes:
        for last in (False, True):
            if not 0 <= number < self.length(name):
                told = f"it has {self.length(name)} frames, {number} was asked for"
                raise self._bad(name, DamagedRecord(told))
            try:
                with record_path(self._folder, name).open("rb") as file:
                    return read_data(file, self._places[name][number], number)
            except (DamagedRecord, OSError) as error:
                if last or self._places[name] == (found := self._scanned(name)):
                    raise self._bad(name, error) from error
                self._places[name] = found  # the index was another's
        raise AssertionError("the loop returns or raises")

    def _pictures(self, name: str, number: int) -> dict[str, Plane]:
        data = self._data(name, number)
        try:
            example = parse_example(data, number)
            if example.index != number:
                raise DamagedRecord(f"its index is {example.index}", number)
            lacks = [f"{key} ({NAMES[key]})" for key in "va" if key not in example.pictures]
            if lacks:
                told = f"it has no {' and no '.join(lacks)}, which training needs"
                raise DamagedRecord(told, number)
            found: dict[str, Plane] = {}
            for key in NAMES:
                if key in example.pictures:
                    found[key] = _decoded(key, example.pictures[key], number)
        except DamagedRecord as error:
            raise self._bad(name, error) from error
        sizes = {plane.shape[:2] for plane in found.values()}
        if len(sizes) > 1:
            told = "its pictures differ in size"
            raise self._bad(name, DamagedRecord(told, number))
        return found

    def _bad(self, name: str, error: DamagedRecord | OSError) -> InputError:
        frame = error.frame if isinstance(error, DamagedRecord) else None
        told = error.strerror if isinstance(error, OSError) else str(error)
        where = f", frame {frame}" if frame is not None else ""
        return InputError(
            "input.bad_record",
            f"{record_path(self._folder, name)}{where}: {told}",
            frame=frame,
            hint="`dvm-train records -s check` tells of all that is wrong, -s verify repairs it",
        )


def straight(premultiplied: Plane, alpha: Plane, linear: bool) -> Plane:
    """Colour that was multiplied by alpha and stored in 8 bits, divided again.

    Below an alpha of 24/255 rounding and JPEG leave little of it: there it passes over into the
    colour around, as it does where alpha is 0 (`extended`).

    Args:
        premultiplied: H×W×3, sRGB-encoded, 0…1.
        alpha: H×W, 0…1.
        linear: it was multiplied in scene-linear light, and encoded then.

    Returns:
        H×W×3, sRGB-encoded, 0…1, in steps of 1/255.
    """
    stored = torch.from_numpy(premultiplied)
    share = torch.from_numpy(alpha).clamp_min(1 / 255)[..., None]
    light = (decode_srgb(stored) if linear else stored) / share
    encoded = encode_srgb(light) if linear else light
    codes = np.rint(encoded.clamp(0, 1).numpy() * 255).astype(np.uint8)
    found = extended(codes, np.rint(alpha * 255).astype(np.uint8))
    return (found / np.float32(255)).astype(np.float32)


def _decoded(key: str, data: bytes, number: int) -> Plane:
    try:
        return grey(data) if key in ("a", "t") else colour(data)
    except BadPicture as error:
        raise DamagedRecord(f"{key} {error}", number) from error
