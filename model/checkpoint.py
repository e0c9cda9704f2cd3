"""Checkpoints: safetensors files that say in their header what they are and may be used for.

The header's metadata holds one JSON text under ``dvm`` with the fields of `CheckpointRecord`. A
checkpoint may be a delta, which changes the weights of another one (`model.delta`): whoever reads
its tensors here gets those of the other one with the changes, and need not know.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from model.delta import DeltaBase, changed, changes_of
from model.errors import SetupError
from model.exposure import ExposureMap
from model.plates.atomic import write_bytes
from model.registry import WEIGHTS_FOLDER

Network = TypeVar("Network")
Trained = TypeVar("Trained", bound=torch.nn.Module)


@dataclass(frozen=True)
class CheckpointRecord:
    """What a checkpoint is.

    Attributes:
        network: name in the registry; of a delta, the first of those that it changes.
        config: keyword arguments that rebuild the network.
        licence: of code and data, for a person to read.
        training: recipe hash, steps, data, metrics.
        exposure: the map from scene-linear light the network was trained with.
        delta: of a delta, the base of each network that it changes, by the network's name; empty
            for whole weights.
    """

    network: str
    config: Mapping[str, object] = field(default_factory=dict)
    licence: str = ""
    training: Mapping[str, object] = field(default_factory=dict)
    exposure: ExposureMap = field(default_factory=ExposureMap)
    delta: Mapping[str, DeltaBase] = field(default_factory=dict)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks that the checkpoint has weights for."""
        return tuple(self.delta) or (self.network,)

    def config_of(self, network: str) -> Mapping[str, object]:
        """Keyword arguments that rebuild one of `networks`."""
        return self.delta[network].config if self.delta else self.config


def save_checkpoint(
    path: Path, tensors: Mapping[str, torch.Tensor], record: CheckpointRecord
) -> None:
    """Write tensors and record; the file appears under its name only when it is whole.

    Raises:
        InputError: ``input.output_unwritable``.
        CapacityError: ``capacity.disk_full``.
    """
    text = json.dumps(asdict(record), sort_keys=True)
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_bytes(path, save(whole, metadata={"dvm": text}))


