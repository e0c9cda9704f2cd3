"""One record looked at: its bytes, its frames, its index, and the files it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from training.tfrecords.format import (
    DamagedRecord,
    Example,
    Place,
    parse_example,
    read_index,
    walk,
)
from training.tfrecords.layout import SourceClip
from training.tfrecords.manifest import Listed
from training.tfrecords.pictures import NAMES, Looked, faults_of_clip, look_at

RECORD, INDEX = ".tfrecord", ".index"
_HASHED = 1 << 22


@dataclass(frozen=True)
class Fault:
    """What is wrong.

    Attributes:
        kind: ``damaged`` bytes; ``content``: frames or pictures that should not be so;
            ``source``: not what the source folder holds; ``index``; ``missing``; ``layout`` of the
            source folder; ``duplicate``; ``manifest``.
        text: in words.
        frame: the frame concerned, from 0.
    """

    kind: str
    text: str
    frame: int | None = None

    def __str__(self) -> str:
        return self.text if self.frame is None else f"frame {self.frame}: {self.text}"


@dataclass(frozen=True)
class ClipReport:
    """What is known of one clip.

    Attributes:
        clip: its name.
        state: ``good`` or ``bad``, or what was done: ``written``, ``kept``, ``repaired``.
        frames: found whole.
        bytes: of the record.
        sha256: of the record; "" if there is none.
        compared: with the files of the source folder.
        faults: what is wrong; of a clip that was repaired, what was.
    """

    clip: str
    state: str
    frames: int = 0
    bytes: int = 0
    sha256: str = ""
    compared: bool = False
    faults: tuple[Fault, ...] = ()

    @property
    def bad(self) -> bool:
        return self.state == "bad"

    @property
    def intact(self) -> bool:
        """Nothing but the index is wrong with it."""
        return bool(self.sha256) and all(fault.kind == "index" for fault in self.faults)

    def is_listed(self, listed: Listed) -> bool:
        """Whether it is the record that a manifest tells of."""
        told = (listed.frames, listed.bytes, listed.sha256)
        return told == (self.frames, self.bytes, self.sha256)


def record_path(folder: Path, clip: str) -> Path:
    return folder / f"{clip}{RECORD}"


def index_path(folder: Path, clip: str) -> Path:
    return folder / f"{clip}{INDEX}"


def clips_in(folder: Path) -> list[str]:
    """The names of all clips that have a record or an index, sorted."""
    return sorted(
        {
            path.name.removesuffix(path.suffix)
            for path in folder.iterdir()
            if path.suffix in (RECORD, INDEX) and not path.name.startswith(".") and path.is_file()
        }
    )


def check_clip(
    folder: Path,
    clip: str,
    keys: Sequence[str],
    source: SourceClip | None = None,
    listed: Listed | None = None,
) -> ClipReport:
    """Decode every frame of a record and see whether all of it is as it should be.

    Args:
        folder: of the records.
        clip: its name.
        keys: those that frames must have; others are passed over.
        source: its files, if they are known: they must be in the record, byte for byte.
        listed: what the manifest says of it.

    Returns:
        ``good`` or ``bad``. Faults are collected; damage that hides what follows ends the look.
    """
    path = record_path(folder, clip)
    faults: list[Fault] = []
    looked: list[Looked] = []
    found: list[Place] = []
    try:
        for number, (place, data) in enumerate(walk(path)):
            found.append(place)
            if data is None:
                faults.append(Fault("damaged", "its data and their checksum disagree", number))
                continue
            try:
                example = parse_example(data, number)
            except DamagedRecord as error:
                faults.append(Fault("damaged", str(error), number))
                continue
            seen = look_at(example.pictures, keys)
            looked.append(seen)
            faults += (Fault("content", text, number) for text in seen.faults)
            faults += _frame_faults(example, number, keys, source)
    except FileNotFoundError:
        there = index_path(folder, clip).exists()
        why = "there is an index, but no record" if there else "the record is missing"
        return ClipReport(clip, "bad", faults=(Fault("missing", why),))
    except DamagedRecord as error:
        faults.append(Fault("damaged", str(error), error.frame))
    except OSError as error:
        faults.append(Fault("damaged", f"the record cannot be read: {error.strerror}"))
    faults += (Fault("content", text) for text in faults_of_clip(looked))
    whole = not any(fault.kind == "damaged" for fault in faults)
    if source is not None and whole and len(found) != len(source.frames):
        told = f"it holds {len(found)} frames, the source folder {len(source.frames)}"
        faults.append(Fault("source", told))
    faults += _index_faults(index_path(folder, clip), found)
    size, digest = _size_and_digest(path)
    report = ClipReport(clip, "good", len(looked), size, digest, source is not None)
    if listed is not None and listed.sha256 and whole and not report.is_listed(listed):
        faults.append(Fault("manifest", "it is not the record that records.json lists"))
    return replace(report, state="bad", faults=tuple(faults)) if faults else report


def with_duplicates(reports: Sequence[ClipReport]) -> list[ClipReport]:
    """Reports in which records of equal bytes are faults of all but the first.

    Not of those that were compared: their source folder holds that clip twice.
    """
    first: dict[str, str] = {}
    found = []
    for report in reports:
        other = first.setdefault(report.sha256, report.clip) if report.sha256 else report.clip
        if other != report.clip and report.frames and not report.compared:
            fault = Fault("duplicate", f"it is the same record as {other}, byte for byte")
            report = replace(report, state="bad", faults=(*report.faults, fault))
        found.append(report)
    return found


def _frame_faults(
    example: Example, number: int, keys: Sequence[str], source: SourceClip | None
) -> Iterator[Fault]:
    if example.index is None:
        yield Fault("content", "the key index is missing", number)
    elif example.index != number:
        yield Fault("content", f"its index is {example.index}", number)
    if source is not None and number < len(source.frames):
        yield from _source_faults(example.pictures, number, keys, source)


def _source_faults(
    pictures: Mapping[str, bytes], number: int, keys: Sequence[str], source: SourceClip
) -> Iterator[Fault]:
    for key in keys:
        path = source.frames[number][key]
        try:
            same = key not in pictures or path.read_bytes() == pictures[key]
        except OSError as error:
            yield Fault("source", f"{path} cannot be read: {error.strerror}", number)
            continue
        if not same:
            yield Fault("source", f"{key} ({NAMES[key]}) is not what {path} holds", number)


def _index_faults(path: Path, found: Sequence[Place]) -> Iterator[Fault]:
    try:
        index = read_index(path)
    except FileNotFoundError:
        yield Fault("index", "the index is missing")
        return
    except (DamagedRecord, OSError) as error:
        yield Fault("index", str(error))
        return
    for number, (told, place) in enumerate(zip(index, found, strict=False)):
        if told != place:
            yield Fault("index", f"line {number + 1} of the index does not fit the record")
            return
    if len(index) != len(found):
        yield Fault("index", f"the index lists {len(index)} frames, the record holds {len(found)}")


def _size_and_digest(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while piece := file.read(_HASHED):
                digest.update(piece)
                size += len(piece)
    except OSError:
        return 0, ""  # the walk has told of it
    return size, digest.hexdigest()
