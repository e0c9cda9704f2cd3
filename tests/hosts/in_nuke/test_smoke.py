"""The smoke test for a licensed seat, in the fake: what it checks holds here, and it can fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
RUN = """
import runpy, sys
sys.path.insert(0, {repository!r})
from pathlib import Path
from tests.hosts.fake_nuke import control
control.reset()
Path.home = lambda: Path({home!r})
sys.argv = [{script!r}, *{arguments!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def smoke(plugin, tmp_path):
    def run(*arguments):
        code = RUN.format(
            repository=str(REPOSITORY),
            home=str(tmp_path / "user"),
            script=str(plugin / "smoke.py"),
            arguments=[str(one) for one in arguments],
        )
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_all_is_well(smoke, server):
    done = smoke(REPOSITORY / "samples" / "strands", server.file)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Nuke ") and lines[-1] == "all is well"
    # Nuke prints its own lines between ours.
    assert sum(one.startswith("ok ") for one in lines) == 10, done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_what_is_not_well_is_said(smoke, tmp_path, clip, server):
    server.kill()
    server.file.unlink()
    (clip.parent / "key.1001.png").rename(clip.parent / "trimap.1001.png")
    done = smoke(clip.parent, server.file)
    assert done.returncode == 1
    failed = [one for one in done.stdout.splitlines() if one.startswith("FAILED")]
    assert len(failed) == 1 and "four frames are matted" in failed[0], done.stdout
    assert "connection file" in failed[0]
    assert done.stdout.splitlines()[-1] == "1 checks failed"


def test_without_a_clip_it_says_how_it_is_called(smoke):
    done = smoke()
    assert done.returncode == 2 and "nuke -t smoke.py CLIP" in done.stdout
