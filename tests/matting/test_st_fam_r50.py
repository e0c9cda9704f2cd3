"""`st_fam_r50`: that it is the published network, and that its fast form is its plain one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from cuda_ops import maps, variants
from cuda_ops.deform_conv import modulated_deform_conv2d
from model.engine import EngineOptions
from model.errors import SetupError
from model.exposure import ExposureMap
from model.face import Frame
from model.networks.r50_decoder import Rise
from model.networks.r50_encoder import R50Encoder
from model.networks.r50_fast import FastR50
from model.networks.r50_published_names import published_name
from model.networks.r50_regions import Region
from model.networks.r50_sampling import Looks
from model.networks.r50_winograd import Convolve3
from model.networks.st_fam_r50 import (
    MEAN,
    SPREAD,
    StFamR50,
    StFamR50Matting,
    open_network,
    padded,
    planes_of,
)
from model.passes import blocks
from model.pipeline import ShotMatte, open_engine
from model.registry import find
from model.view import LightView
from tests.matting.r50_material import NARROW, narrow_checkpoint, network_by_rule
from tests.ops.cuda_on_cpu import OPERATOR, Emulator, needs_gxx

CPU = torch.device("cpu")
GOLDEN = Path(__file__).parents[1] / "golden" / "dvm"
WIDE = (64, 256, 512, 1024, 2048)


def test_names_and_shapes_are_the_published_ones():
    with torch.device("meta"):
        network = StFamR50()
    found = {published_name(k): list(v.shape) for k, v in network.state_dict().items()}
    assert found == json.loads((GOLDEN / "state_dict.json").read_text(encoding="utf-8"))
    assert sum(p.numel() for p in network.parameters()) == 319_178_764


def test_by_deconv_names_and_shapes_are_the_published_ones():
    """But for ``rs``, which the published network then has, too, and never looks at."""
    with torch.device("meta"):
        network = StFamR50(upsample="deconv")
    found = {published_name(k): list(v.shape) for k, v in network.state_dict().items()}
    golden = json.loads((GOLDEN / "state_dict.json").read_text(encoding="utf-8"))
    right = {name: shape for name, shape in golden.items() if ".rs." not in name}
    outside = (64, 64, 256, 512, 1024)
    for level, (inside, channels) in enumerate(zip(WIDE, outside, strict=True)):
        right[f"decoder.deconv{level}.up_deconv.weight"] = [inside, channels, 4, 4]
        right[f"decoder.deconv{level}.up_deconv.bias"] = [channels]
    assert found == right


def test_by_deconv_each_pixel_is_spread_over_four_by_four():
    """Below zero, too: there is no ReLU before what is beside it."""
    torch.manual_seed(0)
    rise = Rise(3, 2, 1, "deconv").eval().requires_grad_(False)
    x, skip = torch.randn(1, 3, 2, 3), torch.randn(1, 1, 4, 6)
    up = rise.enlarge.bias[None, :, None, None].repeat(1, 1, 4 + 2, 6 + 2)  # a pixel around it
    for row in range(2):
        for column in range(3):
            part = torch.einsum("c,cokl->okl", x[0, :, row, column], rise.enlarge.weight)
            up[0, :, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += part
    up = up[..., 1:-1, 1:-1]
    assert up.min() < -0.1
    joined = rise.join_norm(rise.join(torch.cat([up, skip], 1))).relu()
    assert (rise(x, skip) - joined).abs().max() < 1e-6


def test_another_way_to_double_sizes_is_refused():
    with pytest.raises(ValueError, match="upsample 'bilinear' is none of shuffle, deconv"):
        StFamR50(NARROW, upsample="bilinear")


def test_a_name_that_no_part_has():
    with pytest.raises(ValueError, match=r"no tensor called decoder\.deconv"):
        published_name("decoder.deconv.weight")


@torch.inference_mode()
def test_it_answers_what_the_published_network_answers():
    """At the published widths, both forms; takes ten seconds and 3 GB."""
    golden = np.load(GOLDEN / "golden.npz")
    network = network_by_rule()
    picture = torch.from_numpy(golden["rgb"]).float() / 255
    trimap = torch.from_numpy(golden["trimap"]).float() / 255
    mean, spread = (torch.tensor(one)[:, None, None] for one in (MEAN, SPREAD))
    planes = torch.cat([(picture - mean) / spread, trimap], 1)
    # That the face makes the same of a frame, 0.5 of a trimap being 128/255.
    ours = planes_of(picture, torch.where(trimap == 128 / 255, 0.5, trimap))
    assert (ours - planes).abs().max() < 1e-6
    found = network(planes)
    assert np.abs(found.coarse.numpy() - golden["coarse"]).max() < 1e-4
    assert np.abs(found.alpha.numpy() - golden["refined"]).max() < 1e-4
    for level, mean in zip(found.fused, golden["fus"], strict=True):
        assert float(level.double().mean()) == pytest.approx(mean, rel=1e-3)
    for level, mean in zip(network.encoder(planes), golden["enc"], strict=True):
        assert float(level.double().mean()) == pytest.approx(mean, rel=1e-3)
    fast = FastR50(network)
    maps = [fast.encode(one) for one in planes.split(1)]
    for place in (0, 1):
        unknown = trimap[place + 2 : place + 3] == 128 / 255
        answer = fast.decode(maps[place : place + 3], unknown)
        for name, ours in (("coarse", answer.coarse), ("refined", answer.alpha)):
            right = torch.from_numpy(golden[name][place : place + 1])
            assert (ours - right)[unknown].abs().max() < 1e-4


@torch.inference_mode()
def test_the_encoder_is_a_resnet_50():
    """With three of its four planes; torchvision's is an independent second implementation."""
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50(weights=None).eval()
    names = {published_name(f"encoder.{n}"): n for n in R50Encoder(WIDE).state_dict()}
    state = {names[f"encoder.{n}"]: v for n, v in theirs.state_dict().items() if n[:3] != "fc."}
    state["conv.weight"] = torch.cat([state["conv.weight"], torch.randn(64, 1, 7, 7)], 1)
    ours = R50Encoder(WIDE).eval()
    ours.load_state_dict(state)
    picture = torch.randn(1, 3, 64, 96)
    maps = ours(torch.cat([picture, torch.zeros(1, 1, 64, 96)], 1))
    x = theirs.relu(theirs.bn1(theirs.conv1(picture)))
    expected = [x]
    x = theirs.maxpool(x)
    for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        x = stage(x)
        expected.append(x)
    for found, right in zip(maps, expected, strict=True):
        assert (found - right).abs().max() < 1e-4 * right.abs().max()


