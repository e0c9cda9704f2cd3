"""Which clips there will be: pair lists, drawn lists, names, classes and limits."""

import errno
from collections import Counter
from pathlib import Path

import pytest

from model.errors import InputError
from model.plates.movies import _DEMUXERS
from tests.train.composing import background, disc, footage, layout, still
from training.composing.classes import class_of, measured_class, partial_share
from training.composing.layout import MOVIES, Layout
from training.composing.pair_list import Pair, clip_name, list_text, readings
from training.composing.selection import Request, draw_pairs, select


def write_list(folder, *lines, newline="\n"):
    path = folder / "pairs.txt"
    path.write_bytes(newline.join((*lines, "")).encode())
    return path


def chosen(root, tmp_path, *lines, **asked):
    return select(Request(root, pairs=write_list(tmp_path, *lines), **asked))


def test_every_movie_that_the_reader_knows_is_a_background():
    assert set(MOVIES) == set(_DEMUXERS)


@pytest.mark.parametrize(
    "line, pair",
    [
        (
            "image+16452523375_08591714cf_o.png+0105.mp4",
            Pair("image", "16452523375_08591714cf_o.png", "0105.mp4"),
        ),
        ("image+dog (1) [x].a.png+0002.mp4", Pair("image", "dog (1) [x].a.png", "0002.mp4")),
        ("video+0000+0041.mp4", Pair("video", "0000", "0041.mp4")),
        ("video+0000+0041.mp4+hard", Pair("video", "0000", "0041.mp4", "hard")),
    ],
)
def test_published_lines_have_one_likely_reading(line, pair):
    assert readings(line)[0] == pair
    assert pair.line == line


@pytest.mark.parametrize("line", ["", "image", "image+a.png", "photo+a.png+b.mp4", "image+a/b+c"])
def test_what_is_no_pair_has_no_reading(line):
    assert readings(line) == ()


def test_a_plus_in_a_name_is_settled_by_the_files_that_are_there(tmp_path):
    root = layout(tmp_path / "root")
    found = chosen(root, tmp_path, "image+a+b.png+0000", "image+a+b.png+sky_1+hard")
    assert [clip.pair for clip in found.clips] == [
        Pair("image", "a+b.png", "0000"),
        Pair("image", "a+b.png", "sky_1", "hard"),
    ]
    assert found.troubles == ()


def test_a_line_that_can_mean_two_pairs_is_said_to_be_ambiguous(tmp_path):
    root = layout(tmp_path / "root")
    still(root, "a.png")
    background(root, "b.png+0000")
    found = chosen(root, tmp_path, "image+a.png+b.png+0000")
    assert found.clips[0].pair == Pair("image", "a.png", "b.png+0000")
    still(root, "a.png+b.png")
    (trouble,) = chosen(root, tmp_path, "image+a.png+b.png+0000").troubles
    assert "line 1" in str(trouble)
    assert "'a.png' over 'b.png+0000' or 'a.png+b.png' over '0000'" in str(trouble)


def test_all_that_is_wrong_with_a_list_is_in_one_report(tmp_path):
    root = layout(tmp_path / "root")
    (root / "fg/image/train/alpha/leaf (1) [b].v2.png").unlink()
    lines = (
        "# a comment",
        "image+leaf (1) [b].v2.png+0000.mp4",  # no alpha
        "video+0007+0000",  # no such shot
        "video+0000+0099.mp4",  # no such background
        "nonsense",
        "video+0000+0000",
        "video+0000+0000",  # again
    )
    found = chosen(root, tmp_path, *lines)
    assert [clip.pair.line for clip in found.clips] == ["video+0000+0000"]
    told = [str(trouble) for trouble in found.troubles]
    assert len(told) == 5
    for line, part in zip(
        told,
        (
            "alpha/leaf (1) [b].v2.png is not there",
            "0007 is not there",
            "0099.mp4 is not there",
            "line 5, nonsense: it is no pair",
            "line 7, video+0000+0000: line 6, video+0000+0000 is the same pair",
        ),
        strict=True,
    ):
        assert part in line


def test_lists_from_windows_and_with_a_mark_are_read(tmp_path):
    root = layout(tmp_path / "root")
    path = tmp_path / "pairs.txt"
    path.write_bytes(b"\xef\xbb\xbfimage+leaf (1) [b].v2.png+0000\r\nvideo+0000+0002\r\n")
    assert len(select(Request(root, pairs=path)).clips) == 2


@pytest.mark.parametrize("text", [b"", b"# nothing\n\n", b"image+\xff.png+0000\n"])
def test_a_list_without_pairs_or_no_text_is_one_sentence(tmp_path, text):
    root = layout(tmp_path / "root")
    path = tmp_path / "pairs.txt"
    path.write_bytes(text)
    with pytest.raises(InputError) as caught:
        select(Request(root, pairs=path))
    assert str(path) in caught.value.message
    assert caught.value.hint


