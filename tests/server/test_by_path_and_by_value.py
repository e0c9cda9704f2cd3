"""Whole shots through a real server over real sockets, both ways."""

from __future__ import annotations

from dataclasses import replace

import av
import numpy as np
import pytest

from host_plugins.client.shot import Keyframe, Outputs, Plates, Trimaps
from model.plates.image_files import write_image
from tests.server.serving import header, pixels


def test_by_path(start_server, make_clip):
    clip, server = make_clip(20), start_server()
    summary = server.run(clip.shot(keys=(1001, 1020)))
    assert (summary.frames, summary.computed, summary.kept) == (20, 20, 0)
    alpha = pixels(clip.out(1010))
    assert alpha.shape == (9, 14, 1)
    assert (alpha[:, :4] == 0).all() and (alpha[:, -4:] == 1).all()
    metadata = header(clip.out(1010)).metadata
    assert metadata["dvm:trimap"] == "propagated"
    assert len(metadata["dvm:key"]) == 64
    assert server.stop() == 143


def test_by_value_gives_the_same_pixels(start_server, make_clip):
    clip, server = make_clip(20), start_server()
    shot = clip.shot(keys=(1001, 1020))
    server.run(shot)
    sent, files = clip.by_value(clip.shot(keys=(1001, 1020), out="value"))
    summary = server.run(sent, **files)
    assert (summary.frames, summary.computed) == (20, 20)
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "value")))


@pytest.mark.parametrize("by_value", [False, True])
def test_split_layers_and_given_trimaps(start_server, make_clip, by_value):
    clip, server = make_clip(4), start_server()
    for frame in clip.frames:
        clip.paint_trimap(frame)
    layers = ("alpha", "trimap", "confidence", "foreground")
    shot = replace(
        clip.shot(outputs=Outputs(layers=layers, split=True)),
        keyframes=(),
        trimaps=Trimaps(pattern=str(clip.folder / "key.####.png")),
    )
    files = {}
    if by_value:
        shot = replace(shot, plates=Plates(by_value=True), trimaps=Trimaps(by_value=True))
        files = {
            "plates": {f: clip.plate(f) for f in clip.frames},
            "trimaps": {f: clip.trimap(f) for f in clip.frames},
        }
    assert server.run(shot, **files).computed == 4
    names = {path.name for path in (clip.folder / "out").iterdir()}
    assert len(names) == 16 and {"alpha.1001.exr", "alpha.foreground.1004.exr"} <= names
    assert pixels(clip.folder / "out" / "alpha.foreground.1002.exr").shape == (9, 14, 3)
    assert header(clip.out(1003)).metadata["dvm:trimap"] == "given"
    assert not server.events("trimap")  # nothing was carried
    assert server.run(shot, **files).computed == 0


def test_trimaps_by_value_and_plates_by_path(start_server, make_clip):
    clip, server = make_clip(4, keys=(1001, 1004)), start_server()
    by_path = clip.shot((1001, 1004))
    sent, files = clip.by_value(by_path)
    shot = replace(by_path, keyframes=sent.keyframes)
    assert server.run(shot, trimaps=files["trimaps"]).computed == 4


def test_one_frame_and_frames_on_twos(start_server, make_clip):
    clip, server = make_clip(9), start_server()
    twos = replace(clip.shot(), frames=((1001, 1009, 2),))
    assert server.run(twos).computed == 5
    assert not clip.out(1002).exists()
    one = replace(clip.shot(out="one"), frames=((1001, 1001, 1),))
    assert server.run(one).computed == 1


def make_movie(path, levels):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 10, "yuvj420p"
        for level in levels:
            picture = np.full((10, 16, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def movie_shot(clip, movie):
    grey = np.full((10, 16), 128, np.uint8)
    grey[:, 0] = 255
    write_image(clip.trimap(1), grey, ("Y",), pixel_type="uint8")
    return replace(
        clip.shot((1,)),
        frames=((1, 4, 1),),
        plates=Plates(pattern=str(movie)),
        keyframes=(Keyframe(1, trimap=str(clip.trimap(1))),),
    )


def test_a_movie_by_path(start_server, tmp_path, make_clip):
    clip, server = make_clip(1), start_server()
    shot = movie_shot(clip, make_movie(tmp_path / "clip.mov", (0, 60, 120, 180)))
    assert server.run(shot).computed == 4
    assert server.run(shot).kept == 4
    assert pixels(clip.out(4))[5, 8, 0] != pixels(clip.out(1))[5, 8, 0]


def test_a_movie_that_is_exported_again_is_read_again(start_server, tmp_path, make_clip):
    clip, server = make_clip(1), start_server(decoders=1)
    movie = make_movie(tmp_path / "clip.mov", (0, 60, 120, 180))
    shot = movie_shot(clip, movie)
    server.run(shot)
    before = pixels(clip.out(4))[5, 8, 0]
    make_movie(tmp_path / "new.mov", (180, 120, 60, 0)).replace(movie)
    shot = replace(shot, options=replace(shot.options, overwrite=True))
    assert server.run(shot).computed == 4
    assert abs(pixels(clip.out(4))[5, 8, 0] - before) > 0.1
