"""The closed-form solver: right, exact where known, repeatable, and unshaken by odd input."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.classical import closed_form
from model.classical.closed_form import ClosedForm, open_network, solve_alpha
from model.classical.data_term import DataTerm
from model.classical.dissection import dissect, levels
from model.classical.elimination import factorise
from model.classical.laplacian import assemble
from model.classical.solver import conjugate_gradients
from model.errors import SetupError
from model.face import Frame

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "eval"
DISPLAY_STILLS = ["still_rose", "still_hair_short01", "still_grass_gras02"]


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def disc(height: int = 48, width: int = 70) -> tuple[Tensor, Tensor, Tensor]:
    """A soft disc of one colour ramp over another: light, trimap, true alpha."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = torch.hypot(y - height / 2, x - width / 2)
    alpha = ((height / 3 + 4 - distance) / 8).clamp(0, 1)[None, None]
    ramp = torch.stack([x / width, y / height, 1 - x / width])[None]
    light = alpha * (0.6 + 0.3 * ramp) + (1 - alpha) * (0.1 + 0.2 * ramp.flip(1))
    trimap = torch.full_like(alpha, 0.5)
    trimap[(distance < height / 3 - 8)[None, None]] = 1
    trimap[(distance > height / 3 + 8)[None, None]] = 0
    return light, trimap, alpha


def dense_laplacian(light: Tensor, epsilon: float) -> np.ndarray:
    """The matting Laplacian of 3×H×W as the paper writes it, entry by entry, H·W × H·W."""
    _, height, width = light.shape
    colours = light.double().numpy().reshape(3, -1).T
    laplacian = np.zeros((height * width, height * width))
    for y in range(height - 2):
        for x in range(width - 2):
            window = [(y + dy) * width + x + dx for dy in range(3) for dx in range(3)]
            centred = colours[window] - colours[window].mean(0)
            covariance = centred.T @ centred / 9 + epsilon / 9 * np.eye(3)
            element = np.eye(9) - (1 + centred @ np.linalg.solve(covariance, centred.T)) / 9
            laplacian[np.ix_(window, window)] += element
    return laplacian


@pytest.mark.parametrize("size", [(9, 11), (16, 12), (23, 31)])
def test_solves_what_the_paper_writes(size: tuple[int, int]) -> None:
    light = picture(*size)
    known = torch.rand(size, generator=torch.Generator().manual_seed(1))
    trimap = torch.where(known < 0.1, 0.0, torch.where(known > 0.9, 1.0, 0.5))[None, None]
    unknown = (trimap == 0.5).flatten().numpy()
    laplacian = dense_laplacian(light[0], closed_form.DISPLAY_EPSILON)
    foreground = (trimap == 1).flatten().numpy()[~unknown]
    right = -laplacian[np.ix_(unknown, ~unknown)] @ foreground
    expected = np.clip(np.linalg.solve(laplacian[np.ix_(unknown, unknown)], right), 0, 1)
    found = solve_alpha(light, trimap, composited_in="display").flatten().numpy()[unknown]
    assert np.abs(found - expected).max() < 1e-5


def test_unknowns_are_eliminated_once_and_fronts_hold_their_neighbours() -> None:
    generator = torch.Generator().manual_seed(2)
    unknown = torch.rand(70, 45, generator=generator) < 0.4
    dissection = dissect(unknown)
    count = int(unknown.sum())
    assert sorted(dissection.pixels.tolist()) == unknown.flatten().nonzero().flatten().tolist()
    eliminated = [
        one
        for level in levels(dissection)
        for batch in level.batches
        for one in batch.eliminated.flatten().tolist()
        if one < count
    ]
    assert sorted(eliminated) == list(range(count))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_factor_is_a_good_inverse(dtype: torch.dtype) -> None:
    light, unknown = picture(40, 50)[0].double(), torch.ones(40, 50, dtype=torch.bool)
    unknown[0] = unknown[-1] = False
    alpha = torch.zeros(40, 50, dtype=torch.float64)
    alpha[0] = 1
    dissection = dissect(unknown)
    system = assemble(light, alpha, unknown, dissection.pixels, torch.full_like(alpha, 1e-7))
    factor = factorise(system, dissection, dtype, 1e-7 if dtype == torch.float32 else 0.0)
    assert factor.sound
    solution = conjugate_gradients(
        system.apply, system.right, factor.solve, tolerance=1e-10, limit=10
    )
    assert solution.residual <= 1e-10
    if dtype == torch.float64:
        assert solution.iterations == 1
    left = torch.linalg.vector_norm(system.apply(solution.x) - system.right)
    assert left <= 2e-10 * torch.linalg.vector_norm(system.right)


