"""The deformable convolution on the device against its specification on the CPU in float64."""

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from cuda_ops import deform_conv, kernels, taps, variants
from cuda_ops.deform_conv import CHOICE, implementation, modulated_deform_conv2d, self_check
from cuda_ops.reference import modulated_deform_conv2d as specification

pytestmark = pytest.mark.gpu

# batch, channels, out, height, width, groups, stride, dilation, offsets in pixels
SHAPES = [
    (2, 64, 64, 45, 80, 8, 1, 1, 3),
    (3, 32, 24, 33, 57, 4, 1, 1, 30),
    (2, 48, 48, 17, 31, 4, 1, 1, 4),
    (1, 16, 5, 17, 1, 2, 1, 1, 1),
    (2, 24, 8, 21, 19, 1, 2, 1, 2),
    (1, 128, 32, 13, 14, 4, 1, 2, 1e6),
    (1, 256, 256, 19, 23, 8, 1, 1, 5),
    (2, 512, 64, 9, 10, 16, 1, 1, 3),
    (1, 1024, 40, 6, 9, 8, 1, 1, 2),
    (1, 6, 3, 12, 11, 3, 1, 1, 2),
]
HALF, BFLOAT, FLOAT = torch.float16, torch.bfloat16, torch.float32
ROUNDING = {FLOAT: 1e-5, HALF: 2.0**-11, BFLOAT: 2.0**-8}
FORWARD = torch.ops.dvm.modulated_deform_conv2d.default
BACKWARD = torch.ops.dvm.modulated_deform_conv2d_backward.default


@pytest.fixture(autouse=True)
def as_installed(monkeypatch):
    monkeypatch.delenv(CHOICE, raising=False)


@pytest.fixture
def cuda(device):
    if device.type != "cuda":
        pytest.skip("there are no kernels on the CPU")
    return device


