"""The stage that trains as published: both networks, its clips, its schedule, its refusals."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
import torch

from model.checkpoint import CheckpointRecord, load_tensors, read_record, save_checkpoint
from model.errors import SetupError
from model.networks.st_fam_r50 import StFamR50, open_network
from tests.train.disc_clips import CLIPS, KIND, Discs
from training import sources, train
from training.loop.recipe_file import check_keys, read_recipe
from training.loop.schedule import Plateau, judged
from training.pool import Share
from training.published.stage import PublishedStage
from training.source_crops import picture_of

CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[2] / "training" / "recipes"
COMMON = f"""
stage = "published"
seed = 2
batch = 1
learning_rate = 2e-3
min_lr = 1e-4
schedule = "linear"
optimiser = "adam"
betas = [0.9, 0.999]
clip_norm = 1.0
ema = 0.0
niter = 1
niter_decay = 1
validate_freq = 1
{CLIPS}
[trimap]
kernel = [3]
iterations = [1, 2]
"""
LOSSES = """
[loss]
comp = 0.5
grad = 1.0
kld = 1.0
temp = 1.0
"""
R50 = f"""
network = "st_fam_r50"
norm = "first_epoch"
{COMMON}
[network_config]
channels = [8, 8, 16, 16, 16]

[init]
type = "xavier"
gain = 1.0

[clips]
load_size = 32
crop_sizes = [32, 48]

[quirks]
grad_reweighs = true
kld_whole_frame = true
temp_whole_frame = true
{LOSSES}"""
R50_SINGLE = R50.replace("channels =", 'shift = 0\nupsample = "deconv"\nchannels =').replace(
    "load_size =", "shift = 0\nn_frames = 1\nload_size ="
)
OURS = f"""
network = "st_fam_s"
{COMMON}
[network_config]
channels = [4, 6, 8, 8, 8]
narrow = [4, 4]
guide = 4

