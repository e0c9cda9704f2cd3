"""Guides: pictures that go with a shot's plates and help with its mattes.

Garbage and core mattes pin alpha, a clean plate shows the background. Each is one picture a frame,
or one for all frames. They travel as the plates do: by path, or as parts of ``submit``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .json_fields import Fields

ROLES = ("garbage", "core", "clean")
# For messages.
NAMES = {"garbage": "garbage matte", "core": "core matte", "clean": "clean plate"}


@dataclass(frozen=True)
class Guide:
    """Where the pictures of a guide are.

    Attributes:
        pattern: path with a frame number, or one image for all frames; "" by value.
        by_value: the client sends them.
    """

    pattern: str = ""
    by_value: bool = False


@dataclass(frozen=True)
class Guides:
    """The guides of a shot; most have none.

    Attributes:
        garbage: mattes; where they are 1, alpha is 0.
        core: mattes; where they are 1, alpha is 1.
        clean: plates of the background alone.
    """

    garbage: Guide | None = None
    core: Guide | None = None
    clean: Guide | None = None

    def __bool__(self) -> bool:
        return any(True for _ in self.given())

    def given(self) -> Iterator[tuple[str, Guide]]:
        """Role and place of each that there is."""
        for one in fields(self):
            guide = getattr(self, one.name)
            if guide is not None:
                yield one.name, guide

    @classmethod
    def of_patterns(cls, patterns: Mapping[str, str]) -> Guides:
        """By path.

        Args:
            patterns: by role; "" for those that there are none of.
        """
        return cls(**{role: Guide(pattern) for role, pattern in patterns.items() if pattern})

    def to_json(self) -> dict[str, Any]:
        """As `read_guides` reads it; those that are not there are left out."""
        return {
            role: {"by_value": True} if one.by_value else {"pattern": one.pattern}
            for role, one in self.given()
        }

    def resolved(self, absolute: Callable[[str], str]) -> Guides:
        """The same with other paths."""
        changed = {role: replace(one, pattern=absolute(one.pattern)) for role, one in self.given()}
        return replace(self, **changed)


def read_guides(at: Fields) -> Guides:
    """Read ``guides`` of a shot.

    Raises:
        InputError: ``input.bad_shot``.
    """
    return Guides(**{role: _read(at.map(role)) for role in ROLES if at.has(role)})


def _read(at: Fields) -> Guide:
    by_value, pattern = at.flag("by_value"), at.text("pattern", "")
    if by_value == bool(pattern):
        raise at.wrong("", "must have either a 'pattern' or 'by_value': true")
    return Guide(pattern, by_value)
