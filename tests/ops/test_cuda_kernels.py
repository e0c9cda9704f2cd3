"""The CUDA kernels without a GPU: they compile for every card, and the same source runs on the CPU.

There it is held against the specification in float64; and mistakes planted in the source are found.
"""

import faulthandler
import os

import pytest
import torch

from cuda_ops import deform_conv, kernels, nvrtc, variants
from cuda_ops.kernels import GroupTile, Tile
from cuda_ops.reference import modulated_deform_conv2d as specification
from cuda_ops.taps import Geometry
from tests.ops.cuda_on_cpu import ARCHITECTURES, OPERATOR, Emulator, needs_compiler, needs_gxx

# An A100's, and those of graphics cards: sm_86, sm_89, sm_120.
LIMITS = {"large": (166912, 167936), "small": (101376, 102400)}
HALF, BFLOAT, FLOAT = torch.float16, torch.bfloat16, torch.float32
# Of a norm: what goes in and out in halves is rounded a few times.
FORWARD = {HALF: 1e-3, BFLOAT: 3e-3, FLOAT: 1e-5}
BACKWARD = {HALF: 1e-3, BFLOAT: 4e-3, FLOAT: 1e-5}


# batch, channels, out, height, width, groups, offsets in pixels
PLAIN = (2, 32, 32, 5, 19, 4, 3)


@pytest.fixture
def emulator(built, monkeypatch):
    def install(change=None, limits="large"):
        made = Emulator(built, OPERATOR, change)
        monkeypatch.setattr(variants, "kernel_on", made.kernel_on)
        monkeypatch.setattr(kernels, "shared_limit", lambda device: LIMITS[limits])
        return made

    return install


@pytest.fixture
def pixel_by_pixel(monkeypatch):
    """No picture is laid out group by group."""
    monkeypatch.setattr(kernels, "BY_GROUP", None)
    monkeypatch.setattr(kernels, "BY_GROUP_LAST", None)


def case(shape, dtype, *, kernel=3, at=(1, 1, 1), where=FLOAT, last=(), cut=None):
    """x, offset, mask, weight, bias, in layouts that differ from pixel by pixel to not; geometry.

    Args:
        last: which of x, offset, mask lie channels last.
        cut: which of them are cut out of a larger tensor, and how many channels of it are before
            and behind.
    """
    batch, channels, out, height, width, groups, far = shape
    geometry = Geometry(kernel, kernel, *at)
    stride, padding, dilation = at
    size = [
        (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        for length in (height, width)
    ]
    g = torch.Generator().manual_seed(5)
    offset = torch.randn(batch, 2 * groups * geometry.taps, *size, generator=g) * far
    # On a pixel's centre the slope jumps, and rounding would decide which one is taken.
    offset = (offset.floor() + 0.1 + 0.8 * (offset - offset.floor())).to(where)
    tensors = [
        torch.randn(batch, channels, height, width, generator=g).to(dtype),
        offset,
        torch.rand(batch, groups * geometry.taps, *size, generator=g).to(dtype),
        (torch.randn(out, channels, kernel, kernel, generator=g) / kernel / channels**0.5).to(
            dtype
        ),
        torch.randn(out, generator=g).to(dtype),
    ]
    for i in last:
        tensors[i] = tensors[i].contiguous(memory_format=torch.channels_last)
    for i, (before, behind) in (cut or {}).items():
        tensors[i] = cut_out(tensors[i], before, behind)
    return tensors, geometry


def cut_out(tensor, before, behind):
    """The same as channels of a larger tensor in the same layout, which has no other numbers."""
    count, channels, *size = tensor.shape
    layout = torch.channels_last if kernels.is_channels_last(tensor) else torch.contiguous_format
    room = torch.full((count, before + channels + behind, *size), float("nan"), dtype=tensor.dtype)
    room = room.contiguous(memory_format=layout)
    return room[:, before : before + channels].copy_(tensor)


# Both layouts' as networks have them: offsets and mask are two parts of one result.
PARTS = {4: {1: (0, 36), 2: (72, 0)}, 8: {1: (0, 72), 2: (144, 0)}}


def exactly(tensors, at):
    inputs = [t.double().requires_grad_() for t in tensors]
    right = specification(*inputs, stride=at.stride, padding=at.padding, dilation=at.dilation)
    return inputs, right


def error(found, right):
    """NaN if anything is."""
    return float((found.double() - right.detach()).norm() / right.detach().norm())


def poisoned(monkeypatch):
    """What is allocated begins as NaN, so that what nobody wrote shows."""
    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)

        def filled(*args, plain=plain, **options):
            found = plain(*args, **options)
            return found.fill_(float("nan")) if found.is_floating_point() else found

        monkeypatch.setattr(torch, name, filled)
    plain_new = torch.Tensor.new_empty
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda t, *a, **o: plain_new(t, *a, **o).fill_(float("nan"))
    )


