"""The prior's CUDA kernels without a GPU: they compile for every card, and the same source runs on
the CPU. There it is held against plain torch; and mistakes planted in the source are found."""

import faulthandler
import os
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from cuda_ops import layout, matting_kernels, neighbours, nvrtc, variants
from cuda_ops.layout import Layout, laid_out, numbered
from cuda_ops.neighbours import Searches
from model.classical import on_device
from model.classical.closed_form import regularisation, solve_alpha
from model.classical.coarse_to_fine import prior_alpha
from model.classical.data_term import DataTerm
from model.classical.laplacian import OWN, assemble
from tests.ops.cuda_on_cpu import ARCHITECTURES, PRIOR, Emulator, needs_compiler, needs_gxx


@pytest.fixture
def emulator(built, monkeypatch):
    def install(change=None, room=64 * 1024):
        made = Emulator(built, PRIOR, change)
        monkeypatch.setattr(variants, "kernel_on", made.kernel_on)
        monkeypatch.setattr(matting_kernels, "blocks_together", lambda device: 3)
        monkeypatch.setattr(matting_kernels, "room_together", lambda device: room)
        monkeypatch.setattr(matting_kernels, "_DESCENT", 64)
        monkeypatch.setattr(on_device, "no_kernels", lambda light: "")
        return made

    return install


def frame(height, width, light="display", reach=4.0):
    """Light, trimap and picture: a soft textured disc over another texture."""
    g = torch.Generator().manual_seed(3)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.hypot(y - height / 2, x - width * 0.4) - height / 3
    alpha = (0.5 - away / 6).clamp(0, 1)
    front = torch.stack([0.8 + 0.1 * torch.sin(x / 3), 0.5 + 0 * x, 0.2 + y / 3 / height])
    behind = 0.1 + 0.3 * torch.rand(3, height, width, generator=g)
    picture = (alpha * front + (1 - alpha) * behind)[None]
    trimap = torch.where(away.abs() < reach, 0.5, alpha.round())[None, None]
    return picture.pow(2.2) if light == "linear" else picture, trimap, picture


def in_torch(monkeypatch, call, *arguments, **named):
    with monkeypatch.context() as patch:
        patch.setattr(on_device, "no_kernels", lambda light: "not now")
        return call(*arguments, **named)


def alike(right, found, trimap, mean=1e-3, most=2e-2):
    unknown = trimap == 0.5
    error = (found - right).abs()
    return (
        torch.equal(found[~unknown], right[~unknown])
        and bool(error[unknown].mean() < mean)
        and bool(error.max() < most)
    )


