"""Files that come up while a shot is matted, and copies that were cut short."""

from __future__ import annotations

import numpy as np
import OpenImageIO as oiio
import pytest

from host_plugins.client.errors import InputError
from host_plugins.client.shot import Outputs
from tests.server.serving import in_thread, made, pixels, stamps, wait_for

COUNT = 20
KEYS = (1001, 1020)


@pytest.fixture
def clip(make_clip):
    return make_clip(COUNT, keys=KEYS)


def test_a_file_that_comes_up_meanwhile_stays(start_server, clip):
    server = start_server()
    shot = clip.shot(KEYS, network="slow=0.05")
    thread, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: made(clip) >= 1, why=server.why)
    clip.out(1020).write_bytes(b"precious")
    thread.join(60)
    (error,) = found
    assert isinstance(error, InputError), error
    assert (error.code, error.frame, error.exit_code) == ("input.output_exists", 1020, 10)
    assert str(clip.out(1020)) in error.message and error.hint
    assert clip.out(1020).read_bytes() == b"precious"
    before = stamps(clip.folder / "out")
    assert len(before) == COUNT  # the others are kept
    with pytest.raises(InputError, match="not made for this shot"):
        server.run(shot)
    clip.out(1020).unlink()
    summary = server.run(shot)
    assert (summary.computed, summary.kept) == (1, COUNT - 1)
    del before["alpha.1020.exr"]
    assert stamps(clip.folder / "out").items() >= before.items()


def test_with_overwrite_it_is_replaced(start_server, clip):
    server = start_server()
    thread, found = in_thread(
        lambda: server.run(clip.shot(KEYS, network="slow=0.05", overwrite=True))
    )
    wait_for(lambda: made(clip) >= 1, why=server.why)
    clip.out(1020).write_bytes(b"in the way")
    thread.join(60)
    assert found[0].computed == COUNT
    assert clip.out(1020).read_bytes() != b"in the way"


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_shots_at_once_into_the_same_files(start_server, clip, overwrite):
    server = start_server()
    first = clip.shot(KEYS, network="span_slow=0.2")
    thread, found = in_thread(lambda: server.run(first))
    wait_for(lambda: server.events("trimap"), why=server.why)
    (clip.folder / "linked").symlink_to("out")
    with pytest.raises(InputError) as caught:
        server.run(clip.shot(KEYS, out="linked", overwrite=overwrite))
    error = caught.value
    assert (error.code, error.frame, error.exit_code) == ("input.output_in_use", 1001, 10)
    assert str(clip.out(1001, "linked")) in error.message
    assert server.run(clip.shot(KEYS, out="elsewhere")).computed == COUNT
    thread.join(60)
    assert found[0].computed == COUNT
    # Once that is done they may be replaced.
    assert server.run(clip.shot(KEYS, overwrite=True)).computed == COUNT


def test_two_servers_at_once_into_the_same_files(start_server, clip):
    """Neither knows of the other; who comes second finds the first's mattes, and leaves them."""
    one, other = start_server("one"), start_server("other")
    thread, found = in_thread(lambda: one.run(clip.shot(KEYS, network="span_slow=0.2")))
    wait_for(lambda: one.events("trimap"), why=one.why)
    assert other.run(clip.shot(KEYS)).computed == COUNT
    before = stamps(clip.folder / "out")
    thread.join(60)
    assert isinstance(found[0], InputError), found
    assert (found[0].code, found[0].frame) == ("input.output_exists", 1001)
    assert stamps(clip.folder / "out") == before


def test_the_same_shot_on_two_servers_at_once(start_server, clip):
    """As a farm does that lost sight of the first: the bytes are the same, and both are done."""
    one, other = start_server("one"), start_server("other")
    shot = clip.shot(KEYS, network="span_slow=0.05")
    thread, found = in_thread(lambda: one.run(shot))
    wait_for(lambda: one.events("trimap"), why=one.why)
    assert other.run(shot).frames == COUNT
    thread.join(60)
    assert getattr(found[0], "frames", 0) == COUNT, found


def test_the_same_matte_with_other_bits_is_no_stranger(start_server, clip):
    """As a GPU makes it the second time: its key says what it is."""
    shot = clip.shot(KEYS, network="slow=0.05")
    start_server("one").run(shot)
    image = oiio.ImageBuf(str(clip.out(1020)))
    assert image.spec().get_string_attribute("dvm:key")
    clip.out(1020).unlink()
    kept = clip.folder / "kept.exr"
    image.specmod().attribute("dvm:engine", "the same on a card")
    assert image.write(str(kept))
    for frame in range(1001, 1020):
        clip.out(frame).unlink()
    other = start_server("other")
    thread, found = in_thread(lambda: other.run(shot))
    wait_for(lambda: made(clip) >= 1, why=other.why)
    kept.rename(clip.out(1020))
    thread.join(60)
    assert getattr(found[0], "computed", 0) == COUNT, found


@pytest.mark.parametrize("split", [False, True])
def test_a_matte_that_was_cut_short_is_made_again_where_no_journal_knows_it(
    start_server, clip, split
):
    outputs = Outputs(layers=("alpha", "trimap", "confidence", "foreground"), split=split)
    shot = clip.shot(KEYS, outputs=outputs)
    start_server("one").run(shot)
    whole = pixels(clip.out(1007))
    data = clip.out(1007).read_bytes()
    clip.out(1007).write_bytes(data[:-20])
    before = stamps(clip.folder / "out")
    elsewhere = start_server("other")  # another machine, to which the files were copied
    summary = elsewhere.run(shot)
    assert (summary.computed, summary.kept) == (1, COUNT - 1)
    assert np.array_equal(pixels(clip.out(1007)), whole)
    after = stamps(clip.folder / "out")
    changed = {name for name in after if after[name] != before[name]}
    assert "alpha.1007.exr" in changed and all("1007" in name for name in changed)
    assert elsewhere.run(shot).computed == 0


def test_a_matte_that_is_cut_off_in_its_header_is_not_known(start_server, clip):
    shot = clip.shot(KEYS)
    start_server("one").run(shot)
    clip.out(1007).write_bytes(clip.out(1007).read_bytes()[:200])
    other = start_server("other")
    with pytest.raises(InputError) as caught:
        other.run(shot)
    assert (caught.value.code, caught.value.frame) == ("input.output_exists", 1007)
    assert len(clip.out(1007).read_bytes()) == 200


def test_one_layer_that_is_gone_is_made_again_with_the_others_of_its_frame(start_server, clip):
    outputs = Outputs(layers=("alpha", "trimap"), split=True)
    shot = clip.shot(KEYS, outputs=outputs)
    start_server("one").run(shot)
    clip.out(1007).unlink()
    other = start_server("other")
    assert other.run(shot).computed == 1
    assert other.run(shot).computed == 0
