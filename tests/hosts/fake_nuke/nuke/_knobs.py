"""The knob classes.

A knob keeps its value as ``_raw``: a text, a list of numbers, an index into an enumeration. What a
script saves is ``toScript``, and ``fromScript`` takes it back.
"""

from __future__ import annotations

import re
from typing import Any

from nuke import _callbacks
from nuke._state import host, host_class, state, user_code
from nuke._tcl import evaluate, has_frame, percent_frame, with_frame, with_view
from nuke._text import quote, words_of
from nuke._values import Format, OutputContext, known_channels, named_format, view_names

# Each flag is a bit of its own; the numbers of real Nuke are not promised by it either.
FLAGS = {
    "DISABLED": 0x80,
    "NO_ANIMATION": 0x100,
    "DO_NOT_WRITE": 0x200,
    "INVISIBLE": 0x400,
    "STARTLINE": 0x1000,
    "ENDLINE": 0x2000,
    "KNOB_CHANGED_RECURSIVE": 0x8000,
    "NO_MULTIVIEW": 0x40000000,
    "NO_UNDO": 0x80000,
    "ALWAYS_SAVE": 0x100000,
    "READ_ONLY": 0x10000000,
    "SAVE_MENU": 0x2000000,
    "NO_CHECKMARKS": 0x1,
    "EXPAND_TO_WIDTH": 0x20000000,
}
TABBEGINGROUP, TABBEGINCLOSEDGROUP, TABENDGROUP, TABKNOB = 1, 2, -1, 0
DETACHED = "A PythonObject is not attached to a node"


@host_class
class Knob:
    """A value of a node. Made by the plug-in, it belongs to no node until ``addKnob``."""

    _first: Any = ""
    # The number of the class in ``addUserKnob`` lines; classes without one cannot be user knobs.
    _user_type: int | None = None

    def __init__(self, name: str, label: str | None = None) -> None:
        self._start(name, label)

    def _start(self, name: str, label: str | None) -> None:
        if not isinstance(name, str):
            raise TypeError("a knob's name is a string")
        self._name, self._label = name, label
        self._tooltip = ""
        self._flags = self._cleared = 0
        self._core: Any = None
        self._is_user = False
        self._raw = self._default = self._first

    def _alive(self) -> None:
        if self._core is not None and not self._core.alive:
            raise ValueError(DETACHED)

    # Values.

    def _set_raw(self, raw: Any) -> None:
        """Every change of a value passes here: undo, the modified script, knobChanged."""
        self._alive()
        if raw == self._raw:
            return
        self._raw = raw
        self._touched()

    def _touched(self) -> None:
        core = self._core
        if core is None:
            return
        if state.undo_depth == 0 and not state.loading:
            state.undo_log.append((core.full_name(), self._name, self._raw))
        if not (core is state.root and self._name == "frame"):
            state.root.modified = True
        core.knob_was_set(self)
        _callbacks.knob_changed(core, self)

    def _text(self) -> str:
        """The value as a script holds it, without quotes."""
        return str(self._raw)

    def _script(self) -> str:
        """The value as a script holds it, quoted."""
        return quote(self._text())

    def _tcl_text(self) -> str:
        return self._text()

    def _read(self, text: str) -> None:
        """Take a value from a script."""
        self._set_raw(text)

    def _is_default(self) -> bool:
        return bool(self._raw == self._default)

    def value(self) -> Any:
        self._alive()
        return self._raw

    def getValue(self) -> Any:
        self._alive()
        return self._raw

    def setValue(self, value: Any) -> bool:
        self._set_raw(value)
        return True

    def toScript(self, quote: bool = False, context: OutputContext | None = None) -> str:
        self._alive()
        return self._script() if quote else self._text()

    def fromScript(self, script: str) -> bool:
        self._alive()
        self._read(script)
        return True

    # Looks.

    def Class(self) -> str:
        return type(self).__name__

    def name(self) -> str:
        self._alive()
        return self._name

    def setName(self, name: str) -> None:
        if self._core is not None:
            del self._core.knobs[self._name]
            self._core.knobs[name] = self
        self._name = name

    def label(self) -> str:
        return self._label or ""

    def setLabel(self, label: str) -> None:
        self._alive()
        self._label = label

    def tooltip(self) -> str:
        return self._tooltip

    def setTooltip(self, tooltip: str) -> None:
        self._alive()
        self._tooltip = tooltip

    def _flag(self, flag: int, on: bool) -> None:
        self._alive()
        self._flags = self._flags | flag if on else self._flags & ~flag
        self._cleared = self._cleared & ~flag if on else self._cleared | flag

    def setFlag(self, flag: int) -> None:
        self._flag(flag, True)

    def clearFlag(self, flag: int) -> None:
        self._flag(flag, False)

    def getFlag(self, flag: int) -> bool:
        self._alive()
        return bool(self._flags & flag)

    def enabled(self) -> bool:
        self._alive()
        return not self._flags & FLAGS["DISABLED"]

    def setEnabled(self, enabled: bool) -> None:
        self._flag(FLAGS["DISABLED"], not enabled)

    def visible(self) -> bool:
        self._alive()
        return not self._flags & FLAGS["INVISIBLE"]

    def setVisible(self, visible: bool) -> None:
        self._flag(FLAGS["INVISIBLE"], not visible)

    def node(self) -> Any:
        self._alive()
        return None if self._core is None else self._core.python()

    def fullyQualifiedName(self, channel: int = -1) -> str:
        self._alive()
        return f"{self._core.full_name()}.{self._name}"

    # Expressions are for knobs of numbers.

    def hasExpression(self, index: int = -1) -> bool:
        self._alive()
        return False

    def isAnimated(self, channel: int = 0) -> bool:
        self._alive()
        return False

    def setExpression(self, expression: str, index: int = 0, view: str | None = None) -> bool:
        raise TypeError(f"a {type(self).__name__} takes no expression in this fake")


