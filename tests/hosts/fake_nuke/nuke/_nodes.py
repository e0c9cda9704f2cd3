"""Nodes: the tree of ``Core`` objects, and the Python objects that show them.

A Python object of a node is made anew at each call; two of the same node are equal, not identical.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from nuke import _callbacks, _knobs, _pixels
from nuke._knobs import DETACHED, Knob
from nuke._state import host, host_class, state
from nuke._table import (
    CHOICES,
    COMMON,
    FILE_TYPE_DEFAULTS,
    FILE_TYPE_KNOBS,
    INPUTS,
    KNOBS,
    ROOT,
    ROOT_CHOICES,
)
from nuke._values import Format, FrameRange, Info

EXPRESSIONS, INPUTS_FLAG, HIDDEN_INPUTS, LINKINPUTS = 1, 2, 4, 8


class Core:
    """A node: its class, knobs, inputs and, for a group, the nodes inside."""

    def __init__(self, class_name: str, group: Core | None):
        self.class_name, self.group = class_name, group
        self.alive, self.modified, self.panel = True, False, False
        state.next_number += 1
        self.number = state.next_number
        self.inputs: list[Core | None] = [None] * INPUTS.get(class_name, (1, 1))[0]
        self.children: list[Core] = []
        self.knobs: dict[str, Knob] = {}
        self.file_type_knobs: list[str] = []
        if class_name == "Root":
            self._own_knobs("Root", {"String": {"name": ""}, "EvalString": {"label": ""}})
            self._own_knobs("Root", ROOT)
        else:
            self._own_knobs(class_name, COMMON)
            self._own_knobs(class_name, KNOBS[class_name])
        if class_name == "Input":
            self._own_knobs(class_name, {"Array": {"number": 0}})

    def _own_knobs(self, class_name: str, table: dict[str, dict[str, object]]) -> None:
        for type_name, knobs in table.items():
            for name, default in knobs.items():
                choices = CHOICES.get(f"{class_name}.{name}") or ROOT_CHOICES.get(name)
                self._put(_knobs.make(type_name, name, default, choices))

    def _put(self, knob: Knob) -> None:
        knob._core = self
        self.knobs[knob._name] = knob

    def python(self) -> Node:
        cls: Any = Node
        if self.class_name == "Root":
            cls = Root
        elif self.is_group():
            cls = Group
        made = cls.__new__(cls)
        made._core = self
        return made

    def is_group(self) -> bool:
        return self.class_name in ("Group", "Root")

    def name(self) -> str:
        text = self.knobs["name"]._raw
        return text or ("Root" if self.class_name == "Root" else "")

    def full_name(self) -> str:
        if self.group is None or self.group.class_name == "Root":
            return self.name() if self.group is not None else "root"
        return f"{self.group.full_name()}.{self.name()}"

    def child(self, path: str) -> Core | None:
        """A node inside by its name; ``a.b`` is b inside of a."""
        name, _, rest = path.partition(".")
        for one in self.children:
            if one.name() == name:
                return one.child(rest) if rest else one
        return None

    def everything(self) -> Iterator[Core]:
        """The nodes inside, and inside of them."""
        for one in self.children:
            yield one
            yield from one.everything()

    def knob_was_set(self, knob: Knob) -> None:
        """Knobs that come and go with others."""
        if self.class_name == "Write" and knob._name == "file_type":
            for name in self.file_type_knobs:
                self.knobs.pop(name, None)
            kind = knob._current()
            self.file_type_knobs = list(FILE_TYPE_KNOBS.get(kind, {}))
            for name, (type_name, given) in FILE_TYPE_KNOBS.get(kind, {}).items():
                choices = given if isinstance(given, tuple) else None
                default = FILE_TYPE_DEFAULTS.get(f"{kind}.{name}", choices[0] if choices else given)
                self._put(_knobs.make(type_name, name, default, choices))

    def free_name(self, wanted: str) -> str:
        """A name that no other node of the group has: ``Blur`` becomes ``Blur1``."""
        assert self.group is not None
        taken = {one.name() for one in self.group.children if one is not self}
        if wanted not in taken and re.search(r"\d$", wanted):
            return wanted
        base = re.sub(r"\d+$", "", wanted)
        number = 1
        while f"{base}{number}" in taken:
            number += 1
        return f"{base}{number}"

    def upstream(self) -> list[Core]:
        return [one for one in self.inputs if one is not None]

    def is_above(self, other: Core) -> bool:
        """Whether this node feeds another."""
        return other is self or any(self.is_above(one) for one in other.upstream())

    def connect(self, index: int, other: Core | None) -> bool:
        most = INPUTS.get(self.class_name, (1, 1))[1]
        if self.class_name == "Group":
            most = sum(one.class_name == "Input" for one in self.children)
        if not 0 <= index < most:
            return False
        if other is not None and (other.group is not self.group or self.is_above(other)):
            return False
        while len(self.inputs) <= index:
            self.inputs.append(None)
        self.inputs[index] = other
        if not state.loading:
            state.root.modified = True
            change = Knob.__new__(Knob)
            change._start("inputChange", None)
            _callbacks.knob_changed(self, change)
        return True

    def remove(self) -> None:
        """Delete the node: onDestroy first, then the nodes inside, then itself."""
        own = self.knobs.get("onDestroy")
        _callbacks.fire("OnDestroy", self, None, own._raw if own is not None else "")
        for one in list(self.children):
            one.remove()
        if self.group is not None:
            for one in self.group.children:
                one.inputs = [None if up is self else up for up in one.inputs]
            self.group.children.remove(self)
        self.alive = False


def new_core(class_name: str, group: Core) -> Core:
    """A node of a class, named, inside of a group.

    Raises:
        RuntimeError: there is no such class.
    """
    if class_name not in KNOBS:
        raise RuntimeError(f"{class_name}: Unknown command")
    core = Core(class_name, group)
    group.children.append(core)
    core.knobs["name"]._raw = core.free_name(re.sub(r"\d+$", "", class_name) + "1")
    if class_name == "Input":
        numbers = [
            int(one.knobs["number"]._raw[0])
            for one in group.children
            if one.class_name == "Input" and one is not core
        ]
        core.knobs["number"]._raw = [float(max(numbers, default=-1) + 1)]
        core.knobs["number"]._default = list(core.knobs["number"]._raw)
        while len(group.inputs) < len(numbers) + 1 and group.class_name == "Group":
            group.inputs.append(None)
    if not state.loading:
        state.root.modified = True
    return core


def current_group() -> Core:
    """The group that new nodes go to and names start from."""
    while state.group_stack and not state.group_stack[-1].alive:
        state.group_stack.pop()
    return state.group_stack[-1] if state.group_stack else state.root


@host_class
class Node:
    """A node of the script."""

    __slots__ = ("_core",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("nodes are made with nuke.nodes or nuke.createNode")

    def _live(self) -> Core:
        if not self._core.alive:
            raise ValueError(DETACHED)
        return self._core

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other._core is self._core

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._core.number)

    def __repr__(self) -> str:
        return f"<{self._core.name()} at {self._core.number:#x}>"

    def Class(self) -> str:
        return self._live().class_name

    def name(self) -> str:
        return self._live().name()

    def fullName(self) -> str:
        return self._live().full_name()

    def setName(self, name: str, uncollide: bool = True, updateExpressions: bool = False) -> None:
        core = self._live()
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ValueError(f"{name!r} is not the name of a node")
        assert core.group is not None
        taken = {one.name() for one in core.group.children if one is not core}
        if name in taken:
            if not uncollide:
                raise ValueError(f"{name!r} is taken")
            name = core.free_name(name)
        core.knobs["name"]._set_raw(name)

    def knob(self, p: str | int, follow_link: bool = False) -> Knob | None:
        core = self._live()
        if isinstance(p, int):
            return list(core.knobs.values())[p]
        return core.knobs.get(p)

    def __getitem__(self, name: str) -> Knob:
        found = self._live().knobs.get(name)
        if found is None:
            raise NameError(f"knob {name} does not exist")
        return found

    def knobs(self) -> dict[str, Knob]:
        return dict(self._live().knobs)

    def allKnobs(self) -> list[Knob]:
        return list(self._live().knobs.values())

    def numKnobs(self) -> int:
        return len(self._live().knobs)

    def addKnob(self, knob: Knob) -> None:
        core = self._live()
        if not isinstance(knob, Knob):
            raise TypeError("a knob is needed")
        if knob._user_type is None:
            raise NotImplementedError(f"{knob.Class()} as a user knob is not in this fake")
        if knob._core is not None:
            raise ValueError("the knob belongs to a node already")
        if knob._name in core.knobs:
            # As in real Nuke the first one stays reachable, which nobody wants.
            raise ValueError(f"{core.name()} has a knob {knob._name} already")
        if not any(one._is_user for one in core.knobs.values()) and not (
            isinstance(knob, _knobs.Tab_Knob)
        ):
            tab = _knobs.make("Tab", "User", 0)
            tab._is_user = True
            core._put(tab)
        knob._is_user = True
        core._put(knob)
        if not state.loading:
            state.root.modified = True

    def removeKnob(self, knob: Knob) -> None:
        core = self._live()
        if core.knobs.get(knob._name) is not knob or not knob._is_user:
            raise ValueError("not a user knob of this node")
        del core.knobs[knob._name]
        knob._core = None
        state.root.modified = True

    def writeKnobs(self, flags: int = 0) -> str:
        from nuke import _script

        return _script.knob_lines(self._live(), flags)

    def readKnobs(self, s: str) -> None:
        from nuke import _script

        _script.read_knobs(self._live(), s)

    # Inputs.

    def input(self, index: int) -> Node | None:
        inputs = self._live().inputs
        found = inputs[index] if 0 <= index < len(inputs) else None
        return None if found is None else found.python()

    def inputs(self) -> int:
        core = self._live()
        used = [index for index, one in enumerate(core.inputs) if one is not None]
        return max(used, default=-1) + 1

    def minInputs(self) -> int:
        return INPUTS.get(self._live().class_name, (1, 1))[0]

    def maxInputs(self) -> int:
        return INPUTS.get(self._live().class_name, (1, 1))[1]

    def canSetInput(self, i: int, node: Node | None) -> bool:
        core, other = self._live(), None if node is None else node._live()
        return other is None or (other.group is core.group and not core.is_above(other))

    def setInput(self, i: int, node: Node | None) -> bool:
        if node is not None and not isinstance(node, Node):
            raise TypeError("a node or None is needed")
        return self._live().connect(i, None if node is None else node._live())

    def connectInput(self, i: int, node: Node | None) -> bool:
        core = self._live()
        free = [at for at, one in enumerate(core.inputs) if one is None and at >= i]
        return core.connect(free[0] if free else i, None if node is None else node._live())

    def dependencies(self, what: int = EXPRESSIONS | INPUTS_FLAG | HIDDEN_INPUTS) -> list[Node]:
        core = self._live()
        found = core.upstream() if what & (INPUTS_FLAG | HIDDEN_INPUTS) else []
        return [one.python() for one in dict.fromkeys(found)]

    def dependent(
        self, what: int = EXPRESSIONS | INPUTS_FLAG | HIDDEN_INPUTS, forceEvaluate: bool = True
    ) -> list[Node]:
        core = self._live()
        if core.group is None or not what & (INPUTS_FLAG | HIDDEN_INPUTS):
            return []
        return [one.python() for one in core.group.children if core in one.upstream()]

    # Place and looks.

    def xpos(self) -> int:
        return int(self._live().knobs["xpos"]._raw[0])

    def ypos(self) -> int:
        return int(self._live().knobs["ypos"]._raw[0])

    def setXpos(self, x: int) -> None:
        self._live().knobs["xpos"]._set_raw([int(x)])

    def setYpos(self, y: int) -> None:
        self._live().knobs["ypos"]._set_raw([int(y)])

    def setXYpos(self, x: int, y: int) -> None:
        self._live().knobs["xpos"]._set_raw([int(x)])
        self._live().knobs["ypos"]._set_raw([int(y)])

    def screenWidth(self) -> int:
        self._live()
        return 80

    def screenHeight(self) -> int:
        self._live()
        return 20

    def isSelected(self) -> bool:
        return bool(self._live().knobs["selected"]._raw[0])

    def setSelected(self, selected: bool) -> None:
        # Selecting is no change of the script.
        self._live().knobs["selected"]._raw = [int(bool(selected))]

    def selectOnly(self) -> None:
        core = self._live()
        for one in core.group.children if core.group is not None else []:
            one.knobs["selected"]._raw = [int(one is core)]

    def showControlPanel(self, forceFloat: bool = False) -> None:
        self._live().panel = state.gui

    def hideControlPanel(self) -> None:
        self._live().panel = False

    def shown(self) -> bool:
        return self._live().panel

    def parent(self) -> Group | None:
        core = self._live()
        return None if core.group is None else core.group.python()

    def redraw(self) -> None:
        self._live()

    # The picture.

    def format(self) -> Format:
        width, height = _pixels.size_of(self._live())
        for one in state.formats:
            if (one._width, one._height) == (width, height):
                return one
        return Format(width, height)

    def width(self) -> int:
        return _pixels.size_of(self._live())[0]

    def height(self) -> int:
        return _pixels.size_of(self._live())[1]

    def pixelAspect(self) -> float:
        self._live()
        return 1.0

    def bbox(self) -> Info:
        picture = _pixels.look(self._live())
        if picture is None:
            return Info(0, 0, *_pixels.size_of(self._core))
        x0, y0, x1, y1 = picture.bbox
        return Info(x0, picture.height - y1, x1 - x0, y1 - y0)

    def channels(self) -> list[str]:
        picture = _pixels.look(self._live())
        return [] if picture is None else list(picture.channels)

    def firstFrame(self) -> int:
        return _pixels.range_of(self._live())[0]

    def lastFrame(self) -> int:
        return _pixels.range_of(self._live())[1]

    def frameRange(self) -> FrameRange:
        return FrameRange(*_pixels.range_of(self._live()), 1)

    def hasError(self) -> bool:
        return _pixels.fails(self._live())

    def treeHasError(self) -> bool:
        return _pixels.fails(self._live())

    def error(self) -> bool:
        return _pixels.fails(self._live())

    def opHashes(self) -> list[int]:
        return [int(hashlib.md5(repr(_hashed(self._live())).encode()).hexdigest()[:15], 16)]


# What does not change the picture.
_UNSEEN = {
    name for group in COMMON.values() for name in group if name not in ("disable", "useLifetime")
}


def _hashed(core: Core) -> Any:
    knobs = [
        (name, knob._tcl_text())
        for name, knob in core.knobs.items()
        if name not in _UNSEEN and not knob._is_user
    ]
    inside = [_hashed(one) for one in core.children]
    above = [None if one is None else _hashed(one) for one in core.inputs]
    return (core.class_name, knobs, inside, above, state.reloads.get(core.full_name(), 0))


@host_class
class Group(Node):
    """A node with nodes inside."""

    __slots__ = ()

    def begin(self) -> Group:
        state.group_stack.append(self._live())
        return self

    def end(self) -> None:
        if not state.group_stack:
            raise RuntimeError("end() without begin()")
        state.group_stack.pop()

    def __enter__(self) -> Group:
        state.group_stack.append(self._live())
        return self

    def __exit__(self, type: Any, value: Any, traceback: Any) -> None:
        if state.group_stack:
            state.group_stack.pop()

    def node(self, s: str) -> Node | None:
        found = self._live().child(s)
        return None if found is None else found.python()

    def nodes(self) -> list[Node]:
        return [one.python() for one in self._live().children]

    def numNodes(self) -> int:
        return len(self._live().children)

    def output(self) -> Node | None:
        found = [one for one in self._live().children if one.class_name == "Output"]
        return found[-1].python() if found else None

    def selectedNodes(self) -> list[Node]:
        chosen = [one for one in self._live().children if one.knobs["selected"]._raw[0]]
        return [one.python() for one in chosen]


@host_class
class Root(Group):
    """The script itself."""

    __slots__ = ()

    def modified(self) -> bool:
        return self._live().modified

    def setModified(self, modified: bool) -> None:
        self._live().modified = bool(modified)

    def firstFrame(self) -> int:
        return int(self._live().knobs["first_frame"]._raw[0])

    def lastFrame(self) -> int:
        return int(self._live().knobs["last_frame"]._raw[0])

    def frameRange(self) -> FrameRange:
        knobs = self._live().knobs
        return FrameRange(int(knobs["first_frame"]._raw[0]), int(knobs["last_frame"]._raw[0]), 1)

    def fps(self) -> int:
        return int(self._live().knobs["fps"]._raw[0])

    def realFps(self) -> float:
        return float(self._live().knobs["fps"]._raw[0])

    def proxy(self) -> bool:
        return bool(self._live().knobs["proxy"]._raw[0])

    def setProxy(self, on: bool) -> None:
        self._live().knobs["proxy"]._set_raw([int(bool(on))])

    def setFrame(self, frame: int) -> None:
        self._live().knobs["frame"]._set_raw([float(int(frame))])

    def setView(self, view: str) -> None:
        self._live()
        state.current_view = view

    def channels(self) -> list[str]:
        return [one for many in state.layers.values() for one in many]

    def layers(self) -> list[str]:
        return list(state.layers)


class Nodes:
    """``nuke.nodes.Read(file=…, inputs=[…])`` for each class that this fake knows."""


def _constructor(class_name: str) -> Any:
    def construct(self: Nodes, **kwargs: Any) -> Node:
        return _make(class_name, kwargs)

    construct.__name__ = class_name
    return host(construct)


for _name in KNOBS:
    setattr(Nodes, _name, _constructor(_name))
nodes = Nodes()


def _make(class_name: str, given: dict[str, Any]) -> Node:
    core = new_core(class_name, current_group())
    made = core.python()
    for name, value in given.items():
        if name == "inputs":
            for index, one in enumerate(value):
                made.setInput(index, one)
        elif name == "name":
            made.setName(value)
        else:
            made[name].fromScript(value) if isinstance(value, str) else made[name].setValue(value)
    created(core)
    return made


def created(core: Core) -> None:
    """Tell that a node is there, with the knobs that it was made with."""
    own = core.knobs.get("onCreate")
    _callbacks.fire("OnCreate", core, None, own._raw if own is not None else "")


@host
def createNode(typ: str, knobs: str = "", inpanel: bool = True) -> Node:
    """A node after the selected one, selected, with its panel open."""
    from nuke import _script

    group = current_group()
    above = [one for one in group.children if one.knobs["selected"]._raw[0]]
    core = new_core(typ, group)
    if knobs:
        _script.read_knobs(core, knobs)
    if above and INPUTS.get(typ, (1, 1))[1] and core.class_name != "Group":
        core.connect(0, above[-1])
    made = core.python()
    made.selectOnly()
    core.panel = bool(inpanel and state.gui)
    _callbacks.fire("OnUserCreate", core)
    created(core)
    return made


@host
def delete(n: Node) -> None:
    """Delete a node."""
    core = n._live()
    if core is state.root:
        raise ValueError("the root cannot be deleted")
    core.remove()
    state.root.modified = True


@host
def toNode(s: str) -> Node | None:
    """The node of a name in the current group, of ``Group1.Read1`` from there or from the root."""
    if not isinstance(s, str):
        raise TypeError("the name of a node is needed")
    if s in ("root", "Root"):
        return state.root.python()
    if s == "this":
        return thisNode()
    path = s[5:] if s.startswith("root.") else s
    found = None if s.startswith("root.") else current_group().child(path)
    if found is None and ("." in s):
        found = state.root.child(path)
    return None if found is None else found.python()


@host
def exists(s: str) -> bool:
    """Whether there is such a node, or such a knob of a node."""
    group = current_group()
    if group.child(s) or state.root.child(s):
        return True
    node, _, knob = s.rpartition(".")
    core = group.child(node) or state.root.child(node) if node else None
    return core is not None and knob in core.knobs


def _filtered(cores: list[Core], wanted: str | None) -> list[Node]:
    return [one.python() for one in cores if wanted is None or one.class_name == wanted]


@host
def allNodes(*args: Any, **kwargs: Any) -> list[Node]:
    """``allNodes(filter=None, group=None, recurseGroups=False)``; first the newest, as in Nuke."""
    known = ("filter", "group", "recurseGroups")
    given = dict(zip(known, args))
    given.update(kwargs)
    if set(given) - set(known) or len(args) > 3:
        raise TypeError("allNodes takes filter, group and recurseGroups")
    group = given.get("group")
    core = current_group() if group is None else group._live()
    cores = list(core.everything()) if given.get("recurseGroups") else list(core.children)
    return _filtered(cores[::-1], given.get("filter"))


@host
def selectedNodes(filter: str | None = None) -> list[Node]:
    chosen = [one for one in current_group().children if one.knobs["selected"]._raw[0]]
    return _filtered(chosen[::-1], filter)


@host
def selectedNode() -> Node:
    for one in current_group().children[::-1]:
        if one.knobs["selected"]._raw[0]:
            return one.python()
    raise ValueError("no node selected")


@host
def root() -> Root:
    return state.root.python()


@host
def thisNode() -> Node:
    """The node of the callback or button; elsewhere the current group."""
    core = state.this_stack[-1][0] if state.this_stack else current_group()
    return core.python()


@host
def thisGroup() -> Group:
    return current_group().python()


@host
def thisParent() -> Node | None:
    core = state.this_stack[-1][0] if state.this_stack else current_group()
    return None if core.group is None else core.group.python()


@host
def thisClass() -> str:
    return thisNode().Class()


@host
def frame(f: int | None = None) -> int:
    """The current frame; with an argument, go there."""
    if f is not None:
        state.root.knobs["frame"]._set_raw([float(int(f))])
    return _knobs.current_frame()
