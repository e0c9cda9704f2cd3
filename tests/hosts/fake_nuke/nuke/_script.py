"""Scripts as text: writing, and making every node anew from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nuke import _callbacks, _knobs, _nodes
from nuke._knobs import FLAGS, USER_TYPES, Knob
from nuke._nodes import Core
from nuke._state import host, state
from nuke._table import INPUTS, KNOBS
from nuke._text import Word, commands, quote, words_of
from nuke._values import add_layer, named_format

WRITE_ALL, WRITE_NON_DEFAULT_ONLY, WRITE_USER_KNOB_DEFS, TO_SCRIPT, TO_VALUE = 1, 4, 8, 2, 16
_LAST = ("name", "selected", "xpos", "ypos")
_BUILT_IN_LAYERS = ("rgba", "depth", "forward", "backward", "mask")


# Writing.


def _user_knob_line(knob: Knob) -> str:
    """``addUserKnob {type name l label t tooltip M {items} T text +FLAG}``."""
    words = [str(knob._user_type), knob._name or '""']
    if knob._label is not None:
        words += ["l", quote(knob._label)]
    if knob._tooltip:
        words += ["t", quote(knob._tooltip)]
    words += [f"-{name}" for name, bit in FLAGS.items() if knob._cleared & bit]
    words += [f"+{name}" for name, bit in FLAGS.items() if knob._flags & bit]
    if isinstance(knob, _knobs.Enumeration_Knob):
        words += ["M", "{" + " ".join(quote(one) for one in knob._items) + "}"]
    if isinstance(knob, (_knobs.Script_Knob, _knobs.Text_Knob, _knobs.Link_Knob)) and knob._raw:
        words += ["T", quote(knob._raw)]
    if isinstance(knob, _knobs.Tab_Knob) and knob._group:
        words += ["n", str(knob._group)]
    if getattr(knob, "_range", None):
        words += ["R", *(f"{one:g}" for one in knob._range)]
    return "addUserKnob {" + " ".join(words) + "}"


def _is_written(knob: Knob) -> bool:
    if knob._flags & FLAGS["DO_NOT_WRITE"]:
        return False
    whole = (_knobs.Script_Knob, _knobs.Text_Knob, _knobs.Tab_Knob, _knobs.Link_Knob)
    if knob._is_user and isinstance(knob, whole):
        return False
    return not knob._is_default() or bool(knob._flags & FLAGS["ALWAYS_SAVE"])


def _knob_line(knob: Knob) -> str:
    name = f'"{knob._name}"' if " " in knob._name else knob._name
    return f"{name} {knob._script()}"


def knob_lines(core: Core, flags: int = 0) -> str:
    """The knobs of a node as lines of a script."""
    lines = []
    for knob in core.knobs.values():
        if knob._is_user and flags & WRITE_USER_KNOB_DEFS:
            lines.append(_user_knob_line(knob))
        if flags & WRITE_ALL or _is_written(knob):
            lines.append(_knob_line(knob))
    return "\n".join(lines)


def _body(core: Core) -> list[str]:
    lines = []
    least = INPUTS.get(core.class_name, (1, 1))[0]
    count = 0 if core.class_name == "Root" else _input_count(core)
    if count != least or count == 0 or core.class_name == "Group":
        lines.append(f"inputs {count}")
    for knob in core.knobs.values():
        if knob._is_user:
            lines.append(_user_knob_line(knob))
        if knob._name not in _LAST and _is_written(knob):
            lines.append(_knob_line(knob))
    for name in _LAST:
        if name in core.knobs and not core.knobs[name]._is_default():
            lines.append(_knob_line(core.knobs[name]))
    return lines


def _input_count(core: Core) -> int:
    used = [index for index, one in enumerate(core.inputs) if one is not None]
    return max([INPUTS.get(core.class_name, (1, 1))[0], *(index + 1 for index in used)])


def _ordered(cores: list[Core]) -> list[Core]:
    """Each after what feeds it."""
    done: list[Core] = []

    def visit(core: Core) -> None:
        if core in done or core not in cores:
            return
        for one in core.upstream():
            visit(one)
        done.append(core)

    for core in cores:
        visit(core)
    return done


def _node_lines(cores: list[Core], indent: str) -> list[str]:
    lines = []
    for core in _ordered(cores):
        for index in reversed(range(_input_count(core))):
            above = core.inputs[index] if index < len(core.inputs) else None
            lines.append(f"push $N{above.number:x}" if above in cores else "push 0")
        lines += [f"{core.class_name} {{", *(f" {line}" for line in _body(core)), "}"]
        if core.is_group():
            lines += [*_node_lines(core.children, " "), "end_group"]
        lines.append(f"set N{core.number:x} [stack 0]")
    return [indent + line for line in lines]


def _layer_lines() -> list[str]:
    return [
        "add_layer {" + " ".join([name, *channels]) + "}"
        for name, channels in state.layers.items()
        if name not in _BUILT_IN_LAYERS
    ]


def _version_line() -> str:
    return "version {}.{} v{}".format(*state.version)


def script_text() -> str:
    """The whole script."""
    root = ["Root {", *(f" {line}" for line in _body(state.root)), "}"]
    lines = [_version_line(), *root, *_layer_lines(), *_node_lines(state.root.children, "")]
    return "\n".join(lines) + "\n"


# Reading.


def _user_knob(core: Core, words: list[Word]) -> None:
    cls = USER_TYPES.get(int(words[0]))
    if cls is None:
        state.load_errors.append(f"{core.name()}: unknown user knob type {words[0]}")
        return
    knob: Any = cls.__new__(cls)
    knob._start(str(words[1]), None)
    knob._is_user = True
    if isinstance(knob, _knobs.Enumeration_Knob):
        knob._items = []
    if isinstance(knob, _knobs.Tab_Knob):
        knob._group = 0
    at = 2
    while at < len(words):
        word, at = words[at], at + 1
        if word[:1] in "+-" and word[1:] in FLAGS:
            knob._flag(FLAGS[word[1:]], word[0] == "+")
            continue
        given, at = words[at], at + 1
        if word == "l":
            knob._label = str(given)
        elif word == "t":
            knob._tooltip = str(given)
        elif word == "M":
            knob._items = [str(one) for one in words_of(given)]
        elif word == "T":
            knob._raw = str(given)
        elif word == "n":
            knob._group = knob._raw = int(given)
        elif word == "R":
            knob._range, at = (float(given), float(words[at])), at + 1
        else:
            state.load_errors.append(f"{core.name()}: unknown word {word} of user knob {words[1]}")
    core._put(knob)


def _read_command(core: Core, words: list[Word]) -> None:
    name, given = str(words[0]), words[1] if len(words) > 1 else Word("")
    if name == "addUserKnob":
        _user_knob(core, words_of(given))
    elif name in core.knobs:
        core.knobs[name]._read(given)
    elif name not in ("inputs", "rootNode", "title"):
        state.load_errors.append(f'{core.name()}: no such knob: "{name}"')


def read_knobs(core: Core, text: str) -> None:
    """Set knobs from lines of a script."""
    for words in commands(text):
        _read_command(core, words)


class _Reader:
    """Reads commands of a script into a group, keeping the stack of nodes as Nuke does."""

    def __init__(self, group: Core, first: Core | None = None):
        self.groups = [group]
        self.stacks: list[list[Core | None]] = [[] if first is None else [first]]
        self.names: dict[str, Core | None] = {"$cut_paste_input": first}
        self.made: list[Core] = []
        self.lost = 0

    def read(self, text: str) -> None:
        for words in commands(text):
            name = str(words[0])
            if name == "push":
                self._stack().append(self.names.get(str(words[1])))
            elif name == "set":
                self.names[f"${words[1]}"] = self._stack()[-1] if self._stack() else None
            elif name == "add_layer":
                layer = words_of(words[1])
                add_layer(str(layer[0]), [str(one) for one in layer[1:]])
            elif name == "end_group":
                self._end_group()
            elif name == "Root":
                self._root(words[1])
            elif name != "version":
                self._node(name, words[1] if len(words) > 1 else Word(""))

    def _stack(self) -> list[Core | None]:
        return self.stacks[-1]

    def _end_group(self) -> None:
        if self.lost:
            self.lost -= 1
            return
        group = self.groups.pop()
        self.stacks.pop()
        _nodes.created(group)
        self.made.append(group)

    def _root(self, body: str) -> None:
        if self.groups != [state.root]:
            return
        name = state.root.knobs["name"]._raw
        read_knobs(state.root, body)
        if name:  # a script that was moved goes by its new name
            state.root.knobs["name"]._raw = name

    def _node(self, name: str, body: Word) -> None:
        given = commands(body)
        inputs = next((str(words[1]) for words in given if words[0] == "inputs"), None)
        least = INPUTS.get(name, (1, 1))[0]
        count = least if inputs is None else sum(int(one) for one in inputs.split("+"))
        above = [self._stack().pop() if self._stack() else None for _ in range(count)]
        if name not in KNOBS:
            state.load_errors.append(f"{name}: Unknown command")
            self._stack().append(above[0] if above else None)
            return
        core = _nodes.new_core(name, self.groups[-1])
        free = core.name()
        for words in given:
            _read_command(core, words)
        wanted = core.knobs["name"]._raw
        taken = [one for one in self.groups[-1].children if one is not core]
        if any(one.name() == wanted for one in taken):
            core.knobs["name"]._raw = core.free_name(wanted or free)
        if name == "Group":
            # What feeds it is known before its Input nodes are.
            core.inputs = list(above)
            self.groups.append(core)
            self.stacks.append([])
            self._outer().append(core)
            return
        for index, one in enumerate(above):
            core.connect(index, one)
        self._stack().append(core)
        _nodes.created(core)
        self.made.append(core)

    def _outer(self) -> list[Core | None]:
        return self.stacks[-2]


def _read_text(text: str, group: Core, first: Core | None = None) -> list[Core]:
    state.loading += 1
    try:
        reader = _Reader(group, first)
        reader.read(text)
    finally:
        state.loading -= 1
    if len(reader.groups) != 1:
        raise RuntimeError("a group in the script is not ended")
    return reader.made


def new_script() -> None:
    """An empty script, nothing told to anybody."""
    state.root = Core("Root", None)
    state.group_stack.clear()
    state.undo_log.clear()
    state.current_view = "main"


def _close() -> None:
    """Tell that the script closes, unless there is nothing in it."""
    if state.root.children:
        own = state.root.knobs["onScriptClose"]._raw
        _callbacks.fire("OnScriptClose", state.root, None, own)


def _clear() -> None:
    for one in list(state.root.children):
        one.remove()
    state.root.alive = False
    new_script()


@host
def scriptClear(*args: Any, **kwargs: Any) -> None:
    """Delete everything without asking."""
    _close()
    _clear()


@host
def scriptOpen(filename: str | None = None) -> None:
    """Close the script that is open and open another."""
    if filename is None:
        raise NotImplementedError("scriptOpen without a file asks the artist")
    path = Path(filename)
    if not path.is_file():
        raise RuntimeError(f"{filename}: No such file or directory")
    _close()
    _clear()
    state.root.knobs["name"]._raw = path.as_posix()
    _read_text(path.read_text(encoding="utf-8"), state.root)
    state.root.modified = False
    own = state.root.knobs["onScriptLoad"]._raw
    _callbacks.fire("OnScriptLoad", state.root, None, own)


@host
def scriptReadText(s: str) -> None:
    """Run script text in the current group."""
    _read_text(s, _nodes.current_group())
    state.root.modified = True


@host
def scriptReadFile(s: str) -> None:
    _read_text(Path(s).read_text(encoding="utf-8"), _nodes.current_group())
    state.root.modified = True


@host
def scriptSaveAs(filename: str | None = None, overwrite: bool = False) -> bool:
    """Save under a name, which becomes the script's."""
    if filename is None:
        raise NotImplementedError("scriptSaveAs without a file asks the artist")
    if Path(filename).exists() and not overwrite:
        raise RuntimeError(f"{filename} exists already")
    state.root.knobs["name"]._raw = Path(filename).as_posix()
    return _save()