# The one-kernel way: all widths, even ones that fill no whole fragment; tiles that fit and do not.
FUSED = [
    (PLAIN, {}, HALF),
    ((1, 64, 64, 9, 33, 8, 40), {"last": (0, 1, 2)}, HALF),
    ((1, 64, 64, 4, 16, 8, 3), {"last": (1,), "where": HALF}, BFLOAT),
    ((2, 48, 48, 9, 17, 4, 3), {"last": (0,)}, HALF),
    ((1, 48, 48, 3, 5, 4, 3), {"last": (0,)}, BFLOAT),
    ((1, 16, 24, 7, 18, 2, 1e6), {"where": FLOAT}, HALF),
    ((1, 32, 5, 6, 7, 1, 2), {"last": (0,)}, HALF),
    ((1, 64, 20, 1, 1, 16, 1), {}, HALF),
    ((1, 32, 32, 9, 12, 4, 2), {"at": (2, 1, 1)}, HALF),
    ((1, 32, 16, 8, 9, 2, 2), {"at": (1, 2, 1), "kernel": 5}, BFLOAT),
    ((2, 48, 48, 4, 17, 4, 3), {"last": (0, 1, 2), "cut": PARTS[4], "where": HALF}, HALF),
    ((2, 48, 48, 4, 7, 4, 3), {"last": (2,), "cut": {1: (3, 0), 2: (0, 5)}}, BFLOAT),
]


@needs_gxx
@pytest.mark.usefixtures("pixel_by_pixel")
@pytest.mark.parametrize(("shape", "options", "dtype"), FUSED)
def test_one_kernel(shape, options, dtype, emulator, monkeypatch):
    tensors, at = case(shape, dtype, **options)
    _, right = exactly(tensors, at)
    made = emulator()
    poisoned(monkeypatch)
    found = kernels.forward(*tensors, at)
    assert made.launched[-1] == "convolve"
    assert error(found, right) < FORWARD[dtype]
    assert found.dtype == dtype
    assert kernels.is_channels_last(found) == kernels.is_channels_last(tensors[0])


# Groups of eight channels. What is cut out begins at multiples of 16, 8 and 4 bytes, and of 2.
ALL_LAST = {"last": (0, 1, 2), "where": HALF}
GROUPED = [
    (PLAIN, {}, HALF),
    ((1, 64, 64, 9, 33, 8, 40), ALL_LAST, HALF),
    ((2, 64, 64, 5, 35, 8, 3), ALL_LAST | {"cut": PARTS[8]}, HALF),
    ((2, 64, 24, 5, 35, 8, 3), {"last": (1, 2), "cut": PARTS[8]}, BFLOAT),
    ((3, 32, 32, 3, 5, 4, 3), ALL_LAST | {"cut": PARTS[4]}, HALF),
    ((1, 32, 32, 4, 33, 4, 3), ALL_LAST | {"cut": {1: (2, 0), 2: (0, 10)}}, BFLOAT),
    ((2, 48, 48, 3, 5, 6, 3), {"where": HALF, "cut": {1: (1, 2), 2: (3, 1)}}, BFLOAT),
    ((1, 16, 5, 7, 40, 2, 1e6), {"last": (0,)}, HALF),
    ((1, 64, 20, 1, 1, 8, 1), ALL_LAST | {"cut": PARTS[8]}, HALF),
    ((1, 32, 32, 9, 12, 4, 2), {"at": (2, 1, 1)}, HALF),
    ((1, 16, 16, 8, 9, 2, 2), {"at": (1, 2, 1), "kernel": 5, "last": (1, 2)}, BFLOAT),
    ((2, 64, 64, 4, 9, 8, 2), {"at": (1, 0, 1), "kernel": 1, "last": (0, 1, 2)}, HALF),
]
# As few as divide everything; warps that multiply what they sampled; all threads for two rows.
GROUP_TILES = [
    GroupTile(rows=2, threads=64, blocks=2, across=4, chunk=16, together=1),
    GroupTile(rows=4, threads=128, blocks=1, across=1, chunk=32, together=4),
    GroupTile(rows=2, threads=512, blocks=1, across=4, chunk=64, together=2),
]


