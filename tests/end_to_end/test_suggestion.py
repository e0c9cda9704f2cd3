"""`dvm matte` ends with the frame that is best painted next."""

from __future__ import annotations

import json

from OpenImageIO import ImageBuf

from dvm_server.reporting import LineReporter
from host_plugins.client import connection as connection_file
from host_plugins.client.run import Summary
from model.review import read_layer


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


def test_trimaps_alone_are_written_with_how_doubtful_each_is(dvm, engine_server, clip):
    """What an artist looks at before anything is matted; the mattes then carry nothing again."""

    def matte(name, *more):
        ran = dvm(
            "matte", clip.folder / "plate.####.exr", "--out", clip.folder / name,
            "--server", engine_server.state / connection_file.CONNECTION_FILE,
            "--trimap", f"1001:{clip.trimap(1001)}", "--split", *more,
        )  # fmt: skip
        assert ran.code == 0, ran.err

    matte("look.####.exr", "--outputs", "trimap,confidence")
    assert not (clip.folder / "look.1003.exr").exists()
    carried = len(engine_server.events("trimap"))
    doubts = {}
    for frame in clip.frames:
        doubts[frame] = read_doubt(clip.folder / f"look.trimap.{frame:04d}.exr")
    assert doubts[1001] is None  # painted
    assert all(0 <= doubts[f] <= 1 for f in clip.frames[1:])
    assert doubts == {f: read_doubt(clip.folder / f"look.confidence.{f:04d}.exr") for f in doubts}
    matte("alpha.####.exr", "--outputs", "alpha,trimap")
    assert len(engine_server.events("trimap")) == carried
    for frame in clip.frames:
        looked, made = (
            read_layer(clip.folder / f"{name}.trimap.{frame:04d}.exr", "trimap", split=True)
            for name in ("look", "alpha")
        )
        assert (looked == made).all() and set(looked.flat) <= {0, 0.5, 1}


def read_doubt(path):
    return ImageBuf(str(path)).spec().getattribute("dvm:doubt")


def test_no_line_without_a_suggestion(capsys, clip):
    summary = Summary(6, 6, 0, 1.0, "closed_form", "cpu")
    LineReporter(clip.shot()).done(summary)
    assert "next keyframe" not in capsys.readouterr().out
    LineReporter(clip.shot()).done(Summary(6, 6, 0, 1.0, "closed_form", "cpu", suggest=1004))
    assert capsys.readouterr().out.splitlines()[-1] == (
        "next keyframe: a trimap of frame 1004 would help the others most"
    )
