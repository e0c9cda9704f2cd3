"""`dvm matte` ends with the frame that is best painted next."""

from __future__ import annotations

import json

from dvm_server.reporting import LineReporter
from host_plugins.client import connection as connection_file
from host_plugins.client.run import Summary


def test_a_line_for_people_and_a_field_for_programs(dvm, engine_server, clip, capsys):
    def matte(*more):
        return dvm(
            "matte", clip.folder / "plate.####.exr", "--out", clip.folder / "alpha.####.exr",
            "--server", engine_server.state / connection_file.CONNECTION_FILE,
            "--trimap", f"1001:{clip.trimap(1001)}", *more,
        )  # fmt: skip

    ran = matte()
    assert ran.code == 0, ran.err
    told = json.loads(matte("--json").out.splitlines()[-1])
    lines = [line for line in ran.out.splitlines() if line.startswith("next keyframe: ")]
    if told["suggest"] is None:  # the engine is sure of what it carried over these six plates
        assert not lines
    else:
        assert told["suggest"] in clip.frames[1:]
        assert lines == [
            f"next keyframe: a trimap of frame {told['suggest']} would help the others most"
        ]
        assert ran.out.splitlines()[-1] == lines[0]


def test_no_line_without_a_suggestion(capsys, clip):
    summary = Summary(6, 6, 0, 1.0, "closed_form", "cpu")
    LineReporter(clip.shot()).done(summary)
    assert "next keyframe" not in capsys.readouterr().out
    LineReporter(clip.shot()).done(Summary(6, 6, 0, 1.0, "closed_form", "cpu", suggest=1004))
    assert capsys.readouterr().out.splitlines()[-1] == (
        "next keyframe: a trimap of frame 1004 would help the others most"
    )
