"""State directories of private servers: one a clip, and old ones go."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dvm_server.private_states import private_state, remove_old
from dvm_server.spool import LOCK, lock_state
from host_plugins.client.shot import Keyframe, Outputs, Plates, Shot

SHOT = Shot(
    name="s",
    frames=((1, 5, 1),),
    plates=Plates("/p.####.exr"),
    keyframes=(Keyframe(1, "/k.png"),),
    outputs=Outputs("/a.####.exr"),
)


def state_of(root: Path, shot: Shot) -> Path:
    """That of a command that runs alone."""
    with private_state(root, shot) as state:
        return state


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"outputs": Outputs("/a.####.exr", ("trimap", "confidence"), True)}, True),
        ({"roi": (0, 0, 9, 9)}, True),
        ({"keyframes": (Keyframe(1, "/k.png"), Keyframe(5, "/l.png"))}, True),
        ({"frames": ((6, 9, 1),)}, False),  # the next task of a farm, maybe at the same time
        ({"plates": Plates("/q.####.exr")}, False),
        ({"plates": Plates("/p.####.exr", colourspace="acescg")}, False),
    ],
)
def test_shots_of_one_clip_share_what_is_carried(tmp_path, change, same):
    assert (state_of(tmp_path, replace(SHOT, **change)) == state_of(tmp_path, SHOT)) == same


def test_two_that_start_together_have_one_each(tmp_path):
    """The second looks before the first one's server has come up."""
    other = replace(SHOT, roi=(0, 0, 9, 9))
    with private_state(tmp_path, SHOT) as first, private_state(tmp_path, other) as second:
        assert second != first
        with lock_state(first), lock_state(second):
            pass
    assert state_of(tmp_path, other) == first


def test_a_server_that_outlives_its_command_keeps_its_directory(tmp_path):
    first, other = state_of(tmp_path, SHOT), replace(SHOT, roi=(0, 0, 9, 9))
    with lock_state(first):
        second = state_of(tmp_path, other)
        assert second != first
        lock_state(second).close()
    assert state_of(tmp_path, other) == first


def test_where_nothing_can_be_made_the_server_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with private_state(tmp_path / "file", SHOT) as state:
        assert state == tmp_path / "file" / state_of(tmp_path, SHOT).name


def test_those_that_nobody_has_used_for_long_are_removed(tmp_path):
    old, new, busy = (tmp_path / name for name in ("old", "new", "busy"))
    for state in (old, new, busy):
        lock_state(state).close()
        (state / "spool").mkdir()
    with lock_state(busy):
        long_ago = time.time() - 40 * 24 * 3600
        for state in (old, busy):
            os.utime(state / LOCK, (long_ago, long_ago))
        remove_old(tmp_path)
        assert not old.exists() and new.exists() and (busy / "spool").exists()
    remove_old(tmp_path / "none")
