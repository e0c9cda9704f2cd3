"""Every class, knob and function of Nuke that the plug-in and its fake name is there in real Nuke.

Two sources say what there is: the knobs of each node class, as scanned in a real Nuke 17, and the
signatures of the package types-nuke. The plug-in's text is followed far enough to know which
objects are Nuke's; an object of unknown class may be of any. A misspelling that the fake shares
with the plug-in would pass every other test.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from host_plugins.nuke import group
from host_plugins.nuke.knobs import KNOBS
from tests.hosts.fake_nuke import control

import nuke  # isort: skip  control puts it on the path
from nuke import _table  # isort: skip

ROOT = Path(__file__).parents[2]
PLUG_IN = ROOT / "host_plugins" / "nuke"
SCAN_FILE = ROOT.parent / "shared" / "nuke" / "nuke17_knobs.json"
ADAPTER = (PLUG_IN / "adapter.py").read_text(encoding="utf-8")
NODE_TEXT = group.FILE.read_text(encoding="utf-8")
OUR_KNOBS = {one.name for one in KNOBS}

# Knobs that real Nuke has and the scan has not: class -> knob -> why it is missing there.
EVERY = "every node"
UNSCANNED: dict[str, dict[str, str]] = {
    EVERY: dict.fromkeys(
        ("name", "xpos", "ypos", "disable", "tile_color"), "the scan has a class's own knobs only"
    ),
    "Input": {"number": "the scan has no knob of Input"},
    "Write": {"metadata": "there only since file_type is exr"},
    "Root": dict.fromkeys(
        ("workingSpaceLUT", "project_directory", "proxy"), "the scan has no Root"
    ),
}
# What is said against the fake, and is a mistake of the stubs: what is said -> why it is one.
STUBS_ERR = {
    "Link_Knob.setValue is not called so": "a value is set, whatever the knob; the stub takes none"
}

Scan = Mapping[str, Mapping[str, Any]]


# What the stubs say


class Signature(NamedTuple):
    """How something is called; ``self`` is left out."""

    names: tuple[str, ...]
    least: int
    most: float
    words: frozenset[str] | None  # keywords; None = any

    def takes(self, count: int | None, keywords: set[str]) -> bool:
        """Whether a call fits; a count of None: ``*args`` of unknown length."""
        if self.words is not None and not keywords <= self.words:
            return False
        if count is None:
            return True
        left = set(self.names[count : self.least]) - keywords
        return count <= self.most and not left and not set(self.names[:count]) & keywords


def signature_of(function: ast.FunctionDef, bound: bool) -> Signature:
    """Of a function of the stubs; ``bound`` drops the first parameter."""
    given = function.args
    names = [one.arg for one in given.posonlyargs + given.args][int(bound) :]
    words = frozenset([*names, *(one.arg for one in given.kwonlyargs)])
    return Signature(
        tuple(names),
        max(0, len(names) - len(given.defaults)),
        float("inf") if given.vararg else len(names),
        None if given.kwarg else words,
    )


def names_of_module(folder: Path, module: str = "__init__") -> dict[str, list[ast.stmt]]:
    """Name -> its definitions in a module of the stubs, several where it is overloaded."""
    found: dict[str, list[ast.stmt]] = {}
    for one in ast.parse((folder / f"{module}.pyi").read_text(encoding="utf-8")).body:
        if isinstance(one, ast.ImportFrom) and one.level and one.module:
            theirs = names_of_module(folder, one.module)
            for alias in one.names:
                if alias.name == "*":
                    found.update((n, d) for n, d in theirs.items() if not n.startswith("_"))
                else:
                    found[alias.asname or alias.name] = theirs[alias.name]
        elif isinstance(one, (ast.FunctionDef, ast.ClassDef)):
            found.setdefault(one.name, []).append(one)
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            found[one.target.id] = [one]
        elif isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
            same = one.value.id if isinstance(one.value, ast.Name) else ""
            found[one.targets[0].id] = found.get(same, [one])
    return found


class Stubs:
    """The names of the module ``nuke``, and the methods of its classes."""

    def __init__(self, names: Mapping[str, list[ast.stmt]]):
        self.names = names
        self.classes = {
            name: made[0] for name, made in names.items() if isinstance(made[0], ast.ClassDef)
        }
        self.lines = {name: tuple(self._line(name)) for name in self.classes}

    def _line(self, name: str) -> Iterator[str]:
        yield name
        for base in self.classes[name].bases:
            if isinstance(base, ast.Name) and base.id in self.classes:
                yield from self._line(base.id)

    def own_method(self, kind: str, name: str) -> list[ast.FunctionDef]:
        """Of a class, or of the nearest class above that has it.

        A node's is called as Node says, where its own stub takes anything: Root's mostly do.
        """
        found = []
        for one in self.lines[kind]:
            body = self.classes[one].body
            made = [d for d in body if isinstance(d, ast.FunctionDef) and d.name == name]
            if made:
                found.append(made)
        if "Node" in self.lines[kind]:
            found.sort(key=lambda made: made[0].args.vararg is not None)
        return found[0] if found else []

    def methods(self, kind: str, name: str) -> list[ast.FunctionDef]:
        """All that an object of a class, or of one derived from it, may have; "*": of any."""
        below = [one for one, line in self.lines.items() if kind == "*" or kind in line]
        return [found for one in below for found in self.own_method(one, name)]


def _stubs() -> Stubs:
    package = importlib.metadata.distribution("types-nuke")
    return Stubs(names_of_module(Path(str(package.locate_file("nuke-stubs")))))


STUBS = _stubs()


# What the plug-in's text says


class Thing(NamedTuple):
    """What is known of a value in the plug-in's text.

    Attributes:
        kind: class of Nuke; "*" = any of them; "" = it is not Nuke's.
        many: it is in a container of such.
        words: the strings that it may be, or that a container has, or its keys.
        names_a_class: it is the name of a node class.
    """

    kind: str = ""
    many: bool = False
    words: frozenset[str] = frozenset()
    names_a_class: bool = False


PLAIN, MODULE = Thing(), Thing("nuke")


def merged(things: Iterable[Thing]) -> Thing:
    """What may be any of some."""
    things = list(things)
    theirs = next((one for one in things if one.kind), PLAIN)
    words = frozenset[str]().union(*(one.words for one in things))
    return theirs._replace(words=words, names_a_class=any(one.names_a_class for one in things))


def annotated(annotation: ast.expr | None, any_is: str) -> Thing:
    """What an annotation says.

    Args:
        annotation: in the plug-in or the stubs.
        any_is: what ``Any`` stands for: the plug-in calls Nuke's objects so, the stubs values.
    """
    if isinstance(annotation, ast.Name):
        if annotation.id == "Any":
            return Thing(any_is)
        # The plug-in's Knob is not Nuke's.
        return Thing(annotation.id) if not any_is and annotation.id in STUBS.classes else PLAIN
    if isinstance(annotation, ast.BinOp):  # X | None
        return merged(annotated(one, any_is) for one in (annotation.left, annotation.right))
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
        inner = annotation.slice
        if annotation.value.id == "Optional":
            return annotated(inner, any_is)
        if annotation.value.id in ("Dict", "dict", "Mapping") and isinstance(inner, ast.Tuple):
            inner = inner.elts[-1]
        if annotation.value.id != "Callable":
            return annotated(inner, any_is)._replace(many=True)
    return PLAIN


class Misuses(ast.NodeVisitor):
    """Goes through a module in the order of its text, and notes what real Nuke has not.

    Every ``visit`` of an expression returns what is known of its value.
    """

    def __init__(self, source: str, scan: Scan | None):
        self.found: list[str] = []
        self.scan = scan
        tree = ast.parse(source)
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)]
        self.returned = {one.name: annotated(one.returns, "*") for one in functions}
        self.known: dict[str, Thing] = {}
        self.of_self: dict[str, Thing] = {}
        made = set(re.findall(r"nuke\.nodes\.(\w+)", source))
        self.used = {"Group", *made, *(one.kind for one in group.NODES)}
        self.visit(tree)

    def note(self, node: ast.AST, text: str) -> None:
        self.found.append(f"line {getattr(node, 'lineno', 0)}: {text}")

    def generic_visit(self, node: ast.AST) -> Thing:
        super().generic_visit(node)
        return PLAIN

    # What must be there

    def check_classes(self, node: ast.AST, names: Iterable[str]) -> None:
        for name in names:
            if self.scan is not None and name not in self.scan:
                self.note(node, f"no node class {name}")

    def check_knobs(self, node: ast.AST, owner: str, names: Iterable[str]) -> None:
        if self.scan is None:
            return
        there = OUR_KNOBS | set(UNSCANNED[EVERY])
        if owner == "Root":
            there |= set(UNSCANNED["Root"])
        else:
            for kind in self.used:
                there |= set(self.scan.get(kind, ())) | set(UNSCANNED.get(kind, ()))
        for name in names:
            if name not in there:
                self.note(node, f"no knob {name}")

    def check_call(
        self, node: ast.Call, name: str, made: list[ast.FunctionDef], bound: bool
    ) -> None:
        count = None if any(isinstance(one, ast.Starred) for one in node.args) else len(node.args)
        words = {one.arg for one in node.keywords if one.arg}
        if not any(signature_of(one, bound).takes(count, words) for one in made):
            self.note(node, f"{name} is not called so")

    def check_choice(self, node: ast.AST, kinds: Iterable[str], knob: str, value: Thing) -> None:
        offered = {one for kind in kinds for one in choices_of(kind, knob)}
        for word in value.words if offered else ():
            if word not in offered:
                self.note(node, f"no choice {word!r} of {knob}")

    # Expressions

    def visit_Name(self, node: ast.Name) -> Thing:
        thing = self.known.get(node.id, PLAIN)
        # What is called so is one of Nuke's, where no annotation says it too.
        return Thing("*") if node.id == "node" and not thing.kind else thing

    def visit_Constant(self, node: ast.Constant) -> Thing:
        return Thing(words=frozenset([node.value])) if isinstance(node.value, str) else PLAIN

    def visit_JoinedStr(self, node: ast.JoinedStr) -> Thing:
        parts = [self.visit(one).words for one in node.values]
        return Thing(words=frozenset("".join(one) for one in product(*parts)))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> Thing:
        return self.visit(node.value)

    def visit_Tuple(self, node: ast.Tuple | ast.List | ast.Set) -> Thing:
        return merged(map(self.visit, node.elts))._replace(many=True)

    visit_List = visit_Set = visit_Tuple

    def visit_Dict(self, node: ast.Dict) -> Thing:
        keys = merged(self.visit(one) for one in node.keys if one is not None)
        return merged(map(self.visit, node.values))._replace(many=True, words=keys.words)

    def visit_BoolOp(self, node: ast.BoolOp) -> Thing:
        return merged(map(self.visit, node.values))

    def visit_IfExp(self, node: ast.IfExp) -> Thing:
        self.visit(node.test)
        return merged((self.visit(node.body), self.visit(node.orelse)))

    def visit_Compare(self, node: ast.Compare) -> Thing:
        sides = [self.visit(one) for one in (node.left, *node.comparators)]
        for left, right in pairwise(sides):
            if left.names_a_class or right.names_a_class:
                self.check_classes(node, left.words | right.words)
        return PLAIN

    def visit_Attribute(self, node: ast.Attribute) -> Thing:
        owner = self.visit(node.value)
        if owner == MODULE:
            made = STUBS.names.get(node.attr)
            if made is None:
                self.note(node, f"no nuke.{node.attr}")
            elif isinstance(made[0], ast.ClassDef):
                return Thing(node.attr)
            elif isinstance(made[0], ast.AnnAssign):
                return annotated(made[0].annotation, "")
        elif owner.kind and not owner.many and not STUBS.methods(owner.kind, node.attr):
            self.note(node, f"no {owner.kind}.{node.attr}")
        return self.of_self.get(ast.unparse(node), PLAIN)

    def visit_Subscript(self, node: ast.Subscript) -> Thing:
        owner, key = self.visit(node.value), self.visit(node.slice)
        if not owner.kind or isinstance(node.slice, ast.Slice):
            return owner
        if owner.many:
            if owner.kind == "Knob":  # what Node.knobs() gives
                self.check_knobs(node, "", key.words)
            return Thing(owner.kind)
        if owner.kind != "*" and "Node" not in STUBS.lines[owner.kind]:
            return PLAIN  # nuke.env
        self.check_knobs(node, owner.kind, key.words)
        return Thing("Knob")

    def visit_Call(self, node: ast.Call) -> Thing:
        given = [self.visit(one) for one in node.args]
        words = {one.arg: self.visit(one.value) for one in node.keywords}
        if not isinstance(node.func, ast.Attribute):
            self.visit(node.func)
            return self.call_plain(node.func, given)
        owner, name = self.visit(node.func.value), node.func.attr
        if owner == MODULE:
            return self.call_module(node, name, given, words)
        if owner.kind == "Nodes":
            return self.call_nodes(node, name, words)
        if owner.many or not owner.kind:
            return self.call_container(node.func.value, owner, name, words)
        made = STUBS.methods(owner.kind, name)
        if not made:
            self.note(node, f"no {owner.kind}.{name}")
            return PLAIN
        self.check_call(node, f"{owner.kind}.{name}", made, True)
        if name == "knob" and given:
            self.check_knobs(node, owner.kind, given[0].words)
        if name == "setValue" and given and isinstance(node.func.value, ast.Subscript):
            key = node.func.value.slice
            for knob in (self.visit(key) if isinstance(key, ast.Constant) else PLAIN).words:
                self.check_choice(node, self.used, knob, given[0])
        if name == "Class":
            return Thing(names_a_class=True)
        return merged(annotated(one.returns, "") for one in made)

    def call_plain(self, function: ast.expr, given: list[Thing]) -> Thing:
        name = function.id if isinstance(function, ast.Name) else ""
        if name in ("list", "tuple", "set", "sorted", "reversed", "iter") and given:
            return given[0]
        if name == "next" and given:
            return given[0]._replace(many=False)
        return self.returned.get(name, PLAIN)

    def call_module(
        self, node: ast.Call, name: str, given: list[Thing], words: Mapping[str | None, Thing]
    ) -> Thing:
        made = STUBS.names.get(name)
        if made is None:
            self.note(node, f"no nuke.{name}")
            return PLAIN
        if isinstance(made[0], ast.ClassDef):
            self.check_call(node, f"nuke.{name}", STUBS.own_method(name, "__init__"), True)
            return Thing(name)
        functions = [one for one in made if isinstance(one, ast.FunctionDef)]
        self.check_call(node, f"nuke.{name}", functions, False)
        asked = [words[one] for one in ("nodeClass", "filter") if one in words]
        if name in ("allNodes", "selectedNodes", "createNode"):
            asked += given[:1]
        for one in asked:
            self.check_classes(node, one.words)
        return merged(annotated(one.returns, "") for one in functions)

    def call_nodes(self, node: ast.Call, name: str, words: Mapping[str | None, Thing]) -> Thing:
        """``nuke.nodes.Blur(size=3, inputs=[above])``"""
        self.check_classes(node, [name])
        if node.args:
            self.note(node, f"nuke.nodes.{name} takes keywords only")
        for knob, value in words.items():
            if self.scan is not None and knob not in knobs_of(self.scan, name) | {"inputs", None}:
                self.note(node, f"no knob {knob} of {name}")
            self.check_choice(node, [name], str(knob), value)
        return Thing("Group" if name == "Group" else "Node")

    def call_container(
        self, holder: ast.expr, owner: Thing, name: str, words: Mapping[str | None, Thing]
    ) -> Thing:
        if not owner.many:
            return PLAIN
        if name == "update" and isinstance(holder, ast.Name):
            more = frozenset(one for one in words if one)
            self.known[holder.id] = owner._replace(words=owner.words | more)
        if name == "values":
            return owner._replace(words=frozenset())
        if name in ("get", "pop"):
            return owner._replace(many=False, words=frozenset())
        return owner

    # Names get a meaning

    def bind(self, target: ast.expr, thing: Thing) -> None:
        if isinstance(target, ast.Name):
            self.known[target.id] = thing
        elif isinstance(target, ast.Attribute) and ast.unparse(target).startswith("self."):
            self.of_self[ast.unparse(target)] = thing
        elif isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                self.bind(one, PLAIN)
        else:
            self.visit(target)

    def bind_each(self, target: ast.expr, many: ast.expr) -> None:
        """The target of a loop: one of many."""
        if not isinstance(target, ast.Tuple):
            self.bind(target, self.visit(many)._replace(many=False))
            return
        rows = [one for one in getattr(many, "elts", ()) if isinstance(one, ast.Tuple)]
        if rows:
            for at, one in enumerate(target.elts):
                self.bind(one, merged(self.visit(row.elts[at]) for row in rows))
            return
        items = self.visit(many)  # keys and values
        self.bind(target, PLAIN)
        self.bind(target.elts[0], Thing(words=items.words))
        self.bind(target.elts[-1], Thing(items.kind))

    def visit_Assign(self, node: ast.Assign) -> Thing:
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=True):
                    self.bind(one, self.visit(value))
            else:
                self.bind(target, self.visit(node.value))
        return PLAIN

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Thing:
        value = self.visit(node.value) if node.value else PLAIN
        said = annotated(node.annotation, "*")
        self.bind(node.target, said if said.kind else value)
        return PLAIN

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Thing:
        thing = self.visit(node.value)
        self.bind(node.target, thing)
        return thing

    def visit_Import(self, node: ast.Import) -> Thing:
        for one in node.names:
            self.known[one.asname or one.name] = MODULE if one.name == "nuke" else PLAIN
        return PLAIN

    def visit_For(self, node: ast.For) -> Thing:
        self.bind_each(node.target, node.iter)
        for one in (*node.body, *node.orelse):
            self.visit(one)
        return PLAIN

    def visit_With(self, node: ast.With) -> Thing:
        for item in node.items:
            thing = self.visit(item.context_expr)
            if thing.kind and not STUBS.methods(thing.kind, "__enter__"):
                self.note(node, f"{thing.kind} is no context")
            if item.optional_vars is not None:
                self.bind(item.optional_vars, thing)
        for one in node.body:
            self.visit(one)
        return PLAIN

    def visit_FunctionDef(self, node: ast.FunctionDef) -> Thing:
        outer, self.known = self.known, dict(self.known)
        for one in (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults):
            if one is not None:
                self.visit(one)
        for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs):
            self.known[arg.arg] = annotated(arg.annotation, "*")
        for statement in node.body:
            self.visit(statement)
        self.known = outer
        return PLAIN

    def visit_Lambda(self, node: ast.Lambda) -> Thing:
        outer, self.known = self.known, dict(self.known)
        for one in node.args.args:
            self.known[one.arg] = PLAIN
        self.visit(node.body)
        self.known = outer
        return PLAIN

    def visit_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
    ) -> Thing:
        outer, self.known = self.known, dict(self.known)
        for one in node.generators:
            self.bind_each(one.target, one.iter)
            for test in one.ifs:
                self.visit(test)
        if isinstance(node, ast.DictComp):
            key = self.visit(node.key)
            thing = self.visit(node.value)._replace(many=True, words=key.words)
        else:
            thing = self.visit(node.elt)._replace(many=True)
        self.known = outer
        return thing

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp


def misuses(source: str, scan: Scan | None = None) -> list[str]:
    """What Python text asks of Nuke that it has not; without a scan, calls alone are looked at."""
    return list(dict.fromkeys(Misuses(source, scan).found))


# Nodes and knobs


def knobs_of(scan: Scan, kind: str) -> set[str]:
    """All of a class, and those that the scan leaves out."""
    return set(scan.get(kind, ())) | set(UNSCANNED[EVERY]) | set(UNSCANNED.get(kind, ()))


def choices_of(kind: str, knob: str) -> set[str]:
    """What the fake's table offers; empty where it does not say."""
    given: Iterable[str] = _table.CHOICES.get(f"{kind}.{knob}", ())
    if kind == "Write" and not given:
        all_types = _table.FILE_TYPE_KNOBS.values()
        offers = [one[knob][1] for one in all_types if knob in one]
        given = [word for one in offers if isinstance(one, tuple) for word in one]
    return {word for one in given for word in one.split("\t")}


