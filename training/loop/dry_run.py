"""``--dry-run``: what a training would do, in lines to read. Nothing is written, no clip is
decoded, and the network exists as shapes alone.
"""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from model.errors import SetupError
from training.loop.processes import check_parts
from training.loop.recipe_file import recipe_hash, table_of
from training.loop.run_folder import files_of_a_run
from training.loop.schedule import learning_rate, total_steps
from training.material import material_files
from training.matting import FRAMES, WINDOWS, MattingStage, answers
from training.pool import Batch, PoolConfig
from training.published.answers import asking
from training.published.init import initialise
from training.published.stage import (
    PLAIN_CROP,
    PublishedStage,
    opened,
    shown,
    steps_of_epoch,
    window_of,
)
from training.source_clips import open_sources
from training.source_crops import crop_of
from training.train import begun_with, built, judging

_FILES = "last.safetensors, best.safetensors, state.pt, log.jsonl, tensorboard/"
_STATES = {"adam": 2, "adamw": 2, "sgd": 1}  # numbers an optimiser keeps for each weight


def tell(
    recipe: Mapping[str, Any], options: argparse.Namespace, network_class: Any, stage_class: Any
) -> list[str]:
    """Everything, a line each.

    Args:
        recipe: with the folders of its sources in place.
        options: of the command line.
        network_class, stage_class: the recipe's.

    Raises:
        SetupError, InputError: as the training itself would, as far as that shows without decoding.
    """
    with torch.device("meta"):
        network = built(network_class, recipe)
    count = sum(one.numel() for one in network.parameters())
    lines = [
        f"recipe: {options.recipe}, sha256 {recipe_hash(recipe)[:12]}, stage {recipe['stage']}",
        f"network: {recipe['network']} {dict(network.config)}, {count / 1e6:.2f} M parameters",
        *_beginning(network, recipe, options),
    ]
    processes = int(os.environ.get("WORLD_SIZE", 1))
    if options.devices.isdigit():
        processes = max(processes, int(options.devices))
    check_parts(int(recipe["batch"]), processes)
    clips, epoch_steps = _clips(recipe, options, stage_class)
    lines += clips
    shape = _shape(recipe, stage_class, processes)
    lines += _told_batch(recipe, shape, processes)
    lines += _told_schedule(recipe, epoch_steps)
    if options.anneal_by_time:
        lines.append(f"  its steps go by faster where {options.time_budget:g} s are spent before")
    lines += _told_losses(recipe, stage_class)
    every, start = judging(recipe, epoch_steps, options.judge_every)
    first = -(-max(start, 1) // every) * every
    lines.append(f"judged: every {every} steps from step {first} on, and at the end")
    lines += _memory(network_class, recipe, stage_class, shape, count)
    lines.append(f"files in {options.out}: {_FILES}")
    if options.overwrite and files_of_a_run(options.out):
        lines.append("  there is a run in it already, which would be removed")
    return lines


def _beginning(
    network: nn.Module, recipe: Mapping[str, Any], options: argparse.Namespace
) -> list[str]:
    if options.resume:
        return [f"begins: goes on with the run in {options.out}"]
    if options.init is not None:
        return [f"begins: {_of_checkpoint(network, recipe, options)}"]
    made = initialise(network, table_of(recipe, "init"))
    return [f"begins: {line.strip()}" for line in made] or ["begins: with the network's own values"]


def _of_checkpoint(
    network: nn.Module, recipe: Mapping[str, Any], options: argparse.Namespace
) -> str:
    record, tensors = begun_with(network, options.init, recipe["network"])
    state = network.state_dict()
    fit = [
        name for name, one in tensors.items() if name in state and state[name].shape == one.shape
    ]
    if len(fit) < len(state) or len(fit) < len(tensors):
        raise SetupError(
            "setup.other_checkpoint",
            f"of {len(state)} tensors that the recipe's network has, {len(fit)} fit from "
            f"{options.init}, which has {len(tensors)}",
            hint=f"the checkpoint's own config is {dict(record.config)}",
        )
    steps = record.training.get("steps", "unknown")
    return f"all {len(fit)} tensors from {options.init}, {steps} steps"


def _clips(
    recipe: Mapping[str, Any], options: argparse.Namespace, stage_class: Any
) -> tuple[list[str], int]:
    """What there is to teach with, and steps of an epoch."""
    lines, epoch_steps = [], 1
    published = stage_class is PublishedStage
    for table in ("source", "validation"):
        found = opened(recipe, table) if published else open_sources(recipe, table)
        if found is None:
            continue
        lengths = [found.length(entry) for entry in found.entries]
        lines.append(
            f"{table}: {len(lengths)} clips, {sum(lengths)} frames ({min(lengths)} to "
            f"{max(lengths)} a clip), from {len(found.sources)} folder(s)"
        )
        if table == "source" and published:
            epoch_steps = steps_of_epoch(shown(found, recipe), int(recipe["batch"]))
    if published:
        return lines, epoch_steps
    share = float(recipe.get("synthesis_share", 0.0 if recipe.get("source") else 1.0))
    if share > 0:
        files = material_files(options.material, "train")
        found_files = ", ".join(f"{len(paths)} {part}" for part, paths in files.items())
        real = f"with {found_files}" if options.material else "all procedural"
        lines.append(f"synthetic: {100 * share:g} % of the clips, {real}")
    return lines, epoch_steps


def _shape(
    recipe: Mapping[str, Any], stage_class: Any, processes: int
) -> tuple[int, int, int, int] | None:
    """Clips, frames, height and width of what one process sees in a step; None for a stage whose
    batches are others."""
    count, clips = int(recipe["batch"]) // processes, table_of(recipe, "clips")
    if stage_class is PublishedStage:
        crop = crop_of(clips, *PLAIN_CROP)
        return count, window_of(clips).frames, crop.height, crop.width
    if stage_class is MattingStage:
        side = PoolConfig(**table_of(recipe, "pool")).crop
        return count, FRAMES, side, side
    return None


def _told_batch(
    recipe: Mapping[str, Any], shape: tuple[int, ...] | None, processes: int
) -> list[str]:
    whole = int(recipe["batch"])
    parted = f", {whole // processes} to each of {processes} processes" if processes > 1 else ""
    if shape is None:
        return [f"batch: {whole} clips{parted}"]
    _, frames, height, width = shape
    return [f"batch: {whole} × {frames} frames × {width}×{height} pixels{parted}"]


def _told_schedule(recipe: Mapping[str, Any], epoch_steps: int) -> list[str]:
    steps = total_steps(recipe, epoch_steps)
    epochs = f" ({-(-steps // epoch_steps)} epochs of {epoch_steps})" if epoch_steps > 1 else ""
    marks = {0, int(recipe.get("warm_up", 0)), steps // 4, steps // 2, 3 * steps // 4, steps - 1}
    if "niter" in recipe:
        marks.add(int(recipe["niter"]) * epoch_steps)
    rates = ", ".join(
        f"{learning_rate(recipe, mark, epoch_steps):.3g} at {mark}"
        for mark in sorted(marks)
        if 0 <= mark < steps
    )
    name = recipe.get("schedule", "warm_cosine")
    moved = (
        f"{recipe.get('optimiser', 'adamw')}, betas {recipe.get('betas', [0.9, 0.99])}, gradients' "
        f"norm at most {recipe['clip_norm']}, average {recipe['ema']}"
    )
    return [f"steps: {steps}{epochs}", f"learning rate: {name}: {rates}", f"optimiser: {moved}"]


def _told_losses(recipe: Mapping[str, Any], stage_class: Any) -> list[str]:
    defaults = getattr(inspect.getmodule(stage_class), "WEIGHTS", {})
    weights = {**defaults, **table_of(recipe, "loss")}
    lines = ["losses: " + ", ".join(f"{name} {weight:g}" for name, weight in weights.items())]
    odd = [name for name, wanted in table_of(recipe, "quirks").items() if wanted]
    odd += ["norm"] if recipe.get("norm") == "first_epoch" else []
    odd += ["trimap.per_frame"] if table_of(recipe, "trimap").get("per_frame") else []
    return [*lines, f"oddities kept: {', '.join(odd)}"] if odd else lines


def _memory(
    network_class: Any,
    recipe: Mapping[str, Any],
    stage_class: Any,
    shape: tuple[int, int, int, int] | None,
    count: int,
) -> list[str]:
    """Of one process. What is kept for the backward pass is counted on shapes, in float32."""
    kept = _STATES.get(str(recipe.get("optimiser", "adamw")), 2)
    size = 4 * count / 1e6
    parts = [
        f"weights {size:.0f} MB", f"gradients {size:.0f}", f"optimiser {kept * size:.0f}",
        f"average {size:.0f}",
    ]  # fmt: skip
    if shape is not None:
        saved = _saved(network_class, recipe, stage_class, shape)
        parts.append(f"kept for the backward pass {saved:.0f}")
    note = " (less in half precision)" if recipe.get("precision", "32-true") != "32-true" else ""
    return [f"memory: {', '.join(parts)}{note}; convolutions take working room on top"]


def _saved(
    network_class: Any,
    recipe: Mapping[str, Any],
    stage_class: Any,
    shape: tuple[int, int, int, int],
) -> float:
    """MB that the network's answer to a batch keeps for its backward pass."""
    seen: set[int] = set()
    total = 0

    def pack(saved: Tensor) -> Tensor:
        nonlocal total
        storage = saved.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            total += storage.nbytes()
        return saved

    def answer(network: Any) -> Any:
        batch = _batch(*shape)
        if stage_class is PublishedStage:
            window = window_of(table_of(recipe, "clips"))
            how = asking(str(recipe["network"]), table_of(recipe, "network_config"), window)
            return how.ask(network, batch, window)
        return answers(network, batch, WINDOWS)

    with FakeTensorMode():
        network = built(network_class, recipe)
        seen |= {one.untyped_storage()._cdata for one in network.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one):
            kept = answer(network)
    del kept  # until here it holds what was counted, so that nothing is counted twice
    return total / 1e6


def _batch(count: int, frames: int, height: int, width: int) -> Batch:
    def planes(channels: int) -> Tensor:
        return torch.zeros(count, frames, channels, height, width)

    both, linear = torch.ones(count, frames) > 0, torch.ones(count) > 0
    return Batch(planes(3), planes(1), planes(1), planes(1), both, linear, 0)
