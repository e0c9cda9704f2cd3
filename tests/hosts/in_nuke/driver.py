"""Nuke as `tests.hosts.contract` drives a host: by nodes, knobs and buttons, as people do."""

from __future__ import annotations

import threading
from pathlib import Path

import nuke
from deep_video_matte.nuke import live, showing, sources

from host_plugins.client.outputs import output_path
from tests.hosts.contract import Told


class Nuke:
    """A saved script with the plug-in at work. A node is known by its name."""

    def __init__(self, control, folder: Path):
        self.control, self.folder = control, folder
        self._where, self._by_value = "", False
        nuke.scriptSaveAs(str(folder / "shot.nk"), 1)

    def node(self, name):
        found = nuke.toNode(name)
        assert found is not None, name
        return found

    def press(self, name, button):
        self.control.press(self.node(name), f"dvm_{button}")
        if button.endswith("_keyframe") or button == "suggest":
            key = self.node(name)["dvm_uid"].value()
            self.control.run_until(lambda: not live.live().pending(key), 10)

    def connect_to(self, where, *, by_value=False):
        self._where, self._by_value = where, by_value

    def new_read(self, pattern, first, last):
        read = nuke.nodes.Read(file=str(pattern))
        for name, number in (("first", first), ("last", last)):
            read[name].setValue(number)
            read[f"orig{name}"].setValue(number)
        read["raw"].setValue(True)
        return read

    def new_node(self, pattern, first, last):
        for one in nuke.allNodes():
            one.setSelected(False)
        read = self.new_read(pattern, first, last)
        read.setSelected(True)
        self.control.run_menu("Nodes", "Deep Video Matte/DeepVideoMatte")
        node = nuke.selectedNode()
        assert node.input(0) == read
        node["dvm_server"].setValue(self._where)
        node["dvm_travel"].setValue("travel" if self._by_value else "by path")
        return node.name()

    def add_keyframe(self, node, plate, trimap):
        painted = nuke.nodes.Read(file=str(trimap))
        self.node(node).setInput(1, painted)
        nuke.frame(self.frame_of(node, plate))
        self.press(node, "add_keyframe")

    def frame_of(self, node, plate):
        return sources.frame_of(plate, sources.at_once(sources.source_now(self.node(node))))

    def keyframes(self, node):
        said = self.node(node)["dvm_keyframe_files"].value()
        return [int(line.split()[0]) for line in said.splitlines()]

    def set_option(self, node, name, value):
        ours = self.node(node)
        if name == "start":
            read = ours.input(0)
            read["frame_mode"].setValue("start at")
            read["frame"].setValue(str(value))
            self.idle()
        elif name == "network":
            knob = ours["dvm_network"]
            knob.setValues([*knob.values(), value])
            knob.setValue(value)
        else:
            ours[f"dvm_{name}"].setValue(value)

    def set_guide(self, node, name, pattern):
        self.node(node)[f"dvm_{name}"].setValue(str(pattern))

    def run(self, node, what):
        self.press(node, what)
        self.control.run_events(0.02)

    def cancel(self, node):
        self.press(node, "cancel")

    def told(self, node):
        self.control.run_events(0.02)
        key = self.node(node)["dvm_uid"].value()
        state = live.live().state(key)
        busy = live.live().pending(key)
        return Told(state.text, state.hint, state.failed, busy, state.arrived, state.total)

    def idle(self, seconds=10.0):
        self.control.run_until(lambda: not live.live().busy(), seconds)

    def doubts(self, node):
        return live.live().state(self.node(node)["dvm_uid"].value()).doubts

    def files(self, node, plate):
        return {
            layer: output_path(pattern, plate)
            for layer, pattern in showing.shown(self.node(node)).items()
        }

    def render(self, node, plate, folder):
        """Each output to a file, as a Write below the node would get it."""
        ours, frame = self.node(node), self.frame_of(node, plate)
        folder.mkdir(parents=True, exist_ok=True)
        ours["dvm_layers"].setValue(True)
        picture = self.control.render(ours, frame)
        found = {}
        for name, channels in {
            "Image": ("rgba.red", "rgba.green", "rgba.blue"),
            "Alpha": ("rgba.alpha",),
            "Trimap": ("dvm.trimap",),
            "Confidence": ("dvm.confidence",),
        }.items():
            one = self.control.Picture(picture.width, picture.height)
            one.bbox = picture.bbox
            for source, target in zip(
                channels, channels[:3] if len(channels) > 1 else ("rgba.alpha",)
            ):
                one.channels[target] = picture.channels[source]
            found[name] = folder / f"{name}.{plate}.exr"
            self.control.write_picture(one, found[name])
        return found

    def copy(self, node):
        for one in nuke.allNodes():
            one.setSelected(False)
        ours = self.node(node)
        ours.setSelected(True)
        clipboard = str(self.folder / "clipboard.nk")
        nuke.nodeCopy(clipboard)
        ours.setSelected(False)
        copy = nuke.nodePaste(clipboard)
        for index in range(2):
            copy.setInput(index, ours.input(index))
        return copy.name()

    def save_and_open_again(self, node, folder):
        path = nuke.root().name()
        nuke.scriptSave()
        nuke.scriptOpen(path)
        self.idle()  # whose each uid is comes first, then what files know
        return node

    def clear_cache(self):
        name = next(one.name() for one in nuke.allNodes("Group") if one.knob("dvm_version"))
        self.press(name, "clear_cache")
        self.control.run_until(lambda: not live.live().cleared.startswith("clearing"), 10)
        return live.live().cleared

    def forget(self, node):
        nuke.delete(self.node(node))

    def close(self):
        nuke.scriptClear()
        live.end()
        return [one.name for one in threading.enumerate() if "dvm" in one.name.lower()]