def wrong_knob(scan: Scan, kind: str, knob: str, value: str) -> list[str]:
    """A knob of a node, and what it is set to."""
    if knob not in knobs_of(scan, kind):
        return [f"no knob {knob} of {kind}"]
    offered = choices_of(kind, knob)
    return [f"no choice {value!r} of {kind}.{knob}"] if offered and value not in offered else []


def wrong_nodes(nodes: Iterable[group.Inner], scan: Scan) -> list[str]:
    """What a table of nodes names that Nuke has not."""
    found = []
    for one in nodes:
        if one.kind not in scan:
            found.append(f"no node class {one.kind}")
            continue
        for knob, value in one.values.items():
            found += wrong_knob(scan, one.kind, knob, value)
        for knob, reference in one.follows.items():
            found += [] if knob in knobs_of(scan, one.kind) else [f"no knob {knob} of {one.kind}"]
            found += wrong_references(reference)
    return found


def wrong_references(text: str) -> list[str]:
    """Knobs of the Group that expressions name."""
    return [
        f"no knob {one} of the Group"
        for one in re.findall(r"parent\.(\w+)", text)
        if one not in OUR_KNOBS
    ]


def wrong_text(text: str, scan: Scan) -> list[str]:
    """What a node's text names that Nuke has not: its classes, knobs, choices and buttons.

    A node inside starts as `` Class {``, and its knobs are ``  knob value``; the Group's own start
    with one space less. ``inputs`` is a word of the format and no knob.
    """
    found, kind = [], ""
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip(" "))
        word, _, rest = line.strip().partition(" ")
        if rest == "{":
            kind = word
            found += [] if kind in scan else [f"no node class {kind}"]
        elif kind == "Group" and depth == 1 and word == "addUserKnob":
            name = rest.strip("{}").split()[1]
            found += [] if name in OUR_KNOBS else [f"no knob {name} of ours"]
            script = re.search(r' T "(.*nuke\..*)"\}$', rest)
            if script:
                code = script[1].replace("\\n", "\n").replace('\\"', '"')
                found += misuses("import nuke\n" + code, scan)
        elif kind == "Group" and depth == 1 and word not in ("inputs", "add_layer"):
            found += [] if word in OUR_KNOBS else wrong_knob(scan, kind, word, rest)
        elif depth == 2 and word != "inputs" and kind in scan:
            found += wrong_references(rest)
            found += wrong_knob(scan, kind, word, rest.strip('"'))
    return found