@pytest.mark.parametrize("composited_in", ["display", "linear"])
def test_finds_the_alpha_of_a_smooth_scene(composited_in: str) -> None:
    light, trimap, truth = disc()
    alpha = solve_alpha(light, trimap, composited_in=composited_in)
    assert alpha.dtype == torch.float32
    assert (alpha - truth)[trimap == 0.5].abs().mean() < 0.02
    assert torch.equal(alpha[trimap != 0.5], trimap[trimap != 0.5])


def test_foreground_and_background_may_be_swapped() -> None:
    light, trimap, _ = disc()
    alpha = solve_alpha(light, trimap, composited_in="display")
    swapped = solve_alpha(light, 1 - trimap, composited_in="display")
    assert (alpha + swapped - 1).abs().max() < 1e-4


def test_a_linear_matte_does_not_change_with_the_exposure() -> None:
    light, trimap, _ = disc()
    light = light + 0.02 * picture(48, 70)
    alpha = solve_alpha(light, trimap, composited_in="linear")
    for gain in (2.0**-8, 2.0**8):
        other = solve_alpha(gain * light, trimap, composited_in="linear")
        assert (alpha - other).abs().max() < 1e-5


def test_the_same_to_the_bit_and_with_other_threads_but_for_rounding() -> None:
    light, trimap, _ = disc(90, 110)
    light = light + 0.02 * picture(90, 110)
    first = solve_alpha(light, trimap, composited_in="display")
    assert torch.equal(first, solve_alpha(light, trimap, composited_in="display"))
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1 if threads > 1 else 2)
        other = solve_alpha(light, trimap, composited_in="display")
    finally:
        torch.set_num_threads(threads)
    assert (first - other).abs().max() < 1e-5


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 2), (2, 1), (1, 9), (9, 1), (2, 7), (3, 3), (4, 5), (17, 18), (66, 35)]
)
def test_any_size_with_unknown_up_to_the_border(size: tuple[int, int]) -> None:
    trimap = torch.full((1, 1, *size), 0.5)
    trimap[..., 0, 0] = 1
    trimap[..., -1, -1] = 0
    alpha = solve_alpha(picture(*size), trimap, composited_in="display")
    assert alpha.shape == trimap.shape
    assert torch.isfinite(alpha).all()
    assert torch.equal(alpha[trimap != 0.5], trimap[trimap != 0.5])


@pytest.mark.parametrize("composited_in", ["display", "linear"])
@pytest.mark.parametrize("kind", ["black", "constant", "steps", "hdr", "negative", "nan", "dark"])
def test_odd_light_is_solved(kind: str, composited_in: str) -> None:
    size = 40, 60
    noise = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(5))
    spoilt = noise.clone()
    spoilt[0, 0, 3:5, 3:9], spoilt[0, 1, 20, 20], spoilt[0, 2, 21, 21] = math.nan, math.inf, -1e30
    light = {
        "black": torch.zeros(1, 3, *size),
        "constant": torch.full((1, 3, *size), 0.3),
        "steps": (noise > 0).float(),
        "hdr": torch.exp(4 * noise),
        "negative": 10 * noise,
        "nan": spoilt,
        "dark": 1e-5 * noise.abs(),
    }[kind]
    trimap = torch.full((1, 1, *size), 0.5)
    trimap[..., 0], trimap[..., -1] = 0, 1
    frame = Frame(1, light, light, trimap, composited_in)
    found = open_network(None, torch.device("cpu")).prior(frame)
    for array in (found.alpha, found.confidence):
        assert torch.isfinite(array).all()
        assert array.min() >= 0
        assert array.max() <= 1
    if kind in {"black", "constant"}:  # nothing to go by: a smooth way from one side to the other
        middle = found.alpha[0, 0, 20]
        assert (middle.diff() > 0).all()


