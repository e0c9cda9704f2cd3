"""The published layout of a data set that has yet to be composed.

    ROOT/fg/image/PHASE/alpha/NAME.png     the same name in fg/ (colour, straight)
    ROOT/fg/video/PHASE/NAME/f.mp4         and a.mp4, or folders f/ and a/ of numbered pictures
    ROOT/bg/PHASE/NAME.mp4                 or a folder NAME/ of numbered pictures

PHASE is ``train`` or ``test``. A file that is not there under its exact name is looked for with
another suffix, so that a published list fits footage that was unpacked to frames. What lies where a
foreground or a background should and cannot be used is named as one, so that it comes to be told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from model.checkpoint import sha256_of_file
from model.errors import InputError
from model.plates.file_errors import looking_into
from model.plates.same_files import file_stamp
from training.composing.pair_list import Pair

PHASES = ("train", "test")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# What people and programs leave beside pictures.
NOTES = (".txt", ".md", ".csv", ".json", ".db", ".ini", ".log")
MOVIES = (".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".mxf")
_SHOWN = 5  # troubles in an error's own sentence


@dataclass(frozen=True)
class Sources:
    """Where a pair's pixels are. Each is a picture, a movie, or a folder of numbered pictures."""

    colour: Path
    alpha: Path
    background: Path

    def parts(self) -> dict[str, Path]:
        return {"colour": self.colour, "alpha": self.alpha, "background": self.background}


@dataclass(frozen=True)
class Trouble:
    """Why a pair cannot be composed.

    Attributes:
        pair: its line.
        reasons: one sentence each.
    """

    pair: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.pair}: {'; '.join(self.reasons)}"


def troubles_told(troubles: Sequence[Trouble]) -> str:
    """The first of them, for an error's sentence, and how many more there are."""
    shown = " | ".join(map(str, troubles[:_SHOWN]))
    return shown + (f" | and {len(troubles) - _SHOWN} more" if len(troubles) > _SHOWN else "")


@dataclass(frozen=True)
class Layout:
    """One phase of a root folder.

    Raises:
        InputError: ``input.no_layout`` if the root is not there, or has nothing of the phase.
    """

    root: Path
    phase: str

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise InputError(
                "input.no_layout",
                f"the phase is {self.phase!r}",
                hint=f"it is one of {', '.join(PHASES)}",
            )
        with looking_into(self.root):
            found = self.background_folder.is_dir()
            there = "has no folder" if self.root.is_dir() else "is not there, nor is"
        if not found:
            raise InputError(
                "input.no_layout",
                f"{self.root} {there} {self.background_folder.relative_to(self.root)}",
                hint="the layout is fg/image, fg/video and bg, each with train and test inside; "
                "see training/README.md, Composing a data set",
            )

    @property
    def background_folder(self) -> Path:
        return self.root / "bg" / self.phase

    def foreground_folder(self, kind: str) -> Path:
        return self.root / "fg" / kind / self.phase

    def foregrounds(self, kind: str) -> list[str]:
        """Names of all foregrounds of a kind, sorted; those that lack a half are among them, and
        those that cannot be used: `locate` says why.

        Raises:
            InputError: ``input.unreadable`` for a folder that cannot be listed.
        """
        folder = self.foreground_folder(kind)
        if kind == "video":
            return sorted({*names_in(folder, folders=True), *_others_in(folder)})
        halves = folder / "alpha", folder / "fg"
        found = names_in(halves[0], PICTURES)
        known = {Path(name).stem for name in found}
        others = [name for half in halves for name in _others_in(half)]
        for name in (*names_in(halves[1], PICTURES), *others):
            if Path(name).stem not in known:
                known.add(Path(name).stem)
                found.append(name)
        return sorted(found)

    def backgrounds(self) -> list[str]:
        """Names of all backgrounds, sorted, with those whose links lead nowhere.

        Raises:
            InputError: ``input.unreadable``.
        """
        folder = self.background_folder
        there = names_in(folder, MOVIES, folders=True)
        with looking_into(folder):
            astray = [name for name in _others_in(folder) if not (folder / name).exists()]
        return sorted([*there, *astray])

    def locate(self, pair: Pair) -> Sources | Trouble:
        """The files of a pair, or all that is wrong with them as far as names tell."""
        folder = self.foreground_folder(pair.kind)
        if pair.kind == "image":
            colour = _find(folder / "fg", pair.foreground, PICTURES, folders=False)
            alpha = _find(folder / "alpha", pair.foreground, PICTURES, folders=False)
        else:
            colour = _missing_folder(folder / pair.foreground)
            alpha = ""
            if not colour:
                colour = _find(folder / pair.foreground, "f.mp4", MOVIES)
                alpha = _find(folder / pair.foreground, "a.mp4", MOVIES)
        background = _find(self.background_folder, pair.background, MOVIES)
        if isinstance(colour, Path) and isinstance(alpha, Path) and isinstance(background, Path):
            return Sources(colour, alpha, background)
        reasons = [one for one in (colour, alpha, background) if isinstance(one, str) and one]
        return Trouble(pair.line, tuple(dict.fromkeys(reasons)))


