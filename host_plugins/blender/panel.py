"""What is seen: a tab in the sidebar of the compositor, the Movie Clip and the Image Editor."""

import bpy

from ..client.errors import DvmError, sentence
from . import adapter, live, paths, pictures, shots

TAB = "Deep Video Matte"
BUCKETS = 24  # of the strip of confidence
# Of Blender's interface, in pixels at a scale of 1.
_MARGINS, _ICON, _LETTER = 44, 14, 6.6


class DVM_UL_keyframes(bpy.types.UIList):
    """A keyframe a line: its trimap, small, its plate, where it came from."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property):
        tree = item.id_data
        picture = pictures.thumbnail(paths.find(item, "path"))
        row = layout.row(align=True)
        row.label(text=f"{item.frame}", icon_value=picture)
        row.label(text=item.bl_rna.properties["kind"].enum_items[item.kind].name)
        jump = row.operator("dvm.jump", text="", icon="TRIA_RIGHT", emboss=False)
        jump.plate, jump.tree = item.frame, tree.name


class _Panel:
    bl_region_type = "UI"
    bl_category = TAB

    @classmethod
    def poll(cls, context):
        return adapter.active_tree(context) is not None

    def tree(self, context):
        return adapter.active_tree(context)


class _Server(_Panel):
    bl_label = "Server"

    @classmethod
    def poll(cls, context):
        return True

    def draw(self, context):
        layout = self.layout
        running = live.live()
        known = running.server
        told(
            context,
            layout,
            known.text,
            known.hint,
            "LINKED" if known.up else "UNLINKED",
            not known.up,
        )
        tree = adapter.active_tree(context)
        if known.up and tree is not None:
            own = tree.dvm.checkpoint
            layout.label(text=f"Weights: {bpy.path.basename(own) if own else 'as shipped'}")
        row = layout.row(align=True)
        row.operator("dvm.connect", text="Connect")
        if running.has_local:
            row.operator("dvm.stop_server", text="Stop")
        elif not known.up:
            row.operator("dvm.start_server", text="Start Local Server")
        if adapter.active_tree(context) is None:
            layout.operator("dvm.add_node", text="Add Node", icon="NODE_COMPOSITING")


class _Clip(_Panel):
    bl_label = "Plates"

    def draw(self, context):
        layout = self.layout
        tree = self.tree(context)
        shot = tree.dvm
        layout.use_property_split = True
        layout.enabled = adapter.is_editable(tree)
        layout.prop(shot, "source")
        if shot.source == "CLIP":
            layout.template_ID(shot, "clip", open="clip.open")
        elif shot.source == "IMAGE":
            layout.template_ID(shot, "image", open="image.open")
            layout.prop(shot, "start")
        else:
            layout.operator("dvm.render_plates", icon="RENDER_ANIMATION")
        try:
            timing = shots.source_of(tree).timing
            layout.label(text=f"Plates {timing.first}–{timing.last}, from frame {timing.start}")
        except DvmError as error:
            told(context, layout, error.message, error.hint, "INFO", False)
        layout.prop(shot, "use_range")
        if shot.use_range:
            row = layout.row(align=True)
            row.prop(shot, "first")
            row.prop(shot, "last", text="Last")


class _Keyframes(_Panel):
    bl_label = "Keyframes"

    def draw(self, context):
        layout = self.layout
        tree = self.tree(context)
        shot = tree.dvm
        layout.enabled = adapter.is_editable(tree)
        row = layout.row()
        row.template_list("DVM_UL_keyframes", "", shot, "keyframes", shot, "active", rows=3)
        side = row.column(align=True)
        side.operator("dvm.keyframe_add", text="", icon="FILE_FOLDER").tree = tree.name
        side.operator("dvm.keyframe_remove", text="", icon="REMOVE").tree = tree.name
        for to, icon in (("PREVIOUS", "TRIA_UP"), ("NEXT", "TRIA_DOWN")):
            jump = side.operator("dvm.jump", text="", icon=icon)
            jump.to, jump.tree = to, tree.name
        box = layout.box()
        box.use_property_split = True
        line = box.row(align=True)
        line.prop(shot, "mask", text="Mask")
        line.operator("dvm.new_masks", text="", icon="ADD").tree = tree.name
        if shot.mask is not None:
            box.prop_search(shot, "core", shot.mask, "layers")
            box.prop_search(shot, "edge", shot.mask, "layers")
        box.prop(shot, "shrink")
        box.prop(shot, "grow")
        if shot.mask is not None and not has_shapes(shot.mask, shot.edge):
            box.prop(shot, "band")
        box.operator("dvm.trimap_from_masks", icon="MOD_MASK").tree = tree.name
        row = layout.row(align=True)
        row.operator("dvm.paint", text="Paint", icon="BRUSH_DATA").tree = tree.name
        if any(one.kind == "PAINT" for one in shot.keyframes):
            row.operator("dvm.use_painting", text="Use Painting").tree = tree.name


class _Guides(_Panel):
    bl_label = "Garbage, Core, Clean Plate"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        tree = self.tree(context)
        layout.use_property_split = True
        layout.enabled = adapter.is_editable(tree)
        for name in shots.GUIDES.values():
            layout.prop(tree.dvm, name)


class _Run(_Panel):
    bl_label = "Matte"

    def draw(self, context):
        layout = self.layout
        tree = self.tree(context)
        state = live.live().state(tree.dvm.uid)
        layout.enabled = adapter.is_editable(tree)
        if state.busy:
            share = state.done / state.total if state.total else 0.0
            bar(layout, share, state.text)
            layout.operator("dvm.cancel", icon="CANCEL").tree = tree.name
        else:
            row = layout.row(align=True)
            row.scale_y = 1.4
            for what, text in (("propagate", "Propagate"), ("matte", "Matte")):
                run = row.operator("dvm.run", text=text)
                run.what, run.tree = what, tree.name
            if state.text:
                told(context, layout, state.text, state.hint,
                     "ERROR" if state.failed else "CHECKMARK", state.failed)  # fmt: skip
        self.strip(context, layout, tree, state)

    def strip(self, context, layout, tree, state):
        """Confidence of the carried trimaps along the clip, green to red; a click goes there."""
        if not state.doubts:
            return
        layout.label(text="Confidence of the carried trimaps")
        row = layout.row(align=True)
        for plate, doubt in buckets(state.doubts, BUCKETS):
            icon = pictures.colour_of(doubt)
            # With a text buttons share the room there is; without, each has the width of its icon.
            jump = row.operator("dvm.jump", text=" ", icon_value=icon, emboss=False)
            jump.plate, jump.tree = plate, tree.name
        row = layout.row(align=True)
        if state.suggest is not None:
            jump = row.operator("dvm.jump", text=f"Suggested Keyframe: {state.suggest}")
            jump.to, jump.tree = "SUGGESTED", tree.name


class _Options(_Panel):
    bl_label = "Options"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context):
        layout = self.layout
        tree = self.tree(context)
        shot = tree.dvm
        layout.use_property_split = True
        layout.enabled = adapter.is_editable(tree)
        layout.prop(shot, "use_foreground")
        layout.prop(shot, "premultiply")
        layout.prop(shot, "composited_in")
        layout.prop(shot, "colourspace")
        layout.prop(shot, "premultiplied")
        layout.prop(shot, "network")
        names = live.live().server.networks
        if names:
            layout.label(text=f"The server has {', '.join(names)}")
        layout.prop(shot, "checkpoint")
        layout.prop(shot, "window")
        layout.prop(shot, "missing")
        row = layout.row(align=True)
        row.operator("dvm.update", text="Update Node").tree = tree.name
        row.operator("dvm.clear_cache", text="Clear Cache")
        if live.live().cleared:
            layout.label(text=sentence(live.live().cleared, ""))


def _width(context) -> float:
    """Of a panel, in pixels at a scale of 1."""
    scale = context.preferences.system.ui_scale
    return context.region.width / scale - _MARGINS


def told(context, layout, text: str, hint: str, icon: str, alert: bool) -> None:
    """A sentence and what to do, wrapped: labels do not wrap by themselves."""
    box = layout.column(align=True)
    box.alert = alert
    letters = max(int((_width(context) - _ICON) / _LETTER), 12)
    for i, line in enumerate(wrapped(sentence(text, hint), letters)):
        box.label(text=line, icon=icon if i == 0 else "BLANK1")


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, but for words that are longer."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def bar(layout, share: float, text: str) -> None:
    if adapter.has_progress_bar():
        layout.progress(factor=share, text=text)
    else:
        layout.label(text=f"{text}  ({100 * share:.0f} %)", icon="TIME")


def buckets(doubts, count):
    """The doubts in at most ``count`` parts of the clip, each by its most doubtful plate."""
    plates = sorted(doubts)
    size = -(-len(plates) // count)
    parts = [plates[i : i + size] for i in range(0, len(plates), size)]
    return [(p := max(part, key=doubts.__getitem__), doubts[p]) for part in parts]


def has_shapes(mask, name: str) -> bool:
    layer = mask.layers.get(name)
    return layer is not None and len(layer.splines) > 0


def _panels():
    """Each part in each editor."""
    parts = [_Server, _Clip, _Keyframes, _Guides, _Run, _Options]
    editors = {"NODE_EDITOR": "node", "CLIP_EDITOR": "clip", "IMAGE_EDITOR": "image"}
    for space, short in editors.items():
        for order, part in enumerate(parts):
            name = f"DVM_PT_{part.__name__.strip('_').lower()}_{short}"
            yield type(
                name,
                (part, bpy.types.Panel),
                {"bl_idname": name, "bl_space_type": space, "bl_order": order},
            )


def add_menu(self, context):
    if context.space_data is None or context.space_data.tree_type == adapter.TREE:
        self.layout.operator("dvm.add_node", icon="NODE_COMPOSITING")


CLASSES = [DVM_UL_keyframes]


def register():
    CLASSES[1:] = list(_panels())
    for one in CLASSES:
        bpy.utils.register_class(one)
    bpy.types.NODE_MT_add.append(add_menu)


def unregister():
    bpy.types.NODE_MT_add.remove(add_menu)
    for one in reversed(CLASSES):
        bpy.utils.unregister_class(one)
    pictures.end()
