"""The README's pictures of the Nuke node show it as it is now."""

import re
import runpy
from html import unescape
from pathlib import Path

import pytest

from host_plugins.nuke import group, knobs

FOLDER = Path(__file__).parents[2] / "docs" / "nuke"
DRAWN = runpy.run_path(str(FOLDER / "draw.py"))["pictures"]()


def words(*names: str) -> set[str]:
    """All texts in checked-in pictures."""
    found = [(FOLDER / name).read_text(encoding="utf-8") for name in names]
    return {unescape(text) for one in found for text in re.findall(r"<text[^>]*>([^<]*)<", one)}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_what_is_drawn_now(name):
    now = (FOLDER / name).read_text(encoding="utf-8")
    assert now == DRAWN[name], "draw it anew: python docs/nuke/draw.py"


def test_there_is_no_other_picture():
    assert {one.name for one in FOLDER.glob("*.svg")} == set(DRAWN)


def test_each_knob_that_is_seen_is_in_a_picture():
    seen = {one.label for one in knobs.KNOBS if one.label and not one.hidden}
    assert seen <= words("knobs.svg", "settings.svg")


def test_each_node_inside_is_in_its_picture():
    plain = {one.name.removeprefix("dvm_").replace("_", " ") for one in group.NODES}
    assert plain <= words("inside.svg")