def case(shape, dtype, where=FLOAT):
    """x, offset, mask, weight, bias on the CPU; and the options."""
    batch, channels, out, height, width, groups, stride, dilation, far = shape
    out_h, out_w = ((s + 2 * dilation - 2 * dilation - 1) // stride + 1 for s in (height, width))
    g = torch.Generator().manual_seed(11)
    offset = torch.randn(batch, 18 * groups, out_h, out_w, generator=g) * far
    # On a pixel's centre the slope jumps, and rounding would decide which one is taken.
    offset = offset.floor() + 0.1 + 0.8 * (offset - offset.floor())
    others = (
        torch.randn(batch, channels, height, width, generator=g),
        torch.rand(batch, 9 * groups, out_h, out_w, generator=g),
        torch.randn(out, channels, 3, 3, generator=g) / (9 * channels) ** 0.5,
        torch.randn(out, generator=g),
    )
    x, mask, weight, bias = (t.to(dtype) for t in others)
    options = {"stride": stride, "padding": dilation, "dilation": dilation}
    return (x, offset.to(where), mask, weight, bias), options


def laid_out(tensors, layout):
    return [t.contiguous(memory_format=layout) if t.dim() == 4 else t for t in tensors]


def as_parts(offset, mask):
    """The same as parts of larger tensors, as networks have them: two of one if types agree."""
    channels = offset.shape[1]
    together = [torch.cat([offset.to(dtype), mask.to(dtype)], 1) for dtype in
                (offset.dtype, mask.dtype)]  # fmt: skip
    whole = laid_out(together, torch.channels_last)
    return whole[0][:, :channels], whole[1][:, channels:]


def check(shape, dtype, device, layout=torch.contiguous_format, where=FLOAT, parts=False):
    tensors, options = case(shape, dtype, where)
    exact = [t.double().requires_grad_() for t in tensors]
    right = specification(*exact, **options)
    pull = torch.randn(right.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = torch.autograd.grad(right, exact, pull.double())
    mine = [t.to(device) for t in laid_out(tensors, layout)]
    if parts:
        mine[1:3] = as_parts(*mine[1:3])
    mine = [t.requires_grad_() for t in mine]
    found = modulated_deform_conv2d(*mine, **options)
    assert found.dtype == dtype
    gradients = torch.autograd.grad(found, mine, pull.to(device))
    for one, true, given in zip((found, *gradients), (right, *expected), (tensors[0], *tensors),
                                strict=True):  # fmt: skip
        # Gathered numbers, each product of matrices and the result are rounded once each.
        bound = 3 * max(ROUNDING[dtype], ROUNDING[given.dtype])
        assert (one.cpu() - true).norm() <= bound * true.norm()
    return found, gradients


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_forward_and_backward(shape, dtype, layout, device):
    found, gradients = check(shape, dtype, device, layout)
    if device.type == "cuda" and min(shape[3:5]) > 1:
        last = layout == torch.channels_last
        assert kernels.is_channels_last(found) == last
        assert kernels.is_channels_last(gradients[0]) == last


@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_offsets_in_halves(dtype, device):
    check(SHAPES[0], dtype, device, where=HALF)
    check(SHAPES[6], dtype, device, torch.channels_last, where=HALF)


@pytest.mark.parametrize("where", [HALF, FLOAT], ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", [*SHAPES[:4], SHAPES[6]], ids=str)
def test_parts_of_larger_tensors(shape, dtype, where, device):
    check(shape, dtype, device, torch.channels_last, where, parts=True)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("dtype", [HALF, BFLOAT], ids=str)
def test_pixel_by_pixel(dtype, layout, cuda, monkeypatch):
    """A picture that would lie group by group by default."""
    monkeypatch.setattr(variants, "_ready", {})
    monkeypatch.setattr(kernels, "BY_GROUP", None)
    monkeypatch.setattr(kernels, "BY_GROUP_LAST", None)
    check(SHAPES[0], dtype, cuda, layout)
    assert "by_group" not in {variant.name for _, variant in variants._ready}


@pytest.mark.parametrize("budget", [1, 2**25])
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("shape", SHAPES[:5], ids=str)
def test_plain_torch(shape, dtype, budget, device, monkeypatch):
    monkeypatch.setenv(CHOICE, "torch")
    monkeypatch.setitem(taps.BUDGET, device.type, budget)
    check(shape, dtype, device)


def test_kernels_run(cuda):
    assert implementation(cuda).startswith("CUDA kernels for compute capability ")
    variants._ready.clear()
    for shape in (SHAPES[0], SHAPES[2], SHAPES[7]):
        check(shape, HALF, cuda)
    names = {variant.name for _, variant in variants._ready}
    assert names == {
        "channels_last", "by_group", "convolve_by_group", "convolve", "im2col", "gradients",
    }  # fmt: skip
    assert implementation(cuda).startswith("CUDA kernels for compute capability ")


def test_autocast_leaves_offsets_alone(device):
    tensors, options = case(SHAPES[1], torch.float32)
    x, offset, mask, weight, bias = (t.to(device).requires_grad_() for t in tensors)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        found = modulated_deform_conv2d(x, offset, mask, weight, bias, **options)
    halves = [t.detach().bfloat16() for t in (x, mask, weight, bias)]
    right = modulated_deform_conv2d(halves[0], offset.detach(), *halves[1:], **options)
    assert torch.equal(found, right)
    found.float().square().sum().backward()
    assert offset.grad.dtype == torch.float32
    assert torch.isfinite(offset.grad).all()


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[6]], ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_the_same_again_to_the_bit(shape, dtype, device):
    tensors, options = case(shape, dtype)
    there = [t.to(device) for t in tensors]
    first = modulated_deform_conv2d(*there, **options)
    assert all(torch.equal(first, modulated_deform_conv2d(*there, **options)) for _ in range(5))


@pytest.mark.parametrize("shape", [(1, 16, 5, 17, 8, 2, 1, 1, 1), SHAPES[6]], ids=str)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
def test_positions_that_are_none(shape, dtype, cuda):
    """NaN looks at nothing we know; infinity, and whatever lies far outside, at zeros."""
    (x, offset, mask, weight, bias), options = case(shape, dtype)
    x[0, :, 0, 0] = float("inf")  # is not what is outside
    offset[0, :, 12] = 1000
    for i, far in enumerate([float("inf"), -float("inf"), 3e38, -1e9, 2**31, -(2.0**31)]):
        offset[0, i, 12, 2] = far
    offset[0, 4, 15, 3] = float("nan")
    there = [t.to(cuda) for t in (x, offset, mask, weight, bias)]
    found = modulated_deform_conv2d(*there, **options).cpu()
    assert torch.equal(found[0, :, 12], bias[:, None].expand_as(found[0, :, 12]))
    assert found[0, :, 15, 3].isnan().all()
    assert not found[0, :, 15, 4].isnan().any()


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[6]], ids=str)
def test_on_another_stream(shape, cuda):
    tensors, options = case(shape, HALF)
    there = [t.to(cuda) for t in tensors]
    right = modulated_deform_conv2d(*there, **options)
    torch.cuda.synchronize(cuda)
    side = torch.cuda.Stream(cuda)
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # what is behind it must wait for it
        x = there[0] * 2
        x.div_(2)
        found = modulated_deform_conv2d(x, *there[1:], **options)
    side.synchronize()
    assert torch.equal(found, right)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[2], SHAPES[6]], ids=str)