@host
def scriptSave(filename: str | None = None) -> bool:
    """Save, under the script's own name unless one is given."""
    if filename is not None:
        state.root.knobs["name"]._raw = Path(filename).as_posix()
    if not state.root.knobs["name"]._raw:
        raise RuntimeError("the script has no name")
    return _save()


def _save() -> bool:
    own = state.root.knobs["onScriptSave"]._raw
    _callbacks.fire("OnScriptSave", state.root, None, own)
    Path(state.root.knobs["name"]._raw).write_text(script_text(), encoding="utf-8")
    state.root.modified = False
    return True


@host
def scriptName() -> str:
    if not state.root.knobs["name"]._raw:
        raise RuntimeError("the script has no name")
    return state.root.knobs["name"]._raw


@host
def modified(state_: bool | None = None) -> bool:
    if state_ is not None:
        state.root.modified = bool(state_)
    return state.root.modified


@host
def nodeCopy(s: str) -> None:
    """Write the selected nodes of the current group to a file."""
    chosen = [one for one in _nodes.current_group().children if one.knobs["selected"]._raw[0]]
    if not chosen:
        raise RuntimeError("no nodes are selected")
    head = ["set cut_paste_input [stack 0]", _version_line(), *_layer_lines()]
    text = "\n".join([*head, *_node_lines(chosen, "")]) + "\n"
    Path(s).write_text(text, encoding="utf-8")


@host
def nodePaste(s: str) -> Any:
    """Read nodes from a file into the current group; they alone are selected then."""
    group = _nodes.current_group()
    before = [one for one in group.children if one.knobs["selected"]._raw[0]]
    text = Path(s).read_text(encoding="utf-8")
    for one in group.children:
        one.knobs["selected"]._raw = [0]
    made = _read_text(text, group, before[-1] if before else None)
    outer = [one for one in made if one.group is group]
    for one in outer:
        one.knobs["selected"]._raw = [1]
    state.root.modified = True
    return outer[-1].python() if outer else None


def set_views(names: list[str]) -> None:
    """Give the script other views."""
    state.root.knobs["views"]._raw = "\n".join(names)
    state.current_view = names[0]


@host
def addView(s: str) -> None:
    views_knob = state.root.knobs["views"]
    views_knob._set_raw(f"{views_knob._raw}\n{s}")


def default_format() -> None:
    """The formats that a new session knows."""
    named = ("1920 1080 1 HD_1080", "2048 1556 1 2K_Super_35(full-ap)", "640 480 1 PC_Video")
    state.formats = []
    for text in named:
        state.formats.append(named_format(text))
