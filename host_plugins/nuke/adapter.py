"""All that is asked of Nuke and done to it; nothing else of the plug-in calls Nuke.

Everything here is for the main thread, but for `in_main_thread`, which is for the others.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nuke

from ..client.errors import InputError
from . import knobs
from .plates import Laid, ReadFacts, hashed, printed

_MARK = "dvm_version"
# What does not change a picture, so that a Read above it is still what comes in.
_NOTHING = ("Dot", "NoOp")
# How a Read lies in time: its knobs by attributes of `Laid`.
_TIMES = {
    "first": "first", "last": "last", "origfirst": "first", "origlast": "last",
    "before": "before", "after": "after", "frame_mode": "frame_mode", "frame": "frame",
}  # fmt: skip
_at_work = 0  # how many `without_undo` there are around what is done now
_ANOTHER = re.compile("already executing", re.IGNORECASE)


# The application


def host_name() -> str:
    """E.g. ``nuke 15.1v3``."""
    return f"nuke {nuke.NUKE_VERSION_STRING}"


def has_window() -> bool:
    """Nuke runs with its window, and not in a terminal or on a farm."""
    return bool(nuke.GUI)


def in_main_thread(call: Callable[[], None]) -> None:
    """From another thread: have something done in the main one, soon."""
    nuke.executeInMainThread(call)


def tell(text: str) -> None:
    """Have a person read something: a message in a window, a line in a terminal."""
    if has_window():
        nuke.message(text)
    else:
        nuke.tprint(text)


def warn(text: str) -> None:
    """A line in Nuke's error console, which does not stop anybody."""
    nuke.warning(text)


def user_folder() -> Path:
    """Ours, in the user's own."""
    return Path.home() / ".nuke" / "dvm"


def script_file() -> Path | None:
    """Where the script is saved; None if it never was."""
    name = nuke.root().name()
    return Path(name) if name and name != "Root" else None


def working_space() -> str:
    """The script's, as the knob shows it."""
    return str(nuke.root()["workingSpaceLUT"].value())


def views() -> list[str]:
    """Of the script."""
    return list(nuke.views())


def frame() -> int:
    """The one that is looked at."""
    return int(nuke.frame())


def go_to(number: int) -> None:
    """Look at another frame."""
    nuke.frame(number)


class Progress:
    """A bar with a cancel button; it goes when it is dropped."""

    def __init__(self, name: str):
        self._task = nuke.ProgressTask(name)

    def show(self, share: float, text: str) -> bool:
        """
        Args:
            share: that is done, 0 … 1.
            text: beside the bar.

        Returns:
            Whether it was cancelled.
        """
        self._task.setProgress(int(100 * min(max(share, 0.0), 1.0)))
        self._task.setMessage(text)
        return bool(self._task.isCancelled())


@contextlib.contextmanager
def without_undo() -> Iterator[None]:
    """What is done within is ours, and not for undo; but it is to be saved with the script."""
    global _at_work
    nuke.Undo.disable()
    _at_work += 1
    try:
        yield
    finally:
        _at_work -= 1
        nuke.Undo.enable()


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """`without_undo`, and what is done within does not make the script one that must be saved."""
    root = nuke.root()
    modified = root.modified()
    try:
        with without_undo():
            yield
    finally:
        if not modified:
            root.setModified(False)


# Callbacks and menus


@dataclass(frozen=True)
class Ears:
    """What Nuke is to call.

    Attributes:
        changed: a knob of a Group or a Read has changed.
        destroyed: a Group is being deleted.
        loaded, saved, closed: a script was opened, is about to be saved, is being closed.
    """

    changed: Callable[[], None]
    destroyed: Callable[[], None]
    loaded: Callable[[], None]
    saved: Callable[[], None]
    closed: Callable[[], None]


def listen(ears: Ears) -> None:
    """Have Nuke call."""
    for kind in ("Group", "Read"):
        nuke.addKnobChanged(ears.changed, nodeClass=kind)
    nuke.addOnDestroy(ears.destroyed, nodeClass="Group")
    nuke.addOnScriptLoad(ears.loaded)
    nuke.addOnScriptSave(ears.saved)
    nuke.addOnScriptClose(ears.closed)


