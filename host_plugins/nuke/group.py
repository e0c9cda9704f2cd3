"""What is inside of the node, and its text.

The node is a Group of stock nodes with plain values: a script opens and renders where there is no
plug-in. The text is made here, from two tables, and lies beside this file as `DeepVideoMatte.nk`;
a node is made by pasting that, as Nuke's own ToolSets are. The only expressions are references to
a knob of the Group.

::

    Trimap ── channel ─┬─ a frame before, after ── widest ── grow ───┐
                       │                 └──────── narrowest ─ shrink ┴ band ─ Switch ─ (keyframes)
                       └──────────────────────────────────────────────────────┘
    Read alpha ── clip ── shrink ── blur ── invert ─────────┐
    Source ─┬─ (foreground's colours) ──────────────── with alpha ── premult ── layers ─┐
            └──────────────────────────────── nothing matted yet ──────────────────── Switch ─ view

    python -m host_plugins.nuke.group      write the text anew
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import knobs
from .knobs import Knob

NAME = "DeepVideoMatte"
FILE = Path(__file__).with_name(f"{NAME}.nk")
LAYERS = ("alpha", "trimap", "confidence", "foreground")
# The oldest Nuke this is for: a newer number would be warned of there.
_NUKE = "14.0 v1"
_COLOURS = {"from0": "rgba.red", "to0": "rgba.red", "from1": "rgba.green", "to1": "rgba.green"}
_COLOURS.update(from2="rgba.blue", to2="rgba.blue")
_GREY = {f"from{i}": "rgba.alpha" for i in range(3)}
_GREY.update(to0="rgba.red", to1="rgba.green", to2="rgba.blue")
# Half of the plate, and half of red where the trimap is unknown, of green where it is foreground.
_OVERLAY = {
    "expr0": "r*0.5+0.5*(dvm.trimap>0.25&&dvm.trimap<0.75)",
    "expr1": "g*0.5+0.5*(dvm.trimap>=0.75)",
    "expr2": "b*0.5",
}
_BUTTON = """try:
    from deep_video_matte.nuke import actions
except ImportError:
    nuke.message("The Deep Video Matte plug-in is not installed here. The node renders without it.")
