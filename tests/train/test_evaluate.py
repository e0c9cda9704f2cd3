"""`dvm-train evaluate`: items of every layout, figures against hand-made cases, exit codes."""

import dataclasses
import errno
import json
import os
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointRecord, save_checkpoint
from model.errors import CapacityError, InputError
from model.networks.st_fam_s import StFamS
from model.plates.image_files import write_image
from model.plates.plate import PlateHeader, Window
from tests.train.odd_values import write_matte
from training import cli
from training.judging import bootstrap, gates, judgement, kept
from training.judging.baselines import BASELINES
from training.judging.calibration import ause, reliability, sparsification
from training.judging.datasets import Item, drawn_trimap, find_items
from training.judging.evaluation import Request, judge
from training.judging.judgement import Row, judge_mattes, judge_trimaps
from training.judging.kept import Kept, key_of
from training.judging.sheets import chosen_frames
from training.judging.subjects import Observed, open_subjects
from training.judging.tables import markdown, plain

HEIGHT, WIDTH = 48, 64


def disc(shift: float = 0.0) -> np.ndarray:
    """The alpha of a soft disc, exact in 8 bit."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    distance = np.hypot(x - 30 - shift, y - 24)
    return np.rint(np.clip((12 - distance) / 6 + 0.5, 0, 1) * 255) / 255


def composite(alpha: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    foreground = np.stack([0.9 - 0.1 * np.sin(x / 3), 0.7 + 0 * x, 0.2 + 0.002 * y], -1)
    background = np.stack([0.1 + 0 * x, 0.2 + 0.1 * np.cos(y / 4), 0.5 - 0.002 * x], -1)
    return alpha[..., None] * foreground + (1 - alpha[..., None]) * background


def eight(values: np.ndarray) -> np.ndarray:
    return np.rint(values * 255).astype(np.uint8)


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = [cv2.IMWRITE_JPEG_QUALITY, 100] if path.suffix == ".jpg" else []
    assert cv2.imwrite(str(path), picture[..., ::-1] if picture.ndim == 3 else picture, flags)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """One item of each layout; the moving ones have four frames."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(4):
        alpha = disc(2.0 * i)
        write(folder / f"disc_clip/comp/{i:04}.jpg", eight(composite(alpha)))
        write(folder / f"disc_clip/alpha/{i:04}.png", eight(alpha))
        write(folder / f"disc_clip/trimap/{i:04}.png", drawn_trimap(alpha.astype(np.float32)))
        layered = folder / "disc_layered"
        layered.mkdir(exist_ok=True)
        number = 1001 + i
        write_image(layered / f"comp.{number}.exr", composite(alpha).astype(np.float32), "RGB")
        window = Window(12, 6, 50, 42)
        canvas = Window.of_size(WIDTH, HEIGHT)
        rows, columns = window.inside(canvas)
        layer = np.concatenate([composite(alpha) * alpha[..., None], alpha[..., None]], -1)
        write_image(
            layered / f"fg_premult.{number}.exr",
            layer[rows, columns].astype(np.float32),
            "RGBA",
            header=PlateHeader(tuple("RGBA"), window, canvas),
            pixel_type="float",
        )
    (layered / "meta.json").write_text('{"light": "linear", "person": true}', encoding="utf-8")
    write(folder / "disc_still/comp.png", eight(composite(disc())))
    write(folder / "disc_still/alpha.png", eight(disc()))
    for name, picture in (("", composite(disc())), ("_alpha", disc())):
        write(folder / f"disc_solved/disc_solved{name}.png", eight(picture))
    return folder


@pytest.fixture(scope="module")
def untrained(tmp_path_factory) -> Path:
    """A checkpoint that answers its prior."""
    torch.manual_seed(0)
    network = StFamS((8, 8, 16, 16, 16), (8, 8, 8), 8)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    record = CheckpointRecord("st_fam_s", config=network.config, training={"steps": 4321})
    save_checkpoint(path, network.state_dict(), record)
    return path


def by_name(data: Path, *names: str) -> dict[str, Item]:
    return {item.name: item for item in find_items(str(data), names=names)}


