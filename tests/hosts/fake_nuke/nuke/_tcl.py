"""The few TCL commands that file knobs hold, views and frame numbers in paths."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any

from nuke._state import state


def evaluate(text: str, core: Any) -> str:
    """Replace each ``[command]`` of a text; ``core`` is the node that holds it.

    Raises:
        RuntimeError: a command that is not known, or a node or knob that is not there.
    """
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            out.append(text[at + 1])
            at += 2
        elif text[at] == "[":
            end = _closing(text, at)
            out.append(_command(text[at + 1 : end], core))
            at = end + 1
        else:
            out.append(text[at])
            at += 1
    return "".join(out)


def _closing(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        depth += {"[": 1, "]": -1}.get(text[at], 0)
        if depth == 0:
            return at
    raise RuntimeError(f"missing close-bracket in {text!r}")


def _command(text: str, core: Any) -> str:
    words = _words(text)
    if not words:
        return ""
    name, given = words[0], [evaluate(word, core) for word in words[1:]]
    if name in ("value", "knob") and len(given) == 1:
        return value_of(given[0], core)
    if name == "getenv" and len(given) == 1:
        return os.environ.get(given[0], "")
    if name == "file" and len(given) == 2:
        what, path = given
        if what == "dirname":
            return posixpath.dirname(path) or "."
        if what == "tail":
            return posixpath.basename(path)
        if what == "rootname":
            return posixpath.splitext(path)[0]
        if what == "extension":
            return posixpath.splitext(path)[1]
    raise RuntimeError(f'invalid command name "{text}"')


def _words(text: str) -> list[str]:
    """Words at spaces outside of brackets, quotes and braces."""
    words: list[str] = []
    word, depth, quote = "", 0, False
    for char in text.strip():
        if char == '"' and depth == 0:
            quote = not quote
            continue
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(char, 0)
        if char.isspace() and depth == 0 and not quote:
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return [*words, word] if word else words


def value_of(path: str, core: Any) -> str:
    """The text of ``knob``, ``this.knob``, ``parent.knob``, ``root.knob`` or ``Node.knob``."""
    node, names = core, path.split(".")
    if names[0] == "root":
        node = state.root
        names = names[1:]
    while len(names) > 1:
        name = names.pop(0)
        if name in ("this", "input"):
            node = node if name == "this" else node.inputs[0]
        elif name == "parent":
            node = node.group
        else:
            around = [one.child(name) for one in (node, node.group) if one is not None]
            node = next((one for one in around if one is not None), None)
        if node is None:
            raise RuntimeError(f'no such node or knob: "{path}"')
    knob = node.knobs.get(names[0])
    if knob is None:
        raise RuntimeError(f'no such node or knob: "{path}"')
    return knob._tcl_text()


def with_view(text: str, view: str) -> str:
    """``%V`` and ``%v``."""
    return text.replace("%V", view).replace("%v", view[:1])


def has_frame(text: str) -> bool:
    """Whether a path holds a place for the frame number."""
    return re.search(r"%0?\d*d|#+", text) is not None


def percent_frame(text: str) -> str:
    """``####`` as ``%04d``."""
    return re.sub(r"#+", lambda found: f"%0{len(found[0])}d", text)


def with_frame(text: str, frame: float) -> str:
    """The frame number for ``%04d``, ``%d`` and ``####``."""
    return re.sub(r"%0?\d*d", lambda found: found[0] % int(frame), percent_frame(text))
