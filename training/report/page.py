"""HTML pages that stand in a folder of their own: no server, no network, nothing else to open.

A page is a template of `training/report/pages`; its style sheet and scripts lie in ``assets``. The
whole folder is written under another name and takes its place when it is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from model.errors import InputError
from model.plates.atomic import write_bytes
from model.plates.file_errors import writing
from training.report.pixels import Pixels, png

INDEX = "index.html"
_GENERATOR = '<meta name="generator" content="dvm-train">'  # also in pages/page.html
_ASSETS = ("report.css", "tables.js", "plots.js", "viewer.js")


@contextmanager
def page_folder(place: Path) -> Iterator[Path]:
    """A new, empty folder that takes ``place`` when the block ends well, and goes if it does not.

    Raises:
        InputError: ``input.not_a_report`` if something else lies at ``place``; nothing is touched
            then. ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    if place.exists() and not _is_ours(place):
        raise InputError(
            "input.not_a_report",
            f"{place} is not a report of dvm-train, so it is not replaced",
            hint="move it away, or choose another folder",
        )
    new = place.with_name(f".{place.name}.tmp-{os.getpid()}")
    old = place.with_name(f".{place.name}.old-{os.getpid()}")
    shutil.rmtree(new, ignore_errors=True)
    with writing(place.parent):
        new.mkdir(parents=True)
    try:
        yield new
        with writing(place.parent):
            _take_place(new, place, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_page(folder: Path, template: str, context: Mapping[str, Any]) -> None:
    """Write ``index.html`` and the assets that it needs.

    Args:
        folder: it exists.
        template: of `training/report/pages`.
        context: what the template asks for; texts are escaped, `Markup` is not.

    Raises:
        InputError: ``input.output_unwritable``. CapacityError: ``capacity.disk_full``.
    """
    text = _templates().get_template(template).render(context)
    pages = resources.files("training.report") / "pages"
    with writing(folder):
        (folder / "assets").mkdir(exist_ok=True)
    for name in _ASSETS:
        write_bytes(folder / "assets" / name, (pages / name).read_bytes())
    write_bytes(folder / INDEX, text.encode())


@dataclass(frozen=True)
class Picture:
    """A picture of a card: what is written below it, and its pixels, uint8 H×W or H×W×3 R G B."""

    caption: str
    pixels: Pixels


@dataclass(frozen=True)
class Card:
    """What a page of cards tells of one clip.

    Attributes:
        name: of the clip.
        facts: e.g. ``{"frames": "120", "colourspace": "lin_rec709"}``.
        warnings: sentences; the card is marked if there are any.
        pictures: small ones, as `report_pixels.thumbnail` makes them.
        plots: what `training.report.parts.line_plot` and `histogram` make.
    """

    name: str
    facts: Mapping[str, str]
    warnings: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    plots: Sequence[Markup] = ()


def write_cards(
    place: Path,
    title: str,
    cards: Sequence[Card],
    *,
    intro: str = "",
    warnings: Sequence[str] = (),
) -> None:
    """Write a page with a card a clip, such as a quality page of footage, with all its warnings on
    top.

    Args:
        place: the folder that is made; a report that lies there is replaced.
        title: of the page.
        cards: in the order they are shown in.
        intro: a sentence or two below the title.
        warnings: those that belong to no clip.

    Raises:
        InputError, CapacityError: as `page_folder`.
    """
    with page_folder(place) as folder:
        with writing(folder):
            (folder / "pictures").mkdir()
        shown = []
        for place_of_card, card in enumerate(cards):
            files = []
            for order, picture in enumerate(card.pictures):
                path = f"pictures/{place_of_card:03}_{order:02}.png"
                write_bytes(folder / path, png(picture.pixels))
                height, width = picture.pixels.shape[:2]
                size = {"width": width, "height": height}
                files.append({"path": path, "caption": picture.caption, **size})
            shown.append({"card": card, "pictures": files})
        context = {"title": title, "intro": intro, "warnings": warnings, "cards": shown}
        write_page(folder, "cards.html", context)


def _templates() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("training.report", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}  # methods stay in their order
    return made


def _take_place(new: Path, place: Path, old: Path) -> None:
    """Nothing is lost if it fails: what lay there lies there again."""
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise


def _is_ours(place: Path) -> bool:
    """An empty folder is nobody's."""
    if place.is_dir() and not any(place.iterdir()):
        return True
    try:
        return _GENERATOR in (place / INDEX).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
