"""Blender as `tests.hosts.contract` drives a host: by operators and properties, as people do."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import bpy

from host_plugins.blender import adapter, group, live, preferences, shots
from host_plugins.client.outputs import output_path
from tests.hosts.contract import Told


class Blender:
    """A new scene with the add-on in it. A node is named by the uid of its shot."""

    def __init__(self, folder: Path):
        import host_plugins.blender as addon

        self._addon = addon
        bpy.ops.wm.read_factory_settings(use_empty=True)
        addon.register()
        self._closed = False
        self._options = preferences.current
        self._set = preferences.Options()
        preferences.current = lambda: self._set
        scene = bpy.context.scene
        # A new tree has Render Layers, which want a camera.
        adapter.scene_tree(scene, make=True).nodes.clear()
        adapter.ensure_output(scene)
        # The .blend is saved, as an artist's is: mattes go beside it.
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))

    def connect_to(self, where, *, by_value=False):
        self._set = preferences.Options(server=where, travel="FILES" if by_value else "PATHS")

    def new_node(self, pattern, first, last):
        clip = bpy.data.movieclips.load(str(output_path(str(pattern), first)))
        assert bpy.ops.dvm.add_node() == {"FINISHED"}
        tree = adapter.active_tree(bpy.context)
        tree.dvm.clip = clip
        return tree.dvm.uid

    def tree(self, node):
        return adapter.tree_of(node)

    def add_keyframe(self, node, plate, trimap):
        name = self.tree(node).name
        bpy.ops.dvm.keyframe_add(tree=name, filepath=str(trimap), frame=plate)

    def keyframes(self, node):
        return [one.frame for one in self.tree(node).dvm.keyframes]

    def set_option(self, node, name, value):
        tree = self.tree(node)
        if name == "start":
            tree.dvm.clip.frame_start = value
            bpy.ops.dvm.update(tree=tree.name)
        else:
            setattr(tree.dvm, {"foreground": "use_foreground"}.get(name, name), value)

    def set_guide(self, node, name, pattern):
        setattr(self.tree(node).dvm, name, str(output_path(str(pattern), 1001)))

    def run(self, node, what):
        try:
            bpy.ops.dvm.run(tree=self.tree(node).name, what=what)
        except RuntimeError as error:  # what an operator reports as an error, scripts get as this
            self._said = str(error)

    def cancel(self, node):
        bpy.ops.dvm.cancel(tree=self.tree(node).name)

    def told(self, node):
        live.live().pump()
        state, busy = live.live().state(node), live.live().pending(node)
        return Told(state.text, state.hint, state.failed, busy, state.arrived, state.total)

    def doubts(self, node):
        return live.live().state(node).doubts

    def files(self, node, plate):
        shown = group.shown(self.tree(node))
        return {
            layer: output_path(str(path.parent / "alpha.####.exr"), plate, layer)
            for layer, path in shown.items()
        }

    def render(self, node, plate, folder):
        """Through the scene's compositor, each output to a file."""
        scene = bpy.context.scene
        tree = self.tree(node)
        frame = shots.source_of(tree).timing.frame(plate)
        inside = adapter.scene_tree(scene)
        ours = next(n for n in inside.nodes if n.bl_idname == adapter.GROUP and n.node_tree == tree)
        picture = inside.nodes.new("CompositorNodeMovieClip")
        picture.clip = tree.dvm.clip
        inside.links.new(picture.outputs["Image"], ours.inputs["Image"])
        inside.links.new(ours.outputs["Image"], adapter.output_socket(scene))
        scene.render.resolution_x, scene.render.resolution_y = tree.dvm.clip.size
        scene.render.resolution_percentage = 100
        scene.frame_start = scene.frame_end = frame
        scene.render.filepath = str(folder / "unused.")
        added = [picture]
        for socket in ours.outputs:
            writer = adapter.exr_writer(inside, folder / socket.name, "out.####")
            writer.format.color_depth = "32"
            inside.links.new(socket, writer.inputs[0])
            added.append(writer)
        bpy.ops.render.render(animation=True)
        found = {}
        for socket in ours.outputs:
            (found[socket.name],) = (folder / socket.name).glob("*.exr")
        for one in added:
            inside.nodes.remove(one)
        for name, path in found.items():
            found[name] = path.rename(folder / f"{name}.{plate}.exr")
            shutil.rmtree(folder / name)
        return found

    def copy(self, node):
        tree = self.tree(node).copy()
        adapter.add_node(bpy.context.scene, tree)
        # Any operator gives the copy a shot of its own, as it does when an artist presses one.
        bpy.ops.dvm.update(tree=tree.name)
        return tree.dvm.uid

    def save_and_open_again(self, node, folder):
        path = bpy.data.filepath
        bpy.ops.wm.save_mainfile()
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.wm.open_mainfile(filepath=path)
        return node

    def clear_cache(self):
        bpy.ops.dvm.clear_cache()
        while live.live().cleared.startswith("clearing"):
            live.live().pump()
            time.sleep(0.02)
        return live.live().cleared

    def forget(self, node):
        tree = self.tree(node)
        inside = adapter.scene_tree(bpy.context.scene)
        for one in list(inside.nodes):
            if one.bl_idname == adapter.GROUP and one.node_tree == tree:
                inside.nodes.remove(one)
        bpy.data.node_groups.remove(tree)

    def close(self):
        if not self._closed:
            self._closed = True
            preferences.current = self._options
            self._addon.unregister()
        return [one.name for one in threading.enumerate() if "dvm" in one.name.lower()]
