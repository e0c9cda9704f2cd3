"""Reading fields of a header that a peer sent: type, form and bounds, or `ProtocolError`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .errors import ProtocolError

LONGEST_TEXT = 4096
DEEPEST = 8
FARTHEST_FRAME = 10_000_000

WORD = re.compile(r"[a-z_]{1,32}\Z")
ID = re.compile(r"[0-9A-Za-z_.-]{1,64}\Z")
SUFFIX = re.compile(r"(\.[a-z0-9]{1,8})?\Z")
SHA256 = re.compile(r"[0-9a-f]{64}\Z")
ANY = re.compile(r"[^\0]*\Z")


def text(
    header: Mapping[str, Any],
    name: str,
    form: re.Pattern[str] = ANY,
    default: str | None = None,
) -> str:
    """A text of the given form; absent or empty means ``default`` unless that is None."""
    value = header.get(name)
    if default is not None and value in (None, ""):
        return default
    if not isinstance(value, str) or len(value) > LONGEST_TEXT or not form.match(value):
        raise ProtocolError(f"the field {name!r} is {_shown(value)}")
    return value


def whole(
    header: Mapping[str, Any], name: str, low: int, high: int, default: int | None = None
) -> int:
    """A whole number within ``low`` … ``high``; absent means ``default`` unless that is None."""
    value = header.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise ProtocolError(f"the field {name!r} is {_shown(value)}, not within {low} … {high}")
    return value


def frame(header: Mapping[str, Any], name: str = "frame") -> int | None:
    """A frame number, or None if absent."""
    if header.get(name) is None:
        return None
    return whole(header, name, -FARTHEST_FRAME, FARTHEST_FRAME)


def number(header: Mapping[str, Any], name: str, default: float) -> float:
    """A finite number ≥ 0, e.g. seconds."""
    value = header.get(name, default)
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise ProtocolError(f"the field {name!r} is {_shown(value)}, not a number")
    return float(value)


def flag(header: Mapping[str, Any], name: str, default: bool = False) -> bool:
    """True or false."""
    value = header.get(name, default)
    if not isinstance(value, bool):
        raise ProtocolError(f"the field {name!r} is {_shown(value)}, not true or false")
    return value


def maps(header: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of maps; absent means empty."""
    value = header.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise ProtocolError(f"the field {name!r} is not a list of maps")
    return value


def words(header: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of words; absent means empty."""
    value = header.get(name, [])
    if not isinstance(value, list) or not all(
        isinstance(one, str) and WORD.match(one) for one in value
    ):
        raise ProtocolError(f"the field {name!r} is not a list of words")
    return tuple(value)


def ranges(header: Mapping[str, Any], name: str, most: int) -> list[int]:
    """The frames of a list of [first, last, step], in the order given; absent means none.

    Args:
        most: refuse more frames than this, before they are counted out.
    """
    value = header.get(name, [])
    frames: list[int] = []
    if not isinstance(value, list):
        raise ProtocolError(f"the field {name!r} is not a list of ranges")
    for one in value:
        if (
            not isinstance(one, list)
            or len(one) != 3
            or any(type(n) is not int or abs(n) > FARTHEST_FRAME for n in one)
            or one[2] < 1
        ):
            raise ProtocolError(f"the field {name!r} holds {_shown(one)}, not [first, last, step]")
        run = range(one[0], one[1] + 1, one[2])
        if len(frames) + len(run) > most:
            raise ProtocolError(f"the field {name!r} names more than {most} frames")
        frames.extend(run)
    return frames


def check_plain(value: Any, depth: int = 0) -> None:
    """Only maps with text keys, lists, texts, numbers, booleans, None and the signature's bytes.

    Raises:
        ProtocolError: anything else, or nested deeper than `DEEPEST`.
    """
    if depth > DEEPEST:
        raise ProtocolError("a header is nested too deep")
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise ProtocolError("a map in a header has a key that is no text")
            check_plain(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            check_plain(one, depth + 1)
    elif value is not None and not isinstance(value, (str, int, float, bool, bytes)):
        raise ProtocolError(f"a header holds a {type(value).__name__}")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…"
