"""Script text: quoting values, and splitting text into commands and words as TCL does."""

from __future__ import annotations

import re

_BARE = re.compile(r"[A-Za-z0-9_./:%#+=,*~@?&|<>!^-]+")
_ESCAPES = {"\\": "\\\\", '"': '\\"', "[": "\\[", "$": "\\$", "{": "\\{", "}": "\\}", "\n": "\\n"}


class Word(str):
    """A word of a command; ``braced`` if it stood in ``{}``."""

    braced = False


def quote(text: str) -> str:
    """A string as a script holds it."""
    if text and _BARE.fullmatch(text) and not text.startswith("#"):
        return text
    return '"' + "".join(_ESCAPES.get(char, char) for char in text) + '"'


def commands(text: str) -> list[list[Word]]:
    """Split a script, or the body of a node, into commands of words.

    Raises:
        RuntimeError: a brace or a quote is not closed.
    """
    found: list[list[Word]] = []
    words: list[Word] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char in "\n;":
            if words:
                found.append(words)
            words, at = [], at + 1
        elif char.isspace():
            at += 1
        elif char == "#" and not words:
            end = text.find("\n", at)
            at = len(text) if end < 0 else end
        else:
            word, at = _word(text, at)
            words.append(word)
    if words:
        found.append(words)
    return found


def words_of(text: str) -> list[Word]:
    """The words of a list, whatever lines it stands on."""
    return [word for command in commands(text) for word in command]


def _word(text: str, at: int) -> tuple[Word, int]:
    if text[at] == "{":
        end = _close(text, at)
        word = Word(text[at + 1 : end])
        word.braced = True
        return word, end + 1
    quoted = text[at] == '"'
    at += quoted
    out, depth = [], 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            out.append({"n": "\n", "t": "\t"}.get(text[at + 1], text[at + 1]))
            at += 2
            continue
        if quoted and char == '"':
            return Word("".join(out)), at + 1
        if not quoted and depth == 0 and (char.isspace() or char == ";"):
            break
        if not quoted:
            depth += {"[": 1, "]": -1}.get(char, 0)
        out.append(char)
        at += 1
    if quoted:
        raise RuntimeError("missing close-quote in script")
    return Word("".join(out)), at


def _close(text: str, start: int) -> int:
    depth, at = 0, start
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
        at += 1
    raise RuntimeError("missing close-brace in script")
