"""Tests that run inside of Blender's Python, one version after the other: see `make test-hosts`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

# Elsewhere there is nothing to collect; `tests/hosts/test_environments.py` says so.
collect_ignore_glob = [] if importlib.util.find_spec("bpy") else ["test_*.py"]

REPOSITORY = Path(__file__).parents[3]
sys.path.insert(0, str(REPOSITORY))
# pyzmq and msgpack, as the add-on's bundle brings them; the environment itself has neither.
sys.path.append(str(REPOSITORY / ".hosts" / "vendor"))

from tests.hosts import fixtures  # noqa: E402

clip, server = fixtures.clip, fixtures.server


@pytest.fixture
def host(server, tmp_path):
    from tests.hosts.in_blender.driver import Blender

    one = Blender(tmp_path)
    one.connect_to(str(server.file))
    yield one
    one.close()
