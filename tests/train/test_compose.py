"""`dvm-train compose`: whatever happens, clips are there whole, the same, and told of."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from model.errors import CapacityError, InputError
from tests.train.composing import (
    background,
    disc,
    flat,
    footage,
    hashes,
    layout,
    noise,
    save,
    staged,
    still,
)
from training.cli import main
from training.composing import folder as composition_folder
from training.composing import run as composition_run
from training.composing.manifest import read_manifest, write_manifest
from training.composing.run import compose_set
from training.composing.selection import Request, select

ROOT = Path(__file__).parents[2]


def compose(root, out, **asked):
    """As the command does, in this process; what was said is in `said`."""
    said: list[str] = []
    options = {key: asked.pop(key) for key in ("workers", "skip_missing", "quick") if key in asked}
    request = Request(root, per_foreground=3, **asked)
    done = compose_set(request, select(request), out, said.append, **options)
    return done, said


def run(*arguments):
    with pytest.raises(SystemExit) as left:
        main(["compose", *map(str, arguments)])
    return left.value.code or 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A layout, and what it comes to with one process."""
    folder = tmp_path_factory.mktemp("whole")
    layout(folder / "root")
    done, _ = compose(folder / "root", folder / "out")
    assert len(done.made) == 9 and done.skipped == ()
    return folder / "root", folder / "out"


def test_clips_and_manifest(whole):
    _, out = whole
    manifest = read_manifest(out)
    assert (manifest["light"], manifest["foreground"], manifest["skipped"]) == (
        *("display", "straight"),
        [],
    )
    found = hashes(out)
    for name, entry in manifest["clips"].items():
        for part in "vafb":
            names = sorted(path.name for path in (out / part / name).iterdir())
            assert names == [f"{index:05d}.png" for index in range(entry["frames"])]
        assert entry["pair"][0] in ("image", "video") and len(entry["sha256"]) == 64
        assert len(entry["motion"]) == (1 if entry["pair"][0] == "image" else 0)
    assert len(found) == sum(4 * entry["frames"] for entry in manifest["clips"].values())
    assert staged(out) == []
    assert "image_leaf (1) [b].v2_0002~" in " ".join(manifest["clips"])
    frames = {entry["pair"][2]: entry["frames"] for entry in manifest["clips"].values()}
    assert frames == {"0000": 5, "sky_1": 5, "0002": 6}  # the shot has 6, its background 7


def test_two_processes_make_the_same_bytes(whole, tmp_path):
    root, out = whole
    compose(root, tmp_path / "out", workers=2)
    assert hashes(tmp_path / "out") == hashes(out)
    assert (tmp_path / "out/manifest.json").read_bytes() == (out / "manifest.json").read_bytes()


def test_a_list_in_another_order_makes_the_same_clips(whole, tmp_path):
    root, out = whole
    lines = ["video+0000+0002", "image+a+b.png+sky_1", "image+leaf (1) [b].v2.png+0000"]
    (tmp_path / "pairs.txt").write_text("\n".join(lines))
    request = Request(root, pairs=tmp_path / "pairs.txt")
    compose_set(request, select(request), tmp_path / "out", lambda line: None)
    some = hashes(tmp_path / "out")
    assert len(some) == 4 * (6 + 5 + 5)
    assert some.items() <= hashes(out).items()


def test_a_run_that_was_killed_goes_on_to_the_same_bytes(tmp_path):
    root, out = tmp_path / "root", tmp_path / "out"
    for index in range(3):
        still(root, f"{index}.png", disc(300, 200))
    background(root, "0000", frames=12, size=(300, 200))
    background(root, "0001", frames=12, size=(300, 200))
    command = [sys.executable, "-m", "training.cli", "compose", "-i", root, "-o", out]
    command += ["--workers", "2", "--per-foreground", "2"]
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not list((out / "v").glob("*")) and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in (out / "v").rglob("*.png")}
    assert 0 < len({path.parent for path in before}) < 6
    # its processes end with it, and leave the folder to the next run
    assert run("-i", root, "-o", out, "--workers", 1, "--per-foreground", 2) == 0
    assert run("-i", root, "-o", tmp_path / "other", "--workers", 1, "--per-foreground", 2) == 0
    assert hashes(out) == hashes(tmp_path / "other")
    assert (out / "manifest.json").read_bytes() == (tmp_path / "other/manifest.json").read_bytes()
    finished = [p for p in before if (out / "a" / p.parent.name).is_dir()]
    assert all(path.stat().st_mtime_ns == before[path] for path in finished)
    assert staged(out) == []