# The fake


def range_of(function: Any, bound: bool) -> tuple[int, float]:
    """How many positional arguments a function of the fake needs at least, and takes at most."""
    parameters = list(inspect.signature(function).parameters.values())[int(bound) :]
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    most = float("inf") if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(plain)
    return sum(p.default is p.empty for p in plain), most


def overlap(function: Any, made: list[ast.FunctionDef], bound: bool, static: bool = False) -> bool:
    """Whether some count of positional arguments suits the fake's function and the real one."""
    least, most = range_of(function, bound and not static)
    real = [signature_of(one, bound) for one in made]
    return any(max(least, one.least) <= min(most, one.most) for one in real)


def wrong_fakes(namespace: Mapping[str, Any]) -> list[str]:
    """Public names, and methods of public classes, that Nuke has not or calls otherwise."""
    found = []
    for name, value in namespace.items():
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        made = STUBS.names.get(name)
        if made is None:
            found.append(f"no nuke.{name}")
        elif isinstance(value, type):
            is_class = isinstance(made[0], ast.ClassDef)
            found += wrong_methods(name, value) if is_class else [f"{name} is no class"]
        elif inspect.isroutine(value):
            functions = [one for one in made if isinstance(one, ast.FunctionDef)]
            if not overlap(value, functions, False):
                found.append(f"nuke.{name} is not called so")
    return found


