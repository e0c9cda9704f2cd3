"""The middle of the foreground's thin parts stays certain in carried trimaps."""

import numpy as np
import pytest
import torch

from model.classical import trimap_step
from model.classical.working_size import WorkingSize

ROWS, COLUMNS = 360, 640
SIZE = WorkingSize(ROWS, COLUMNS, ROWS, COLUMNS)
ARM = slice(250, 450)  # columns of it that are far from the body and from its end


def figure(half: float) -> np.ndarray:
    """A body 160 px wide, and an arm of a half width to the right of it; 0 or 1."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    body = np.abs(x - 120) < 80
    arm = (np.abs(y - 180) <= half) & (x >= 120) & (x < 500)
    return (body | arm).astype(np.float32)


def band(alpha: np.ndarray, odds: float | np.ndarray = 5.0) -> np.ndarray:
    """The trimap around an alpha that colours support, but where ``odds`` says less."""
    support = np.where(alpha > 0.5, odds, -5.0).astype(np.float32)
    return trimap_step._band(alpha, support, np.zeros(alpha.shape, bool), SIZE)


@pytest.mark.parametrize("half", [4, 6, 8])
def test_an_arm_no_wider_than_its_margins_keeps_its_middle(half):
    alpha = figure(half)
    found = band(alpha)
    here = found[:, ARM]
    assert (here == 1).any(0).all()  # from end to end
    assert not (here == 1)[np.abs(np.arange(ROWS) - 180) > half - 2].any()
    assert (found[alpha == 0] != 1).all()


def test_what_is_thick_keeps_its_margin():
    body = figure(0) * (np.mgrid[:ROWS, :COLUMNS][1] < 200)
    found = band(body)
    edge = 200  # the body's last column is 199
    assert (found[60:300, edge - 7 : edge + 7] == 0.5).all()
    assert (found[60:300, 60:180] == 1).all()


def test_an_arm_that_colours_do_not_clearly_support_is_unknown():
    assert (band(figure(6), odds=1.0)[:, ARM][170:190] == 0.5).all()


def test_a_gap_between_two_limbs_stays_unknown():
    y = np.mgrid[:ROWS, :COLUMNS][0]
    limbs = (np.abs(np.abs(y - 180) - 20) <= 14).astype(np.float32)  # 11 px of background between
    assert (band(limbs)[176:185] == 0.5).all()


def test_it_grows_with_the_picture_and_is_the_same_on_a_card():
    alpha = figure(6)
    support = np.where(alpha > 0.5, 5.0, -5.0).astype(np.float32)
    given = alpha, support, np.zeros(alpha.shape, bool)
    there = trimap_step._band(*(torch.from_numpy(one) for one in given), SIZE)
    assert np.array_equal(there.numpy(), band(alpha))
    half = WorkingSize(ROWS // 2, COLUMNS // 2, ROWS // 2, COLUMNS // 2)
    small = trimap_step._band(*(np.ascontiguousarray(one[::2, ::2]) for one in given), half)
    assert (small[:, 125:225] == 1).any(0).all()
