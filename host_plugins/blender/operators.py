"""What can be pressed. Each tells an error in one sentence, with what to do about it."""

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from ..client.errors import DvmError, sentence
from . import adapter, farm, group, keyframes, live, shots, showing


def _errors_are_told(execute):
    """An operator's error, told where Blender tells such things."""

    def told(self, context):
        try:
            return execute(self, context) or {"FINISHED"}
        except DvmError as error:
            self.report({"ERROR"}, sentence(error.message, error.hint))
            return {"CANCELLED"}

    return told


class _OnShot:
    """An operator about one shot: of the node given by name, else of the active one."""

    tree: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context):
        tree = adapter.active_tree(context)
        if tree is not None and not adapter.is_editable(tree):
            _say_why(cls, f"{tree.name} is linked from {tree.library.name}: make it local first")
            return False
        return tree is not None or bool(adapter.shot_trees())

    def shot(self, context):
        """The tree, with a shot of its own."""
        live.live().part_twins()
        return self.shot_as_it_is(context)

    def shot_as_it_is(self, context):
        """The tree; for what changes nothing of the shot."""
        named = bpy.data.node_groups.get(self.tree) if self.tree else None
        return named or adapter.active_tree(context) or adapter.shot_trees()[0]


def _say_why(cls, text):
    if hasattr(cls, "poll_message_set"):
        cls.poll_message_set(text)


class DVM_OT_add_node(bpy.types.Operator):
    """Add a Deep Video Matte node to the compositor"""

    bl_idname = "dvm.add_node"
    bl_label = "Deep Video Matte"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = group.new_group()
        space = context.space_data
        place = (0.0, 0.0)
        if space is not None and space.type == "NODE_EDITOR" and hasattr(space, "cursor_location"):
            place = tuple(space.cursor_location)
        adapter.add_node(context.scene, tree, place)
        clip = adapter.likely_clip(context)
        if clip is not None:
            tree.dvm.clip = clip
        live.live().ask_server()


class DVM_OT_connect(bpy.types.Operator):
    """Ask the server who it is"""

    bl_idname = "dvm.connect"
    bl_label = "Connect"

    @_errors_are_told
    def execute(self, context):
        live.live().ask_server()


class DVM_OT_start_server(bpy.types.Operator):
    """Start the matting server on this machine; it ends with Blender"""

    bl_idname = "dvm.start_server"
    bl_label = "Start Local Server"

    @_errors_are_told
    def execute(self, context):
        live.live().start_local()


class DVM_OT_stop_server(bpy.types.Operator):
    """Stop the server that was started from here"""

    bl_idname = "dvm.stop_server"
    bl_label = "Stop Local Server"

    @_errors_are_told
    def execute(self, context):
        live.live().stop_server()


class DVM_OT_new_masks(_OnShot, bpy.types.Operator):
    """Make a mask with the layers core and edge, shown over the clip where a Movie Clip Editor is
    open"""

    bl_idname = "dvm.new_masks"
    bl_label = "New Masks"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        shot = self.shot(context).dvm
        shot.mask = adapter.new_mask("Trimap", (shot.core, shot.edge))
        adapter.show_mask(shot.mask, shot.clip)


class DVM_OT_trimap_from_masks(_OnShot, bpy.types.Operator):
    """Make this frame's trimap from the masks as they stand, and this frame a keyframe"""

    bl_idname = "dvm.trimap_from_masks"
    bl_label = "Trimap From Masks"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        source = shots.source_of(tree)
        plate = source.timing.plate(context.scene.frame_current)
        keyframes.check_plate(source, plate)
        draw = keyframes.from_masks(tree, plate, source.plate(plate))
        keyframes.put(tree, plate, "MASK", keyframes.path_for(tree, plate))
        uid = tree.dvm.uid
        live.live().errand(uid, draw, live.trimap_made(uid, plate))


class DVM_OT_keyframe_add(_OnShot, bpy.types.Operator):
    """Use a trimap image for this frame: 0 background, middle grey unknown, white foreground"""

    bl_idname = "dvm.keyframe_add"
    bl_label = "Add Trimap File"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.png;*.exr;*.tif;*.tiff;*.jpg", options={"HIDDEN"})
    frame: IntProperty(
        name="Plate", default=-1, options={"SKIP_SAVE"}, description="-1: the one shown now"
    )

    def invoke(self, context, event):
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        source = shots.source_of(tree)
        shown = source.timing.plate(context.scene.frame_current)
        plate = shown if self.frame == -1 else self.frame
        keyframes.check_plate(source, plate)
        path = adapter.absolute(self.filepath)
        keyframes.check_file(path, plate)
        keyframes.put(tree, plate, "FILE", path)


class DVM_OT_paint(_OnShot, bpy.types.Operator):
    """Paint this frame's trimap over the plate: blue where it is unknown, red where it is surely
    foreground. Press Use Painting when it is done"""

    bl_idname = "dvm.paint"
    bl_label = "Paint Trimap"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        source = shots.source_of(tree)
        plate = source.timing.plate(context.scene.frame_current)
        keyframes.check_plate(source, plate)
        one = keyframes.find(tree, plate)
        if one is not None and one.image is not None:
            adapter.open_for_painting(one.image)
            return
        uid = tree.dvm.uid
        steps = keyframes.begin_painting(uid, source, plate, adapter.open_for_painting)
        live.live().take_turns(uid, steps)


