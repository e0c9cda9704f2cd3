"""The fake Nuke itself: what it refuses, and what it keeps, as real Nuke does."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from tests.hosts.fake_nuke import control

import nuke  # isort: skip  control puts it on the path


@pytest.fixture(autouse=True)
def session():
    control.reset()
    yield
    control.reset()


@pytest.fixture
def gui():
    control.set_gui(True)


def picture(width=6, height=4, **channels):
    """A picture of one value a channel, ``red=0.5`` of rgba or ``dvm__alpha=1``."""
    made = control.Picture(width, height)
    for name, value in channels.items():
        name = name.replace("__", ".") if "__" in name else f"rgba.{name}"
        made.channels[name] = [float(value)] * (width * height)
    return made


def read_node(tmp_path, frames=(1, 2, 3), **channels):
    """A Read of pictures; red is a tenth of the frame unless told otherwise."""
    for frame in frames:
        given = channels or {"red": frame / 10, "green": 0.25, "blue": 0.125}
        control.write_picture(picture(**given), tmp_path / f"plate.{frame:04d}.exr")
    node = nuke.nodes.Read()
    node["file"].fromUserText(f"{tmp_path.as_posix()}/plate.####.exr {frames[0]}-{frames[-1]}")
    return node


def write_node(above, path, **knobs):
    node = nuke.nodes.Write(inputs=[above])
    node["file_type"].setValue("exr")
    node["file"].setValue(path)
    for name, value in knobs.items():
        node[name].setValue(value)
    return node


def test_what_nuke_lacks_is_not_there():
    node = nuke.nodes.NoOp()
    for ask in (lambda: nuke.nope, lambda: node.nope, lambda: node["label"].nope):
        with pytest.raises(AttributeError):
            ask()
    with pytest.raises(AttributeError):
        node.mine = 1
    with pytest.raises(NameError):
        node["nope"]
    assert node.knob("nope") is None
    with pytest.raises(RuntimeError):
        nuke.createNode("Nope")


# Threads.


def in_thread(work):
    caught = []

    def run():
        try:
            caught.append(work())
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, caught


def test_only_the_main_thread_may_call():
    node = nuke.nodes.NoOp()
    knob = node["label"]
    for work in (
        nuke.root,
        node.name,
        knob.value,
        lambda: nuke.Int_Knob("a"),
        lambda: node["label"],
    ):
        thread, caught = in_thread(work)
        thread.join(5)
        assert isinstance(caught[0], RuntimeError)
    assert len(control.faults) == 5
    for call in (nuke.executeInMainThread, nuke.executeInMainThreadWithResult):
        with pytest.raises(RuntimeError):
            call(lambda: None)


def test_queued_calls_run_in_order_in_the_main_thread():
    order = []

    def work():
        nuke.executeInMainThread(order.append, (1,))
        nuke.executeInMainThread(order.append, 2)
        return nuke.executeInMainThreadWithResult(lambda a, b: (a, b, nuke.frame()), (3,), {"b": 4})

    thread, caught = in_thread(work)
    control.run_until(lambda: caught)
    thread.join(5)
    assert (order, caught, control.faults) == ([1, 2], [(3, 4, 1)], [])


def test_a_queued_call_that_raises_gives_none_and_is_a_fault():
    thread, caught = in_thread(lambda: nuke.executeInMainThreadWithResult(lambda: 1 / 0))
    control.run_until(lambda: caught)
    thread.join(5)
    assert caught == [None]
    assert isinstance(control.faults[0], ZeroDivisionError)


def test_calls_cost_and_are_timed():
    node = nuke.nodes.NoOp()
    control.forget_times()
    control.cost = 0.01
    control.call(lambda: [node.name() for _ in range(5)])
    control.cost = 0.0
    assert control.calls == 5
    assert 0.05 <= control.longest < 1


# Nodes.


def test_a_node_is_equal_to_itself_and_dies():
    node = nuke.nodes.Blur(name="Soft")
    knob = node["size"]
    assert nuke.toNode("Soft") == node
    assert nuke.toNode("Soft") is not node
    assert len({node, nuke.toNode("Soft")}) == 1
    nuke.delete(node)
    assert nuke.toNode("Soft") is None
    for call in (node.name, node.Class, lambda: node["size"], knob.value, lambda: knob.setValue(1)):
        with pytest.raises(ValueError, match="not attached"):
            call()


def test_names_are_one_of_a_group():
    first, second = nuke.nodes.Blur(), nuke.nodes.Blur()
    assert (first.name(), second.name(), nuke.nodes.Merge2().name()) == ("Blur1", "Blur2", "Merge1")
    second.setName("Blur1")
    assert second.name() == "Blur2"
    group = nuke.nodes.Group()
    with group:
        inner = nuke.nodes.Blur()
        assert nuke.thisGroup() == group
        assert nuke.toNode("Blur1") == inner
    assert inner.fullName() == "Group1.Blur1"
    assert nuke.toNode("Blur1") == first
    assert nuke.toNode("Group1.Blur1") == inner
    assert group.node("Blur1") == inner
    assert nuke.allNodes("Blur") == [second, first]
    assert len(nuke.allNodes("Blur", recurseGroups=True)) == 3
    assert nuke.allNodes("Blur", group) == [inner]
    nuke.delete(group)
    with pytest.raises(ValueError, match="not attached"):
        inner.name()


def test_inputs():
    one, two, copy = nuke.nodes.Constant(), nuke.nodes.Dot(), nuke.nodes.Copy()
    assert copy.setInput(1, one)
    assert (copy.input(0), copy.input(1), copy.inputs()) == (None, one, 2)
    assert two.setInput(0, copy)
    assert not copy.setInput(0, two), "a circle"
    assert not one.setInput(0, two), "a node without inputs"
    assert one.dependent() == [copy]
    assert copy.dependencies() == [one]
    group = nuke.nodes.Group()
    assert not group.setInput(0, one), "a group has as many inputs as Input nodes"
    with group:
        nuke.nodes.Input()
    assert group.setInput(0, one)
    nuke.delete(one)
    assert copy.input(1) is None


# Knobs.


def test_values_are_as_strict_as_in_nuke():
    group = nuke.nodes.Group()
    for knob in (
        nuke.Tab_Knob("dvm", "Matte"),
        nuke.Int_Knob("number", "Number"),
        nuke.Boolean_Knob("flag", "Flag", True),
        nuke.Enumeration_Knob("mode", "Mode", ["a", "b c"]),
        nuke.String_Knob("text", "Text"),
        nuke.XY_Knob("point", "Point"),
    ):
        group.addKnob(knob)
    assert group["flag"].value() is True
    group["number"].setValue(7)
    assert group["number"].value() == 7
    assert isinstance(group["number"].getValue(), float)
    group["mode"].setValue(1)
    assert (group["mode"].value(), group["mode"].getValue()) == ("b c", 1.0)
    group["mode"].setValues(["x", "b c"])
    assert group["mode"].value() == "b c"
    group["point"].setValue([1, 2])
    assert group["point"].value() == [1, 2]
    for name, bad in (("mode", "nope"), ("mode", 2), ("text", 3), ("number", "7")):
        with pytest.raises(TypeError):
            group[name].setValue(bad)
    with pytest.raises(TypeError):
        nuke.nodes.Copy()["from0"].setValue("dvm.alpha")
    nuke.Layer("dvm", ["dvm.alpha"])
    nuke.nodes.Copy()["from0"].setValue("dvm.alpha")
    assert "dvm" in nuke.layers()
    assert "dvm.alpha" in nuke.channels()


def test_flags():
    knob = nuke.Int_Knob("number")
    knob.setFlag(nuke.INVISIBLE)
    assert not knob.visible()
    knob.setVisible(True)
    assert not knob.getFlag(nuke.INVISIBLE)
    knob.setEnabled(False)
    assert knob.getFlag(nuke.DISABLED)


def test_knobs_of_a_file_type_come_with_it():
    node = nuke.nodes.Write()
    with pytest.raises(NameError):
        node["datatype"]
    node["file_type"].setValue("exr")
    assert node["datatype"].value() == "16 bit half"
    node["compression"].setValue("Zip (16 scanlines)")
    node["file_type"].setValue("png")
    assert "16 bit half" not in node["datatype"].values()
    with pytest.raises(NameError):
        node["autocrop"]


def test_a_read_takes_its_range_from_user_text_only():
    node = nuke.nodes.Read()
    node["file"].setValue("/x/plate.####.exr")
    assert (node["first"].value(), node["last"].value()) == (1, 1)
    node["file"].fromUserText("/x/plate.####.exr 11-20")
    assert (node["first"].value(), node["origlast"].value()) == (11, 20)
    assert node["file"].value() == "/x/plate.####.exr"
    assert node["localizationPolicy"].value() == "fromAutoLocalizePath"
    node["localizationPolicy"].setValue("off")


def test_file_names_are_worked_out(tmp_path, monkeypatch):
    nuke.scriptSaveAs(str(tmp_path / "shot_v01.nk"))
    monkeypatch.setenv("SHOW", "show")
    control.set_views(["left", "right"])
    knob = nuke.nodes.Read(name="Plate")["file"]
    knob.setValue("[file dirname [value root.name]]/[getenv SHOW]/[value this.name]_%V_%v.####.exr")
    folder = tmp_path.as_posix()
    assert knob.evaluate(7) == f"{folder}/show/Plate_left_l.0007.exr"
    context = nuke.OutputContext()
    context.setView(context.viewFromName("right"))
    assert knob.getEvaluatedValue(context) == f"{folder}/show/Plate_right_r.%04d.exr"
    knob.setValue("[file rootname [file tail [value root.name]]]")
    assert knob.evaluate() == "shot_v01"
    for bad in ("[python {1}]", "[value Nope.file]"):
        knob.setValue(bad)
        with pytest.raises(RuntimeError):
            knob.evaluate()


def test_buttons_run_their_text():
    node = nuke.nodes.NoOp()
    node.addKnob(
        nuke.PyScript_Knob("go", "Go", "nuke.thisNode()['label'].setValue(nuke.thisKnob().name())")
    )
    control.press(node, "go")
    assert node["label"].value() == "go"
    assert node["go"].command() == node["go"].value()
    read = nuke.nodes.Read()
    read["reload"].execute()
    assert control.reloads == {"Read1": 1}


# Callbacks.


def test_knob_changed_is_for_changes_in_a_user_interface():
    seen = []

    def changed():
        seen.append((nuke.thisNode().name(), nuke.thisKnob().name()))
        nuke.thisNode()["icon"].setValue("other")  # not told: from inside of its own callback

    nuke.addKnobChanged(changed, nodeClass="Blur")
    nuke.addKnobChanged(changed, nodeClass="Blur")
    node = nuke.nodes.Blur()
    node["label"].setValue("a")
    assert seen == []
    control.set_gui(True)
    node["label"].setValue("a")
    assert seen == []
    node["label"].setValue("b")
    node.setInput(0, nuke.nodes.Dot())
    assert seen == [("Blur1", "label"), ("Blur1", "inputChange")]
    nuke.removeKnobChanged(changed, nodeClass="Blur")
    node["label"].setValue("c")
    assert len(seen) == 2


def test_callbacks_may_not_render_and_their_errors_are_faults(gui, tmp_path):
    write = write_node(nuke.nodes.Constant(), f"{tmp_path.as_posix()}/a.exr")
    nuke.addKnobChanged(lambda: nuke.execute("Write1", 1, 1), node=write)
    write["label"].setValue("x")
    assert "callback" in str(control.faults[0])


def test_create_and_destroy():
    seen = []
    nuke.addOnCreate(lambda: seen.append(("+", nuke.thisNode().name())), nodeClass="Group")
    nuke.addOnDestroy(lambda: seen.append(("-", nuke.thisNode().name())), nodeClass="Group")
    nuke.delete(nuke.nodes.Group())
    nuke.nodes.Group()
    nuke.scriptClear()
    assert seen == [("+", "Group1"), ("-", "Group1")] * 2


# Scripts.


def build_group():
    group = nuke.nodes.Group(name="DVM1")
    for knob in (
        nuke.Tab_Knob("dvm", "Deep Video Matte"),
        nuke.String_Knob("dvm_text", "A [text]"),
        nuke.Int_Knob("dvm_number", "Number"),
        nuke.Boolean_Knob("dvm_flag", ""),
        nuke.Enumeration_Knob("dvm_mode", "Mode", ["a", "b c"]),
        nuke.Double_Knob("dvm_mix"),
        nuke.File_Knob("dvm_file", "File"),
        nuke.Multiline_Eval_String_Knob("dvm_lines", "Lines"),
        nuke.PyScript_Knob("dvm_go", "Go", 'print({"a": [1]})\nprint("$x")'),
        nuke.String_Knob("dvm_lost", "Lost"),
        nuke.Tab_Knob("dvm_more", "More", nuke.TABBEGINCLOSEDGROUP),
        nuke.Text_Knob("dvm_note", "", "a note"),
        nuke.Tab_Knob("dvm_end", "", nuke.TABENDGROUP),
    ):
        group.addKnob(knob)
    group["dvm_text"].setTooltip('what "it" is\nin {two} lines')
    group["dvm_text"].setValue('a "quoted" [value x] $y \\ {z}\nline')
    group["dvm_number"].setValue(-3)
    group["dvm_flag"].setValue(True)
    group["dvm_flag"].setFlag(nuke.STARTLINE)
    group["dvm_mode"].setValue("b c")
    group["dvm_mix"].setValue(0.1)
    group["dvm_file"].setValue("[file dirname [value root.name]]/a b.####.exr")
    group["dvm_lines"].setValue("1\n2")
    group["dvm_lost"].setFlag(nuke.DO_NOT_WRITE)
    group["dvm_lost"].setValue("gone")
    with group:
        source, key = nuke.nodes.Input(name="Source"), nuke.nodes.Input(name="Key")
        copy = nuke.nodes.Copy(inputs=[source, key])
        grade = nuke.nodes.Grade(inputs=[copy])
        grade["disable"].setExpression("!parent.dvm_flag")
        grade["multiply"].setValue([1, 2, 3, 4])
        nuke.nodes.Output(inputs=[grade])
    return group


def knob_texts(node):
    return {name: knob.toScript() for name, knob in node.knobs().items()}


def test_a_script_comes_back_as_it_was(tmp_path):
    nuke.Layer("dvm", ["dvm.alpha", "dvm.trimap"])
    plate = nuke.nodes.Constant(name="Plate")
    group = build_group()
    group.setInput(1, plate)
    nuke.nodes.Dot(inputs=[group])
    group.setXYpos(10, -20)
    path = str(tmp_path / "a.nk")
    nuke.scriptSaveAs(path)
    assert not nuke.root().modified()
    text = (tmp_path / "a.nk").read_text()
    before = {one.fullName(): knob_texts(one) for one in nuke.allNodes(recurseGroups=True)}
    created, loaded = [], []
    nuke.addOnCreate(lambda: created.append(nuke.thisNode().name()))
    nuke.addOnScriptLoad(lambda: loaded.append(nuke.root().name()))
    nuke.scriptOpen(path)
    assert control.load_errors == []
    after = {one.fullName(): knob_texts(one) for one in nuke.allNodes(recurseGroups=True)}
    before["DVM1"]["dvm_lost"] = ""
    for name, texts in before.items():
        assert after[name] == texts
    assert len(after) == len(before)
    assert "dvm.trimap" in nuke.channels()
    with pytest.raises(ValueError, match="not attached"):
        group.name()
    group = nuke.toNode("DVM1")
    assert (group.input(0), group.input(1)) == (None, nuke.toNode("Plate"))
    assert nuke.toNode("Dot1").input(0) == group
    assert group["dvm_text"].tooltip() == 'what "it" is\nin {two} lines'
    assert group["dvm_flag"].getFlag(nuke.STARTLINE)
    assert group["dvm_go"].command() == 'print({"a": [1]})\nprint("$x")'
    assert group["dvm_note"].value() == "a note"
    assert group.node("Copy1").input(1) == group.node("Key")
    assert group.node("Grade1")["disable"].value() is False
    assert sorted(created) == sorted(
        ["Plate", "Source", "Key", "Copy1", "Grade1", "Output1", "DVM1", "Dot1"]
    )
    assert loaded == [path]
    nuke.scriptSave()
    again = (tmp_path / "a.nk").read_text()
    assert len(again.splitlines()) == len(text.splitlines())


def test_closing_is_told_unless_there_is_nothing(tmp_path):
    seen = []
    nuke.addOnScriptClose(lambda: seen.append(len(nuke.allNodes())))
    nuke.scriptClear()
    assert seen == []
    nuke.nodes.Dot()
    nuke.scriptSaveAs(str(tmp_path / "a.nk"))
    nuke.scriptOpen(str(tmp_path / "a.nk"))
    assert seen == [1]


def test_copies_are_nodes_of_their_own(tmp_path):
    group = build_group()
    group.selectOnly()
    nuke.nodeCopy(str(tmp_path / "clip"))
    nuke.nodePaste(str(tmp_path / "clip"))
    copy = nuke.toNode("DVM2")
    assert copy["dvm_number"].value() == -3
    copy["dvm_number"].setValue(5)
    assert group["dvm_number"].value() == -3
    assert nuke.selectedNodes() == [copy]


def test_unknown_classes_and_knobs_are_told():
    nuke.scriptReadText("Gizmo7 {\n inputs 0\n name G\n}\nDot {\n name D\n nope 1\n}\n")
    assert control.load_errors == ["Gizmo7: Unknown command", 'D: no such knob: "nope"']
    assert nuke.toNode("D") is not None


def test_text_of_a_real_script():
    nuke.scriptReadText(
        """set cut_paste_input [stack 0]
