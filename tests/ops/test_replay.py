"""What is recorded and when it is replayed, with a stand-in for CUDA's graphs."""

from contextlib import contextmanager

import pytest
import torch

from cuda_ops import replay
from cuda_ops.replay import Replayed


class Graph:
    """Does what was recorded once more, into the same tensors."""

    def __init__(self):
        self.again = lambda: None
        self.replayed = 0

    def replay(self):
        self.replayed += 1
        self.again()


class Twice:
    """x + y and 2x, counting how often it is really called."""

    def __init__(self):
        self.calls, self.error = 0, None

    def __call__(self, x, y):
        self.calls += 1
        if self.error and Recorder.recording:
            raise self.error
        found = (x + y, 2 * x)
        if Recorder.recording:

            def again():
                with torch.inference_mode():  # a graph does not ask
                    torch.add(x, y, out=found[0])
                    torch.mul(x, 2, out=found[1])

            Recorder.recording.again = again
        return found


class Recorder:
    recording = None


@pytest.fixture(autouse=True)
def cuda(monkeypatch):
    made = []

    @contextmanager
    def graph(one, capture_error_mode):
        assert capture_error_mode == "thread_local"
        Recorder.recording = one
        made.append(one)
        try:
            yield
        finally:
            Recorder.recording = None

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return made


def right(call, x, y):
    found = call(x, y)
    assert torch.equal(found[0], x + y) and torch.equal(found[1], 2 * x)
    return found


def test_shapes_that_come_twice_running_are_recorded(cuda):
    function = Twice()
    call = Replayed(function)
    given = [torch.randn(3, 4) for _ in range(6)]
    first = right(call, given[0], given[1])
    assert not call.records
    second = right(call, given[2], given[3])
    assert call.records and function.calls == 2
    kept = second[0].clone()
    third = right(call, given[4], given[5])
    assert function.calls == 2 and cuda[0].replayed == 2
    # Each result has memory of its own.
    assert torch.equal(second[0], kept) and not torch.equal(third[0], kept)
    assert first[0].data_ptr() != second[0].data_ptr() != third[0].data_ptr()


def test_other_shapes_go_their_own_way_and_the_recording_stays(cuda):
    function = Twice()
    call = Replayed(function)
    large, small, tiny = (torch.randn(n, n) for n in (4, 3, 2))
    for one in (large, large, small, large, tiny, small, large):
        right(call, one, one)
    assert len(cuda) == 1 and cuda[0].replayed == 3 and function.calls == 5
    right(call, small, small)
    right(call, small, small)
    assert len(cuda) == 2
    right(call, large, large)
    assert cuda[0].replayed == 3  # its recording was replaced


def test_types_and_layouts_are_told_apart():
    call = Replayed(Twice())
    x = torch.randn(2, 2)
    for one in (x, x.half(), x, x.half()):
        right(call, one, one)
    assert not call.records


def test_inference_mode_or_not():
    call = Replayed(Twice())
    for mode in (True, True, False, True):
        with torch.inference_mode(mode):
            right(call, torch.randn(2, 2), torch.randn(2, 2))
    assert call.records


def test_what_cannot_be_recorded_is_said_once(caplog):
    function = Twice()
    function.error = RuntimeError("operation not permitted when stream is capturing\nmore of it")
    call, x = Replayed(function), torch.randn(2, 2)
    for _ in range(5):
        right(call, x, x)
    assert not call.records
    assert [one.message for one in caplog.records] == [
        "kernels are launched one by one, which is slower: "
        "operation not permitted when stream is capturing"
    ]


def test_a_device_that_is_full_says_so_and_is_freed():
    function = Twice()
    call, x = Replayed(function), torch.randn(2, 2)
    right(call, x, x)
    function.error = torch.cuda.OutOfMemoryError("full")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        call(x, x)
    assert not call.records
    function.error = None
    right(call, x, x)
    right(call, x, x)
    assert call.records
    replay.let_go()
    assert not call.records


def test_it_can_be_switched_off(cuda):
    call = Replayed(Twice(), enabled=False)
    for _ in range(3):
        right(call, torch.randn(2, 2), torch.randn(2, 2))
    assert not cuda