[clips]
load_size = 32
crop_sizes = [32, 48]
ahead = 2
{LOSSES}confidence = 0.02
"""
BOTH = pytest.mark.parametrize("text", [R50, OURS], ids=["st_fam_r50", "st_fam_s"])


@pytest.fixture(autouse=True)
def discs(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "discs", KIND)


def go(text, out, *more) -> int:
    path = out.parent / f"{out.name}.toml"
    path.write_text(text, encoding="utf-8")
    fixed = "--accelerator", "cpu", "--log-every", "1"
    return train.main([str(path), "--out", str(out), *fixed, *more])


def stage_of(text, **changes) -> PublishedStage:
    return PublishedStage(tomllib.loads(text) | changes, None, CPU)


def lines(out):
    return [json.loads(x) for x in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    "text", [R50, R50_SINGLE, OURS], ids=["st_fam_r50", "single frames, by deconv", "st_fam_s"]
)
def test_it_learns_judges_each_epoch_and_resumes_to_the_bit(text, tmp_path):
    assert go(text, tmp_path / "straight") == 0
    found = lines(tmp_path / "straight")
    assert [x["step"] for x in found if "held out/score" in x] == [3, 6]  # 3 clips, 2 epochs
    rates = [x["rate"] for x in found if "rate" in x]
    assert rates == pytest.approx([2e-3] * 3 + [1e-3] * 3)
    judged = [x["held out/SAD"] for x in found if "held out/SAD" in x]
    record = read_record(tmp_path / "straight" / "best.safetensors")
    assert record.training["held_out"]["score"] == min(judged)
    assert record.training["clips"]["clips"] == ["disc0", "disc1", "disc2"]
    parts = {"diff", "comp", "grad", "kld", "temp"}
    assert parts <= set(found[0])
    assert ("refine" in found[0]) == ("r50" in text)
    assert go(text, tmp_path / "broken", "--time-budget", "0s") == 0
    assert go(text, tmp_path / "broken", "--resume") == 0
    first, second = (
        torch.load(tmp_path / name / "state.pt", weights_only=True)
        for name in ("straight", "broken")
    )
    assert second["step"] == 6
    for part in ("network", "average"):
        assert all(torch.equal(one, second[part][n]) for n, one in first[part].items())


@BOTH
def test_the_loss_falls(text):
    """The same clip over and over."""
    torch.manual_seed(0)
    recipe = tomllib.loads(text)
    stage = stage_of(text)
    network = train._named(train.NETWORKS, recipe["network"], "network")(**recipe["network_config"])
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    batch = next(stage.batches(0))
    seen = []
    for _ in range(14):
        total, _ = stage.loss(network, batch)
        total.backward()
        assert all(p.grad is not None for p in network.parameters())
        optimiser.step()
        optimiser.zero_grad()
        seen.append(float(total.detach()))
    assert seen[-1] < 0.8 * seen[0]


def test_a_network_by_deconv_is_kept_with_how_it_doubles_sizes(tmp_path, capsys):
    """And is used, and gone on from."""
    more = "--set", 'network_config.upsample="deconv"', "--time-budget", "0s"
    assert go(R50, tmp_path / "first", *more) == 0
    file = tmp_path / "first" / "last.safetensors"
    sizes = {"channels": [8, 8, 16, 16, 16], "shift": 2, "refine": True}
    assert open_network(str(file), CPU).config == {**sizes, "upsample": "deconv"}
    assert go(R50, tmp_path / "next", "--init", str(file), *more) == 0
    begun = torch.load(tmp_path / "next" / "state.pt", weights_only=True)["network"]
    assert begun["decoder.rise.4.enlarge.weight"].shape == (16, 16, 4, 4)
    assert not any("spread" in name for name in begun)
    capsys.readouterr()
    assert go(R50, tmp_path / "other", "--init", str(file), "--dry-run") == 20
    assert "the checkpoint's own config is" in (said := capsys.readouterr().err)
    assert "'upsample': 'deconv'" in said


def test_single_frames_are_taught_and_judged_by_themselves():
    """The published --frame_loading frame, with --max_n_frame for the validation."""
    stage = stage_of(R50_SINGLE)
    batch = next(stage.batches(0))
    assert batch.picture.shape == (1, 1, 3, 32, 32)
    _, parts = stage.loss(StFamR50((8, 8, 16, 16, 16), 0, upsample="deconv"), batch)
    assert parts["temp"] == 0
    assert parts["diff"] > 0
    for most, frames in ((2, (0, 1)), (0, range(7))):
        judged_frames = [one.picture for one in stage.judge._chunks(most)]
        entries = stage.judge.sources.entries
        wanted = [stage.judge.sources.read(entry, i, 1) for entry in entries for i in frames]
        assert len(judged_frames) == len(wanted)
        for one, other in zip(judged_frames, wanted, strict=True):
            assert torch.equal(one[0], picture_of(other))


def test_gradients_reach_the_offsets_of_the_published_network():
    """Which begin at zero, and would stay there if deformable convolution gave none back."""
    torch.manual_seed(0)
    stage = stage_of(R50)
    network = StFamR50((8, 8, 16, 16, 16))
    total, _ = stage.loss(network, next(stage.batches(0)))
    total.backward()
    for level in network.align:
        assert float(level.taps.weight.grad.abs().max()) > 0


def test_an_epoch_shows_each_clip_once(monkeypatch):
    stage = stage_of(OURS, batch=2)
    assert stage.epoch_steps == 2
    whole = {number: stage.make(number)["alpha"].tobytes() for number in range(6)}
    assert len(set(whole.values())) == 6  # and no two are alike
    names = []
    read = Discs.read

    def noted(self, name, frames):
        names.append(name)
        return read(self, name, frames)

    monkeypatch.setattr(Discs, "read", noted)
    for number in range(6):
        stage.make(number)
    assert sorted(names[:3]) == sorted(names[3:]) == ["disc0", "disc1", "disc2"]
    assert names[:3] != names[3:]


def test_processes_share_what_one_would_see():
    alone = next(stage_of(R50, batch=4).batches(3))
    parts = []
    for rank in range(2):
        stage = stage_of(R50, batch=4)
        stage.take_share(Share(rank, 2))
        parts.append(next(stage.batches(3)))
    for name in ("picture", "alpha", "trimap", "foreground"):
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(alone, name))


def test_workers_make_what_one_process_makes():
    alone = stage_of(OURS).batches(1)
    helped = stage_of(OURS, workers=2).batches(1)
    for _ in range(3):
        one, other = next(alone), next(helped)
        assert torch.equal(one.prior, other.prior)
        assert torch.equal(one.light, other.light)
    helped.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_wrong_with_a_clip_is_one_sentence_also_from_a_worker(workers, tmp_path, capsys):
    text = R50.replace('folder = "discs/3"', 'folder = "discs/3"\nspoil = "length"')
    assert go(text, tmp_path / "run", "--set", f"workers={workers}") == 10
    said = capsys.readouterr().err
    assert "3 frames of foreground where 4 are asked for" in said
    assert len(said.splitlines()) == 2


def test_norms_learn_during_the_first_epoch_alone():
    stage = stage_of(R50)
    network = StFamR50((8, 8, 16, 16, 16))
    states = []
    for step, batch in zip((0, 3), (stage._batch([stage.make(n)], n) for n in (0, 3)), strict=True):
        before = network.encoder.norm.running_mean.clone()
        assert batch.step == step
        stage.loss(network, batch)
        states.append(not torch.equal(before, network.encoder.norm.running_mean))
    assert states == [True, False]
    stage.norm = "learns"
    before = network.encoder.norm.running_mean.clone()
    stage.loss(network, batch)
    assert not torch.equal(before, network.encoder.norm.running_mean)


@pytest.mark.parametrize("tile", [0, 32])
def test_the_score_is_the_published_sad(tile):
    """A network that answers 0.25 everywhere."""
    stage = stage_of(R50, judge={"tile": tile, "max_n_chunk": 0})

    class Flat(torch.nn.Module):
        refine = None

        def forward(self, planes):
            flat = torch.full_like(planes[2:, :1], 0.25)
            return type("Answer", (), {"coarse": flat, "alpha": flat})

    found = stage.validate(Flat())
    wanted = []
    for entry in stage.judge.sources.entries:
        for start in (0, 2, 4, 5):
            batch = stage.judge._read(entry, start)
            unknown = batch.trimap[0, 2:] == 0.5
            error = (0.25 - batch.alpha[0, 2:]).abs() * unknown
            wanted += error.flatten(1).sum(1).tolist()
    assert found["score"] == found["SAD"] == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)


def test_one_trimap_can_stand_for_all():
    """The published --use_less_trimaps: that of the first frame asked for."""
    stage = stage_of(OURS, trimap={"kernel": [3], "iterations": [1, 2], "first_only": True})
    for batch in (next(stage.batches(0)), stage.judge._read((0, "disc0"), 2)):
        assert torch.equal(batch.trimap, batch.trimap[:, 2:3].expand_as(batch.trimap))
        assert not torch.equal(batch.alpha[:, 0], batch.alpha[:, 2])


def test_validation_begins_before_the_clip_as_a_shot_does():
    stage = stage_of(R50)
    batch = stage.judge._read((0, "disc0"), 0)
    assert torch.equal(batch.picture[0, 0], batch.picture[0, 2])
    assert not torch.equal(batch.picture[0, 2], batch.picture[0, 3])


def test_what_was_trained_is_used_and_goes_on_from_itself(tmp_path):
    """As an imported checkpoint is; BatchNorm's figures stay exact."""
    assert go(R50, tmp_path / "first", "--set", "niter_decay=0") == 0
    file = tmp_path / "first" / "last.safetensors"
    assert open_network(str(file), CPU).config["channels"] == [8, 8, 16, 16, 16]
    tensors = load_tensors(file, CPU)
    assert tensors["encoder.norm.running_var"].dtype == torch.float32
    assert int(tensors["encoder.norm.num_batches_tracked"]) == 3
    assert tensors["encoder.conv.weight"].dtype == torch.float16
    assert go(R50, tmp_path / "next", "--init", str(file), "--time-budget", "0s") == 0
    begun = torch.load(tmp_path / "next" / "state.pt", weights_only=True)["network"]
    assert torch.equal(begun["encoder.conv.weight"], tensors["encoder.conv.weight"].float())


