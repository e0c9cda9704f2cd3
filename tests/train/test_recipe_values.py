"""What a recipe's values may be: whatever else is one sentence, before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import train
from training.loop import dry_run, recipe_file, recipe_values
from training.loop.recipe_file import check_keys, read_recipe
from training.synthesis_values import SYNTHESIS

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
MATTING, CARRYING = "st_fam_s_cpu_specks", "trimap_memory_s_cpu"
PUBLISHED, OURS = "published", "published_st_fam_s"


@pytest.fixture(autouse=True)
def nothing_is_built(monkeypatch):
    for module in (train, dry_run):
        monkeypatch.setattr(module, "built", lambda *_: pytest.fail("it was built before"))


def refused(recipe, change, tmp_path, capsys, *more) -> str:
    """What is said of a recipe with a change."""
    path = RECIPES / f"{recipe}.toml"
    given = "--out", str(tmp_path / "run"), "--accelerator", "cpu", *more
    assert train.main([str(path), *given, "--set", change]) == 20
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 2, said
    assert not (tmp_path / "run").exists()
    return said


@pytest.mark.parametrize("plan", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("recipe", "change", "said"),
    [
        (OURS, 'batch="x"', 'batch is "x", and may be a whole number from 1 on'),
        (OURS, "batch=0", "batch is 0, and may be a whole number from 1 on"),
        (OURS, "batch=-2", "batch is -2, and"),
        (OURS, "batch=1.5", "batch is 1.5, and"),
        (OURS, "batch=true", "batch is true, and"),
        (OURS, "steps=0", "steps is 0, and may be a whole number from 1 on"),
        (OURS, "steps=-5", "steps is -5, and"),
        (OURS, "niter=-1", "niter is -1, and may be a whole number from 0 on"),
        (OURS, 'network=["x"]', 'network is ["x"], and may be a text in quotation marks'),
        (OURS, "stage=3", "stage is 3, and may be a text"),
        (OURS, 'seed="a"', 'seed is "a", and may be a whole number from 0 on'),
        (OURS, "seed=-1", "seed is -1, and"),
        (OURS, "seed=9223372036854775808", "seed is 9223372036854775808, and"),
        (OURS, "learning_rate=nan", "learning_rate is NaN, and may be a number above 0"),
        (OURS, "learning_rate=inf", "learning_rate is Infinity, and"),
        (OURS, "learning_rate=0", "learning_rate is 0, and"),
        (OURS, 'ema="a"', 'ema is "a", and may be a number from 0 to 1'),
        (OURS, "ema=1.5", "ema is 1.5, and"),
        (OURS, 'precision="foo"', 'precision is "foo", and may be "32-true" or "bf16-mixed"'),
        (OURS, 'optimiser="lion"', 'optimiser is "lion", and may be "adamw" or "adam" or "sgd"'),
        (OURS, "betas=[0.9]", "betas is [0.9], and may be a list of 2, each a number from 0 to 1"),
        (OURS, 'schedule="hill"', 'schedule is "hill", and may be "warm_cosine" or "linear"'),
        (OURS, "network_config=3", "network_config is 3, and may be a table"),
        (
            OURS,
            "network_config.guide=-1",
            "network_config.guide is -1, and may be a whole number",
        ),
        (OURS, 'network_config.trust="a"', 'network_config.trust is "a", and may be a number'),
        (OURS, "network_config.both_ways=3", "both_ways is 3, and may be true or false"),
        (OURS, "network_config.narrow=[-1]", "narrow is [-1], and may be a list of one or more"),
        (OURS, "source=3", "source is 3, and may be a table, or several"),
        (OURS, "source.folder=3", "source.folder is 3, and may be a text"),
        (OURS, 'source.kind=["x"]', 'source.kind is ["x"], and may be a text'),
        (OURS, "source.share=0", "source.share is 0, and may be a number above 0"),
        (OURS, 'loss.soft="x"', 'loss.soft is "x", and may be a number from 0 on'),
        (OURS, "loss.comp=-1.0", "loss.comp is -1.0, and"),
        (OURS, "clips.crop_sizes=5", "clips.crop_sizes is 5, and may be a list of one or more"),
        (OURS, "clips.crop_sizes=[]", "clips.crop_sizes is [], and may be a list of one or more"),
        (OURS, "clips.load_size=40", "clips.load_size is 40, and may be a whole number from 16 on"),
        (OURS, "clips.flip=2", "clips.flip is 2, and may be a number from 0 to 1"),
        (OURS, "clips.n_frames=0", "clips.n_frames is 0, and"),
        (OURS, "clips.ahead=3", "cannot see 2 frames back and 3 ahead"),
        (OURS, "trimap.kernel=[]", "trimap.kernel is [], and"),
        (OURS, "trimap.iterations=[9, 5]", "cannot be drawn"),
        (OURS, "workers=-1", "workers is -1, and may be a whole number from 0 on"),
        (OURS, "judge.max_n_chunk=-1", "judge.max_n_chunk is -1, and"),
        (PUBLISHED, 'norm="off"', 'norm is "off", and may be "learns" or "frozen"'),
        (PUBLISHED, "quirks.grad_reweighs=1", "quirks.grad_reweighs is 1, and may be true or"),
        (PUBLISHED, "init.gain=-1", "init.gain is -1, and may be a number from 0 on"),
        (MATTING, 'synthesis.height="a"', 'synthesis.height is "a", and may be a whole number'),
        (MATTING, "synthesis.height=250", "synthesis.height is 250, and"),
        (MATTING, "synthesis.frames=5", "synthesis.frames is 5, and st_fam_s is taught on clips"),
        (MATTING, "synthesis.speeds=[9.0, 1.0]", "[synthesis] cannot be used: speeds are above 0"),
        (MATTING, "synthesis.hasty_share=2", "synthesis.hasty_share is 2, and may be a number fr"),
        (MATTING, "synthesis.kind_shares.fur=-1", 'kind_shares is {"person": 2.0'),
        (MATTING, "synthesis.kind_shares.furr=2", "may be a table of strands, fur, solid, curves"),
        (MATTING, 'synthesis.framing="far"', 'framing is "far", and may be "close" or "whole"'),
        (MATTING, "pool.crop=-5", "pool.crop is -5, and may be a whole number from 16 on, a mul"),
        (MATTING, "pool.crop=50", "pool.crop is 50, and"),
        (MATTING, "pool.start=0", "pool.start is 0, and may be a whole number from 1 on"),
        (MATTING, "pool.size=2401", "pool.size is 2401, which is no multiple of its pool.fill 4"),
        (MATTING, "synthesis.width=160", "pool.crop is 176, and its clips are 160×224"),
        (MATTING, "synthesis_share=0", "synthesis_share is 0, and it has no [source]"),
        (MATTING, 'alone="a"', 'alone is "a", and may be a number from 0 to 1'),
        (MATTING, "library.count=0", "library.count is 0, and"),
        (MATTING, "judge.clips=0", "judge.clips is 0, and"),
        (CARRYING, 'source={kind="composed"}', "is taught by synthetic clips alone, and the rec"),
        (CARRYING, 'validation={kind="composed"}', "and the recipe has a [validation]"),
        (CARRYING, "propagation.every=0", "propagation.every is 0, and may be a number above 0"),
        (CARRYING, "propagation.crop=[192]", "propagation.crop is [192], and may be a list of 2"),
        (CARRYING, "propagation.sizes=[[96, 480]]", "clips of [96, 480] are smaller"),
        (CARRYING, "propagation.unrol=3", "[propagation] has no key 'unrol'"),
        (CARRYING, 'loss.missed="a"', 'loss.missed is "a", and may be a number from 0 on'),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence(recipe, change, said, plan, tmp_path, capsys):
    assert said in refused(recipe, change, tmp_path, capsys, *plan)


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_key_of_every_stage_has_a_kind_that_its_own_recipes_are_of(path):
    recipe = read_recipe(path)
    stage = train._named(train.STAGES, recipe["stage"], "stage")
    check_keys(recipe, stage, train._named(train.NETWORKS, recipe["network"], "network"))
    assert all(
        isinstance(kind, recipe_values.Kind)
        for kinds in (*stage.TABLES.values(), recipe_file.LOOP, recipe_file.INIT)
        for kind in kinds.values()
    )


def test_kinds_of_a_dataclass_come_from_its_defaults():
    assert SYNTHESIS["exposures"].told == "a whole number from 1 on"
    assert SYNTHESIS["noise_share"] is recipe_values.SHARE
    assert SYNTHESIS["kind_shares"].fits({"fur": 2}) and not SYNTHESIS["kind_shares"].fits(["fur"])
    assert SYNTHESIS["speeds"].fits([0.5, 3]) and not SYNTHESIS["speeds"].fits([0.5])
    assert not SYNTHESIS["linear_share"].fits(True)


def of(changes, tmp_path) -> Path:
    text = (RECIPES / f"{OURS}.toml").read_text(encoding="utf-8")
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    path = tmp_path / "changed.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"niter = 20\n": "", "niter_decay = 80": "steps = 9"}, "niter and niter_decay is not the"),
        ({"niter = 20": "niter = 0", "niter_decay = 80": "niter_decay = 0"}, "niter is 0, which l"),
        ({"niter = 20": "niter = 0", '"linear"': '"cosine"'}, "niter is 0, which leaves nothing"),
    ],
)
def test_a_schedule_without_epochs_is_one_sentence(changes, said, tmp_path, capsys):
    path = of(changes, tmp_path)
    assert train.main([str(path), "--out", str(tmp_path / "run"), "--dry-run"]) == 20
    assert said in capsys.readouterr().err


def test_a_recipe_that_is_no_text_is_one_sentence(tmp_path, capsys):
    path = tmp_path / "odd.toml"
    path.write_bytes(b"\xff\xfe #")
    assert train.main([str(path), "--out", str(tmp_path / "run")]) == 20
    said = capsys.readouterr().err
    assert f"the recipe {path} is no text in UTF-8" in said and len(said.splitlines()) == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--threads", "0"), ("--log-every", "0"), ("--judge-every", "0"), ("--threads", "x")),
        *(("--devices", "foo"), ("--devices", "0"), ("--devices", "1.5")),
    ],
)
def test_options_that_cannot_be_are_usage(option, value, tmp_path, capsys):
    path = str(RECIPES / f"{OURS}.toml")
    with pytest.raises(SystemExit, match="2"):
        train.main([path, "--out", str(tmp_path / "run"), "--dry-run", option, value])
    assert f"argument {option}: '{value}' is no" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_sentence(tmp_path, capsys):
    """Lists of devices are of GPUs."""
    given = "--out", str(tmp_path / "run"), "--accelerator", "cpu", "--devices", "0,1"
    assert train.main([str(RECIPES / f"{MATTING}.toml"), *given]) == 20
    said = capsys.readouterr().err
    assert "--accelerator cpu --devices 0,1 cannot be had here" in said
    assert len(said.splitlines()) == 2
