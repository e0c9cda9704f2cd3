"""`dvm-train footage`: a studio's plates and mattes as training clips, and what is told of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from model.plates.channels import find_alpha
from model.plates.image_files import read_plate, write_image
from model.plates.plate import PlateHeader, Window
from training.composing.composed import open_composed
from training.footage import footage
from training.studio.kinds import look, tell

HEIGHT, WIDTH = 48, 64
LINEAR = {"colorInteropID": "lin_rec709_scene"}


def app():
    import typer

    found = typer.Typer()
    found.command()(footage)
    return found


def run(*arguments: object):
    return CliRunner().invoke(app(), [str(one) for one in arguments])


def scene(frames: int = 4, step: int = 2) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """A soft disc that travels over noise: straight foreground, alpha, background."""
    rng = np.random.default_rng(1)
    behind = rng.random((HEIGHT, WIDTH, 3)).astype(np.float32) * 0.3 + 0.05
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    front = np.full((HEIGHT, WIDTH, 3), [0.9, 0.4, 0.2])
    found = []
    for frame in range(frames):
        away = np.hypot(y - 24, x - 20 - step * frame)
        alpha = np.clip((14 - away) / 4, 0, 1).astype(np.float32)
        found.append((front.astype(np.float32), alpha, behind))
    return found


def write_shot(folder: Path, kind: str, frames=None, first: int = 1001, separate: bool = True):
    """Plates, and mattes beside them or in A."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (front, alpha, behind) in enumerate(frames or scene()):
        share = alpha[..., None]
        colours = {
            "plate": front * share + behind * (1 - share),
            "premultiplied": front * share,
            "straight": front,
        }[kind]
        number = first + place
        plate, matte = folder / f"plate.{number}.exr", folder / f"matte.{number}.exr"
        if separate:
            write_image(plate, colours, ("R", "G", "B"), pixel_type="float", attributes=LINEAR)
            write_image(matte, alpha, ("A",), pixel_type="float")
        else:
            both = np.dstack([colours, alpha])
            write_image(plate, both, (*"RGBA",), pixel_type="float", attributes=LINEAR)
    return folder


def write_list(path: Path, *shots: dict[str, str]) -> Path:
    path.write_text(
        "\n".join(
            "[[shot]]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in one.items())
            for one in shots
        ),
        encoding="utf-8",
    )
    return path


def plate_shot(name: str = "sh010", **more: str) -> dict[str, str]:
    return {
        "name": name,
        "plates": f"{name}/plate.####.exr",
        "mattes": f"{name}/matte.####.exr",
        "split": "train",
        **more,
    }


def backgrounds(folder: Path) -> Path:
    folder.mkdir()
    picture = np.full((60, 100, 3), 120, np.uint8)
    picture[:30] = (200, 30, 60)
    assert cv2.imwrite(str(folder / "wall.png"), picture)
    return folder


def entry(out: Path, name: str = "sh010", side: str = "train") -> dict:
    return json.loads((out / side / "manifest.json").read_text(encoding="utf-8"))["clips"][name]