def test_the_licence_of_what_it_began_with_goes_on(tmp_path):
    file = tmp_path / "theirs.safetensors"
    network = StFamR50((8, 8, 16, 16, 16))
    record = CheckpointRecord("st_fam_r50", network.config, "nobody may use it", {})
    save_checkpoint(file, network.state_dict(), record)
    assert go(R50, tmp_path / "run", "--init", str(file), "--time-budget", "0s") == 0
    licence = read_record(tmp_path / "run" / "last.safetensors").licence
    assert licence.endswith("begun with: nobody may use it")


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ("loss.comq=1.0", 20, "[loss] has no key 'comq'\n     Hint: is comp meant?"),
        (
            "learning_rat=1.0",
            20,
            "recipe has no key 'learning_rat'\n     Hint: is learning_rate meant?",
        ),
        (
            "network_config.shft=1",
            20,
            "[network_config] has no key 'shft'\n     Hint: is shift meant?",
        ),
        (
            "quirks.nothing_alike=true",
            20,
            "no key 'nothing_alike'\n     Hint: known are grad_reweighs",
        ),
        ("clips.ahead=1", 20, "cannot see 2 frames back and 1 ahead"),
        ("network_config.shift=1", 20, "set clips.shift to that"),
        ('network_config.upsample="ps"', 20, "upsample 'ps' is none of shuffle, deconv"),
        ("network_config.channels=[8, 8]", 20, "no st_fam_r50 of the recipe's network_config"),
        ('trimap.kind="drawn"', 20, 'trimap.kind is "drawn", and may be "brush" or "published"'),
        ('source.folder="discs/0"', 10, "no clips in discs/0"),
        ('source.kind="disks"', 20, "the kind 'disks'"),
        ("validation=[]", 20, "no [validation]"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(change, code, said, tmp_path, capsys):
    assert go(R50, tmp_path / "run", "--set", change) == code
    found = capsys.readouterr().err
    assert said in found
    assert len(found.splitlines()) == 2
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('source.spoil="alpha"', "has no alpha for frame"),
        ("source.layers=false", "no foreground and no background, which the comp loss needs"),
    ],
)
def test_a_clip_that_lacks_something_is_named(change, said, tmp_path, capsys):
    assert go(R50, tmp_path / "run", "--set", change) == 10
    found = capsys.readouterr().err
    assert "the clip disc" in found
    assert said in found