def wrong_methods(name: str, fake: type) -> Iterator[str]:
    """Of a class of the fake; those that it inherits in the fake are held to be its own."""
    if STUBS.own_method(name, "__getattr__"):
        return  # nuke.nodes: the scan says which there are
    ours = [one for one in fake.__mro__ if one.__module__.split(".")[0] == "nuke"]
    for method in sorted({one for base in ours for one in vars(base) if not one.startswith("_")}):
        made = STUBS.own_method(name, method)
        static = isinstance(inspect.getattr_static(fake, method), staticmethod)
        if not made:
            yield f"no {name}.{method}"
        elif not overlap(getattr(fake, method), made, True, static):
            yield f"{name}.{method} is not called so"


def wrong_table(table: Mapping[str, Mapping[str, Mapping[str, object]]], scan: Scan) -> list[str]:
    """Classes, knobs and types of knobs of the fake's table that the scan has not."""
    found = []
    for kind, by_type in table.items():
        if kind not in scan:
            found.append(f"no node class {kind}")
            continue
        for type_name, knobs in by_type.items():
            real = type_name if type_name == "PythonKnob" else f"{type_name}_Knob"
            for knob in knobs:
                is_ = scan[kind].get(knob, ["nothing"])[0]
                if is_ != real:
                    found.append(f"{kind}.{knob} is {is_}, not {real}")
    return found


