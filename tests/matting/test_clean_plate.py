"""Clean plates: what they tell before and after the solve, and that they are believed no further
than they hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.classical import clean_plate
from model.classical.closed_form import ClosedForm, solve_alpha
from model.classical.coarse_to_fine import prior_alpha
from model.classical.data_term import DataTerm
from model.face import Estimate, Frame


def noise(seed: int, height: int, width: int, strength: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return strength * torch.randn(1, 3, height, width, generator=generator)


def shot(height: int = 60, width: int = 84, exposure: float = 1.0) -> tuple[Frame, Tensor]:
    """Soft strands over a checkered wall, in noise; its clean plate has noise of its own and may
    be exposed otherwise. The frame, and the true alpha."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32),
        torch.arange(width, dtype=torch.float32),
        indexing="ij",
    )
    reach = ((0.75 * width - x) / 20).clamp(0, 1)
    alpha = (reach * (0.6 + 0.4 * torch.sin(y + 0.3 * x))).clamp(0, 1)
    alpha = torch.where(x < width / 3, torch.ones_like(alpha), alpha)[None, None]
    wall = 0.25 + 0.35 * (((y // 5) + (x // 7)) % 2)
    tint = torch.tensor([1.0, 0.9, 0.7]).view(1, 3, 1, 1)
    background = wall * tint
    front = torch.tensor([0.5, 0.15, 0.1]).view(1, 3, 1, 1) * (0.9 + 0.1 * torch.cos(y / 4))
    light = alpha * front + (1 - alpha) * background + noise(1, height, width, 0.01)
    trimap = torch.full_like(alpha, 0.5)
    trimap[..., : width // 3 - 4] = 1
    trimap[..., int(0.75 * width) + 6 :] = 0
    clean = exposure * (background + noise(2, height, width, 0.01))
    known = torch.ones_like(trimap, dtype=torch.bool)
    picture = light.clamp(0, 1)
    frame = Frame(1, light, picture, trimap, "display", background=clean, background_known=known)
    return frame, alpha


def without(frame: Frame) -> Frame:
    return replace(frame, background=None, background_known=None)


def mse(alpha: Tensor, truth: Tensor, frame: Frame) -> float:
    return float((alpha - truth)[frame.known == 0.5].square().mean())


def solved(frame: Frame) -> Estimate:
    return ClosedForm().prior(frame)


@pytest.mark.parametrize("exposure", [1.0, 0.9, 1.1])
def test_errors_are_less_than_a_quarter(exposure: float) -> None:
    frame, truth = shot(exposure=exposure)
    plain = mse(solved(without(frame)).alpha, truth, frame)
    estimate = solved(frame)
    assert mse(estimate.alpha, truth, frame) < 0.5 * plain
    assert mse(clean_plate.refined(frame, estimate).alpha, truth, frame) < 0.25 * plain


def test_it_helps_an_estimate_that_knew_nothing_of_it() -> None:
    frame, truth = shot()
    plain = solved(without(frame))
    found = clean_plate.refined(frame, plain)
    assert mse(found.alpha, truth, frame) < 0.5 * mse(plain.alpha, truth, frame)
    unknown = frame.known == 0.5
    right = ((found.alpha - truth).abs() <= 0.1)[unknown].float().mean()
    assert found.confidence[unknown].mean() == pytest.approx(float(right), abs=0.15)


def test_without_a_clean_plate_nothing_is_said() -> None:
    frame, _ = shot()
    bare = without(frame)
    estimate = solved(bare)
    assert clean_plate.evidence(bare) is None
    assert clean_plate.matched(bare) is None
    assert clean_plate.refined(bare, estimate) is estimate
    nowhere = replace(frame, background_known=torch.zeros_like(frame.known, dtype=torch.bool))
    assert clean_plate.evidence(nowhere) is None
    assert clean_plate.refined(nowhere, estimate) is estimate


def test_what_is_certain_stays_exact_and_seen_background_is_exactly_0() -> None:
    frame, truth = shot()
    found = clean_plate.refined(frame, solved(frame))
    certain = frame.known != 0.5
    assert torch.equal(found.alpha[certain], frame.known[certain])
    open_ = (truth == 0) & (frame.known == 0.5)
    assert (found.alpha[open_] == 0).float().mean() > 0.8
    assert found.alpha[open_].max() < 0.2
    for planes in (found.alpha, found.confidence):
        assert planes.min() >= 0
        assert planes.max() <= 1


def test_outside_of_what_is_known_it_is_not_looked_at() -> None:
    frame, _ = shot()
    known = torch.ones_like(frame.known, dtype=torch.bool)
    known[..., :30, :] = False
    assert frame.background is not None
    estimate = solved(without(frame))
    answers = []
    for nonsense in (0.0, 7.0):
        background = torch.where(known, frame.background, nonsense)
        one = replace(frame, background=background, background_known=known)
        found = clean_plate.refined(one, estimate)
        assert torch.equal(found.alpha[~known], estimate.alpha[~known])
        told = clean_plate.evidence(one)
        assert told is not None
        assert told.weight[~known].max() == 0
        answers.append((found.alpha, told.weight))
    for one, other in zip(*answers, strict=True):
        assert torch.equal(one, other)


def test_a_clean_plate_of_something_else_is_hardly_believed() -> None:
    """How far it differs is measured on certain background, so it cannot do much harm."""
    frame, truth = shot()
    other = torch.rand(frame.light.shape, generator=torch.Generator().manual_seed(3))
    wrong = replace(frame, background=other)
    plain = solved(without(frame))
    found = clean_plate.refined(wrong, plain)
    assert mse(found.alpha, truth, frame) < 1.5 * mse(plain.alpha, truth, frame)


def test_the_exposure_is_matched() -> None:
    frame, _ = shot(exposure=0.85)
    found = clean_plate.matched(frame)
    assert found is not None
    right, _ = shot()
    assert right.background is not None
    assert (found[0] - right.background).abs().mean() < 0.01
    assert found[1].all()


def test_the_exposure_of_the_shot_does_not_matter_in_linear_light() -> None:
    frame, _ = shot()
    frame = replace(frame, composited_in="linear")
    assert frame.background is not None
    estimate = solved(without(frame))
    bright = replace(frame, light=512 * frame.light, background=512 * frame.background)
    usual = clean_plate.refined(frame, estimate).alpha
    assert (clean_plate.refined(bright, estimate).alpha - usual).abs().max() < 1e-3


@pytest.mark.parametrize("left", ["background", "foreground", "nothing"])
def test_a_trimap_that_lacks_a_class_is_solved(left: str) -> None:
    frame, truth = shot()
    keep = {"background": 0.0, "foreground": 1.0, "nothing": -1.0}[left]
    trimap = torch.where(frame.known == keep, frame.known, 0.5)
    poor = replace(frame, trimap=trimap)
    found = clean_plate.refined(poor, solved(poor))
    assert torch.isfinite(found.alpha).all()
    assert mse(found.alpha, truth, poor) < mse(solved(without(poor)).alpha, truth, poor)


@pytest.mark.parametrize("size", [(16, 17), (33, 65), (3, 90)])
def test_any_size(size: tuple[int, int]) -> None:
    frame, _ = shot(*size)
    found = clean_plate.refined(frame, solved(frame))
    assert found.alpha.shape == frame.known.shape
    assert torch.isfinite(found.alpha).all()


def test_the_same_to_the_bit_every_time_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, _ = shot()
    estimate = solved(frame)
    whole = clean_plate.refined(frame, estimate)
    assert torch.equal(clean_plate.refined(frame, estimate).alpha, whole.alpha)
    monkeypatch.setattr(clean_plate, "_AT_ONCE", 500)
    parts = clean_plate.refined(frame, estimate)
    assert (parts.alpha - whole.alpha).abs().max() < 1e-5


def test_the_solver_minds_a_data_term_as_much_as_its_weight_says() -> None:
    frame, _ = shot()
    unknown = frame.known == 0.5
    target = torch.rand(frame.known.shape, generator=torch.Generator().manual_seed(4))

    def alpha(weight: float | None) -> Tensor:
        told = None if weight is None else DataTerm(target, torch.full_like(target, weight))
        return solve_alpha(frame.light, frame.known, composited_in="display", told=told)

    def distance(weight: float) -> float:
        return float((alpha(weight) - target)[unknown].abs().mean())

    assert (alpha(0.0) - alpha(None)).abs().max() < 1e-5
    assert distance(1e4) < 1e-3
    assert distance(1e4) < distance(1.0) < distance(1e-3) < distance(0.0)
    assert torch.equal(alpha(1e4)[~unknown], frame.known[~unknown])


def test_the_prior_of_a_large_frame_minds_it_too() -> None:
    frame, truth = shot()
    told = clean_plate.evidence(frame)
    arguments = frame.light, frame.known, frame.picture, "display", frame.known.numel() // 4
    plain, found = prior_alpha(*arguments), prior_alpha(*arguments, told)
    assert mse(found, truth, frame) < 0.8 * mse(plain, truth, frame)
