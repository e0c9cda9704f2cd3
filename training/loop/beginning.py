"""What a run began with, and what it is taught with: kept in its ``state.pt``, so that what a
resumed run writes says the same as if it had never stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from model.checkpoint import read_record
from model.errors import SetupError
from training.loop.recipe_file import table_of
from training.loop.run_folder import STATE
from training.material import material_files
from training.published.init import backbone_record

# Of runs that were saved before their state held it.
UNKNOWN = {"licence": "not known", "training": "not known"}
NOT_KEPT = (
    "what this run began with was not saved with it: its record and licence say so; if it was "
    "--init FILE, resume it with that"
)
MATERIAL_NOT_KEPT = (
    "what material this run was taught with was not saved with it: its record names what "
    "--material holds now"
)
_SHOWN = 3  # files in a sentence


@dataclass(frozen=True)
class Beginning:
    """Of a run.

    Attributes:
        init: ``licence`` and ``training`` of the checkpoint it began with; None without one,
            `UNKNOWN` where that is not known.
        backbone: which file the encoder began with; None without one.
        material: files that it is taught with, by the parts of their folder and relative to it.
    """

    init: Mapping[str, Any] | None = None
    backbone: Mapping[str, str] | None = None
    material: Mapping[str, Sequence[str]] = field(default_factory=dict)


def beginning_of(recipe: Mapping[str, Any], init: Path | None, material: Path | None) -> Beginning:
    """Of a run that begins now.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint`` for what it begins with.
        InputError: ``input.no_material``.
    """
    backbone = backbone_record(table_of(recipe, "init")) if init is None else None
    return Beginning(_record(init), backbone, _material(material))


def resumed(
    state: Mapping[str, Any],
    recipe: Mapping[str, Any],
    init: Path | None,
    material: Path | None,
    out: Path,
) -> tuple[Beginning, list[str]]:
    """Of a run that goes on.

    Args:
        state: as it was saved.
        recipe: its recipe.
        init, material: what the command line names now.
        out: its folder.

    Returns:
        The beginning, and what of it cannot be known, a line each.

    Raises:
        SetupError: ``setup.other_clips`` if the material is not what it was,
            ``setup.other_checkpoint`` if ``init`` is not what the run began with.
        InputError: ``input.no_material``.
    """
    given, now = _record(init), _material(material)
    if "beginning" not in state:
        # As the state does not say whether there was an --init, nor with what backbone then.
        found = beginning_of(recipe, init, material)
        lines = [MATERIAL_NOT_KEPT] if init else [NOT_KEPT, MATERIAL_NOT_KEPT]
        return replace(found, init=given or UNKNOWN), lines
    kept = Beginning(**state["beginning"])
    if given is not None and kept.init == UNKNOWN:
        kept = replace(kept, init=given)
    if given is not None and given != kept.init:
        raise SetupError(
            "setup.other_checkpoint",
            f"the run at {out / STATE} did not begin with {init}",
            hint="leave --init out, a run goes on with its own weights; or start anew with "
            "another --out",
        )
    if _files(now) != _files(kept.material):
        raise SetupError(
            "setup.other_clips",
            f"the material that the run at {out / STATE} was taught with is not the same any more: "
            f"{_difference(kept.material, now)}",
            hint="name the same files with --material, or start anew with --init and another --out",
        )
    return kept, [NOT_KEPT] if kept.init == UNKNOWN else []


def saved(beginning: Beginning) -> dict[str, Any]:
    """For the state."""
    return asdict(beginning)


def _record(init: Path | None) -> dict[str, Any] | None:
    if init is None:
        return None
    record = read_record(init)
    return {"licence": record.licence, "training": dict(record.training)}


def _material(folder: Path | None) -> dict[str, list[str]]:
    return {
        part: [path.relative_to(folder).as_posix() for path in files] if folder else []
        for part, files in material_files(folder, "train").items()
    }


def _files(material: Mapping[str, Sequence[str]]) -> set[str]:
    return {file for files in material.values() for file in files}


def _difference(before: Mapping[str, Sequence[str]], now: Mapping[str, Sequence[str]]) -> str:
    """What is missing and what is new, the first few by name."""
    parts = []
    missing, new = _files(before) - _files(now), _files(now) - _files(before)
    for files, what in ((missing, "missing"), (new, "new")):
        if files:
            shown = ", ".join(sorted(files)[:_SHOWN])
            more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
            parts.append(f"{shown}{more} {'is' if len(files) == 1 else 'are'} {what}")
    return "; ".join(parts)