# The tests


@pytest.fixture(scope="module")
def scan() -> Scan:
    if not SCAN_FILE.is_file():
        pytest.skip("the scan of a real Nuke is not here: ../shared/nuke/nuke17_knobs.json")
    return json.loads(SCAN_FILE.read_text(encoding="utf-8"))


MODULES = sorted(PLUG_IN.glob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda one: one.name)
def test_calls_of_the_plug_in(path):
    assert misuses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda one: one.name)
def test_nodes_and_knobs_of_the_plug_in(path, scan):
    assert misuses(path.read_text(encoding="utf-8"), scan) == []


def test_nodes_inside_of_ours(scan):
    assert wrong_nodes(group.NODES, scan) == []


def test_the_text_of_ours(scan):
    assert wrong_text(NODE_TEXT, scan) == []


def test_names_of_the_fake():
    assert wrong_fakes(vars(nuke)) == list(STUBS_ERR)


def test_nodes_and_knobs_of_the_fake(scan):
    assert wrong_table(_table.KNOBS, scan) == []
    assert set(_table.INPUTS) - set(scan) <= {"Root"}
    for name in _table.CHOICES:
        kind, _, knob = name.partition(".")
        assert knob in _table.KNOBS[kind]["Enumeration"], name


@pytest.fixture
def session():
    control.reset()
    yield
    control.reset()


