"""Mattes in files, whoever made them: found, judged, and refused in one sentence."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from model.plates.image_files import write_image
from model.plates.plate import PlateHeader, Window
from tests.train.odd_values import write_matte
from training import cli

HEIGHT, WIDTH = 32, 40


def disc(shift: float) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(x - 16 - shift, y - 16)
    return np.rint(np.clip((8 - distance) / 4 + 0.5, 0, 1) * 255) / 255


def eight(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)


@pytest.fixture
def data(tmp_path) -> Path:
    """A clip of three frames and a still."""
    for i in range(3):
        alpha = disc(2.0 * i)
        write(tmp_path / f"data/moving/comp/{i:04}.png", eight(0.9 * alpha + 0.05))
        write(tmp_path / f"data/moving/alpha/{i:04}.png", eight(alpha))
    write(tmp_path / "data/still/comp.png", eight(0.9 * disc(0) + 0.05))
    write(tmp_path / "data/still/alpha.png", eight(disc(0)))
    return tmp_path / "data"


def run(data: Path, out: Path, *arguments: object) -> int:
    given = ("--data", data, "--out", out, "--baselines", "none", "--no-sheets", "--no-report")
    with pytest.raises(SystemExit) as left:
        cli.main(["evaluate", *map(str, (*given, *arguments))])
    return int(left.value.code or 0)


def figures(out: Path) -> dict[tuple[str, str, str, str], float]:
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    return {
        (row["item"], row["method"], row["convention"], metric): figure["value"]
        for row in found["mattes"]
        for metric, figure in row["figures"].items()
    }


def test_mattes_are_judged_like_a_network_s(data, tmp_path):
    off = [0.0, 0.1, -0.1]
    for i in range(3):
        alpha = np.clip(disc(2.0 * i) + off[i], 0, 1)
        write(tmp_path / f"keyer/moving/shot_v2.{i:04}.png", eight(alpha))
    write(tmp_path / "keyer/still/whatever.png", eight(disc(0)))
    out = tmp_path / "out"
    assert run(data, out, "--mattes", tmp_path / "keyer", "--convention", "rvm") == 0
    found = figures(out)
    assert found["still", "mattes keyer", "ours", "MSE"] == 0
    methods = {method for _, method, _, _ in found}
    assert methods == {"0.5", "mattes keyer"}  # no network was asked for
    whole = [
        1e3 * np.mean((eight(np.clip(disc(2.0 * i) + off[i], 0, 1)) / 255 - disc(2.0 * i)) ** 2)
        for i in range(3)
    ]
    assert found["moving", "mattes keyer", "rvm", "MSE"] == pytest.approx(np.mean(whole), rel=1e-5)
    page = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "### MSE, convention ours" in page
    assert "### dtSSD, convention rvm" in page
    with (out / "evaluation_frames.csv").open(encoding="utf-8") as file:
        lines = [
            (line["frame"], float(line["value"]))
            for line in csv.DictReader(file)
            if (line["item"], line["method"]) == ("moving", "mattes keyer")
            and (line["convention"], line["metric"]) == ("rvm", "MSE")
        ]
    assert lines == [(str(i), pytest.approx(value, rel=1e-5)) for i, value in enumerate(whole)]
    with (out / "evaluation.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found)
    for row in rows:
        key = row["item"], row["method"], row["convention"], row["metric"]
        assert float(row["value"]) == pytest.approx(found[key], rel=1e-5)
        alone = row["item"] == "still" and row["convention"] == "rvm"
        assert (row["low"] == "") == alone  # one unit has no interval


def test_an_exr_may_have_a_window_of_its_own_and_layers_beside_it(data, tmp_path):
    folder = tmp_path / "dvm"
    folder.mkdir()
    window, canvas = Window(4, 2, 33, 29), Window.of_size(WIDTH, HEIGHT)
    for i in range(3):
        rows, columns = window.inside(canvas)
        inside = disc(2.0 * i)[rows, columns].astype(np.float32)[..., None]
        header = PlateHeader(("A",), window, canvas)
        path = folder / f"shot.{i:04}.exr"
        write_image(path, inside, "A", header=header, pixel_type="float")
        write(folder / f"shot.trimap.{i:04}.png", np.zeros((3, 3), np.uint8))
    out = tmp_path / "out"
    # One item alone: the folder is its own.
    assert run(data, out, "--mattes", folder, "--items", "moving") == 0
    assert figures(out)["moving", "mattes dvm", "ours", "MSE"] == pytest.approx(0, abs=1e-9)


def test_missing_frames_are_listed_and_marked(data, tmp_path, capsys):
    for i in (0, 1):
        write(tmp_path / f"keyer/moving/{i:04}.png", eight(disc(2.0 * i) * 0.5))
    out = tmp_path / "out"
    assert run(data, out, "--mattes", tmp_path / "keyer") == 0
    said = capsys.readouterr().err
    assert "moving: mattes keyer lacks 1 of 3 frames: 2" in said
    assert "still: mattes keyer holds no matte of it" in said
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert len(found["left out"]) == 2
    (row,) = (row for row in found["mattes"] if row["method"] == "mattes keyer")
    assert row["missing"] == [2]
    page = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "* moving: mattes keyer lacks 1 of 3 frames: 2" in page
    assert "] † |" in page.replace("]†", "] †")


def nothing(folder: Path) -> None:
    folder.mkdir()


def two_of_a_frame(folder: Path) -> None:
    write(folder / "moving/a.0001.png", eight(disc(0)))
    write(folder / "moving/b.0001.png", eight(disc(0)))


def another_size(folder: Path) -> None:
    write(folder / "moving/0001.png", eight(disc(0))[:-2])


def no_number(folder: Path) -> None:
    write_matte(folder / "moving/0001.exr", np.full((HEIGHT, WIDTH), np.nan))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "the folder of mattes"),
        (nothing, "holds no matte of any item"),
        (two_of_a_frame, "a.0001.png and b.0001.png"),
        (another_size, "40×30, its plate is 40×32"),
        (no_number, "0001.exr holds values that are not numbers"),
    ],
)
def test_bad_mattes_are_refused_in_one_sentence(data, tmp_path, capsys, make, said):
    make(tmp_path / "bad")
    assert run(data, tmp_path / "out", "--mattes", tmp_path / "bad") == 10
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dvm-train")]
    assert len(errors) == 1
    assert said in errors[0]


def test_two_folders_of_one_name_are_told_apart(data, tmp_path):
    for version in ("v1", "v2"):
        write(tmp_path / f"{version}/mattes/still/a.png", eight(disc(0)))
    given = [one for v in ("v1", "v2") for one in ("--mattes", tmp_path / v / "mattes")]
    assert run(data, tmp_path / "out", *given, "--items", "still") == 0
    methods = {method for _, method, _, _ in figures(tmp_path / "out")}
    assert methods == {"0.5", "mattes v1/mattes", "mattes v2/mattes"}
