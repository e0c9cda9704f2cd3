"""A share whose file server answers nobody: who looks at a file there waits for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host_plugins.client.errors import CapacityError
from tests.server.serving import Clip, in_thread, stamps, wait_for

# Looking at what is on the share, or reading of it, ends when somebody makes the file "back".
SHARE = """
import io, os, time
from dvm_server import dispatch
dispatch._SILENCE_SECONDS = 2 - 60  # beyond what decoding may take
share = {share!r}

def silent(function):
    def on_share(path, *rest, **more):
        if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(f"{{share}}/"):
            open_(share + "-asked", "a").write("x")
            while not exists(share + "-back"):
                time.sleep(0.02)
        return function(path, *rest, **more)
    return on_share

open_, exists = open, os.path.exists
{planted}
"""
LOOKED_AT = "os.stat = silent(os.stat)"
READ = "io.open = silent(io.open)"


@pytest.fixture
def share(tmp_path) -> Clip:
    """Frames that a file server has."""
    folder = tmp_path / "share"
    folder.mkdir()
    clip = Clip(folder, 1001, 3)
    for frame in clip.frames:
        clip.paint_plate(frame)
    clip.paint_trimap(1001)
    return clip


@pytest.mark.parametrize("planted", [LOOKED_AT, READ])
def test_who_works_there_is_told_and_nobody_else_waits(planted, start_server, make_clip, share):
    server = start_server(planted=SHARE.format(share=str(share.folder), planted=planted))
    there = replace(share.shot(), name="on the share")
    asked = Path(f"{share.folder}-asked")
    thread, found = in_thread(lambda: server.run(there))
    wait_for(asked.exists, why=server.why)
    clip = make_clip(3)
    assert server.run(clip.shot()).frames == 3
    thread.join(30)
    assert isinstance(found[0], CapacityError) and found[0].code == "capacity.no_answer"
    assert found[0].message == f"{share.plate(1001)} has not answered for 2 s"
    assert found[0].exit_code == 75  # a farm tries it again
    assert "left alone" in server.log()
    # Its thread wakes up, and does nothing: the shot has failed, and may be there anew.
    Path(f"{share.folder}-back").touch()
    assert server.run(there).frames == 3
    assert len(stamps(share.folder / "out")) == 3
    assert len(server.events("submitted")) == 2
