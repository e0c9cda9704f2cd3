"""The plain-torch deformable convolution against torchvision's."""

import pytest
import torch
from torchvision.ops import deform_conv2d

from cuda_ops.deform_conv import implementation, modulated_deform_conv2d, self_check


@pytest.mark.parametrize(
    ("batch", "channels", "out", "height", "width", "groups", "stride", "dilation"),
    [(2, 8, 5, 11, 13, 2, 1, 1), (1, 6, 4, 9, 7, 3, 2, 1), (1, 4, 4, 12, 10, 1, 1, 2)],
)
def test_agrees_with_torchvision(batch, channels, out, height, width, groups, stride, dilation):
    g = torch.Generator().manual_seed(7)
    out_h = (height + 2 - 2 * dilation - 1) // stride + 1
    out_w = (width + 2 - 2 * dilation - 1) // stride + 1
    x = torch.randn(batch, channels, height, width, generator=g)
    # Offsets far beyond the border must give zeros there, as torchvision does.
    offset = torch.randn(batch, 2 * groups * 9, out_h, out_w, generator=g) * 4
    mask = torch.rand(batch, groups * 9, out_h, out_w, generator=g)
    weight, bias = torch.randn(out, channels, 3, 3, generator=g), torch.randn(out, generator=g)
    options = {"stride": stride, "padding": 1, "dilation": dilation}
    ours = modulated_deform_conv2d(x, offset, mask, weight, bias, **options)
    theirs = deform_conv2d(x, offset, weight, bias, mask=mask, **options)
    assert (ours - theirs).abs().max() < 3e-5


def test_gradients_are_right():
    g = torch.Generator().manual_seed(1)
    x = torch.randn(1, 2, 5, 4, generator=g, requires_grad=True)
    offset = torch.rand(1, 18, 5, 4, generator=g).mul(0.6).add(0.2).requires_grad_()
    mask = torch.rand(1, 9, 5, 4, generator=g, requires_grad=True)
    weight = torch.randn(2, 2, 3, 3, generator=g, requires_grad=True)
    ours = modulated_deform_conv2d(x, offset, mask, weight, padding=1).square().sum()
    theirs = deform_conv2d(x, offset, weight, padding=1, mask=mask).square().sum()
    inputs = (x, offset, mask, weight)
    for mine, other in zip(
        torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs), strict=True
    ):
        assert torch.allclose(mine, other, rtol=1e-3, atol=1e-4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        modulated_deform_conv2d(
            torch.zeros(1, 2, 5, 5), torch.zeros(1, 10, 5, 5), torch.zeros(1, 9, 5, 5),
            torch.zeros(1, 2, 3, 3), padding=1,
        )  # fmt: skip


def test_self_check_is_small():
    assert self_check(torch.device("cpu")) < 1e-5
    assert implementation(torch.device("cpu")) == "plain torch on cpu"
