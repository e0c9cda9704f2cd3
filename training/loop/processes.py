"""Training by several processes: how many, which part of a batch each sees, and how they agree.

The batches of a run are the same however many processes share them. Its weights are the same too,
but for the order that numbers are added in, as long as every picture has unknown pixels: losses are
means over those that do. What BatchNorm keeps for use is nearly the same.
"""

from __future__ import annotations

import argparse
import atexit
import os
from collections.abc import Mapping
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from model.errors import SetupError
from training.pool import Share


def launched(options: argparse.Namespace, recipe: Mapping[str, Any]) -> Fabric:
    """Launched. Under torchrun, its processes; otherwise as many as ``--devices`` says.

    Raises:
        SetupError: ``setup.no_device`` if this machine has none such.
    """
    devices: int | str = int(options.devices) if options.devices.isdigit() else options.devices
    nodes = 1
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    several = nodes > 1 or (devices > 1 if isinstance(devices, int) else _all_devices(options) > 1)
    try:
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=nodes,
            # Steps without neighbours leave what aligns them unused.
            strategy=DDPStrategy(find_unused_parameters=True) if several else "auto",
            precision=recipe.get("precision", "32-true"),
        )
    except (RuntimeError, TypeError, ValueError, MisconfigurationException) as error:
        raise SetupError(
            "setup.no_device",
            f"--accelerator {options.accelerator} --devices {options.devices} cannot be had here: "
            f"{str(error).splitlines()[0]}",
            hint="name a device that this machine has, e.g. --accelerator cpu --devices 1",
        ) from error
    fabric.launch()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # Lightning does so for NCCL alone. The threads of gloo, left running, now and then abort a
        # process that has ended well, and torchrun then says that training failed.
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _all_devices(options: argparse.Namespace) -> int:
    return 1 if options.accelerator == "cpu" else torch.cuda.device_count()


def own_part(recipe: Mapping[str, Any], fabric: Fabric) -> tuple[dict[str, Any], Share | None]:
    """What this process of several is taught with: its part of each batch; or, with ``own_clips``,
    batches that are smaller and its own.

    Raises:
        SetupError: ``setup.bad_recipe`` if a batch cannot be parted evenly.
    """
    processes, batch = fabric.world_size, int(recipe["batch"])
    check_parts(batch, processes)
    if processes == 1:
        return dict(recipe), None
    if recipe.get("own_clips"):
        seed = int(recipe.get("seed", 0)) + 7919 * fabric.global_rank
        return {**recipe, "seed": seed, "batch": batch // processes}, None
    return dict(recipe), Share(fabric.global_rank, processes)


def check_parts(batch: int, processes: int) -> None:
    """That each process gets as many clips of a batch as the others.

    Raises:
        SetupError: ``setup.bad_recipe``.
    """
    if batch % processes:
        raise SetupError(
            "setup.bad_recipe",
            f"a batch of {batch} cannot be parted among {processes} processes",
            hint=f"set batch to a multiple of {processes}; it counts the clips of all processes",
        )


def anyone(fabric: Fabric, here: bool) -> bool:
    """Whether it is so in any of the processes: they must stop, and save, at the same step."""
    if fabric.world_size == 1:
        return here
    flag = torch.tensor(float(here), device=fabric.device)
    return float(fabric.all_reduce(flag, reduce_op="sum")) > 0  # type: ignore[arg-type]


def first_error(fabric: Fabric, here: Exception | None) -> Exception | None:
    """What went wrong in this process or, if all is well here, in the first where it is not: they
    must save, and leave, at the same step."""
    if not anyone(fabric, here is not None) or fabric.world_size == 1:
        return here
    found: list[Exception | None] = [None] * fabric.world_size
    torch.distributed.all_gather_object(found, here)
    return here or next(one for one in found if one is not None)


def agree_on_norms(fabric: Fabric, network: nn.Module) -> None:
    """What BatchNorm has learned becomes the mean over the processes, each of which has seen other
    clips. One process that sees all of them learns nearly, not exactly, that."""
    kept = [one for one in network.buffers() if one.is_floating_point()]
    if fabric.world_size == 1 or not kept:
        return
    flat = torch.cat([one.flatten() for one in kept])
    mean = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for one, part in zip(kept, torch.split(mean, [one.numel() for one in kept]), strict=True):
        one.copy_(part.view_as(one))
