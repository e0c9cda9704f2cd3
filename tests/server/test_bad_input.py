"""Bad input ends in one sentence that names file and frame, and leaves no partial file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host_plugins.client.errors import CapacityError, InputError, SetupError
from host_plugins.client.guides import Guide, Guides
from host_plugins.client.shot import Keyframe, Outputs, Plates, Trimaps
from model.plates.image_files import write_image
from tests.server.serving import SIZE, RunningServer, header, pixels, stamps

KEYS = (1001, 1006)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One for all: bad input must not spoil a server for the next shot."""
    server = RunningServer(tmp_path_factory.mktemp("server") / "state").start()
    yield server
    assert server.stop() == 143


@pytest.fixture
def clip(make_clip):
    return make_clip(6, keys=KEYS)


def refused(server, shot, code, *named, frame=None, **files):
    """Run a shot that must fail with this code, naming these; no file may come of it."""
    with pytest.raises((InputError, SetupError, CapacityError)) as caught:
        server.run(shot, **files)
    error = caught.value
    assert error.code == code
    assert error.frame == frame
    assert error.hint
    for word in named:
        assert str(word) in error.message, error.message
    assert "\n" not in error.message
    return error


def nothing_in(clip, out="out"):
    return list((clip.folder / out).iterdir()) == []


@pytest.mark.parametrize("by_value", [False, True])
def test_missing_plate_in_the_middle(server, clip, by_value):
    clip.plate(1003).unlink()
    shot, files = clip.shot(KEYS), {}
    named = [clip.plate(1003)]
    if by_value:
        (shot, files), named = clip.by_value(shot), ["1003"]
    error = refused(server, shot, "input.missing_plate", *named, frame=1003, **files)
    assert error.exit_code == 10
    assert nothing_in(clip)


@pytest.mark.parametrize("by_value", [False, True])
def test_missing_plate_held(server, clip, by_value):
    clip.plate(1003).unlink()
    shot, files = clip.shot(KEYS, missing="hold"), {}
    if by_value:
        shot, files = clip.by_value(shot)
    assert server.run(shot, **files).computed == 6
    assert header(clip.out(1003)).metadata["dvm:missing"] == "hold"
    assert "dvm:missing" not in header(clip.out(1004)).metadata
    # The same as if the plate before had been copied in its place.
    clip.plate(1003).write_bytes(clip.plate(1002).read_bytes())
    server.run(clip.shot(KEYS, out="copied"))
    for frame in clip.frames:
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "copied"))), frame


@pytest.mark.parametrize("by_value", [False, True])
def test_missing_plate_black(server, clip, by_value):
    clip.plate(1003).unlink()
    outputs = Outputs(layers=("alpha", "trimap", "confidence", "foreground"), split=True)
    shot, files = clip.shot(KEYS, missing="black", outputs=outputs), {}
    if by_value:
        shot, files = clip.by_value(shot)
    assert server.run(shot, **files).computed == 6
    for layer in ("", "trimap.", "foreground."):
        assert not pixels(clip.folder / "out" / f"alpha.{layer}1003.exr").any()
    assert header(clip.out(1003)).metadata["dvm:missing"] == "black"
    held = clip.shot(KEYS, out="held", missing="hold", outputs=outputs)
    server.run(held)
    for frame in (1002, 1004):
        assert np.array_equal(pixels(clip.out(frame)), pixels(clip.out(frame, "held")))


def test_no_plate_at_all_is_an_error_under_every_policy(server, clip):
    for frame in clip.frames:
        clip.plate(frame).unlink()
    refused(server, clip.shot(KEYS, missing="black"), "input.missing_plate", frame=1001)


def test_missing_first_plate_is_held_from_the_next(server, clip):
    clip.plate(1001).unlink()
    assert server.run(clip.shot(KEYS, missing="hold")).computed == 6


