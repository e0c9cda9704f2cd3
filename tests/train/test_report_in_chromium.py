"""The report in headless Chromium, from a file: no complaint, no request elsewhere; what moves."""

import cv2
import numpy as np
import pytest

from tests.train.chromium import Chromium, browser
from tests.train.report_example import NAME, judged
from training.report.writing import write_report

PROGRAM = browser()
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="there is no chromium on the PATH"),
    pytest.mark.timeout(180),
]
CLIP = "document.getElementById('clip_000')"
VIEWER = f"{CLIP}.querySelector('.viewer')"
TOLD = f"JSON.parse({VIEWER}.dataset.viewer)"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Frames 0 … 4, of which two have pictures."""
    folder = tmp_path_factory.mktemp("report")
    path = write_report(folder, judged(folder), frames=2)
    chromium = Chromium(PROGRAM, tmp_path_factory.mktemp("profile"))
    try:
        chromium.open(path)
        chromium.folder = path.parent
        yield chromium
    finally:
        chromium.close()


@pytest.fixture(autouse=True)
def calm(page):
    """Whatever a test did, the page had nothing to complain of and asked for nothing elsewhere."""
    page.tell("scrollTo(0, 0)")
    yield
    assert page.complaints == []
    assert {url.partition(":")[0] for url in page.requests} <= {"file", "data", "about"}
    assert [url for url in page.requests if url.startswith("file")]


def box(page, element):
    page.tell(f"{element}.scrollIntoView({{block: 'center'}})")
    return page.tell(
        f"(() => {{ const r = {element}.getBoundingClientRect();"
        " return [r.left, r.top, r.width, r.height] })()"
    )


def loaded(page):
    images = f"Array.from({VIEWER}.querySelectorAll('.stage img'))"
    page.until(f"{images}.every(i => i.complete && i.naturalWidth)")


def test_it_opens_with_all_its_parts(page):
    assert page.tell("document.title") == "Evaluation"
    assert page.tell(f"{CLIP}.querySelector('h3').textContent") == NAME
    assert page.tell("document.querySelectorAll('.plot').length") >= 4
    broken = (
        "Array.from(document.images).filter(i => i.complete && !i.naturalWidth && i.src).length"
    )
    assert page.tell(broken) == 0


def test_the_wipe_follows_the_pointer_and_the_keys(page):
    left, top, width, height = box(page, f"{VIEWER}.querySelector('.under')")
    page.mouse("mousePressed", left + 0.5 * width, top + height / 2, held=True)
    page.mouse("mouseMoved", left + 0.25 * width, top + height / 2, held=True)
    page.mouse("mouseReleased", left + 0.25 * width, top + height / 2)
    wipe = f"Number({VIEWER}.querySelector('.wipe').value)"
    assert page.tell(wipe) == pytest.approx(25, abs=0.6)
    assert page.tell(f"document.activeElement === {VIEWER}.querySelector('.stage')")
    before = page.tell(wipe)
    page.press(".")
    assert page.tell(wipe) == pytest.approx(before + 2, abs=0.01)
    clip = page.tell(f"getComputedStyle({VIEWER}.querySelector('.over')).clipPath")
    assert float(clip.rpartition(" ")[2].rstrip("%)")) == pytest.approx(before + 2, abs=0.01)
    sides = f"['.left', '.right'].map(s => {VIEWER}.querySelector(s).value)"
    assert page.tell(sides) == ["truth", "closed_form"]
    page.press("x")
    assert page.tell(sides) == ["closed_form", "truth"]
    assert "closed_form.png" in page.tell(f"{VIEWER}.querySelector('.under').src")
    page.press("x")


@pytest.mark.parametrize("zoom", [1, 2, 4])
def test_the_screen_shows_the_file_s_pixels(page, zoom, tmp_path):
    page.tell(f"{VIEWER}.querySelector('[data-zoom=\"{zoom}\"]').click()")
    page.tell(
        f"(() => {{ const w = {VIEWER}.querySelector('.wipe'); w.value = 50;"
        " w.dispatchEvent(new Event('input')) })()"
    )
    left, top, width, height = box(page, f"{VIEWER}.querySelector('.under')")
    loaded(page)
    page.screenshot(tmp_path / "screen.png")
    screen = cv2.imread(str(tmp_path / "screen.png"))
    x, y = round(left), round(top)  # pictures are drawn from whole pixels on
    seen = screen[y : y + round(height), x : x + round(width)]
    frame = page.tell(f"{TOLD}.frames.find(f => f.number === {TOLD}.start)")
    cut = seen.shape[1] // 2
    for name, part in (("truth", slice(0, cut - 2)), ("closed_form", slice(cut + 4, None))):
        file = cv2.imread(str(page.folder / frame["pictures"][name]))
        large = np.kron(file, np.ones((zoom, zoom, 1), np.uint8))
        assert large.shape == seen.shape
        if zoom == 1:
            assert len(np.unique(file)) > 10
        away = large.astype(int) - seen
        away[: 2 * 11, :11] = away[:11] = away[:, :11] = 0  # the mark of the strip's line
        assert not away[:, part].any()


def test_values_under_the_pointer_are_the_files(page):
    page.tell(f"{VIEWER}.querySelector('[data-zoom=\"4\"]').click()")
    left, top, _, _ = box(page, f"{VIEWER}.querySelector('.under')")
    frame = page.tell(f"{TOLD}.frames.find(f => f.number === {TOLD}.start)")
    alpha = cv2.imread(str(page.folder / frame["pictures"]["closed_form"]), cv2.IMREAD_GRAYSCALE)
    mixed = np.argwhere((alpha > 50) & (alpha < 200))
    y, x = (int(v) for v in mixed[len(mixed) // 2])
    page.mouse("mouseMoved", left + 4 * x + 2, top + 4 * y + 2)
    readout = f"{VIEWER}.querySelector('.readout')"
    place = f"x {frame['origin'][0] + x}, y {frame['origin'][1] + y}"
    page.until(f"{readout}.textContent.startsWith({place!r})")
    said = page.tell(f"Array.from({readout}.children, one => one.textContent)")
    assert f"closed_form {alpha[y, x] / 255:.3f}" in said
    assert "trimap 128" in said


def test_a_plot_tells_values_and_a_click_shows_the_frame(page):
    plot = f"{CLIP}.querySelector('.plot')"
    data = page.tell(f"JSON.parse({plot}.dataset.plot)")
    (line,) = [one for one in data["lines"] if one["name"] == "closed_form"]
    left, top, width, height = box(page, f"{plot}.querySelector('svg')")
    units = page.tell(f"{plot}.querySelector('svg').viewBox.baseVal.width")

    def point_at(frame):
        x = data["box"][0] + (data["box"][1] - data["box"][0]) * frame / 4
        return left + x * width / units, top + height / 2

    page.mouse("mouseMoved", *point_at(3))
    told = page.tell(f"{plot}.querySelector('.values').textContent")
    assert told.startswith("frame 3")
    value = float(told.split("closed_form")[-1])
    assert value == pytest.approx(line["values"][3], rel=0.02)
    number = f"Number({VIEWER}.querySelector('[aria-pressed=\"true\"]').dataset.frame)"
    for frame in data["marked"]:
        left, top, width, height = box(page, f"{plot}.querySelector('svg')")
        page.mouse("mousePressed", *point_at(frame), held=True)
        page.mouse("mouseReleased", *point_at(frame))
        assert page.tell(number) == frame
    without = next(frame for frame in range(5) if frame not in data["marked"])
    left, top, width, height = box(page, f"{plot}.querySelector('svg')")
    page.mouse("mousePressed", *point_at(without), held=True)
    page.mouse("mouseReleased", *point_at(without))
    said = page.tell(f"{VIEWER}.querySelector('.readout').textContent")
    assert said.startswith(f"No pictures of frame {without} are kept")


def test_a_line_is_hidden_and_the_scale_follows(page):
    plot = f"{CLIP}.querySelector('.plot')"
    ticks = f"Array.from({plot}.querySelectorAll('.grid text'), t => Number(t.textContent))"
    before = page.tell(ticks)
    page.tell(f"{CLIP}.querySelector('.legend input[data-name=\"0.5\"]').click()")
    assert max(page.tell(ticks)) > max(before)
    page.tell(f"{CLIP}.querySelector('.legend input[data-name=\"0.5\"]').click()")
    assert page.tell(ticks) == before


def test_tables_are_sorted_and_metrics_chosen(page):
    page.tell("document.querySelectorAll('.tabs button')[1].click()")
    shown = "Array.from(document.querySelectorAll('.tabbed .tab'), t => !t.hidden)"
    assert page.tell(shown)[:4] == [False, True, False, False]
    page.tell("document.querySelectorAll('.tabs button')[0].click()")
    values = (
        "Array.from(document.querySelector('.tab table').tBodies[0].rows,"
        " r => Number(r.cells[3].dataset.value))"
    )
    header = "document.querySelector('.tab table').tHead.rows[0].cells[3]"
    for order in ("ascending", "descending"):
        page.tell(f"{header}.querySelector('button').click()")
        found = page.tell(values)
        assert found == sorted(found, reverse=order == "descending") and len(found) == 2
        assert page.tell(f"{header}.getAttribute('aria-sort')") == order


def test_the_baseline_of_ratios_is_chosen(page):
    choice = "document.getElementById('baseline')"
    names = page.tell(f"Array.from({choice}.options, o => o.value)")
    assert len(names) >= 2
    for name in names:
        page.tell(f"{choice}.value = {name!r}; {choice}.dispatchEvent(new Event('change'))")
        ratios = "document.querySelectorAll('td .ratio:not([hidden])')"
        shown = page.tell(f"Array.from({ratios}, r => r.dataset.baseline)")
        assert shown and set(shown) == {name}