def test_plates_and_mattes_become_a_clip_that_training_reads(tmp_path):
    write_shot(tmp_path / "sh010", "plate")
    done = run(write_list(tmp_path / "shots.toml", plate_shot()), "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert entry(tmp_path / "set")["kind"] == "plate"
    source = open_composed(tmp_path / "set" / "train", {})
    assert source.names == ("sh010",) and source.length("sh010") == 4
    read = source.read("sh010", [0, 3])
    assert read.linear and read.foreground is None and read.trimap is None
    front, alpha, behind = scene()[3]
    share = alpha[..., None]
    assert np.allclose(read.alpha[1, 0], alpha, atol=1e-6)
    assert np.allclose(
        read.light[1].permute(1, 2, 0), front * share + behind * (1 - share), atol=1e-3
    )
    assert (tmp_path / "set" / "quality" / "index.html").is_file()
    assert not list((tmp_path / "set" / "train" / ".composing").glob("sh*"))


def test_premultiplied_colours_are_told_by_themselves_and_laid_over_a_background(tmp_path):
    write_shot(tmp_path / "sh010", "premultiplied", separate=False)
    shots = write_list(tmp_path / "shots.toml", {**plate_shot(), "mattes": ""})
    done = run(shots, "-o", tmp_path / "set", "--backgrounds", backgrounds(tmp_path / "bg"))
    assert done.exit_code == 0, done.output
    assert entry(tmp_path / "set")["kind"] == "premultiplied"
    read = open_composed(tmp_path / "set" / "train", {}).read("sh010", [1])
    share = read.alpha
    again = read.foreground * share + read.background * (1 - share)
    assert float((again - read.light).abs().max()) < 2e-3
    front, alpha, _ = scene()[1]
    inside = alpha > 0.3
    straight = read.foreground[0].permute(1, 2, 0).numpy()
    assert np.abs(straight - front)[inside].max() < 2e-3


def white_element(folder: Path) -> dict[str, str]:
    """White, linear and premultiplied; with light that is added in a corner, where alpha is 0."""
    folder.mkdir()
    alpha = scene()[0][1]
    colours = np.repeat(alpha[..., None], 3, 2)
    colours[2:4, 2:4] = 0.25
    both = np.dstack([colours, alpha])
    path = folder / "plate.1001.exr"
    write_image(path, both, (*"RGBA",), pixel_type="float", attributes=LINEAR)
    return plate_shot(mattes="", kind="premultiplied")


@pytest.mark.parametrize(("light", "added"), [("display", 0.5371), ("linear", 0.25)])
def test_premultiplied_colours_are_converted_without_their_alpha(tmp_path, light, added):
    """White over white is white in either light."""
    shots = write_list(
        tmp_path / "shots.toml", {**white_element(tmp_path / "sh010"), "composited_in": light}
    )
    (tmp_path / "bg").mkdir()
    assert cv2.imwrite(str(tmp_path / "bg" / "wall.png"), np.full((60, 100, 3), 255, np.uint8))
    done = run(shots, "-o", tmp_path / "set", "--backgrounds", tmp_path / "bg")
    assert done.exit_code == 0, done.output
    read = open_composed(tmp_path / "set" / "train", {}).read("sh010", [0])
    assert read.linear == (light == "linear")
    shown = read.light[0].permute(1, 2, 0).numpy()
    assert np.abs(shown[2:4, 2:4] - 1 - added).max() < 1e-3
    shown[2:4, 2:4] = 1
    assert np.abs(shown - 1).max() < 1e-3
    straight, alpha = read.foreground[0, 0].numpy(), read.alpha[0, 0].numpy()
    assert np.abs(straight - 1)[alpha > 0.01].max() < 1e-3


def test_an_element_without_backgrounds_is_refused_and_nothing_is_left(tmp_path):
    write_shot(tmp_path / "sh010", "premultiplied")
    done = run(write_list(tmp_path / "shots.toml", plate_shot()), "-o", tmp_path / "set")
    assert "lacks its background" in done.exception.message
    assert not (tmp_path / "set" / "train" / "v").exists()
    assert not list((tmp_path / "set" / "train" / ".composing").glob("sh*"))


def test_straight_colours_are_what_the_list_says(tmp_path):
    write_shot(tmp_path / "sh010", "straight")
    shots = write_list(tmp_path / "shots.toml", plate_shot(kind="straight"))
    done = run(shots, "-o", tmp_path / "set", "--backgrounds", backgrounds(tmp_path / "bg"))
    assert done.exit_code == 0, done.output
    read = open_composed(tmp_path / "set" / "train", {}).read("sh010", [0])
    clear = read.alpha[0, 0].numpy() == 0
    shown, behind = (one[0].permute(1, 2, 0).numpy() for one in (read.light, read.background))
    assert np.abs(shown - behind)[clear].max() < 1e-3


def test_what_does_not_tell_its_kind_has_to_be_said():
    rng = np.random.default_rng(2)
    solid = np.ones((8, 8), np.float32)
    with pytest.raises(Exception, match="hardly anywhere 0"):
        tell([look(rng.random((8, 8, 3)).astype(np.float32), solid)], "sh")
    half = np.zeros((8, 8, 3), np.float32)
    half[:4] = 0.5
    clear = np.zeros((8, 8), np.float32)
    assert tell([look(half, clear)], "sh") == "plate"
    black = look(np.zeros((8, 8, 3), np.float32), clear)
    with pytest.raises(Exception, match="some"):
        tell([black, look(half, clear)], "sh")
    assert tell([black], "sh") == "premultiplied"


def test_a_data_window_of_its_own_is_put_in_its_place(tmp_path):
    folder = write_shot(tmp_path / "sh010", "plate")
    alpha = scene()[0][1]
    header = PlateHeader(("A",), Window(0, 0, 63, 47), Window(0, 0, 63, 47))
    write_image(
        folder / "matte.1001.exr",
        np.ascontiguousarray(alpha[4:44, 2:42]),
        ("A",),
        header=header,
        data_window=Window(2, 4, 41, 43),
        pixel_type="float",
    )
    done = run(write_list(tmp_path / "shots.toml", plate_shot()), "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    read = open_composed(tmp_path / "set" / "train", {}).read("sh010", [0])
    assert np.allclose(read.alpha[0, 0], alpha, atol=1e-6)


def test_what_is_there_is_left_and_what_changed_is_brought_again(tmp_path):
    folder = write_shot(tmp_path / "sh010", "plate")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    files = sorted((tmp_path / "set" / "train").rglob("*.exr"))
    times = [path.stat().st_mtime_ns for path in files]
    again = run(shots, "-o", tmp_path / "set")
    assert again.exit_code == 0 and "0 shots brought; there are 1" in again.output
    assert [path.stat().st_mtime_ns for path in files] == times
    first = entry(tmp_path / "set")["sha256"]
    moved = scene(step=3)[2]
    write_image(folder / "matte.1003.exr", moved[1], ("A",), pixel_type="float")
    assert "1 shots brought" in run(shots, "-o", tmp_path / "set").output
    assert entry(tmp_path / "set")["sha256"] != first


def test_a_damaged_clip_is_brought_again(tmp_path):
    write_shot(tmp_path / "sh010", "plate")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    (tmp_path / "set" / "train" / "a" / "sh010" / "00002.exr").unlink()
    assert "1 shots brought" in run(shots, "-o", tmp_path / "set").output
    assert open_composed(tmp_path / "set" / "train", {}).length("sh010") == 4


def test_a_shot_that_turns_out_a_plate_keeps_no_layers_of_the_element(tmp_path):
    write_shot(tmp_path / "sh010", "plate")
    out = tmp_path / "set"
    given = "-o", out, "--backgrounds", backgrounds(tmp_path / "bg")
    element = write_list(tmp_path / "element.toml", plate_shot(kind="straight"))
    assert run(element, *given).exit_code == 0
    assert (out / "train" / "f" / "sh010").is_dir()
    shots = write_list(tmp_path / "shots.toml", plate_shot(kind="plate", frames="1001-1003"))
    assert "1 shots brought" in run(shots, *given).output
    assert not list((out / "train").glob("[fb]/sh010"))
    source = open_composed(out / "train", {})
    assert source.length("sh010") == 3 and source.read("sh010", [0]).foreground is None
    assert "0 shots brought" in run(shots, *given).output
    assert "1 shots brought" in run(element, *given).output
    assert open_composed(out / "train", {}).read("sh010", [0]).foreground is not None


@pytest.mark.parametrize(("before", "after"), [("straight", "plate"), ("plate", "straight")])
@pytest.mark.parametrize("moved", [0, 1, 2, 3, 4])
def test_a_shot_that_changes_its_kind_may_be_interrupted_anywhere(
    tmp_path, monkeypatch, before, after, moved
):
    write_shot(tmp_path / "sh010", "plate")
    out, given = tmp_path / "set", ("--backgrounds", backgrounds(tmp_path / "bg"))
    first = write_list(tmp_path / "first.toml", plate_shot(kind=before))
    then = write_list(tmp_path / "then.toml", plate_shot(kind=after))
    assert run(first, "-o", out, *given).exit_code == 0
    rename, seen = Path.rename, []

    def interrupted(self, target):
        if ".composing" in self.parts and self.is_dir():
            seen.append(self)
            if len(seen) > moved:
                raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    run(then, "-o", out, *given)
    monkeypatch.undo()
    done = run(then, "-o", out, *given)
    assert done.exit_code == 0 and "sh010 is there" in done.output
    read = open_composed(out / "train", {}).read("sh010", [3])
    assert (read.foreground is None) == (after == "plate")
    if after == "straight":
        made = read.alpha * read.foreground + (1 - read.alpha) * read.background
        assert float((made - read.light).abs().max()) < 2e-3


def test_groups_are_split_whole_and_a_longer_list_moves_none(tmp_path):
    frames = scene(2)
    names = [f"s{i:02}" for i in range(12)]
    for name in names:
        write_shot(tmp_path / name, "plate", frames[:1])
    rows = [
        {**plate_shot(name, group=f"g{place // 2}"), "split": ""}
        for place, name in enumerate(names)
    ]
    from training.studio.shots import read_shots

    few, _ = read_shots(write_list(tmp_path / "few.toml", *rows[:6]), 0.5)
    many, wrong = read_shots(write_list(tmp_path / "many.toml", *rows), 0.5)
    assert not wrong
    sides = {shot.name: shot.split for shot in many}
    assert all(sides[shot.name] == shot.split for shot in few)
    assert all(sides[names[i]] == sides[names[i + 1]] for i in range(0, 12, 2))
    assert set(sides.values()) == {"train", "test"}


def test_a_group_on_both_sides_is_refused(tmp_path):
    for name in ("a", "b"):
        write_shot(tmp_path / name, "plate")
    shots = write_list(
        tmp_path / "shots.toml",
        plate_shot("a", group="sq"),
        plate_shot("b", group="sq") | {"split": "test"},
    )
    done = run(shots, "-o", tmp_path / "set")
    assert "keep them on one side" in done.exception.message
    assert not (tmp_path / "set").exists()


def wrong_size(folder: Path) -> None:
    write_image(folder / "matte.1002.exr", np.zeros((10, 10), np.float32), ("A",))


def missing_matte(folder: Path) -> None:
    (folder / "matte.1002.exr").unlink()


def missing_plate(folder: Path) -> None:
    for name in ("plate", "matte"):
        (folder / f"{name}.1002.exr").unlink()


def matte_alone(folder: Path) -> None:
    (folder / "plate.1004.exr").unlink()


def damaged_plate(folder: Path) -> None:
    path = folder / "plate.1003.exr"
    path.write_bytes(path.read_bytes()[:200])


def coloured_matte(folder: Path) -> None:
    picture = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    picture[..., 0] = 1
    write_image(folder / "matte.1001.exr", picture, ("R", "G", "B"))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (wrong_size, "matte.1002.exr is 10×10, its plate 64×48"),
        (missing_matte, "lacks the matte of frame 1002"),
        (missing_plate, "lacks the plate of frame 1002, between others: bring it back, or name"),
        (matte_alone, "lacks the plate of frame 1004, which has a matte: bring it back, or name"),
        (damaged_plate, "plate.1003.exr"),
        (coloured_matte, "coloured picture without channel A"),
    ],
)
def test_bad_footage_is_one_sentence_and_nothing_is_left(tmp_path, spoil, said):
    spoil(write_shot(tmp_path / "sh010", "plate"))
    write_shot(tmp_path / "sh020", "plate")
    shots = write_list(tmp_path / "shots.toml", plate_shot("sh020"), plate_shot())
    done = run(shots, "-o", tmp_path / "set")
    assert said in done.exception.message
    assert not (tmp_path / "set" / "train" / "v" / "sh010").exists()
    others = run(shots, "-o", tmp_path / "set", "--skip-bad")
    assert others.exit_code == 0, others.output
    assert "1 were left out" in others.output
    assert open_composed(tmp_path / "set" / "train", {}).names == ("sh020",)


