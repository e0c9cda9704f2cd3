"""Recipes: TOML files that say what is trained, with what, and how.

A stage names the tables it reads in ``TABLES``, their keys and what the values may be; for those, a
key that is not known is an error that names the nearest one that is, so that a misspelt switch is
never quietly ignored, and a value of another type or out of its range is one that says which are.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from model.errors import SetupError
from training.loop.recipe_values import (
    FLAG,
    SHARE,
    TABLE,
    TABLES,
    TEXT,
    Kinds,
    check_values,
    kinds_of_arguments,
    number,
    one_of,
    row,
    whole,
)
from training.loop.schedule import OPTIMISERS, SCHEDULES, check_schedule

NEEDED = ("network", "stage", "batch", "learning_rate", "clip_norm", "ema")
# What the loop itself reads.
LOOP: Kinds = {
    "network": TEXT,
    "stage": TEXT,
    "seed": whole(),
    "batch": whole(1),
    "steps": whole(1),
    "learning_rate": number(above=True),
    "clip_norm": number(above=True),
    "ema": SHARE,
    "precision": one_of(
        *("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
    ),
    "optimiser": one_of(*OPTIMISERS),
    "betas": row(SHARE, 2),
    "momentum": SHARE,
    "weight_decay": number(),
    "schedule": one_of(*SCHEDULES),
    "warm_up": whole(),
    "last_share": SHARE,
    "niter": whole(),
    "niter_decay": whole(),
    "min_lr": number(),
    "lr_decay_iters": whole(1),
    "base_lr": number(),
    "max_lr": number(),
    "cyclical_step": number(above=True),
    "plateau_factor": number(0, 1, above=True),
    "plateau_threshold": SHARE,
    "plateau_patience": whole(),
    "validate_start": whole(),
    "validate_freq": whole(),
    "own_clips": FLAG,
    "licence": TEXT,
    "network_config": TABLE,
    "init": TABLE,
    "source": TABLES,
    "validation": TABLES,
}
INIT: Kinds = {"type": TEXT, "gain": number(), "backbone": TEXT}
# Of these tables; what opens a source checks the other keys, which are its own.
SOURCE: Kinds = {"kind": TEXT, "folder": TEXT, "share": number(above=True)}


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe with changes from the command line, each ``key=value`` or ``table.key=value``.

    Raises:
        SetupError: ``setup.no_recipe`` or ``setup.bad_recipe``; the latter also for values that the
            loop cannot use.
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
    except UnicodeDecodeError as error:
        raise SetupError(
            "setup.bad_recipe", f"the recipe {path} is no text in UTF-8",
            hint="save it as UTF-8; recipes are in training/recipes",
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
    check_values(recipe, LOOP)
    for name in ("source", "validation"):
        for one in tables_of(recipe, name):
            check_values(one, SOURCE, name)
    check_schedule(recipe)
    return recipe


def check_keys(recipe: Mapping[str, Any], stage: Any, network: Any) -> None:
    """Refuse keys that nothing reads, and values that cannot be used.

    Args:
        recipe: as `read_recipe` gave it.
        stage: the stage's class. Its ``TABLES`` maps names of tables to their keys and what those
            may be, and "" to keys outside of tables. A stage that has none checks its recipe by
            itself. Its ``check``, if there is one, is what several values together may be.
        network: the network's class, whose arguments are the keys of ``network_config``.

    Raises:
        SetupError: ``setup.bad_recipe``, naming the key and the nearest one that is known, or what
            it holds and may be.
    """
    tables: Mapping[str, Kinds] | None = getattr(stage, "TABLES", None)
    if tables is None:
        return
    known = {"init": INIT, **tables, "network_config": kinds_of_arguments(network)}
    outside = known.pop("")
    _refuse_unknown(recipe, {*LOOP, *outside, *known}, "the recipe")
    check_values(recipe, outside)
    for name, kinds in known.items():
        _refuse_unknown(table_of(recipe, name), kinds, f"the recipe's [{name}]")
        check_values(table_of(recipe, name), kinds, name)
    if hasattr(stage, "check"):
        stage.check(recipe)


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
