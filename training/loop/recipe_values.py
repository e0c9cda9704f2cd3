"""What the values of a recipe may be. A stage's ``TABLES`` says it for each of its keys, most of it
derived from what is used where a recipe says nothing; `check_values` holds a recipe against it.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from model.errors import SetupError

_SHOWN = 80  # characters of a wrong value
_MOST = 2**63 - 1  # TOML's whole numbers, and torch's seeds


@dataclass(frozen=True)
class Kind:
    """Values of one kind.

    Attributes:
        told: what they are, as it follows "it may be".
        fits: whether a value is one.
    """

    told: str
    fits: Callable[[Any], bool]


Kinds = Mapping[str, Kind]


def whole(least: int = 0, *, step: int = 1) -> Kind:
    """Whole numbers from ``least`` on, multiples of ``step``."""
    told = f"a whole number from {least} on" + (f", a multiple of {step}" if step > 1 else "")

    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int):
            return False
        return least <= value <= _MOST and value % step == 0

    return Kind(told, fits)


def number(least: float = 0.0, most: float = math.inf, *, above: bool = False) -> Kind:
    """Finite numbers from ``least``, or ``above`` it, to ``most``."""
    told = f"a number {'above' if above else 'from'} {least:g}"
    told += " on" if math.isinf(most) and not above else ""
    told += "" if math.isinf(most) else f" to {most:g}"

    def fits(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value):
            return False
        return least < value <= most if above else least <= value <= most

    return Kind(told, fits)


def one_of(*choices: str) -> Kind:
    """One of some texts."""
    told = " or ".join(json.dumps(one) for one in choices)
    return Kind(told, lambda value: isinstance(value, str) and value in choices)


def row(of: Kind, count: int | None = None) -> Kind:
    """Lists of ``count`` values, or of at least one."""
    told = f"a list of {'one or more' if count is None else count}, each {of.told}"

    def fits(value: Any) -> bool:
        if not isinstance(value, list | tuple) or len(value) != (count or max(1, len(value))):
            return False
        return all(of.fits(one) for one in value)

    return Kind(told, fits)


def named(of: Kind, *names: str) -> Kind:
    """Tables of values by name, of any or of those that are given."""
    told = f"a table of {', '.join(names) or 'names'}, each with {of.told}"

    def fits(value: Any) -> bool:
        if not isinstance(value, Mapping) or not all(map(of.fits, value.values())):
            return False
        return not names or set(value) <= set(names)

    return Kind(told, fits)


FLAG = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("a text in quotation marks", lambda value: isinstance(value, str))
TABLE = Kind("a table", lambda value: isinstance(value, Mapping))
TABLES = Kind(
    "a table, or several",
    lambda value: all(map(TABLE.fits, value)) if isinstance(value, list) else TABLE.fits(value),
)
SHARE = number(0, 1)


def kind_of(default: Any) -> Kind:
    """What a key may be whose value is ``default`` where a recipe says nothing."""
    if isinstance(default, bool):
        return FLAG
    if isinstance(default, int):
        return whole()
    if isinstance(default, float):
        return number()
    if isinstance(default, str):
        return TEXT
    if isinstance(default, Mapping):
        return named(number())
    return row(kind_of(default[0]))


def kinds_of(defaults: Mapping[str, Any], /, **other: Kind) -> dict[str, Kind]:
    """Of a table's keys by their defaults; ``other`` is more exact, or adds keys."""
    return {**{name: kind_of(one) for name, one in defaults.items()}, **other}


def kinds_of_fields(kind: Any, /, **other: Kind) -> dict[str, Kind]:
    """The same of a dataclass; fields called ``…_share`` are shares."""
    defaults = {
        one.name: one.default if one.default_factory is MISSING else one.default_factory()
        for one in fields(kind)
    }
    shares = {name: SHARE for name in defaults if name.endswith("_share")}
    return kinds_of(defaults, **{**shares, **other})


def kinds_of_arguments(kind: Any) -> dict[str, Kind]:
    """The same of a network's arguments. Widths of layers are at least 1."""
    found = {}
    for name, argument in inspect.signature(kind).parameters.items():
        default = argument.default
        if isinstance(default, tuple):
            found[name] = row(whole(1))
        else:
            found[name] = kind_of(default)
    return found


def check_values(table: Mapping[str, Any], kinds: Kinds, name: str = "") -> None:
    """See that the values of a table are what they may be. Keys without a kind are not looked at.

    Args:
        table: of a recipe, or the whole of it.
        kinds: by key.
        name: of the table.

    Raises:
        SetupError: ``setup.bad_recipe``: the key, what it holds and what it may be.
    """
    for key, kind in kinds.items():
        if key in table and not kind.fits(table[key]):
            where = f"{name}.{key}" if name else key
            raise SetupError(
                "setup.bad_recipe",
                f"the recipe's {where} is {_shown(table[key])}, and may be {kind.told}",
                hint=f"change it in the recipe, or give --set {where}=…",
            )


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
