"""The deformable convolution against torchvision's, its specification, and torch's own checks."""

import pytest
import torch
from torchvision.ops import deform_conv2d

from cuda_ops import taps
from cuda_ops.deform_conv import implementation, modulated_deform_conv2d, self_check
from cuda_ops.reference import modulated_deform_conv2d as specification

# batch, channels, out, height, width, groups, kernel, stride, padding, dilation, offsets in pixels
SHAPES = [
    (2, 8, 5, 11, 13, 2, 3, 1, 1, 1, 4),
    (1, 6, 4, 9, 7, 3, 3, 2, 1, 1, 2),
    (1, 4, 4, 12, 10, 1, 3, 1, 1, 2, 1),
    (3, 8, 2, 5, 6, 8, 3, 1, 1, 1, 0),
    (1, 4, 3, 8, 9, 2, 5, 2, 2, 1, 3),
    (2, 3, 4, 7, 5, 1, 1, 1, 0, 1, 2),
    (2, 32, 16, 33, 29, 4, 3, 1, 1, 1, 30),
    (1, 4, 3, 1, 1, 2, 3, 1, 1, 1, 1),
    (1, 4, 3, 6, 7, 2, 3, 1, 1, 1, 1e7),
]
FORWARD = torch.ops.dvm.modulated_deform_conv2d.default
BACKWARD = torch.ops.dvm.modulated_deform_conv2d_backward.default


def case(shape, dtype=torch.float32, seed=7):
    """x, offset, mask, weight, bias; and the options."""
    batch, channels, out, height, width, groups, kernel, stride, padding, dilation, far = shape
    out_h, out_w = (
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size in (height, width)
    )
    k2 = kernel * kernel
    g = torch.Generator().manual_seed(seed)
    tensors = (
        torch.randn(batch, channels, height, width, generator=g),
        away_from_centres(torch.randn(batch, 2 * groups * k2, out_h, out_w, generator=g) * far),
        torch.rand(batch, groups * k2, out_h, out_w, generator=g),
        torch.randn(out, channels, kernel, kernel, generator=g) / (channels * k2) ** 0.5,
        torch.randn(out, generator=g),
    )
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    return [t.to(dtype) for t in tensors], options


def away_from_centres(offset):
    """On a pixel's centre the slope jumps, and rounding would decide which one is taken."""
    return offset.floor() + 0.1 + 0.8 * (offset - offset.floor())


def torchvisions(x, offset, mask, weight, bias, **options):
    return deform_conv2d(x, offset, weight, bias, mask=mask, **options)


@pytest.fixture(params=[1, 2**11, 2**20])
def budget(request, monkeypatch):
    """Taps one by one, a few together, all at once."""
    monkeypatch.setitem(taps.BUDGET, "cpu", request.param)


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_torchvision(shape):
    tensors, options = case(shape)
    ours = modulated_deform_conv2d(*tensors, **options)
    assert (ours - torchvisions(*tensors, **options)).abs().max() < 1e-5
    without = modulated_deform_conv2d(*tensors[:4], **options)
    assert (ours - without - tensors[4][:, None, None]).abs().max() < 1e-5


@pytest.mark.usefixtures("budget")
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_agree_with_torchvision(shape):
    tensors, options = case(shape, torch.float64)
    inputs = [t.requires_grad_() for t in tensors]
    theirs = torchvisions(*inputs, **options)
    pull = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(2)).double()
    expected = torch.autograd.grad(theirs, inputs, pull)
    for dtype, bound in ((torch.float64, 1e-9), (torch.float32, 2e-5)):
        mine = [t.detach().to(dtype).requires_grad_() for t in inputs]
        result = modulated_deform_conv2d(*mine, **options)
        for found, right in zip(
            torch.autograd.grad(result, mine, pull.to(dtype)), expected, strict=True
        ):
            assert found.dtype == dtype
            assert (found - right).abs().max() < bound * right.abs().max().clamp(min=1)


def test_gradcheck():
    tensors, options = case((2, 4, 3, 5, 4, 2, 3, 1, 1, 1, 2), torch.float64)
    inputs = [t.requires_grad_() for t in tensors]
    assert torch.autograd.gradcheck(lambda *t: modulated_deform_conv2d(*t, **options), inputs)