def test_sources_have_no_shares_where_each_clip_is_shown_once():
    one = {"kind": "discs", "folder": "discs/2"}
    with pytest.raises(SetupError, match="have no shares"):
        stage_of(OURS, source=[one, {**one, "share": 2}])


def test_other_networks_are_not_trained_by_this(tmp_path, capsys):
    text = R50.replace('"st_fam_r50"', '"trimap_memory_s"')
    text = text.replace("channels = [8, 8, 16, 16, 16]", "")
    assert go(text, tmp_path / "run") == 20
    assert "does not train trimap_memory_s" in capsys.readouterr().err


def test_a_checkpoint_of_another_network_is_refused(tmp_path, capsys):
    weights = sorted((Path(train.__file__).parents[1] / "model" / "weights").glob("st_fam_s*"))
    assert go(R50, tmp_path / "run", "--init", str(weights[0])) == 20
    assert "holds st_fam_s, not st_fam_r50" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_and_writes_nothing(tmp_path, capsys):
    assert go(R50, tmp_path / "run", "--dry-run") == 0
    said = capsys.readouterr().out
    for part in (
        "M parameters",
        "begins: xavier, gain 1",
        "source: 3 clips, 21 frames (7 to 7 a clip)",
        "validation: 2 clips, 14 frames",
        "batch: 1 × 4 frames × 32×32 pixels",
        "steps: 6 (2 epochs of 3)",
        "linear: 0.002 at 0",
        "comp 0.5",
        "oddities kept: grad_reweighs, kld_whole_frame, temp_whole_frame, norm",
        "judged: every 3 steps from step 3 on",
        "kept for the backward pass",
        f"files in {tmp_path / 'run'}: last.safetensors",
    ):
        assert part in said
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_how_sizes_are_doubled(tmp_path, capsys):
    assert go(R50_SINGLE, tmp_path / "run", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "'shift': 0, 'refine': True, 'upsample': 'deconv'}" in said
    assert "batch: 1 × 1 frames × 32×32 pixels" in said


@pytest.mark.parametrize(
    "change", ["loss.comq=1", 'source.folder="discs/0"', 'network_config.upsample="ps"']
)
def test_a_dry_run_refuses_what_the_run_would(change, tmp_path, capsys):
    assert go(R50, tmp_path / "run", "--dry-run", "--set", change) in (10, 20)
    assert capsys.readouterr().err


def test_the_published_recipes_say_what_was_published():
    recipe = read_recipe(RECIPES / "published.toml")
    check_keys(recipe, PublishedStage, StFamR50)
    epoch = 248
    rates = [train.learning_rate(recipe, e * epoch, epoch) for e in range(100)]
    assert rates[:20] == [5e-5] * 20
    assert rates[20] == pytest.approx(5e-5 * (1 - 1 / 81))
    assert rates[60] == pytest.approx(5e-5 * (1 - 41 / 81))
    assert rates[99] == 5e-6  # the floor; the line is at 5e-5 / 81 there
    assert train.total_steps(recipe, epoch) == 100 * epoch
    ours = read_recipe(RECIPES / "published_st_fam_s.toml")
    check_keys(ours, PublishedStage, train._named(train.NETWORKS, "st_fam_s", "network"))
    for key in ("learning_rate", "min_lr", "niter", "niter_decay", "betas", "clip_norm", "batch"):
        assert ours[key] == recipe[key]


def test_the_rate_is_lowered_where_judgements_get_no_better():
    recipe = {"learning_rate": 1.0, "schedule": "plateau", "plateau_patience": 2}
    state, rates = Plateau(), []
    for score in (2.0, 1.5, 1.5, 1.499, 1.6, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        state = judged(recipe, state, score)
        rates.append(train.learning_rate(recipe, 99, 1, state.lowered))
    assert rates == pytest.approx([1, 1, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.04, 0.04, 0.04, 0.008])
    floor = recipe | {"min_lr": 0.1}
    assert train.learning_rate(floor, 0, 1, state.lowered) == 0.1
    other = recipe | {"plateau_factor": 0.5, "plateau_threshold": 0.5}
    assert judged(other, Plateau(2.0), 1.5).waited == 1
    assert train.learning_rate(other, 0, 1, 3) == 0.125


def test_a_plateau_is_kept_when_a_run_goes_on(tmp_path):
    """No judgement is better by so much, so each but the first lowers the rate; and stopping, which
    judges too, does not."""
    never = (
        *("--set", 'schedule="plateau"', "--set", "plateau_threshold=0.9"),
        *("--set", "plateau_patience=0", "--set", "niter=2", "--set", "min_lr=1e-9"),
    )
    assert go(OURS, tmp_path / "whole", *never) == 0
    assert go(OURS, tmp_path / "parts", *never, "--time-budget", "0s") == 0
    for _ in range(20):
        assert go(OURS, tmp_path / "parts", *never, "--resume", "--time-budget", "1s") == 0
        if torch.load(tmp_path / "parts" / "state.pt", weights_only=True)["step"] == 9:
            break
    whole, parts = (
        torch.load(tmp_path / one / "state.pt", weights_only=True) for one in ("whole", "parts")
    )
    assert whole["step"] == parts["step"] == 9
    assert whole["plateau"] == parts["plateau"] and whole["plateau"]["lowered"] == 2
    rates = [line["rate"] for line in lines(tmp_path / "whole") if "rate" in line]
    assert rates == pytest.approx([2e-3] * 6 + [4e-4] * 3)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_committed_recipe_has_known_keys(recipe):
    read = read_recipe(recipe)
    stage = train._named(train.STAGES, read["stage"], "stage")
    check_keys(read, stage, train._named(train.NETWORKS, read["network"], "network"))
