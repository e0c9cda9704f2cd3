"""The deformable convolution on the device against its specification on the CPU in float64."""

import pytest
import torch

from cuda_ops import taps
from cuda_ops.deform_conv import modulated_deform_conv2d, self_check
from cuda_ops.reference import modulated_deform_conv2d as specification

pytestmark = pytest.mark.gpu

# batch, channels, out, height, width, groups, stride, dilation, offsets in pixels
SHAPES = [
    (2, 64, 64, 45, 80, 8, 1, 1, 3),
    (3, 32, 24, 33, 57, 4, 1, 1, 30),
    (1, 16, 5, 17, 1, 2, 1, 1, 1),
    (2, 24, 8, 21, 19, 1, 2, 1, 2),
    (1, 128, 32, 13, 14, 4, 1, 2, 1e6),
]
ROUNDING = {torch.float32: 1e-5, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def case(shape, dtype):
    """x, offset (float32), mask, weight, bias on the CPU; and the options."""
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
    return (x, offset, mask, weight, bias), options


@pytest.mark.parametrize("budget", [1, 2**25])
@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", SHAPES)
def test_forward_and_backward(shape, dtype, budget, device, monkeypatch):
    monkeypatch.setitem(taps.BUDGET, device.type, budget)
    tensors, options = case(shape, dtype)
    exact = [t.double().requires_grad_() for t in tensors]
    right = specification(*exact, **options)
    pull = torch.randn(right.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    expected = torch.autograd.grad(right, exact, pull.double())
    mine = [t.to(device).requires_grad_() for t in tensors]
    found = modulated_deform_conv2d(*mine, **options)
    assert found.dtype == dtype
    gradients = torch.autograd.grad(found, mine, pull.to(device))
    for one, true in zip((found, *gradients), (right, *expected), strict=True):
        # Gathered numbers, each product of matrices and the result are rounded once each.
        assert (one.cpu() - true).norm() <= 3 * ROUNDING[dtype] * true.norm()


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


def test_channels_last(device):
    tensors, options = case(SHAPES[0], torch.float16)
    straight = modulated_deform_conv2d(*(t.to(device) for t in tensors), **options)
    last = [
        t.to(device, memory_format=torch.channels_last) if t.dim() == 4 else t.to(device)
        for t in tensors
    ]
    found = modulated_deform_conv2d(*last, **options)
    assert (found - straight).abs().max() < 4 * ROUNDING[torch.float16] * straight.abs().max()


def test_agrees_with_torchvision_there(device):
    from torchvision.ops import deform_conv2d

    assert self_check(device) < 1e-5
    tensors, options = case(SHAPES[0], torch.float32)
    x, offset, mask, weight, bias = (t.to(device) for t in tensors)
    theirs = deform_conv2d(x, offset, weight, bias, mask=mask, **options)
    assert (
        modulated_deform_conv2d(x, offset, mask, weight, bias, **options) - theirs
    ).abs().max() < 2e-5


def test_keeps_no_column(device):
    """A large picture needs less at its peak than nine gathered copies of it would take."""
    if device.type != "cuda":
        pytest.skip("only a CUDA device tells its peak")
    x, offset, mask, weight = (torch.rand(1, c, 540, 960, device=device) for c in (64, 36, 18, 1))
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
