"""Flow that MESSDdt follows: files beside an item, what synthesis knows, or DIS of the plates."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.errors import InputError
from model.plates.plate import Plate, PlateHeader, Trimap, Window
from training.conventions.flow import COMPUTED, flows_of
from training.judging.datasets import Item, Judged, _made, find_items
from training.judging.flow_files import find_flow, read_flow
from training.judging.kept import Kept

HEIGHT, WIDTH = 64, 80


def write_png(path: Path, flow: np.ndarray, known: np.ndarray) -> None:
    """As the data set's own tools do: hundredths of pixels in 16 bit, then whether it is known."""
    path.parent.mkdir(parents=True, exist_ok=True)
    signed = np.rint(100 * flow).astype(np.int16).view(np.uint16)
    assert cv2.imwrite(str(path), np.dstack([signed, known.astype(np.uint16)]))


def picture(shift: float) -> np.ndarray:
    """A smooth texture that moves to the right."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    x = x - shift
    values = 0.5 + 0.2 * np.sin(x / 3.1 + y / 7) + 0.2 * np.cos(y / 2.7 - x / 5.3)
    return np.repeat(values[..., None], 3, 2).astype(np.float32)


def clip(shifts, flow=None) -> tuple[Item, dict[int, Judged]]:
    window = Window.of_size(WIDTH, HEIGHT)
    header = PlateHeader(tuple("RGB"), window, window, colourspace="srgb_rec709_scene")
    grey = np.full((HEIGHT, WIDTH), 128, np.uint8)
    frames = {
        n: Judged(
            Plate(picture(shift), header),
            Trimap(grey, window, "given"),
            np.zeros((HEIGHT, WIDTH), np.float32),
        )
        for n, shift in enumerate(shifts, 1)
    }
    item = Item("texture", "here", tuple(frames), False, "display", False, frames.__getitem__, flow)
    return item, frames


def test_files_of_both_formats(tmp_path):
    rng = np.random.default_rng(0)
    flow = rng.uniform(-20, 20, (5, 7, 2)).astype(np.float32)
    known = rng.random((5, 7)) > 0.3
    write_png(tmp_path / "flow_png/flow_00001_00002.png", flow, known)
    (tmp_path / "flow").mkdir()
    cv2.writeOpticalFlow(
        str(tmp_path / "flow/flow_2_3.flo"), np.where(known[..., None], flow, np.float32(1.6e9))
    )
    (tmp_path / "flow/notes.txt").write_text("no flow")
    found = find_flow(tmp_path)
    assert set(found) == {(1, 2), (2, 3)}
    for pair, near in (((1, 2), 0.0051), ((2, 3), 0)):
        read = read_flow(found[pair])
        assert read.dtype == np.float32
        assert (np.isfinite(read).all(-1) == known).all()
        assert read[known] == pytest.approx(flow[known], abs=near)


@pytest.mark.parametrize("name", ["flow_1_2.png", "flow_1_2.flo"])
@pytest.mark.parametrize("content", [b"", b"PIEH nothing of the kind"])
def test_what_is_no_flow_is_refused(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} cannot be read as optical flow"):
        read_flow(path)


def test_flow_of_another_depth_or_cut_short_is_refused(tmp_path):
    eight, cut = tmp_path / "flow_1_2.png", tmp_path / "flow_1_2.flo"
    assert cv2.imwrite(str(eight), np.zeros((4, 4, 3), np.uint8))
    cv2.writeOpticalFlow(str(cut), np.zeros((4, 4, 2), np.float32))
    cut.write_bytes(cut.read_bytes()[:-4])
    for path in (eight, cut):
        with pytest.raises(InputError, match="cannot be read as optical flow") as raised:
            read_flow(path)
        assert "16 bit" in raised.value.hint


def test_an_item_has_the_flow_that_lies_beside_it(tmp_path):
    for number in (1, 2, 3):
        for part in ("comp", "alpha", "trimap"):
            path = tmp_path / f"clip/{part}/{number:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            values = np.full((8, 9), 128, np.uint8)
            values[:2], values[-2:] = 0, 255
            assert cv2.imwrite(str(path), values)
    there = np.ones((8, 9), bool)
    write_png(tmp_path / "clip/flow_png/flow_0001_0002.png", np.full((8, 9, 2), 1.5), there)
    write_png(tmp_path / "clip/flow_png/flow_0002_0003.png", np.full((4, 9, 2), 1.5), there[:4])
    (item,) = find_items(str(tmp_path))
    flows = flows_of(item, {n: item.read(n) for n in item.frames}, Kept(None))
    assert flows.source == "given flow"
    assert (flows.between(1, 2) == 1.5).all()
    with pytest.raises(InputError, match="from frame 2 to 3 is 9×4 pixels large"):
        flows.between(2, 3)
    with pytest.raises(InputError, match="from frame 3 to 4 is missing"):
        flows.between(3, 4)


def test_made_clips_know_theirs():
    class Clips:
        light = torch.zeros(1, 3, 3, 4, 5)
        alpha = trimap = torch.zeros(1, 3, 1, 4, 5)
        flow = torch.arange(3.0)[None, :, None, None, None].expand(1, 3, 2, 4, 5)
        linear, kinds = torch.tensor([True]), ["solid"]

    item = _made("synthetic:matting 00 solid", "synthetic:matting", Clips())
    flows = flows_of(item, {n: item.read(n) for n in item.frames}, Kept(None))
    assert flows.source.startswith("true flow")
    assert flows.between(2, 3).shape == (4, 5, 2)
    assert (flows.between(2, 3) == 1).all()
    with pytest.raises(InputError, match="from frame 1 to 3 is missing"):
        flows.between(1, 3)
    # What a person's own movement does to the pictures is in no one's books.
    Clips.kinds = ["person"]
    assert _made("footage:heldout 00", "footage:heldout", Clips()).flow is None


def test_else_it_is_looked_for_on_the_plates_and_kept(tmp_path, monkeypatch):
    item, frames = clip((0.0, 2.0))
    flows = flows_of(item, frames, Kept(tmp_path))
    assert flows.source == COMPUTED
    found = flows.between(1, 2)
    inner = found[10:-10, 10:-10]
    assert inner[..., 0].mean() == pytest.approx(2, abs=0.1)
    assert abs(inner[..., 1]).mean() < 0.1

    def fail(*_args):
        raise AssertionError("computed again")

    monkeypatch.setattr("training.conventions.flow.motion", fail)
    again = flows_of(item, frames, Kept(tmp_path)).between(1, 2)
    assert (again == found).all()