@needs_gxx
@pytest.mark.parametrize(("shape", "options", "dtype"), GROUPED)
def test_one_kernel_by_group(shape, options, dtype, emulator, monkeypatch):
    tensors, at = case(shape, dtype, **options)
    _, right = exactly(tensors, at)
    made = emulator()
    poisoned(monkeypatch)
    found = kernels.forward(*tensors, at)
    assert made.launched == ["by_group", "convolve_by_group"]
    assert error(found, right) < FORWARD[dtype]
    assert found.dtype == dtype
    assert kernels.is_channels_last(found) == kernels.is_channels_last(tensors[0])


@needs_gxx
@pytest.mark.parametrize("tile", GROUP_TILES, ids=lambda tile: f"chunk {tile.chunk}")
@pytest.mark.parametrize("cut", [None, PARTS[8]], ids=["planes", "parts"])
def test_other_tiles_by_group(tile, cut, emulator, monkeypatch):
    monkeypatch.setattr(kernels, "BY_GROUP", tile)
    monkeypatch.setattr(kernels, "BY_GROUP_LAST", tile)
    options = {"last": (1, 2), "cut": cut} if cut else {}
    tensors, at = case((1, 64, 64, 3, 37, 8, 3), HALF, where=HALF, **options)
    _, right = exactly(tensors, at)
    made = emulator()
    poisoned(monkeypatch)
    assert error(kernels.forward(*tensors, at), right) < FORWARD[HALF]
    assert made.launched == ["by_group", "convolve_by_group"]


@needs_gxx
@pytest.mark.parametrize(
    "options",
    [
        {"last": (1,)},
        {"last": (2,)},
        {"last": (1, 2), "where": HALF, "cut": {1: (1, 0)}},
        {"last": (1, 2), "cut": {2: (0, 1)}},
    ],
)
def test_what_goes_pixel_by_pixel(options, emulator):
    """Offsets in the other layout than the mask, or where no words begin."""
    tensors, at = case(PLAIN, HALF, **options)
    _, right = exactly(tensors, at)
    made = emulator()
    assert error(kernels.forward(*tensors, at), right) < FORWARD[HALF]
    assert made.launched == ["channels_last", "convolve"]


def test_parts_of_tensors_are_not_copied():
    """Nor is anything else whose pixels follow each other evenly; the rest is."""
    whole = torch.zeros(2, 9, 4, 6, dtype=HALF)
    last = whole.contiguous(memory_format=torch.channels_last)
    for planes, steps in (
        (whole, (216, 24, 1)),
        (whole[:, 2:5], (216, 24, 1)),
        (whole[:1, 2:5], (72, 24, 1)),  # one picture's: dense
        (last, (216, 1, 9)),
        (last[:, 2:5], (216, 1, 9)),
        (last[1:, 2:5], (0, 1, 9)),
        (last[:, 2:3], (216, 1, 9)),
        (last[:, 2:5, :, :1].expand(2, 3, 4, 1), (216, 1, 54)),
        (last[:, 2:5, :1], (216, 1, 9)),
    ):
        found = kernels._planes(planes)
        assert found.tensor.data_ptr() == planes.data_ptr()
        assert found.steps == steps
        assert found.last == (planes.stride(1) == 1)
    for planes in (
        last[:, :, :, 1:],
        last[:, ::2],
        whole[:, :1].expand(2, 4, 4, 6),
        whole[:, :, :1, :1].expand(2, 9, 4, 6),
        whole.transpose(2, 3),
        whole[..., ::2],
    ):
        found = kernels._planes(planes)
        assert found.tensor.data_ptr() != planes.data_ptr()
        assert torch.equal(found.tensor, planes)
        assert found.steps[2] == 1
    assert kernels._planes(last[:, 2:5]).aligned == 2
    assert kernels._planes(last.expand(2, 9, 4, 6)).aligned == 2
    assert kernels._planes(torch.zeros(2, 8, 4, 6)[:, 4:].contiguous()).aligned % 4 == 0


@needs_gxx
def test_one_kernel_in_a_wide_tile(emulator, monkeypatch):
    """256 channels by 16 warps, several chunks a tap."""
    monkeypatch.setattr(kernels, "FUSED", {256: Tile(8, 512, 1)})
    tensors, at = case((1, 128, 256, 3, 6, 8, 3), HALF)
    _, right = exactly(tensors, at)
    made = emulator()
    assert error(kernels.forward(*tensors, at), right) < FORWARD[HALF]
    assert made.launched[-1] == "convolve"


