"""Recipes: TOML files that say what is trained, with what, and how.

A stage names the tables it reads and their keys in ``TABLES``; for those, a key that is not known
is an error that names the nearest one that is, so that a misspelt switch is never quietly ignored.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.errors import SetupError

NEEDED = ("network", "stage", "batch", "learning_rate", "clip_norm", "ema")
# What the loop itself reads. `OPEN` tables go to something that checks its keys by itself.
LOOP = frozenset(
    [
        *NEEDED,
        *("seed", "steps", "precision", "optimiser", "betas", "momentum", "weight_decay"),
        *("schedule", "warm_up", "last_share", "niter", "niter_decay", "min_lr", "lr_decay_iters"),
        *("base_lr", "max_lr", "cyclical_step", "validate_start", "validate_freq", "own_clips"),
        *("plateau_factor", "plateau_threshold", "plateau_patience", "licence", "network_config"),
    ]
)
TABLES: Mapping[str, frozenset[str]] = {"init": frozenset(["type", "gain", "backbone"])}
OPEN = frozenset(["source", "validation"])


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe with changes from the command line, each ``key=value`` or ``table.key=value``.

    Raises:
        SetupError: ``setup.no_recipe`` or ``setup.bad_recipe``.
    """
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        for change in changes:
            name, _, value = change.partition("=")
            *tables, key = name.split(".")
            place = recipe
            for table in tables:
                place = place.setdefault(table, {})
            place[key] = tomllib.loads(f"value = {value}")["value"]
    except OSError as error:
        raise SetupError(
            "setup.no_recipe", f"the recipe {path} cannot be read ({error.strerror})",
            hint="recipes are in training/recipes",
        ) from error  # fmt: skip
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise SetupError(
            "setup.bad_recipe", f"the recipe {path} with {list(changes)} is not TOML: {error}",
            hint="write --set table.key=value; texts in quotation marks",
        ) from error  # fmt: skip
    missing = set(NEEDED) - set(recipe)
    if "steps" not in recipe and not {"niter", "niter_decay"} <= set(recipe):
        missing.add("steps (or niter and niter_decay)")
    if missing:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe {path} lacks {', '.join(sorted(missing))}",
            hint="compare it with training/recipes/st_fam_s.toml",
        )
    return recipe


def check_keys(recipe: Mapping[str, Any], stage: Any, network: Any) -> None:
    """Refuse keys that nothing reads.

    Args:
        recipe: as `read_recipe` gave it.
        stage: the stage's class. Its ``TABLES`` maps names of tables to their keys, and "" to keys
            outside of tables. A stage that has none checks its recipe by itself.
        network: the network's class, whose arguments are the keys of ``network_config``.

    Raises:
        SetupError: ``setup.bad_recipe``, naming the key and the nearest one that is known.
    """
    tables = getattr(stage, "TABLES", None)
    if tables is None:
        return
    known = {**TABLES, **tables, "network_config": list(inspect.signature(network).parameters)}
    _refuse_unknown(recipe, LOOP | OPEN | set(known.pop("")) | set(known), "the recipe")
    for name, keys in known.items():
        _refuse_unknown(table_of(recipe, name), keys, f"the recipe's [{name}]")


def table_of(recipe: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A table of the recipe; empty if it is not there.

    Raises:
        SetupError: ``setup.bad_recipe`` if something else is called so.
    """
    table = recipe.get(name, {})
    if not isinstance(table, Mapping):
        raise SetupError(
            "setup.bad_recipe", f"the recipe's {name} is {table!r} and no table",
            hint=f"write its keys below a line [{name}]",
        )  # fmt: skip
    return table


def tables_of(recipe: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The tables ``[name]`` or ``[[name]]``; none if there is none.

    Raises:
        SetupError: ``setup.bad_recipe`` if something else is called so.
    """
    found = recipe.get(name, [])
    tables = [found] if isinstance(found, Mapping) else found
    if not isinstance(tables, list) or not all(isinstance(one, Mapping) for one in tables):
        raise SetupError(
            "setup.bad_recipe", f"the recipe's {name} is {found!r} and no table",
            hint=f"write its keys below a line [{name}], or [[{name}]] for several",
        )  # fmt: skip
    return [dict(one) for one in tables]


def with_folder(recipe: Mapping[str, Any], name: str, folder: Path | None) -> dict[str, Any]:
    """The recipe with another folder in its only table ``[name]``; with None, as it is.

    Raises:
        SetupError: ``setup.bad_recipe`` if there is none, or several.
    """
    if folder is None:
        return dict(recipe)
    tables = tables_of(recipe, name)
    if len(tables) != 1:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe has {len(tables) or 'no'} [{name}], and {folder} can be of one alone",
            hint=f"write [{name}] with its kind and folder into the recipe",
        )
    return {**recipe, name: {**tables[0], "folder": str(folder)}}


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """sha256 of the recipe as canonical JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def _refuse_unknown(table: Mapping[str, Any], known: Collection[str], where: str) -> None:
    for key in table:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"is {near[0]} meant?" if near else f"known are {', '.join(sorted(known))}"
            raise SetupError("setup.bad_recipe", f"{where} has no key {key!r}", hint=hint)
