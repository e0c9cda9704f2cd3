"""The kernels for maps without a GPU: they compile for every card, and the same source runs on the
CPU. There it is held against plain torch; and mistakes planted in the source are found."""

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import maps, nvrtc, variants
from model.networks import alignment
from tests.ops.cuda_on_cpu import ARCHITECTURES, OPERATOR, Emulator, needs_compiler, needs_gxx

HALF, BFLOAT, FLOAT = torch.float16, torch.bfloat16, torch.float32
BOUNDS = {HALF: 1e-3, BFLOAT: 8e-3, FLOAT: 1e-6}  # of the largest number: what rounding once costs
TYPES = pytest.mark.parametrize("dtype", [HALF, BFLOAT, FLOAT], ids=["half", "bfloat", "float"])


@pytest.fixture
def emulator(built, monkeypatch):
    def install(change=None):
        made = Emulator(built, OPERATOR, change)
        monkeypatch.setattr(variants, "kernel_on", made.kernel_on)
        return made

    return install


def a_map(*shape, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g).to(dtype).contiguous(memory_format=torch.channels_last)


def off(found, right):
    """The largest difference, of the largest number there should be."""
    assert found.dtype != torch.float64 and found.shape == right.shape
    assert found.is_contiguous(memory_format=torch.channels_last)
    return float((found.double() - right).abs().max() / right.abs().max())


def finished(dtype, bias=True, other=True):
    x, more = a_map(2, 24, 5, 7, dtype=dtype), a_map(2, 24, 5, 7, dtype=dtype, seed=1)
    by = a_map(1, 24, 1, 1, dtype=dtype, seed=2).flatten()
    right = x.double()
    if bias:
        right = right + by.double()[:, None, None]
    if other:
        right = right + more.double()
    right, more = F.leaky_relu(right, 0.1), more if other else None
    new = maps.finished(x, by if bias else None, slope=0.1, other=more)
    found = maps.finished(x, by if bias else None, slope=0.1, other=more, in_place=True)
    assert found is x
    return max(off(found, right), off(new, right))


def shuffled(dtype):
    x = a_map(2, 4 * 16, 3, 5, dtype=dtype)
    # As torch wants it: a channel's sub-pixels together.
    right = F.pixel_shuffle(x.view(2, 4, 16, 3, 5).transpose(1, 2).reshape(2, 64, 3, 5), 2)
    return off(maps.shuffled(x), right.double())


def doubled(dtype, shape=(2, 16, 5, 7)):
    n, c, h, w = shape
    x, onto = a_map(*shape, dtype=dtype), a_map(n, c, 2 * h, 2 * w, dtype=dtype, seed=1)
    by = a_map(1, c, 1, 1, dtype=dtype, seed=2).flatten()
    up = F.interpolate(x.double(), scale_factor=2, mode="bilinear", align_corners=False)
    before = onto.clone()
    found = maps.doubled(x, by, onto)
    assert torch.equal(onto, before)
    return off(found, up + onto.double() + by.double()[:, None, None])


def matched(dtype, reach=3, shape=(2, 32, 6, 9)):
    a, b = (a_map(*shape, dtype=dtype, seed=i) for i in range(2))
    a[0, :, 1, 1] = 0  # a pixel without features
    right = alignment.matches(a.double(), b.double(), reach)
    return off(maps.matches(a, b, reach), right)


def moved(dtype, shape=(2, 16, 6, 9)):
    x = a_map(*shape, dtype=dtype)
    g = torch.Generator().manual_seed(4)
    shift = 4 * torch.randn(shape[0], 2, *shape[2:], generator=g)
    return off(maps.moved(x, shift), alignment.warp(x.double(), shift))


@needs_gxx
@TYPES
def test_finished(dtype, emulator):
    emulator()
    for bias in (True, False):
        for other in (True, False):
            assert finished(dtype, bias, other) < BOUNDS[dtype]


def gated(dtype):
    x, gate = a_map(2, 16, 3, 5, dtype=dtype), a_map(2, 8, 3, 5, dtype=dtype, seed=1)
    right = F.relu(x.double() * gate[:, :1].double().sigmoid())
    return off(maps.finished(x, None, slope=0.0, gate=gate), right)


def peaks(dtype):
    x, weight = a_map(2, 96, 3, 5, dtype=dtype), a_map(2, 96, 1, 1, dtype=dtype, seed=1)
    weighed = x.double() * weight.double()
    zeros = torch.zeros(2, 6, 3, 5)
    right = torch.cat([weighed.mean(1, True), weighed.amax(1, True), zeros], 1)
    return off(maps.peaks(x, weight.flatten(1)), right)


@needs_gxx
@TYPES
def test_gated_and_peaks(dtype, emulator):
    emulator()
    assert gated(dtype) < BOUNDS[dtype]
    assert peaks(dtype) < BOUNDS[dtype]


