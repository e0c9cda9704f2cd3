"""Plates and scene frames, patterns of sequences."""

import os
import time

import pytest

from host_plugins.client.timing import (
    Timing,
    count_plates,
    is_movie,
    pattern_of,
    sequence_or_one,
)


@pytest.mark.parametrize(
    ("path", "pattern", "number"),
    [
        ("/a/plate.1001.exr", "/a/plate.####.exr", 1001),
        ("/a.2/v003_plate_0007.png", "/a.2/v003_plate_####.png", 7),
        ("/a/12.exr", "/a/##.exr", 12),
        ("/a/shot4.mp4", "/a/shot4.mp4", 1),
        ("/a/still.png", "/a/still.png", 1),
        ("/a/plate.1001.left.exr", "/a/plate.####.left.exr", 1001),
    ],
)
def test_the_last_number_of_a_name_is_the_plates(path, pattern, number):
    assert pattern_of(path) == (pattern, number)


def test_movies_are_one_file():
    assert is_movie("/a/B.MOV") and not is_movie("/a/b.exr")


def test_frames_and_plates_are_each_others_inverse():
    timing = Timing(first=1001, count=24, start=101)
    assert timing.plate(101) == 1001 and timing.last == 1024
    for frame in (90, 101, 124, 200):
        assert timing.frame(timing.plate(frame)) == frame
    assert timing.holds(1024) and not timing.holds(1025) and not timing.holds(1000)


def test_plates_are_counted_up_to_the_first_gap(tmp_path):
    for number in (8, 9, 10, 12):
        (tmp_path / f"plate.{number:02d}.exr").touch()
    (tmp_path / "plate.11.exr.tmp").touch()
    assert count_plates(str(tmp_path / "plate.##.exr"), 8) == 3
    assert count_plates(str(tmp_path / "plate.##.exr"), 11) == 0
    assert count_plates(str(tmp_path / "none" / "plate.##.exr"), 1) == 0
    assert count_plates("/a/movie.mp4", 1) == 1
    (tmp_path / "plate.11.exr").touch()
    os.utime(tmp_path, ns=(1, time.time_ns()))
    assert count_plates(str(tmp_path / "plate.##.exr"), 8) == 5  # and what came is seen


def test_a_picked_file_stands_for_its_sequence_if_others_of_the_plates_have_one(tmp_path):
    for number in (1001, 1003):
        (tmp_path / f"garbage.{number}.png").touch()
    picked = str(tmp_path / "garbage.1001.png")
    pattern = str(tmp_path / "garbage.####.png")
    assert sequence_or_one(picked, range(1001, 1005)) == pattern  # that 1002 misses is told later
    assert sequence_or_one(picked, range(1, 5)) == picked
    assert sequence_or_one(pattern, range(1, 5)) == pattern
    (tmp_path / "garbage.1003.png").unlink()
    os.utime(tmp_path, ns=(1, time.time_ns()))
    assert sequence_or_one(picked, range(1001, 1005)) == picked
    assert sequence_or_one("/none/clean_v2.png", range(1, 5)) == "/none/clean_v2.png"
    assert sequence_or_one("/none/clean.png", range(1, 5)) == "/none/clean.png"