def test_items_are_told_by_their_files(data):
    items = by_name(data)
    assert list(items) == ["disc_clip", "disc_layered", "disc_still"]
    assert [len(item.frames) for item in items.values()] == [4, 4, 1]
    assert [item.light for item in items.values()] == ["display", "linear", "display"]
    assert [item.person for item in items.values()] == [False, True, False]
    assert items["disc_layered"].frames[0] == 1001


def test_a_solver_s_truth_is_judged_only_when_it_is_named(data):
    (item,) = find_items(str(data), names=["disc_solved"])
    assert item.solved


def test_composed_clips_are_a_data_set(tmp_path):
    for name in ("one", "two"):
        for i in range(3):
            alpha = disc(2.0 * i)
            write(tmp_path / f"v/{name}/{i:05}.png", eight(composite(alpha)))
            write(tmp_path / f"a/{name}/{i:05}.png", eight(alpha))
    manifest = {"light": "display", "clips": {"two": {"light": "linear"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    items = by_name(tmp_path)
    assert list(items) == ["one", "two"]
    assert [item.light for item in items.values()] == ["display", "linear"]
    judged = items["two"].read(2)
    assert np.abs(judged.truth - disc(4.0)).max() < 0.003
    assert np.array_equal(judged.classes, drawn_trimap(judged.truth))
    assert list(by_name(tmp_path, "two")) == ["two"]
    (tmp_path / "a/two/00001.png").unlink()
    with pytest.raises(InputError, match="differ in frame 1"):
        by_name(tmp_path)


def test_the_folder_of_one_item_is_a_data_set_too(data):
    assert [item.name for item in find_items(str(data / "disc_clip"))] == ["disc_clip"]


def test_truth_is_the_alpha_and_0_outside_of_the_foreground_s_window(data):
    for name, frame, number in (("disc_clip", 2, 2), ("disc_layered", 1003, 2)):
        judged = by_name(data)[name].read(frame)
        expected = disc(2.0 * number)
        if name == "disc_layered":
            inside = np.zeros_like(expected)
            inside[6:43, 12:51] = expected[6:43, 12:51]
            expected = inside
        assert np.abs(judged.truth - expected).max() < 1e-6
        assert judged.plate.pixels.shape[:2] == judged.truth.shape


def test_a_missing_trimap_is_drawn_from_the_truth(data):
    judged = by_name(data)["disc_still"].read(1)
    classes = judged.classes
    assert set(np.unique(classes)) == {0, 128, 255}
    mixed = (judged.truth > 0.02) & (judged.truth < 0.98)
    assert (classes[mixed] == 128).all()
    grown = cv2.dilate(mixed.astype(np.uint8), np.ones((17, 17), np.uint8)) > 0
    assert (classes[~grown] != 128).all()


def test_a_frame_without_truth_is_named(data, tmp_path):
    write(tmp_path / "clip/comp/0000.png", eight(composite(disc())))
    write(tmp_path / "clip/alpha/0001.png", eight(disc()))
    with pytest.raises(InputError, match="true alpha differ in frame 0") as raised:
        find_items(str(tmp_path))
    assert raised.value.code == "input.missing_truth"


def test_a_truth_of_another_size_is_refused(tmp_path):
    write(tmp_path / "still/comp.png", eight(composite(disc())))
    write(tmp_path / "still/alpha.png", eight(disc())[:-2])
    with pytest.raises(InputError, match="64×46, its plate is 64×48"):
        find_items(str(tmp_path))[0].read(1)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_truth_that_is_no_number_is_refused(tmp_path, odd):
    alpha = disc()
    alpha[20, 30] = odd
    write(tmp_path / "clip/comp/0007.png", eight(composite(disc())))
    write_matte(tmp_path / "clip/alpha/0007.exr", alpha)
    with pytest.raises(InputError, match=r"0007\.exr holds values that are not") as raised:
        find_items(str(tmp_path))[0].read(7)
    assert (raised.value.code, raised.value.frame) == ("input.matte_nan", 7)


def test_errors_of_a_clip_and_of_a_still():
    truth = [np.zeros((40, 40), np.float32)] * 3
    region = [np.ones((40, 40), bool)] * 3
    alphas = [np.full((40, 40), value, np.float32) for value in (0.1, 0.3, 0.3)]
    clip, _ = judge_mattes([0, 1, 2], alphas, truth, region)
    assert clip["MSE"].value == pytest.approx(1e3 * (0.01 + 0.09 + 0.09) / 3, rel=1e-5)
    assert clip["dtSSD"].value == pytest.approx(100 * 0.2 / 2, rel=1e-5)
    assert clip["SAD"].value == pytest.approx(1.6 * 0.7 / 3, rel=1e-5)
    still, _ = judge_mattes([0], alphas[:1], truth[:1], region[:1])
    assert "dtSSD" not in still
    assert len(still["MSE"].total) == 4  # blocks of 32, the last ones smaller
    assert still["MSE"].value == pytest.approx(10, rel=1e-5)
    assert still["MAD"].value == pytest.approx(100, rel=1e-5)
    assert still["SAD"].value == pytest.approx(0.16, rel=1e-5)


def test_frames_apart_make_no_pair():
    planes = [np.full((4, 4), value, np.float32) for value in (0.0, 0.5, 0.5, 0.6)]
    truth = [np.zeros((4, 4), np.float32)] * 4
    region = [np.ones((4, 4), bool)] * 4
    figures, _ = judge_mattes([0, 1, 8, 9], planes, truth, region)
    assert figures["dtSSD"].total == pytest.approx([50, 10], rel=1e-5)


def test_a_frame_without_a_mixed_band_has_no_band_width():
    truths = [np.zeros((9, 9), np.float32), np.zeros((9, 9), np.float32)]
    truths[1][4, 4] = 0.5
    trimaps = [np.full((9, 9), 128, np.uint8)] * 2
    figures, _ = judge_trimaps(trimaps, truths)
    assert figures["band width"].value == pytest.approx(81 / 25)
    assert figures["recall"].value == 1


def test_bootstrap_is_the_same_each_time_and_holds_the_value():
    rng = np.random.default_rng(1)
    units = bootstrap.samples(list(rng.random(30)))
    one, again = bootstrap.figure(units, "a"), bootstrap.figure(units, "a")
    assert one == again
    assert one.low < one.value < one.high
    spread = units.total.std() / np.sqrt(30)
    assert one.high - one.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    assert bootstrap.figure(units, "b").low != one.low


def test_a_ratio_is_drawn_alike():
    rng = np.random.default_rng(2)
    units = {name: bootstrap.samples(list(rng.random(12) + 0.1)) for name in "abc"}
    half = {name: bootstrap.samples(list(0.5 * one.total)) for name, one in units.items()}
    found = bootstrap.ratio(half, units)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    nothing = {name: bootstrap.samples([0.0] * 12) for name in "abc"}
    assert bootstrap.ratio(units, nothing).value == np.inf
    assert bootstrap.ratio(nothing, nothing).value == 1
    odd = {name: bootstrap.samples([np.nan] * 12) for name in "abc"}
    for ours, theirs in ((odd, odd), (units, odd), (odd, units), (odd, nothing)):
        assert np.isnan(bootstrap.ratio(ours, theirs).value)
    with pytest.raises(ValueError, match="same items"):
        bootstrap.ratio({"a": units["a"]}, units)


def test_items_count_once_in_a_mean():
    items = {"long": bootstrap.samples([1.0] * 99), "short": bootstrap.samples([3.0])}
    found = bootstrap.mean(items)
    assert found.value == 2
    assert (found.low, found.high) == (1, 3)


def test_ause_is_0_for_the_best_order_and_worse_for_the_opposite():
    error = np.linspace(0, 1, 1000)
    assert ause(1 - error, error) == pytest.approx(0, abs=1e-12)
    nothing = ause(np.full(1000, 0.5), error)
    # The mean stays 1 while that of the best order falls in a line to 0.
    assert nothing == pytest.approx(0.5, abs=0.01)
    assert ause(error, error) > nothing + 0.4
    assert ause(error, np.zeros(1000)) == 0


def test_equal_confidences_count_in_every_order_alike():
    error = np.array([0.0, 0.0, 1.0, 1.0] * 25)
    confidence = np.full(100, 0.3)
    assert sparsification(confidence, error) == pytest.approx(np.ones(51))


def test_reliability_of_a_hand_made_case():
    confidence = np.array([0.05, 0.05, 0.95, 0.95, 1.0, 1.0])
    error = np.array([0.5, 0.0, 0.0, 0.05, 0.1, 0.2])
    table = reliability([(confidence, error)])
    assert table.share[0] == pytest.approx(2 / 6)
    assert table.share[9] == pytest.approx(4 / 6)
    assert table.true[0] == 0.5
    assert table.true[9] == 0.75
    assert table.claimed[9] == pytest.approx(0.975)
    assert table.error == pytest.approx((2 * 0.45 + 4 * 0.225) / 6)


def test_every_item_counts_once_in_reliability():
    certain, wrong = np.ones(1), np.ones(999)
    table = reliability([(certain, np.zeros(1)), (wrong, np.ones(999))])
    assert table.true[9] == pytest.approx(0.5)


def test_a_narrow_window_repeats_what_is_near():
    class Network:
        needs_both, reach, halo, multiple = False, 2, 0, 1
        causal, tiles_itself = False, False

        def decode(self, window, centre, side):
            return list(window), centre

    for width, expected in ((5, "abcde"), (3, "bbcdd"), (1, "ccccc")):
        window, centre = Observed(Network(), width, None).decode("abcde", 2)
        assert "".join(window) == expected
        assert centre == 2


def test_what_was_kept_is_found_and_what_is_broken_is_made_again(tmp_path):
    kept = Kept(tmp_path)
    made = []

    def compute():
        made.append(1)
        return {"alpha": np.arange(6, dtype=np.float32).reshape(2, 3)}

    key = key_of("a", 1, np.ones(3))
    assert key != key_of("a", 1, np.ones((3, 1)))
    first, second = kept.arrays(key, compute), kept.arrays(key, compute)
    assert len(made) == 1
    assert np.array_equal(first["alpha"], second["alpha"])
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:20])
    kept.arrays(key, compute)
    assert len(made) == 2


def test_the_untrained_network_equals_its_prior_at_every_window(data, untrained, tmp_path):
    request = Request(
        data=(str(data),),
        out=tmp_path,
        checkpoints=(str(untrained),),
        windows=(5, 1),
        sheets=False,
        pymatting=False,
    )
    found = judge(request)
    methods = {row.method for row in found.mattes}
    classics = {"0.5", "guided filter"}
    assert methods - classics == {"prior of st_fam_s", "st_fam_s", "st_fam_s, window 1"}
    prior = {row.item.name: row for row in found.mattes if row.method == "prior of st_fam_s"}
    for row in found.mattes:
        if row.method.startswith("st_fam_s"):
            same = prior[row.item.name].figures["MSE"].value
            assert row.figures["MSE"].value == pytest.approx(same, rel=1e-5)
            assert 0 < same < 20
    assert found.judged[0]["training"] == {"steps": 4321}
    assert re.search(r"^\| st_fam_s .*\| 4321 \|$", markdown(found), re.MULTILINE)


def test_a_second_run_computes_nothing_and_finds_the_same(data, untrained, tmp_path, monkeypatch):
    request = Request(
        data=(str(data),),
        out=tmp_path,
        checkpoints=(str(untrained),),
        items=("disc_clip",),
        trimaps="both",
        carried_mattes=True,
        sheets=False,
    )
    first = plain(judge(request))

    def fail(*_args):
        raise AssertionError("computed again")

    monkeypatch.setattr("model.networks.st_fam_s.StFamSMatting.decode", fail)
    monkeypatch.setattr("model.networks.st_fam_s.StFamSMatting.prior", fail)
    monkeypatch.setattr("model.classical.trimap_flow.TrimapFlow.step", fail)
    module = sys.modules["pymatting.alpha.estimate_alpha_cf"]  # hidden by a function of its name
    monkeypatch.setattr(module, "estimate_alpha_cf", fail)
    second = plain(judge(request))
    first.pop("seconds"), second.pop("seconds")
    assert first == second
    assert {row["trimaps"] for row in first["carried trimaps"]} == {"first", "both-ends"}
    assert any(
        row["method"].endswith("on trimap_flow") for row in first["mattes of carried trimaps"]
    )


def test_every_few_frames_in_pairs(data, tmp_path):
    request = Request(
        data=(str(data),),
        out=tmp_path,
        networks=("closed_form",),
        items=("disc_clip",),
        every=3,
        sheets=False,
        pymatting=False,
    )
    row = judge(request).mattes[0]
    assert len(row.figures["MSE"].total) == 3  # frames 0, 1, 3
    assert len(row.figures["dtSSD"].total) == 1


def rows_of(errors: dict[str, dict[str, float]], data_set="eval", metric="MSE") -> list[Row]:
    made = []
    for method, items in errors.items():
        for name, value in items.items():
            item = Item(name, data_set, (1, 2), False, "linear", False, lambda number: None)
            figures = {metric: bootstrap.samples([value] * 3)}
            made.append(Row(item, method, "every", figures))
    return made


def test_gates_pass_and_fail_by_their_figures():
    rows = rows_of(
        {
            "pymatting": {"a": 10.0, "b": 30.0},
            "prior": {"a": 10.0, "b": 20.0},
            "net": {"a": 12.0, "b": 23.0},
        }
    )
    found = {gate.demand: gate for gate in gates.matting_gates(rows, "net", "prior")}
    mean = found["MSE, mean over items ÷ pymatting"]
    assert (mean.value, mean.passed) == (pytest.approx(35 / 40), False)
    worst = found["MSE, worst item ÷ pymatting"]
    assert (worst.value, worst.where, worst.passed) == (pytest.approx(1.2), "a", True)
    prior = found["MSE, worst item ÷ own prior"]
    assert (prior.value, prior.where, prior.passed) == (pytest.approx(1.2), "a", False)
    assert not any("dtSSD" in demand for demand in found)
    made = rows_of({"pymatting": {"x": 10.0}, "net": {"x": 6.1}}, "synthetic:matting")
    (gate,) = gates.matting_gates(made, "net", "prior")
    assert (gate.limit, gate.passed) == (0.5, False)


def test_an_item_whose_figure_is_no_number_decides():
    rows = rows_of({"prior": {"a": 10.0, "b": np.nan}, "net": {"a": 9.0, "b": np.nan}})
    (worst,) = gates.matting_gates(rows, "net", "prior")
    assert np.isnan(worst.value)
    assert (worst.where, worst.passed) == ("b", False)


def test_gates_of_carried_trimaps():
    def row(method, placement, recall, width, wrong):
        item = Item("cg_fur_linear", "eval", (1, 2), False, "linear", False, lambda number: None)
        values = {judgement.RECALL: recall, judgement.WIDTH: width, judgement.WRONG: wrong}
        figures = {name: bootstrap.samples([value]) for name, value in values.items()}
        return Row(item, method, placement, figures)

    rows = [
        row("trimap_flow", "first", 0.94, 2.0, 0.5),
        row("net", "first", 0.96, 2.5, 0.6),
        row("net", "both-ends", 0.97, 2.5, 0.3),
    ]
    passed = {gate.demand: gate.passed for gate in gates.propagation_gates(rows, "net")}
    assert passed == {
        "recall, first keyframe or more": True,
        "band width, first keyframe or less": True,
        "certainly wrong, first keyframe or less": False,
        "recall, trimap_flow's or more": True,
        "certainly wrong, trimap_flow's or less": False,
        "recall, both ends: first's or more": True,
        "certainly wrong, both ends: first's or less": True,
    }


def test_frames_of_a_sheet_are_spread():
    assert chosen_frames([1]) == [1]
    assert chosen_frames(list(range(36))) == [6, 18, 30]


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(["evaluate", *map(str, arguments)])
    return int(left.value.code or 0)


def test_the_command_writes_tables_diagrams_and_sheets(data, tmp_path, capsys):
    out = tmp_path / "out"
    given = ("--data", data, "--network", "closed_form", "--out", out, "--items", "disc_layered")
    assert run(*given, "--trimaps", "both", "--items", "disc_still") == 0
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    kinds = {(row["item"], row["method"]) for row in found["mattes"]}
    assert ("disc_layered", "pymatting, encoded") in kinds
    assert ("disc_still", "pymatting, encoded") not in kinds
    assert found["conventions"]["MSE"].startswith("MSE ×10³, mean over the unknown region")
    means = {(row["group"], row["metric"]): row for row in found["means"]}
    assert means["mean", "MSE"]["items"] == 2
    assert means["mean, person", "MSE"]["items"] == 1
    page = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "| disc_still | display | 1 |" in page
    assert "certainly wrong = per cent" in page
    sheet = cv2.imread(str(out / "sheets" / "disc_layered.png"))
    assert sheet.shape[1] == 7 * 306
    assert (out / f"reliability_{data.name}.svg").read_text(encoding="utf-8").startswith("<svg")
    assert str(data) not in page  # nobody's folders
    assert "pass" in capsys.readouterr().out


def test_smoke_that_pymatting_refuses_is_marked(tmp_path):
    alpha = disc() * 0.5
    write(tmp_path / "smoke/comp.png", eight(composite(alpha)))
    write(tmp_path / "smoke/alpha.png", eight(alpha))
    request = Request((str(tmp_path),), tmp_path / "out", networks=("closed_form",), sheets=False)
    found = judge(request)
    (row,) = (row for row in found.mattes if row.method == "pymatting")
    truth = eight(alpha) / 255
    expected = 1e3 * np.mean(truth[drawn_trimap(truth.astype(np.float32)) == 128] ** 2)
    assert row.figures["MSE"].value == pytest.approx(expected, rel=1e-5)
    assert "* |" in markdown(found)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--data", "no/such/folder"), 10, "no/such/folder is not there"),
        (("--data", "synthetic:nothing"), 10, "no data set called synthetic:nothing"),
        (("--data", "DATA", "--items", "fur"), 10, "no item called fur"),
        (("--data", "DATA", "--network", "resnet"), 20, "no network called 'resnet'"),
        (("--data", "DATA", "--checkpoint", "no.safetensors"), 20, "no.safetensors"),
        (("--data", "DATA", "--device", "tpu"), 20, "'tpu' is not a device"),
        (("--data", "DATA", "--window", "4"), 2, "4 is not one of 1, 3, 5"),
        (("--data", "DATA", "--trimaps", "some"), 2, "not one of every, keyframes, both"),
        ((), 2, "Missing option"),
    ],
)
def test_exit_codes(data, tmp_path, capsys, arguments, code, said):
    given = [str(data) if one == "DATA" else one for one in arguments]
    assert run(*given, *(("--out", tmp_path) if given else ())) == code
    assert said in capsys.readouterr().err


