"""The arithmetic of Expression nodes: ``r > 0.5 && dvm.alpha < 1 ? a : 0``."""

from __future__ import annotations

import re
from typing import Any, Callable

# What a name is worth at the pixel.
Lookup = Callable[[str], float]
Term = Callable[[Lookup], float]

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_][\w.]*)|(&&|\|\||[<>=!]=|[-+*/<>?:()!,]))"
)
_OPERATORS: dict[str, tuple[int, Callable[[float, float], Any]]] = {
    "||": (1, lambda a, b: bool(a) or bool(b)),
    "&&": (2, lambda a, b: bool(a) and bool(b)),
    "==": (3, lambda a, b: a == b),
    "!=": (3, lambda a, b: a != b),
    "<": (4, lambda a, b: a < b),
    ">": (4, lambda a, b: a > b),
    "<=": (4, lambda a, b: a <= b),
    ">=": (4, lambda a, b: a >= b),
    "+": (5, lambda a, b: a + b),
    "-": (5, lambda a, b: a - b),
    "*": (6, lambda a, b: a * b),
    "/": (6, lambda a, b: a / b if b else 0.0),
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "min": min,
    "max": max,
    "abs": abs,
    "clamp": lambda x, low=0.0, high=1.0: min(max(x, low), high),
}


class _Parser:
    def __init__(self, text: str):
        self.text, self.tokens = text, []
        at = 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if not found:
                raise RuntimeError(f"syntax error in expression {text!r}")
            self.tokens.append(found[1] or found[2] or found[3])
            at = found.end()

    def next(self, wanted: str | None = None) -> str:
        if not self.tokens or (wanted is not None and self.tokens[0] != wanted):
            raise RuntimeError(f"syntax error in expression {self.text!r}")
        return self.tokens.pop(0)

    def peek(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def ternary(self) -> Term:
        test = self.binary(1)
        if self.peek() != "?":
            return test
        self.next()
        yes = self.ternary()
        self.next(":")
        no = self.ternary()
        return lambda at: yes(at) if test(at) else no(at)

    def binary(self, level: int) -> Term:
        left = self.unary()
        while _OPERATORS.get(self.peek(), (0,))[0] >= level:
            precedence, work = _OPERATORS[self.next()]
            left = _joined(work, left, self.binary(precedence + 1))
        return left

    def unary(self) -> Term:
        token = self.next()
        if token == "-":
            inner = self.unary()
            return lambda at: -inner(at)
        if token == "!":
            inner = self.unary()
            return lambda at: float(not inner(at))
        if token == "(":
            inner = self.ternary()
            self.next(")")
            return inner
        if token[0].isdigit() or token[0] == ".":
            number = float(token)
            return lambda at: number
        if token in _FUNCTIONS and self.peek() == "(":
            return self.call(_FUNCTIONS[token])
        if not (token[0].isalpha() or token[0] == "_"):
            raise RuntimeError(f"syntax error in expression {self.text!r}")
        return lambda at: at(token)

    def call(self, work: Callable[..., float]) -> Term:
        self.next("(")
        given = [self.ternary()]
        while self.peek() == ",":
            self.next()
            given.append(self.ternary())
        self.next(")")
        return lambda at: work(*[one(at) for one in given])


def _joined(work: Callable[[float, float], Any], left: Term, right: Term) -> Term:
    return lambda at: float(work(left(at), right(at)))


def parse(text: str) -> Term:
    """A function of the pixel's names.

    Raises:
        RuntimeError: it is not an expression that this fake knows.
    """
    parser = _Parser(text)
    made = parser.ternary()
    if parser.tokens:
        raise RuntimeError(f"syntax error in expression {text!r}")
    return made
