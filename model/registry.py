"""The networks by name. No torch until one is opened, so a server can list them.

Adding a network: CONTRIBUTING.md, "Adding a network". Everything registered here is picked up by
the
contract suite (`tests/matting/test_network_contract.py`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from model.errors import SetupError

WEIGHTS_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class NetworkEntry:
    """One line of the registry.

    Attributes:
        name: what a user types.
        kind: ``matting`` or ``propagation``.
        factory: ``module:function``; called as ``function(checkpoint, device)`` with the path of a
            checkpoint or None, and a ``torch.device``; returns an object with the face of its kind.
        summary: one line for people.
        companion: for a matting network, the propagation network that goes with it.
        weights: file name under ``model/weights`` of the shipped checkpoint; "" if there is none.
        brought: it has learned something, but whoever uses it brings the checkpoint.
        causal: it looks at earlier frames only, whatever the options say.
    """

    name: str
    kind: str
    factory: str
    summary: str
    companion: str = ""
    weights: str = ""
    brought: bool = False
    causal: bool = False

    @property
    def available(self) -> bool:
        """True if it can run without the user bringing a checkpoint."""
        if self.brought:
            return False
        return not self.weights or (WEIGHTS_FOLDER / self.weights).is_file()


# Best first: the first one of its kind that is available is the default.
NETWORKS: tuple[NetworkEntry, ...] = (
    NetworkEntry(
        name="st_fam_s",
        kind="matting",
        factory="model.networks.st_fam_s:open_network",
        summary="learned: neighbours aligned in time, a residual on closed_form",
        companion="trimap_memory_s",
        weights="st_fam_s.safetensors",
    ),
    NetworkEntry(
        name="closed_form",
        kind="matting",
        factory="model.classical.closed_form:open_network",
        summary="matting Laplacian solved over the unknown pixels; no learning",
        companion="trimap_flow",
    ),
    NetworkEntry(
        name="st_fam_r50",
        kind="matting",
        factory="model.networks.st_fam_r50:open_network",
        summary="the network of the CVPR 2021 paper, with your own copy of its checkpoint",
        companion="trimap_memory_s",
        brought=True,
        causal=True,
    ),
    NetworkEntry(
        name="trimap_memory_s",
        kind="propagation",
        factory="model.networks.trimap_memory_s:open_network",
        summary="trimap_flow, corrected by a learned memory of keyframes and frames gone by",
        weights="trimap_memory_s.safetensors",
    ),
    NetworkEntry(
        name="trimap_flow",
        kind="propagation",
        factory="model.classical.trimap_flow:open_network",
        summary="optical flow from the keyframes with colour classifiers; no learning",
    ),
)


def find(name: str, kind: str, networks: Sequence[NetworkEntry] = NETWORKS) -> NetworkEntry:
    """The entry of that name, or the default of its kind when the name is empty.

    Raises:
        SetupError: ``setup.unknown_network``, naming what there is.
    """
    of_kind = [one for one in networks if one.kind == kind]
    for one in of_kind:
        if one.name == name or (not name and one.available):
            return one
    raise SetupError(
        "setup.unknown_network",
        f"there is no {kind} network called {name!r}",
        hint=f"use one of: {', '.join(one.name for one in of_kind)}",
    )


def looks_back(name: str) -> bool:
    """Whether a network (the default's name is "") sees no later frames whatever the options say;
    False for one that there is not."""
    return any(one.causal for one in NETWORKS if one.name == name)


def checkpoint_path(entry: NetworkEntry, checkpoint: str) -> Path | None:
    """The checkpoint a network will load: the user's own, else the shipped one, else None.

    Raises:
        SetupError: ``setup.no_checkpoint`` if it is not there, or has to be brought and is not
            named.
    """
    if checkpoint:
        path = Path(checkpoint)
    elif entry.weights:
        path = WEIGHTS_FOLDER / entry.weights
    elif entry.brought:
        raise SetupError(
            "setup.no_checkpoint",
            f"{entry.name} comes without weights and needs your own checkpoint",
            hint="dvm-train checkpoint import best_net_Base.pth, then --checkpoint with the file "
            "that it writes",
        )
    else:
        return None
    if not os.path.isfile(path):  # noqa: PTH113  Path's raises where a name is too long
        raise SetupError(
            "setup.no_checkpoint",
            f"the checkpoint {path} for {entry.name} is not there",
            hint="check the path, or leave --checkpoint out",
        )
    return path


def open_network(entry: NetworkEntry, checkpoint: str, device: Any) -> Any:
    """Build a network on a device (a ``torch.device``), with its checkpoint if it has one.

    Raises:
        SetupError: ``setup.no_checkpoint`` if a named or shipped checkpoint is not there.
    """
    path = checkpoint_path(entry, checkpoint)
    module, _, function = entry.factory.partition(":")
    return getattr(import_module(module), function)(None if path is None else str(path), device)
