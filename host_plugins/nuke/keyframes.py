"""The keyframes of a node: which plates have a trimap, and in which file. Kept as text in a knob,
a line for each: the plate's number, a space, the file. No call of Nuke's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..client.errors import InputError


def read(text: str) -> dict[int, str]:
    """File by plate, ascending. ``%V`` in a file stands for the view.

    Raises:
        InputError: ``input.keyframes`` if somebody has edited the knob to nonsense.
    """
    found = {}
    for line in text.splitlines():
        number, _, path = line.strip().partition(" ")
        if not number and not path:
            continue
        if not number.lstrip("-").isdigit() or not path:
            raise InputError(
                "input.keyframes",
                f"the node's list of keyframes has a line that is none: {line!r}",
                hint="remove the keyframes and add them again",
            )
        found[int(number)] = path
    return dict(sorted(found.items()))


def written(keyframes: Mapping[int, str]) -> str:
    """What `read` reads."""
    return "\n".join(f"{plate} {path}" for plate, path in sorted(keyframes.items()))


def is_named(text: str, path: str) -> bool:
    """Whether a list names a file, be the rest of it nonsense or not."""
    return any(line.strip().partition(" ")[2] == path for line in text.splitlines())


def neighbour(keyframes: Mapping[int, str], plate: int, *, ahead: bool) -> int:
    """The keyframe after a plate, or before it.

    Raises:
        InputError: ``input.no_keyframe`` if there is none.
    """
    found = [one for one in keyframes if (one > plate if ahead else one < plate)]
    if not found:
        raise InputError(
            "input.no_keyframe",
            f"there is no keyframe {'after' if ahead else 'before'} this frame",
            hint="add one, or go the other way",
        )
    return min(found) if ahead else max(found)


def not_one(frame: int) -> InputError:
    """A frame is not on the list."""
    return InputError(
        "input.no_keyframe", f"frame {frame} is no keyframe", hint="go to one with Previous or Next"
    )


def in_view(path: str, view: str) -> Path:
    """A keyframe's file in a view."""
    return Path(path.replace("%V", view))
