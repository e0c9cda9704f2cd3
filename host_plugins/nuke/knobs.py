"""The knobs of the node, as a table: the Group is built from it, and the README's pictures.

Names are for ever: scripts are saved with them. Every change of this table or of the nodes inside
is a new `VERSION`; `actions.current` builds nodes of an older one anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VERSION = 3

TAB, DIVIDER, TEXT, BUTTON = "tab", "divider", "text", "button"
STRING, FILE, INT, DOUBLE, BOOLEAN, CHOICE = "string", "file", "int", "double", "boolean", "choice"


@dataclass(frozen=True)
class Knob:
    """One knob.

    Attributes:
        name: in scripts.
        kind: one of those above.
        label: what an artist reads.
        tooltip: what it does, and in which unit.
        value: at first.
        items: of a choice.
        span: of a slider, from, to; whole numbers have none in Nuke.
        hidden: not shown.
        fixed: shown, and not for typing.
        told: a text that says how things are, and is not saved.
        beside: on the line of the one before.
        press: of a button: what `actions.press` is given.
    """

    name: str
    kind: str
    label: str = ""
    tooltip: str = ""
    value: object = None
    items: tuple[str, ...] = ()
    span: tuple[float, float] = (0.0, 0.0)
    hidden: bool = False
    fixed: bool = False
    told: bool = False
    beside: bool = False
    press: str = ""


def _button(press: str, label: str, tooltip: str, beside: bool = True) -> Knob:
    return Knob(f"dvm_{press}", BUTTON, label, tooltip, beside=beside, press=press)


KNOBS: tuple[Knob, ...] = (
    Knob("dvm_tab", TAB, "Deep Video Matte"),
    Knob("dvm_version", INT, value=VERSION, hidden=True),
    Knob("dvm_uid", STRING, value="", hidden=True),
    Knob("dvm_uid_of", STRING, value="", hidden=True),  # the name of the node it was given to
    Knob("dvm_keyframe_files", STRING, value="", hidden=True),
    Knob("dvm_server_told", TEXT, "server", "What the server said last.", told=True),
    _button("connect", "Connect", "Ask the server who it is.", beside=False),
    _button(
        "start_server", "Start Local Server", "Start the server on this machine. It ends with Nuke."
    ),
    _button("stop_server", "Stop", "Stop the server that was started from here."),
    Knob("dvm_clip_line", DIVIDER, "Clip"),
    Knob(
        "dvm_plates",
        CHOICE,
        "plates",
        "automatic: the Read's own files, if nothing lies between it and Source; else what comes "
        "into Source is rendered to EXRs first. rendered: always.",
        value="automatic",
        items=("automatic", "rendered"),
    ),
    Knob(
        "dvm_keep_plates",
        BOOLEAN,
        "keep rendered plates",
        "Render only plates that are not there yet. Turn it off after a change upstream.",
        value=False,
        beside=True,
    ),
    Knob(
        "dvm_use_range",
        BOOLEAN,
        "part of the clip",
        "Matte only the frames below. Off: the whole clip.",
        value=False,
    ),
    Knob("dvm_first", INT, "from", "First frame, as the timeline counts.", value=1, beside=True),
    Knob("dvm_last", INT, "to", "Last frame, as the timeline counts.", value=100, beside=True),
    Knob("dvm_keyframes_line", DIVIDER, "Keyframes"),
    Knob(
        "dvm_keyframes",
        STRING,
        "keyframes",
        "Frames that have a trimap, as the timeline counts.",
        value="",
        fixed=True,
    ),
    _button(
        "add_keyframe",
        "Add Current Frame",
        "Take what comes into Trimap at this frame. Again: take it anew.",
        beside=False,
    ),
    _button("remove_keyframe", "Remove", "Take this frame off the list. Its file stays."),
    _button("previous_keyframe", "Previous", "Go to the keyframe before."),
    _button("next_keyframe", "Next", "Go to the keyframe after."),
    _button("suggest", "Suggest", "Go to the frame that is best painted next."),
    Knob(
        "dvm_trimap_is",
        CHOICE,
        "Trimap input is",
        "a trimap: 0 background, between unknown, 1 foreground. a roto: a hard shape; what "
        "lies near its edge becomes unknown.",
        value="a trimap",
        items=("a trimap", "a roto"),
    ),
    Knob(
        "dvm_trimap_channel",
        CHOICE,
        "channel",
        "automatic: alpha where the input has it, else red.",
        value="automatic",
        items=("automatic", "alpha", "red"),
        beside=True,
    ),
    Knob(
        "dvm_core_shrink",
        INT,
        "shrink core",
        "Pixels of the plate by which a roto is shrunk to what is surely foreground.",
        value=8,
    ),
    Knob(
        "dvm_edge_grow",
        INT,
        "grow edge",
        "Pixels of the plate by which a roto is grown to where background surely begins.",
        value=8,
    ),
    Knob(
        "dvm_motion",
        INT,
        "widen by motion",
        "Frames before and after in which the roto's shapes count too: 1 for motion blur.",
        value=0,
    ),
    Knob("dvm_guides_line", DIVIDER, "Files that help, numbered as the plates; or one for all"),
    Knob("dvm_garbage_matte", FILE, "garbage matte", "Where it is 1, alpha is 0.", value=""),
    Knob(
        "dvm_core_matte",
        FILE,
        "core matte",
        "Where it is 1, alpha is 1, unless the garbage matte says 0.",
        value="",
    ),
    Knob(
        "dvm_clean_plate",
        FILE,
        "clean plate",
        "The background alone, filmed or painted, of the plates' format.",
        value="",
    ),
    Knob("dvm_matte_line", DIVIDER, "Matte"),
    Knob(
        "dvm_network",
        CHOICE,
        "network",
        "What the server's networks are called; connect to see all it has.",
        value="server's default",
        items=("server's default",),
    ),
    Knob(
        "dvm_foreground",
        BOOLEAN,
        "foreground colours",
        "Find the colours of the foreground too, without the background that shines through.",
        value=False,
    ),
    _button(
        "propagate", "Propagate", "Carry the trimaps of the keyframes to all frames.", beside=False
    ),
    _button("matte", "Matte", "Find the alpha of all frames; trimaps are carried first."),
    _button("cancel", "Cancel", "Stop. Finished frames stay."),
    Knob("dvm_told", TEXT, "status", "What goes on, or went wrong.", told=True),
    Knob(
        "dvm_doubts_told",
        TEXT,
        "least sure",
        "Frames whose carried trimaps are least sure.",
        told=True,
    ),
    Knob("dvm_output_line", DIVIDER, "Output"),
    Knob(
        "dvm_view",
        CHOICE,
        "view",
        "final, or something to look at: alpha; the carried trimaps over the plate; their "
        "confidence; the Trimap input as a keyframe would take it. Renders show what is chosen "
        "here.",
        value="final",
        items=("final", "alpha", "trimap overlay", "confidence", "trimap input"),
    ),
    Knob(
        "dvm_alpha_to",
        CHOICE,
        "alpha into",
        "The channel that alpha is put in.",
        value="rgba.alpha",
        items=("rgba.alpha", "dvm.alpha"),
    ),
    Knob(
        "dvm_premultiplied", BOOLEAN, "premultiplied", "Multiply the colours by alpha.", value=True
    ),
    Knob(
        "dvm_layers",
        BOOLEAN,
        "trimap and confidence",
        "Put them into dvm.trimap and dvm.confidence.",
        value=False,
        beside=True,
    ),
    Knob("dvm_edge_line", DIVIDER, "Edge (nothing is matted anew)"),
    Knob(
        "dvm_black_clip",
        DOUBLE,
        "black clip",
        "Alpha up to here becomes 0.",
        value=0.0,
        span=(0, 1),
    ),
    Knob(
        "dvm_white_clip",
        DOUBLE,
        "white clip",
        "Alpha from here on becomes 1.",
        value=1.0,
        span=(0, 1),
    ),
    Knob(
        "dvm_shrink",
        DOUBLE,
        "shrink",
        "In pixels; below 0 the matte grows.",
        value=0.0,
        span=(-10, 10),
    ),
    Knob("dvm_blur", DOUBLE, "blur", "In pixels.", value=0.0, span=(0, 20)),
    Knob("dvm_invert", BOOLEAN, "invert", "1 for the background.", value=False),
    Knob("dvm_settings_tab", TAB, "Settings"),
    Knob(
        "dvm_server",
        STRING,
        "server",
        "tcp://HOST:PORT with the secret in $DVM_SECRET and the server's key in $DVM_SERVER_KEY, "
        "or the path of a connection file. Empty: the server that runs on this machine for you.",
        value="",
    ),
    Knob(
        "dvm_keys",
        FILE,
        "key pair",
        "Your own .key_secret file, where the server lets in known keys only.",
        value="",
    ),
    Knob(
        "dvm_travel",
        CHOICE,
        "plates and mattes",
        "automatic: by path on this machine, else they travel. by path: the server sees the same "
        "paths. travel: files are sent, and mattes come back.",
        value="automatic",
        items=("automatic", "by path", "travel"),
    ),
    Knob(
        "dvm_command",
        FILE,
        "command",
        "The program dvm, or the folder of the Python environment it is installed in, for Start "
        "Local Server. Empty: dvm on the PATH.",
        value="",
    ),
    Knob(
        "dvm_cache",
        FILE,
        "mattes",
        "Folder of all mattes. Empty: dvm/mattes beside the script.",
        value="",
    ),
    Knob(
        "dvm_cache_gb",
        INT,
        "keep at most (GB)",
        "Beyond that, mattes that were used longest ago and that this script does not show are "
        "removed. 0: never.",
        value=0,
    ),
    _button(
        "clear_cache",
        "Clear Cache",
        "Remove the mattes that no node of this script shows. Only files of ours are removed.",
        beside=False,
    ),
    Knob("dvm_cache_told", TEXT, "", "What was removed.", told=True, beside=True),
    Knob("dvm_plate_line", DIVIDER, "Plates"),
    Knob(
        "dvm_colourspace",
        STRING,
        "colourspace",
        "The server's name of the plates' colourspace. Empty: what the Read says.",
        value="",
    ),
    Knob(
        "dvm_composited_in",
        CHOICE,
        "composited in",
        "The light in which alpha mixes: automatic goes by the colourspace.",
        value="automatic",
        items=("automatic", "linear", "display"),
    ),
    Knob(
        "dvm_missing",
        CHOICE,
        "missing plates",
        "automatic: as the Read does. error: nothing is matted. hold: the last plate again. black: "
        "a black plate.",
        value="automatic",
        items=("automatic", "error", "hold", "black"),
    ),
    Knob("dvm_network_line", DIVIDER, "Network"),
    Knob(
        "dvm_checkpoint",
        FILE,
        "checkpoint",
        "Your own weights, as the server sees the path.",
        value="",
    ),
    Knob(
        "dvm_window",
        CHOICE,
        "window",
        "centred: two plates before and two after. causal: two before, for plates that still come.",
        value="centred",
        items=("centred", "causal"),
    ),
)


def find(name: str) -> Knob:
    """By its name.

    Raises:
        KeyError: there is none.
    """
    for one in KNOBS:
        if one.name == name:
            return one
    raise KeyError(name)


def buttons() -> Iterator[Knob]:
    """Those that do something."""
    return (one for one in KNOBS if one.kind == BUTTON)