@pytest.mark.parametrize(
    ("numbers", "frames"), [((1001, 1003, 1005), ""), ((1001, 1002, 1005), "1001 1002 1005")]
)
def test_plates_that_are_not_neighbours_may_be_meant(tmp_path, numbers, frames):
    folder = write_shot(tmp_path / "sh010", "plate", scene(6))
    for number in {*range(1001, 1007)} - {*numbers}:
        (folder / f"plate.{number}.exr").unlink()
        if not frames:
            (folder / f"matte.{number}.exr").unlink()
    shots = write_list(tmp_path / "shots.toml", plate_shot(frames=frames))
    done = run(shots, "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    assert open_composed(tmp_path / "set" / "train", {}).length("sh010") == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[shot]\n", "is not TOML"),
        ("", "holds no tables"),
        ('[[shot]]\nname = "a"\n', "says no plates"),
        ('[[shot]]\nname = "a/b"\nplates = "p"\n', "use letters"),
        ('[[shot]]\nname = "a"\nplates = "p"\nkinds = "x"\n', "'kinds'"),
        ('[[shot]]\nname = "a"\nplates = "p"\nkind = "x"\n', "one of auto, plate"),
        ('[[shot]]\nname = "a"\nplates = "p"\n' * 2, "two shots called a"),
    ],
)
def test_a_bad_list_is_one_sentence(tmp_path, text, said):
    path = tmp_path / "shots.toml"
    path.write_text(text, encoding="utf-8")
    done = run(path, "-o", tmp_path / "set")
    assert said in done.exception.message
    assert not (tmp_path / "set").exists()