def test_in_a_cuda_graph(shape, layout, cuda):
    tensors, options = case(shape, HALF)
    there = [t.to(cuda) for t in laid_out(tensors, layout)]
    with torch.no_grad():
        side = torch.cuda.Stream(cuda)
        side.wait_stream(torch.cuda.current_stream(cuda))
        with torch.cuda.stream(side):
            modulated_deform_conv2d(*there, **options)
        torch.cuda.current_stream(cuda).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = modulated_deform_conv2d(*there, **options)
        for factor in (1, -0.5):
            there[0] *= factor
            there[1] += 0.7
            found.fill_(float("nan"))
            graph.replay()
            right = modulated_deform_conv2d(*there, **options)
            # cuBLAS may choose otherwise while it is recorded.
            assert (found - right).norm() <= ROUNDING[HALF] * right.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_what_torch_expects_of_it_is_so(layout, device):
    """Layouts and types are what the operator promises without computing."""
    tensors, options = case((2, 32, 16, 9, 11, 4, 1, 1, 2), HALF)
    inputs = [t.to(device) for t in laid_out(tensors, layout)]
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(FORWARD, (*inputs, *options.values()), test_utils=checks)
    gradient = torch.ones_like(FORWARD(*inputs, *options.values()))
    arguments = (gradient, *inputs[:4], *options.values())
    torch.library.opcheck(BACKWARD, arguments, test_utils=checks)


def test_what_breaks_falls_back(cuda, monkeypatch, caplog):
    monkeypatch.setattr(variants, "_ready", {})
    monkeypatch.setattr(deform_conv, "_told", set())
    monkeypatch.setattr(deform_conv, "_broken", {})
    monkeypatch.setattr(variants.Variant, "source", property(lambda self: "nonsense"))
    with caplog.at_level(logging.WARNING, "dvm"):
        check(SHAPES[1], HALF, cuda)
        check(SHAPES[1], HALF, cuda)
    (line,) = caplog.records
    assert "does not compile for sm_" in line.getMessage()
    assert implementation(cuda).startswith("plain torch on cuda: ")


def test_agrees_with_torchvision_there(device):
    from torchvision.ops import deform_conv2d

    assert self_check(device) < 1e-5
    tensors, options = case(SHAPES[0], torch.float32)
    x, offset, mask, weight, bias = (t.to(device) for t in tensors)
    theirs = deform_conv2d(x, offset, weight, bias, mask=mask, **options)
    assert (
        modulated_deform_conv2d(x, offset, mask, weight, bias, **options) - theirs
    ).abs().max() < 2e-5


@pytest.mark.parametrize("way", ["kernels", "torch"])
def test_keeps_no_column(way, cuda, monkeypatch):
    """A large picture needs less at its peak than nine gathered copies of it would take.

    On a card of 8 GiB: a larger one may hold all of them.
    """
    monkeypatch.setenv(CHOICE, way)
    monkeypatch.setattr(kernels, "card_memory", lambda device: 2**33)
    device = cuda
    x, offset, mask = (torch.rand(1, c, 540, 960, device=device) for c in (64, 36, 18))
    weight = torch.rand(64, 64, 3, 3, device=device)
    column = 9 * x.numel() * x.element_size()

    def peak():
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device)

    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    with torch.no_grad():
        modulated_deform_conv2d(x, offset, mask, weight, padding=1)
    assert peak() - before < 0.5 * column
    inputs = [t.requires_grad_() for t in (x, offset, mask, weight)]
    kept = modulated_deform_conv2d(*inputs, padding=1)
    assert torch.cuda.memory_allocated(device) - before < 0.2 * column
    torch.cuda.reset_peak_memory_stats(device)
    kept.sum().backward()
    assert peak() - before < column


SANITIZED = """
import torch
from cuda_ops.deform_conv import modulated_deform_conv2d

for channels, groups, dtype in ((64, 8, torch.float16), (48, 4, torch.bfloat16),
                                (256, 8, torch.float16), (6, 3, torch.float32)):
    inputs = [torch.randn(shape, device="cuda", dtype=dtype).requires_grad_() for shape in (
        (1, channels, 9, 21), (1, 18 * groups, 9, 21), (1, 9 * groups, 9, 21),
        (channels, channels, 3, 3), (channels,))]
    inputs[1] = (4 * inputs[1].detach().float()).requires_grad_()
    modulated_deform_conv2d(*inputs, padding=1).sum().backward()
    found = torch.cat(inputs[1:3], 1).detach().to(memory_format=torch.channels_last)
    halves = found.to(dtype)
    inputs[1:3] = found[:, : 18 * groups], halves[:, 18 * groups :]
    modulated_deform_conv2d(*inputs, padding=1).sum().backward()
torch.cuda.synchronize()
print("done")
"""


@pytest.mark.parametrize("tool", ["memcheck", "racecheck"])
def test_compute_sanitizer_finds_nothing(tool, cuda):
    program = shutil.which("compute-sanitizer")
    if program is None:
        pytest.skip("compute-sanitizer is not installed")
    # What the libraries try out and handle themselves is no error of a kernel.
    quiet = ["--report-api-errors", "no"] if tool == "memcheck" else []
    command = [program, "--tool", tool, *quiet, "--error-exitcode", "9"]
    done = subprocess.run(
        [*command, sys.executable, "-c", SANITIZED],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False, timeout=170,
        env=os.environ | {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},
    )  # fmt: skip
    said = done.stdout + done.stderr
    if "Device not supported" in said or "device is not supported" in said:
        pytest.skip("compute-sanitizer: Device not supported")
    assert done.returncode == 0, said[-4000:]
    assert "done" in said
