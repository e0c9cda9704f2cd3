"""Records as clips to train from."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from model.errors import InputError, SetupError
from training.sources import open_source
from training.tfrecords.layout import read_names
from training.tfrecords.source import open_records, straight
from training.tfrecords.stages import Request, write

WIDTH, HEIGHT = 48, 32
ROOT = Path(__file__).parents[2]


def planes(frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Straight foreground, background (H×W×3) and alpha (H×W×1), 0…1, smooth."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    front = np.dstack([0.3 + 0.4 * x / WIDTH, 0.6 - 0.3 * y / HEIGHT, 0.5 + 0 * x])
    back = np.dstack([0.2 + 0 * x, 0.1 + 0.5 * x / WIDTH, 0.8 - 0.4 * y / HEIGHT])
    far = np.hypot(x - 20 - frame, y - 16)
    return front, back, np.clip((14 - far) / 8, 0, 1)[..., None]


def encode(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def make(folder: Path, premultiplied: bool, linear: bool, clips=("one", "two")) -> Path:
    """Clips of 4 frames; ``planes`` are in the light that they are composited in."""
    for number, clip in enumerate(clips):
        for frame in range(4):
            front, back, alpha = planes(frame + 3 * number)
            alpha = np.rint(alpha * 255) / 255
            colours = {
                "v": front * alpha + back * (1 - alpha),
                "f": front * alpha if premultiplied else front,
                "b": back,
            }
            pictures = {k: (encode(c) if linear else c)[..., ::-1] for k, c in colours.items()}
            trimap = np.where(alpha == 1, 1, np.where(alpha == 0, 0, 128 / 255))
            for key, picture in {**pictures, "a": alpha, "t": trimap}.items():
                place = folder / key / clip
                place.mkdir(parents=True, exist_ok=True)
                codes = np.rint(picture * 255).astype(np.uint8)
                cv2.imwrite(str(place / f"{frame:05d}.png"), codes)
    return folder


def records(tmp_path: Path, premultiplied=True, linear=False, mode="vfba", **told) -> Path:
    source = make(tmp_path / "clips", premultiplied, linear)
    out = tmp_path / "records"
    reports = write(Request(source, out, mode, **told), lambda report: None)
    assert [report.state for report in reports] == ["written", "written"]
    return out


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("premultiplied", [True, False])
def test_what_is_read_composites_to_the_plate(tmp_path, premultiplied, linear):
    out = records(
        tmp_path, premultiplied, linear,
        foreground="premultiplied" if premultiplied else "straight",
        light="linear" if linear else "display",
    )  # fmt: skip
    source = open_source({"kind": "records", "folder": str(out)})
    assert source.names == ("one", "two") and source.length("two") == 4
    clip = source.read("two", [3, 1, 1])
    assert clip.light.shape == (3, 3, HEIGHT, WIDTH) and clip.alpha.shape == (3, 1, HEIGHT, WIDTH)
    assert clip.linear is linear and clip.trimap is None
    assert clip.foreground is not None and clip.background is not None
    assert torch.equal(clip.light[1], clip.light[2])
    front, back, alpha = (torch.from_numpy(p).permute(2, 0, 1) for p in planes(3 + 3))
    assert (clip.alpha[0] - alpha).abs().max() <= 0.5 / 255 + 1e-6
    assert (clip.background[0] - back).abs().max() < 0.006
    made = clip.foreground * clip.alpha + clip.background * (1 - clip.alpha)
    assert (made - clip.light).abs().max() < 0.012
    known = alpha[0] > 0.2
    assert (clip.foreground[0] - front)[:, known].abs().max() < 0.02


def test_foreground_goes_on_where_alpha_is_0():
    """Published foregrounds are black there, and black is not what would have been seen."""
    front, _, alpha = (plane.astype(np.float32) for plane in planes(0))
    stored = (np.rint(front * alpha * 255) / 255).astype(np.float32)
    found = straight(stored, alpha[..., 0], linear=False)
    assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1
    nothing = alpha[..., 0] == 0
    assert nothing.mean() > 0.3
    assert np.abs(found - front)[nothing].mean() < 0.1 < np.abs(stored - front)[nothing].mean()


def test_options_override_what_the_folder_says(tmp_path):
    out = records(tmp_path, premultiplied=False, foreground="premultiplied")
    front = torch.from_numpy(planes(0)[0]).permute(2, 0, 1)
    told = open_records(out, {"foreground": "straight"}).read("one", [0]).foreground
    assert told is not None and (told[0] - front).abs().max() < 0.003
    assert open_records(out, {"light": "linear"}).read("one", [0]).linear
    (out / "records.json").unlink()  # as the published tools leave it
    assert not open_records(out, {}).read("one", [0]).linear


def test_trimaps_and_fewer_keys(tmp_path):
    out = records(tmp_path, mode="vat")
    clip = open_records(out, {}).read("one", [0, 2])
    assert clip.trimap is not None and clip.foreground is None and clip.background is None
    assert clip.trimap.unique().tolist() == [0, 0.5, 1]
    assert (clip.alpha[clip.trimap == 1] == 1).all() and (clip.alpha[clip.trimap == 0] == 0).all()


@pytest.mark.parametrize("spoil", ["missing", "stale", "swapped", "words", "same size"])
def test_an_index_that_is_not_this_records(tmp_path, spoil):
    out = records(tmp_path)
    want = open_records(out, {}).read("one", [2, 3])
    index = out / "one.index"
    if spoil == "missing":
        index.unlink()
    elif spoil == "stale":
        index.write_text("".join(index.read_text().splitlines(keepends=True)[:-1]))
    elif spoil == "swapped":
        (out / "two.index").replace(index)
    elif spoil == "words":
        index.write_text("no index\n")
    else:  # lines that fill the file, but at other places
        size = (out / "one.tfrecord").stat().st_size
        index.write_text(f"0 100\n100 {size - 400}\n{size - 300} 200\n{size - 100} 100\n")
    source = open_records(out, {})
    found = source.read("one", [2, 3])
    assert torch.equal(found.light, want.light) and source.length("one") == 4


def test_it_goes_to_other_processes(tmp_path):
    out = records(tmp_path)
    source = open_records(out, {})
    again = pickle.loads(pickle.dumps(source))
    assert torch.equal(again.read("two", [1]).light, source.read("two", [1]).light)
    assert again.described == source.described
    assert source.described["folder"] == "records" and source.described["clips"] == 2
    before = dict(source.described)
    write(Request(tmp_path / "clips", out, light="linear"), lambda report: None)
    assert open_records(out, {}).described["manifest_sha256"] != before["manifest_sha256"]


def test_only_some(tmp_path):
    out = records(tmp_path)
    names = tmp_path / "names"
    names.write_text("two\n")
    assert open_records(out, {"only": str(names)}).names == ("two",)
    assert read_names(names) == {"two"}


def test_bad_input_is_one_sentence(tmp_path):
    out = records(tmp_path)
    with pytest.raises(SetupError, match="foreground = 'wet'"):
        open_records(out, {"foreground": "wet"})
    with pytest.raises(SetupError, match="colour"):
        open_records(out, {"colour": "linear"})
    with pytest.raises(InputError, match="no records in"):
        open_records(tmp_path, {})
    source = open_records(out, {})
    with pytest.raises(InputError, match="it has 4 frames, 4 was asked for"):
        source.read("one", [4])
    data = bytearray((out / "two.tfrecord").read_bytes())
    data[700] ^= 1
    (out / "two.tfrecord").write_bytes(data)
    with pytest.raises(InputError, match=r"two\.tfrecord, frame 0: its data and their checksum"):
        source.read("two", [0])
    (out / "one.tfrecord").write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        open_records(out, {})


def test_records_without_alpha_are_not_for_training(tmp_path):
    out = records(tmp_path, mode="vt")
    with pytest.raises(InputError, match=r"it has no a \(alpha\), which training needs"):
        open_records(out, {})


def test_a_bare_machine_reads_them(tmp_path):
    """Without tfrecord, protobuf, crc32c and what else a machine with a GPU may lack."""
    out = records(tmp_path)
    script = (
        "import sys\n"
        "absent = ('tfrecord', 'google', 'google.protobuf', 'crc32c', 'OpenImageIO', 'av',"
        " 'typer', 'rich', 'kornia', 'pymatting')\n"
        "sys.modules.update(dict.fromkeys(absent))\n"
        "from training.tfrecords import format as record_format\n"
        "from training.sources import open_source\n"
        f"clip = open_source({{'kind': 'records', 'folder': {str(out)!r}}}).read('two', [2])\n"
        "print(record_format.CHECKS_DATA, round(float(clip.light.mean()), 6))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mean = open_records(out, {}).read("two", [2]).light.mean()
    assert done.stdout.split() == ["False", str(round(float(mean), 6))]
