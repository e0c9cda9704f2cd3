"""Networks judged at other sizes: whole, in tiles, resized, and as the CVPR 2021 test does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from model.classical.closed_form import ClosedForm
from model.errors import SetupError
from model.face import Estimate, Frame, MattingNetwork
from model.networks.st_fam_r50 import open_network
from model.tiles import Seen, estimate_in_tiles
from tests.matting.r50_material import narrow_checkpoint
from training import cli
from training.judging.evaluation import Request, judge
from training.judging.resized import Resized, at_most, published

CPU = torch.device("cpu")


def frame(height: int, width: int, number: int = 1) -> Frame:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot(x - width / 2 - number, y - height / 2)
    alpha = ((height / 3 - distance) / 6 + 0.5).clamp(0, 1)[None, None]
    picture = (0.2 + 0.6 * alpha).repeat(1, 3, 1, 1)
    trimap = torch.where((distance - height / 3).abs()[None, None] < 6, 0.5, alpha.round())
    return Frame(number, picture, picture, trimap, "display")


def estimate(network, frames) -> Estimate:
    seen = [Seen(f, network.prior(f)) for f in frames]
    return estimate_in_tiles(network, seen, len(seen) - 1, {}, 0, "float32")[0]


def test_sizes():
    assert at_most(1600)((1080, 1920)) == (900, 1600)
    assert at_most(1600)((90, 160)) == (90, 160)
    assert published((1080, 1920)) == (1056, 1920)
    assert published((20, 90)) == (32, 64)


def test_at_its_own_size_nothing_changes():
    found = estimate(Resized(ClosedForm(), at_most(500)), [frame(40, 60)])
    right = estimate(ClosedForm(), [frame(40, 60)])
    assert torch.equal(found.alpha, right.alpha)


def test_half_size_is_close_and_known_pixels_are_exact():
    network = Resized(ClosedForm(), at_most(60))
    assert isinstance(network, MattingNetwork)
    whole = frame(80, 120)
    found = estimate(network, [whole])
    right = estimate(ClosedForm(), [whole])
    assert found.alpha.shape == right.alpha.shape
    known = whole.trimap != 0.5
    assert torch.equal(found.alpha[known], whole.trimap[known])
    assert 0 < (found.alpha - right.alpha).abs().mean() < 0.02


def test_a_pixel_is_certain_only_if_all_it_covers_is():
    seen = []

    class Watch(ClosedForm):
        def prior(self, frame):
            seen.append(frame.trimap)
            return super().prior(frame)

    whole = frame(80, 120)
    Resized(Watch(), at_most(60)).prior(whole)
    blocks = whole.trimap.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    mixed = blocks.amin(-1) != blocks.amax(-1)
    assert (seen[0][mixed] == 0.5).all()
    assert torch.equal(seen[0][~mixed], blocks.amax(-1)[~mixed])


def test_frames_of_two_clips_may_have_one_number():
    network = Resized(ClosedForm(), at_most(60))
    network.prior(frame(80, 120))
    other = frame(96, 120)
    found = network.encode(other, network.prior(frame(80, 120)))[0]
    assert torch.equal(found.alpha, ClosedForm().prior(network._small(other)).alpha)


def test_the_published_resize_is_the_network_at_the_smaller_size(tmp_path):
    network = open_network(str(narrow_checkpoint(tmp_path)), CPU)
    frames = [frame(75, 230, number) for number in (1, 2, 3)]
    found = estimate(Resized(network, published, nearest=True), frames)
    rows = (torch.arange(64) * 75 / 64).long()
    columns = (torch.arange(224) * 230 / 224).long()
    small = [
        Frame(f.number, *(p[..., rows, :][..., columns] for p in (f.light, f.picture, f.trimap)),
              "display")
        for f in frames
    ]  # fmt: skip
    right = network.decode([network.encode(f, network.prior(f)) for f in small], 2).alpha
    up = torch.nn.functional.interpolate(right, (75, 230), mode="nearest")
    unknown = frames[2].trimap == 0.5
    assert (found.alpha - up)[unknown].abs().max() < 1e-5


@pytest.fixture
def item(tmp_path):
    import cv2

    folder = tmp_path / "disc"
    folder.mkdir()
    one = frame(96, 240)
    for name, plane in (("comp", one.picture), ("alpha", one.picture[:, :1]), ("trimap", None)):
        pixels = one.trimap if plane is None else plane
        pixels = np.rint(pixels[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return folder


def test_each_way_has_its_own_row(item, tmp_path):
    kept = tmp_path / "cache"
    checkpoint = str(narrow_checkpoint(tmp_path))
    alphas = {}
    for label, options in {
        "st_fam_r50": {},
        "st_fam_r50, tiles of 64": {"mode": "tiled", "tile": 64},
        "st_fam_r50, at most 120": {"mode": "resized", "max_side": 120},
        "st_fam_r50, published resize": {"published_resize": True},
    }.items():
        request = Request(
            (str(item),), tmp_path / "out", checkpoints=(checkpoint,), cache=kept,
            sheets=False, pymatting=False, **options,
        )  # fmt: skip
        found = judge(request)
        (row,) = [row for row in found.mattes if row.method == label]
        alphas[label] = row.figures["MSE"].value
    whole, tiled, small, theirs = alphas.values()
    assert tiled == pytest.approx(whole, rel=1e-4)
    assert len({whole, small, theirs}) == 3


def test_other_networks_were_not_published_so(item, tmp_path):
    request = Request(
        (str(item),), tmp_path / "out", networks=("closed_form",), published_resize=True,
        pymatting=False,
    )  # fmt: skip
    with pytest.raises(SetupError) as caught:
        judge(request)
    assert caught.value.code == "setup.published_resize"


@pytest.mark.parametrize(
    "options", [["--mode", "cropped"], ["--mode", "tiled", "--published-resize"]]
)
def test_a_way_that_there_is_not(options, item, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(["evaluate", "--data", str(item), "--out", str(tmp_path), *options])
    assert left.value.code == 2