@host_class
class String_Knob(Knob):
    """A text, taken as it is."""

    _user_type = 1

    def __init__(self, name: str, label: str | None = None, value: str = "") -> None:
        self._start(name, label)
        self._raw = self._checked(value)

    def _checked(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{self._name}: a string is needed, not {type(value).__name__}")
        return value

    def value(self, oc: OutputContext | None = None) -> str:
        self._alive()
        return self._raw

    def getValue(self, oc: OutputContext | None = None) -> str:
        self._alive()
        return self._raw

    def getText(self, oc: OutputContext | None = None) -> str:
        self._alive()
        return self._raw

    def setValue(self, val: str, view: str = "default") -> bool:
        self._set_raw(self._checked(val))
        return True

    def setText(self, val: str, view: str = "default") -> bool:
        self._set_raw(self._checked(val))
        return True


class PythonKnob(String_Knob):
    """Python text that the host runs at an event."""


@host_class
class EvalString_Knob(String_Knob):
    """A text with TCL in brackets."""

    def evaluate(self, frame: float | None = None) -> str:
        """The text with its TCL, view and frame number worked out."""
        self._alive()
        return with_frame(self._evaluated(), current_frame() if frame is None else frame)

    def _evaluated(self, view: str | None = None) -> str:
        text = evaluate(self._raw, self._core)
        return with_view(text, view or state.current_view)


class Multiline_Eval_String_Knob(EvalString_Knob):
    """A text of several lines."""

    _user_type = 43


@host_class
class File_Knob(EvalString_Knob):
    """A path: forward slashes, TCL, views and frame numbers."""

    _user_type = 2

    def getEvaluatedValue(self, oc: OutputContext | None = None) -> str | None:
        """TCL and views worked out; the frame number stays, as ``%04d``."""
        self._alive()
        if not self._raw:
            return None
        view = view_names()[oc._view - 1] if oc is not None and oc._view else None
        return percent_frame(self._evaluated(view))

    def fromUserText(self, text: str) -> None:
        """A path as an artist types it: a frame range may follow, a Read takes it."""
        found = re.fullmatch(r"(.*\S)\s+(-?\d+)(?:-(-?\d+))?\s*", text)
        path = found[1] if found else text
        knobs = self._core.knobs if self._core is not None else {}
        if found and "origfirst" in knobs and has_frame(path):
            first, last = int(found[2]), int(found[3] or found[2])
            for name, value in (("first", first), ("last", last)):
                knobs[name]._set_raw([value])
                knobs[f"orig{name}"]._set_raw([value])
        self._set_raw(path)
        suffix = path.rsplit(".", 1)[-1].lower()
        if "file_type" in knobs and suffix in knobs["file_type"]._items:
            knobs["file_type"]._choose(suffix)


@host_class
class Array_Knob(Knob):
    """Numbers; each may hold an expression."""

    _width = 1
    _first = (0.0,)

    def _start(self, name: str, label: str | None) -> None:
        Knob._start(self, name, label)
        self._raw, self._default = list(self._first), list(self._first)
        self._expressions: dict[int, str] = {}

    def _number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            if isinstance(value, bool):
                return float(value)
            raise TypeError(f"{self._name}: a number is needed, not {type(value).__name__}")
        return float(value)

    def _at(self, index: int) -> float:
        """One number, worked out if it is an expression."""
        if index in self._expressions:
            return expression_value(self._expressions[index], self._core)
        return self._raw[index]

    def _all(self) -> list[float]:
        return [self._at(index) for index in range(len(self._raw))]

    def _shown(self, number: float) -> Any:
        return number

    def value(self, index: int | None = None) -> Any:
        self._alive()
        numbers = [self._shown(one) for one in self._all()]
        if index is not None:
            return numbers[index]
        return numbers[0] if len(set(numbers)) == 1 else numbers

    def getValue(self, index: int | None = None) -> Any:
        self._alive()
        numbers = [float(one) for one in self._all()]
        if index is not None and index >= 0:
            return numbers[index]
        return numbers[0] if len(set(numbers)) == 1 else numbers

    def setValue(self, value: Any, index: int = -1) -> bool:
        new = list(self._raw)
        if isinstance(value, (list, tuple)):
            if len(value) > self._width:
                raise TypeError(f"{self._name} holds {self._width} numbers")
            new[: len(value)] = [self._number(one) for one in value]
        elif index >= 0:
            new[index] = self._number(value)
        else:
            new = [self._number(value)] * self._width
        self._set_raw(new)
        return True

    def defaultValue(self) -> float:
        return float(self._default[0])

    def setDefaultValue(self, values: Any) -> None:
        many = values if isinstance(values, (list, tuple)) else [values] * self._width
        was_default = self._raw == self._default
        self._default = [self._number(one) for one in many]
        if was_default:
            self._raw = list(self._default)

    def notDefault(self) -> bool:
        return not self._is_default()

    def setRange(self, low: float, high: float) -> None:
        if not low < high:
            raise ValueError("an empty range")
        self._range = (low, high)

    def arraySize(self) -> int:
        return self._width

    def _is_default(self) -> bool:
        return not self._expressions and bool(self._raw == self._default)

    def hasExpression(self, index: int = -1) -> bool:
        self._alive()
        return bool(self._expressions) if index < 0 else index in self._expressions

    def isAnimated(self, channel: int = -1) -> bool:
        self._alive()
        return bool(self._expressions) if channel < 0 else channel in self._expressions

    def clearAnimated(self, channel: int = -1) -> bool:
        self._alive()
        gone = list(self._expressions) if channel < 0 else [channel]
        for index in gone:
            self._expressions.pop(index, None)
        return True

    def setExpression(self, expression: str, channel: int = -1, view: str | None = None) -> bool:
        self._alive()
        if not isinstance(expression, str):
            raise TypeError("an expression is a string")
        for index in range(self._width) if channel < 0 else [channel]:
            self._expressions[index] = expression
        self._touched()
        return True

    def _number_text(self, number: float) -> str:
        return repr(int(number)) if float(number).is_integer() else repr(float(number))

    def _text(self) -> str:
        parts = [
            "{" + self._expressions[index] + "}"
            if index in self._expressions
            else self._number_text(number)
            for index, number in enumerate(self._raw)
        ]
        return parts[0] if len(set(parts)) == 1 else " ".join(parts)

    def _script(self) -> str:
        text = self._text()
        return "{" + text + "}" if " " in text or "{" in text else text

    def _tcl_text(self) -> str:
        return " ".join(self._number_text(one) for one in self._all())

    def _read(self, text: str) -> None:
        words = words_of(text)
        if len(words) == 1:
            words = words * self._width
        new = list(self._raw)
        expressions = {}
        for index, word in enumerate(words[: self._width]):
            if word.braced:
                if word.strip().startswith("curve"):
                    raise NotImplementedError("animation curves are not in this fake")
                expressions[index] = str(word)
            else:
                new[index] = self._parsed(word)
        if expressions != self._expressions:
            self._expressions = expressions
            self._touched()
        self._set_raw(new)

    def _parsed(self, word: str) -> float:
        if word in ("true", "false"):
            return float(word == "true")
        if word.startswith("0x"):  # colours of nodes
            return self._number(float(int(word, 16)))
        return self._number(float(word))


@host_class
class Double_Knob(Array_Knob):
    """A number with a slider."""

    _user_type = 7


@host_class
class Int_Knob(Array_Knob):
    """A whole number."""

    _user_type = 3
    _first = (0,)

    def _number(self, value: Any) -> int:
        return int(Array_Knob._number(self, value))

    def _shown(self, number: float) -> int:
        return int(number)


@host_class
class Boolean_Knob(Array_Knob):
    """A check box."""

    _user_type = 6
    _first = (0,)

    def __init__(self, name: str, label: str | None = None, value: bool = False) -> None:
        self._start(name, label)
        self._raw = [int(bool(value))]

    def _number(self, value: Any) -> int:
        if isinstance(value, str):
            raise TypeError(f"{self._name}: a bool is needed")
        return int(bool(value))

    def _shown(self, number: float) -> bool:
        return bool(number)

    def _number_text(self, number: float) -> str:
        return "true" if number else "false"

    def setValue(self, b: Any) -> bool:
        self._set_raw([self._number(b)])
        return True


class Disable_Knob(Boolean_Knob):
    """The ``disable`` of a node."""


class Unsigned_Knob(Int_Knob):
    """A whole number that is not negative."""

    _user_type = None


class WH_Knob(Array_Knob):
    """Width and height."""

    _width, _first, _user_type = 2, (0.0, 0.0), 14


class XY_Knob(Array_Knob):
    """A point."""

    _width, _first, _user_type = 2, (0.0, 0.0), 12


@host_class
class BBox_Knob(Array_Knob):
    """x, y, right and top, y up."""

    _width, _first, _user_type = 4, (0.0, 0.0, 0.0, 0.0), 15

    def x(self) -> float:
        return self._at(0)

    def y(self) -> float:
        return self._at(1)

    def r(self) -> float:
        return self._at(2)

    def t(self) -> float:
        return self._at(3)

    def setX(self, x: float) -> None:
        self._set_raw([float(x), *self._raw[1:]])

    def setY(self, y: float) -> None:
        self._set_raw([self._raw[0], float(y), *self._raw[2:]])

    def setR(self, r: float) -> None:
        self._set_raw([*self._raw[:2], float(r), self._raw[3]])

    def setT(self, t: float) -> None:
        self._set_raw([*self._raw[:3], float(t)])


class Color_Knob(Array_Knob):
    """Red, green and blue."""

    _width, _first, _user_type = 3, (0.0, 0.0, 0.0), 18


class AColor_Knob(Color_Knob):
    """Red, green, blue and alpha."""

    _width, _first, _user_type = 4, (0.0, 0.0, 0.0, 0.0), 19


@host_class
class Enumeration_Knob(Unsigned_Knob):
    """One of a list; an entry may be ``name<TAB>what is shown``."""

    _user_type = 4

    def __init__(self, name: str, label: str | None, items: Any) -> None:
        self._start(name, label)
        self._items = [str(one) for one in items]

    def _names(self) -> list[str]:
        return [one.split("\t")[0] for one in self._items]

    def _index(self, value: Any) -> int:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if 0 <= int(value) < len(self._items):
                return int(value)
        elif isinstance(value, str):
            shown = [one.split("\t")[-1] for one in self._items]
            for names in (self._names(), shown, self._items):
                if value in names:
                    return names.index(value)
        raise TypeError(f"{self._name}: {value!r} is not in {self._names()}")

    def _choose(self, value: Any) -> None:
        self._set_raw([self._index(value)])

    def _current(self) -> str:
        index = int(self._at(0))
        return self._names()[index] if 0 <= index < len(self._items) else ""

    def value(self) -> str:
        self._alive()
        return self._current()

    def getValue(self) -> float:
        self._alive()
        return float(self._at(0))

    def setValue(self, value: Any) -> bool:
        self._choose(value)
        return True

    def values(self) -> list[str]:
        self._alive()
        return list(self._items)

    def setValues(self, items: Any) -> None:
        self._alive()
        chosen = self._current()
        self._items = [str(one) for one in items]
        names = self._names()
        # What was chosen stays so by its name, as the menu shows it.
        self._raw = [names.index(chosen) if chosen in names else 0]

    def numValues(self) -> int:
        return len(self._items)

    def enumName(self, n: int) -> str:
        return self._names()[n]

    def _text(self) -> str:
        return Array_Knob._text(self) if self._expressions else self._current()

    def _script(self) -> str:
        return Array_Knob._script(self) if self._expressions else quote(self._current())

    def _tcl_text(self) -> str:
        return self._current()

    def _read(self, text: str) -> None:
        if text.startswith("{"):
            Array_Knob._read(self, text)
        elif text.isdigit() and text not in self._names():
            self._choose(int(text))
        else:
            self._choose(text)


@host_class
class Pulldown_Knob(Enumeration_Knob):
    """A menu of commands."""

    _user_type = 4


@host_class
class Channel_Knob(Knob):
    """A layer, or channels of layers."""

    _first = "none"

    def _checked(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError(f"{self._name}: the name of a layer or a channel is needed")
        known_channels(value)
        return value

    def setValue(self, name: str) -> bool:
        self._set_raw(self._checked(name))
        return True

    def value(self) -> str:
        self._alive()
        return self._raw

    def _read(self, text: str) -> None:
        self._set_raw(self._checked(text))

    def _script(self) -> str:
        return "{" + self._raw + "}" if " " in self._raw else self._raw


class ChannelMask_Knob(Channel_Knob):
    """Several channels."""


@host_class
class Format_Knob(Knob):
    """A format; empty is the one of the script."""

    _first: Any = None

    def _actual(self) -> Format:
        if self._raw is not None:
            return self._raw
        if self._core is not None and self._core is not state.root:
            return state.root.knobs["format"]._actual()
        return named_format("HD_1080")

    def value(self) -> Format:
        self._alive()
        return self._actual()

    def actualValue(self) -> Format:
        self._alive()
        return self._actual()

    def name(self) -> str:
        return self._name

    def setValue(self, value: Any) -> bool:
        if not isinstance(value, (str, Format)):
            raise TypeError("a format or the name of one is needed")
        self._set_raw(value if isinstance(value, Format) else named_format(value))
        return True

    def notDefault(self) -> bool:
        return self._raw is not None

    def _text(self) -> str:
        return "" if self._raw is None else self._raw._to_text()

    def _read(self, text: str) -> None:
        new = named_format(text) if text else None
        if new is not None and new._name and new not in state.formats:
            state.formats.append(new)
        self._set_raw(new)


@host_class
class MultiView_Knob(Knob):
    """Which views; unset is all of them."""

    _first: Any = None

    def _views(self) -> list[str]:
        return view_names() if self._raw is None else self._raw.split()

    def value(self) -> str:
        self._alive()
        return " ".join(self._views())

    def setValue(self, views: str) -> bool:
        unknown = [one for one in views.split() if one not in view_names()]
        if unknown:
            raise TypeError(f"no such views: {unknown}")
        self._set_raw(views)
        return True

    def _text(self) -> str:
        return self._raw or ""

    def _script(self) -> str:
        return "{" + self._text() + "}"


@host_class
class Text_Knob(Knob):
    """A line of text in the panel, or a divider."""

    _user_type = 26

    def __init__(self, name: str, label: str | None = None, value: str = "") -> None:
        self._start(name, label)
        self._raw = value

    def setValue(self, value: str) -> bool:
        self._set_raw(str(value))
        return True

    def value(self) -> str:
        self._alive()
        return self._raw


@host_class
class Tab_Knob(Knob):
    """A tab, or the begin or end of a group of knobs."""

    _user_type = 20
    _first: Any = 0

    def __init__(self, name: str, label: str | None = None, flag: int = 0) -> None:
        self._start(name, label)
        self._group = flag
        self._raw = flag

    def setValue(self, value: bool) -> bool:
        return True

    def value(self) -> Any:
        self._alive()
        return bool(self._raw)

    def _is_default(self) -> bool:
        return True


@host_class
class Script_Knob(String_Knob):
    """A button that runs a command of the host."""

    _user_type = 32

    def __init__(self, name: str, label: str | None = None, command: str = "") -> None:
        self._start(name, label)
        self._raw = self._checked(command)

    def command(self) -> str:
        self._alive()
        return self._raw

    def setCommand(self, cmd: str) -> None:
        self._set_raw(self._checked(cmd))

    def setValue(self, cmd: str) -> bool:
        self._set_raw(self._checked(cmd))
        return True

    def value(self) -> str:
        self._alive()
        return self._raw

    def execute(self) -> None:
        self._alive()
        if self._name != "reload":
            raise NotImplementedError(f"the button {self._name} is not in this fake")
        name = self._core.full_name()
        state.reloads[name] = state.reloads.get(name, 0) + 1


@host_class
class PyScript_Knob(Script_Knob):
    """A button that runs Python."""

    _user_type = 22

    def execute(self) -> None:
        """Run the text; what it raises passes on."""
        self._alive()
        core = self._core
        names = {"nuke": __import__("nuke"), "__name__": "__main__", "__builtins__": __builtins__}
        group = core if core.is_group() else core.group
        state.group_stack.append(group)
        with user_code(f"{core.name()}.{self._name}"), _callbacks.this(core, self):
            try:
                exec(compile(self._raw, f"<{self._name}>", "exec"), names)
            finally:
                state.group_stack.pop()


@host_class
class Link_Knob(Knob):
    """Shows a knob of another node; mostly one inside of the group."""

    _user_type = 41

    def makeLink(self, node: str, knob: str) -> None:
        self._set_raw(f"{node}.{knob}")

    def setLink(self, path: str) -> None:
        self._set_raw(path)

    def getLink(self) -> str:
        self._alive()
        return self._raw

    def _linked(self) -> Any:
        node, _, knob = self._raw.rpartition(".")
        core = self._core.child(node) or (self._core.group and self._core.group.child(node))
        return core.knobs.get(knob) if core else None

    def getLinkedKnob(self) -> Any:
        self._alive()
        return self._linked()

    def value(self) -> Any:
        self._alive()
        linked = self._linked()
        return None if linked is None else linked.value()

    def getValue(self) -> Any:
        self._alive()
        linked = self._linked()
        return None if linked is None else linked.getValue()

    def setValue(self, value: Any) -> bool:
        linked = self._linked()
        if linked is None:
            raise ValueError("the link leads nowhere")
        return linked.setValue(value)


@host_class
class Obsolete_Knob(Knob):
    """A knob of an older version, read and passed on."""

    def value(self) -> Any:
        return None


USER_TYPES: dict[int, type[Knob]] = {
    1: String_Knob,
    2: File_Knob,
    3: Int_Knob,
    4: Enumeration_Knob,
    6: Boolean_Knob,
    7: Double_Knob,
    12: XY_Knob,
    14: WH_Knob,
    15: BBox_Knob,
    18: Color_Knob,
    19: AColor_Knob,
    20: Tab_Knob,
    22: PyScript_Knob,
    26: Text_Knob,
    32: Script_Knob,
    41: Link_Knob,
    43: Multiline_Eval_String_Knob,
}


def current_frame() -> int:
    """The frame that the artist looks at."""
    return int(state.root.knobs["frame"]._raw[0])


def expression_value(text: str, core: Any) -> float:
    """The value of ``parent.knob``, ``-parent.knob`` or ``!parent.knob``, or of a number.

    Raises:
        NotImplementedError: anything else; this fake knows no more.
        RuntimeError: there is no such knob.
    """
    text = text.strip()
    if re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    found = re.fullmatch(r"([-!]?)\s*(parent|this)\.(\w+)", text)
    if not found or core is None:
        raise NotImplementedError(f"an expression beyond this fake: {text!r}")
    holder = core.group if found[2] == "parent" else core
    knob = holder.knobs.get(found[3]) if holder is not None else None
    if not isinstance(knob, Array_Knob):
        raise RuntimeError(f"{core.full_name()}: no number knob in expression {text!r}")
    number = knob._at(0)
    return {"": number, "-": -number, "!": float(not number)}[found[1]]


def make(type_name: str, name: str, default: Any, choices: Any = None) -> Knob:
    """A knob of the host's own, at its default."""
    cls: Any = globals()[type_name if type_name == "PythonKnob" else f"{type_name}_Knob"]
    knob = cls.__new__(cls)
    knob._start(name, None)
    if isinstance(knob, Enumeration_Knob):
        knob._items = list(choices or [default])
        knob._raw = [knob._index(default)]
    elif isinstance(knob, Array_Knob):
        knob._raw = [knob._number(default)] * knob._width
    elif isinstance(knob, (Format_Knob, MultiView_Knob)):
        knob._raw = None
    else:
        knob._raw = default
    if isinstance(knob, Tab_Knob):
        knob._group = 0
    knob._default = list(knob._raw) if isinstance(knob._raw, list) else knob._raw
    return knob


@host
def thisKnob() -> Knob | None:
    """The knob whose change or press is handled now."""
    return state.this_stack[-1][1] if state.this_stack else None