def test_a_dry_run_says_how_shots_are_understood_and_writes_nothing(tmp_path):
    write_shot(tmp_path / "sh010", "premultiplied")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    behind = backgrounds(tmp_path / "bg")
    done = run(shots, "-o", tmp_path / "set", "--dry-run", "--backgrounds", behind)
    assert done.exit_code == 0
    assert "sh010: train, 4 frames 1001–1004, premultiplied, Linear Rec.709" in done.output
    assert not (tmp_path / "set").exists()


def unclear(folder: Path) -> None:
    for place in range(4):
        path = folder / f"matte.{1001 + place}.exr"
        write_image(path, np.full((HEIGHT, WIDTH), 0.5, np.float32), ("A",))


@pytest.mark.parametrize("kind", ["premultiplied", "plate"])
@pytest.mark.parametrize("skip", [(), ("--skip-bad",)])
def test_a_dry_run_ends_as_the_run_does(tmp_path, kind, skip):
    """An element without backgrounds, and a shot whose kind is not clear, last in the list."""
    write_shot(tmp_path / "sh010", "plate")
    folder = write_shot(tmp_path / "sh020", kind)
    if kind == "plate":
        unclear(folder)
    shots = write_list(tmp_path / "shots.toml", plate_shot(), plate_shot("sh020"))
    dry = run(shots, "-o", tmp_path / "set", "--dry-run", *skip)
    assert not (tmp_path / "set").exists()
    assert "sh010: train" in dry.output
    assert ("sh020: train" in dry.output) == (kind == "premultiplied")
    true = run(shots, "-o", tmp_path / "set", *skip)
    told = "lacks its background" if kind == "premultiplied" else "is not clear"
    if skip:
        assert dry.exit_code == true.exit_code == 0
        assert f"cannot be brought: sh020: {'sh020 is' if kind != 'plate' else 'whether'}" in (
            dry.output
        )
        assert "1 were left out" in true.output
    else:
        assert told in dry.exception.message == true.exception.message
        assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("spoil", [unclear, lambda folder: wrong_size(folder)])