def unlisten(ears: Ears) -> None:
    """The contrary of `listen`."""
    for kind in ("Group", "Read"):
        nuke.removeKnobChanged(ears.changed, nodeClass=kind)
    nuke.removeOnDestroy(ears.destroyed, nodeClass="Group")
    nuke.removeOnScriptLoad(ears.loaded)
    nuke.removeOnScriptSave(ears.saved)
    nuke.removeOnScriptClose(ears.closed)


def is_at_work() -> bool:
    """In a callback: what has changed is what `without_undo` code of ours does."""
    return _at_work > 0


def what_changed() -> tuple[Any, str]:
    """In a callback: the node, and the name of its knob."""
    return nuke.thisNode(), nuke.thisKnob().name()


def this_node() -> Any:
    """In a callback or a button: the node."""
    return nuke.thisNode()


# Nodes of ours


def make_node(file: Path) -> Any:
    """A new node, from its text; below the selected one, if there is one."""
    made = nuke.nodePaste(_for_knob(str(file)))
    return made if made is not None else nuke.selectedNode()


def is_ours(node: Any) -> bool:
    """Whether a node is one of ours, of whatever version."""
    return node.knob(_MARK) is not None


def our_nodes() -> list[Any]:
    """All in the script, those within other Groups too."""
    # From the root: a button's script runs inside of its Group.
    found = nuke.allNodes("Group", group=nuke.root(), recurseGroups=True)
    return [one for one in found if is_ours(one)]


def is_alive(node: Any) -> bool:
    """Whether a node is still in the script."""
    try:
        node.name()
    except ValueError:  # "A PythonObject is not attached to a node"
        return False
    return True


def name_of(node: Any) -> str:
    """With the Groups it lies in: ``Group1.DeepVideoMatte1``."""
    return str(node.fullName())


def value(node: Any, name: str) -> Any:
    """Of one knob."""
    return node[name].value()


def text_of(node: Any, name: str) -> str:
    """Of one knob, which a node of another release may lack: "" then."""
    knob = node.knob(name)
    return "" if knob is None else str(knob.value() or "")


def values(node: Any, names: Sequence[str]) -> dict[str, Any]:
    """Of many; paths are evaluated."""
    found = node.knobs()
    paths = {one.name for one in knobs.KNOBS if one.kind == knobs.FILE}
    return {
        name: (found[name].evaluate() or "") if name in paths else found[name].value()
        for name in names
    }


def set_value(node: Any, name: str, new: Any) -> None:
    """Of one knob, as an artist would: it can be undone."""
    node[name].setValue(new)


def keep(node: Any, wanted: Mapping[str, str]) -> None:
    """Set hidden knobs, by name: that is not for undo, and is to be saved."""
    found = node.knobs()
    with without_undo():
        _change([(found[name], new) for name, new in wanted.items()])


def set_told(node: Any, name: str, text: str) -> None:
    """Of a text that says how things are; `menus.saved` sees to it that it is not saved."""
    node[name].setValue(text or " ")  # an empty one would take no place


def set_choices(node: Any, name: str, items: Sequence[str]) -> None:
    """Of a choice; what is chosen stays, be it among them or not."""
    knob = node[name]
    chosen = knob.value()
    knob.setValues([*items, *([] if chosen in items else [chosen])])
    knob.setValue(chosen)


def _change(wanted: Iterable[tuple[Any, Any]]) -> None:
    """Set knobs to other values than they have: (knob, value).

    What changes makes the script one that must be saved: else Nuke would not ask, and who saves
    modified scripts alone would send an old one to the farm.
    """
    changed = [(knob, new) for knob, new in wanted if knob.value() != new]
    for knob, new in changed:
        knob.setValue(new)
    if changed:
        nuke.root().setModified(True)


