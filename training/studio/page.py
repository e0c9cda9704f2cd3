"""The quality page of footage that was brought in: a card a clip, all warnings on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from model.plates.channels import find_alpha
from model.plates.image_files import read_plate
from training.composing.manifest import Entry
from training.report.page import Card, Picture, write_cards
from training.report.parts import Line, histogram, line_plot
from training.report.pixels import grey8, thumbnail
from training.studio.frames import shown

_THUMBNAILS = 3
_PLOTS = {
    "flicker": "flicker",
    "coverage": "mean alpha",
    "partial": "share of partial alpha",
}


def write_quality_page(
    place: Path, sides: Mapping[str, tuple[Path, Mapping[str, Entry]]], wrong: Sequence[str]
) -> None:
    """Write the page into a folder of its own.

    Args:
        place: the folder; a page that lies there is replaced.
        sides: by train and test: the data set's folder, and its clips' entries by name.
        wrong: what is wrong with shots that were left out.

    Raises:
        InputError: ``input.output_unwritable``, ``input.not_a_report``, or reading a clip.
        CapacityError: ``capacity.disk_full``.
    """
    write_cards(
        place,
        "Footage for training",
        [
            _card(name, side, folder, entry)
            for side, (folder, entries) in sides.items()
            for name, entry in sorted(entries.items())
        ],
        intro="Flicker is how far alpha moves, in the mean, where the plate stands still. "
        "Histograms leave out alpha that is exactly 0 or 1.",
        warnings=wrong,
    )


def _card(name: str, side: str, folder: Path, entry: Entry) -> Card:
    quality = entry["quality"]
    how = "as its colours tell" if entry["told"] else "as the list says"
    facts = {
        "side": side,
        "group": entry["group"],
        "frames": f"{entry['first']}–{entry['last']}, {entry['frames']}",
        "size": "×".join(map(str, entry["size"])),
        "colours": f"{entry['kind']}, {how}",
        "colourspace": entry["colourspace"],
        "composited in": entry["light"],
        **({"laid over": entry["background"]} if entry["background"] else {}),
    }
    return Card(
        name=name,
        facts=facts,
        warnings=quality["warnings"],
        pictures=_pictures(name, folder, entry),
        plots=[
            *(_plot(title, key, quality["frames"]) for key, title in _PLOTS.items()),
            histogram("partial alpha", quality["histogram"]),
        ],
    )


def _plot(title: str, key: str, rows: Sequence[Mapping[str, Any]]) -> Markup:
    lines = [Line(title, [row[key] for row in rows])]
    return line_plot(title, [row["number"] for row in rows], lines, size=(1280, 150))


def _pictures(name: str, folder: Path, entry: Entry) -> list[Picture]:
    """The first frame, the last and one between them, with their alpha."""
    last = entry["frames"] - 1
    numbers = [row["number"] for row in entry["quality"]["frames"]]
    found = []
    for index in sorted({round(last * share / (_THUMBNAILS - 1)) for share in range(_THUMBNAILS)}):
        plate = read_plate(folder / "v" / name / f"{index:05d}.exr").pixels.astype(np.float32)
        matte = read_plate(folder / "a" / name / f"{index:05d}.exr", choose=find_alpha)
        for what, values in (
            ("plate", shown(plate, entry["light"])),
            ("alpha", matte.pixels[:, :, 0]),
        ):
            small = thumbnail(grey8(values.astype(np.float32)))
            found.append(Picture(f"{what} {numbers[index]}", small))
    return found
