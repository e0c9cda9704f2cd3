"""Pixels to the device and back: the values, and on CUDA the order of what is done with streams."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from model import device_memory, transfers
from model.device_memory import device_full, needed_and_free
from model.errors import CapacityError
from model.face import Frame
from model.transfers import Download, Upload, sent

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
FULL = torch.cuda.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79.10 GiB"
)


def test_an_array_comes_back_as_it_went():
    for pixels in (
        np.arange(24, dtype=np.float16).reshape(2, 4, 3),
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::-1],
        np.frombuffer(bytes(12), np.float32).reshape(1, 1, 3),  # not to be written to
    ):
        assert np.array_equal(Download(sent(pixels, CPU)).array(), pixels)


def test_off_cuda_a_frame_is_made_at_once():
    frame = Frame(1, torch.zeros(1), torch.zeros(1), None, "linear")
    assert Upload(CPU)(lambda: frame) is frame


@pytest.fixture
def did(monkeypatch):
    """What is done with streams, in order."""
    done = []

    class Stream:
        def __init__(self, device):
            done.append(f"stream of {device}")

        def synchronize(self):
            done.append("synchronized")

    @contextmanager
    def stream(one):
        done.append("into it")
        yield
        done.append("out of it")

    cuda = SimpleNamespace(
        Stream=Stream, stream=stream, current_stream=lambda device: f"the network's, {device}"
    )
    monkeypatch.setattr(transfers.torch, "cuda", cuda)
    transfers._upload_stream.cache_clear()
    yield done
    transfers._upload_stream.cache_clear()


def test_on_cuda_a_frame_is_complete_and_its_memory_bound_before_it_is_handed_over(did):
    class Plane:
        def record_stream(self, user):
            did.append(f"used by {user}")

    def make():
        did.append("made")
        return SimpleNamespace(planes=lambda: [Plane(), Plane()])

    Upload(CUDA)(make)
    used = "used by the network's, cuda:0"
    assert did == [
        "stream of cuda:0", "into it", "made", "out of it", used, used, "synchronized",
    ]  # fmt: skip


def test_a_full_device_is_told_with_needed_and_free_memory(monkeypatch):
    monkeypatch.setattr(
        device_memory.torch.cuda, "mem_get_info", lambda device: (331350016, 84935311360)
    )
    said = "2.50 GiB more were needed and 0.31 GiB of 79.1 GiB were free"
    assert needed_and_free(FULL, CUDA) == said
    assert needed_and_free(FULL, CPU) == "2.50 GiB more were needed"
    assert needed_and_free(MemoryError(), CPU) == ""
    with pytest.raises(CapacityError) as caught, device_full(1007, CUDA):
        raise FULL
    assert caught.value.code == "capacity.device_memory" and caught.value.frame == 1007
    assert caught.value.message == f"frame 1007 does not fit into the device's memory: {said}"
