"""Contact sheets: cells show what they should, and what is written is read back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from model.engine import FrameMatte
from model.plates.image_files import read_plate, write_image
from model.plates.mattes import matte_paths, write_matte
from model.plates.plate import PlateHeader, Window
from model.review import ReviewFrame, contact_sheet, read_review_frame, write_contact_sheet

H, W = 90, 160


def frame(number: int = 7, **fields: object) -> ReviewFrame:
    plate = np.full((H, W, 3), 0.18, np.float32)
    plate[:, : W // 2] = (4.0, 0.0, 0.0)
    alpha = np.zeros((H, W), np.float32)
    alpha[:, : W // 2] = 1.0
    trimap = np.where(alpha == 1, 255, 0).astype(np.uint8)
    return ReviewFrame(
        **{"frame": number, "plate": plate, "alpha": alpha, "trimap": trimap, **fields}
    )


def cells(sheet: np.ndarray) -> list[np.ndarray]:
    """The four pictures of a one-row sheet of 160-pixel cells, without title."""
    left, top = 104, 50
    return [sheet[top : top + H, left + i * (W + 8) : left + i * (W + 8) + W] for i in range(4)]


def test_cells():
    plate, trimap, alpha, over = cells(contact_sheet([frame()], cell_width=W))
    assert tuple(plate[H // 2, W // 4]) == (255, 0, 0)  # beyond white is white
    assert tuple(plate[H // 2, -W // 4]) == (118, 118, 118)  # 18 % grey, as sRGB
    assert tuple(trimap[H // 2, W // 4]) == (255, 255, 255)
    assert alpha[:, : W // 2 - 1].min() == 255 and alpha[:, W // 2 + 1 :].max() == 0
    assert tuple(over[H // 2, W // 4]) == (255, 0, 0)
    assert len(np.unique(over[:, W // 2 + 1 :].reshape(-1, 3), axis=0)) == 2  # the checker


def test_a_given_foreground_is_what_lies_over_the_checker():
    green = np.zeros((H, W, 3), np.float32)
    green[:, : W // 2, 1] = 1.0
    *_, over = cells(contact_sheet([frame(foreground=green)], cell_width=W))
    assert tuple(over[H // 2, W // 4]) == (0, 255, 0)


def test_an_unknown_trimap_is_an_empty_cell():
    _, trimap, _, _ = cells(contact_sheet([frame(trimap=None)], cell_width=W))
    assert len(np.unique(trimap)) == 1


def test_captions_are_drawn():
    numbered = contact_sheet([frame(1001, note="keyframe")], cell_width=W)
    other = contact_sheet([frame(1002, note="keyframe")], cell_width=W)
    assert (numbered[:, :100] != other[:, :100]).any()
    assert (numbered[:, 100:] == other[:, 100:]).all()


def test_size():
    sheet = contact_sheet([frame(), frame()], title="two", cell_width=80)
    one = contact_sheet([frame()], title="one", cell_width=80)
    assert sheet.shape[0] - one.shape[0] == 45 + 8
    wide = contact_sheet([frame(pixel_aspect=2.0)], title="one", cell_width=80)
    assert one.shape[0] - wide.shape[0] == 45 - 22
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([])


@pytest.mark.parametrize("split", [False, True])
def test_read_back(tmp_path: Path, split: bool):
    layers = ("alpha", "trimap", "foreground")
    window = Window.of_size(W, H)
    header = PlateHeader(("R", "G", "B"), window, window, pixel_type="half")
    shown = frame()
    write_image(tmp_path / "plate.0007.exr", shown.plate, ("R", "G", "B"), header=header)
    matte = FrameMatte(
        frame=7,
        alpha=shown.alpha,
        trimap=shown.trimap,
        confidence=None,
        foreground=shown.plate * shown.alpha[..., None],
        header=header,
        source="painted",
    )
    pattern = tmp_path / "alpha.####.exr"
    write_matte(matte_paths(pattern, 7, layers, split), matte, layers=layers, split=split)
    read = read_review_frame(7, tmp_path / "plate.0007.exr", pattern, layers, split=split, note="n")
    np.testing.assert_array_equal(read.alpha, shown.alpha)
    np.testing.assert_array_equal(read.trimap, shown.trimap)
    np.testing.assert_allclose(read.foreground, matte.foreground, atol=1e-3)
    np.testing.assert_allclose(read.plate, shown.plate, atol=1e-3)
    assert read.note == "n"

    write_contact_sheet(tmp_path / "sheet.png", [read])
    sheet = read_plate(tmp_path / "sheet.png").pixels
    assert sheet.shape[2] == 3
    assert sheet.shape == contact_sheet([read]).shape
    assert cv2.imread(str(tmp_path / "sheet.png")) is not None
