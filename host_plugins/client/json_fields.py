"""Reading fields of a shot.json that a person or a host wrote: every error is an `InputError` that
names the field and what is wanted there."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import InputError

LONGEST_TEXT = 4096
FARTHEST_FRAME = 10_000_000
FARTHEST_PIXEL = 1_000_000

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


class Fields:
    """One JSON object and where it stands in the shot, for messages.

    Args:
        content: the object.
        where: e.g. ``outputs`` or ``keyframes[2]``; "" for the shot itself.

    Raises:
        InputError: ``input.bad_shot`` if ``content`` is no object; so does every method if a
            field is not what it reads.
    """

    def __init__(self, content: Any, where: str):
        self.where = where
        self.content: Mapping[str, Any] = content
        if not isinstance(content, Mapping):
            raise self.wrong("", "must be an object")

    def wrong(self, name: str, wanted: str) -> InputError:
        """The error for a field; raised by the caller."""
        path = ".".join(one for one in (self.where, name) if one)
        return InputError(
            "input.bad_shot",
            f"the shot's field {path!r} {wanted}" if path else f"the shot {wanted}",
            hint="correct the field; shot.schema.json describes them all",
        )

    def has(self, name: str) -> bool:
        """True if the field is there and not null."""
        return self.content.get(name) is not None

    def map(self, name: str, *, optional: bool = False) -> Fields:
        """A nested object; absent means empty if ``optional``."""
        path = ".".join(one for one in (self.where, name) if one)
        return Fields({} if optional and not self.has(name) else self.content.get(name), path)

    def maps(self, name: str, most: int) -> list[Fields]:
        """A list of objects; absent means empty."""
        value = self.content.get(name, [])
        if not isinstance(value, list) or len(value) > most:
            raise self.wrong(name, f"must be a list of at most {most} objects")
        path = ".".join(one for one in (self.where, name) if one)
        return [Fields(one, f"{path}[{index}]") for index, one in enumerate(value)]

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it must be there and not be empty."""
        value = self.content.get(name, default)
        if not isinstance(value, str) or (default is None and not value):
            raise self.wrong(name, "must be a text" if default is not None else "must be given")
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise self.wrong(name, f"must have at most {LONGEST_TEXT} characters and no NUL")
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise self.wrong(name, "holds characters that are not Unicode") from None
        return value

    def line(self, name: str, longest: int) -> str:
        """A text of one line."""
        value = self.text(name)
        if len(value) > longest or not value.isprintable():
            raise self.wrong(name, f"must be one line of at most {longest} characters")
        return value

    def digest(self, name: str) -> str:
        """A sha256 in lower-case hex."""
        value = self.text(name)
        if not _DIGEST.match(value):
            raise self.wrong(name, "must be a sha256 of 64 hexadecimal digits")
        return value

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of a few words."""
        value = self.content.get(name, default)
        if not isinstance(value, str) or value not in choices:
            named = ", ".join(one for one in choices if one)
            raise self.wrong(name, f"must be one of {named}; it is {_shown(value)}")
        return value

    def some_of(
        self, name: str, choices: Sequence[str], default: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Some of a few words, each once; they come back in the order of ``choices``."""
        value = self.content.get(name, list(default))
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(one, str) and one in choices for one in value)
            or len(set(value)) != len(value)
        ):
            raise self.wrong(
                name, f"must list some of {', '.join(choices)}, each once; it is {_shown(value)}"
            )
        return tuple(one for one in choices if one in value)

    def flag(self, name: str) -> bool:
        """True or false; absent means false."""
        value = self.content.get(name, False)
        if not isinstance(value, bool):
            raise self.wrong(name, f"must be true or false; it is {_shown(value)}")
        return value

    def whole(self, name: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within ``low`` … ``high``."""
        value = self.content.get(name, default)
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(
                name, f"must be a whole number within {low} … {high}; it is {_shown(value)}"
            )
        return value

    def frame(self, name: str) -> int:
        """A frame number."""
        return self.whole(name, -FARTHEST_FRAME, FARTHEST_FRAME)

    def window(self, name: str) -> tuple[int, int, int, int]:
        """A rectangle [x0, y0, x1, y1], both corners inside, origin top left."""
        value = self.content.get(name)
        if (
            not isinstance(value, list)
            or len(value) != 4
            or any(type(n) is not int or abs(n) > FARTHEST_PIXEL for n in value)
            or value[2] < value[0]
            or value[3] < value[1]
        ):
            raise self.wrong(
                name, f"must be [x0, y0, x1, y1], x0 ≤ x1 and y0 ≤ y1; it is {_shown(value)}"
            )
        return value[0], value[1], value[2], value[3]

    def runs(self, name: str, most: int) -> tuple[tuple[int, int, int], ...]:
        """Runs [first, last, step], ascending, no frame twice, ``most`` frames together."""
        value = self.content.get(name)
        if not isinstance(value, list) or not value or len(value) > most:
            raise self.wrong(name, "must be a list of [first, last, step]")
        runs: list[tuple[int, int, int]] = []
        total = 0
        for index, one in enumerate(value):
            here = f"{name}[{index}]"
            if (
                not isinstance(one, list)
                or len(one) != 3
                or any(type(n) is not int or abs(n) > FARTHEST_FRAME for n in one)
            ):
                raise self.wrong(here, f"must be [first, last, step]; it is {_shown(one)}")
            first, last, step = one
            if step < 1 or last < first:
                raise self.wrong(here, f"must ascend by a step of at least 1; it is {_shown(one)}")
            if runs and first <= runs[-1][1]:
                raise self.wrong(here, f"must begin after frame {runs[-1][1]}; it is {_shown(one)}")
            last -= (last - first) % step
            total += (last - first) // step + 1
            runs.append((first, last, step))
        if total > most:
            raise self.wrong(name, f"must name at most {most} frames; it names {total}")
        return tuple(runs)


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else shown[:77] + "…"