def test_truncated_exr(server, clip):
    data = clip.plate(1004).read_bytes()
    clip.plate(1004).write_bytes(data[: len(data) // 2])
    refused(server, clip.shot((1001,)), "input.damaged", clip.plate(1004), frame=1004)
    assert nothing_in(clip)


def test_a_plate_that_is_no_image(server, clip):
    clip.plate(1002).write_bytes(b"not an image at all")
    refused(server, clip.shot(KEYS), "input.damaged", clip.plate(1002), frame=1002)
    assert nothing_in(clip)


def test_a_photograph_as_trimap(server, clip):
    noise = np.random.default_rng(1).integers(0, 256, SIZE, np.uint8)
    write_image(clip.trimap(1006), noise, ("Y",), pixel_type="uint8")
    refused(server, clip.shot(KEYS), "input.not_a_trimap", clip.trimap(1006), frame=1006)
    assert nothing_in(clip)


def test_a_trimap_of_another_size(server, clip):
    write_image(clip.trimap(1001), np.zeros((5, 5), np.uint8), ("Y",), pixel_type="uint8")
    refused(server, clip.shot((1001,)), "input.trimap_size", clip.trimap(1001), frame=1001)
    assert nothing_in(clip)


def test_missing_trimap(server, clip):
    clip.trimap(1006).unlink()
    error = refused(server, clip.shot(KEYS), "input.missing_trimap", clip.trimap(1006), frame=1006)
    assert error.exit_code == 10


def test_no_keyframe_within_the_frames(server, clip):
    clip.paint_trimap(900)
    refused(server, clip.shot((900,)), "input.no_keyframe", "1001", frame=1001)


def test_given_trimaps_that_leave_a_gap(server, clip):
    for frame in (1001, 1002, 1004, 1005, 1006):
        clip.paint_trimap(frame)
    given = Trimaps(pattern=str(clip.folder / "key.####.png"))
    shot = replace(clip.shot(KEYS), keyframes=(), trimaps=given)
    refused(server, shot, "input.no_keyframe", "1003", frame=1003)
    # With a keyframe the gap is carried over.
    assert server.run(replace(clip.shot(KEYS), trimaps=given)).computed == 6
    sources = [header(clip.out(f)).metadata["dvm:trimap"] for f in (1001, 1002, 1003)]
    assert sources == ["painted", "given", "propagated"]


def test_output_folder_that_is_not_there(server, clip):
    shot = clip.shot(KEYS)
    gone = replace(shot, outputs=Outputs(pattern=str(clip.folder / "gone" / "a.####.exr")))
    refused(server, gone, "input.output_unwritable", clip.folder / "gone")


def test_output_that_is_no_exr(server, clip):
    shot = replace(clip.shot(KEYS), outputs=Outputs(pattern=str(clip.folder / "a.####.png")))
    refused(server, shot, "input.output_unwritable", "a.####.png")


def test_outputs_over_the_plates_are_refused_even_with_overwrite(server, clip):
    before = clip.plate(1001).read_bytes()
    shot = clip.shot(KEYS, overwrite=True)
    over = replace(shot, outputs=Outputs(pattern=str(clip.folder / "plate.####.exr")))
    refused(server, over, "input.output_is_input", clip.plate(1001), frame=1001)
    assert clip.plate(1001).read_bytes() == before


@pytest.mark.parametrize("links", ["outputs", "plates", "a file", "hard"])
def test_outputs_over_the_plates_are_refused_through_links_too(server, clip, links):
    """Each would replace a plate by its matte under another name."""
    before = clip.plate(1001).read_bytes()
    shot = clip.shot(KEYS, overwrite=True)
    linked, out = clip.folder.with_name("linked"), clip.folder / "out"
    linked.symlink_to(clip.folder)
    if links == "outputs":
        pattern = linked / "plate.####.exr"
    elif links == "plates":
        pattern = clip.folder / "plate.####.exr"
        shot = replace(shot, plates=Plates(pattern=str(linked / "plate.####.exr")))
    else:
        pattern = out / "a.####.exr"
        if links == "hard":
            (out / "a.1001.exr").hardlink_to(clip.plate(1001))
        else:
            clip.plate(1001).rename(out / "a.1001.exr")
            clip.plate(1001).symlink_to(out / "a.1001.exr")
    shot = replace(shot, outputs=Outputs(pattern=str(pattern)))
    refused(server, shot, "input.output_is_input", "1001.exr", frame=1001)
    assert clip.plate(1001).read_bytes() == before


def test_an_output_over_a_trimap_in_a_linked_folder(server, clip):
    shot = clip.shot((1001,), overwrite=True)
    key = clip.folder / "out" / "a.1006.exr"
    write_image(key, np.full(SIZE, 0.5, np.float32), ("Y",))
    before = key.read_bytes()
    (clip.folder / "latest").symlink_to("out")
    painted = (*shot.keyframes, Keyframe(1006, trimap=str(key)))
    shot = replace(
        shot,
        keyframes=painted,
        outputs=Outputs(pattern=str(clip.folder / "latest" / "a.####.exr")),
    )
    refused(server, shot, "input.output_is_input", key, frame=1006)
    assert key.read_bytes() == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("what", ["a pipe or a device", "a folder"])
def test_what_is_no_file_in_the_place_of_an_output(server, clip, what, overwrite):
    """Opened, a pipe would keep the server waiting for ever, and all its users with it."""
    shot = clip.shot(KEYS, overwrite=overwrite)
    if what == "a folder":
        clip.out(1003).mkdir()
    else:
        os.mkfifo(clip.out(1003))
    error = refused(
        server, shot, "input.output_unwritable", clip.out(1003), f"is {what}", frame=1003
    )
    assert error.exit_code == 10
    assert [one.name for one in (clip.folder / "out").iterdir()] == ["alpha.1003.exr"]
    assert server.run(clip.shot(KEYS, out="elsewhere")).computed == 6  # others are served


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_that_leads_nowhere_in_the_place_of_an_output(server, clip, overwrite):
    shot = clip.shot(KEYS, overwrite=overwrite)
    clip.out(1003).symlink_to(clip.folder / "gone.exr")
    if overwrite:
        assert server.run(shot).computed == 6
        assert not clip.out(1003).is_symlink()
    else:
        refused(server, shot, "input.output_exists", clip.out(1003), frame=1003)
    assert not (clip.folder / "gone.exr").exists()


@pytest.mark.parametrize("what", ["plate", "trimap", "guide", "given"])
def test_a_pipe_among_what_is_read(server, clip, what):
    pipe = clip.folder / "pipe.1001.exr"
    os.mkfifo(pipe)
    shot = clip.shot(KEYS)
    if what == "plate":
        for frame in clip.frames[1:]:
            clip.plate(frame).rename(clip.folder / f"pipe.{frame}.exr")
        shot = replace(shot, plates=Plates(pattern=str(clip.folder / "pipe.####.exr")))
    elif what == "trimap":
        shot = replace(shot, keyframes=(Keyframe(1001, trimap=str(pipe)),))
    elif what == "given":
        shot = replace(shot, trimaps=Trimaps(pattern=str(clip.folder / "pipe.####.exr")))
        shot = replace(shot, keyframes=shot.keyframes[1:])
    else:
        shot = replace(shot, guides=Guides(garbage=Guide(str(pipe))))
    refused(server, shot, "input.unreadable", pipe, "pipe", frame=1001)
    assert nothing_in(clip)


def test_the_name_of_an_output_is_too_long(server, clip):
    name = "a" * 245 + ".####.exr"
    shot = replace(clip.shot(KEYS), outputs=Outputs(pattern=str(clip.folder / "out" / name)))
    error = refused(server, shot, "input.output_unwritable", "a" * 245, "too long")
    assert error.exit_code == 10 and nothing_in(clip)


@pytest.mark.parametrize("what", ["plate", "trimap", "given", "guide"])
def test_a_name_that_is_too_long(what, server, clip):
    """Nobody can tell whether that is there: not "it is missing", and no fault of ours."""
    shot, path = clip.shot(KEYS), clip.folder / ("b" * 260 + ".1001.exr")
    pattern = str(path).replace("1001", "####")
    if what == "plate":
        shot = replace(shot, plates=Plates(pattern=pattern))
    elif what == "trimap":
        shot = replace(shot, keyframes=(Keyframe(1001, trimap=str(path)),))
    elif what == "given":
        shot = replace(shot, trimaps=Trimaps(pattern=pattern), keyframes=shot.keyframes[1:])
    else:
        shot = replace(shot, guides=Guides(garbage=Guide(pattern)))
    refused(server, shot, "input.unreadable", path, "too long", frame=1001)
    assert nothing_in(clip)


def test_one_output_for_many_frames(server, clip):
    shot = replace(clip.shot(KEYS), outputs=Outputs(pattern=str(clip.folder / "a.exr")))
    refused(server, shot, "input.pattern", "a.exr")


def test_one_plate_for_many_frames(server, clip):
    shot = replace(clip.shot(KEYS), plates=Plates(pattern=str(clip.plate(1001))))
    refused(server, shot, "input.pattern", clip.plate(1001))


@pytest.mark.parametrize("name", ["x", "x" * 300])
def test_a_named_checkpoint_that_is_not_there(server, clip, name):
    shot = clip.shot(KEYS, checkpoint=f"/gone/{name}.safetensors")
    assert refused(server, shot, "setup.no_checkpoint", f"/gone/{name}").exit_code == 20
    assert nothing_in(clip)


def test_a_fault_of_the_engine_has_a_report_number_that_finds_the_traceback(server, clip):
    from host_plugins.client.errors import ServerError

    with pytest.raises(ServerError) as caught:
        server.run(clip.shot(KEYS, network="broken"))
    error = caught.value
    assert error.exit_code == 70 and len(error.report) == 8 and error.report in error.hint
    log = server.log()
    assert f"report {error.report}" in log
    assert "a fault of the engine" in log[log.index(error.report) :]
    assert nothing_in(clip)


def test_plate_rendered_again_under_the_old_name(server, clip):
    server.run(clip.shot(KEYS))
    before = stamps(clip.folder / "out")
    clip.paint_plate(1005, seed=7)
    refused(
        server, clip.shot(KEYS), "input.plate_changed", clip.plate(1005), clip.out(1005), frame=1005
    )
    assert stamps(clip.folder / "out") == before
    # The span between the keyframes depends on that plate, the keyframes' mattes by the window.
    assert server.run(clip.shot(KEYS, overwrite=True)).computed == 6


def test_another_keyframe_under_the_old_name(server, clip):
    server.run(clip.shot(KEYS))
    clip.paint_trimap(1006, columns=5)
    refused(server, clip.shot(KEYS), "input.trimap_changed", "1006", frame=1006)


def test_a_keyframe_that_was_added(server, clip):
    server.run(clip.shot(KEYS))
    clip.paint_trimap(1003)
    refused(server, clip.shot((1001, 1003, 1006)), "input.trimap_changed", "1003", frame=1003)
    assert server.run(clip.shot((1001, 1003, 1006), overwrite=True)).computed == 6


def test_a_plate_of_another_size(server, clip):
    write_image(clip.plate(1004), np.zeros((5, 5, 3), np.float32), ("R", "G", "B"))
    refused(server, clip.shot((1001,)), "input.plate_size", clip.plate(1004), "5×5", frame=1004)
    assert nothing_in(clip)


def test_other_options(server, clip):
    server.run(clip.shot(KEYS))
    shot = clip.shot(KEYS, window="causal")
    refused(server, shot, "input.options_changed", clip.out(1001), frame=1001)
    assert server.run(replace(shot, options=replace(shot.options, overwrite=True))).computed == 6


def test_overwriting_writes_only_what_differs(server, clip, make_clip):
    """Frames far from the changed plate keep their files."""
    for frame in clip.frames:
        clip.paint_trimap(frame)
    shot = replace(
        clip.shot(KEYS), keyframes=(), trimaps=Trimaps(pattern=str(clip.folder / "key.####.png"))
    )
    server.run(shot)
    before = stamps(clip.folder / "out")
    clip.paint_plate(1001, seed=3)
    again = replace(shot, options=replace(shot.options, overwrite=True))
    assert server.run(again).computed == 3
    after = stamps(clip.folder / "out")
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"alpha.{f}.exr" for f in (1001, 1002, 1003)}


def test_somebody_elses_file(server, clip):
    clip.shot(KEYS)
    theirs = clip.out(1003)
    theirs.write_bytes(clip.plate(1003).read_bytes())
    refused(server, clip.shot(KEYS), "input.output_exists", theirs, frame=1003)
    assert theirs.read_bytes() == clip.plate(1003).read_bytes()
    assert server.run(clip.shot(KEYS, overwrite=True)).computed == 6


def test_our_file_that_somebody_changed(server, clip):
    server.run(clip.shot(KEYS))
    with clip.out(1002).open("ab") as file:
        file.write(b"x")
    refused(server, clip.shot(KEYS), "input.output_exists", clip.out(1002), frame=1002)


def test_by_value_the_clients_files_are_judged_in_the_same_way(server, clip):
    shot = clip.shot(KEYS)
    sent, files = clip.by_value(shot)
    server.run(sent, **files)
    plate = clip.plate(1005).read_bytes()
    clip.paint_plate(1005, seed=7)
    sent, files = clip.by_value(shot)
    refused(server, sent, "input.plate_changed", "1005", frame=1005, **files)
    clip.plate(1005).write_bytes(plate)
    sent, files = clip.by_value(shot)
    clip.out(1004).write_bytes(b"theirs")
    refused(server, sent, "input.output_exists", "1004", frame=1004, **files)


def test_lossy_compression_of_a_matte(server, clip):
    shot = clip.shot(KEYS, outputs=Outputs(layers=("alpha", "foreground"), compression="b44"))
    refused(server, shot, "input.lossy_compression")


def test_unwritable_in_the_middle_of_a_job(server, clip, tmp_path: Path):
    """The folder goes away while frames are being made."""
    import shutil

    from tests.server.serving import in_thread, wait_for

    shot = clip.shot(KEYS, network="slow=0.2")
    thread, found = in_thread(lambda: server.run(shot))
    wait_for(lambda: len(list((clip.folder / "out").glob("*.exr"))) >= 1)
    shutil.rmtree(clip.folder / "out")
    thread.join(30)
    assert isinstance(found[0], InputError), found
    assert found[0].code == "input.output_unwritable" and str(clip.folder / "out") in str(found[0])
