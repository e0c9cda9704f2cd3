"""Tests in a fake Nuke, on each Python that Nuke brings: see `tests/hosts/test_nuke_pythons.py`.

They need no more than pytest, pyzmq and msgpack. What is tested is the folder that the bundle
holds, found by `nuke.pluginAddPath` as an artist's is.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
sys.path.insert(0, str(REPOSITORY))

from tests.hosts import fixtures  # noqa: E402

clip, server = fixtures.clip, fixtures.server

# `make test` has enough to do; `make test-hosts` asks for these.
collect_ignore_glob = [] if "DVM_TEST_PYTHON" in os.environ else ["test_*.py"]


def installed() -> Path:
    """The folder that is dropped beside Nuke, made anew and found by Python from here on."""
    from host_plugins.bundle import nuke_folder

    home = tempfile.mkdtemp(prefix="dvm-in-nuke-")
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    folder = Path(home) / "DeepVideoMatte"
    for name, data in nuke_folder().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    sys.path += [str(folder), str(REPOSITORY / "tests" / "hosts" / "fake_nuke")]
    return folder


PLUGIN = installed() if not collect_ignore_glob else None


@pytest.fixture
def plugin():
    return PLUGIN


@pytest.fixture
def nuke_session(plugin, tmp_path, monkeypatch):
    """Nuke with its window and the plug-in, and an empty script."""
    from tests.hosts.fake_nuke import control

    monkeypatch.setattr(Path, "home", lambda: tmp_path / "user")
    control.reset()
    import nuke

    nuke.pluginAddPath(str(plugin))
    control.start_gui()
    yield control
    from deep_video_matte.nuke import menus

    menus.unregister()
    faults = list(control.faults)
    control.reset()
    assert not faults, faults


@pytest.fixture
def host(nuke_session, server, tmp_path):
    from tests.hosts.in_nuke.driver import Nuke

    one = Nuke(nuke_session, tmp_path)
    one.connect_to(str(server.file))
    yield one
    one.close()