def test_if_no_shot_can_be_brought_that_is_no_success(tmp_path, spoil):
    spoil(write_shot(tmp_path / "sh010", "plate"))
    done = run(
        write_list(tmp_path / "shots.toml", plate_shot(kind="auto")),
        *("-o", tmp_path / "set", "--skip-bad"),
    )
    assert done.exception.code == "input.bad_shots" and "1 of 1 shots" in done.exception.message
    assert "--skip-bad" not in done.exception.hint


def clips_of(out: Path, side: str) -> list[str]:
    return sorted(path.name for path in (out / side / "v").glob("*"))


def test_a_shot_that_changes_sides_is_on_one_alone(tmp_path):
    out = tmp_path / "set"
    for name in ("sh010", "sh020"):
        write_shot(tmp_path / name, "plate")
    path = tmp_path / "shots.toml"
    other = plate_shot("sh020")
    assert run(write_list(path, plate_shot(), other), "-o", out).exit_code == 0
    moved = write_list(path, {**plate_shot(), "split": "test"}, other)
    dry = run(moved, "-o", out, "--dry-run")
    assert "sh010 changes sides" in dry.output
    assert clips_of(out, "train") == ["sh010", "sh020"]
    done = run(moved, "-o", out)
    assert done.exit_code == 0, done.output
    assert f"sh010 changes sides: its clip in {out / 'train'} is taken out" in done.output
    assert clips_of(out, "train") == ["sh020"] and clips_of(out, "test") == ["sh010"]
    assert not (out / "train" / "a" / "sh010").exists()
    assert list(json.loads((out / "train" / "manifest.json").read_text())["clips"]) == ["sh020"]
    assert "changes sides" not in run(moved, "-o", out).output
    back = run(write_list(path, plate_shot()), "-o", out)
    assert "1 shots brought; there are 2 now" in back.output
    assert clips_of(out, "train") == ["sh010", "sh020"] and not clips_of(out, "test")


