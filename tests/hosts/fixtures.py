"""Fixtures of every host's tests: a live server in a process of its own, and a clip."""

from __future__ import annotations

import pytest

from tests.hosts.serving import Server, make_clip

__all__ = ["clip", "server"]


@pytest.fixture
def server(tmp_path):
    one = Server(tmp_path / "state").start()
    yield one
    one.kill()


@pytest.fixture
def clip(tmp_path):
    return make_clip(tmp_path / "clip")
