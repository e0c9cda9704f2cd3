"""`dvm-train records`: written as the published tools do, each planted fault found and repaired."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tfrecord
from tfrecord.tools.tfrecord2idx import create_index

from training import cli
from training.tfrecords import writing as record_writing
from training.tfrecords.format import masked_crc, parse_example, places, read_index, walk
from training.tfrecords.layout import MODES
from training.tfrecords.manifest import read_manifest

WIDTH, HEIGHT = 40, 24
CLIPS = ("image_rose.v2_0001", "video_0003_0041")
FIRST, OTHER = CLIPS
KINDS = {"v": "byte", "f": "byte", "b": "byte", "a": "byte", "index": "int"}


def lay_out(root: Path, clips=CLIPS, frames=5, first=0, suffix=None) -> Path:
    """A folder of clips as published, with trimaps; JPEG and PNG in turn unless told otherwise."""
    for number, clip in enumerate(clips):
        rng = np.random.default_rng(number)
        front, back = rng.integers(0, 256, (2, HEIGHT // 4, WIDTH // 4, 3), dtype=np.uint8)
        front, back = (cv2.resize(one, (WIDTH, HEIGHT)) for one in (front, back))
        for frame in range(frames):
            disc = np.zeros((HEIGHT, WIDTH), np.uint8)
            cv2.circle(disc, (10 + frame, 12), 7, 255, -1)
            alpha = cv2.GaussianBlur(disc, (5, 5), 0)
            trimap = np.where(alpha == 255, 255, np.where(alpha == 0, 0, 128)).astype(np.uint8)
            share = alpha[..., None] / 255
            pictures = {
                "v": front * share + back * (1 - share),
                "f": front * share,
                "b": back,
                "a": alpha if frame % 2 else cv2.merge([alpha] * 3),
                "t": trimap,
            }
            kind = suffix or (".jpg", ".png")[frame % 2]
            for key, picture in pictures.items():
                place = root / key / clip
                place.mkdir(parents=True, exist_ok=True)
                codes = np.rint(picture).astype(np.uint8)
                cv2.imwrite(str(place / f"{first + frame:05d}{kind}"), codes)
    return root


def straight(folder: Path) -> Path:
    """Clips with the manifest of `dvm-train compose` beside them."""
    clips = {clip: {"frames": 5} for clip in CLIPS}
    told = {"schema": 1, "light": "display", "foreground": "straight", "clips": clips}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder


def run(*arguments: object) -> int:
    """`dvm-train records …`; its exit code."""
    with pytest.raises(SystemExit) as left:
        cli.main(["records", "--workers", "1", *map(str, arguments)])
    return int(left.value.code or 0)


def log(folder: Path, stage: str) -> dict[str, dict]:
    lines = (folder / f"{stage}.jsonl").read_text().splitlines()
    return {one["clip"]: one for one in map(json.loads, lines)}


def record(folder: Path, clip: str = FIRST) -> Path:
    return folder / f"{clip}.tfrecord"


def index(folder: Path, clip: str = FIRST) -> Path:
    return folder / f"{clip}.index"


def by_library(path: Path, with_index: bool = True) -> list[dict]:
    """A record as `tfrecord` itself reads it."""
    beside = str(path.with_name(path.name.removesuffix(".tfrecord") + ".index"))
    return list(
        tfrecord.tfrecord_loader(str(path), beside if with_index else None, None, shard=(0, 1))
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return lay_out(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> Path:
    """Good records of the source."""
    folder = tmp_path_factory.mktemp("records")
    assert run("-i", source, "-o", folder, "-m", "vfba", "-s", "write") == 0
    return folder


@pytest.fixture
def out(whole, tmp_path) -> Path:
    """The same, to be spoilt."""
    return Path(shutil.copytree(whole, tmp_path / "records"))


class TestWriting:
    def test_the_library_reads_what_is_written(self, source, whole):
        for clip in CLIPS:
            frames = by_library(record(whole, clip))
            assert [int(one["index"][0]) for one in frames] == [0, 1, 2, 3, 4]
            for number, frame in enumerate(frames):
                suffix = (".jpg", ".png")[number % 2]
                assert set(frame) == set(KINDS)
                for key in "vfba":
                    file = source / key / clip / f"{number:05d}{suffix}"
                    assert frame[key] == file.read_bytes()

    def test_the_index_is_the_librarys(self, whole, tmp_path):
        for clip in CLIPS:
            create_index(str(record(whole, clip)), str(tmp_path / "theirs"))
            assert index(whole, clip).read_bytes() == (tmp_path / "theirs").read_bytes()

    def test_records_of_the_published_tool_are_good(self, source, tmp_path):
        """Written by the library's own writer and its command for an index, from JPEG alone."""
        lay_out(tmp_path / "clips", suffix=".jpg")
        theirs = tmp_path / "theirs"
        theirs.mkdir()
        for clip in CLIPS:
            writer = tfrecord.TFRecordWriter(str(record(theirs, clip)))
            for number in range(5):
                frame = {
                    key: (
                        (tmp_path / "clips" / key / clip / f"{number:05d}.jpg").read_bytes(),
                        "byte",
                    )
                    for key in "vfba"
                }
                writer.write({**frame, "index": (number, "int")})
            writer.close()
            create_index(str(record(theirs, clip)), str(index(theirs, clip)))
        assert run("-o", theirs, "-s", "check") == 0
        assert run("-i", tmp_path / "clips", "-o", theirs, "-s", "check") == 0
        assert log(theirs, "check")[FIRST]["compared"]
        assert run("-i", tmp_path / "clips", "-o", theirs, "-s", "write") == 0
        assert {one["state"] for one in log(theirs, "write").values()} == {"kept"}

    @pytest.mark.parametrize("mode", MODES)
    def test_a_mode_is_its_keys(self, source, tmp_path, mode):
        assert run("-i", source, "-o", tmp_path, "-m", mode) == 0
        assert set(by_library(record(tmp_path))[0]) == {*mode, "index"}
        assert run("-o", tmp_path, "-s", "check") == 0
        assert run("-i", source, "-o", tmp_path, "-s", "verify", "-m", mode) == 0
        other = "va" if mode != "va" else "vt"
        assert run("-i", source, "-o", tmp_path, "-s", "write", "-m", other) == 10

    def test_vt_needs_no_alpha(self, tmp_path):
        lay_out(tmp_path / "clips")
        shutil.rmtree(tmp_path / "clips" / "a")
        assert run("-i", tmp_path / "clips", "-o", tmp_path / "out", "-m", "vt") == 0
        assert len(by_library(record(tmp_path / "out"))) == 5

    def test_same_bytes_with_more_workers_and_another_hash(self, source, whole, tmp_path):
        """The library's own writer would order keys by a hash that differs from run to run."""
        command = [sys.executable, "-m", "training.cli", "records", "--workers", "3"]
        command += ["-i", str(source), "-o", str(tmp_path)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True)
        for clip in CLIPS:
            assert record(tmp_path, clip).read_bytes() == record(whole, clip).read_bytes()
        assert (tmp_path / "records.json").read_bytes() == (whole / "records.json").read_bytes()

    def test_frames_count_from_the_first(self, tmp_path):
        lay_out(tmp_path / "clips", frames=3, first=1001)
        assert run("-i", tmp_path / "clips", "-o", tmp_path / "out") == 0
        assert [int(one["index"][0]) for one in by_library(record(tmp_path / "out"))] == [0, 1, 2]

    def test_only_some(self, source, tmp_path, capsys):
        names = tmp_path / "names"
        names.write_text(f"# people\n{OTHER}\n")
        assert run("-i", source, "-o", tmp_path / "out", "--only", names) == 0
        assert not record(tmp_path / "out").exists() and record(tmp_path / "out", OTHER).exists()
        names.write_text("nobody\n")
        assert run("-i", source, "-o", tmp_path / "out", "--only", names) == 10
        assert "nobody" in capsys.readouterr().err

    def test_human_only_says_why_not(self, source, tmp_path, capsys):
        assert run("-i", source, "-o", tmp_path / "out", "--human_only") == 2
        assert "--only" in capsys.readouterr().err


