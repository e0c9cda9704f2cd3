"""Checkpoints of one network, averaged.

A run that goes on from good weights gains in what it is shown and loses elsewhere; the mean of the
weights before and after often keeps both.

Source: M. Wortsman et al., "Robust Fine-Tuning of Zero-Shot Models", CVPR 2022; "Model Soups", ICML
2022.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.checkpoint import (
    CheckpointRecord,
    load_tensors,
    read_record,
    save_checkpoint,
    sha256_of_file,
)
from model.errors import SetupError


def average(
    files: Sequence[Path], out: Path, *, trust: float | None = None, overwrite: bool = False
) -> CheckpointRecord:
    """Write the mean of checkpoints.

    Args:
        files: at least two, of one network and one size; their ``trust`` may differ.
        out: the new file.
        trust: of the new one; None = that of the last file.
        overwrite: whether ``out`` may be there already.

    Returns:
        What the new one says of itself: what the last file does, the digests of all, and no
        figures, which were of other weights.

    Raises:
        SetupError: ``setup.exists``, ``setup.no_folder``, ``setup.other_checkpoint`` if they do not
            belong together; and as reading them.
    """
    check_place(out, overwrite)
    if len(files) < 2:
        raise SetupError(
            "setup.other_checkpoint", "one checkpoint has no mean", hint="name two or more"
        )
    records = [read_record(file) for file in files]
    last = records[-1]
    for file, record in zip(files, records, strict=True):
        if record.delta or record.network != last.network or _size(record) != _size(last):
            raise SetupError(
                "setup.other_checkpoint",
                f"{file} and {files[-1]} are not whole weights of one network of one size",
                hint="average runs that began with each other",
            )
    tensors = [load_tensors(file, torch.device("cpu")) for file in files]
    config: dict[str, object] = dict(last.config)
    if trust is not None:
        if "trust" not in config:
            raise SetupError(
                "setup.other_checkpoint",
                f"{last.network} has no trust to be set",
                hint="leave --trust out",
            )
        config["trust"] = trust
    training = {name: value for name, value in last.training.items() if name != "held_out"}
    training["averaged_sha256"] = [sha256_of_file(file) for file in files]
    licence = "; ".join(dict.fromkeys(one.licence for one in records))
    record = replace(last, config=config, training=training, licence=licence)
    save_checkpoint(out, _mean(tensors), record)
    return record


def check_place(out: Path, overwrite: bool) -> None:
    """That a checkpoint may be written there.

    Raises:
        SetupError: ``setup.exists``, ``setup.no_folder``.
    """
    if out.exists() and not overwrite:
        raise SetupError(
            "setup.exists", f"{out} is there already", hint="add --overwrite, or name another --out"
        )
    if not out.parent.is_dir():
        raise SetupError(
            "setup.no_folder", f"there is no folder {out.parent}", hint="make it first"
        )


def _size(record: CheckpointRecord) -> Mapping[str, Any]:
    return {name: value for name, value in record.config.items() if name != "trust"}


def _mean(several: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """In float32, and then as the last ones are; whole numbers, which count, are the last's."""
    return {
        name: torch.stack([one[name].float() for one in several]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in several[-1].items()
    }