@pytest.fixture(
    scope="module",
    params=[
        pytest.param({}, id="published"),
        pytest.param({"shift": 1, "refine": False}, id="one frame back, not refined"),
        pytest.param({"shift": 0, "upsample": "deconv"}, id="single frames, by deconv"),
    ],
)
def forms(request):
    network = network_by_rule(NARROW, **request.param)
    return network, StFamR50Matting(network)


def clip(height: int, width: int, unknown: str, count: int = 4) -> list[Frame]:
    g = torch.Generator().manual_seed(height * width)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frames = []
    for i in range(count):
        trimap = (x > width // 2).float()
        if unknown == "everywhere":
            trimap[:] = 0.5
        elif unknown == "in the middle":
            trimap[(y - height // 2) ** 2 + (x - width // 2 - i) ** 2 < 40] = 0.5
        elif unknown == "at borders":
            trimap[(y < 3) | (x >= width - 2)] = 0.5
            trimap[-1, :3] = trimap[height // 2, 0] = 0.5
        elif unknown == "scattered":
            trimap[torch.rand(height, width, generator=g) < 0.003] = 0.5
            trimap[height // 3, width // 4] = 0.5
        picture = torch.rand(1, 3, height, width, generator=g)
        frames.append(Frame(1001 + i, picture, picture, trimap[None, None], "display"))
    return frames


@pytest.mark.parametrize("unknown", ["in the middle", "at borders", "scattered", "everywhere"])
@pytest.mark.parametrize(
    ("height", "width"), [(32, 224), (33, 225), (150, 301), (192, 352), (9, 7)]
)
@torch.inference_mode()
def test_the_fast_form_is_the_plain_one_where_it_is_unknown(forms, height, width, unknown):
    plain, fast = forms
    frames = clip(height, width, unknown)
    planes = torch.cat([planes_of(f.picture, f.trimap) for f in frames])
    encoded = [fast.encode(f, fast.prior(f)) for f in frames]
    for centre in (0, 1, 3):  # at the start of a clip its first frame stands in for those before
        around = [max(centre - back, 0) for back in reversed(range(plain.shift + 1))]
        answer = plain(planes[around])
        for side in (0, 64) if centre == 3 else (0,):
            found = fast.decode(encoded, centre, side)
            region = frames[centre].trimap == 0.5
            right = answer.alpha[..., :height, :width][region]
            assert (found.alpha[region] - right).abs().max() < 1e-4
            assert torch.equal(found.alpha[~region], frames[centre].trimap[~region])
            assert torch.equal(found.confidence[~region], torch.ones(int((~region).sum())))
            if plain.refine is not None:
                moved = (right - answer.coarse[..., :height, :width][region]).abs()
                assert (1 - found.confidence[region] - moved).abs().max() < 1e-4


@pytest.mark.parametrize(("height", "width"), [(33, 225), (150, 301)])
@torch.inference_mode()
def test_whole_frames_convolved_as_on_a_gpu_are_the_plain_form(forms, height, width):
    plain, _ = forms
    planes = torch.cat([planes_of(f.picture, f.trimap) for f in clip(height, width, "scattered")])
    fast = FastR50(plain, dense=True)
    window = [fast.encode(one) for one in planes[-1 - plain.shift :].split(1)]
    unknown = torch.ones_like(planes[:1, :1]).bool()
    found, answer = fast.decode(window, unknown), plain(planes[-1 - plain.shift :])
    assert (found.alpha - answer.alpha).abs().max() < 1e-4
    assert (found.coarse - answer.coarse).abs().max() < 1e-4
    by_region = fast.decode(window, unknown, 64)  # tiles are asked for
    assert (by_region.alpha - answer.alpha).abs().max() < 1e-4


@needs_gxx
@pytest.mark.parametrize("upsample", ["shuffle", "deconv"])
@torch.inference_mode()
def test_whole_frames_by_the_kernels_are_the_plain_form(upsample, built, monkeypatch):
    plain = network_by_rule(NARROW, upsample=upsample)
    planes = torch.cat([planes_of(f.picture, f.trimap) for f in clip(33, 225, "scattered")])[1:]
    emulator = Emulator(built, OPERATOR)
    monkeypatch.setattr(variants, "kernel_on", emulator.kernel_on)
    monkeypatch.setattr(maps, "takes", lambda x, channels, weight=None: channels % 4 == 0)
    fast = FastR50(plain, dense=True)
    window = [fast.encode(one) for one in planes.split(1)]
    found, answer = fast.decode(window, torch.ones_like(planes[:1, :1]).bool()), plain(planes)
    assert (found.alpha - answer.alpha).abs().max() < 1e-4
    assert (found.coarse - answer.coarse).abs().max() < 1e-4
    doubled = {"shuffled"} if upsample == "shuffle" else set()
    assert {"finish", "peaks"} | doubled == set(emulator.launched)


@pytest.mark.parametrize("channels", [16, 512])
def test_what_taps_see_is_what_the_operator_sees(channels):
    """At some pixels, and in the mean, which the CPU adds up by how often pixels are looked at and
    other devices by gathering. With many channels in a group rows of a table are added up."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, channels, 9, 13, generator=g)
    offset, mask = (
        torch.randn(2, 144, 9, 13, generator=g) * 3,
        torch.rand(2, 72, 9, 13, generator=g),
    )
    looks = Looks.of(x, offset, mask)
    gathered = torch.cat(list(looks._seen(None)), 3).mean(3).flatten(1)
    assert (looks.mean() - gathered).abs().max() < 1e-6
    weight = torch.randn(32, channels, 3, 3, generator=g) / channels**0.5
    bias = torch.randn(32, generator=g)
    right = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=1)
    some = torch.rand(9, 13, generator=g) < 0.3
    by_taps = weight.permute(0, 2, 3, 1).flatten(1)
    found = looks.convolved(weight, by_taps, bias, Region.of(some))
    assert (found - right[:, :, some].permute(2, 0, 1).flatten(1)).abs().max() < 1e-4
    assert (gathered @ weight.flatten(1).T + bias - right.mean((2, 3))).abs().max() < 1e-4


@pytest.mark.parametrize("width", [8, 13, 14, 15])
@pytest.mark.parametrize("bias", [False, True])
def test_half_of_the_multiplications_make_the_same_convolution(width, bias):
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(256, 24, 3, padding=1, bias=bias).requires_grad_(False)
    x = torch.randn(2, 256, 5, width).contiguous(memory_format=torch.channels_last)
    found = Convolve3(conv.weight, conv.bias)(x)
    right = torch.nn.functional.conv2d(
        x.double(),
        conv.weight.double(),
        None if conv.bias is None else conv.bias.double(),
        padding=1,
    )
    assert found.shape == right.shape
    assert (found - right).abs().max() < 2e-5


def test_the_alpha_depends_on_what_is_looked_at(forms):
    """That agreement above is not that of two constants."""
    plain, _ = forms
    frames = clip(64, 224, "everywhere")
    planes = torch.cat([planes_of(f.picture, f.trimap) for f in frames])[-plain.shift - 1 :]
    with torch.inference_mode():
        once = plain(planes).alpha
        planes[0] = planes[0].flip(-1)
        again = plain(planes).alpha
    assert once.std() > 0.01
    assert (once - again).abs().max() > 1e-4


def test_nothing_unknown_is_the_trimap(forms):
    _, fast = forms
    frames = clip(40, 50, "nowhere")
    encoded = [fast.encode(f, fast.prior(f)) for f in frames]
    found = fast.decode(encoded, 3)
    assert torch.equal(found.alpha, frames[3].trimap)
    assert found.confidence.min() == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((32, 224), (32, 224)), ((1080, 1920), (1088, 1920)), ((17, 23), (32, 224))],
)
def test_frames_are_padded_by_repeating_their_edges(size, expected):
    x = torch.rand(1, 4, *size)
    found = padded(x)
    assert found.shape[-2:] == expected
    assert torch.equal(found[..., : size[0], : size[1]], x)
    assert torch.equal(found[..., -1, -1], x[..., -1, -1])


@pytest.mark.parametrize("upsample", ["shuffle", "deconv"])
def test_gradients_reach_every_weight(upsample):
    """The plain form is what is trained."""
    network = network_by_rule(NARROW, upsample=upsample).requires_grad_(True)
    frames = clip(32, 224, "everywhere")
    network(torch.cat([planes_of(f.picture, f.trimap) for f in frames])).alpha.sum().backward()
    bare = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not bare


@pytest.mark.parametrize("wish", [False, True])
def test_the_engine_shows_it_no_later_frame(wish, clip_of, tmp_path):
    """Whatever the options say; and it reads no more plates than it needs."""
    seen = []

    class Watch(StFamR50Matting):
        def decode(self, window, centre, side=0):
            seen.append((len(window), centre))
            return super().decode(window, centre, side)

    material = clip_of(18, 20, 30)
    view = LightView("", "", ExposureMap(), CPU)
    engine = ShotMatte(Watch(network_by_rule(NARROW)), None, view, EngineOptions(causal=wish), {})
    for block in blocks(material.frames, causal=find("st_fam_r50", "matting").causal):
        plates = {f: material.plates[f] for f in block.reads}
        made = engine.matte(
            block, material.frames, block.frames, plates.__getitem__,
            material.trimaps.__getitem__, lambda: False,
        )  # fmt: skip
        assert [matte.frame for matte in made] == list(block.frames)
    assert set(seen) == {(3, 2)}


def test_without_a_checkpoint_the_hint_says_how_to_get_one():
    for call in (
        lambda: open_network(None, CPU),
        lambda: open_engine(EngineOptions(network="st_fam_r50", device="cpu")),
    ):
        with pytest.raises(SetupError) as caught:
            call()
        assert caught.value.code == "setup.no_checkpoint"
        assert "dvm-train checkpoint import" in caught.value.hint


def test_it_is_never_the_default():
    entry = find("st_fam_r50", "matting")
    assert not entry.available
    assert find("", "matting").name != entry.name


@pytest.mark.parametrize(
    ("upsample", "more"), [("shuffle", {}), ("deconv", {"upsample": "deconv"})]
)
def test_checkpoints_rebuild_the_network(upsample, more, tmp_path):
    """Those of before say nothing of how sizes are doubled."""
    path = narrow_checkpoint(tmp_path, upsample)
    found = open_network(str(path), CPU)
    assert found.config == {"channels": list(NARROW), "shift": 2, "refine": True, **more}
    frames = clip(32, 224, "in the middle")
    encoded = [found.encode(f, found.prior(f)) for f in frames]
    ours = StFamR50Matting(network_by_rule(NARROW, upsample=upsample))
    again = [ours.encode(f, ours.prior(f)) for f in frames]
    assert (found.decode(encoded, 3).alpha - ours.decode(again, 3).alpha).abs().max() < 1e-6