@pytest.mark.parametrize(
    "clips", ['{"sh010": "x"}', '[{"name": "sh010"}]', '{"sh010": {}}', '{"sh030": {"frames": 1}}']
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, clips):
    write_shot(tmp_path / "sh010", "plate")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    path = tmp_path / "set" / "train" / "manifest.json"
    path.parent.mkdir(parents=True)
    text = f'{{"settings": {{"kind": "footage"}}, "clips": {clips}}}'
    path.write_text(text)
    done = run(shots, "-o", tmp_path / "set")
    assert done.exception.code == "input.manifest" and str(path) in done.exception.message
    assert path.read_text() == text


@pytest.mark.filterwarnings("error")
def test_plates_that_are_no_numbers_are_told(tmp_path):
    folder = write_shot(tmp_path / "sh010", "plate")
    good = read_plate(folder / "plate.1002.exr").pixels
    spoilt = good.copy()
    spoilt[3, 4], spoilt[5, 6, 1] = np.nan, np.inf
    write_raw(folder / "plate.1002.exr", spoilt)
    grey = np.repeat(scene()[1][1][..., None], 3, 2)
    grey[1, 2] = np.inf
    write_raw(folder / "matte.1002.exr", grey)
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set", "--dry-run").exit_code == 0
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    quality = entry(tmp_path / "set")["quality"]
    assert (
        "1 frames have colours that are infinite or no number, the most in frame 1002; "
        "they become 65504 and 0" in quality["warnings"]
    )
    assert [row["odd_colours"] for row in quality["frames"]] == [0, 2, 0, 0]
    clip = tmp_path / "set" / "train" / "v" / "sh010" / "00001.exr"
    pixels = read_plate(clip).pixels
    assert (pixels[3, 4] == 0).all() and pixels[5, 6, 1] == 65504


def write_raw(path: Path, pixels: np.ndarray) -> None:
    """Past our writer, which makes all values finite."""
    import OpenImageIO as oiio

    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], 3, "float")
    spec.attribute("colorInteropID", LINEAR["colorInteropID"])
    target = oiio.ImageOutput.create("openexr")
    assert target.open(str(path), spec) and target.write_image(np.ascontiguousarray(pixels))
    assert target.close()


def test_somebody_elses_folder_is_left_alone(tmp_path):
    write_shot(tmp_path / "sh010", "plate")
    theirs = tmp_path / "set" / "train" / "v" / "sh010"
    theirs.mkdir(parents=True)
    done = run(write_list(tmp_path / "shots.toml", plate_shot()), "-o", tmp_path / "set")
    assert "the manifest does not know it" in done.exception.message
    assert not list(theirs.iterdir())