# Odd sizes; larger than squares, which are cut off; more than three halvings to the largest tiles.
PRIORS = [
    ((45, 71), "display", 10**9, 48, 4.0),
    ((45, 71), "linear", 10**9, 48, 4.0),
    ((100, 151), "display", 100 * 151 // 9, 48, 8.0),
    ((100, 151), "linear", 100 * 151 // 4, 48, 8.0),
    ((90, 131), "display", 10**9, 1, 3.0),
]


@needs_gxx
@pytest.mark.parametrize(("size", "light", "most", "largest", "reach"), PRIORS)
def test_the_prior_as_in_torch(size, light, most, largest, reach, emulator, monkeypatch):
    made = emulator()
    monkeypatch.setattr(layout, "_MOST_LARGEST", largest)
    case = frame(*size, light, reach)
    right = in_torch(monkeypatch, prior_alpha, *case, light, most)
    found = prior_alpha(*case, light, most)
    assert alike(right, found, case[1])
    assert ("carry" in made.launched) == (most < 10**9)
    assert "descend" in made.launched


@needs_gxx
@pytest.mark.parametrize(("size", "light", "most", "largest", "reach"), PRIORS[1:4])
def test_the_prior_with_what_is_told(size, light, most, largest, reach, emulator, monkeypatch):
    """A clean plate's or a hint's word: on one side pixels are told another alpha than theirs."""
    made = emulator()
    monkeypatch.setattr(layout, "_MOST_LARGEST", largest)
    case = frame(*size, light, reach)
    checks = ((torch.arange(size[0])[:, None] + torch.arange(size[1])) // 5 % 2)[None, None]
    told = DataTerm(
        checks.float(), 2.0 * (torch.arange(size[1]) > size[1] // 2) * torch.ones(1, 1, *size)
    )
    without = in_torch(monkeypatch, prior_alpha, *case, light, most)
    right = in_torch(monkeypatch, prior_alpha, *case, light, most, told)
    assert (right - without).abs().max() > 0.2
    assert alike(right, prior_alpha(*case, light, most, told), case[1])
    assert "descend" in made.launched


@needs_gxx
@pytest.mark.parametrize("most", [10**9, 60 * 91 // 4])
def test_told_where_a_class_is_missing(most, emulator, monkeypatch):
    made = emulator()
    light, trimap, picture = frame(60, 91)
    trimap = torch.where(trimap == 0, 0.0, torch.full_like(trimap, 0.5))
    told = DataTerm((picture.mean(1, keepdim=True) > 0.45).float(), torch.full_like(trimap, 0.01))
    arguments = (light, trimap, picture, "display", most, told)
    right = in_torch(monkeypatch, prior_alpha, *arguments)
    assert torch.equal(prior_alpha(*arguments), right) and right.max() > 0.9
    assert "descend" not in made.launched  # plain torch does that


@needs_gxx
@pytest.mark.parametrize("room", [0, 16 * 1024])
def test_rows_that_are_not_kept(room, emulator, monkeypatch):
    """Of no block, or of those that have few joins."""
    emulator(room=room)
    case = frame(45, 71)
    right = in_torch(monkeypatch, prior_alpha, *case, "display")
    assert alike(right, prior_alpha(*case, "display"), case[1])


@needs_gxx
def test_the_same_whatever_order_blocks_run_in(emulator):
    emulator()
    case = frame(30, 45, "linear")
    first = prior_alpha(*case, "linear")  # the emulator draws another order each time
    assert torch.equal(prior_alpha(*case, "linear"), first)


@needs_gxx
@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_a_class_is_missing(kept, emulator, monkeypatch):
    emulator()
    light, trimap, picture = frame(60, 91)
    trimap = torch.where(trimap == kept, kept, torch.full_like(trimap, 0.5))
    arguments = (light, trimap, picture, "display", 60 * 91 // 4)
    right = in_torch(monkeypatch, prior_alpha, *arguments)
    assert torch.equal(prior_alpha(*arguments), right)


@needs_gxx
def test_nothing_is_unknown(emulator):
    emulator()
    light, trimap, picture = frame(60, 91)
    assert torch.equal(prior_alpha(light, trimap.round(), picture, "display", 1400), trimap.round())


@needs_gxx
def test_a_damaged_plate(emulator, monkeypatch):
    emulator()
    light, trimap, picture = frame(61, 90, "linear")
    light[..., 10:13, 30:33] = torch.nan
    light[..., 20, 40:50] = torch.inf
    for most in (10**9, 61 * 90 // 4):
        right = in_torch(monkeypatch, prior_alpha, light, trimap, picture, "linear", most)
        assert alike(right, prior_alpha(light, trimap, picture, "linear", most), trimap)


@needs_gxx
def test_one_colour_everywhere(emulator, monkeypatch):
    emulator()
    light, trimap, _ = frame(40, 61)
    flat = torch.full_like(light, 0.25)
    right = in_torch(monkeypatch, prior_alpha, flat, trimap, flat, "display")
    assert alike(right, prior_alpha(flat, trimap, flat, "display"), trimap)


@needs_gxx
@pytest.mark.parametrize(("size", "most"), [((45, 71), 10**6), ((100, 151), 500)])
def test_pixels_tile_by_tile(size, most, emulator):
    emulator()
    trimap = frame(*size)[1][0, 0].contiguous()
    found = laid_out(trimap)
    pixels = numbered(found, trimap, most)
    halvings = found.tiles.halvings

    def tile(pixel):
        """Of each size from the largest down: rows of the largest, then halves in y and x."""
        y, x = divmod(pixel, size[1])
        down = [(y >> bit & 1, x >> bit & 1) for bit in range(halvings + 2, 2, -1)]
        return (y >> halvings + 3, x >> halvings + 3, *down)

    right = sorted(
        (trimap.flatten() == 0.5).nonzero().flatten().tolist(), key=lambda i: (tile(i), i)
    )
    assert pixels.unknown.tolist() == right
    assert (found.unknown, found.known) == (len(right), trimap.numel() - len(right))
    firsts = [i for i, one in enumerate(right) if i == 0 or tile(one) != tile(right[i - 1])]
    counts = found.starts.diff()
    assert found.starts[:-1][counts > 0].tolist() == firsts
    assert (
        found.opened[: found.areas].tolist()
        == counts.view(-1, 16).sum(1).nonzero().flatten().tolist()
    )
    number = torch.full((trimap.numel(),), -1, dtype=torch.int32)
    number[torch.tensor(right)] = torch.arange(len(right), dtype=torch.int32)
    assert torch.equal(pixels.number, number)
    known = (number < 0).nonzero().flatten()
    known = known[:: -(-len(known) // most)]
    assert pixels.searched.tolist() == [*right, *known.tolist()]


@needs_gxx
@pytest.mark.parametrize("values", [(0.0, 0.5), (0.5, 1.0), (0.5,), (0.0, 0.5, 1.0), (0.0, 1.0)])
def test_which_classes_there_are(values, emulator):
    emulator()
    trimap = torch.tensor(values).repeat(700)[:630].reshape(21, 30)
    found = laid_out(trimap)
    assert found.both == (0.0 in values and 1.0 in values)
    assert found.unknown == int((trimap == 0.5).sum())


def by_hand(picture, places, queries, count, spread):
    """Neighbours by looking at all; of equal distances the pixel that comes first."""
    width, places = picture.shape[2], places.sort().values
    y, x = places // width, places % width
    features = torch.cat([picture.flatten(1)[:, places], spread * torch.stack([x, y]) / width])
    found = []
    for one in queries:
        others = features[:, places != one]
        away = (others - features[:, places == one]).square().sum(0)
        found.append(places[places != one][away.argsort(stable=True)[:count]])
    return torch.stack(found)


def neighbours_are_right(most_known):
    g = torch.Generator().manual_seed(2)
    height, width = 50, 64
    picture = (torch.rand(3, height, width, generator=g) * 8).round() / 8
    trimap = torch.full((height, width), 0.0)
    trimap[:, width // 2 :] = 1
    trimap[20:29, 25:40] = 0.5
    searches = Searches((20, 10), (2.0, 0.125), 1.0, most_known)
    frame = numbered(laid_out(trimap), trimap, most_known)
    pixels, number, places = frame.unknown, frame.number, frame.searched
    found, ends, to_known = neighbours._nearest(picture, trimap, frame, searches)
    right = [by_hand(picture, places.long(), pixels, n, s) for n, s in ((20, 2.0), (10, 0.125))]
    right = torch.cat(right, 1)
    there = number[right]
    counted = []
    for part in (slice(0, 20), slice(20, 30)):
        outside = there[:, part] < 0
        ones = trimap.flatten()[right[:, part]] * outside
        counted.append(torch.stack([outside.sum(1).float(), ones.sum(1)]))
    return (
        torch.equal(found, right.int())
        and torch.equal(ends, torch.where(there < 0, len(pixels), there))
        and torch.equal(to_known, torch.stack(counted))
    )


@needs_gxx
@pytest.mark.parametrize("most_known", [10**6, 700])
def test_neighbours_are_the_nearest(most_known, emulator):
    """Exactly: colours and places are in steps that no float rounds, and many are equally near."""
    emulator()
    assert neighbours_are_right(most_known)


@needs_gxx
def test_fewer_pixels_than_neighbours(emulator):
    emulator()
    picture = torch.rand(3, 3, 4, generator=torch.Generator().manual_seed(1))
    trimap = torch.tensor([[0.0, 0.5, 0.5, 1.0]]).expand(3, 4).contiguous()
    searches = Searches((20, 10), (2.0, 0.1), 1.0, 10**6)
    pixels = numbered(laid_out(trimap), trimap, 10**6)
    found, ends, _ = neighbours._nearest(picture, trimap, pixels, searches)
    for one, row, end in zip(pixels.unknown.tolist(), found.tolist(), ends.tolist(), strict=True):
        assert sorted(row[:11]) == sorted(set(range(12)) - {one})
        assert row[11:20] == [-1] * 9 and end[11:20] == [len(pixels.unknown)] * 9


@needs_gxx
def test_who_is_joined_to_whom():
    ends = torch.tensor([[1, 3, 2], [0, 0, 3], [1, 3, 3]], dtype=torch.int32)  # 3 = none
    sources, begins = neighbours.turned(ends)
    assert begins.tolist() == [0, 2, 4, 5]
    assert sources[:5].tolist() == [1, 1, 0, 2, 0]


@needs_gxx
@pytest.mark.parametrize("light", ["display", "linear"])
def test_rows_of_the_laplacian(light, emulator):
    emulator()
    plate, trimap, _ = frame(21, 34, light, 3.0)
    trimap[..., :5, :4] = 0.5  # the frame's corner, where windows are missing
    known = trimap[0, 0]
    known = known.contiguous()
    places = laid_out(known)
    frame_pixels = numbered(places, known, 10**6)
    pixels = frame_pixels.unknown
    open_ = known == 0.5
    linear = torch.tensor([light == "linear"])
    epsilon = regularisation(plate.double(), open_[None], linear)[0]
    right = assemble(plate[0].double(), known.double(), open_, pixels.long(), epsilon)
    typical = plate[0].flatten(1)[:, pixels.long()].abs().mean(0).median()
    found = matting_kernels._System(
        plate[0].contiguous(), known, places, frame_pixels, typical, light == "linear"
    )  # fmt: skip
    others = [way for way in range(25) if way != OWN]
    assert (found.weights.T + right.weights[others]).abs().max() < 1e-5
    assert (found.diagonal - right.weights[OWN]).abs().max() < 1e-5
    assert (found.right - right.right).abs().max() < 1e-5
    assert (found.tied - right.weights.sum(0)).abs().max() < 1e-5
    joined = right.neighbours[others].T
    here = torch.arange(len(pixels))[:, None].expand_as(joined)
    assert torch.equal(found.others, torch.where(joined == len(pixels), here, joined).int())


@needs_gxx
@pytest.mark.parametrize("side", [(2, 3), (8, 5), (16, 3)])
def test_the_inverse_of_the_largest_tiles(side, emulator):
    emulator()
    across, down = side
    g = torch.Generator().manual_seed(4)
    tiles, rank = across * down, 4 * across * down
    y, x = torch.arange(tiles) // across, torch.arange(tiles) % across
    near = ((y[:, None] - y).abs() <= 1) & ((x[:, None] - x).abs() <= 1)
    mixed = torch.randn(rank, rank, generator=g) * near.repeat_interleave(4, 0).repeat_interleave(
        4, 1
    )
    system = mixed + mixed.T + 30 * torch.eye(rank)
    blind = [5, 4 * across + 2]  # functions that say nothing
    system[blind] = 0
    system[:, blind] = 0
    blocks = torch.zeros(tiles, 9, 16)
    for one in range(tiles):
        for other in near[one].nonzero().squeeze(1).tolist():
            way = int((y[other] - y[one] + 1) * 3 + x[other] - x[one] + 1)
            blocks[one, way] = system[4 * one : 4 * one + 4, 4 * other : 4 * other + 4].flatten()
    found = matting_kernels._inverted(blocks, across, down)
    sees = [i for i in range(rank) if i not in blind]
    right = torch.zeros(rank, rank, dtype=torch.float64)
    right[torch.tensor(sees)[:, None], sees] = system.double()[sees][:, sees].inverse()
    assert (found - right).abs().max() < 1e-5
    assert torch.equal(found, found.T)


@needs_gxx
def test_squares_of_pixels(emulator):
    emulator()
    light, trimap, picture = frame(50, 77, "linear")
    light[0, 0, 3, 4] = torch.nan
    small, seen, known = matting_kernels.reduce(light[0], picture[0], trimap[0, 0].contiguous(), 4)
    mean = {"kernel_size": 4, "ceil_mode": True, "count_include_pad": False}
    assert torch.allclose(small, F.avg_pool2d(light.nan_to_num(), **mean)[0])
    assert torch.allclose(seen, F.avg_pool2d(picture, **mean)[0])
    zeros, ones = (F.avg_pool2d((trimap == value).float(), **mean)[0, 0] for value in (0, 1))
    right = torch.full_like(known, 0.5)
    right[(zeros >= 0.5) & (ones == 0)] = 0
    right[(ones >= 0.5) & (zeros == 0)] = 1
    assert torch.equal(known, right)


MISTAKES = {
    "none": ("descend", "turn", "turn"),
    "residuals are not waited for": (
        "descend",
        "        together(p, turn);\n    }\n    if (me == 0)",
        "    }\n    if (me == 0)",
    ),
    "guesses are not waited for": (
        "descend",
        "precondition(p, area, of_guess);\n        together(p, turn);",
        "precondition(p, area, of_guess);",
    ),
    "products are not waited for": (
        "descend",
        "times(p.guess);\n        together(p, turn);",
        "times(p.guess);",
    ),
    "no barrier after the largest tiles' moments": (
        "descend",
        "p.means_largest[largest];\n        __syncthreads();",
        "p.means_largest[largest];",
    ),
    "no barrier after the smallest tiles' moments": (
        "descend",
        "        __syncthreads();\n        if (warp != 0) continue;",
        "        if (warp != 0) continue;",
    ),
    "no barrier before the sums of warps": (
        "descend",
        "    __syncthreads();\n    if (warp >= COUNT) return;",
        "    if (warp >= COUNT) return;",
    ),
    "joins of others are forgotten": ("descend", "i < end; i += AT_ONCE", "i < 0; i += AT_ONCE"),
    "joins of others are another block's": (
        "descend",
        "there.sources + begin, joins",
        "there.sources, joins",
    ),
    "no barrier in the galerkin sums": (
        "galerkin",
        "    __syncthreads();\n    for (int i = mine; i < 144",
        "    for (int i = mine; i < 144",
    ),
    "no barrier in the boxes": ("boxes", "    __syncthreads();\n", ""),
    "no barrier in the inverse": (
        "invert",
        "            __syncthreads();\n            const float pivot",
        "            const float pivot",
    ),
    "boxes beside are not looked into": ("neighbours", "one != home && least", "false && least"),
    "ties go to whichever came first": ("neighbours", "<< 32 | (u32)place", "<< 32 | (u32)at"),
}


def the_prior_is_right(right, case):
    """To the last of its accuracy, in as many steps as it takes: more of them forgive a lot."""
    answers = []
    plain = matting_kernels.solve

    def solve(*arguments):
        answers.append(plain(*arguments))
        return answers[-1]

    matting_kernels.solve = solve
    matting_kernels.TOLERANCE = 1e-5
    found = prior_alpha(*case, "display")
    steps = float(answers[0].outcome[0])
    return alike(right, found, case[1], 2e-4, 5e-3) and 10 < steps < 45


@needs_gxx
@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake, emulator, monkeypatch):
    """In a child, since it may crash."""
    kernel, before, after = MISTAKES[mistake]

    def change(name, source):
        if name != kernel:
            return source
        assert before in source
        return source.replace(before, after)

    case = frame(33, 51)
    right = in_torch(monkeypatch, prior_alpha, *case, "display")
    monkeypatch.setattr(matting_kernels, "LIMIT", 60)
    child = os.fork()
    if child == 0:
        code = 3
        try:
            faulthandler.disable()
            torch.set_num_threads(1)
            emulator(change)
            near = kernel in ("boxes", "neighbours")
            code = not (neighbours_are_right(10**6) if near else the_prior_is_right(right, case))
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert status != 3 << 8, "the check itself broke"
    assert (status != 0) == (mistake != "none")


@needs_gxx
def test_exactly_as_closed_form_says(emulator, monkeypatch):
    """With more steps the descent comes to the solution itself."""
    emulator()
    monkeypatch.setattr(matting_kernels, "TOLERANCE", 1e-6)
    monkeypatch.setattr("model.classical.closed_form._ALIKE_TOLERANCE", 1e-7)
    light, trimap, picture = frame(45, 71)
    named = {"composited_in": "display", "picture": picture}
    right = in_torch(monkeypatch, solve_alpha, light, trimap, **named)
    found = solve_alpha(light, trimap, **named)
    assert (found - right).abs().max() < 1e-3


@pytest.fixture
def wanted(monkeypatch):
    """Kernels that a call would launch, recorded instead."""
    found = {}

    def kernel_on(device, part):
        return lambda *arguments, **named: found.setdefault(part)

    monkeypatch.setattr(variants, "kernel_on", kernel_on)
    monkeypatch.setattr(matting_kernels, "blocks_together", lambda device: 264)
    monkeypatch.setattr(matting_kernels, "room_together", lambda device: 40 * 1024)
    for module, name in ((layout, "laid_out"), (layout, "numbered"), (neighbours, "_nearest")):
        monkeypatch.setattr(module, name, zeroed(getattr(module, name)))
    monkeypatch.setattr(matting_kernels, "numbered", layout.numbered)
    return found


def zeroed(function):
    """What its kernels would have written is 0."""

    def call(*arguments):
        found = function(*arguments)
        for tensor in found if isinstance(found, tuple) else vars(found).values():
            if isinstance(tensor, torch.Tensor):
                tensor.zero_()
        return replace(found, unknown=9, known=9) if isinstance(found, Layout) else found

    return call


@needs_compiler
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_compiles_without_spilling(architecture, wanted):
    """For every kind of card, and in registers alone, but for a few words of the descent."""
    searches = Searches((20, 10), (2.0, 0.1), 0.003, 10**6)
    for size in ((63, 90), (270, 480), (512, 384)):
        light, trimap, picture = frame(*size)
        trimap = trimap[0, 0].contiguous()
        matting_kernels.reduce(light[0], picture[0], trimap, 2)
        places = layout.laid_out(trimap)
        answer = matting_kernels.solve(light[0], trimap, picture[0], places, True, searches)
        fine = torch.zeros(2 * size[0], 2 * size[1])
        matting_kernels.carry(light[0], answer, fine.expand(3, -1, -1).clone(), fine, True, 2)
    assert {part.name for part in wanted} == {
        "reduce", "tally", "scan", "number", "keys", "boxes", "neighbours", "laplacian", "tiles",
        "galerkin", "coarsen", "invert", "descend", "functions", "smooth", "carry",
    }  # fmt: skip
    for part in wanted:
        code = nvrtc.compiled(part.source, part.name, part.flags, architecture)
        assert code.startswith(b"\x7fELF")
        assert stack_bytes(code) <= (32 if part.name == "descend" else 0), part


def stack_bytes(cubin):
    """Bytes of local memory per thread, from the machine code's own notes.

    They are in the section .nv.info: 0x04 0x11, length 8, symbol, bytes (EIATTR_FRAME_SIZE).
    """
    at = cubin.index(b"\x04\x11\x08\x00")
    return int.from_bytes(cubin[at + 8 : at + 12], "little")
