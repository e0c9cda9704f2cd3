"""Does the plug-in work in this Nuke? To be run on a seat with a licence, in about a minute.

    nuke -t smoke.py CLIP [CONNECTION]

CLIP is a folder with the sample that comes with Deep Video Matte (samples/strands: plates and
keyframe trimaps), or with any plates `NAME.####.exr` and one trimap `trimap.####.png`. CONNECTION
is a server's connection file or tcp://HOST:PORT; without it, the server of this user on this
machine is taken (start one with `dvm serve`).

It prints one line for each check and ends with 0 if all are well, else with 1. Please paste all it
prints into an issue of the project, whatever it says.
"""

import os
import platform
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

import nuke

HERE = Path(__file__).resolve().parent
FRAMES = 4
FAILED = []


def check(what):
    """A function as a check with a name: what it returns is printed beside it."""

    def wrap(function):
        def run(*given):
            began = time.time()
            try:
                said = function(*given)
            except Exception as error:  # noqa: BLE001  each check is to say what went wrong
                FAILED.append(what)
                print(f"FAILED  {what}: {type(error).__name__}: {error}", flush=True)  # noqa: T201
                traceback.print_exc()
                return None
            beside = f": {said}" if isinstance(said, str) else ""
            print(f"ok      {what} ({time.time() - began:.2f} s){beside}", flush=True)  # noqa: T201
            return said

        return run

    return wrap


def expect(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)


def read_of(pattern, number):
    """A Read of the first frames of the clip."""
    read = nuke.nodes.Read(file=pattern)
    for knob, value in (("first", number), ("last", number + FRAMES - 1)):
        read[knob].setValue(value)
        read[f"orig{knob}"].setValue(value)
    return read


@check("the plug-in can be imported")
def imported():
    if str(HERE) not in [str(Path(one).resolve()) for one in nuke.pluginPath()]:
        nuke.pluginAddPath(str(HERE))
    import msgpack
    import zmq
    from deep_video_matte.nuke import actions  # noqa: F401

    return f"pyzmq {zmq.__version__}, msgpack {'.'.join(map(str, msgpack.version))}"


@check("plates and a trimap are there")
def material(folder):
    plates = sorted(Path(folder).glob("*.exr")) or sorted(Path(folder).glob("*/*.exr"))
    numbered = [one for one in plates if re.search(r"\d+\.exr$", one.name)]
    expect(len(numbered) >= FRAMES, f"{folder} has fewer than {FRAMES} plates NAME.####.exr")
    trimaps = sorted(Path(folder).rglob("trimap*.png"))
    expect(trimaps, f"{folder} has no trimap*.png")
    number = int(re.search(r"(\d+)\.png$", trimaps[0].name).group(1))
    pattern = re.sub(
        r"\d+(?=\.exr$)", lambda one: "#" * len(one.group()), str(numbered[0].as_posix())
    )
    return pattern, number, trimaps[0]


@check("a node is made from its text, with every knob and every node in it")
def made():
    from deep_video_matte.nuke import actions, group, knobs

    node = actions.create()
    missing = [one.name for one in knobs.KNOBS if one.name not in node.knobs()]
    expect(not missing, f"knobs are missing: {missing}")
    for one in group.NODES:
        inner = node.node(one.name)
        expect(inner is not None, f"the node {one.name} is missing")
        expect(inner.Class() == one.kind, f"{one.name} is a {inner.Class()}, not a {one.kind}")
        for index, name in enumerate(one.inputs):
            above = inner.input(index)
            expect(
                above is not None and above.name() == name,
                f"input {index} of {one.name} is not {name}",
            )
        for name in one.follows:
            expect(inner[name].hasExpression(), f"{one.name}.{name} follows nothing")
    expect(int(node["dvm_version"].value()) == knobs.VERSION, "dvm_version")
    return node


@check("references between knobs work")
def references(node):
    node["dvm_edge_grow"].setValue(7)
    size = node.node("dvm_edge")["size"].getValue()
    size = size[0] if isinstance(size, (list, tuple)) else size
    expect(size == -7, f"dvm_edge.size is {size}, not -7")
    node["dvm_view"].setValue("confidence")
    which = node.node("dvm_shown")["which"].getValue()
    expect(which == 3, f"dvm_shown.which is {which}, not 3")
    node["dvm_view"].setValue("final")


@check("a Read shows the frames we think it shows")
def frame_modes(pattern, number):
    from deep_video_matte.nuke import adapter, plates

    read = read_of(pattern, number)
    told = []
    for mode, frame in (("expression", ""), ("start at", "1"), ("offset", "10")):
        read["frame_mode"].setValue(mode)
        read["frame"].setValue(frame)
        facts = adapter.read_facts(read, nuke.views())
        timing = plates.timing_of(facts.laid)
        begins = read.firstFrame()
        expect(
            begins == timing.frame(number),
            f"{mode} {frame!r}: Nuke begins at {begins}, we think at {timing.frame(number)}",
        )
        told.append(f"{mode} {begins}")
    told.append(f"colourspace {facts.colourspace!r}, working space {facts.working_space!r}")
    nuke.delete(read)
    return "; ".join(told)


