"""Clips of keyed footage that networks and constants are chosen by."""

import pytest
import torch

from model.errors import InputError
from tests.train.test_material import cutout, keyed, save
from training.judging.datasets import FOOTAGE, find_items, held_out_footage


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    keyed(folder / "fg_video" / "dancer_shot3", [True] * 20)
    return folder


@pytest.mark.parametrize(
    ("data", "shape", "linear"),
    [
        ("footage:heldout", (12, 272, 480), [False, False, True, True]),
        ("footage:large", (14, 368, 640), [False, False, False, True] * 2 + [False, False]),
    ],
)
def test_the_first_of_its_clips_is_always_the_same(data, shape, linear, material):
    first, again = (next(held_out_footage(material, data)) for _ in range(2))
    frames, height, width = shape
    assert first.alpha.shape == (1, frames, 1, height, width)
    assert torch.equal(first.light, again.light) and torch.equal(first.alpha, again.alpha)
    assert bool(first.linear[0]) == linear[0]
    assert list(FOOTAGE[data].linear) == linear


def test_the_sets_share_no_clip():
    seeds = [one.seed + i for one in FOOTAGE.values() for i in range(len(one.linear))]
    assert len(seeds) == len(set(seeds)) == 14


def test_it_takes_footage_of_a_person(tmp_path):
    save(tmp_path / "fg_cutouts" / "hair_bob02.png", cutout())
    with pytest.raises(InputError, match="footage:large needs keyed footage of a person"):
        find_items("footage:large", tmp_path)


def test_other_sets_are_refused_by_what_there_is():
    with pytest.raises(InputError, match="no data set called footage:huge") as caught:
        find_items("footage:huge")
    assert "footage:heldout, footage:large" in caught.value.hint
