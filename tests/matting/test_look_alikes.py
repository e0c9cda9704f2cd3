"""The nonlocal term of the closed form: what it joins, and what that is good for."""

import torch

from model.classical.closed_form import solve_alpha
from model.classical.look_alikes import LookAlikes, look_alikes, side_by_side

RED, BLUE = torch.tensor([0.8, 0.2, 0.1]), torch.tensor([0.1, 0.2, 0.7])


def scene(height=48, width=64):
    """Red before blue, the seam unknown; on the red side a small blue hole, unknown all around it.

    Returns picture 1×3×H×W, true alpha and trimap 1×1×H×W.
    """
    alpha = (torch.arange(width) < width // 2).float().expand(height, width).clone()
    trimap = alpha.clone()
    trimap[:, width // 2 - 4 : width // 2 + 4] = 0.5
    trimap[10:30, 6:22] = 0.5
    alpha[18:22, 12:16] = 0
    grain = 0.01 * torch.randn(3, height, width, generator=torch.Generator().manual_seed(0))
    picture = alpha * RED[:, None, None] + (1 - alpha) * BLUE[:, None, None] + grain
    return picture.clamp(0, 1)[None], alpha[None, None], trimap[None, None]


def joined(strength=1.0) -> tuple[LookAlikes, int]:
    picture, _, trimap = scene()
    pixels = (trimap == 0.5).flatten().nonzero().squeeze(1)
    return look_alikes(picture[0], trimap[0, 0], pixels, strength), len(pixels)


def dense(found: LookAlikes) -> torch.Tensor:
    return torch.stack([found.apply(row) for row in torch.eye(len(found.diagonal)).double()])


def test_it_is_a_laplacian():
    found, count = joined()
    matrix = dense(found)
    assert torch.allclose(matrix, matrix.T)
    assert (matrix - torch.diag(matrix.diagonal()) <= 0).all()
    # What the rows lack to nothing is joined to known pixels.
    sums = matrix.sum(1)
    assert (sums > -1e-12).all()
    assert (found.right <= sums + 1e-12).all()
    assert (found.right >= 0).all()
    assert matrix.diagonal().min() >= 1 - 1e-12
    assert torch.linalg.eigvalsh(matrix).min() > -1e-9
    assert count == len(found.diagonal)


def test_strength_is_a_factor():
    one, _ = joined()
    two, _ = joined(2.0)
    x = torch.rand(len(one.diagonal), generator=torch.Generator().manual_seed(1)).double()
    assert torch.allclose(2 * one.apply(x), two.apply(x))
    assert torch.allclose(2 * one.right, two.right)


def test_side_by_side_nothing_is_mixed():
    one, count = joined()
    two, _ = joined(0.5)
    both = side_by_side([one, two])
    x = torch.rand(2 * count, generator=torch.Generator().manual_seed(1)).double()
    assert torch.allclose(both.apply(x), torch.cat([one.apply(x[:count]), two.apply(x[count:])]))


def test_a_hole_that_nothing_known_touches_is_seen_through():
    picture, alpha, trimap = scene()
    plain = solve_alpha(picture, trimap, composited_in="display")
    found = solve_alpha(picture, trimap, composited_in="display", picture=picture)
    hole = (slice(None), slice(None), slice(18, 22), slice(12, 16))
    assert plain[hole].mean() > 0.9  # the closed form alone fills it
    assert found[hole].max() < 0.25
    assert (found - alpha).abs().mean() < 0.5 * (plain - alpha).abs().mean()


def test_certain_pixels_stay_and_nothing_is_left_to_chance():
    picture, _, trimap = scene()
    for light in ("display", "linear"):
        first, second = (
            solve_alpha(picture, trimap, composited_in=light, picture=picture) for _ in range(2)
        )
        assert torch.equal(first, second)
        certain = trimap != 0.5
        assert torch.equal(first[certain], trimap[certain])


def test_of_many_known_pixels_some_are_enough(monkeypatch):
    picture, alpha, trimap = scene()
    monkeypatch.setattr("model.classical.look_alikes.MOST_KNOWN", 300)
    found = solve_alpha(picture, trimap, composited_in="display", picture=picture)
    unknown = trimap == 0.5
    assert (found - alpha)[unknown].square().mean().sqrt() < 0.15


def test_a_picture_of_few_pixels():
    picture = torch.rand(1, 3, 3, 4, generator=torch.Generator().manual_seed(2))
    trimap = torch.tensor([[0.0, 0.5, 0.5, 1.0]]).expand(3, 4)[None, None].clone()
    found = solve_alpha(picture, trimap, composited_in="display", picture=picture)
    assert torch.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