# torch's check looks at gradients of its own intermediate tensors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("strided", [False, True])
def test_opcheck(dtype, strided):
    shape = (2, 4, 3, 6, 5, 2, 3, 2 if strided else 1, 1, 1, 2)
    (x, offset, mask, weight, bias), options = case(shape, dtype)
    inputs = [t.requires_grad_() for t in (x, offset.float(), mask, weight, bias)]
    if strided:  # channels last
        inputs[0] = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    torch.library.opcheck(FORWARD, (*inputs, *options.values()))
    gradient = torch.ones_like(FORWARD(*inputs, *options.values())).detach()
    inputs = [t.detach() for t in inputs[:4]]
    torch.library.opcheck(BACKWARD, (gradient, *inputs, *options.values()))


@pytest.mark.parametrize("shape", SHAPES[:4])
def test_layout_does_not_matter(shape):
    tensors, options = case(shape)
    straight = modulated_deform_conv2d(*tensors, **options)
    last = [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    wider = [torch.stack((t, -t), -1)[..., 0] for t in tensors]
    assert not wider[0].is_contiguous()
    for other in (last, wider):
        inputs = [t.detach().requires_grad_() for t in other]
        found = modulated_deform_conv2d(*inputs, **options)
        assert found.is_contiguous()
        assert (found - straight).abs().max() < 1e-6
        # The gradient that comes back may be laid out strangely too.
        found.permute(0, 2, 3, 1).square().sum().backward()
        again = [t.detach().contiguous().requires_grad_() for t in other]
        modulated_deform_conv2d(*again, **options).square().sum().backward()
        assert all(
            torch.allclose(a.grad, b.grad, atol=1e-5) for a, b in zip(inputs, again, strict=True)
        )


@pytest.mark.parametrize("products", ["floats", "halves"])
@pytest.mark.parametrize(("dtype", "unit"), [(torch.float16, 2.0**-11), (torch.bfloat16, 2.0**-8)])
def test_half_precision_errs_by_its_rounding_only(dtype, unit, products, monkeypatch):
    """Against the specification in float64 of the very inputs: sums are not made in halves.

    Products of halves are what a GPU does; there each of them is rounded, here as well.
    """
    if products == "halves":
        monkeypatch.setattr(taps, "HALVES_PAY", ("cpu",))
        monkeypatch.setitem(taps.BUDGET, "cpu", 2**17)  # two taps at a time
    (x, offset, mask, weight, bias), options = case((2, 64, 8, 21, 19, 4, 3, 1, 1, 1, 5))
    inputs = [t.to(dtype).requires_grad_() for t in (x, mask, weight, bias)]
    where = offset.to(torch.float16).requires_grad_()
    exact = [t.detach().double().requires_grad_() for t in (*inputs, where)]
    found = modulated_deform_conv2d(inputs[0], where, *inputs[1:], **options)
    right = specification(exact[0], exact[4], *exact[1:4], **options)
    assert found.dtype == dtype
    assert (found - right).norm() < 0.6 * unit * right.norm()
    pull = torch.randn(right.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    mine = torch.autograd.grad(found, [*inputs, where], pull)
    for one, true in zip(mine, torch.autograd.grad(right, exact, pull.double()), strict=True):
        assert (one - true).norm() < unit * true.norm()
    assert [g.dtype for g in mine] == [dtype] * 4 + [torch.float16]


def test_autocast_leaves_offsets_alone():
    (x, offset, mask, weight, bias), options = case((1, 16, 8, 16, 16, 2, 3, 1, 1, 1, 15))
    inputs = [t.requires_grad_() for t in (x, offset, mask, weight, bias)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = modulated_deform_conv2d(*inputs, **options)
    halves = [t.detach().bfloat16() for t in (x, mask, weight, bias)]
    right = modulated_deform_conv2d(halves[0], offset.detach(), *halves[1:], **options)
    rounded = offset.detach().bfloat16().float()
    coarse = modulated_deform_conv2d(halves[0], rounded, *halves[1:], **options)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, right)
    assert not torch.equal(coarse, right)  # so the equality above says something
    found.float().sum().backward()
    assert all(t.grad.dtype == torch.float32 for t in inputs)


def test_float64_stays_under_autocast():
    tensors, options = case(SHAPES[0], torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = modulated_deform_conv2d(*tensors, **options)
    assert torch.allclose(found, specification(*tensors, **options), atol=1e-12)


def test_coarse_offsets_are_refused():
    (x, offset, mask, weight, bias), options = case(SHAPES[0], torch.bfloat16)
    with pytest.raises(ValueError, match="too coarse for positions"):
        modulated_deform_conv2d(x, offset, mask, weight, bias, **options)


def test_mixed_types_are_refused():
    (x, offset, mask, weight, bias), options = case(SHAPES[0])
    with pytest.raises(ValueError, match="types do not fit"):
        modulated_deform_conv2d(x, offset, mask, weight.double(), bias, **options)


@pytest.mark.parametrize(
    ("x", "offset", "mask", "weight", "bias"),
    [
        ((1, 2, 5, 5), (1, 10, 5, 5), (1, 9, 5, 5), (1, 2, 3, 3), None),  # offset's channels
        ((1, 2, 5, 5), (1, 18, 5, 5), (1, 5, 5, 5), (1, 2, 3, 3), None),  # not one group
        ((1, 2, 5, 5), (1, 54, 5, 5), (1, 27, 5, 5), (1, 2, 3, 3), None),  # groups do not divide C
        ((1, 2, 5, 5), (1, 18, 4, 5), (1, 9, 5, 5), (1, 2, 3, 3), None),  # sizes
        ((1, 2, 5, 5), (1, 18, 4, 4), (1, 9, 4, 4), (1, 2, 3, 3), None),  # not what padding gives
        ((1, 2, 5, 5), (1, 18, 5, 5), (1, 9, 5, 5), (1, 3, 3, 3), None),  # weight's channels
        ((2, 2, 5, 5), (1, 18, 5, 5), (1, 9, 5, 5), (1, 2, 3, 3), None),  # batch
        ((1, 2, 5, 5), (1, 18, 5, 5), (1, 9, 5, 5), (1, 2, 3, 3), (2,)),  # bias
        ((2, 5, 5), (18, 5, 5), (9, 5, 5), (1, 2, 3, 3), None),  # no batch
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, offset, mask, weight, bias):
    tensors = [None if s is None else torch.zeros(s) for s in (x, offset, mask, weight, bias)]
    for refuse in (modulated_deform_conv2d, specification):
        with pytest.raises(ValueError, match="shapes do not fit"):
            refuse(*tensors, padding=1)


def test_no_gradient_is_made_that_nobody_asked_for():
    tensors, options = case(SHAPES[0])
    assert not modulated_deform_conv2d(*tensors, **options).requires_grad
    with torch.no_grad():
        assert not modulated_deform_conv2d(
            tensors[0].requires_grad_(), *tensors[1:], **options
        ).requires_grad


class Layer(torch.nn.Module):
    def forward(self, x, offset, mask, weight, bias):
        return modulated_deform_conv2d(x, offset, mask.sigmoid(), weight, bias, padding=1).relu()


def test_export_keeps_one_node():
    tensors, _ = case(SHAPES[0])
    program = torch.export.export(Layer(), tuple(tensors))
    calls = [str(n.target) for n in program.graph.nodes if n.op == "call_function"]
    assert calls.count("dvm.modulated_deform_conv2d.default") == 1
    assert not [c for c in calls if "grid_sample" in c or "mm" in c], calls
    assert torch.equal(program.module()(*tensors), Layer()(*tensors))


def test_compiled_equals_eager():
    tensors, _ = case(SHAPES[0])
    results = []
    for call in (Layer(), torch.compile(Layer(), backend="aot_eager", fullgraph=True)):
        inputs = [t.clone().requires_grad_() for t in tensors]
        out = call(*inputs)
        results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_self_check_is_small():
    assert self_check(torch.device("cpu")) < 1e-5
    assert implementation(torch.device("cpu")) == "plain torch on cpu"