def test_pymatting_that_is_missing_is_said_in_one_sentence(data, tmp_path, capsys, monkeypatch):
    def absent(name):
        from importlib.metadata import PackageNotFoundError

        raise PackageNotFoundError(name)

    monkeypatch.setattr("training.judging.baselines.version", absent)
    assert run("--data", data, "--out", tmp_path, "--network", "closed_form") == 20
    assert "needs pymatting, which is not installed" in capsys.readouterr().err


def test_a_checkpoint_is_judged_beside_the_shipped_one(untrained, tmp_path):
    cpu = torch.device("cpu")
    shipped, own = open_subjects(("st_fam_s",), (str(untrained),), (5,), cpu)
    assert own.checkpoint == str(untrained) != shipped.checkpoint
    assert [shipped.label, own.label] == ["st_fam_s (st_fam_s)", "st_fam_s (untrained)"]
    (alone,) = open_subjects((), (str(untrained),), (5,), cpu)
    assert alone.label == "st_fam_s"
    other = tmp_path / "run2" / untrained.name
    other.parent.mkdir()
    other.write_bytes(untrained.read_bytes())
    both = open_subjects((), (str(untrained), str(other)), (5,), cpu)
    assert both[1].label == "st_fam_s (run2/untrained)"
    assert len({one.label for one in both}) == 2


