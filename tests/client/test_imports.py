"""The client runs where there is nothing but pyzmq and msgpack, under any package name."""

import shutil
import subprocess
import sys
from pathlib import Path

import host_plugins.client

FOLDER = Path(host_plugins.client.__file__).parent
MODULES = sorted(one.stem for one in FOLDER.glob("*.py") if one.stem != "__init__")

SCRIPT = """
import sys
for name in {modules}:
    __import__("bundle.client." + name)
allowed = {{"bundle", "zmq", "msgpack"}}
loaded = {{name.partition(".")[0] for name in sys.modules}}
print(*sorted(loaded & {{"numpy", "torch", "model", "dvm_server", "host_plugins", "yaml"}}))
"""


def test_copied_into_a_bundle_it_imports_nothing_else(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "bundle" / "client")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(modules=MODULES)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_folder_holds_what_a_bundle_needs():
    assert {"wire", "shot", "errors", "connection", "session", "run", "fake_server"} <= set(MODULES)
    assert (FOLDER / "PROTOCOL.md").is_file() and (FOLDER / "shot.schema.json").is_file()