class TestMisfits:
    """Files that do not fit together are all told, and nothing is written."""

    def misfit(self, tmp_path, capsys) -> str:
        assert run("-i", tmp_path, "-o", tmp_path / "out", "-m", "vfba") == 10
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    def test_missing_frames(self, tmp_path, capsys):
        lay_out(tmp_path, frames=9)
        for number in (1, 2, 3, 6):
            for file in (tmp_path / "a" / FIRST).glob(f"{number:05d}.*"):
                file.unlink()
        (tmp_path / "f" / OTHER / "00008.jpg").unlink()
        told = self.misfit(tmp_path, capsys)
        assert f"a/{FIRST} lacks frames 1–3, 6 of 0–8" in told
        assert f"f/{OTHER} lacks frame 8 of 0–8" in told

    def test_frames_are_paired_by_number_and_not_by_place(self, tmp_path, capsys):
        lay_out(tmp_path)
        (tmp_path / "a" / FIRST / "00004.jpg").rename(tmp_path / "a" / FIRST / "00005.jpg")
        told = self.misfit(tmp_path, capsys)
        assert f"a/{FIRST} lacks frame 4 of 0–5" in told
        assert f"v/{FIRST} lacks frame 5 of 0–5" in told

    def test_missing_clip_of_a_key(self, tmp_path, capsys):
        lay_out(tmp_path)
        shutil.rmtree(tmp_path / "b" / OTHER)
        assert f"b/{OTHER} (background) is missing" in self.misfit(tmp_path, capsys)

    def test_a_missing_key(self, tmp_path, capsys):
        lay_out(tmp_path)
        shutil.rmtree(tmp_path / "f")
        assert "no folder f (foreground)" in self.misfit(tmp_path, capsys)

    def test_same_frame_twice_and_other_formats(self, tmp_path, capsys):
        lay_out(tmp_path)
        shutil.copy(tmp_path / "v" / FIRST / "00001.png", tmp_path / "v" / FIRST / "1.png")
        (tmp_path / "v" / OTHER / "00005.exr").write_bytes(b"x")
        told = self.misfit(tmp_path, capsys)
        assert "00001.png and 1.png are the same frame" in told
        assert "00005.exr is neither JPEG nor PNG" in told

    def test_no_clips(self, tmp_path, capsys):
        for key in "vfba":
            (tmp_path / key).mkdir()
        assert "no clips" in self.misfit(tmp_path, capsys)

    def test_a_manifest_is_held_to(self, tmp_path, capsys):
        """As `dvm-train compose` writes it."""
        lay_out(tmp_path)
        clips = {FIRST: {"frames": 6}, "gone": {"frames": 2}}
        told = {"schema": 1, "light": "display", "foreground": "straight", "clips": clips}
        (tmp_path / "manifest.json").write_text(json.dumps(told))
        found = self.misfit(tmp_path, capsys)
        assert f"{FIRST} has 5 frames, manifest.json says 6" in found
        assert "lists gone, and it is not there" in found and f"does not list {OTHER}" in found

    def test_a_manifest_tells_of_light_and_foreground(self, tmp_path):
        lay_out(tmp_path)
        clips = {FIRST: {"frames": 5}, OTHER: {"frames": 5, "light": "linear"}}
        told = {"schema": 1, "light": "display", "foreground": "straight", "clips": clips}
        (tmp_path / "manifest.json").write_text(json.dumps(told))
        assert run("-i", tmp_path, "-o", tmp_path / "out") == 0
        found = read_manifest(tmp_path / "out")
        assert found is not None and found.mode == "vfba"
        assert (found.clips[FIRST].foreground, found.clips[FIRST].light) == ("straight", "display")
        assert found.clips[OTHER].light == "linear"

    def test_a_spoilt_picture_spoils_its_clip_alone(self, tmp_path, capsys):
        lay_out(tmp_path)
        file = tmp_path / "v" / FIRST / "00002.jpg"
        file.write_bytes(file.read_bytes()[:-40])
        assert run("-i", tmp_path, "-o", tmp_path / "out") == 10
        assert "frame 2: v" in capsys.readouterr().err
        assert sorted(one.suffix for one in (tmp_path / "out").iterdir()) == sorted(
            [".tfrecord", ".index", ".json", ".jsonl", ".log"]
        )
        assert record(tmp_path / "out", OTHER).exists()


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def rewritten(change: Callable[[int, dict], dict | None]) -> Callable[[Path], None]:
    """A record and index that the library writes, each frame changed."""

    def spoil(folder: Path) -> None:
        frames = by_library(record(folder))
        writer = tfrecord.TFRecordWriter(str(record(folder)))
        for number, frame in enumerate(frames):
            told = {key: (frame[key], kind) for key, kind in KINDS.items()}
            changed = change(number, told)
            if changed is not None:
                writer.write(changed)
        writer.close()
        create_index(str(record(folder)), str(index(folder)))

    return spoil