@needs_gxx
def test_what_is_no_number_stays_none(emulator):
    emulator()
    x = torch.tensor([float("nan"), float("-inf"), float("inf"), -1.0])
    x = x.view(1, 4, 1, 1).contiguous(memory_format=torch.channels_last)
    found = maps.finished(x, None, slope=0.0).flatten()
    assert found[0].isnan() and found[1:].tolist() == [0, float("inf"), 0]
    assert maps.peaks(x, torch.ones(1, 4)).flatten()[0].isnan()


@needs_gxx
def test_one_other_for_all(emulator):
    emulator()
    x, other = a_map(3, 8, 2, 3, dtype=FLOAT), a_map(1, 8, 2, 3, dtype=FLOAT, seed=1)
    assert torch.equal(maps.finished(x, None, other=other), x + other)


@needs_gxx
@TYPES
def test_shuffled(dtype, emulator):
    emulator()
    assert shuffled(dtype) == 0


@needs_gxx
@TYPES
def test_doubled(dtype, emulator):
    emulator()
    assert doubled(dtype) < BOUNDS[dtype]
    assert doubled(dtype, (1, 8, 1, 1)) < BOUNDS[dtype]


@needs_gxx
@TYPES
def test_matches(dtype, emulator):
    emulator()
    assert matched(dtype) < BOUNDS[dtype]
    assert matched(dtype, 1, (1, 48, 3, 2)) < BOUNDS[dtype]


@needs_gxx
@TYPES
def test_moved(dtype, emulator):
    emulator()
    # Where to look is worked out in float32 by both, but not in the same steps.
    assert moved(dtype) < max(BOUNDS[dtype], 1e-5)


MISTAKES = {
    "a bias of its neighbour": (finished, "bias[i % VECTORS]", "bias[(i + 1) % VECTORS]"),
    "an other that is left out": (finished, "numbers(other[i % others], more);", ""),
    "a slope for what is positive": (finished, "sum[k] > 0.f", "sum[k] < 0.f"),
    "the rest of a block": (finished, "if (i >= count) return;", "if (i + 1 >= count) return;"),
    "columns for rows": (doubled, "dy == 0 ? 0.75f : dy < 0", "dx == 0 ? 0.75f : dx < 0"),
    "a border that is not repeated": (
        doubled, "inside(row + dy, height)", "(row + dy + height) % height",
    ),
    "a bias twice": (doubled, "above[side][k] + more[k]", "above[side][k] + 2.f * more[k]"),
    "a window off by one": (matched, "column + dx - REACH;", "column + dx - REACH + 1;"),
    "borders that are not there": (matched, "x < 0 || x >= width", "x < 0"),
    "lengths that are not": (matched, "sqrtf(of_lanes(own))", "of_lanes(own)"),
    "lanes that are not added up": (matched, "of_lanes(product[dx])", "product[dx]"),
    "the gate of a neighbour": (gated, "i / VECTORS * GATE", "(i / VECTORS ^ 1) * GATE"),
    "a mean of fewer": (peaks, "part = lane; part < VECTORS", "part = lane; part < VECTORS - 1"),
    "one picture's weights": (peaks, "i / pixels * VECTORS", "0"),
    "rows for columns": (shuffled, "row % 2 * 2 + column % 2", "column % 2 * 2 + row % 2"),
    "x for y": (moved, "by[pixels]", "by[0]"),
    "fractions turned round": (moved, "across = x - (float)left", "across = (float)left + 1.f - x"),
}  # fmt: skip


@needs_gxx
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_kernels_are_found(mistake, emulator):
    case, right, wrong = MISTAKES[mistake]
    changed = []

    def change(name, source):
        if right in source:
            changed.append(name)
        return source.replace(right, wrong)

    emulator(change)
    found = case(FLOAT)
    assert changed
    assert not found < 1e-3


@needs_compiler
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_for_every_card(architecture, monkeypatch):
    made = []

    def kernel_on(device, variant):
        code = nvrtc.compiled(variant.source, variant.name, variant.flags, architecture)
        made.append(variant.name)
        assert len(code) > 1000
        return lambda *_: None

    monkeypatch.setattr(variants, "kernel_on", kernel_on)
    for dtype in (HALF, BFLOAT, FLOAT):
        x, onto = a_map(1, 48, 4, 4, dtype=dtype), a_map(1, 48, 8, 8, dtype=dtype)
        bias = x.new_zeros(48)
        maps.finished(x, bias, slope=0.1, other=x, in_place=True)
        maps.finished(x, None, in_place=True)
        maps.doubled(x, bias, onto)
        maps.matches(x, x, 3)
        maps.moved(x, torch.zeros(1, 2, 4, 4))
        maps.finished(x, None, gate=x, in_place=True)
        maps.peaks(x, x.new_zeros(1, 48))
        maps.shuffled(a_map(1, 64, 4, 4, dtype=dtype))
    assert set(made) == {"finish", "doubled", "matches", "moved", "peaks", "shuffled"}


def test_what_is_for_the_kernels():
    x = a_map(1, 16, 4, 4, dtype=FLOAT)
    assert not maps.takes(x, 16)  # not on a processor
