"""The zip, installed by Blender itself into an empty place, and its node matted with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.serving import PYTHON, REPOSITORY

WHEELS = REPOSITORY / ".hosts" / "wheels"

SCRIPT = """
import json, sys, threading, time
from pathlib import Path
import bpy
given = json.loads(sys.argv[1])
for name in ("zmq", "msgpack"):
    assert name not in sys.modules
assert bpy.ops.extensions.package_install_files(
    filepath=given["zip"], repo="user_default", enable_on_install=True) == {"FINISHED"}
name = "bl_ext.user_default.deep_video_matte"
assert name in bpy.context.preferences.addons, list(bpy.context.preferences.addons.keys())
import msgpack, zmq
for module in (zmq, msgpack):
    assert "extensions" in module.__file__, module.__file__
options = bpy.context.preferences.addons[name].preferences
options.server = given["server"]
bpy.ops.wm.save_as_mainfile(filepath=given["file"])
bpy.context.scene.use_nodes = True
assert bpy.ops.dvm.add_node() == {"FINISHED"}
tree = [one for one in bpy.data.node_groups if one.dvm.uid][0]
tree.dvm.clip = bpy.data.movieclips.load(given["clip"])
for plate in (1001, 1006):
    path = str(Path(given["clip"]).with_name(f"key.{plate}.png"))
    assert bpy.ops.dvm.keyframe_add(filepath=path, frame=plate) == {"FINISHED"}
assert bpy.ops.dvm.run(what="matte", wait=True) == {"FINISHED"}
print("alpha", tree.nodes["alpha"].image.filepath)
bpy.ops.preferences.addon_disable(module=name)
left = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
assert not left, left
assert not hasattr(bpy.types.NodeTree, "dvm")
print("well done")
"""


def test_installed_enabled_used_and_disabled(server, clip, tmp_path):
    if not WHEELS.is_dir():
        pytest.skip("needs the pinned wheels in .hosts/wheels: make test-hosts")
    made = subprocess.run(
        [PYTHON, "-m", "dvm_server.cli", "plugin", "bundle", "blender", "--platform", "linux-x64",
         "--wheels", str(WHEELS), "--out", str(tmp_path / "dist")],
        cwd=str(REPOSITORY), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (path,) = [p for p in (tmp_path / "dist").glob("*.zip") if "blender-3-" not in p.name]
    user = tmp_path / "user"
    user.mkdir()
    given = {
        "zip": str(path),
        "server": str(server.file),
        "clip": str(clip).replace("####", "1001"),
        "file": str(tmp_path / "shot.blend"),
    }
    ran = subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, json.dumps(given)],
        cwd=str(tmp_path),
        env={**os.environ, "BLENDER_USER_RESOURCES": str(user), "PYTHONPATH": ""},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0 and "well done" in ran.stdout, (
        ran.stdout[-2000:] + ran.stderr[-3000:]
    )
    assert len(list((tmp_path / "dvm" / "mattes").glob("*/alpha.100?.exr"))) == 6
    assert Path(user, "extensions", "user_default", "deep_video_matte", "client").is_dir()
