"""Functions of dataclasses and tuples of tensors, taken apart for a recording and put together."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from cuda_ops import recorded
from cuda_ops.recorded import Recorded


@dataclass(frozen=True)
class Pair:
    one: Tensor
    other: Tensor
    name: str = ""


@pytest.fixture
def replays(monkeypatch):
    """Recordings on the CPU: of each, the shapes of what it was called with."""
    made = []

    class Fake:
        def __init__(self, function):
            self.function, self.calls = function, []
            made.append(self)

        def __call__(self, *tensors):
            self.calls.append([tuple(one.shape) for one in tensors])
            return self.function(*tensors)

    monkeypatch.setattr(recorded, "Replayed", Fake)
    monkeypatch.setattr(recorded, "_can_be_recorded", lambda tensor: True)
    return made


def turned(pair, scale, rest):
    return Pair(pair.other * scale, pair.one + rest[0], pair.name + "!"), rest[1]


def test_what_goes_in_and_comes_out_may_be_nested(replays):
    function = Recorded(turned)
    pair = Pair(torch.ones(2), torch.full((3,), 2.0), "a")
    for _ in range(2):
        found, rest = function(pair, 3, (torch.ones(2), None))
        assert torch.equal(found.one, torch.full((3,), 6.0)) and found.name == "a!"
        assert torch.equal(found.other, torch.full((2,), 2.0)) and rest is None
    assert [one.calls for one in replays] == [[[(2,), (3,), (2,)]] * 2]


def test_other_values_have_recordings_of_their_own(replays):
    function = Recorded(lambda x, scale: (x * scale,))
    for scale in (1.0, 2.0, 1.0):
        assert function(torch.ones(1), scale)[0].item() == scale
    assert sorted(len(one.calls) for one in replays) == [1, 2]
    for scale in range(10, 20):
        function(torch.ones(1), scale)
    assert len(function._recordings) == recorded._KEPT


def test_off_the_card_the_function_itself_is_called():
    seen = []

    def function(image, other):
        seen.append((image, other))
        return image

    image = np.ones(3)
    assert Recorded(function)(image, {}) is image
    tensor = torch.ones(3)
    assert Recorded(function)(tensor, 1) is tensor
    assert seen == [(image, {}), (tensor, 1)]