def warnings_of(tmp_path: Path, frames, pixel_type: str = "float") -> str:
    folder = tmp_path / "sh010"
    write_shot(folder, "plate", frames)
    if pixel_type == "uint8":
        for place, (_, alpha, _) in enumerate(frames):
            (folder / f"matte.{1001 + place}.exr").unlink()
            picture = np.rint(alpha * 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / f"matte.{1001 + place}.png"), picture)
    ending = "png" if pixel_type == "uint8" else "exr"
    shots = write_list(
        tmp_path / "shots.toml", plate_shot() | {"mattes": f"sh010/matte.####.{ending}"}
    )
    done = run(shots, "-o", tmp_path / "set")
    assert done.exit_code == 0, done.output
    return " | ".join(entry(tmp_path / "set")["quality"]["warnings"])


def test_good_mattes_are_not_warned_of(tmp_path):
    assert warnings_of(tmp_path, scene(8)) == ""


def test_flicker_where_the_plate_stands_still_is_told(tmp_path):
    frames = [
        (front, np.clip(alpha * (1 + 0.3 * (place % 2)), 0, 1), behind)
        for place, (front, alpha, behind) in enumerate(scene(5, step=0))
    ]
    folder = tmp_path / "sh010"
    still = scene(1)[0]
    write_shot(folder, "plate", [still] * 5)
    for place, (_, alpha, _) in enumerate(frames):
        path = folder / f"matte.{1001 + place}.exr"
        write_image(path, alpha.astype(np.float32), ("A",), pixel_type="float")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    quality = entry(tmp_path / "set")["quality"]
    assert "4 frames flicker" in " ".join(quality["warnings"])
    expected = [
        np.abs(b[1] - a[1])[
            ((a[1] > 0.05) & (a[1] < 0.95)) | ((b[1] > 0.05) & (b[1] < 0.95))
        ].mean()
        for a, b in pairwise(frames)
    ]
    assert [row["flicker"] for row in quality["frames"][1:]] == pytest.approx(expected, abs=1e-4)


def test_mattes_that_are_a_frame_off_are_told(tmp_path):
    frames = scene(12, step=4)[:11]
    folder = write_shot(tmp_path / "sh010", "plate", frames)
    for place in range(10):
        path = folder / f"matte.{1001 + place}.exr"
        write_image(path, frames[place + 1][1], ("A",), pixel_type="float")
    shots = write_list(tmp_path / "shots.toml", plate_shot(frames="1001-1010"))
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    assert "of the frame after better" in " ".join(entry(tmp_path / "set")["quality"]["warnings"])


def test_held_hard_and_eight_bit_mattes_are_told(tmp_path):
    frames = scene(4)
    held = [frames[0], (frames[1][0], frames[0][1], frames[1][2]), *frames[2:]]
    folder = write_shot(tmp_path / "sh010", "plate", frames)
    write_image(folder / "matte.1002.exr", held[1][1], ("A",), pixel_type="float")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    assert "1002: they may be made on twos" in " ".join(
        entry(tmp_path / "set")["quality"]["warnings"]
    )
    hard = [(front, np.round(alpha), behind) for front, alpha, behind in frames]
    assert "hard" in warnings_of(tmp_path / "b", hard)
    assert "8 bit" in warnings_of(tmp_path / "c", frames, "uint8")


def test_alpha_beyond_its_range_is_clipped_and_told(tmp_path):
    frames = scene(3)
    folder = write_shot(tmp_path / "sh010", "plate", frames)
    over = frames[1][1] * 1.5
    write_image(folder / "matte.1002.exr", over, ("A",), pixel_type="float")
    shots = write_list(tmp_path / "shots.toml", plate_shot())
    assert run(shots, "-o", tmp_path / "set").exit_code == 0
    assert "1 frames have alpha outside" in entry(tmp_path / "set")["quality"]["warnings"][0]
    stored = read_plate(
        tmp_path / "set" / "train" / "a" / "sh010" / "00001.exr", choose=find_alpha
    ).pixels
    assert float(stored.max()) == 1.0
