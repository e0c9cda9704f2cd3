"""The add-on's preferences, and what they mean when it runs without any."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, IntProperty, StringProperty

from ..client.finding import Options
from . import adapter

# Of the add-on as it is installed: this folder and the client's lie in it.
PACKAGE = __package__.rpartition(".")[0] or __package__


class DVM_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = PACKAGE

    server: StringProperty(
        name="Server",
        description="tcp://HOST:PORT with the secret in $DVM_SECRET and the server's key in "
        "$DVM_SERVER_KEY, or the path of a connection file; empty: the server that runs on this "
        "machine for you",
    )
    keys: StringProperty(
        name="Keys",
        subtype="FILE_PATH",
        description="Your own key pair (a .key_secret file), where the server lets in known keys "
        "only. Its public key goes into the server's folder of clients",
    )
    command: StringProperty(
        name="Command",
        subtype="FILE_PATH",
        description="The program dvm, or the folder of the Python environment it is installed in; "
        "empty: dvm on the PATH. For Start Local Server",
    )
    cache: StringProperty(
        name="Mattes",
        subtype="DIR_PATH",
        description="Folder of all mattes; empty: dvm/mattes beside each .blend",
    )
    cache_gb: IntProperty(
        name="Keep at most (GB)",
        min=0,
        default=0,
        description="Beyond that, the mattes that were used longest ago and that this file does "
        "not show are removed; 0: never",
    )
    travel: EnumProperty(
        name="Plates and mattes",
        items=[
            ("AUTO", "Automatic", "By path on this machine, else they travel"),
            ("PATHS", "By path", "The server reads and writes the same paths: shared storage"),
            ("FILES", "Travel", "Files are sent to the server, and mattes come back"),
        ],
    )

    def draw(self, context):
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "server")
        layout.prop(self, "keys")
        layout.prop(self, "travel")
        layout.prop(self, "command")
        layout.prop(self, "cache")
        layout.prop(self, "cache_gb")
        row = layout.row()
        row.operator("dvm.connect", icon="LINKED")
        row.operator("dvm.start_server", icon="PLAY")
        row.operator("dvm.clear_cache", icon="TRASH")


def current() -> Options:
    """What is set now; the defaults where the add-on was not enabled by Blender."""
    found = adapter.package_preferences(PACKAGE)
    if found is None:
        return Options()
    return Options(
        server=found.server,
        keys=found.keys,
        command=found.command,
        cache=found.cache,
        cache_gb=found.cache_gb,
        travel=found.travel,
    )


def state_folder() -> Path:
    """Of a server that is started from here."""
    return adapter.user_folder() / "server"


def register():
    bpy.utils.register_class(DVM_AP_preferences)


def unregister():
    bpy.utils.unregister_class(DVM_AP_preferences)