@pytest.mark.usefixtures("session")
def test_exceptions_are_needed_and_the_fake_has_them(scan):
    node = nuke.nodes.Write(file_type="exr")
    there = {"Root": nuke.root(), "Input": nuke.nodes.Input(), "Write": node, EVERY: node}
    for kind, knobs in UNSCANNED.items():
        assert set(knobs) <= set(there[kind].knobs()), kind
        assert not set(knobs) & set(scan.get(kind, ())), kind


# What a checker misses is worth nothing: each must report what is planted


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("nuke.executeInMainThread(", "nuke.executeInMainThred(", "no nuke.executeInMainThred"),
        ("nuke.NUKE_VERSION_STRING", "nuke.NUKE_VERSION_STR", "no nuke.NUKE_VERSION_STR"),
        ("nuke.frame(number)", "nuke.frame(1, 2, 3)", "nuke.frame is not called so"),
        ("nuke.delete(old)", "nuke.delete()", "nuke.delete is not called so"),
        ("nodeClass=kind)", "nodeKlass=kind)", "nuke.addKnobChanged is not called so"),
        ("nuke.OutputContext()", "nuke.OutputContex()", "no nuke.OutputContex"),
        ("nuke.Undo.disable()", "nuke.Undo.disabel()", "no Undo.disabel"),
        ("self._task.setProgress(", "self._task.setProgres(", "no ProgressTask.setProgres"),
        (".isCancelled()", ".isCanceled()", "no ProgressTask.isCanceled"),
        ("root.setModified(", "root.setModify(", "no Root.setModify"),
        ("root.modified()", "root.modified(1)", "Root.modified is not called so"),
        ("context.viewFromName(", "context.viewByName(", "no OutputContext.viewByName"),
        ("context.viewFromName(view)", "context.viewFromName()", "viewFromName is not called so"),
        ("setValue(text or", "setVaule(text or", "no Knob.setVaule"),
        ("parent.nodes()", "parent.nods()", "no Group.nods"),
        ("below.inputs()", "below.inputCount()", "no Node.inputCount"),
        ("new.setInput(", "new.setInputs(", "no *.setInputs"),
        ("new.setInput(index, ", "new.setInput(0, index, ", "*.setInput is not called so"),
        ("node.firstFrame()", "node.frameFirst()", "no *.frameFirst"),
        ("size.width()", "size.widht()", "no Format.widht"),
        ("box.x() + box.w()", "box.x() + box.width()", "no Info.width"),
        ('found["first"]', 'found["frist"]', "no knob frist"),
        ('node(inner)["reload"]', 'node(inner)["relaod"]', "no knob relaod"),
        ('["workingSpaceLUT"]', '["workingSpaceLut"]', "no knob workingSpaceLut"),
        ('"after": "after"', '"affter": "after"', "no knob affter"),
        ('"first": "first"', '"fisrt": "first"', "no knob fisrt"),
        ('"origfirst": "first"', '"originalfirst": "first"', "no knob originalfirst"),
        ('"frame_mode": "frame_mode"', '"framemode": "frame_mode"', "no knob framemode"),
        ('"before": "before"', '"befor": "before"', "no knob befor"),
        ('knob("disable")', 'knob("disabled")', "no knob disabled"),
        ("nuke.nodes.Write(", "nuke.nodes.Wirte(", "no node class Wirte"),
        ("Crop(box=", "Crop(bbox=", "no knob bbox of Crop"),
        ("create_directories=True", "localisationPolicy=1", "no knob localisationPolicy of Write"),
        ('file_type="exr"', 'file_type="xr"', "no choice 'xr' of file_type"),
        ('"all metadata"', '"every metadata"', "no choice 'every metadata' of metadata"),
        ('kind == "Input"', 'kind == "Inptu"', "no node class Inptu"),
        ('Class() == "Read"', 'Class() == "Raed"', "no node class Raed"),
        ('("Dot", "NoOp")', '("Dot", "NoOpp")', "no node class NoOpp"),
        ('("Group", "Read")', '("Gruop", "Read")', "no node class Gruop"),
        ('nodeClass="Group"', 'nodeClass="Grop"', "no node class Grop"),
        ('allNodes("Group"', 'allNodes("Grup"', "no node class Grup"),
        ("with parent:", "with nuke.Format():", "Format is no context"),
    ],
)
def test_a_misspelling_in_the_adapter_is_reported(right, wrong, said, scan):
    assert right in ADAPTER, "the adapter is another now: plant something else"
    found = misuses(ADAPTER.replace(right, wrong), scan)
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        (" FilterErode {", " FilterErod {", "no node class FilterErod"),
        ("  localizationPolicy off", "  localisationPolicy off", "no knob localisationPolicy"),
        ("  localizationPolicy off", "  localizationPolicy of", "no choice 'of'"),
        ("  operation max", "  operation maximum", "no choice 'maximum' of Merge2.operation"),
        ("  on_error error", "  on_error eror", "no choice 'eror' of Read.on_error"),
        ("  number 1", "  nubmer 1", "no knob nubmer of Input"),
        ("{{parent.dvm_blur}}", "{{parent.dvm_blurr}}", "no knob dvm_blurr of the Group"),
        ("{6 dvm_invert", "{6 dvm_inverted", "no knob dvm_inverted of ours"),
        (" tile_color ", " tile_colour ", "no knob tile_colour of Group"),
        ("nuke.message(", "nuke.mesage(", "no nuke.mesage"),
    ],
)
def test_a_misspelling_in_the_text_is_reported(right, wrong, said, scan):
    assert right in NODE_TEXT
    found = wrong_text(NODE_TEXT.replace(right, wrong), scan)
    assert any(said in one for one in found), found


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"kind": "FilterErod"}, "no node class FilterErod"),
        ({"values": {"chanels": "alpha"}}, "no knob chanels of FilterErode"),
        ({"values": {"filter": "boxx"}}, "no choice 'boxx' of FilterErode.filter"),
        ({"follows": {"sise": "parent.dvm_shrink"}}, "no knob sise of FilterErode"),
        ({"follows": {"size": "parent.dvm_shrnk"}}, "no knob dvm_shrnk of the Group"),
    ],
)
def test_a_misspelling_in_the_table_is_reported(changed, said, scan):
    one = next(one for one in group.NODES if one.kind == "FilterErode")
    assert said in wrong_nodes([dataclasses.replace(one, **changed)], scan)


