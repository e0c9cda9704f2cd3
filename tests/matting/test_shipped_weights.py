"""The weights that are shipped: small enough, made by committed recipes, and better than what they
correct. The figures are those of a few frames; the README has all."""

from pathlib import Path

import pytest
import torch

from model.checkpoint import load_tensors, read_record
from model.networks.st_fam_s import StFamS
from model.registry import NETWORKS, WEIGHTS_FOLDER
from training.judging.evaluation import Request, judge
from training.judging.judgement import DTSSD, MSE, RECALL, WIDTH, WRONG
from training.judging.subjects import FLOW
from training.train import begun_with, read_recipe, recipe_hash

ROOT = Path(__file__).parents[2]
EVAL = ROOT / ".." / "shared" / "data" / "eval"
LEARNED = [entry for entry in NETWORKS if entry.weights]
MOST_BYTES, MOST_PARAMETERS = 10_000_000, 8_000_000  # of all together
STILLS = "still_hair_short01", "still_rose"
CLIPS = "clip_dancer_A_pan_stream", "cg_fur_linear", "exr_linear_dancer"

real = pytest.mark.skipif(not EVAL.is_dir(), reason="needs shared/data/eval")


def test_they_are_small():
    files = [WEIGHTS_FOLDER / entry.weights for entry in LEARNED]
    tensors = [load_tensors(file, torch.device("cpu")) for file in files]
    assert sum(file.stat().st_size for file in files) <= MOST_BYTES
    assert sum(t.numel() for found in tensors for t in found.values()) <= MOST_PARAMETERS
    assert {t.dtype for found in tensors for t in found.values()} == {torch.float16}


@pytest.mark.parametrize("entry", LEARNED, ids=lambda entry: entry.name)
def test_they_say_how_they_were_made_and_the_recipes_are_here(entry):
    record = read_record(WEIGHTS_FOLDER / entry.weights)
    assert record.network == entry.name
    assert record.licence.startswith("weights: Apache-2.0")
    committed = {recipe_hash(read_recipe(p)) for p in (ROOT / "training/recipes").glob("*.toml")}
    training = record.training
    while training:
        assert training["recipe_sha256"] in committed
        assert training["steps"] > 0
        assert all(training["material"].values())
        training = training["init"]


@pytest.mark.parametrize(
    "name", ["st_fam_s_cpu_specks", "st_fam_s_cpu_smoke", "st_fam_s", "published_st_fam_s"]
)
def test_recipes_that_begin_with_them_can(name):
    recipe = read_recipe(ROOT / "training/recipes" / f"{name}.toml")
    network = StFamS(**recipe["network_config"])
    record, tensors = begun_with(network, WEIGHTS_FOLDER / "st_fam_s.safetensors", "st_fam_s")
    network.load_state_dict(tensors)
    assert network.config == {**record.config, "trust": 1.0}  # nothing of theirs was left out


@real
@pytest.mark.parametrize(("items", "first"), [(STILLS, 0), (CLIPS, 3)])
def test_mattes_are_better_than_the_prior(items, first, tmp_path):
    found = judge(
        Request(
            data=(str(EVAL),),
            out=tmp_path,
            networks=("st_fam_s",),
            items=items,
            first=first,
            pymatting=False,
            sheets=False,
        )
    )
    figures = {(row.item.name, row.method): row.figures for row in found.mattes}
    for item in items:
        ours, prior = figures[item, "st_fam_s"], figures[item, "prior of st_fam_s"]
        assert ours[MSE].value < 1.1 * prior[MSE].value
        if first:
            # Of three frames only. Fur loses 6 % there in steadiness, 3 % over its clip, while the
            # dancers gain; see the README.
            assert ours[DTSSD].value < 1.1 * prior[DTSSD].value
    names = "st_fam_s", "prior of st_fam_s"
    ours, prior = (sum(figures[item, name][MSE].value for item in items) for name in names)
    assert ours < 0.95 * prior


@real
def test_carried_trimaps_are_better_than_those_of_optical_flow(tmp_path):
    found = judge(
        Request(
            data=(str(EVAL),),
            out=tmp_path,
            networks=("trimap_memory_s",),
            trimaps="keyframes",
            keyframes=("first",),
            items=("cg_fur_linear",),
            pymatting=False,
        )
    )
    ours, theirs = (
        next(row.figures for row in found.carried if row.method == method)
        for method in ("trimap_memory_s", FLOW)
    )
    assert ours[RECALL].value > theirs[RECALL].value
    assert ours[WRONG].value < theirs[WRONG].value
    assert ours[WIDTH].value < 4