else:
    actions.press("{press}")"""


@dataclass(frozen=True)
class Inner:
    """A node inside of the Group.

    Attributes:
        name: in the Group.
        kind: Nuke's class.
        inputs: names of nodes, the first input first.
        values: of knobs.
        follows: knobs that follow one of the Group, by a reference to it.
    """

    name: str
    kind: str
    inputs: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)


def reader(layer: str) -> str:
    """The name of the Read of a layer."""
    return f"dvm_read_{layer}"


def _read(layer: str) -> Inner:
    # Raw: alpha is no colour. Not localised: a copy would be an old one. A missing plate is an
    # error, never black.
    values = {"localizationPolicy": "off", "on_error": "error"}
    if layer != "foreground":
        values["raw"] = "true"
    return Inner(reader(layer), "Read", (), values)


def _copy(name: str, onto: str, of: str, *, to: str, channel: str = "rgba.alpha") -> Inner:
    return Inner(name, "Copy", (onto, of), {"from0": channel, "to0": to})


def _switch(name: str, *inputs: str, by: str = "") -> Inner:
    return Inner(name, "Switch", inputs, {}, {"which": f"parent.{by}"} if by else {})


_ALPHA = {"channels": "alpha"}
NODES: tuple[Inner, ...] = (
    Inner("Source", "Input"),
    Inner("Trimap", "Input", (), {"number": "1"}),
    # What a keyframe takes.
    _copy("dvm_key_channel", "Trimap", "Trimap", to="rgba.alpha"),
    Inner(
        "dvm_later", "TimeOffset", ("dvm_key_channel",), {}, {"time_offset": "parent.dvm_motion"}
    ),
    Inner(
        "dvm_earlier", "TimeOffset", ("dvm_key_channel",), {}, {"time_offset": "-parent.dvm_motion"}
    ),
    Inner("dvm_wide", "Merge2", ("dvm_key_channel", "dvm_later"), {"operation": "max"}),
    Inner("dvm_widest", "Merge2", ("dvm_wide", "dvm_earlier"), {"operation": "max"}),
    Inner("dvm_narrow", "Merge2", ("dvm_key_channel", "dvm_later"), {"operation": "min"}),
    Inner("dvm_narrowest", "Merge2", ("dvm_narrow", "dvm_earlier"), {"operation": "min"}),
    # FilterErode: a size above 0 shrinks what is bright.
    Inner("dvm_edge", "FilterErode", ("dvm_widest",), _ALPHA, {"size": "-parent.dvm_edge_grow"}),
    Inner(
        "dvm_core", "FilterErode", ("dvm_narrowest",), _ALPHA, {"size": "parent.dvm_core_shrink"}
    ),
    Inner("dvm_band", "Merge2", ("dvm_edge", "dvm_core"), {"operation": "average"}),
    _switch("dvm_keyframe", "dvm_key_channel", "dvm_band", by="dvm_trimap_is"),
    # What was matted.
    *(_read(layer) for layer in LAYERS),
    Inner(
        "dvm_clip",
        "Grade",
        (reader("alpha"),),
        {**_ALPHA, "black_clamp": "true", "white_clamp": "true"},
        {"blackpoint": "parent.dvm_black_clip", "whitepoint": "parent.dvm_white_clip"},
    ),
    Inner("dvm_shrunk", "FilterErode", ("dvm_clip",), _ALPHA, {"size": "parent.dvm_shrink"}),
    Inner("dvm_blurred", "Blur", ("dvm_shrunk",), _ALPHA, {"size": "parent.dvm_blur"}),
    Inner("dvm_inverted", "Invert", ("dvm_blurred",), _ALPHA),
    _switch("dvm_matte_edge", "dvm_blurred", "dvm_inverted", by="dvm_invert"),
    # The picture.
    Inner("dvm_own_colours", "Copy", ("Source", reader("foreground")), _COLOURS),
    _switch("dvm_colours", "Source", "dvm_own_colours"),
    _copy("dvm_with_alpha", "dvm_colours", "dvm_matte_edge", to="rgba.alpha"),
    Inner("dvm_multiplied", "Premult", ("dvm_with_alpha",)),
    _switch("dvm_image", "dvm_with_alpha", "dvm_multiplied", by="dvm_premultiplied"),
    _copy("dvm_alpha_layer", "dvm_image", "dvm_image", to="dvm.alpha"),
    _copy("dvm_own_alpha", "dvm_alpha_layer", "Source", to="rgba.alpha"),
    _switch("dvm_alpha_place", "dvm_image", "dvm_own_alpha", by="dvm_alpha_to"),
    _copy("dvm_trimap_layer", "dvm_alpha_place", reader("trimap"), to="dvm.trimap"),
    _copy("dvm_confidence_layer", "dvm_trimap_layer", reader("confidence"), to="dvm.confidence"),
    _switch("dvm_all_layers", "dvm_alpha_place", "dvm_confidence_layer", by="dvm_layers"),
    _switch("dvm_ready", "Source", "dvm_all_layers"),
    # What else there is to look at.
    Inner("dvm_show_alpha", "Copy", ("Source", "dvm_matte_edge"), _GREY),
    _copy("dvm_carried", "Source", reader("trimap"), to="dvm.trimap"),
    Inner("dvm_show_trimap", "Expression", ("dvm_carried",), _OVERLAY),
    Inner("dvm_show_confidence", "Copy", ("Source", reader("confidence")), _GREY),
    _copy("dvm_painted", "Source", "dvm_keyframe", to="dvm.trimap"),
    Inner("dvm_show_painted", "Expression", ("dvm_painted",), _OVERLAY),
    _switch(
        "dvm_shown",
        "dvm_ready",
        "dvm_show_alpha",
        "dvm_show_trimap",
        "dvm_show_confidence",
        "dvm_show_painted",
        by="dvm_view",
    ),
    Inner("Output1", "Output", ("dvm_shown",)),
)

_TYPES = {
    knobs.STRING: 1, knobs.FILE: 2, knobs.INT: 3, knobs.CHOICE: 4, knobs.BOOLEAN: 6,
    knobs.DOUBLE: 7, knobs.TAB: 20, knobs.BUTTON: 22, knobs.TEXT: 26, knobs.DIVIDER: 26,
}  # fmt: skip


def text() -> str:
    """The node as Nuke's own text, to be pasted."""
    lines = ["set cut_paste_input [stack 0]", f"version {_NUKE}", "push 0", "push $cut_paste_input"]
    lines += ["Group {", " inputs 2", f" name {NAME}1", " tile_color 0x5a7a3aff"]
    for one in knobs.KNOBS:
        lines += _user_knob(one)
    lines += ["}", f" add_layer {{dvm {' '.join(f'dvm.{n}' for n in LAYERS[:3])}}}"]
    for row, one in enumerate(NODES):
        lines += _node(one, row)
    return "\n".join([*lines, "end_group"]) + "\n"