def test_a_node_without_an_annotation_is_looked_at(scan):
    text = 'def first(node):\n    node["dvm_view"].setVaule(1)\n    node["dvm_veiw"].value()\n'
    assert misuses(text, scan) == ["line 2: no Knob.setVaule", "line 3: no knob dvm_veiw"]


class _Format(nuke.Format):
    def widht(self):
        return 0


class _OutputContext(nuke.OutputContext):
    def viewFromName(self):
        return 0


for _one in (_Format, _OutputContext):
    _one.__module__ = "nuke"


@pytest.mark.parametrize(
    ("namespace", "said"),
    [
        ({"executeInMainThred": nuke.executeInMainThread}, "no nuke.executeInMainThred"),
        ({"frame": lambda first, last: 0}, "nuke.frame is not called so"),
        ({"Formt": nuke.Format}, "no nuke.Formt"),
        ({"frame": nuke.Format}, "frame is no class"),
        ({"Format": _Format}, "no Format.widht"),
        ({"OutputContext": _OutputContext}, "OutputContext.viewFromName is not called so"),
    ],
)
def test_a_misspelling_in_the_fake_is_reported(namespace, said):
    assert wrong_fakes(namespace) == [said]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"Blurr": {}}, "no node class Blurr"),
        ({"Blur": {"WH": {"sise": 0.0}}}, "Blur.sise is nothing, not WH_Knob"),
        ({"Blur": {"Array": {"size": 0.0}}}, "Blur.size is WH_Knob, not Array_Knob"),
    ],
)
def test_a_mistake_in_the_table_of_the_fake_is_reported(table, said, scan):
    assert wrong_table(table, scan) == [said]