class DVM_OT_use_painting(_OnShot, bpy.types.Operator):
    """Take the painting of the chosen keyframe as its trimap"""

    bl_idname = "dvm.use_painting"
    bl_label = "Use Painting"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        plate = keyframes.chosen(tree).frame
        decode = keyframes.from_painting(tree, plate)
        keyframes.find(tree, plate).path = adapter.stored(str(keyframes.path_for(tree, plate)))
        uid = tree.dvm.uid
        live.live().errand(uid, decode, live.trimap_made(uid, plate))


class DVM_OT_keyframe_remove(_OnShot, bpy.types.Operator):
    """Take the chosen keyframe off the list; its trimap's file stays"""

    bl_idname = "dvm.keyframe_remove"
    bl_label = "Remove Keyframe"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        keyframes.chosen(tree)
        keyframes.remove(tree, tree.dvm.active)


class DVM_OT_jump(_OnShot, bpy.types.Operator):
    """Go to a plate"""

    bl_idname = "dvm.jump"
    bl_label = "Go to Plate"

    plate: IntProperty(options={"SKIP_SAVE"})
    to: EnumProperty(
        items=[(n, n.capitalize(), "") for n in ("PLATE", "PREVIOUS", "NEXT", "SUGGESTED")],
        default="PLATE",
        options={"SKIP_SAVE"},
    )

    @_errors_are_told
    def execute(self, context):
        tree = self.shot_as_it_is(context)
        timing = shots.source_of(tree).timing
        now = timing.plate(context.scene.frame_current)
        plate = self.plate
        if self.to == "SUGGESTED":
            plate = live.live().suggested(tree.dvm.uid)
        elif self.to != "PLATE":
            plate = keyframes.neighbour(tree, now, ahead=self.to == "NEXT")
        adapter.go_to(context.scene, timing.frame(plate))


class DVM_OT_run(_OnShot, bpy.types.Operator):
    """Carry the keyframes' trimaps to all plates, or find the mattes"""

    bl_idname = "dvm.run"
    bl_label = "Run"

    what: EnumProperty(
        items=[
            ("propagate", "Propagate", "Carry the keyframes' trimaps to all plates, to look at"),
            ("matte", "Matte", "Find alpha for all plates; trimaps are carried first if need be"),
        ],
        default="matte",
    )
    wait: BoolProperty(options={"SKIP_SAVE", "HIDDEN"}, description="For scripts: until it is done")

    @classmethod
    def description(cls, context, properties):
        if properties.what == "propagate":
            return "Carry the keyframes' trimaps to all plates, to look at and correct"
        return "Find the alpha of all plates; trimaps are carried first where that is not done"

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        try:
            live.live().run(tree, self.what)
        except DvmError as error:
            live.live().fail(tree.dvm.uid, error)  # stays to be read in the panel
            raise
        if self.wait:
            state = live.live().wait(tree.dvm.uid)
            if state.failed:
                self.report({"ERROR"}, sentence(state.text, state.hint))
                return {"CANCELLED"}
        return {"FINISHED"}


class DVM_OT_cancel(_OnShot, bpy.types.Operator):
    """Stop the work on this shot; finished plates stay"""

    bl_idname = "dvm.cancel"
    bl_label = "Cancel"

    @_errors_are_told
    def execute(self, context):
        live.live().cancel(self.shot_as_it_is(context).dvm.uid)


class DVM_OT_render_plates(_OnShot, bpy.types.Operator):
    """Render what comes into the node to plates, for all frames of the scene"""

    bl_idname = "dvm.render_plates"
    bl_label = "Render Plates"

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        try:
            farm.check_input(context.scene, tree)
            live.live().render_plates(context.scene, tree)
        except DvmError as error:
            live.live().fail(tree.dvm.uid, error)  # stays to be read in the panel
            raise
        if adapter.in_background():  # no timer goes on with it
            state = live.live().wait(tree.dvm.uid)
            if state.failed:
                self.report({"ERROR"}, sentence(state.text, state.hint))
                return {"CANCELLED"}
        return {"FINISHED"}


class DVM_OT_update(_OnShot, bpy.types.Operator):
    """Build the group again from its settings, and look for its files"""

    bl_idname = "dvm.update"
    bl_label = "Update Node"
    bl_options = {"REGISTER", "UNDO"}

    @_errors_are_told
    def execute(self, context):
        tree = self.shot(context)
        showing.refresh(tree)
        live.live().look(tree)


class DVM_OT_clear_cache(bpy.types.Operator):
    """Remove mattes that no node of this file shows. Only files that we made are removed"""

    bl_idname = "dvm.clear_cache"
    bl_label = "Clear Cache"

    @_errors_are_told
    def execute(self, context):
        live.live().clear_cache()

    def invoke(self, context, event):
        return context.window_manager.invoke_confirm(self, event)


CLASSES = (
    DVM_OT_add_node,
    DVM_OT_connect,
    DVM_OT_start_server,
    DVM_OT_stop_server,
    DVM_OT_new_masks,
    DVM_OT_trimap_from_masks,
    DVM_OT_keyframe_add,
    DVM_OT_paint,
    DVM_OT_use_painting,
    DVM_OT_keyframe_remove,
    DVM_OT_jump,
    DVM_OT_run,
    DVM_OT_cancel,
    DVM_OT_render_plates,
    DVM_OT_update,
    DVM_OT_clear_cache,
)


def register():
    for one in CLASSES:
        bpy.utils.register_class(one)


def unregister():
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)