def replace_node(old: Any, file: Path, keep: Sequence[str]) -> Any:
    """Put a new node in the place of an old one: its connections, name, place and knobs.

    Args:
        old: is deleted.
        file: the new one's text.
        keep: knobs whose values are taken over, as far as the old one has them.
    """
    parent = old.parent()
    with parent:
        new = make_node(file)
        for index in range(2):
            new.setInput(index, old.input(index))
        for below in parent.nodes():
            for index in range(below.inputs()):
                if below.input(index) == old:
                    below.setInput(index, new)
        there = old.knobs()
        for name in keep:
            if name in there:
                new[name].fromScript(there[name].toScript())
        new.setXYpos(old.xpos(), old.ypos())
        name = old.name()
        nuke.delete(old)
        new.setName(name)
    return new


# What comes in


def upstream(node: Any, index: int) -> Any:
    """What comes into an input: the node above, past what changes no picture, and out of Groups.

    Returns:
        The node; None if nothing does.
    """
    one = node.input(index)
    while one is not None:
        kind = one.Class()
        if kind == "Input":
            outer = one.parent()
            if outer == nuke.root():
                return one
            one = outer.input(int(one["number"].value()))
        elif kind in _NOTHING or (one.inputs() and _is_off(one)):
            one = one.input(0)
        else:
            return one
    return None


def _is_off(node: Any) -> bool:
    knob = node.knob("disable")
    return knob is not None and bool(knob.value())


def is_read(node: Any) -> bool:
    return node is not None and node.Class() == "Read" and not _is_off(node)


def is_read_of_plates(node: Any) -> bool:
    """A Read that is not one of ours."""
    return node.Class() == "Read" and not node.name().startswith("dvm_")


def read_facts(read: Any, chosen: Sequence[str]) -> ReadFacts:
    """What a Read says.

    Args:
        read: the node.
        chosen: the script's views.
    """
    found = read.knobs()
    return ReadFacts(
        files=_files_by_view(found["file"], chosen),
        laid=Laid(
            first=int(found["first"].value()),
            last=int(found["last"].value()),
            before=str(found["before"].value()),
            after=str(found["after"].value()),
            frame_mode=str(found["frame_mode"].value()),
            frame=str(found["frame"].value()),
        ),
        colourspace=str(found["colorspace"].value()),
        raw=bool(found["raw"].value()),
        premultiplied=bool(found["premultiplied"].value()),
        on_error=str(found["on_error"].value()),
        working_space=working_space(),
    )


def patterns(node: Any, name: str) -> Mapping[str, str]:
    """Of a file knob, its patterns by view; one entry named "" if all views have the same."""
    return _files_by_view(node[name], views())


def _files_by_view(knob: Any, chosen: Sequence[str]) -> Mapping[str, str]:
    files = {view: _file_for(knob, view) for view in chosen}
    return {"": next(iter(files.values()))} if len(set(files.values())) == 1 else files


def _file_for(knob: Any, view: str) -> str:
    """A file knob's path in a view, evaluated by Nuke, absolute."""
    context = nuke.OutputContext()
    context.setView(context.viewFromName(view))
    path = str(knob.getEvaluatedValue(context) or "")
    if not path or os.path.isabs(path):  # noqa: PTH117  a pattern, not a path
        return path
    home = nuke.root()["project_directory"].evaluate() or ""
    return Path(home, path).absolute().as_posix()


def frame_range(node: Any) -> tuple[int, int]:
    """First and last frame that a node has."""
    return int(node.firstFrame()), int(node.lastFrame())


def has_alpha(node: Any) -> bool:
    return "rgba.alpha" in node.channels()


def window_of(node: Any) -> tuple[int, int, int, int]:
    """The data window that rendered plates get: the format and what lies over it now.

    Returns:
        Left, bottom, right, top in pixels, as Nuke counts them.
    """
    size, box = node.format(), node.bbox()
    left, bottom = min(0, int(box.x())), min(0, int(box.y()))
    right = max(size.width(), int(box.x() + box.w()))
    top = max(size.height(), int(box.y() + box.h()))
    return left, bottom, right, top


# Rendering: never in a callback


class Busy(Exception):
    """Nuke is rendering something else; it may be asked again later."""