# Rows and products of matrices: every width of reading, several chunks, all options.
ROWS = [
    ((2, 128, 16, 5, 7, 8, 3), {}, HALF),
    ((2, 128, 16, 5, 7, 8, 40), {"last": (0, 1, 2)}, BFLOAT),
    ((1, 96, 8, 6, 5, 8, 3), {"last": (2,), "where": HALF}, HALF),
    ((2, 12, 3, 9, 5, 2, 2), {"last": (0,)}, BFLOAT),
    ((2, 128, 16, 3, 7, 8, 3), {"last": (0, 1, 2), "cut": PARTS[8]}, HALF),
    ((2, 96, 8, 3, 5, 8, 3), {"where": HALF, "cut": PARTS[8]}, BFLOAT),
    ((1, 6, 3, 4, 5, 3, 2), {}, HALF),
    ((1, 3, 4, 7, 5, 1, 2), {}, HALF),
    ((1, 3, 4, 7, 5, 1, 2), {}, BFLOAT),
    (PLAIN, {}, FLOAT),
    ((2, 24, 8, 11, 9, 4, 30), {"last": (0, 1), "at": (2, 1, 1)}, FLOAT),
    ((1, 6, 3, 8, 7, 3, 2), {"at": (1, 2, 2), "where": HALF}, FLOAT),
    ((1, 3, 4, 9, 7, 3, 30), {"at": (2, 2, 1), "kernel": 5}, FLOAT),
    ((2, 4, 4, 3, 3, 2, 1), {"at": (1, 0, 1), "kernel": 1}, FLOAT),
]