class Died(BaseException):
    pass


@pytest.mark.parametrize("steps", range(11, 16))
@pytest.mark.parametrize("what", ["rename", "write_png"])
def test_wherever_it_stops_the_next_run_makes_it_whole(whole, tmp_path, monkeypatch, what, steps):
    """A power cut after so many folders have their places, four a clip, or after so many frames."""
    root, out = whole
    count = 0
    target = Path if what == "rename" else composition_folder
    real = getattr(target, what)

    def cut(*arguments):
        nonlocal count
        count += 1
        if count > steps:
            raise Died
        return real(*arguments)

    monkeypatch.setattr(target, what, cut)
    monkeypatch.setattr(composition_run, "write_manifest", lambda *_: None)
    monkeypatch.setattr(composition_folder.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(Died):
        compose(root, tmp_path)
    monkeypatch.undo()
    assert not (tmp_path / "manifest.json").exists()
    done, _ = compose(root, tmp_path)
    assert len(done.kept) == (steps // 4 + 1 if what == "rename" else 0)
    assert hashes(tmp_path) == hashes(out)
    assert (tmp_path / "manifest.json").read_bytes() == (out / "manifest.json").read_bytes()
    assert staged(tmp_path) == []


def test_finished_clips_are_seen_to_and_not_written_again(whole, tmp_path):
    root, _ = whole
    compose(root, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    done, _ = compose(root, tmp_path)
    assert (len(done.made), len(done.kept)) == (0, 9)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")}
    good = hashes(tmp_path)
    names = sorted(read_manifest(tmp_path)["clips"])
    (tmp_path / "a" / names[0] / "00001.png").write_bytes(b"changed")
    (tmp_path / "f" / names[1] / "00002.png").unlink()
    done, said = compose(root, tmp_path, quick=True)  # counts alone
    assert done.made == (names[1],)
    done, said = compose(root, tmp_path)
    assert done.made == (names[0],) and f"{names[0]} was changed" in " ".join(said)
    assert hashes(tmp_path) == good


def test_clips_of_a_source_that_changed_are_composed_again(tmp_path):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    compose(root, out)
    save(root / "fg/image/train/alpha/a+b.png", disc(36, 36, soft=9))
    done, _ = compose(root, out)
    assert len(done.made) == 3 and all(name.startswith("image_a+b_") for name in done.made)


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("source", ["fg/image/train/fg/a+b.png", "bg/train/0000/0003.png"])
def test_a_source_that_changed_is_noticed_by_its_bytes(whole, tmp_path, source, quick):
    root, out = shutil.copytree(whole[0], tmp_path / "root"), tmp_path / "out"
    compose(root, out)
    data = bytearray((root / source).read_bytes())
    data[-1] ^= 1  # of a checksum that OpenCV does not look at: as long as before, and decoded
    (root / source).write_bytes(data)
    done, _ = compose(root, out, quick=quick)
    assert len(done.made) == 3
    assert hashes(out) == hashes(whole[1])
    assert compose(root, out, quick=quick)[0].made == ()


def test_a_copy_of_the_layout_is_the_layout(whole, tmp_path):
    root, out = whole
    shutil.copytree(root, tmp_path / "root", copy_function=shutil.copyfile)  # with other times
    shutil.copytree(out, tmp_path / "out")
    done, _ = compose(tmp_path / "root", tmp_path / "out")
    assert done.made == ()
    compose(tmp_path / "root", tmp_path / "other")
    for one in (tmp_path / "out", tmp_path / "other"):
        assert (one / "manifest.json").read_bytes() == (out / "manifest.json").read_bytes()


def test_a_set_of_a_version_before_is_not_composed_again(whole, tmp_path):
    """Its manifest knows sizes of sources, and no digests."""
    root, out = whole
    shutil.copytree(out, tmp_path / "out")
    manifest = read_manifest(out)
    for one in manifest["clips"].values():
        one["sources"] = {part: known[:3] for part, known in one["sources"].items()}
    write_manifest(tmp_path / "out", manifest)
    before = (tmp_path / "out/manifest.json").read_bytes()
    assert compose(root, tmp_path / "out")[0].made == ()
    assert (tmp_path / "out/manifest.json").read_bytes() == before


def test_other_settings_another_folder(whole):
    root, out = whole
    with pytest.raises(InputError, match=r"bg_blur False, and now it is .* bg_blur True"):
        compose(root, out, bg_blur=True)
    with pytest.raises(InputError, match="seed 2019"):
        compose(root, out, seed=1)


def test_missing_and_mismatched_files_are_told_at_once_and_nothing_is_written(tmp_path, capsys):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    footage(root, "0001", frames=4)
    (root / "fg/video/train/0001/a/00003.png").unlink()  # shorter than its colour
    (root / "fg/video/train/0002").mkdir()  # empty
    still(root, "small.png")
    save(root / "fg/image/train/alpha/small.png", disc(20, 20))
    still(root, "bare.png")
    (root / "fg/image/train/alpha/bare.png").unlink()
    still(root, "broken.png")
    (root / "fg/image/train/fg/broken.png").write_bytes(b"no picture")
    still(root, "swapped.png")
    save(root / "fg/image/train/alpha/swapped.png", noise(30, 40, 5))
    options = ("-i", root, "-o", out, "--workers", 1, "--per-foreground", 1)
    assert run(*options) == 10
    told = capsys.readouterr().err
    for part in (
        "0001/f has 4 frames and its alpha a 3",
        "0002/f.mp4 is not there; ",
        "0002/a.mp4 is not there",
        "fg/small.png is 40×30 and its alpha 20×20",
        "alpha/bare.png is not there",
        "fg/broken.png is damaged, or no picture",
        "alpha/swapped.png should be an alpha and is a picture in colour",
        "6 of 9 pairs cannot be composed",
        "--skip-missing",
    ):
        assert part in told
    assert not out.exists()
    assert run(*options, "--skip-missing") == 0
    shown = capsys.readouterr().out
    assert shown.count("skipped image+") == 4 and shown.count("skipped video+") == 2
    assert "3 clips composed, 0 were there, 6 pairs skipped" in shown
    manifest = read_manifest(out)
    assert len(manifest["clips"]) == 3
    assert len(manifest["skipped"]) == 6 and all(one["reasons"] for one in manifest["skipped"])


def test_what_shows_while_composing_is_told_when_the_rest_is_done(tmp_path, capsys):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    (root / "bg/train/sky_1/0003.png").write_bytes(b"no picture")  # not the first: not opened
    options = ("-i", root, "-o", out, "--workers", 2, "--per-foreground", 3)
    assert run(*options) == 10
    told = capsys.readouterr().err
    assert "3 of 9 pairs cannot be composed" in told and "sky_1/0003.png is damaged" in told
    assert len(read_manifest(out)["clips"]) == 6
    assert len(list((out / "v").iterdir())) == len(list((out / "b").iterdir())) == 6
    assert staged(out) == []
    assert run(*options, "--skip-missing") == 0
    assert "6 were there, 3 pairs skipped" in capsys.readouterr().out


def test_nothing_to_compose_is_an_error_even_if_it_may_be_skipped(tmp_path, capsys):
    background(tmp_path / "root", "0000")
    (tmp_path / "root/fg/video/train/0000").mkdir(parents=True)
    assert run("-i", tmp_path / "root", "-o", tmp_path / "out", "--skip-missing") == 10
    assert "1 of 1 pairs cannot be composed" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_no_space_is_a_matter_of_capacity_and_leaves_nothing_half(tmp_path, workers):
    """The system refuses to make files larger than 20 kB, as it would on a full disk."""
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    still(root, "z.png", disc(300, 300))
    background(root, "0009", frames=2, size=(300, 300))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("image+a+b.png+0000\nimage+z.png+0009\n")
    command = [sys.executable, "-m", "training.cli", "compose", "-i", root, "-o", out]
    command += ["--workers", workers, "--pairs", pairs]

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    said = subprocess.run(
        list(map(str, command)), cwd=ROOT, preexec_fn=limited, capture_output=True, text=True
    )
    assert said.returncode == 75, said.stderr
    assert "no space left to write in" in said.stderr and "Traceback" not in said.stderr
    known = sorted(read_manifest(out)["clips"])
    for part in "vafb":
        assert sorted(one.name for one in (out / part).glob("*")) == known
    assert all("z_" not in name for name in known)
    assert run("-i", root, "-o", out, "--workers", 1, "--pairs", pairs) == 0
    assert len(read_manifest(out)["clips"]) == 2


def test_a_full_disk_keeps_the_manifest_of_before(whole, tmp_path, monkeypatch):
    root, _ = whole
    compose(root, tmp_path, kinds=("video",))
    before = (tmp_path / "manifest.json").read_bytes()

    def full(*_):
        raise CapacityError("capacity.disk_full", "no space left")

    monkeypatch.setattr(composition_run, "write_manifest", full)
    with pytest.raises(CapacityError):
        compose(root, tmp_path)
    monkeypatch.undo()
    assert (tmp_path / "manifest.json").read_bytes() == before
    done, _ = compose(root, tmp_path)
    assert len(done.kept) == 9  # six of them were whole, and waited


def test_the_folder_of_another_run_or_of_somebody_is_left_alone(whole, tmp_path):
    root, out = whole
    with composition_folder.locked(tmp_path), pytest.raises(InputError, match="another"):
        compose(root, tmp_path)
    name = min(read_manifest(out)["clips"])
    (tmp_path / "v" / name).mkdir(parents=True)
    (tmp_path / "v" / name / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="the manifest does not know it"):
        compose(root, tmp_path)
    assert (tmp_path / "v" / name / "mine.txt").read_text() == "mine"


def test_an_interrupted_run_says_so_and_goes_on(whole, tmp_path, monkeypatch, capsys):
    root, out = whole
    real = composition_run.publish_clip
    seen = []

    def interrupted(*arguments):
        seen.append(arguments)
        if len(seen) == 4:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(composition_run, "publish_clip", interrupted)
    options = ("-i", root, "-o", tmp_path / "out", "--workers", 1, "--per-foreground", 3)
    assert run(*options) == 130
    assert "cancelled" in capsys.readouterr().err
    assert len(read_manifest(tmp_path / "out")["clips"]) == 3
    monkeypatch.undo()
    assert run(*options) == 0
    assert hashes(tmp_path / "out") == hashes(out)


def test_the_command_draws_a_list_writes_it_down_and_keeps_to_it(tmp_path, capsys):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    options = ("-i", root, "-o", out, "--workers", 1)
    assert run(*options, "--per-foreground", 2, "--seed", 5, "--image-only") == 0
    text = (out / "pairs.txt").read_text()
    assert text.startswith("# drawn by dvm-train compose --phase train --seed 5 --per-foreground 2")
    assert len(text.splitlines()) == 1 + 6
    assert "2 pairs are not of the kind asked for" in capsys.readouterr().err
    assert run(*options, "--per-foreground", 2, "--seed", 5, "--max-size-from-video", 1) == 0
    assert "1 clips composed, 4 were there" in capsys.readouterr().out
    assert (out / "pairs.txt").read_text() == text
    assert run(*options, "--per-foreground", 1, "--seed", 5) == 10
    assert "pairs.txt was drawn by" in capsys.readouterr().err
    manifest = read_manifest(out)
    assert manifest["pairs"]["file"] == "pairs.txt"
    assert manifest["settings"] == {"phase": "train", "seed": 5, "bg_blur": False}


@pytest.mark.parametrize(
    "arguments, code",
    [
        (("--classes", "huge"), 2),
        (("--phase", "evaluation"), 2),
        (("--image-only", "--video-only"), 2),
        (("--pairs", "nowhere.txt"), 10),
        (("--phase", "test"), 10),
        (("--max-size-from-image", 0, "--max-size-from-video", 0), 10),
    ],
)
def test_what_cannot_be_asked_for(whole, tmp_path, capsys, arguments, code):
    root, _ = whole
    assert run("-i", root, "-o", tmp_path / "out", "--workers", 1, *arguments) == code
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_foregrounds_that_cannot_be_used_are_listed_before_anything_is_written(tmp_path, capsys):
    root = layout(tmp_path / "root")
    (root / "fg/video/train/loop").symlink_to("loop")
    for half in ("alpha", "fg"):
        (root / "fg/image/train" / half / "gone.png").symlink_to("nowhere.png")
    given = "-i", root, "-o", tmp_path / "out", "--workers", 1, "--per-foreground", 1
    assert run(*given) == 10
    said = capsys.readouterr().err
    assert f"{root / 'fg/video/train/loop'} is a link that leads nowhere" in said
    assert f"{root / 'fg/image/train/alpha/gone.png'} is a link that leads nowhere" in said
    assert not (tmp_path / "out").exists()
    assert run(*given, "--skip-missing") == 0
    said = capsys.readouterr().out
    assert "3 clips composed" in said and "2 pairs skipped" in said
    assert "skipped video+loop+" in said and "skipped image+gone.png+" in said


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"schema": 99, "clips": {}}',
        '{"clips": []}',
        '{"clips": {"a": "b"}}',
        '{"settings": [1]}',
    ],
)
def test_a_damaged_manifest_is_one_sentence_and_stays(whole, tmp_path, text):
    root, _ = whole
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        compose(root, tmp_path)
    assert (tmp_path / "manifest.json").read_text() == text