def sizes(path: Path) -> list[int]:
    """Of a source: the number of its files, and of their bytes."""
    files = _files(path)
    return [len(files), sum(one.stat().st_size for one in files)]


def source_digest(path: Path) -> str:
    """SHA-256 of a source: of a file's bytes; of a folder's files, their names and bytes."""
    if not path.is_dir():
        return _sha256(path, file_stamp(str(path)))
    lines = [f"{one.name} {_sha256(one, file_stamp(str(one)))}\n" for one in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@lru_cache(maxsize=100_000)
def _sha256(path: Path, stamp: str) -> str:
    """Of a file as it is now. A background is behind many clips, and is read for the first."""
    return sha256_of_file(path)


def _files(path: Path) -> list[Path]:
    return sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]


def _missing_folder(folder: Path) -> Path | str:
    """What is wrong with a foreground's folder; "" if nothing is."""
    try:
        if folder.is_dir():
            return ""
        if folder.is_file():
            return f"{folder} is a file, and should be a folder with f.mp4 and a.mp4"
    except OSError as error:
        return _unseen(folder, error)
    return _not_there(folder)


def _find(folder: Path, name: str, suffixes: tuple[str, ...], folders: bool = True) -> Path | str:
    """A file, or a folder, by its name or by its name with another suffix; else what is wrong."""
    try:
        return _found(folder, name, suffixes, folders)
    except OSError as error:
        return _unseen(folder, error)


def _found(folder: Path, name: str, suffixes: tuple[str, ...], folders: bool) -> Path | str:
    exact = folder / name
    if exact.is_file() and not folders and exact.suffix.lower() not in suffixes:
        return f"{exact} is none of {', '.join(suffixes)}"
    if exact.is_file() or (folders and exact.is_dir()):
        return exact
    suffix = Path(name).suffix
    stem = name.removesuffix(suffix) if suffix.lower() in suffixes else name
    known = [folder / (stem + one) for one in suffixes if (folder / (stem + one)).is_file()]
    if folders and (folder / stem).is_dir():
        known.append(folder / stem)
    if len(known) == 1:
        return known[0]
    if known:
        return f"{exact} may be any of {', '.join(one.name for one in known)}"
    return _not_there(exact)


def _not_there(path: Path) -> str:
    return f"{path} is {'a link that leads nowhere' if path.is_symlink() else 'not there'}"


def _unseen(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be read: {error.strerror}"


def names_in(folder: Path, suffixes: tuple[str, ...] = (), folders: bool = False) -> list[str]:
    """Names of a folder's files with these suffixes, and of its folders, sorted; none if it is not
    there. What is hidden is passed over.

    Raises:
        InputError: ``input.unreadable`` if it, or what is in it, may not be looked at.
    """
    return _names(
        folder,
        lambda one: (
            (folders and one.is_dir()) or (one.suffix.lower() in suffixes and one.is_file())
        ),
    )


def _others_in(folder: Path) -> list[str]:
    """Names of a folder's files and links that are neither hidden nor `NOTES`, sorted."""
    return _names(folder, lambda one: one.suffix.lower() not in NOTES and not one.is_dir())


def _names(folder: Path, wanted: Callable[[Path], bool]) -> list[str]:
    """Of what is wanted and not hidden, sorted; none if the folder is not there."""
    with looking_into(folder):
        if not folder.is_dir():
            return []
        there = (one for one in folder.iterdir() if not one.name.startswith("."))
        return sorted(one.name for one in there if wanted(one))
