"""shot.json: what it means, what it refuses, and the identity that follows from it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from host_plugins.client import shot as shots
from host_plugins.client.errors import InputError
from host_plugins.client.shot import (
    Client,
    Guide,
    Guides,
    Keyframe,
    Options,
    Outputs,
    Plates,
    Roto,
    Shot,
    Trimaps,
)

GOLDEN = Path(__file__).parents[1] / "golden"
IDS = json.loads((GOLDEN / "shot_ids.json").read_text(encoding="utf-8"))


def golden(name):
    return json.loads((GOLDEN / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", IDS)
def test_ids_are_those_of_schema_1(name):
    shot = Shot.from_json(golden(name))
    assert shots.shot_id(shot) == IDS[name]
    assert Shot.from_json(json.loads(json.dumps(shot.to_json()))) == shot


def test_what_is_left_out_takes_its_default():
    shot = Shot.from_json(golden("shot_minimal.json"))
    assert shot.numbers() == (-3, -2, -1, 0, 1, 2, 3, 4)
    assert shot.outputs == Outputs("", ("alpha",), False, "zip", "premultiplied")
    assert shot.options == Options("", "", "centred", "float32", 0, "error", False)
    assert (shot.trimaps, shot.client) == (None, None)


def test_every_field_is_read():
    shot = Shot.from_json(golden("shot_by_path.json"))
    assert shot.name == "A010_C003 – héro"
    assert shot.numbers() == (*range(1001, 1013), 1020, 1025, 1030, 1035, 1040)
    assert shot.plates == Plates("/shots/a/plate.####.exr", False, "ACEScg", "linear", False)
    assert shot.keyframes[1] == Keyframe(1012, "/shots/a/key.1012.png")
    assert shot.trimaps == Trimaps("/shots/a/given.%04d.png")
    assert shot.outputs == Outputs(
        "/shots/a/alpha.####.exr", ("alpha", "trimap"), True, "zips", "straight"
    )
    assert shot.options == Options("closed_form", "", "causal", "float16", 512, "hold", True)
    assert shot.client == Client("nuke", "0.1.0")


def test_every_later_field_is_read():
    shot = Shot.from_json(golden("shot_guided.json"))
    assert shot.keyframes == (
        Keyframe(999, "/shots/a/key.0999.png"),
        Keyframe(1006, "/shots/a/roto.1006.exr", roto=Roto(shrink=4, grow=12)),
    )
    assert shot.guides == Guides(
        Guide("/shots/a/garbage.exr"), Guide("/shots/a/core.####.exr"), Guide("/shots/a/clean.exr")
    )
    assert (shot.roi, shot.handles) == ((100, 50, 739, 409), 2)
    assert shot.inputs() == shots.INPUTS
    value = Shot.from_json(golden("shot_guided_by_value.json"))
    assert value.keyframes == (Keyframe(1006, part="a" * 64, roto=Roto(10, 10)),)
    assert value.inputs() == ("garbage", "clean", "roto", "handles")


def test_fields_at_their_default_are_not_written_so_that_old_ids_stand():
    written = Shot.from_json(golden("shot_by_path.json")).to_json()
    assert not {"guides", "roi", "handles"} & set(written)
    assert all(set(one) == {"frame", "trimap"} for one in written["keyframes"])


def test_handles_go_on_by_the_step_of_the_run_beside_them():
    shot = replace(
        Shot.from_json(golden("shot_minimal.json")), frames=((10, 14, 2), (20, 30, 5)), handles=2
    )
    assert shot.numbers() == (10, 12, 14, 20, 25, 30)
    assert shot.all_numbers() == (6, 8, *shot.numbers(), 35, 40)
    assert replace(shot, handles=0).all_numbers() == shot.numbers()


def test_paths_of_guides_and_shapes_are_relative_to_the_shots_folder(tmp_path):
    content = golden("shot_minimal.json")
    content["guides"] = {"clean": {"pattern": "clean.exr"}, "core": {"by_value": True}}
    content["keyframes"] = [{"frame": 0, "roto": "shape.exr"}]
    (tmp_path / "shot.json").write_text(json.dumps(content), encoding="utf-8")
    shot = shots.load(tmp_path / "shot.json")
    assert shot.guides == Guides(
        clean=Guide(str(tmp_path / "clean.exr")), core=Guide(by_value=True)
    )
    assert shot.keyframes == (Keyframe(0, str(tmp_path / "shape.exr"), roto=Roto()),)


def test_identity_leaves_out_output_paths_client_and_unknown_fields():
    content = golden("shot_by_path.json")
    same = json.loads(json.dumps(content))
    same["outputs"]["pattern"] = "/elsewhere/a.####.exr"
    same["client"] = {"host": "blender", "version": "9"}
    same["future"] = {"x": 1}
    same["options"]["future"] = True
    same["keyframes"].reverse()
    assert shots.shot_id(Shot.from_json(same)) == IDS["shot_by_path.json"]


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, name="other"),
        lambda s: replace(s, frames=((1001, 1012, 1),)),
        lambda s: replace(s, plates=replace(s.plates, colourspace="")),
        lambda s: replace(s, plates=replace(s.plates, premultiplied=True)),
        lambda s: replace(s, keyframes=s.keyframes[:1]),
        lambda s: replace(s, trimaps=None),
        lambda s: replace(s, outputs=replace(s.outputs, compression="zip")),
        lambda s: replace(s, options=replace(s.options, window="centred")),
        lambda s: replace(s, guides=Guides(core=Guide("/c.exr"))),
        lambda s: replace(s, guides=Guides(garbage=Guide(by_value=True))),
        lambda s: replace(s, roi=(0, 0, 9, 9)),
        lambda s: replace(s, handles=1),
        lambda s: replace(s, keyframes=(replace(s.keyframes[0], roto=Roto()),)),
    ],
)
def test_identity_depends_on_all_else(change):
    shot = Shot.from_json(golden("shot_by_path.json"))
    assert shots.shot_id(change(shot)) != shots.shot_id(shot)


def test_canonical_json_is_sorted_utf8_without_spaces():
    assert shots.canonical({"b": [1, True], "a": "é"}) == '{"a":"é","b":[1,true]}'.encode()


WRONG = [
    ("name", "", "'name' must be given"),
    ("name", "two\nlines", "'name' must be one line"),
    ("name", "x" * 201, "'name' must be one line of at most 200"),
    ("frames", [], "'frames' must be a list of [first, last, step]"),
    ("frames", [[1, 2]], "'frames[0]' must be [first, last, step]"),
    ("frames", [[1, 2, 0]], "'frames[0]' must ascend"),
    ("frames", [[5, 2, 1]], "'frames[0]' must ascend"),
    ("frames", [[1, 5, 1], [5, 9, 1]], "'frames[1]' must begin after frame 5"),
    ("frames", [[1, 100_001, 1]], "'frames' must name at most 100000 frames; it names 100001"),
    ("frames", [[1.0, 2, 1]], "'frames[0]' must be [first, last, step]"),
    ("frames", [[0, 10**9, 1]], "'frames[0]' must be [first, last, step]"),
    ("plates", None, "'plates' must be an object"),
    ("plates", {}, "'plates' must have either a 'pattern' or 'by_value'"),
    ("plates", {"pattern": "p", "by_value": True}, "'plates' must have either"),
    ("plates", {"pattern": 3}, "'plates.pattern' must be a text"),
    ("plates", {"pattern": "p\0"}, "'plates.pattern' must have at most 4096"),
    ("plates", {"pattern": "p\udc80"}, "'plates.pattern' holds characters that are not Unicode"),
    ("plates", {"pattern": "p", "composited_in": "film"}, "one of linear, display; it is 'film'"),
    ("plates", {"pattern": "p", "premultiplied": 1}, "'plates.premultiplied' must be true or"),
    ("keyframes", {}, "'keyframes' must be a list"),
    ("keyframes", [3], "'keyframes[0]' must be an object"),
    ("keyframes", [{"trimap": "k"}], "'keyframes[0].frame' must be a whole number"),
    ("keyframes", [{"frame": 1}], "'keyframes[0].trimap' must be given"),
    ("keyframes", [{"frame": 1, "trimap": ""}], "'keyframes[0].trimap' must be given"),
    ("keyframes", [{"frame": 1, "trimap": {"part": "x"}}], "'keyframes[0].trimap.part' must be a"),
    ("keyframes", [{"frame": 1, "trimap": "k"}] * 2, "'keyframes[1].frame' names frame 1 a second"),
    ("trimaps", {}, "'trimaps' must have either"),
    ("outputs", [], "'outputs' must be an object"),
    ("outputs", {"layers": []}, "'outputs.layers' must list some of alpha, trimap"),
    ("outputs", {"layers": ["alpha", "alpha"]}, "each once"),
    ("outputs", {"layers": ["beta"]}, "it is ['beta']"),
    ("outputs", {"compression": "gzip"}, "'outputs.compression' must be one of none, rle"),
    ("outputs", {"split": "yes"}, "'outputs.split' must be true or false; it is 'yes'"),
    ("options", {"tile": -1}, "'options.tile' must be a whole number within 0 … 65536; it is -1"),
    ("options", {"tile": True}, "'options.tile' must be a whole number"),
    ("options", {"window": 5}, "'options.window' must be one of centred, causal"),
    ("options", {"missing": "skip"}, "'options.missing' must be one of error, hold, black"),
    ("client", "me", "'client' must be an object"),
]


@pytest.mark.parametrize(("field", "value", "said"), WRONG, ids=lambda v: str(v)[:40])
def test_what_is_wrong_is_named(field, value, said):
    content = {**golden("shot_minimal.json"), field: value}
    with pytest.raises(InputError) as caught:
        Shot.from_json(content)
    assert caught.value.code == "input.bad_shot"
    assert said in caught.value.message
    assert caught.value.hint


def test_without_a_keyframe_there_is_nothing_to_start_from():
    content = {**golden("shot_minimal.json"), "keyframes": []}
    with pytest.raises(InputError) as caught:
        Shot.from_json(content)
    assert caught.value.code == "input.no_keyframe"
    assert Shot.from_json({**content, "trimaps": {"pattern": "t.####.png"}}).keyframes == ()


@pytest.mark.parametrize("content", [None, [], "x", 3])
def test_a_shot_is_an_object(content):
    with pytest.raises(InputError, match="the shot must be an object"):
        Shot.from_json(content)


def test_another_schema_is_told_in_a_sentence():
    with pytest.raises(InputError) as caught:
        Shot.from_json({**golden("shot_minimal.json"), "schema": 2})
    assert caught.value.code == "input.shot_schema"
    assert "schema 2" in caught.value.message and caught.value.hint


def test_paths_are_relative_to_the_file(tmp_path):
    content = golden("shot_minimal.json")
    content["outputs"] = {"pattern": "../out/a.####.exr"}
    content["options"] = {"checkpoint": "/abs/c.safetensors"}
    (tmp_path / "shot.json").write_text(json.dumps(content), encoding="utf-8")
    shot = shots.load(tmp_path / "shot.json")
    assert shot.plates.pattern == str(tmp_path / "p.%04d.exr")
    assert shot.keyframes[0].trimap == str(tmp_path / "k.png")
    assert shot.outputs.pattern == str(tmp_path.parent / "out" / "a.####.exr")
    assert shot.options.checkpoint == "/abs/c.safetensors"
    assert shot.trimaps is None


def test_saved_and_loaded_it_is_the_same(tmp_path):
    shot = Shot.from_json(golden("shot_by_path.json"))
    shots.save(shot, tmp_path / "shot.json")
    assert shots.load(tmp_path / "shot.json") == shot
    assert [one.name for one in tmp_path.iterdir()] == ["shot.json"]


def test_a_file_that_is_no_shot_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        shots.load(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"bad\.json is not JSON"):
        shots.load(tmp_path / "bad.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"bytes\.json is not JSON"):
        shots.load(tmp_path / "bytes.json")