def test_names_are_the_published_ones_where_they_can_be():
    assert clip_name(Pair("image", "a_b_o.png", "0105.mp4")) == "image_a_b_o_0105"
    assert clip_name(Pair("image", "dog (1).png", "0002.mp4")) == "image_dog (1)_0002"
    assert clip_name(Pair("video", "0000", "0041.mp4")) == "video_0000_0041"


def test_no_two_pairs_share_a_name():
    names = ("a", "a.b", "x.b", "a_b", "a~b", "+", "_", "1" * 240, "1" * 241, "b.png", "a_b.png")
    pairs = [
        Pair(kind, f"{foreground}{end}", f"{background}{tail}")
        for kind in ("image", "video")
        for foreground in names
        for end in (".png", ".jpg", "")
        for background in names
        for tail in (".mp4", ".mov", "")
    ]
    distinct = {pair.key for pair in pairs}
    found = {clip_name(pair) for pair in pairs}
    assert len(found) == len(distinct) > 1000
    assert max(len(name.encode()) for name in found) < 255
    assert clip_name(Pair("image", "a.b.png", "c.mp4")) != clip_name(
        Pair("image", "x.b.png", "c.mp4")
    )


def test_a_drawn_list_deals_backgrounds_like_cards(tmp_path):
    for index in range(5):
        still(tmp_path, f"{index}.png")
    footage(tmp_path, "0000", frames=1)
    for index in range(8):
        background(tmp_path, f"{index:04d}", frames=1)
    place = Layout(tmp_path, "train")
    pairs = draw_pairs(place, 3, 4)
    assert Counter(pair.foreground for pair in pairs) == dict.fromkeys(
        ("0.png", "1.png", "2.png", "3.png", "4.png", "0000"), 4
    )
    assert set(Counter(pair.background for pair in pairs).values()) == {3}
    assert len({pair.key for pair in pairs}) == 24
    assert draw_pairs(place, 3, 4) == pairs != draw_pairs(place, 4, 4)
    assert draw_pairs(place, 3, 2) == pairs[:12]  # a limit cuts off backgrounds, not foregrounds
    assert len(draw_pairs(place, 3, 100)) == 6 * 8


def test_a_drawn_list_reads_back(tmp_path):
    root = layout(tmp_path / "root")
    drawn = draw_pairs(Layout(root, "train"), 1, 3)
    path = tmp_path / "list.txt"
    path.write_text(list_text(drawn, "a comment"), encoding="utf-8")
    assert tuple(clip.pair for clip in select(Request(root, pairs=path)).clips) == drawn


def test_limits_limit_and_say_so(tmp_path):
    root = layout(tmp_path / "root")
    request = Request(root, per_foreground=3, most={"image": 2, "video": 1})
    found = select(request)
    assert Counter(clip.pair.kind for clip in found.clips) == {"image": 2, "video": 1}
    assert "4 pairs are beyond the limit of 2 clips from image foregrounds" in found.notes
    assert "2 pairs are beyond the limit of 1 clips from video foregrounds" in found.notes
    only = select(Request(root, per_foreground=3, kinds=("video",), most={"image": 9, "video": 9}))
    assert {clip.pair.kind for clip in only.clips} == {"video"}
    assert only.notes == ("6 pairs are not of the kind asked for",)
    with pytest.raises(InputError, match="no pair is left"):
        select(Request(root, most={"image": 0, "video": 0}))


def test_classes_select_by_file_then_column_then_measure(tmp_path):
    root = tmp_path / "root"
    still(root, "solid.png", disc(60, 60, soft=1))
    still(root, "hazy.png", disc(60, 60, soft=60))
    still(root, "told.png", disc(60, 60, soft=60))
    background(root, "0000", frames=1)
    lines = ["image+solid.png+0000", "image+hazy.png+0000", "image+told.png+0000+medium"]

    def names(*classes, **asked):
        found = chosen(root, tmp_path, *lines, classes=classes, **asked)
        return [clip.pair.foreground for clip in found.clips]

    assert names("easy") == ["solid.png"]
    assert names("hard") == ["hazy.png"]
    assert names("medium") == ["told.png"]
    assert names("easy", "hard") == ["solid.png", "hazy.png"]
    (tmp_path / "classes.txt").write_text("told.png+easy\nhazy.png+easy\n")
    told = {"classes_file": tmp_path / "classes.txt"}
    assert names("easy", **told) == ["solid.png", "hazy.png", "told.png"]
    with pytest.raises(InputError, match="3 pairs are not hard"):
        names("hard", **told)
    found = chosen(root, tmp_path, *lines, classes=("hard",))
    assert found.clips[0].level == "hard"
    assert found.clips[0].measured == pytest.approx(measured_class(found.clips[0].sources.alpha)[1])


@pytest.mark.parametrize("text", ["a.png\n", "a.png+huge\n", "a.png+easy\na.png+hard\n"])
def test_a_classes_file_that_tells_nothing_is_one_sentence(tmp_path, text):
    root = layout(tmp_path / "root")
    path = tmp_path / "classes.txt"
    path.write_text(text)
    with pytest.raises(InputError, match="line"):
        select(Request(root, classes=("easy",), classes_file=path))


