"""Frame ranges in three dialects, and frame patterns."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from model.plates.ranges import DIALECTS, MAX_FRAMES, FramePattern, FrameRange

frames = st.frozensets(st.integers(-3000, 3000), max_size=60).map(lambda s: FrameRange(tuple(s)))
runs = st.lists(
    st.tuples(st.integers(-2000, 2000), st.integers(0, 50), st.integers(1, 9)),
    min_size=1,
    max_size=5,
)


@given(frames.filter(len), st.sampled_from(DIALECTS))
def test_every_dialect_reads_what_it_writes(wanted, dialect):
    assert FrameRange.parse(wanted.format(dialect), dialect) == wanted


@given(frames)
def test_triples_round_trip_and_cover_each_frame_once(wanted):
    triples = wanted.triples()
    assert FrameRange.from_triples(triples) == wanted
    assert sum(len(range(a, b + 1, step)) for a, b, step in triples) == len(wanted)


@given(runs)
def test_dialects_mean_the_same(parts):
    """One range, written in the manner of each, is the same frames."""
    expected = sorted({f for a, n, s in parts for f in range(a, a + n * s + 1, s)})
    spans = [(a, a + n * s, s) for a, n, s in parts]
    texts = {
        "nuke": " ".join(f"{a}-{b}x{s}" for a, b, s in spans),
        "openjd": ",".join(f"{a}-{b}:{s}" for a, b, s in spans),
        "fileseq": ",".join(f"{a}-{b}x{s}" for a, b, s in spans),
    }
    for dialect, text in texts.items():
        assert list(FrameRange.parse(text, dialect)) == expected


@given(st.text(alphabet="0123456789-+x:, y.\t", max_size=20), st.sampled_from(DIALECTS))
def test_any_text_is_a_range_or_a_sentence(text, dialect):
    try:
        found = FrameRange.parse(text, dialect)
    except InputError as error:
        assert error.code == "input.frame_range" and error.hint
    else:
        assert 0 < len(found) <= MAX_FRAMES
        assert FrameRange.parse(found.format(dialect), dialect) == found


@pytest.mark.parametrize(
    ("text", "dialect", "expected"),
    [
        ("1001-1010x2 1020", "nuke", [1001, 1003, 1005, 1007, 1009, 1020]),
        ("1, 3,5", "nuke", [1, 3, 5]),
        (" 7 ", "nuke", [7]),
        ("-5--1", "nuke", [-5, -4, -3, -2, -1]),
        ("-2-1", "nuke", [-2, -1, 0, 1]),
        ("10-1x3", "nuke", [1, 4, 7, 10]),
        ("5-1", "nuke", [1, 2, 3, 4, 5]),
        ("3 1 2 2", "nuke", [1, 2, 3]),
        ("1-10:2,-5", "openjd", [-5, 1, 3, 5, 7, 9]),
        ("10-1:-3", "openjd", [1, 4, 7, 10]),
        (" 1 - 3 , 7 ", "openjd", [1, 2, 3, 7]),
        ("1-10x4,20", "fileseq", [1, 5, 9, 20]),
        ("10-1x4", "fileseq", [2, 6, 10]),
        ("10-1x-4", "fileseq", [2, 6, 10]),
    ],
)
def test_each_dialect(text, dialect, expected):
    assert list(FrameRange.parse(text, dialect)) == expected


@pytest.mark.parametrize(
    ("text", "dialect", "told"),
    [
        ("", "nuke", "not a frame range"),
        ("a", "nuke", "not a frame range"),
        ("1-2-3", "nuke", "not a frame range"),
        ("1-10:2", "nuke", "not a frame range"),
        ("1-10x0", "nuke", "steps by 0"),
        ("1-10x2", "openjd", "not a frame range"),
        ("1 3 5", "openjd", "not a frame range"),
        ("10-1", "openjd", "not a frame range"),
        ("1-10:-1", "openjd", "has no frames"),
        ("1,,3", "openjd", "not a frame range"),
        ("1 3 5", "fileseq", "spaces"),  # fileseq itself reads 135
        ("1-10:2", "fileseq", "staggers"),  # fileseq itself: 1 3 5 7 9 2 4 6 8 10
        ("1-10y3", "fileseq", "leaves frames out"),
        ("1.5-3", "fileseq", "sub-frames"),
        ("1-99999999", "nuke", "more than 100000 frames"),
        ("1-90000 100001-190000", "nuke", "more than 100000 frames"),
        ("99999999999999999999", "nuke", "not a frame range"),
    ],
)
def test_what_is_refused_and_why(text, dialect, told):
    with pytest.raises(InputError, match=re.escape(told)) as caught:
        FrameRange.parse(text, dialect)
    assert caught.value.code == "input.frame_range" and caught.value.hint


@pytest.mark.parametrize(
    "triples", [[[1, 2]], [[1, 2, 0]], [[1, 2, "1"]], [[2, 1, 1]], [[1, 2, True]], [[0, 10**9, 1]]]
)
def test_triples_that_are_wrong(triples):
    with pytest.raises(InputError) as caught:
        FrameRange.from_triples(triples)
    assert caught.value.code == "input.frame_range"


def test_triples_are_few():
    assert FrameRange((1, 3, 5, 7, 8, 9, 20)).triples() == [[1, 7, 2], [8, 9, 1], [20, 20, 1]]
    assert FrameRange(tuple(range(1001, 1101))).triples() == [[1001, 1100, 1]]
    assert FrameRange().triples() == []


def test_a_range_is_ordered_and_can_be_asked():
    found = FrameRange((5, 1, 5, 3))
    assert list(found) == [1, 3, 5] and len(found) == 3
    assert 3 in found and 2 not in found and "3" not in found
    with pytest.raises(InputError, match="more than"):
        FrameRange(tuple(range(MAX_FRAMES + 1)))


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("a.####.exr", 4),
        ("a.#.exr", 1),
        ("a.%04d.exr", 4),
        ("a.%d.exr", 1),
        ("a.$F4.exr", 4),
        ("a.$F.exr", 1),
        ("a.@@@@.exr", 4),
        ("a######.exr", 6),
    ],
)
def test_signs_of_all_programs(text, digits):
    pattern = FramePattern.parse(text)
    assert pattern.digits == digits and not pattern.is_single
    assert FramePattern.parse(str(pattern)) == pattern
    assert pattern.path(7).name == text[: len(pattern.before)] + "7".zfill(digits) + ".exr"


@given(st.integers(-99999, 99999), st.integers(1, 6))
def test_frames_are_found_again_by_name(frame, digits):
    pattern = FramePattern("plate.", ".exr", digits)
    # the way of C, Python, Nuke and fileseq: the sign counts into the width
    assert pattern.path(frame).name == f"plate.{str(frame).zfill(digits)}.exr"


def test_frames_on_disk(tmp_path):
    pattern = FramePattern.parse(tmp_path / "a.####.exr")
    wanted = (-12, 1, 20, 9999, 10001)
    for frame in wanted:
        pattern.path(frame).touch()
    others = "a.5.exr a.00005.exr a.0006.png b.0007.exr a.0008.exr.tmp xa.0009.exr a.+010.exr"
    for name in [*others.split(), ".a.0011.exr.tmp-77", "a.²³.exr"]:
        (tmp_path / name).touch()
    (tmp_path / "a.0012.exr").mkdir()
    assert tuple(pattern.frames_on_disk()) == wanted
    assert tuple(FramePattern.parse(tmp_path / "a.#.exr").frames_on_disk()) == (5, 9999, 10001)


def test_names_with_characters_of_regular_expressions(tmp_path):
    pattern = FramePattern.parse(tmp_path / "a(1)+[x].####.exr")
    pattern.path(3).touch()
    assert tuple(pattern.frames_on_disk()) == (3,)
    bare = FramePattern.parse(tmp_path / "####.exr")
    bare.path(4).touch()
    assert tuple(bare.frames_on_disk()) == (4,)


def test_a_name_without_a_sign_is_one_image(tmp_path):
    pattern = FramePattern.parse(tmp_path / "plate_v003.1001.exr")
    assert pattern.is_single and pattern.path(5) == tmp_path / "plate_v003.1001.exr"
    assert len(pattern.frames_on_disk()) == 0


@pytest.mark.parametrize("folder", ["jane@studio.local", "take #2"])
def test_a_lone_sign_in_a_folders_name_is_part_of_it(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir()
    pattern = FramePattern.parse(home / "a.####.exr")
    pattern.path(3).touch()
    assert pattern.path(3) == home / "a.0003.exr" and tuple(pattern.frames_on_disk()) == (3,)
    assert FramePattern.parse(str(pattern)) == pattern
    assert FramePattern.parse(home / "clip.mov").path(1) == home / "clip.mov"


@pytest.mark.parametrize(
    "text", ["a.####.v##.exr", "a.%04d.$F4.exr", "shot####/a.exr", "##/a.####.exr", "%d/a.exr"]
)
def test_patterns_that_are_refused(text):
    with pytest.raises(InputError) as caught:
        FramePattern.parse(text)
    assert caught.value.code == "input.pattern" and text in caught.value.message


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="nowhere") as caught:
        FramePattern.parse(tmp_path / "nowhere" / "a.####.exr").frames_on_disk()
    assert caught.value.code == "input.missing_plate"