@check("a keyframe is taken from the Trimap input")
def keyframe(node, pattern, number, trimap):
    from deep_video_matte.nuke import actions

    read = read_of(pattern, number)
    node.setInput(0, read)
    node.setInput(1, nuke.nodes.Read(file=trimap.as_posix()))
    nuke.frame(number)
    actions.add_keyframe(node)
    said = node["dvm_keyframe_files"].value()
    path = Path(said.split(" ", 1)[1])
    expect(path.is_file(), f"{path} was not written")
    return f"{path.stat().st_size} bytes; the list says {node['dvm_keyframes'].value()!r}"


@check("four frames are matted")
def matted(node, connection):
    from deep_video_matte.nuke import actions, showing

    node["dvm_server"].setValue(connection)
    node["dvm_layers"].setValue(True)
    actions.matte(node, wait=True)
    shown = showing.shown(node)
    expect(set(shown) >= {"alpha", "trimap", "confidence"}, f"it shows {sorted(shown)}")
    return shown["alpha"]


@check("what the node gives can be rendered, with alpha and our layers")
def rendered(node, number, folder):
    path = Path(folder) / "out.####.exr"
    write = nuke.nodes.Write(
        file=path.as_posix().replace("####", "%04d"), file_type="exr", channels="all", inputs=[node]
    )
    nuke.execute(write, number, number + FRAMES - 1, 1)
    nuke.delete(write)
    files = sorted(Path(folder).glob("out.*.exr"))
    expect(len(files) == FRAMES, f"{len(files)} files were written")
    read = nuke.nodes.Read(file=files[0].as_posix())
    named = sorted(one for one in read.channels())
    expect("rgba.alpha" in named, f"channels {named}")
    nuke.delete(read)
    return f"channels {', '.join(named)}"


@check("a frame that was not matted is an error, not black")
def not_black(node, number, folder):
    write = nuke.nodes.Write(
        file=(Path(folder) / "no.%04d.exr").as_posix(), file_type="exr", inputs=[node]
    )
    from deep_video_matte.nuke import adapter, showing

    path = Path(adapter.shown_file(node, "dvm_read_alpha").replace("####", f"{number:04d}"))
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    try:
        adapter.reload(node, "dvm_read_alpha")
        nuke.execute(write, number, number, 1)
    except RuntimeError as error:
        return f"Nuke says {str(error).strip()!r}"
    finally:
        hidden.rename(path)
        adapter.reload(node, "dvm_read_alpha")
        nuke.delete(write)
    raise AssertionError(f"frame {number} was rendered without {showing.shown(node)['alpha']}")


@check("the script can be saved and opened again, and says the same")
def reopened(node, folder):
    from deep_video_matte.nuke import showing

    before, name = showing.shown(node), node.name()
    path = (Path(folder) / "smoke.nk").as_posix()
    nuke.scriptSaveAs(path, 1)
    nuke.scriptOpen(path)
    again = nuke.toNode(name)
    expect(again is not None, f"{name} is gone")
    expect(showing.shown(again) == before, f"{showing.shown(again)} is not {before}")
    for line in Path(path).read_text().splitlines():
        if "add_layer {dvm" in line:
            return line.strip()
    return "no add_layer line for dvm in the script"


def main(arguments):
    if not arguments:
        print(__doc__)  # noqa: T201
        return 2
    print(  # noqa: T201
        f"Nuke {nuke.NUKE_VERSION_STRING}, Python {platform.python_version()}, "
        f"{platform.platform()}, OCIO {os.environ.get('OCIO', '(not set)')}"
    )
    connection = arguments[1] if len(arguments) > 1 else ""
    with tempfile.TemporaryDirectory() as folder:
        # Beside a saved script, so that nothing is written into the user's own folder.
        nuke.scriptSaveAs((Path(folder) / "smoke.nk").as_posix(), 1)
        imported()
        found = material(arguments[0])
        node = None if FAILED else made()
        if not FAILED:
            pattern, number, trimap = found
            references(node)
            frame_modes(pattern, number)
            keyframe(node, pattern, number, trimap)
        if not FAILED:
            matted(node, connection)
        if not FAILED:
            rendered(node, number, folder)
            not_black(node, number, folder)
            reopened(node, folder)
        from deep_video_matte.nuke import live

        live.end()
    print(f"{len(FAILED)} checks failed" if FAILED else "all is well")  # noqa: T201
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