def test_a_classes_file_that_cannot_be_read_is_told_as_one(tmp_path):
    root = layout(tmp_path / "root")
    path = tmp_path / "classes.txt"
    path.write_text("# nothing\n")
    for place, said in ((path, "tells no class"), (tmp_path, "cannot be read")):
        with pytest.raises(InputError, match=f"the classes file {place} {said}") as caught:
            select(Request(root, classes=("easy",), classes_file=place))
        assert "NAME+class" in caught.value.hint


def test_the_share_that_classes_are_measured_by():
    alpha = disc(8, 8)
    alpha[:] = 0
    alpha[:4] = 255
    alpha[4] = 128
    assert partial_share([alpha]) == pytest.approx(8 / 40)
    assert [class_of(share) for share in (0, 0.0999, 0.1, 0.3999, 0.4, 1)] == [
        *("easy", "easy", "medium", "medium", "hard", "hard")
    ]


def unusable(root):
    """A leaf that can be used, and beside it what cannot, in each way there is."""
    still(root, "leaf.png")
    for half in ("alpha", "fg"):
        folder = root / "fg/image/train" / half
        (folder / "gone.png").symlink_to("nowhere.png")
        (folder / "deep.exr").write_bytes(b"an EXR")
        (folder / "leaf.exr").write_bytes(b"the leaf again, beside its PNG")
        (folder / "list.txt").write_text("no foreground")
    (root / "fg/video/train").mkdir(parents=True)
    (root / "fg/video/train/loop").symlink_to("loop")
    (root / "fg/video/train/0001.mp4").write_bytes(b"a movie that lies too high")
    background(root, "0000", frames=1)
    return root


def test_foregrounds_that_cannot_be_used_are_told_and_never_passed_over(tmp_path):
    root = unusable(tmp_path)
    found = select(Request(root))
    assert [clip.pair.foreground for clip in found.clips] == ["leaf.png"]
    image, video = root / "fg/image/train", root / "fg/video/train"
    assert {one.pair.split("+")[1]: one.reasons for one in found.troubles} == {
        "deep.exr": tuple(
            f"{image / half / 'deep.exr'} is none of .png, .jpg, .jpeg, .tif, .tiff"
            for half in ("fg", "alpha")
        ),
        "gone.png": tuple(
            f"{image / half / 'gone.png'} is a link that leads nowhere" for half in ("fg", "alpha")
        ),
        "0001.mp4": (
            f"{video / '0001.mp4'} is a file, and should be a folder with f.mp4 and a.mp4",
        ),
        "loop": (f"{video / 'loop'} is a link that leads nowhere",),
    }


def test_a_background_that_leads_nowhere_is_told(tmp_path):
    still(tmp_path, "leaf.png")
    background(tmp_path, "0000", frames=1)
    (tmp_path / "bg/train/0001.mp4").symlink_to("nowhere.mp4")
    found = select(Request(tmp_path, per_foreground=2))
    assert len(found.clips) == 1
    (trouble,) = found.troubles
    assert trouble.reasons == (f"{tmp_path / 'bg/train/0001.mp4'} is a link that leads nowhere",)


def barred(monkeypatch, *folders):
    """These folders may neither be listed nor looked into."""
    for name in ("iterdir", "is_dir", "is_file"):
        real = getattr(Path, name)

        def asked(path, real=real, listing=name == "iterdir"):
            if any(one in (path, *path.parents) if listing else one in path.parents
                   for one in folders):  # fmt: skip
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(Path, name, asked)


@pytest.mark.parametrize("part", ["fg/image/train/alpha", "fg/video/train", "bg/train"])
def test_a_folder_that_may_not_be_listed_is_one_sentence(tmp_path, monkeypatch, part):
    root = layout(tmp_path / "root")
    barred(monkeypatch, root / part)
    with pytest.raises(InputError, match=f"{part}.* cannot be read: Permission denied"):
        select(Request(root))


def test_a_shot_that_may_not_be_looked_into_is_told_like_a_missing_one(tmp_path, monkeypatch):
    root = layout(tmp_path / "root")
    barred(monkeypatch, root / "fg/video/train/0000")
    found = select(Request(root, per_foreground=1))
    assert len(found.clips) == 2
    (trouble,) = found.troubles
    shot = root / "fg/video/train/0000"
    assert trouble.reasons == (f"{shot} cannot be read: Permission denied",)


def test_a_layout_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        select(Request(tmp_path / "nowhere"))
    (tmp_path / "bg/train").mkdir(parents=True)
    with pytest.raises(InputError, match="has no foregrounds for train"):
        select(Request(tmp_path))
    still(tmp_path, "a.png")
    with pytest.raises(InputError, match="has no backgrounds for train"):
        select(Request(tmp_path))
    with pytest.raises(InputError, match="has no folder bg/test"):
        select(Request(tmp_path, phase="test"))