def test_doors_pass_arguments_through(capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--help"])
    assert left.value.code == 0
    assert "--time-budget" in capsys.readouterr().out


def test_steadiness_has_to_beat_flow_averaging():
    values = {"pymatting": 10.0, "flow-averaged pymatting": 8.4, "prior": 10.0, "net": 8.4}
    rows = rows_of({method: {"a": value} for method, value in values.items()}, metric="dtSSD")
    mse = rows_of({method: {"a": 1.0} for method in values})
    both = [
        Row(row.item, row.method, "every", {**row.figures, **other.figures})
        for row, other in zip(rows, mse, strict=True)
    ]
    found = {gate.demand: gate for gate in gates.matting_gates(both, "net", "prior")}
    plain_one = found["dtSSD, mean over moving items ÷ pymatting"]
    assert (plain_one.value, plain_one.passed) == (pytest.approx(0.84), True)
    averaged = found["dtSSD, mean over moving items ÷ flow-averaged pymatting, below"]
    assert (averaged.value, averaged.passed) == (pytest.approx(1), False)  # as good is not better


def test_figures_of_other_conventions_are_in_no_gate():
    rows = rows_of({"pymatting": {"a": 10.0}, "prior": {"a": 10.0}, "net": {"a": 7.0}})
    other = rows_of({"pymatting": {"a": 1.0}, "prior": {"a": 1.0}, "net": {"a": 99.0}})
    for row in other:
        rows.append(Row(row.item, row.method, "every", row.figures, convention="rvm"))
    assert all(gate.passed for gate in gates.matting_gates(rows, "net", "prior"))


def test_mattes_of_carried_trimaps_are_held_against_those_of_true_ones():
    def row(method, placement, value, data_set="eval"):
        (one,) = rows_of({method: {"a": value}}, data_set)
        return Row(one.item, method, placement, one.figures)

    rows = [
        row("net on true trimaps", "first", 10.0),
        row("net on memory", "first", 16.0),
        row("net on trimap_flow", "first", 14.0),
        row("net on true trimaps", "both-ends", 10.0),
        row("net on memory", "both-ends", 12.0),
        row("other on true trimaps", "first", 1.0),
    ]
    found = {(gate.method, gate.demand): gate for gate in gates.carried_matte_gates(rows, "net")}
    text = "MSE, mean over items ÷ on true trimaps, "
    assert {key: (round(gate.value, 3), gate.passed) for key, gate in found.items()} == {
        ("net on memory", text + "first"): (1.6, False),
        ("net on memory", text + "both-ends"): (1.2, True),
        ("net on trimap_flow", text + "first"): (1.4, True),
    }


def test_other_conventions_stand_beside_ours(data, tmp_path, capsys):
    out = tmp_path / "out"
    given = ("--data", data, "--network", "closed_form", "--out", out, "--items", "disc_clip")
    asked = ("--convention", "published-dvm", "--convention", "tcvom", "--as-published")
    assert run(*given, *asked, "--no-sheets", "--no-report", "--baselines", "guided-filter") == 0
    found = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    rows = [row for row in found["mattes"] if row["method"] == "closed_form"]
    kinds = {row["convention"]: set(row["figures"]) for row in rows}
    assert kinds["ours"] == {"MSE", "MAD", "SAD", "dtSSD"}
    assert {"MESSDdt", "MESSDdt, as published", "Grad", "Conn", "SSDA"} < kinds["published-dvm"]
    assert "SAD" not in kinds["tcvom"]
    assert list(found["metrics by convention"]) == ["ours", "published-dvm", "tcvom"]
    page = (out / "evaluation.md").read_text(encoding="utf-8")
    assert "### MESSDdt, convention tcvom" in page
    assert "Flow: DIS flow of the plates." in page
    assert {row["method"] for row in found["mattes"]} == {
        "0.5", "guided filter", "prior of closed_form", "closed_form"
    }  # fmt: skip
    assert {row["convention"] for row in found["means"]} == set(kinds)
    capsys.readouterr()
    assert run(*given, "--as-published") == 2
    assert "wants --convention published-dvm" in capsys.readouterr().err


def test_all_baselines_in_one_run(data, tmp_path):
    request = Request(
        data=(str(data),),
        out=tmp_path,
        networks=("closed_form",),
        items=("disc_clip",),
        first=2,
        trimaps="both",
        keyframes=("first",),
        baselines=tuple(BASELINES),
        sheets=False,
    )
    found = judge(request)
    figures = {row.method: row.figures["MSE"].value for row in found.mattes}
    assert list(figures)[:5] == [
        "0.5", "guided filter", "pymatting", "pymatting KNN", "flow-averaged pymatting"
    ]  # fmt: skip
    assert figures["pymatting"] < figures["guided filter"] < figures["0.5"]
    assert figures["pymatting KNN"] < figures["0.5"]
    assert {row.method for row in found.carried} == {"chained DIS flow", "trimap_flow"}
    assert not any(gate.method == "chained DIS flow" for gate in found.gates)
    assert found.left_out == []
    small = judge(dataclasses.replace(request, trimaps="every", knn_pixels=100))
    assert "pymatting KNN" not in {row.method for row in small.mattes}
    (line,) = small.left_out
    assert line == "disc_clip: no pymatting KNN, its 3072 pixels are more than --knn-pixels 100"


def test_knn_that_does_not_converge_is_left_out(data, tmp_path, monkeypatch):
    import pymatting.alpha.estimate_alpha_knn  # noqa: F401

    def fail(*_args):
        raise ValueError("Conjugate gradient descent did not converge within 10000 iterations")

    module = sys.modules["pymatting.alpha.estimate_alpha_knn"]
    monkeypatch.setattr(module, "estimate_alpha_knn", fail)
    request = Request(
        data=(str(data),),
        out=tmp_path,
        networks=("closed_form",),
        items=("disc_still",),
        baselines=("knn",),
        sheets=False,
    )
    found = judge(request)
    assert "pymatting KNN" not in {row.method for row in found.mattes}
    assert "does not converge in frame 1" in found.left_out[0]


def test_where_nothing_can_be_written_is_said_before_anything_is_judged(data, tmp_path, capsys):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    given = ("--data", data, "--network", "closed_form", "--items", "disc_still")
    assert run(*given, "--out", taken) == 10
    assert f"{taken} cannot be written to" in capsys.readouterr().err
    assert run(*given, "--out", tmp_path / "out", "--cache", taken) == 10
    assert f"{taken} cannot be written to" in capsys.readouterr().err


def test_a_full_disk_leaves_no_part_of_what_is_kept(tmp_path, monkeypatch):
    def full(file, arrays):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(kept, "_write", full)
    with pytest.raises(CapacityError, match="no space left"):
        Kept(tmp_path).keep("a key", {"alpha": np.zeros(3)})
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_read_is_named(data, tmp_path, capsys, monkeypatch):
    # The tests may run as root, whom permissions do not stop.
    shut = data / "disc_clip" / "alpha"
    listed = Path.iterdir

    def iterdir(self):
        if self == shut:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return listed(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert run("--data", data, "--network", "closed_form", "--out", tmp_path / "out") == 10
    said = capsys.readouterr().err
    assert f"the folder {shut} cannot be read: Permission denied" in said
    assert "Traceback" not in said


def test_folders_of_one_name_have_a_diagram_each(tmp_path):
    named = []
    for place in ("first", "second"):
        folder = tmp_path / place / "clips"
        write(folder / f"{place}/comp.png", eight(composite(disc())))
        write(folder / f"{place}/alpha.png", eight(disc()))
        named += ["--data", folder]
    out = tmp_path / "out"
    given = ("--network", "closed_form", "--baselines", "none", "--no-sheets", "--no-report")
    assert run(*named, *given, "--out", out) == 0
    drawn = sorted(path.name for path in out.glob("reliability_*.svg"))
    assert drawn == ["reliability_first_clips.svg", "reliability_second_clips.svg"]
