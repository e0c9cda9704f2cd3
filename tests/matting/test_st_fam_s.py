"""The network of `st_fam_s`: what holds whatever its weights are."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from model.checkpoint import CheckpointRecord, save_checkpoint
from model.errors import SetupError
from model.face import Estimate, Frame
from model.networks.alignment import Alignment, matches, warp
from model.networks.frame_encoder import BOTH, LINEAR
from model.networks.fusion import Fusion
from model.networks.st_fam_s import NAME, STOOD_IN, StFamS, StFamSMatting, open_network

CPU = torch.device("cpu")


def random_network(seed: int = 0) -> StFamS:
    """Heads that are zero at first are given weights, and shifts pushed to their limits."""
    torch.manual_seed(seed)
    network = StFamS().eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.ndim > 1 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network


def frame(number: int, height: int, width: int, seed: int = 0) -> Frame:
    g = torch.Generator().manual_seed(100 * seed + number)
    picture = torch.rand(1, 3, height, width, generator=g)
    trimap = torch.full((1, 1, height, width), 0.5)
    trimap[..., : width // 4] = 0
    trimap[..., -(width // 4) :] = 1
    return Frame(number, picture, picture, trimap, "display")


def test_untrained_it_answers_its_prior():
    network = StFamSMatting(StFamS())
    frames = [frame(i, 48, 64) for i in range(5)]
    priors = [network.prior(f) for f in frames]
    found = network.decode([network.encode(f, p) for f, p in zip(frames, priors, strict=True)], 2)
    assert (found.alpha - priors[2].alpha).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("knew", "linear", "of_added", "of_taken"),
    [(1, 0, 1, 0.25), (1, 1, 0.25, 0.25), (0, 0, 1, 1), (0, 1, 1, 1)],
)
def test_what_is_added_in_display_light_needs_no_trust(knew, linear, of_added, of_taken):
    network = random_network()
    planes = torch.rand(1, 9, 32, 48, generator=torch.Generator().manual_seed(1))
    planes[:, BOTH], planes[:, LINEAR] = knew, linear
    encoded = network.encode(planes)
    whole = network.decode([encoded] * 5, 2).alpha - encoded.prior
    network.trust = 0.25
    part = network.decode([encoded] * 5, 2).alpha - encoded.prior
    added, taken = whole.clamp_min(0), whole.clamp_max(0)
    assert added.max() > 0.01
    assert taken.min() < -0.01
    assert (part - of_added * added - of_taken * taken).abs().max() < 1e-5


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_nothing_farther_than_the_halo_matters(sign):
    """Measured with every shift at its limit: 335 pixels; the halo must hold them."""
    network = random_network()
    for align in network.align:
        align.shift.bias.fill_(100 * sign)
        align.taps.bias[:72] = 100 * sign
    g = torch.Generator().manual_seed(1)
    planes = [torch.rand(1, 9, 16, 1024, generator=g) for _ in range(5)]
    changed = [p.clone() for p in planes]
    for one in changed:
        one[..., 512:] = torch.rand(1, 9, 16, 512, generator=g)
    before, after = (
        network.decode([network.encode(p) for p in window], 2) for window in (planes, changed)
    )
    reach = 512 - StFamSMatting.halo
    assert torch.equal(before.alpha[..., :reach], after.alpha[..., :reach])
    assert torch.equal(before.logit[..., :reach], after.logit[..., :reach])
    assert not torch.equal(before.alpha[..., :500], after.alpha[..., :500])


@pytest.mark.parametrize("count", [1, 3, 5])
def test_windows_of_any_length_in_any_order(count):
    """Frames are told apart by how far they are from the centre, not by where they stand."""
    network = random_network()
    encoded = [network.encode(torch.rand(1, 9, 32, 48)) for _ in range(count)]
    away = [0, 1, 1, 2, 2][:count]
    straight = network.decode(encoded, 0, away).alpha
    turned = network.decode(encoded[::-1], count - 1, away[::-1]).alpha
    assert torch.allclose(straight, turned, atol=1e-5)


def test_the_neighbours_matter():
    network = random_network()
    window = [network.encode(torch.rand(1, 9, 32, 48)) for _ in range(5)]
    other = [*window[:4], network.encode(torch.rand(1, 9, 32, 48))]
    assert not torch.allclose(network.decode(window, 2).alpha, network.decode(other, 2).alpha)


def test_warp_looks_up_at_p_plus_shift():
    x = torch.arange(20.0).view(1, 1, 4, 5)
    shift = torch.zeros(1, 2, 4, 5)
    shift[:, 0] = 1
    assert torch.allclose(warp(x, shift)[..., :4], x[..., 1:], atol=1e-5)
    shift = torch.zeros(1, 2, 4, 5)
    shift[:, 1] = -1
    assert torch.allclose(warp(x, shift)[..., 1:, :], x[..., :-1, :], atol=1e-5)


@pytest.mark.parametrize(("width", "reach"), [(5, 1), (16, 3), (33, 2), (64, 3)])
def test_features_are_matched_with_all_around(width, reach):
    g = torch.Generator().manual_seed(width)
    here, there = (torch.randn(2, 6, 7, width, generator=g) for _ in range(2))
    found = matches(there, here, reach)
    assert found.shape == (2, (2 * reach + 1) ** 2, 7, width)
    for n, y, x in ((0, 0, 0), (1, 3, width // 2), (0, 6, width - 1)):
        for place in range(found.shape[1]):
            to_y, to_x = y + place // (2 * reach + 1) - reach, x + place % (2 * reach + 1) - reach
            inside = 0 <= to_y < 7 and 0 <= to_x < width
            right = (
                F.cosine_similarity(here[n, :, y, x], there[n, :, to_y, to_x], 0) if inside else 0
            )
            assert float(found[n, place, y, x]) == pytest.approx(float(right), abs=1e-6)


def test_alignment_finds_a_shift_it_is_taught():
    """One scale learns, from pictures alone, that everything moved by two pixels."""
    torch.manual_seed(0)
    align = Alignment(8, 16, 3)
    optimiser = torch.optim.Adam(align.parameters(), 1e-2)
    for _ in range(80):
        wide = torch.randn(2, 8, 16, 20)
        centre, neighbour = wide[..., 2:18], wide[..., :16]
        _, (_, shift) = align(neighbour, centre, None)
        loss = (warp(neighbour, shift) - centre)[..., 2:14].abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        _, (_, shift) = align(neighbour, centre, None)
    assert abs(float(shift[:, 0, :, 2:14].median()) - 2) < 0.3
    assert abs(float(shift[:, 1, :, 2:14].median())) < 0.3


def test_attention_takes_no_notice_of_a_frame_that_repeats_the_centre():
    """Repeated frames at the ends of a shot add nothing that was not there."""
    torch.manual_seed(0)
    fuse = Fusion(8, 12).eval()
    own, centre = torch.randn(1, 12, 6, 6), torch.randn(1, 8, 6, 6)
    alone = fuse(own, centre, centre[:, None], torch.tensor([0]))
    twice = fuse(own, centre, centre[:, None].repeat(1, 3, 1, 1, 1), torch.tensor([0, 1, 2]))
    assert torch.allclose(alone, twice, atol=1e-5)


def test_a_trimap_without_foreground_is_told_apart_from_one_with_both():
    network = StFamSMatting(StFamS())
    both = frame(0, 32, 32)
    assert network.prior(both).confidence.min() == 1
    both.trimap[both.trimap == 1] = 0.5
    assert network.prior(both).confidence.max() == 0


def test_where_a_clean_plate_stands_in_for_a_class_what_is_added_needs_trust_too():
    network = StFamSMatting(random_network())
    network.network.trust = 0.25
    bare = replace(frame(0, 32, 48), composited_in="display")
    bare.trimap[bare.trimap == 1] = 0.5
    known = torch.ones(1, 1, 32, 48, dtype=torch.bool)
    plated = replace(bare, background=bare.light * 0.9, background_known=known)
    prior = network.prior(plated)
    assert torch.equal(prior.confidence, torch.full_like(prior.confidence, STOOD_IN))
    seen = network.encode(plated, prior)
    assert (seen.planes[:, BOTH] == 1).all()
    assert not seen.added_whole.any()
    sure = replace(prior, confidence=torch.ones_like(prior.confidence))
    certain = network.encode(plated, sure)
    assert torch.equal(certain.planes, seen.planes)
    assert certain.added_whole.all()
    less, more = (network.network.decode([one] * 5, 2).alpha for one in (seen, certain))
    assert (less <= more + 1e-6).all()
    assert (less < more).any()


@pytest.mark.parametrize("scales", [1, 2, 3])
def test_any_number_of_scales_can_be_aligned(scales):
    torch.manual_seed(0)
    network = StFamS((8, 16, 24, 32, 48), (8, 16, 16)[-scales:], 8).eval()
    window = [network.encode(torch.rand(1, 9, 32, 48)) for _ in range(5)]
    found = network.decode(window, 2)
    assert found.alpha.shape == (1, 1, 32, 48)
    assert found.shifts.shape == (4, 2, 32 // network.finest, 48 // network.finest)


def test_weights_of_a_network_that_aligns_more_are_taken_over():
    """Each scale keeps its own; the finest one, which is not aligned any more, is left out."""
    torch.manual_seed(0)
    more = StFamS((8, 16, 24, 32, 48), (8, 12, 16), 8)
    less = StFamS((8, 16, 24, 32, 48), (12, 16), 8)
    less.load_state_dict(less.taken_over(more.state_dict(), more.config))
    for name in ("weight", "bias"):
        assert torch.equal(getattr(less.align[0], name), getattr(more.align[1], name))
        assert torch.equal(getattr(less.fuse[1].merge, name), getattr(more.fuse[2].merge, name))
    assert torch.equal(less.decoder.full.weight, more.decoder.full.weight)


def test_asked_both_ways_it_does_not_care_which_layer_is_called_the_foreground():
    network = random_network()
    frames = [frame(i, 32, 48) for i in range(5)]
    turned = [replace(f, trimap=1 - f.trimap) for f in frames]

    def alpha(window, both_ways):
        network.both_ways = both_ways
        matting = StFamSMatting(network)
        priors = [torch.where(f.trimap == 0.5, 0.5, f.trimap) for f in window]
        seen = [
            matting.encode(f, Estimate(p, torch.ones_like(p)))
            for f, p in zip(window, priors, strict=True)
        ]
        return matting.decode(seen, 2).alpha

    assert (alpha(frames, True) - 1 + alpha(turned, True)).abs().max() < 1e-5
    assert (alpha(frames, False) - 1 + alpha(turned, False)).abs().max() > 1e-3


def test_checkpoints_rebuild_the_network(tmp_path):
    network = StFamS((8, 16, 24, 32, 48), narrow=(8, 16, 16), guide=8, both_ways=False)
    tensors = {k: v.half() for k, v in network.state_dict().items()}
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, tensors, CheckpointRecord(NAME, network.config))
    found = open_network(str(path), CPU).network
    assert found.config == network.config
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, tensors[name].float()), name


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (CheckpointRecord("trimap_memory_s"), "setup.other_checkpoint"),
        (CheckpointRecord(NAME), "setup.other_checkpoint"),
        (CheckpointRecord(NAME, {"colour": 3}), "setup.other_checkpoint"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(record, code, tmp_path):
    path = tmp_path / "other.safetensors"
    save_checkpoint(path, {"x": torch.zeros(1)}, record)
    with pytest.raises(SetupError) as caught:
        open_network(str(path), CPU)
    assert caught.value.code == code
    assert str(path) in caught.value.message


def test_without_a_checkpoint_it_does_not_open():
    with pytest.raises(SetupError) as caught:
        open_network(None, CPU)
    assert caught.value.code == "setup.no_checkpoint"
