"""The HTML report of an evaluation: what it says, what its files hold, nothing from afar."""

import base64
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from model.errors import InputError
from tests.train.report_example import NAME, STILL, judged
from training.judging.bootstrap import samples
from training.judging.gates import Gate
from training.judging.judgement import Row
from training.judging.metrics import unknown_region
from training.judging.views import shown
from training.report import pictures as report_pictures
from training.report.page import Card, Picture, page_folder, write_cards
from training.report.parts import Line, histogram, line_plot, nice_ticks
from training.report.pictures import worst_frames
from training.report.pixels import thumbnail, worst_window
from training.report.tables import baselines, error_tables
from training.report.writing import verdict, write_report

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Elements with their attributes and the text that is in them; closing tags must match."""

    def __init__(self, path: Path):
        super().__init__(convert_charrefs=True)
        self.folder = path.parent
        self.raw = path.read_text(encoding="utf-8")
        self.found: list[SimpleNamespace] = []
        self.texts: list[str] = []
        self._open: list[SimpleNamespace] = []
        self.feed(self.raw)
        self.close()
        assert not self._open, f"never closed: {self._open[-1].tag}"

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"an attribute twice: {tag} {names}"
        one = SimpleNamespace(tag=tag, text="", attrs=dict(attrs))
        self.found.append(one)
        if tag not in VOID:
            self._open.append(one)

    def handle_startendtag(self, tag, attrs):
        self.found.append(SimpleNamespace(tag=tag, text="", attrs=dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop().tag == tag, f"</{tag}> closes something else"

    def handle_data(self, data):
        self.texts.append(data)
        for one in self._open:
            one.text += data

    def of(self, tag, **wanted):
        wanted = {name.replace("_", "-"): value for name, value in wanted.items()}
        return [
            one
            for one in self.found
            if one.tag == tag
            and all(value in (one.attrs.get(name) or "").split() for name, value in wanted.items())
        ]

    def files(self):
        names = [one.attrs[n] for one in self.found for n in ("src", "href") if n in one.attrs]
        return [name for name in names if not name.startswith(("#", "data:"))]

    def viewers(self):
        return [
            json.loads(one.attrs["data-viewer"]) for one in self.of("div", **{"class": "viewer"})
        ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    found = judged(folder)
    return SimpleNamespace(found=found, page=Page(write_report(folder, found, frames=2)))


def read(path):
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, path
    return pixels


def test_all_that_it_refers_to_is_there_and_nothing_is_elsewhere(run):
    page = run.page
    files = set(page.files())
    for viewer in page.viewers():
        for frame in viewer["frames"]:
            files |= {frame["values"], *frame["pictures"].values()}
    assert len(files) > 30
    for name in files:
        assert re.fullmatch(r"[\w./]+", name) and ".." not in name
        assert (page.folder / name).stat().st_size > 0
    written = {str(p.relative_to(page.folder)) for p in page.folder.rglob("*") if p.is_file()}
    assert written - files == {"index.html"}
    anchors = Counter(one.attrs["id"] for one in page.found if "id" in one.attrs)
    assert set(anchors.values()) == {1}
    links = [one.attrs["href"] for one in page.of("a") if one.attrs["href"].startswith("#")]
    assert len(links) >= 6 and {link[1:] for link in links} <= set(anchors)
    for text in [page.raw, *(p.read_text() for p in page.folder.glob("assets/*"))]:
        assert "//" not in re.sub(r"http://www.w3.org/2000/svg|//\s.*", "", text)
        assert "@import" not in text and "url(" not in text


def test_a_name_is_told_as_it_is_and_never_run(run):
    page = run.page
    assert "<b>&" not in page.raw and "49" not in NAME
    assert NAME in [one.text for one in page.of("h3")]
    linked = next(one for one in page.of("a") if one.text == NAME)
    details = next(one for one in page.of("details") if one.attrs.get("id") == "clip_000")
    assert linked.attrs["href"] == "#clip_000" and NAME in details.text


def test_the_steps_of_a_training_stand_beside_its_weights(run, tmp_path):
    one = {"label": "net", "checkpoint": "net.safetensors", "sha256": "ab"}
    found = replace(run.found, judged=[{**one, "training": {"steps": 4321}}, {**one, "label": "x"}])
    page = Page(write_report(tmp_path, found, frames=1))
    assert [cell.text for cell in page.of("td") if cell.text == "4321"] == ["4321"]


def test_figures_of_the_tables_are_those_of_the_run(run):
    rows = {(r.item.name, r.method): r for r in run.found.mattes}
    tables = error_tables(run.found.mattes, ["guided filter"])
    assert [table.title for table in tables] == ["MSE", "MAD", "SAD", "dtSSD"]
    assert [len(table.rows) for table in tables] == [2, 2, 2, 1]
    mse = tables[0]
    for row in mse.rows:
        for method, cell in zip(mse.columns, row.cells, strict=True):
            assert cell.value == rows[row.clip, method].figures["MSE"].value
        least = min(cell.value for cell in row.cells[1:])
        assert [cell.best for cell in row.cells] == [cell.value == least for cell in row.cells]
    assert mse.means[0].cells[0].value == pytest.approx(
        np.mean([row.cells[0].value for row in mse.rows])
    )
    shown = {
        float(one.attrs["data-value"]) for one in run.page.of("td") if "data-value" in one.attrs
    }
    assert {cell.value for table in tables for row in table.rows for cell in row.cells} <= shown
    assert "lower is better" in mse.convention and mse.convention.startswith("MSE ×10³")
    captions = [one.text for one in run.page.of("caption")]
    assert mse.convention in captions
    assert any(text.startswith("recall = share of the truly mixed band") for text in captions)


def test_ratios_say_better_worse_or_neither(run):
    item = run.found.mattes[0].item
    given = {"0.5": 9, "base": (4, 4, 4, 4), "less": (2, 3, 2, 3), "more": (5, 6, 5, 6)}
    given["like"] = (3, 5, 4, 4.1)
    rows = [
        Row(item, method, "every", {"MSE": samples(np.resize(np.array(values, float), 4))})
        for method, values in given.items()
    ]
    (table,) = error_tables(rows, baselines(rows, ["base"], ["less", "more", "like"]))
    ratios = dict(zip(table.columns, (cell.ratios for cell in table.rows[0].cells), strict=True))
    assert ratios["0.5"] == {} and ratios["base"] == {}
    kinds = {method: ratios[method]["base"].kind for method in ("less", "more", "like")}
    assert kinds == {"less": "better", "more": "worse", "like": "even"}
    assert ratios["less"]["base"].text.startswith("0.62 [0.5")


def test_pictures_are_the_plate_s_pixels(run):
    (viewer,) = [one for one in run.page.viewers() if len(one["frames"]) == 2]
    view = next(one for one in run.found.views if one.item.name == NAME)
    width, height = viewer["size"]
    for frame in viewer["frames"]:
        x, y = frame["origin"]
        part = slice(y, y + height), slice(x, x + width)
        judged = view.item.read(frame["number"])
        truth = judged.truth
        planes = {
            "trimap": judged.classes,
            "truth": np.rint(truth * 255),
            **{m: view.alphas(m)[frame["number"]] for m in view.methods[1:]},
        }
        assert viewer["planes"] == list(planes)
        for what, plane in planes.items():
            assert np.array_equal(read(run.page.folder / frame["pictures"][what]), plane[part])
        alpha = view.alphas("closed_form")[frame["number"]] / 255
        error = np.rint(np.minimum(np.abs(alpha - truth) / 0.5, 1) * 255)
        drawn = read(run.page.folder / frame["pictures"]["error of closed_form"])
        assert np.array_equal(drawn, error[part]) and drawn.max() > 20
        picture = read(run.page.folder / frame["pictures"]["picture"])[..., ::-1]
        assert np.array_equal(picture, np.rint(shown(view.item, judged)[part] * 255))
        script = (run.page.folder / frame["values"]).read_text()
        key, data = re.fullmatch(r'window.dvmValues\("(.*)", "data:.*,(.*)"\);\n', script).groups()
        assert key == f"{viewer['id']}/{frame['number']}"
        stack = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(stack, np.concatenate([one[part] for one in planes.values()]))
    unknown = np.any(
        [unknown_region(view.item.read(f["number"]).classes) for f in viewer["frames"]], 0
    )
    rows, columns = np.nonzero(unknown)
    assert (x, y) == (max(columns.min() - 16, 0), max(rows.min() - 16, 0))
    assert not unknown[: part[0].start].any() and not unknown[:, part[1].stop :].any()


def test_large_pictures_are_cut_where_the_network_is_worst(run, tmp_path, monkeypatch):
    monkeypatch.setattr(report_pictures, "MOST", 20)
    page = Page(write_report(tmp_path, run.found, frames=1, clips=1))
    (viewer,) = page.viewers()
    assert viewer["size"] == [20, 20]
    (frame,) = viewer["frames"]
    view = next(
        one for one in run.found.views if viewer["id"] == "clip_000" and one.item.name == NAME
    )
    number, (x, y) = frame["number"], frame["origin"]
    alpha = view.alphas("closed_form")[view.frames.index(number)] / 255
    error = np.square(alpha - view.item.read(number).truth)
    sums = [error[i : i + 20, j : j + 20].sum() for i in range(29) for j in range(45)]
    assert error[y : y + 20, x : x + 20].sum() == pytest.approx(max(sums), rel=1e-4)


def test_a_strip_is_one_line_of_pixels_over_time(run):
    (viewer,) = [one for one in run.page.viewers() if one["strips"]]
    view = next(one for one in run.found.views if one.item.name == NAME)
    strips, (x, y) = viewer["strips"], viewer["frames"][0]["origin"]
    assert strips["frames"] == [0, 1, 2, 3, 4]
    (width, height), place = viewer["size"], strips["place"]
    line = (
        (slice(None), y + place, slice(x, x + width))
        if strips["across"]
        else (slice(None), slice(y, y + height), x + place)
    )
    truths = np.stack([view.item.read(n).truth for n in range(5)])
    images = [one.attrs for one in run.page.of("img") if "/strip_" in one.attrs["src"]]
    drawn = {one["alt"].partition(",")[0]: read(run.page.folder / one["src"]) for one in images}
    assert np.array_equal(drawn["truth"], np.rint(truths[line] * 255))
    alphas = view.alphas("closed_form")
    assert np.array_equal(drawn["closed_form"], alphas[line])
    change = np.abs(np.diff((alphas / 255 - truths)[line], axis=0)) / 0.25
    flicker = drawn["flicker of closed_form"].astype(float)
    assert not flicker[0].any()
    assert np.abs(flicker[1:] - np.minimum(change, 1) * 255).max() <= 1
    # No other line flickers more.
    part = slice(y, y + height), slice(x, x + width)
    whole = np.square(np.diff((alphas / 255 - truths), axis=0)).sum(0)[part]
    here = whole[place] if strips["across"] else whole[:, place]
    assert here.mean() >= max(whole.mean(1).max(), whole.mean(0).max()) - 1e-6


def test_plots_hold_each_frame_s_figures(run):
    details = [
        json.loads(one.attrs["data-plot"]) for one in run.page.of("figure", **{"class": "plot"})
    ]
    by = {(r.item.name, r.method): r for r in run.found.mattes}
    mse = details[0]
    assert mse["xs"] == [0, 1, 2, 3, 4] and mse["marked"]
    for line in mse["lines"]:
        assert line["values"] == list(by[NAME, line["name"]].per_frame["MSE"].values())
    assert [line["shown"] for line in mse["lines"]] == [
        line["name"] != "0.5" for line in mse["lines"]
    ]
    carried = {r.method: r.per_frame["recall"] for r in run.found.carried}
    first = next(d for d in details if [line["name"] for line in d["lines"]] == list(carried))
    for line in first["lines"]:
        assert line["values"] == [carried[line["name"]].get(n) for n in range(5)]
        assert line["values"][0] is None  # the keyframe


def test_only_as_many_clips_and_frames_as_asked_for_have_pictures(run, tmp_path):
    page = Page(write_report(tmp_path, run.found, frames=1, clips=1))
    (viewer,) = page.viewers()
    assert len(viewer["frames"]) == 1
    assert "there are none of 1 others" in " ".join("".join(page.texts).split())
    assert {one.attrs["id"] for one in page.of("details", **{"class": "clip"})} == {
        "clip_000", "clip_001",
    }  # fmt: skip
    page = Page(write_report(tmp_path, run.found, frames=0, clips=0))
    assert sorted(len(one["frames"]) for one in page.viewers()) == [1, 5]


def test_the_worst_frames_are_taken_by_turns():
    mse, dtssd = {1: 5.0, 2: 9.0, 3: 7.0, 4: 1.0}, {2: 1.0, 3: 2.0, 4: 8.0}
    assert worst_frames([("MSE", mse), ("dtSSD", dtssd)], 3) == {
        2: ("MSE",), 3: (), 4: ("dtSSD",),
    }  # fmt: skip
    assert list(worst_frames([("MSE", mse)], 0)) == [1, 2, 3, 4]
    assert worst_frames([("MSE", mse), ("dtSSD", {2: 3.0})], 1) == {2: ("MSE", "dtSSD")}
    assert worst_frames([], 3) == {}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (
            Gate("n", "MSE ÷ p", 0.9, 0.5, True, "hair"),
            "MSE ÷ p: 0.50 on hair; at most 0.90 is asked",
        ),
        (Gate("n", "MSE", 0.9, 1.5, False), "MSE: 1.50; at most 0.90 is asked"),
        (
            Gate("n", "recall", 0.9, 0.95, True, at_least=True),
            "recall: 0.95; at least 0.90 is asked",
        ),
        (
            Gate("n", "recall", 0.9, 0.5, False, at_least=True),
            "recall: 0.50; at least 0.90 is asked",
        ),
        (Gate("n", "recall", 1, 1, True, at_least=True), "recall: 1.00; at least 1.00 is asked"),
        (Gate("n", "dtSSD, below", 1, 1, False), "dtSSD, below: 1.00; at most 1.00 is asked"),
    ],
)
def test_demands_in_plain_words(gate, said):
    assert verdict(gate) == said


def test_missed_demands_stand_first(run, tmp_path):
    gates = [Gate("net", "one", 1, 0.5, True), Gate("net", "two", 1, 2, False)]
    fields = {**vars(run.found), "gates": gates, "left_out": ["<i>one frame</i> is missing"]}
    page = Page(write_report(tmp_path, type(run.found)(**fields), clips=1))
    assert "net reaches 1 of 2" in [one.text for one in page.of("h3")]
    lines = [" ".join(one.text.split()) for one in page.of("li")]
    assert lines[:2] == ["✗ missed two: 2.00; at most 1.00 is asked",
                         "✓ reached one: 0.50; at most 1.00 is asked"]  # fmt: skip
    assert lines[2] == "<i>one frame</i> is missing"


def test_ticks_are_round_and_reach_the_top():
    assert nice_ticks(36) == [0, 10, 20, 30, 40]
    assert nice_ticks(1) == [0, 0.25, 0.5, 0.75, 1]
    assert nice_ticks(0) == [0, 1]


def test_a_line_breaks_where_there_is_no_figure():
    plot = line_plot(
        "<t>", [1, 2, 3, 4, 5], [Line("a", [1, None, 2, 2, float("inf")])], size=(180, 84)
    )
    path = re.search(r'<path class="line"[^>]* d="([^"]*)"', plot)[1]
    assert path == "M60.00 35.00h0.01M110.00 10.00L135.00 10.00"  # 0…2 is 60 … 10
    assert "&lt;t&gt;" in plot and "<t>" not in plot
    with pytest.raises(ValueError, match="as long"):
        line_plot("t", [1, 2], [Line("a", [1])])


def test_bars_of_a_histogram_are_counts():
    drawn = histogram("alpha", [0, 1, 3], logarithmic=False, size=(102, 52))
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"', drawn)]
    assert heights == pytest.approx([0, 10, 30])
    assert "0.67–1.00: 3 (75.0%)" in drawn
    with pytest.raises(ValueError, match="at least 0"):
        histogram("alpha", [1, -1])


def test_the_worst_window_is_found_by_trying_all():
    error = np.random.default_rng(3).random((9, 12)) ** 4
    rows, columns = worst_window(error, 5, 4)
    sums = {
        (y, x): error[y : y + 4, x : x + 5].sum()
        for y in range(9 - 4 + 1)
        for x in range(12 - 5 + 1)
    }
    assert (rows.start, columns.start) == max(sums, key=lambda one: sums[one])
    assert error[rows, columns].shape == (4, 5)
    assert worst_window(error, 12, 9) == (slice(0, 9), slice(0, 12))


def test_cards_of_clips_for_other_pages(tmp_path):
    pixels = np.arange(40 * 320, dtype=np.uint32).reshape(40, 320).astype(np.uint8)
    small = thumbnail(pixels, 160)
    assert small.shape == (20, 160)
    plot = line_plot("flicker", [1, 2, 3], [Line("flicker", [1, 2, 1])])
    cards = [
        Card("shot_<1>", {"frames": "3"}, ["alpha & plate differ"], [Picture("frame <1>", small)],
             [plot, histogram("alpha", [3, 0, 4])]),
        Card("shot_2", {}),
    ]  # fmt: skip
    write_cards(tmp_path / "quality", "Quality", cards, warnings=["one clip is missing"])
    page = Page(tmp_path / "quality" / "index.html")
    assert [" ".join(one.text.split()) for one in page.of("li")] == [
        "one clip is missing", "shot_<1>: alpha & plate differ", "alpha & plate differ",
    ]  # fmt: skip
    assert [one.text for one in page.of("h2")] == ["Warnings", "shot_<1>", "shot_2"]
    (image,) = page.of("img")
    assert np.array_equal(read(page.folder / image.attrs["src"]), small)
    assert all((page.folder / name).is_file() for name in page.files())


def test_an_earlier_report_stays_until_the_new_one_is_whole(run, tmp_path):
    page = write_report(tmp_path, run.found, frames=1, clips=1)
    before = page.read_text()
    with pytest.raises(RuntimeError, match="stop"), page_folder(tmp_path / "report") as folder:
        (folder / "index.html").write_text("half")
        raise RuntimeError("stop")
    assert page.read_text() == before
    write_report(tmp_path, run.found, frames=2, clips=1)
    assert page.read_text() != before
    assert [one.name for one in tmp_path.iterdir()] == ["report"]


def test_what_is_no_report_is_not_replaced(run, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="is not a report of dvm-train") as raised:
        write_report(tmp_path, run.found)
    assert raised.value.code == "input.not_a_report"
    assert [p.name for p in tmp_path.rglob("*")] == ["report", "mine.txt"]


def test_carried_trimaps_alone_have_tables_and_plots_and_no_pictures(tmp_path):
    found = judged(tmp_path, "keyframes")
    page = Page(write_report(tmp_path, found))
    assert not page.viewers() and not page.of("img")
    recall = {r.figures["recall"].value for r in found.carried}
    shown = {float(one.attrs["data-value"]) for one in page.of("td") if "data-value" in one.attrs}
    assert recall <= shown
    titles = [one.text for one in page.of("figcaption")]
    assert titles == ["recall", "band width", "certainly wrong"]


def test_a_still_has_pictures_and_no_plot(run):
    details = next(one for one in run.page.of("details") if one.attrs.get("id") == "clip_001")
    assert STILL in details.text and "a still" in details.text
    still = run.page.viewers()[1]
    assert still["strips"] is None and len(still["frames"]) == 1