def at_frame_two(**changes: object) -> Callable[[Path], None]:
    def change(number: int, frame: dict) -> dict:
        return {**frame, **changes} if number == 2 else frame

    return rewritten(change)


def png(picture: np.ndarray) -> tuple[bytes, str]:
    return cv2.imencode(".png", picture)[1].tobytes(), "byte"


def truncate(count: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(record(folder), record(folder).stat().st_size - count)


def cut_at_a_frame(folder: Path) -> None:
    lie = places(record(folder))
    os.truncate(record(folder), lie[3].offset)
    index(folder).write_text("".join(f"{p.offset} {p.length}\n" for p in lie[:3]))


def add(folder: Path, data: bytes) -> None:
    with record(folder).open("ab") as file:
        file.write(data)


def stale_index(folder: Path) -> None:
    lines = index(folder).read_text().splitlines(keepends=True)
    index(folder).write_text("".join(lines[:-1]))


def swap(suffixes: tuple[str, ...]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for suffix in suffixes:
            first, other = (folder / f"{clip}{suffix}" for clip in CLIPS)
            first.rename(folder / "kept")
            other.rename(first)
            (folder / "kept").rename(other)

    return spoil


def remove(*suffixes: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / f"{FIRST}{s}").unlink() for s in suffixes] and None


def second(folder: Path) -> int:
    return places(record(folder))[1].offset


GREY = np.full((HEIGHT, WIDTH), 90, np.uint8)
RAMP = np.tile(np.linspace(0, 255, WIDTH, dtype=np.uint8), (HEIGHT, 1))
COLOURS = np.dstack([RAMP, 255 - RAMP, RAMP // 2])
# What is done to the first clip, and a part of what is told.
PLANTED: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of a length": (lambda f: flip(record(f), second(f)), "its length and the checksum"),
    "a high bit of a length": (lambda f: flip(record(f), 7), "its length and the checksum"),
    "a bit of a length's checksum": (
        lambda f: flip(record(f), second(f) + 9),
        "its length and the checksum",
    ),
    "a bit of the data's frame": (lambda f: flip(record(f), second(f) + 13), "disagree"),
    "a bit of a JPEG": (lambda f: flip(record(f), second(f) - 200), "frame 0: its data"),
    "a bit of the data's checksum": (lambda f: flip(record(f), second(f) - 2), "frame 0: its data"),
    "the last byte is missing": (truncate(1), "1 bytes are missing"),
    "much of the tail is missing": (truncate(900), "900 bytes are missing"),
    "whole frames are missing": (cut_at_a_frame, "not the record that records.json lists"),
    "an empty record": (lambda f: record(f).write_bytes(b"") and None, "the file is empty"),
    "bytes at the end": (lambda f: add(f, b"abc"), "the last 3 bytes"),
    "zeros at the end": (lambda f: add(f, bytes(64)), "no record lies here"),
    "a frame again at the end": (
        lambda f: add(f, record(f).read_bytes()[: second(f)]),
        "frame 5: its index is 0",
    ),
    "no index": (remove(".index"), "the index is missing"),
    "an empty index": (lambda f: index(f).write_bytes(b"") and None, "the index lists 0 frames"),
    "words for an index": (lambda f: index(f).write_text("a b\n") and None, "line 1 of the index"),
    "an index that lacks a frame": (stale_index, "the index lists 4 frames"),
    "the index of another clip": (swap((".index",)), "of the index does not fit"),
    "record and index of another clip": (swap((".index", ".tfrecord")), "records.json lists"),
    "no record": (remove(".tfrecord"), "there is an index, but no record"),
    "neither record nor index": (remove(".tfrecord", ".index"), "the record is missing"),
    "a key is missing": (
        rewritten(lambda n, f: {k: v for k, v in f.items() if k != "a" or n != 2}),
        "frame 2: the key a (alpha) is missing",
    ),
    "no number": (
        rewritten(lambda n, f: {k: v for k, v in f.items() if k != "index"}),
        "frame 0: the key index is missing",
    ),
    "a number twice": (at_frame_two(index=(1, "int")), "frame 2: its index is 1"),
    "a frame is left out": (rewritten(lambda n, f: f if n != 2 else None), "its index is 3"),
    "a picture that is none": (at_frame_two(v=(b"\xff\xd8\xffabc", "byte")), "frame 2: v cannot"),
    "a picture of text": (at_frame_two(v=(b"hello", "byte")), "v is neither JPEG nor PNG"),
    "an empty picture": (at_frame_two(b=(b"", "byte")), "b is empty"),
    "a picture of another size": (at_frame_two(a=png(GREY[:9])), "differ in size"),
    "a frame of another size": (
        at_frame_two(**{key: png(GREY[:9]) for key in "vfba"}),
        "its frames differ in size: 40×24, 40×9",
    ),
    "an alpha in colour": (at_frame_two(a=png(COLOURS)), "a is coloured"),
    "another picture": (at_frame_two(b=png(GREY)), "records.json lists"),
}  # fmt: skip


class TestCheck:
    def test_good_ones_are_good(self, source, whole, capsys):
        assert run("-o", whole, "-s", "check") == 0
        assert run("-i", source, "-o", whole, "-s", "check") == 0
        assert "2 clips, 10 frames: 2 good" in capsys.readouterr().out
        assert "good" in (whole / "check.log").read_text()

    @pytest.mark.parametrize("what", PLANTED)
    def test_what_is_planted_is_found_and_repaired(self, source, whole, out, what, capsys):
        spoil, told = PLANTED[what]
        spoil(out)
        (out / "write.log").unlink()
        assert run("-o", out, "-s", "check") == 10
        found = log(out, "check")[FIRST]
        faults = [
            one["text"] if one["frame"] is None else f"frame {one['frame']}: {one['text']}"
            for one in found["faults"]
        ]
        assert found["state"] == "bad" and any(told in one for one in faults), faults
        assert told in (out / "check.log").read_text()
        assert FIRST in capsys.readouterr().err

        assert run("-i", source, "-o", out, "-s", "verify") == 0
        assert log(out, "verify")[FIRST]["state"] == "repaired"
        for path in (record(out), index(out), record(out, OTHER), index(out, OTHER)):
            assert path.read_bytes() == (whole / path.name).read_bytes()
        assert run("-i", source, "-o", out, "-s", "check") == 0

    def test_without_a_manifest_the_source_tells(self, source, out):
        (out / "records.json").unlink()
        for spoil in (cut_at_a_frame, at_frame_two(b=png(GREY))):
            spoil(out)
            assert run("-o", out, "-s", "check") == 0  # nothing else can know
            assert run("-i", source, "-o", out, "-s", "check") == 10
            assert run("-i", source, "-o", out, "-s", "verify") == 0
            assert run("-i", source, "-o", out, "-s", "check") == 0

    def test_any_flipped_bit_is_found(self, out):
        """At fifty places, and all of the first record's head."""
        from training.tfrecords.check import check_clip

        data = record(out).read_bytes()
        rng = random.Random(1)
        for at in [*range(12), *(rng.randrange(len(data)) for _ in range(50))]:
            spoilt = bytearray(data)
            spoilt[at] ^= 1 << rng.randrange(8)
            record(out).write_bytes(spoilt)
            faults = check_clip(out, FIRST, MODES["vfba"]).faults
            assert any(fault.kind == "damaged" for fault in faults), at

    def test_the_same_record_twice(self, out):
        (out / "records.json").unlink()
        for suffix in (".tfrecord", ".index"):
            shutil.copy(out / f"{FIRST}{suffix}", out / f"zz{suffix}")
        assert run("-o", out, "-s", "check") == 10
        found = log(out, "check")
        assert found["zz"]["faults"][0]["kind"] == "duplicate" and found[FIRST]["state"] == "good"

    def test_the_mode_that_is_asked_for_counts(self, source, tmp_path):
        assert run("-i", source, "-o", tmp_path, "-m", "va") == 0
        assert run("-o", tmp_path, "-s", "check", "-m", "va") == 0
        assert run("-o", tmp_path, "-s", "check", "-m", "vfba") == 10

    def test_a_trimap_has_three_values(self, tmp_path, capsys):
        lay_out(tmp_path)
        cv2.imwrite(str(tmp_path / "t" / FIRST / "00003.png"), RAMP)
        assert run("-i", tmp_path, "-o", tmp_path / "out", "-m", "vt") == 10
        assert "frame 3: t is no trimap" in capsys.readouterr().err

    def test_an_alpha_of_0_and_1(self, tmp_path, capsys):
        lay_out(tmp_path, suffix=".png")
        for file in (tmp_path / "a" / FIRST).iterdir():
            cv2.imwrite(str(file), cv2.imread(str(file)) // 255)
        assert run("-i", tmp_path, "-o", tmp_path / "out", "-m", "va") == 10
        assert "nowhere more than 1 of 255" in capsys.readouterr().err

    def test_no_records(self, tmp_path, capsys):
        assert run("-o", tmp_path, "-s", "check") == 10
        assert "there are no records" in capsys.readouterr().err

    def test_a_broken_manifest(self, source, out):
        (out / "records.json").write_text("{")
        assert run("-o", out, "-s", "check") == 10
        assert (
            run("-i", source, "-o", out, "-s", "write") == 10
        )  # it may know what nothing else does
        assert (out / "records.json").read_text() == "{"
        assert run("-i", source, "-o", out, "-s", "verify", "--foreground", "straight") == 0
        found = read_manifest(out)
        assert found is not None and {one.foreground for one in found.clips.values()} == {
            "straight"
        }
        assert run("-o", out, "-s", "check") == 0

    def test_what_cannot_be_repaired_is_said(self, source, out, tmp_path, capsys):
        for suffix in (".tfrecord", ".index"):
            (out / f"{FIRST}{suffix}").rename(out / f"stray{suffix}")
        flip(record(out, "stray"), 40)
        clips = Path(shutil.copytree(source, tmp_path / "clips"))
        (clips / "v" / OTHER / "00002.jpg").unlink()
        flip(record(out, OTHER), 40)
        assert run("-i", clips, "-o", out, "-s", "verify") == 10
        found = log(out, "verify")
        assert found[FIRST]["state"] == "repaired"
        assert "holds no such clip to repair it from" in found["stray"]["faults"][-1]["text"]
        assert f"v/{OTHER} lacks frame 2" in found[OTHER]["faults"][-1]["text"]

    @pytest.mark.parametrize("listed", [[], [OTHER]])
    def test_records_that_nothing_tells_what_they_are(self, tmp_path, capsys, listed):
        """As older versions left them; by the source's manifest they are not as published."""
        clips, out = straight(lay_out(tmp_path / "clips")), tmp_path / "out"
        assert run("-i", clips, "-o", out) == 0
        good = (out / "records.json").read_bytes()
        told = json.loads(good)
        told["clips"] = {name: told["clips"][name] for name in listed}
        (out / "records.json").write_text(json.dumps(told))
        if not listed:
            (out / "records.json").unlink()
        only = tmp_path / "only.txt"
        only.write_text(f"{FIRST}\n")
        assert run("-o", out, "-s", "check") == 0  # nothing here tells
        capsys.readouterr()
        assert run("-i", clips, "-o", out, "-s", "check", "--only", only) == 10
        said = capsys.readouterr().err
        assert f"{FIRST} is straight" in said and "would be read as premultiplied" in said
        assert run("-i", clips, "-o", out, "-s", "verify") == 0
        assert (out / "records.json").read_bytes() == good
        assert run("-i", clips, "-o", out, "-s", "check") == 0

    def test_a_file_is_no_folder_of_records(self, source, tmp_path, capsys):
        path = tmp_path / "records"
        path.write_text("mine")
        for stage in ("write", "check", "verify"):
            assert run("-i", source, "-o", path, "-s", stage) == 10
            said = capsys.readouterr().err
            assert f"{path} is no folder" in said and "--output" in said
        assert path.read_text() == "mine"

    @pytest.mark.parametrize("place", ["v", f"v/{FIRST}"])
    def test_folders_that_cannot_be_read(self, source, tmp_path, monkeypatch, capsys, place):
        """Whoever runs the tests may be allowed to read all of them."""
        real = Path.iterdir

        def closed(self):
            if self == source / place:
                raise PermissionError(13, "Permission denied", str(self))
            return real(self)

        monkeypatch.setattr(Path, "iterdir", closed)
        assert run("-i", source, "-o", tmp_path / "out") == 10
        said = capsys.readouterr().err
        assert f"{source / place} cannot be read: Permission denied" in said
        assert not (tmp_path / "out").exists()

    def test_records_that_cannot_be_listed(self, out, monkeypatch, capsys):
        def closed(self):
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "iterdir", closed)
        assert run("-o", out, "-s", "check") == 10
        assert f"{out} cannot be read: Permission denied" in capsys.readouterr().err


class TestInterrupted:
    def test_killed_while_writing(self, source, whole, tmp_path):
        """A run is killed in the second clip: one pair and a hidden file; the next run goes on."""
        script = (
            "import os, signal, sys\n"
            "from training import cli\n"
            "from training.tfrecords import writing as record_writing\n"
            "real, calls = record_writing.record_bytes, []\n"
            "def counted(*given):\n"
            "    calls.append(0)\n"
            "    if len(calls) == 8: os.kill(os.getpid(), signal.SIGKILL)\n"
            "    return real(*given)\n"
            "record_writing.record_bytes = counted\n"
            f"cli.main(['records', '--workers', '1', '-i', {str(source)!r},"
            f" '-o', {str(tmp_path)!r}])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=Path(__file__).parents[2], capture_output=True
        )
        assert done.returncode == -signal.SIGKILL
        there = sorted(one.name for one in tmp_path.iterdir())
        assert len(there) == 4 and there[0].startswith(f".{OTHER}.tfrecord.tmp-")
        assert there[1:] == [f"{FIRST}.index", f"{FIRST}.tfrecord", "records.json"]
        assert run("-i", source, "-o", tmp_path) == 0
        assert (tmp_path / "records.json").read_bytes() == (whole / "records.json").read_bytes()
        assert log(tmp_path, "write")[FIRST]["state"] == "kept"
        assert not list(tmp_path.glob(".*"))
        for clip in CLIPS:
            assert record(tmp_path, clip).read_bytes() == record(whole, clip).read_bytes()

    @pytest.mark.parametrize("then", ["write", "verify"])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_what_an_interruption_leaves_is_read_as_what_it_is(
        self, tmp_path, monkeypatch, then, workers
    ):
        """Straight foregrounds, which are else taken for multiplied by alpha."""
        clips = straight(lay_out(tmp_path / "clips"))
        assert run("-i", clips, "-o", tmp_path / "whole") == 0
        out, real, calls = tmp_path / "out", record_writing.record_bytes, []

        def interrupted(*given):
            calls.append(0)
            if len(calls) == 8:
                raise KeyboardInterrupt
            return real(*given)

        monkeypatch.setattr(record_writing, "record_bytes", interrupted)
        assert run("-i", clips, "-o", out) == 130
        monkeypatch.undo()
        found = read_manifest(out)
        assert found is not None and {one.foreground for one in found.clips.values()} == {
            "straight"
        }
        assert run("-o", out, "-s", "check") == 10
        assert log(out, "check")[FIRST]["state"] == "good"
        assert log(out, "check")[OTHER]["faults"][0]["kind"] == "missing"
        assert run("-i", clips, "-o", out, "-s", then, "--workers", workers) == 0
        for name in ("records.json", f"{FIRST}.tfrecord", f"{OTHER}.tfrecord"):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    def test_a_clip_that_cannot_be_written_is_not_listed(self, tmp_path):
        clips = lay_out(tmp_path / "clips")
        (clips / "v" / FIRST / "00002.jpg").write_bytes(b"no picture")
        assert run("-i", clips, "-o", tmp_path / "out") == 10
        found = read_manifest(tmp_path / "out")
        assert found is not None and list(found.clips) == [OTHER]

    def test_the_record_gets_its_name_last(self, source, tmp_path, monkeypatch):
        real = Path.replace

        def fails(self, target):
            if Path(target).suffix == ".tfrecord":
                raise OSError(5, "Input/output error")
            return real(self, target)

        monkeypatch.setattr(Path, "replace", fails)
        assert run("-i", source, "-o", tmp_path) == 10
        assert not list(tmp_path.glob("*.tfrecord")) and not list(tmp_path.glob("*.index"))
        assert not list(tmp_path.glob(".*"))

    def test_a_full_disk(self, source, tmp_path, monkeypatch, capsys):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(record_writing.os, "fsync", full)
        assert run("-i", source, "-o", tmp_path) == 75
        told = capsys.readouterr().err
        assert "no space left" in told and "records that are whole are kept" in told
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("what", ["much of the tail is missing", "no index", "no record"])
    def test_partial_ones_are_written_anew(self, source, whole, out, what):
        PLANTED[what][0](out)
        assert run("-i", source, "-o", out, "-s", "write") == 0
        assert record(out).read_bytes() == record(whole).read_bytes()
        assert index(out).read_bytes() == index(whole).read_bytes()
        assert log(out, "write")[OTHER]["state"] == "kept"

    def test_good_ones_of_other_pictures_are_left_alone(self, source, whole, out, capsys):
        at_frame_two(b=png(GREY))(out)
        before = record(out).read_bytes()
        assert run("-i", source, "-o", out, "-s", "write") == 10
        assert record(out).read_bytes() == before and "--overwrite" in capsys.readouterr().err
        assert run("-i", source, "-o", out, "-s", "write", "--overwrite") == 0
        assert record(out).read_bytes() == record(whole).read_bytes()


class TestFormat:
    def test_checksums_are_the_librarys(self):
        for data in (b"", b"\x05" * 8, bytes(range(256)) * 9):
            theirs = tfrecord.TFRecordWriter.masked_crc(data)
            assert masked_crc(data).to_bytes(4, "little") == theirs

    def test_checksums_without_the_package(self, monkeypatch):
        data = bytes(range(256))
        quick = masked_crc(data)
        monkeypatch.setattr("training.tfrecords.format._quick_crc", None)
        assert masked_crc(data) == quick

    @pytest.mark.parametrize("number", [0, 1, 127, 128, 70_000, -1])
    def test_examples_of_the_library(self, number):
        frame = {
            "v": (b"x" * 300, "byte"),
            "index": (number, "int"),
            "many": ([b"a", b"b"], "byte"),
            "size": ([3, 4], "int"),
            "gamma": (2.2, "float"),
        }
        found = parse_example(tfrecord.TFRecordWriter.serialize_tf_example(frame), 0)
        assert found.pictures == {"v": b"x" * 300} and found.index == number

    def test_places_are_the_index(self, whole):
        assert places(record(whole)) == read_index(index(whole))
        assert tuple(place for place, _ in walk(record(whole))) == read_index(index(whole))