def _user_knob(one: Knob) -> Iterable[str]:
    said = [str(_TYPES[one.kind]), one.name]
    if one.label or one.kind == knobs.TEXT:
        said += ["l", _quoted(f"<b>{one.label}</b>" if one.kind == knobs.DIVIDER else one.label)]
    if one.tooltip:
        said += ["t", _quoted(one.tooltip)]
    if one.hidden:
        said.append("+INVISIBLE")
    if one.fixed:
        said.append("+DISABLED")
    if one.beside:
        said.append("-STARTLINE")
    elif one.kind in (knobs.BUTTON, knobs.BOOLEAN):  # else they would join the line before
        said.append("+STARTLINE")
    if one.kind == knobs.BUTTON:
        said += ["T", _quoted(_BUTTON.replace("{press}", one.press))]
    if one.kind == knobs.TEXT:
        said += ["T", _quoted(" ")]  # an empty one would take no place
    if one.kind == knobs.CHOICE:
        said += ["M", "{" + " ".join(_quoted(item) for item in one.items) + "}"]
    if one.span != (0.0, 0.0):
        said += ["R", f"{one.span[0]:g}", f"{one.span[1]:g}"]
    yield f" addUserKnob {{{' '.join(said)}}}"
    value = _value(one)
    if value:
        yield f" {one.name} {value}"


def _value(one: Knob) -> str:
    """As text; "" for what a knob has anyhow: nothing, 0, false, the first of its choices."""
    if one.kind == knobs.CHOICE:
        return "" if one.value == one.items[0] else _quoted(str(one.value))
    if one.kind == knobs.BOOLEAN:
        return "true" if one.value else ""
    return f"{one.value:g}" if isinstance(one.value, (int, float)) and one.value else ""


def _node(one: Inner, row: int) -> Iterable[str]:
    for name in reversed(one.inputs):  # the first input lies on top of the stack
        yield f"push $N{name}"
    yield f" {one.kind} {{"
    if len(one.inputs) != 1:
        yield f"  inputs {len(one.inputs)}"
    for knob, value in one.values.items():
        yield f"  {knob} {_quoted(value)}"
    for knob, reference in one.follows.items():
        yield f"  {knob} {{{{{reference}}}}}"
    yield f"  name {one.name}"
    yield f"  xpos {110 * (row % 6)}"
    yield f"  ypos {60 * row}"
    yield " }"
    yield f"set N{one.name} [stack 0]"


def _quoted(value: str) -> str:
    """A word as Tcl reads it."""
    if value and not set(value) & set(' \t\n"[]{}$;\\'):
        return value
    for sign, escaped in (("\\", "\\\\"), ('"', '\\"'), ("[", "\\["), ("]", "\\]"), ("$", "\\$")):
        value = value.replace(sign, escaped)
    for sign in "{}":
        value = value.replace(sign, f"\\{sign}")
    return '"' + value.replace("\n", "\\n") + '"'


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
