"""`shot.schema.json` says of shots what `shot.py` does."""

import json
from pathlib import Path

import jsonschema
import pytest

from host_plugins.client.errors import InputError
from host_plugins.client.shot import Shot

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "host_plugins/client/shot.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
GOLDEN = sorted(
    one for one in (ROOT / "tests/golden").glob("shot_*.json") if one.name != "shot_ids.json"
)
MINIMAL = json.loads((ROOT / "tests/golden/shot_minimal.json").read_text(encoding="utf-8"))


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.name)
def test_golden_shots_are_valid_as_written_and_as_rewritten(path):
    content = json.loads(path.read_text(encoding="utf-8"))
    VALIDATOR.validate(content)
    VALIDATOR.validate(Shot.from_json(content).to_json())


def test_every_field_that_is_written_is_described():
    written = {}
    for name in ("shot_guided.json", "shot_by_path.json"):  # the one has what the other leaves out
        content = json.loads((ROOT / "tests/golden" / name).read_text(encoding="utf-8"))
        written |= Shot.from_json(content).to_json()
        for key in written["keyframes"]:
            assert set(key) <= set(SCHEMA["properties"]["keyframes"]["items"]["properties"])
    described = SCHEMA["properties"]
    assert set(written) == set(described)
    for name in ("outputs", "options", "client", "guides"):
        assert set(written[name]) == set(described[name]["properties"])
    assert set(written["plates"]) - {"pattern"} == set(described["plates"]["properties"])


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"name": ""},
        {"name": "a\nb"},
        {"frames": []},
        {"frames": [[1, 2]]},
        {"frames": [[1, 2, 0]]},
        {"frames": [[1, 2.5, 1]]},
        {"plates": {}},
        {"plates": {"pattern": "p", "by_value": True}},
        {"plates": {"pattern": "p", "composited_in": "film"}},
        {"keyframes": []},
        {"keyframes": [{"frame": 1}]},
        {"keyframes": [{"frame": 1, "trimap": {"part": "x"}}]},
        {"trimaps": {}},
        {"outputs": {"layers": []}},
        {"outputs": {"layers": ["alpha", "alpha"]}},
        {"outputs": {"compression": "gzip"}},
        {"options": {"tile": -1}},
        {"options": {"window": 5}},
        {"options": {"missing": "skip"}},
        {"client": "me"},
        {"guides": {"garbage": {}}},
        {"guides": {"clean": {"pattern": "p", "by_value": True}}},
        {"keyframes": [{"frame": 1, "trimap": "t.png", "roto": "r.png"}]},
        {"keyframes": [{"frame": 1, "roto": "r.png", "shrink": -1}]},
        {"roi": [1, 2, 3]},
        {"roi": [1, 2, 3.5, 4]},
        {"handles": -1},
        {"handles": 1.5},
    ],
    ids=str,
)
def test_both_refuse_the_same(change):
    content = {**MINIMAL, **change}
    assert not VALIDATOR.is_valid(content)
    with pytest.raises(InputError):
        Shot.from_json(content)


@pytest.mark.parametrize(
    "change",
    [
        {"future": 1},
        {"keyframes": [], "trimaps": {"by_value": True}},
        {"trimaps": None, "outputs": None, "options": None, "client": None},
        {"plates": {"by_value": True}},
        {"plates": {"pattern": "p", "by_value": False}},
        {"outputs": {"layers": ["foreground", "alpha"], "split": True}},
        {"guides": None, "roi": None, "handles": 0},
        {"guides": {"garbage": {"by_value": True}, "core": None, "later": 1}},
        {"keyframes": [{"frame": 1, "roto": {"part": "0" * 64}, "grow": 3}]},
        {"keyframes": [{"frame": 1, "trimap": "t.png", "roto": None}]},
        {"roi": [-5, -5, 10, 10], "handles": 12},
    ],
    ids=str,
)
def test_both_take_the_same(change):
    content = {**MINIMAL, **change}
    VALIDATOR.validate(content)
    Shot.from_json(content)