def write(
    group: Any,
    inner: str,
    pattern: str,
    number: int,
    *,
    channels: str,
    window: tuple[int, int, int, int] | None = None,
    of_views: Sequence[str] = (),
) -> None:
    """Render one frame of a node inside of ours to EXR: half, raw, at full size.

    Args:
        group: ours.
        inner: name of the node in it.
        pattern: of the file, ``####`` for the number, ``%V`` for the view.
        number: the frame, as the script counts.
        channels: as Nuke names them.
        window: data window; None = what the picture has.
        of_views: to render; none = the one that is looked at.

    Raises:
        Busy: Nuke is rendering already.
        InputError: ``input.render`` with what Nuke says.
    """
    proxy = nuke.root()["proxy"]
    was_proxy = bool(proxy.value())
    made: list[Any] = []
    with undisturbed(), group:
        try:
            if was_proxy:
                proxy.setValue(False)
            above = group.node(inner)
            if window is not None:
                made.append(nuke.nodes.Crop(box=list(window), crop=True, inputs=[above]))
                above = made[-1]
            made.append(
                nuke.nodes.Write(
                    file=_for_knob(printed(pattern)), file_type="exr", raw=True, channels=channels,
                    create_directories=True, inputs=[above],
                )
            )  # fmt: skip
            # These are there only since the file type is set.
            made[-1]["metadata"].setValue("all metadata")
            nuke.execute(made[-1], number, number, 1, list(of_views) or [nuke.views()[0]])
        except RuntimeError as error:
            raise _told(error, number) from error
        finally:
            for one in reversed(made):
                nuke.delete(one)
            if was_proxy:
                proxy.setValue(True)


def _told(error: RuntimeError, number: int) -> Exception:
    said = str(error).strip()
    if _ANOTHER.search(said):
        return Busy(said)
    return InputError(
        "input.render",
        f"Nuke could not render frame {number}: {said or 'it was cancelled'}",
        frame=number,
        hint="look at what comes into the node, and at the disk",
    )


def set_channel(group: Any, channel: str) -> None:
    """The channel of the Trimap input that keyframes take."""
    group.node("dvm_key_channel")["from0"].setValue(channel)


# Showing what was matted


def shown_file(group: Any, inner: str) -> str:
    """The pattern that a Read of ours reads, ``####`` for the number; "" for none."""
    return _from_knob(str(group.node(inner)["file"].value() or ""))


def show_file(group: Any, inner: str, pattern: str) -> None:
    """Have a Read of ours read other files, if it does not read these already.

    Args:
        group: ours.
        inner: name of the Read.
        pattern: ``####`` for the number, ``%V`` for the view.
    """
    _change([(group.node(inner)["file"], _for_knob(printed(pattern)))])


def lay(group: Any, inner: str, laid: Laid) -> None:
    """Have a Read of ours lie in time as another does, where it does not already."""
    found = group.node(inner).knobs()
    _change([(found[name], getattr(laid, attribute)) for name, attribute in _TIMES.items()])


def show_in_colourspace(group: Any, inner: str, shown: str) -> None:
    """Have a Read of colours take them as those of the plates are taken; "" = raw."""
    found = group.node(inner).knobs()
    _change([(found["raw"], not shown), *([(found["colorspace"], shown)] if shown else [])])


def reload(group: Any, inner: str) -> None:
    """Have a Read look at its files again."""
    group.node(inner)["reload"].execute()


def switch(group: Any, inner: str, which: int) -> None:
    """Set a Switch of ours."""
    _change([(group.node(inner)["which"], which)])


def switched(group: Any, inner: str) -> int:
    return int(group.node(inner)["which"].value())


def add_command(menu: Any, name: str, command: Callable[[], Any]) -> None:
    """An entry of Nuke's node menu, found by Tab too."""
    menu.addCommand(name, command)


def _for_knob(path: str) -> str:
    """A path as file knobs take it: Nuke's slashes, and no Tcl in it."""
    return path.replace("\\", "/").replace("[", "\\[").replace("]", "\\]")


def _from_knob(path: str) -> str:
    return hashed(path.replace("\\[", "[").replace("\\]", "]"))