@pytest.mark.parametrize("clips", ['{"a": "b"}', "[1]", "7"])
def test_what_is_no_table_is_refused_by_whoever_reads_a_manifest(tmp_path, clips):
    (tmp_path / "manifest.json").write_text(f'{{"clips": {clips}}}')
    with pytest.raises(InputError, match=r"manifest\.json is no manifest of clips: .*no table"):
        read_manifest(tmp_path)


def spoil_text(path):
    path.write_bytes(b"# \xff\xfe\n")


def spoil_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [spoil_text, spoil_folder])
def test_a_damaged_list_of_its_own_is_one_sentence(tmp_path, capsys, spoil):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    options = ("-i", root, "-o", out, "--workers", 1, "--per-foreground", 1, "--quick")
    assert run(*options) == 0
    spoil(out / "pairs.txt")
    assert run(*options) == 10
    said = capsys.readouterr().err
    assert f"{out / 'pairs.txt'}, the list this data set was drawn by, cannot be read" in said
    assert "another folder with --output" in said and "Traceback" not in said


@pytest.mark.parametrize("name", ["lonely", "c+d"])
def test_run_again_it_changes_nothing_of_what_was_skipped(tmp_path, name):
    root, out = layout(tmp_path / "root"), tmp_path / "out"
    save(root / f"fg/image/train/fg/{name}.png", flat(disc()))
    options = ("-i", root, "-o", out, "--workers", 1, "--per-foreground", 1, "--skip-missing")
    assert run(*options) == 0
    before = (out / "manifest.json").read_bytes()
    assert f"image+{name}.png+".encode() in before
    assert run(*options) == 0
    assert (out / "manifest.json").read_bytes() == before


def test_manifests_keep_what_others_wrote_into_them(tmp_path):
    write_manifest(tmp_path, {"schema": 1, "clips": {"b": {"x": 1}, "a": {}}, "note": "ours"})
    found = json.loads((tmp_path / "manifest.json").read_text())
    assert found == {"schema": 1, "note": "ours", "clips": {"a": {}, "b": {"x": 1}}, "skipped": []}
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
