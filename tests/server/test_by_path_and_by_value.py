"""Whole shots through a real server over real sockets, both ways."""

from __future__ import annotations

import numpy as np

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