version 14.0 v5
push $cut_paste_input
Group {
 name Matte
 selected true
 xpos 100
 addUserKnob {20 User}
 addUserKnob {4 mode l "the mode" t "a tip" M {one "two three" ""}}
 mode "two three"
 addUserKnob {7 size R 0 10}
 size 2.5
 addUserKnob {22 go l Go -STARTLINE T "print \\"x\\"\\nprint \\{\\}"}
}
 Input {
  inputs 0
  name Input1
 }
 Blur {
  size {{parent.size}}
  name Blur1
 }
 Output {
  name Output1
 }
end_group
"""
    )
    assert control.load_errors == []
    group = nuke.toNode("Matte")
    assert group["mode"].value() == "two three"
    assert group["go"].value() == 'print "x"\nprint {}'
    assert group.node("Blur1")["size"].value() == 2.5
    assert group.output().input(0) == group.node("Blur1")


# Undo, tasks, menus.


def test_undo():
    node = nuke.nodes.NoOp()
    node["label"].setValue("a")
    assert control.undo_log[-1] == ("NoOp1", "label", "a")
    nuke.root().setModified(False)
    count = len(control.undo_log)
    nuke.Undo.disable()
    node["label"].setValue("b")
    assert (control.undo_depth, len(control.undo_log)) == (1, count)
    assert nuke.root().modified()
    nuke.Undo.enable()
    with pytest.raises(RuntimeError):
        nuke.Undo.enable()


def test_a_task_goes_with_its_object():
    task = nuke.ProgressTask("Matte")
    task.setProgress(50)
    for bad in (101, -1, 0.5):
        with pytest.raises((TypeError, ValueError)):
            task.setProgress(bad)
    assert not task.isCancelled()
    control.press_cancel(control.tasks[0])
    assert task.isCancelled()
    del task
    gc.collect()
    assert control.tasks == []


def test_menus_and_start_up(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError):
        nuke.menu("Nodes")
    (tmp_path / "init.py").write_text("import nuke\nnuke.tprint('init', __file__)\n")
    (tmp_path / "menu.py").write_text(
        "import nuke\nmenu = nuke.menu('Nodes').addMenu('DVM', icon='a.png')\n"
        "menu.addCommand('Make', 'nuke.createNode(\"NoOp\")', 'ctrl+m')\n"
    )
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    nuke.pluginAddPath(str(tmp_path))
    assert control.printed == [f"init {tmp_path / 'init.py'}"]
    assert nuke.pluginPath() == [str(tmp_path)]
    control.start_gui()
    assert nuke.GUI
    assert nuke.env["gui"]
    control.run_menu("Nodes", "DVM/Make")
    assert nuke.toNode("NoOp1").isSelected()
    assert nuke.menu("Nodes").findItem("DVM/Nope") is None


# Pictures.


def test_a_read_finds_its_frame(tmp_path):
    node = read_node(tmp_path, frames=(1, 2, 4))

    def red(frame):
        return round(control.render(node, frame).at("rgba.red", 0, 0), 4)

    assert (red(1), red(2), red(0), red(9)) == (0.1, 0.2, 0.1, 0.4)
    with pytest.raises(RuntimeError, match=r"plate\.0003"):
        control.render(node, 3)
    assert not node.hasError()
    nuke.frame(3)
    assert node.hasError()
    node["on_error"].setValue("black")
    assert red(3) == 0
    node["on_error"].setValue("nearest frame")
    assert red(3) in (0.2, 0.4)
    node["before"].setValue("black")
    assert red(0) == 0
    node["after"].setValue("loop")
    assert red(5) == 0.1
    node["frame_mode"].setValue("start at")
    node["frame"].setValue("1001")
    assert (red(1001), node.firstFrame(), node.lastFrame()) == (0.1, 1001, 1004)
    node["frame_mode"].setValue("offset")
    node["frame"].setValue("10")
    assert red(12) == 0.2
    node["frame_mode"].setValue("expression")
    node["frame"].setValue("frame-10")
    assert red(12) == 0.2
    assert (node.width(), node.height(), node.channels()[0]) == (6, 4, "rgba.red")


def test_channels_of_files(tmp_path):
    assert read_node(tmp_path, (1,), alpha=1).channels() == ["rgba.alpha"]
    both = {"red": 1, "green": 1, "blue": 1, "dvm__trimap": 0.5}
    node = read_node(tmp_path, (2,), **both)
    assert control.render(node, 2).at("dvm.trimap", 5, 3) == 0.5
    assert "dvm" in nuke.layers()


def test_what_is_written_is_what_was_shown(tmp_path):
    nuke.Layer("dvm", ["dvm.alpha"])
    plate = read_node(tmp_path)
    box = nuke.nodes.Crop(inputs=[plate], box="1 1 5 3")
    out = f"{tmp_path.as_posix()}/out/[value this.name].%04d.exr"
    node = write_node(box, out, channels="rgba", datatype="32 bit float", raw=True)
    with pytest.raises(RuntimeError, match="No such file"):
        nuke.execute(node, 1, 2)
    node["create_directories"].setValue(True)
    nuke.execute(node.name(), 1, 3, 2)
    assert [(one["frame"], one["raw"]) for one in control.written] == [(1, True), (3, True)]
    again = nuke.nodes.Read()
    again["file"].fromUserText(f"{tmp_path.as_posix()}/out/Write1.####.exr 1-3")
    shown = control.render(again, 3)
    assert (shown.width, shown.height, shown.bbox) == (6, 4, (1, 1, 5, 3))
    assert shown.at("rgba.red", 1, 1) == pytest.approx(0.3)
    assert shown.at("rgba.red", 0, 0) == 0
    assert (again.bbox().x(), again.bbox().y(), again.bbox().w(), again.bbox().h()) == (1, 1, 4, 2)
    nuke.root()["proxy"].setValue(True)
    nuke.execute(node, nuke.FrameRanges("3"))
    assert control.render(again, 3).width == 3


def test_rendering_refuses_and_fails(tmp_path):
    node = write_node(nuke.nodes.Constant(format="8 8 1"), f"{tmp_path.as_posix()}/a.%04d.exr")
    with pytest.raises(RuntimeError, match="not a Write"):
        nuke.execute("Constant1", 1, 1)
    control.fail_execute = "disk full"
    with pytest.raises(RuntimeError, match="disk full"):
        nuke.execute(node, 1, 1)
    control.fail_execute = ""
    control.cancel_execute = True
    with pytest.raises(RuntimeError, match="Cancelled"):
        nuke.execute(node, 1, 1)
    control.cancel_execute = False
    nuke.addBeforeRender(lambda: nuke.execute(node, 1, 1))
    nuke.execute(node, 1, 1)
    assert "already executing" in str(control.faults[0])
    node["channels"].setValue("depth")
    with pytest.raises(RuntimeError, match="channels"):
        nuke.execute(node, 1, 1)


def test_views_are_rendered_apart(tmp_path):
    control.set_views(["left", "right"])
    left, right = nuke.nodes.Constant(format="4 4 1"), nuke.nodes.Constant(format="4 4 1")
    right["color"].setValue(1)
    node = write_node(nuke.nodes.JoinViews(inputs=[left, right]), f"{tmp_path.as_posix()}/%V.exr")
    nuke.execute(node, 1, 1, 1, ["right"])
    assert [one["path"].rsplit("/", 1)[1] for one in control.written] == ["right.exr"]
    nuke.execute(node, 1, 1)
    assert len(control.written) == 3
    assert control.render(node, 1, "right").at("rgba.red", 0, 0) == 1


def test_nodes_compute(tmp_path):
    plate = read_node(tmp_path, (1,), red=0.5, green=0.25, blue=1, alpha=0.5)
    key = nuke.nodes.Constant(channels="alpha", format="6 4 1")
    key["color"].setValue(0.75)

    def value(node, channel="rgba.red"):
        return control.render(node, 1).at(channel, 2, 2)

    copy = nuke.nodes.Copy(inputs=[plate, key], from0="alpha", to0="alpha")
    assert (value(copy), value(copy, "rgba.alpha")) == (0.5, 0.75)
    assert value(nuke.nodes.Premult(inputs=[plate])) == 0.25
    assert value(nuke.nodes.Invert(inputs=[plate])) == 0.5
    grade = nuke.nodes.Grade(inputs=[plate], channels="alpha")
    grade["blackpoint"].setValue(0.25)
    grade["whitepoint"].setValue(0.75)
    assert (value(grade), value(grade, "rgba.alpha")) == (0.5, 0.5)
    merge = nuke.nodes.Merge2(inputs=[plate, key], operation="max", Achannels="alpha")
    merge["Bchannels"].setValue("alpha")
    merge["output"].setValue("alpha")
    assert value(merge, "rgba.alpha") == 0.75
    expression = nuke.nodes.Expression(inputs=[plate])
    expression["expr0"].setValue("(r >= 0.5 && !(g > rgba.red)) ? b * 2 - 1 / 2 : 0")
    assert value(expression) == 1.5
    switch = nuke.nodes.Switch(inputs=[plate, key])
    switch["which"].setValue(1)
    assert value(switch, "rgba.alpha") == 0.75
    switch["disable"].setValue(True)
    assert value(switch, "rgba.alpha") == 0.5
    (tmp_path / "more").mkdir()
    later = nuke.nodes.TimeOffset(inputs=[read_node(tmp_path / "more")])
    later["time_offset"].setValue(2)
    assert control.render(later, 4).at("rgba.red", 0, 0) == pytest.approx(0.2)
    box = nuke.nodes.Crop(inputs=[plate], box="2 0 4 4")
    eroded = nuke.nodes.FilterErode(inputs=[nuke.nodes.BlackOutside(inputs=[box])])
    eroded["size"].setValue(-1)
    assert value(eroded, "rgba.alpha") == 0.5
    with pytest.raises(NotImplementedError):
        control.render(nuke.nodes.Shuffle2(inputs=[plate]), 1)


def test_a_group_renders_from_its_inputs_and_knobs(tmp_path):
    group = build_group()
    group.setInput(0, read_node(tmp_path, (1,), red=0.25, green=0.25, blue=0.25))
    key = nuke.nodes.Constant(channels="alpha", format="6 4 1")
    key["color"].setValue(1)
    group.setInput(1, key)
    shown = control.render(group, 1)
    assert (shown.at("rgba.green", 1, 1), shown.at("rgba.alpha", 1, 1)) == (0.5, 1)
    group["dvm_flag"].setValue(False)
    assert control.render(group, 1).at("rgba.green", 1, 1) == 0.25
    before = group.opHashes()
    group.node("Grade1")["gamma"].setValue(2)
    assert group.opHashes() != before
    group.node("Grade1")["gamma"].setExpression("frame * 2")
    group["dvm_flag"].setValue(True)
    with pytest.raises(NotImplementedError):
        control.render(group, 1)


def test_what_waits_is_let_go_at_a_reset():
    thread, caught = in_thread(lambda: nuke.executeInMainThreadWithResult(nuke.root))
    end = time.monotonic() + 5
    while not control.pending() and time.monotonic() < end:
        time.sleep(0.01)
    control.reset()
    thread.join(5)
    assert caught == [None]