@needs_gxx
@pytest.mark.parametrize(("shape", "options", "dtype"), ROWS)
def test_rows_and_products(shape, options, dtype, emulator, monkeypatch):
    tensors, at = case(shape, dtype, **options)
    inputs, right = exactly(tensors, at)
    made = emulator()
    monkeypatch.setattr(kernels, "FUSED", {})
    monkeypatch.setattr(kernels, "COLUMN_BYTES", 1)  # 128 pixels at a time
    pull = torch.randn(right.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = torch.autograd.grad(right, inputs[:4], pull.double())
    poisoned(monkeypatch)
    found = kernels.forward(*tensors, at)
    assert made.launched[-1] == "im2col"
    assert error(found, right) < FORWARD[dtype]
    without = kernels.forward(*tensors[:4], None, at)
    assert error(without, right - tensors[4].double()[:, None, None]) < FORWARD[dtype]
    assert kernels.is_channels_last(found) == kernels.is_channels_last(tensors[0])
    gradients = kernels.backward(pull, *tensors[:4], at)
    for one, true, given in zip(gradients, expected, tensors[:4], strict=True):
        assert error(one, true) < max(BACKWARD[dtype], BACKWARD[given.dtype])
        assert (one.dtype, one.shape) == (given.dtype, given.shape)
    assert kernels.is_channels_last(gradients[0]) == kernels.is_channels_last(tensors[0])


@needs_gxx
def test_several_chunks(emulator, monkeypatch):
    tensors, at = case((2, 4, 4, 17, 19, 2, 2), FLOAT)
    inputs, right = exactly(tensors, at)
    made = emulator()
    monkeypatch.setattr(kernels, "COLUMN_BYTES", 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        made.launched.clear()
        x = tensors[0].contiguous(memory_format=layout)
        assert error(kernels.forward(x, *tensors[1:], at), right) < 1e-5
        assert made.launched.count("im2col") == 6
    gradients = kernels.backward(torch.ones(right.shape), *tensors[:4], at)
    for one, true in zip(gradients, torch.autograd.grad(right.sum(), inputs[:4]), strict=True):
        assert error(one, true) < 1e-5
    # A card's share, if that is more: 256 pixels at a time.
    monkeypatch.setattr(kernels, "card_memory", lambda device: 64 * 256 * 4 * 9 * 4)
    made.launched.clear()
    assert error(kernels.forward(*tensors, at), right) < 1e-5
    assert made.launched.count("im2col") == 4
    monkeypatch.setattr(kernels, "COLUMN_BYTES", 2**27)
    assert error(kernels.forward(*tensors, at), right) < 1e-5
    assert made.launched.count("im2col") == 6


@needs_gxx
def test_cards_with_little_shared_memory(emulator, monkeypatch):
    """Fewer blocks go together there, or the other way is taken."""
    tensors, at = case((1, 64, 64, 3, 4, 16, 2), BFLOAT)
    _, right = exactly(tensors, at)
    for limits, rows, blocks in (("large", 4, 2), ("small", 4, 1), ("small", 8, None)):
        made = emulator(limits=limits)
        monkeypatch.setattr(kernels, "FUSED", {64: Tile(rows, 256, 4)})
        variant = kernels._fused(kernels._Work(*tensors[:4], at))
        assert (variant and variant.blocks) == blocks
        assert error(kernels.forward(*tensors, at), right) < FORWARD[BFLOAT]
        assert made.launched[-1] == ("convolve" if blocks else "im2col")


@needs_gxx
@pytest.mark.parametrize("way", ["convolve", "convolve_by_group", "staged", "im2col"])
def test_positions_that_are_none(way, emulator, monkeypatch):
    """NaN looks at nothing we know; infinity, and whatever lies far outside, at zeros."""
    if way == "convolve":
        monkeypatch.setattr(kernels, "BY_GROUP", None)
    elif way == "im2col":
        monkeypatch.setattr(kernels, "FUSED", {})
    last = (1, 2) if way == "staged" else ()
    (x, offset, mask, weight, bias), at = case((1, 16, 4, 4, 5, 2, 0), HALF, last=last)
    x[0, :, 0, :] = x[0, :, :, 0] = float("inf")  # is not what is outside
    offset[0, :, 2, :] = 100  # all taps of row 2 look far outside
    for i, far in enumerate([float("inf"), -float("inf"), 3e38, -1e9, 2**31, -(2.0**31), -100]):
        offset[0, i, 2, 2] = far
    offset[0, 4, 3, 3] = float("nan")
    made = emulator()
    found = kernels.forward(x, offset, mask, weight, bias, at)
    assert made.launched[-1] == ("convolve_by_group" if way == "staged" else way)
    assert torch.equal(found[0, :, 2, :], bias[:, None].expand(4, 5))
    assert found[0, :, 3, 3].isnan().all()
    assert not found[0, :, 3, 4].isnan().any()


@needs_gxx
@pytest.mark.parametrize("way", ["BY_GROUP", "FUSED"])
def test_memory_that_begins_anywhere(way, emulator, monkeypatch):
    """Reads of 16 bytes want it aligned: then what is not is copied."""
    monkeypatch.setattr(kernels, "BY_GROUP", kernels.BY_GROUP if way == "BY_GROUP" else None)
    (x, offset, mask, weight, bias), at = case((2, 16, 8, 3, 5, 2, 2), HALF, last=(0,))
    _, right = exactly((x, offset, mask, weight, bias), at)
    room = torch.zeros(x.numel() + 1, dtype=HALF)[1:]
    moved = room.as_strided(x.shape, x.stride()).copy_(x)
    assert moved.data_ptr() % 16
    emulator()
    assert error(kernels.forward(moved, offset, mask, weight, bias, at), right) < 1e-3


@needs_gxx
def test_nothing_at_all(emulator):
    (x, offset, mask, weight, bias), at = case(PLAIN, HALF)
    made = emulator()
    found = kernels.forward(x[:0], offset[:0], mask[:0], weight, bias, at)
    assert found.shape == (0, 32, 5, 19)
    gradients = kernels.backward(found, x[:0], offset[:0], mask[:0], weight, at)
    assert [g.shape for g in gradients] == [
        x[:0].shape,
        offset[:0].shape,
        mask[:0].shape,
        weight.shape,
    ]
    assert not gradients[3].any()
    assert not made.launched


def test_what_kernels_refuse():
    (x, offset, mask, weight, _), at = case(PLAIN, FLOAT)
    assert not kernels.refusal(x, offset, mask, weight, at)
    assert "float64" in kernels.refusal(x.double(), offset, mask, weight, at)
    assert "float64" in kernels.refusal(x, offset.double(), mask, weight, at)
    large = torch.empty(1, 1, device="meta").expand(1, 1).as_strided((1, 1, 2**15, 2**15), (0,) * 4)
    assert "too large" in kernels.refusal(large, offset, mask, weight, at)
    many = torch.empty(1, 60 * 49, 1, 1)
    assert "too many taps" in kernels.refusal(x, offset, many, weight, Geometry(7, 7, 1, 1, 1))


# What each line is to be replaced by; with it the result must be wrong.
MISTAKES = {
    "none": ("tap", "tap"),
    "no barrier before multiplying": (
        "            wait_for_copies();\n            __syncthreads();\n",
        "            wait_for_copies();\n",
    ),
    "no barrier before sampling": (
        "    place_wishes(0);\n    __syncthreads();\n",
        "    place_wishes(0);\n",
    ),
    "no barrier before the result": (
        "    __syncthreads();  // others may still multiply what lies where the result goes\n",
        "",
    ),
    "copies are not waited for": ("            wait_for_copies();\n", ""),
    "a is not doubled": (
        "u16* const to = a + step % 2 * (PIXELS * ROW);",
        "u16* const to = a;",
    ),
    "the spots are not doubled": ("tap % 2 * (GROUPS * WEIGHTS_ROW)", "0"),
    "wrong buffer of b": (
        "const u16* const from_b = b + step % 2",
        "const u16* const from_b = b + (step + 1) % 2",
    ),
    "wrong lanes of b": ("lane / 16 * 8 + lane % 8;", "lane / 8 % 2 * 8 + lane % 8;"),
    "wrong lanes of a": ("lane / 16 * 8);", "lane / 8 % 2 * 8);"),
    "fragments of b exchanged": (
        "left_side[m], right_side[0], right_side[1]",
        "left_side[m], right_side[0], right_side[2]",
    ),
    "x and y exchanged": (
        "offset[offset_at]), offset_to_float(offset[offset_at + s.offset_channel])",
        "offset[offset_at + s.offset_channel]), offset_to_float(offset[offset_at])",
    ),
    "the border repeats": ("if (y >= height - 1) down = 0.f;", ""),
    "the border's last row is lost": (
        "(u32)y < (u32)(height - 1) ? 2u",
        "(u32)y < (u32)(height - 2) ? 2u",
    ),
    "outside weighs": ("nothing = at.mask * 0.f;", "nothing = at.mask;"),
    "the same tap again": ("offset_at[j] += 2 * s.offset_channel;", ""),
    "the result beside its place": (
        "out[(row * s.out_width + col) * s.out_pixel",
        "out[(row * s.out_width + col + 1) % (s.out_width * s.out_height) * s.out_pixel",
    ),
}


def seen(kernel, mistake, emulator, check):
    """Whether a check fails with a mistake in the source; in a child, since it may crash."""
    before, after = mistake

    def change(name, source):
        if name != kernel:
            return source
        assert before in source, "nothing to replace"
        return source.replace(before, after)

    child = os.fork()
    if child == 0:
        code = 3
        faulthandler.disable()
        try:
            torch.set_num_threads(1)
            emulator(change)
            code = 0 if check() else 1
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status != 3 << 8, "the check itself broke"
    return status != 0


@needs_gxx
@pytest.mark.usefixtures("pixel_by_pixel")
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_the_kernel_are_found(mistake, emulator, monkeypatch):
    """The tests above would fail, were the source wrong."""
    tensors, at = case((1, 32, 24, 5, 19, 4, 3), HALF)
    _, right = exactly(tensors, at)
    monkeypatch.setattr(kernels, "FUSED", {64: Tile(4, 256, 2)})
    poisoned(monkeypatch)

    def check():
        return error(kernels.forward(*tensors, at), right) < 10 * FORWARD[HALF]

    assert seen("convolve", MISTAKES[mistake], emulator, check) == (mistake != "none")


# Those of offsets that lie pixel by pixel begin with "last".
GROUP_MISTAKES = {
    "none": ("tap", "tap"),
    "no barrier before multiplying": (
        "            wait_for_copies();\n            __syncthreads();\n",
        "            wait_for_copies();\n",
    ),
    "copies are not waited for": ("            wait_for_copies();\n", ""),
    "a is not doubled": ("OWN ? a : a + step % 2 * (PIXELS * ROW)", "a"),
    "a is not doubled though others multiply it": (
        "#define OWN (SHARES == 1 &&",
        "#define OWN (1 ||",
    ),
    "the first group's plane": ("(j + one) * group_pixels", "one * group_pixels"),
    "the first chunk's planes": ("origin += CHUNK_GROUPS * group_pixels;", ""),
    "the other picture's planes": ("group * s.pictures + picture", "group * s.pictures"),
    "the border above repeats": ("within(at.y, -2.f", "within(at.y, 0.f"),
    "the border below repeats": ("(float)s.height)", "(float)(s.height - 1))"),
    "the border on the right repeats": ("(float)s.width)", "(float)(s.width - 1))"),
    "the kernel's taps in another order": ("turns ? 0 : tap + 1, chunk", "0, chunk"),
    "the same tap again": ("(CHUNK_GROUPS - 1) * TAPS + 1 : 1", "0 : 0"),
    "the second chunk is the first": ("(CHUNK_GROUPS - 1) * TAPS + 1 : 1", "1 - TAPS : 1"),
    "last, none": ("tap", "tap"),
    "last: no barrier after turning round": ("last barrier\n        __syncthreads();", "\n"),
    "last: masks exchanged": ("masks >> 16 : masks", "masks : masks >> 16"),
    "last: the first chunk's masks": ("(const char*)(mask + which)", "(const char*)mask"),
    "last: the first chunk's offsets": ("(offset + 2 * which)", "(offset)"),
    "last: beside the tile": ("tile.left + mine % TILE_COLUMNS, s.out_width", "0, s.out_width"),
}


@needs_gxx
@pytest.mark.parametrize("mistake", GROUP_MISTAKES)
def test_mistakes_by_group_are_found(mistake, emulator, monkeypatch):
    tile = GroupTile(rows=2, threads=64, blocks=2, across=2, chunk=16, together=1)
    monkeypatch.setattr(kernels, "BY_GROUP", tile)
    monkeypatch.setattr(kernels, "BY_GROUP_LAST", tile)
    options = {"last": (1, 2), "cut": PARTS[4]} if mistake.startswith("last") else {}
    tensors, at = case((2, 32, 24, 5, 37, 4, 3), HALF, **options)
    _, right = exactly(tensors, at)
    poisoned(monkeypatch)

    def check():
        return error(kernels.forward(*tensors, at), right) < 10 * FORWARD[HALF]

    found = seen("convolve_by_group", GROUP_MISTAKES[mistake], emulator, check)
    assert found == ("none" not in mistake)


LAYOUT_MISTAKES = {
    "none": ("row", "row"),
    "no zeros": ("found = {0, 0, 0, 0}", "found = {0x3c003c00, 0, 0, 0}"),
    "zeros too few on the left": ("column >= 2 &&", "column >= 1 &&"),
    "nothing behind the last row": (
        "blockIdx.x >= rows && group != GROUPS - 1",
        "blockIdx.x >= rows",
    ),
    "the wrong row": ("(row - 2) * width", "(row - 1) * width"),
    "the wrong group": ("group * rows + blockIdx.x", "(GROUPS - 1 - group) * rows + blockIdx.x"),
    "the first picture": ("(unsigned long long)picture * pixels", "0ull * pixels"),
    "a pixel's channels exchanged": ("= found;", "= {found.y, found.x, found.z, found.w};"),
}


@needs_gxx
@pytest.mark.parametrize("last", [(), (0,)], ids=["planes", "last"])
@pytest.mark.parametrize("mistake", LAYOUT_MISTAKES)
def test_mistakes_in_the_layout_are_found(mistake, last, emulator, monkeypatch):
    tensors, at = case((2, 32, 8, 4, 6, 4, 3), HALF, last=last)
    _, right = exactly(tensors, at)
    poisoned(monkeypatch)

    def check():
        return error(kernels.forward(*tensors, at), right) < 10 * FORWARD[HALF]

    assert seen("by_group", LAYOUT_MISTAKES[mistake], emulator, check) == (mistake != "none")


GRADIENT_MISTAKES = {
    "none": ("tap", "tap"),
    "no barrier after the slopes": (
        "    __syncthreads();\n    of_column += (long long)(first - s.first)",
        "    of_column += (long long)(first - s.first)",
    ),
    "no barrier before writing": (
        "    __syncthreads();\n    // These are laid out",
        "    // These",
    ),
    "a corner too many": ("if (y >= 0 && col >= 0) there |= 1u;", "there |= 1u;"),
    "half of the lanes": ("int other = LANES / 2; other > 0", "int other = LANES / 2; other > 1"),
    "the mask is forgotten": ("masked = pull * here.mask;", "masked = pull;"),
}


@needs_gxx
@pytest.mark.parametrize("mistake", GRADIENT_MISTAKES)
def test_mistakes_in_the_gradients_are_found(mistake, emulator):
    emulator()  # for turning the picture round
    tensors, at = case((1, 8, 4, 6, 7, 2, 3), FLOAT)
    inputs, right = exactly(tensors, at)
    pull = torch.randn(right.shape, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad(right, inputs[:4], pull.double())
    work = kernels._Work(*tensors[:4], at)
    pixels = work.batch * work.pixels
    of_column = pull.permute(0, 2, 3, 1).reshape(pixels, -1) @ work.kernel

    def check():
        of_x = torch.zeros_like(work.x)
        of_offset, of_mask = torch.empty_like(tensors[1]), torch.empty_like(tensors[2])
        work.gradients(0, pixels, of_column, of_x, of_offset, of_mask)
        found = (of_x.permute(0, 3, 1, 2), of_offset, of_mask)
        return all(error(a, b) < 1e-3 for a, b in zip(found, expected, strict=False))

    assert seen("gradients", GRADIENT_MISTAKES[mistake], emulator, check) == (mistake != "none")


@pytest.fixture
def chooses(monkeypatch):
    """The choice between kernels and plain torch, as on a card that has not been used yet."""
    monkeypatch.setattr(variants, "card_refusal", lambda device: "")
    monkeypatch.setattr(deform_conv, "DEVICES", ("cpu",))
    monkeypatch.setattr(deform_conv, "_told", set())
    monkeypatch.setattr(deform_conv, "_broken", {})
    monkeypatch.delenv(deform_conv.CHOICE, raising=False)


@needs_gxx
@pytest.mark.usefixtures("chooses")
@pytest.mark.parametrize("way", ["kernels", "plain", "too old", "float64", "determinism"])
def test_the_choice(way, emulator, monkeypatch, caplog):
    """One line in the log where plain torch runs though nobody asked for it."""
    tensors, at = case(PLAIN, FLOAT)
    inputs, right = exactly(tensors, at)
    expected = torch.autograd.grad(right.sum(), inputs[:4])
    made = emulator()
    said = {"float64": "no kernel for torch.float64"}.get(way)
    if way == "plain":
        monkeypatch.setenv(deform_conv.CHOICE, "torch")
        said = f"{deform_conv.CHOICE} asks for it"
    elif way == "too old":
        said = "a card of compute capability 7.5 is older than 8.0"
        monkeypatch.setattr(variants, "card_refusal", lambda device: said)
    elif way == "float64":
        tensors = [t.double() for t in tensors]
    elif way == "determinism":
        monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    for _ in range(2):
        found = deform_conv._convolve(*tensors, 1, 1, 1)
        pull = torch.ones_like(found)
        gradients = deform_conv._differentiate(pull, *tensors[:4], 1, 1, 1)
        assert error(found, right) < 1e-5
        for one, true in zip(gradients, expected, strict=True):
            assert error(one, true) < 1e-5
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (1 if said else 0)
    assert all(said in line for line in lines)
    assert ("im2col" in made.launched) == (way in ("kernels", "determinism"))
    assert ("gradients" in made.launched) == (way == "kernels")


@pytest.mark.usefixtures("chooses")
def test_what_cannot_be_compiled_is_said_once(monkeypatch, caplog):
    def kernel_on(device, variant):
        raise nvrtc.KernelError("cuModuleLoadData for im2col: no kernel image is available")

    monkeypatch.setattr(variants, "kernel_on", kernel_on)
    tensors, at = case(PLAIN, FLOAT)
    _, right = exactly(tensors, at)
    for _ in range(3):
        found = deform_conv._convolve(*tensors, 1, 1, 1)
        deform_conv._differentiate(torch.ones_like(found), *tensors[:4], 1, 1, 1)
        assert error(found, right) < 1e-5
    (line,) = caplog.records
    assert (line.name, line.levelname) == ("dvm.kernels", "WARNING")
    assert "no kernel image is available" in line.getMessage()


@pytest.fixture
def wanted(monkeypatch):
    """Variants that the calls below would launch, recorded instead."""
    found = {}

    def kernel_on(device, variant):
        return lambda grid, threads, arguments: found.setdefault(variant)

    monkeypatch.setattr(variants, "kernel_on", kernel_on)
    return found


@needs_compiler
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_without_spilling(architecture, wanted, monkeypatch):
    """For every kind of card: what our networks need, and odd sizes; in registers alone."""
    limits = LIMITS["large" if architecture in (80, 90) else "small"]
    monkeypatch.setattr(kernels, "shared_limit", lambda device: limits)
    for dtype in (HALF, BFLOAT, FLOAT):
        for channels, groups, kernel in ((48, 4, 3), (64, 8, 3), (256, 8, 3), (3, 3, 5)):
            shape = (1, channels, channels, 6, 6, groups, 1)
            tensors, at = case(shape, dtype, kernel=kernel)
            out = kernels.forward(*tensors, at)
            if channels in (48, 3):
                kernels.backward(out, *tensors[:4], at)
        for where in (HALF, FLOAT):
            shape = (1, 64, 64, 6, 6, 8, 1)
            tensors, at = case(shape, dtype, where=where, last=(0, 1, 2), cut=PARTS[8])
            kernels.forward(*tensors, at)
    names = [variant.name for variant in wanted]
    assert {name: names.count(name) for name in names} == {
        "channels_last": 2, "convolve": 2, "by_group": 2, "convolve_by_group": 6, "im2col": 12,
        "gradients": 6,
    }  # fmt: skip
    for variant in wanted:
        code = nvrtc.compiled(variant.source, variant.name, variant.flags, architecture)
        assert code.startswith(b"\x7fELF")
        assert stack_bytes(code, variant.name) == 0, variant


def stack_bytes(cubin, name):
    """Bytes of local memory per thread, from the machine code's own notes.

    They are in the section .nv.info: 0x04 0x11, length 8, symbol, bytes (EIATTR_FRAME_SIZE).
    """
    at = cubin.index(b"\x04\x11\x08\x00")
    return int.from_bytes(cubin[at + 8 : at + 12], "little")


@needs_compiler
def test_the_compilers_own_words_come_through():
    with pytest.raises(nvrtc.KernelError, match=r"nonsense does not compile for sm_90: .*error"):
        nvrtc.compiled("int nonsense(", "nonsense", [], 90)