def test_when_single_precision_fails_double_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    light, trimap, _ = disc()
    expected = solve_alpha(light, trimap, composited_in="display")
    asked = []

    def unsound(system, dissection, dtype, shift):
        asked.append(dtype)
        factor = factorise(system, dissection, dtype, shift)
        return factor if dtype == torch.float64 else type(factor)(0, (), False, dtype)

    monkeypatch.setattr(closed_form, "factorise", unsound)
    found = solve_alpha(light, trimap, composited_in="display")
    assert asked == [torch.float32, torch.float32, torch.float64]
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize(("value", "alpha"), [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_a_trimap_that_lacks_a_side_is_answered_without_confidence(
    value: float, alpha: float
) -> None:
    trimap = torch.full((1, 1, 20, 30), 0.5)
    trimap[..., :4] = value
    light = picture(20, 30)
    frame = Frame(1, light, light, trimap, "display")
    found = open_network(None, torch.device("cpu")).prior(frame)
    assert (found.alpha - alpha).abs().max() < 1e-5
    assert (found.confidence[trimap == 0.5] == 0).all()


def test_nothing_unknown_is_the_trimap() -> None:
    trimap = (picture(9, 9)[:, :1] > 0.5).float()
    assert torch.equal(solve_alpha(picture(9, 9), trimap, composited_in="display"), trimap)


def test_confidence_falls_away_from_what_is_known() -> None:
    light = 0.5 + 0.01 * picture(60, 60)
    trimap = torch.full((1, 1, 60, 60), 0.5)
    trimap[..., :4], trimap[..., -4:] = 0, 1
    frame = Frame(1, light, light, trimap, "display")
    confidence = open_network(None, torch.device("cpu")).prior(frame).confidence
    assert (confidence[trimap != 0.5] == 1).all()
    near, far = confidence[..., 4:7].mean(), confidence[..., 28:32].mean()
    assert near > far + 0.05


def test_a_checkpoint_is_refused() -> None:
    with pytest.raises(SetupError) as raised:
        open_network("some.safetensors", torch.device("cpu"))
    assert raised.value.code == "setup.no_checkpoint_wanted"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no evaluation data beside the repository")
def test_mean_error_on_stills_is_within_three_per_cent_of_pymatting() -> None:
    cv2 = pytest.importorskip("cv2")
    estimate = pytest.importorskip("pymatting.alpha.estimate_alpha_cf").estimate_alpha_cf
    from training.judging.metrics import mse, unknown_region

    ours, theirs = [], []
    for still in DISPLAY_STILLS:
        folder = SHARED / still
        image = cv2.imread(str(folder / "comp.png"))[:, :, ::-1] / 255.0
        trimap = cv2.imread(str(folder / "trimap.png"), cv2.IMREAD_GRAYSCALE)
        truth = cv2.imread(str(folder / "alpha.png"), cv2.IMREAD_GRAYSCALE) / 255.0
        region = unknown_region(trimap)
        light = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float()
        classes = torch.from_numpy(trimap / np.float32(255))[None, None]
        alpha = solve_alpha(light, classes, composited_in="display")[0, 0].numpy()
        ours.append(mse(alpha, truth, region))
        theirs.append(mse(estimate(image, trimap / 255.0), truth, region))
    assert np.mean(ours) <= 1.03 * np.mean(theirs)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu_and_with_itself() -> None:
    light, trimap, _ = disc(120, 160)
    light = light + 0.02 * picture(120, 160)
    expected = solve_alpha(light, trimap, composited_in="display")
    runs = [
        solve_alpha(light.cuda(), trimap.cuda(), composited_in="display").cpu() for _ in range(3)
    ]
    assert (runs[0] - expected).abs().max() < 1e-4
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[0], runs[2])


def test_what_next_to_nothing_tells_of_is_no_answer() -> None:
    """One pixel's word, where the trimap has no foreground at all, or nothing that is certain."""
    light = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(4))
    trimap = torch.zeros(1, 1, 12, 16)
    trimap[..., 3:9, 4:12] = 0.5
    told = DataTerm(torch.zeros_like(trimap), torch.zeros_like(trimap))
    told.alpha[..., 5, 6], told.weight[..., 5, 6] = 0.7, 1e-3
    frame = Frame(1, light, light, trimap, "display", hint=told)
    unknown = trimap == 0.5
    assert float(ClosedForm().prior(frame).confidence[unknown].max()) == 0
    more = DataTerm(told.alpha, torch.full_like(trimap, 1e-3))
    answered = ClosedForm().prior(replace(frame, hint=more))
    assert float(answered.confidence[unknown].max()) > 0
    nothing = solve_alpha(light, torch.full_like(trimap, 0.5), composited_in="display", told=told)
    assert float(nothing[0, 0, 5, 6]) == pytest.approx(0.7)
    assert float(nothing[0, 0, 0, 0]) == 0.5