def read_record(path: Path) -> CheckpointRecord:
    """Read the record alone, without the tensors.

    Raises:
        SetupError: ``setup.no_checkpoint`` if the file is not there, ``setup.bad_checkpoint`` if it
            is not a safetensors file or has no record.
    """
    if not os.path.isfile(path):  # noqa: PTH113  Path's raises where a name is too long
        raise SetupError(
            "setup.no_checkpoint",
            f"the checkpoint {path} is not there",
            hint="check the path, or leave --checkpoint out",
        )
    try:
        with safe_open(str(path), framework="pt") as opened:
            text = (opened.metadata() or {})["dvm"]
        fields = json.loads(text)
        return CheckpointRecord(
            network=str(fields["network"]),
            config=dict(fields.get("config", {})),
            licence=str(fields.get("licence", "")),
            training=dict(fields.get("training", {})),
            exposure=ExposureMap(**fields.get("exposure", {})),
            delta={name: DeltaBase(**base) for name, base in fields.get("delta", {}).items()},
        )
    except (SafetensorError, OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise SetupError(
            "setup.bad_checkpoint",
            f"{path} is not a checkpoint of Deep Video Matte ({type(error).__name__}: {error})",
            hint="use a .safetensors file written by dvm-train, or leave --checkpoint out",
        ) from error


def with_weights(
    path: Path,
    name: str,
    build: Callable[[Mapping[str, Any], Mapping[str, torch.Tensor]], Network],
    device: torch.device,
    hint: str,
) -> Network:
    """A network with the weights of a checkpoint.

    Args:
        path: of the checkpoint.
        name: the network's in the registry.
        build: from the record's config and the tensors, which lie on the device.
        device: where to.
        hint: what to do about weights that do not fit.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint``
            if it belongs to another network or does not fit, ``setup.no_base`` if it is a delta
            and its base is not found.
    """
    record = read_record(path)
    if name not in record.networks:
        raise SetupError(
            "setup.other_checkpoint",
            f"{path} holds {' and '.join(record.networks)}, not {name}",
            hint=f"use --network {record.network}, or a checkpoint of {name}",
        )
    try:
        return build(record.config_of(name), load_tensors(path, device, name))
    except (RuntimeError, TypeError, ValueError) as error:
        raise SetupError(
            "setup.other_checkpoint",
            f"the weights in {path} do not fit {name} ({error})",
            hint=hint,
        ) from error


def trained_network(
    checkpoint: str | None, name: str, kind: type[Trained], device: torch.device, classical: str
) -> Trained:
    """A network of ours with the weights of a checkpoint.

    Args:
        checkpoint: its path.
        name: the network's in the registry.
        kind: of the network; made of a record's config.
        device: where to.
        classical: the network to use instead where there is no checkpoint.

    Raises:
        SetupError: ``setup.no_checkpoint`` if none is named, and as `with_weights`.
    """
    if checkpoint is None:
        raise SetupError(
            "setup.no_checkpoint",
            f"{name} has to be given a checkpoint",
            hint=f"name one with --checkpoint, or use the network {classical}",
        )

    def build(config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> Trained:
        network = kind(**config)
        network.load_state_dict({k: v.float() for k, v in tensors.items()})
        return network.to(device)

    hint = "use a checkpoint written by dvm-train for this version"
    return with_weights(Path(checkpoint), name, build, device, hint)


def load_tensors(path: Path, device: torch.device, network: str = "") -> dict[str, torch.Tensor]:
    """Read all tensors onto a device; of a delta, those of its base with the changes.

    Args:
        path: of the checkpoint.
        device: where to.
        network: whose, of a delta that changes several; "" = the one its record names.

    Raises:
        SetupError: as `read_record`; ``setup.no_base`` if a delta's base is not found;
            ``setup.bad_checkpoint`` if the delta does not fit it.
    """
    record = read_record(path)
    found = _stored(path, device)
    if not record.delta:
        return found
    name = network or record.network
    base = base_of(path, record.delta[name])
    try:
        return changed(_stored(base, device), changes_of(name, found))
    except ValueError as error:
        raise SetupError(
            "setup.bad_checkpoint",
            f"{path} does not fit {base}, which it says that it changes ({error})",
            hint="adapt to the shot again: dvm-train adapt",
        ) from error


def _stored(path: Path, device: torch.device) -> dict[str, torch.Tensor]:
    with safe_open(str(path), framework="pt", device=str(device)) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def base_of(delta: Path, base: DeltaBase) -> Path:
    """The file that a delta's changes are added to: among the shipped weights, else beside it.

    Raises:
        SetupError: ``setup.no_base`` if neither place has a file of that name and sha256.
    """
    name = Path(base.file).name  # a delta may come from anybody: never out of these two folders
    seen = []
    for place in (WEIGHTS_FOLDER / name, delta.absolute().parent / name):
        if place.is_file():
            if sha256_of_file(place) == base.sha256:
                return place
            seen.append(f"{place} (another one of that name)")
        else:
            seen.append(f"{place} (not there)")
    raise SetupError(
        "setup.no_base",
        f"{delta} changes the weights of {name} with sha256 {base.sha256[:12]}…, which is neither "
        f"{' nor '.join(seen)}",
        hint=f"put that {name} beside the delta, or adapt to the shot again: dvm-train adapt",
    )


def shared_out(checkpoint: str, matting: str, propagation: str) -> tuple[str, str]:
    """Which checkpoint each of two networks is opened with, when a user names one.

    The matting network gets it, unless it holds weights of the propagation network alone; the
    propagation network gets it if it holds weights of that.

    Args:
        checkpoint: path, or "" if none is named.
        matting: the network's name.
        propagation: the network's name.

    Returns:
        For matting and for propagation: the path, or "" for the shipped weights.

    Raises:
        SetupError: as `read_record`.
    """
    if not checkpoint:
        return "", ""
    holds = read_record(Path(checkpoint)).networks
    if propagation not in holds:
        return checkpoint, ""
    return checkpoint if matting in holds else "", checkpoint


def load_pickled(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file that torch wrote, as published checkpoints are. The only place that
    reads one, and nothing in it is run: what is not plain data is refused.

    A dict under ``state_dict`` is looked into, and ``module.`` before all names is taken off.

    Raises:
        SetupError: ``setup.no_checkpoint`` if the file is not there, ``setup.bad_checkpoint`` if it
            is damaged, holds code, or is no dict of tensors.
    """
    if not os.path.isfile(path):  # noqa: PTH113  Path's raises where a name is too long
        raise SetupError("setup.no_checkpoint", f"there is no file {path}", hint="check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles newer than it expects
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise SetupError(
            "setup.bad_checkpoint",
            f"{path} is refused: it is damaged, or holds more than tensors and could run code",
            hint="get it again from where it was published",
        ) from error
    except (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else ""
        raise SetupError(
            "setup.bad_checkpoint",
            f"{path} cannot be read as a checkpoint of torch's ({type(error).__name__}: {reason})",
            hint="get it again from where it was published; it may be cut off",
        ) from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in found.items()
    ):
        raise SetupError(
            "setup.bad_checkpoint",
            f"{path} is not a dict of named tensors",
            hint="import the file with the network's weights, not an optimiser's or a whole model",
        )
    prefix = "module."
    cut = len(prefix) if all(name.startswith(prefix) for name in found) else 0
    return {name[cut:]: one for name, one in found.items()}


def sha256_of_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
