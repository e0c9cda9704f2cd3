"""The published layout of a data set that has yet to be composed.

    ROOT/fg/image/PHASE/alpha/NAME.png     the same name in fg/ (colour, straight)
    ROOT/fg/video/PHASE/NAME/f.mp4         and a.mp4, or folders f/ and a/ of numbered pictures
    ROOT/bg/PHASE/NAME.mp4                 or a folder NAME/ of numbered pictures

PHASE is ``train`` or ``test``. A file that is not there under its exact name is looked for with
another suffix, so that a published list fits footage that was unpacked to frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.errors import InputError
from training.composing.pair_list import Pair

PHASES = ("train", "test")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
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
        if not self.background_folder.is_dir():
            there = "has no folder" if self.root.is_dir() else "is not there, nor is"
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
        """Names of all foregrounds of a kind, sorted; those that lack a half are among them."""
        folder = self.foreground_folder(kind)
        if kind == "video":
            return names_in(folder, folders=True)
        alphas = names_in(folder / "alpha", PICTURES)
        known = {Path(name).stem for name in alphas}
        colours = names_in(folder / "fg", PICTURES)
        return sorted([*alphas, *(name for name in colours if Path(name).stem not in known)])

    def backgrounds(self) -> list[str]:
        """Names of all backgrounds, sorted."""
        return names_in(self.background_folder, MOVIES, folders=True)

    def locate(self, pair: Pair) -> Sources | Trouble:
        """The files of a pair, or all that is wrong with them as far as names tell."""
        folder = self.foreground_folder(pair.kind)
        if pair.kind == "image":
            colour = _find(folder / "fg", pair.foreground, PICTURES, folders=False)
            alpha = _find(folder / "alpha", pair.foreground, PICTURES, folders=False)
        elif (folder / pair.foreground).is_dir():
            colour = _find(folder / pair.foreground, "f.mp4", MOVIES)
            alpha = _find(folder / pair.foreground, "a.mp4", MOVIES)
        else:
            colour, alpha = f"{folder / pair.foreground} is not there", ""
        background = _find(self.background_folder, pair.background, MOVIES)
        if isinstance(colour, Path) and isinstance(alpha, Path) and isinstance(background, Path):
            return Sources(colour, alpha, background)
        reasons = [one for one in (colour, alpha, background) if isinstance(one, str) and one]
        return Trouble(pair.line, tuple(reasons))


def signature(path: Path) -> list[int]:
    """Number of files and of bytes, by which a later run sees that a source is another one."""
    files = [one for one in path.iterdir() if one.is_file()] if path.is_dir() else [path]
    return [len(files), sum(one.stat().st_size for one in files)]


def _find(folder: Path, name: str, suffixes: tuple[str, ...], folders: bool = True) -> Path | str:
    """A file, or a folder, by its name or by its name with another suffix; else what is wrong."""
    exact = folder / name
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
    return f"{exact} is not there"


def names_in(folder: Path, suffixes: tuple[str, ...] = (), folders: bool = False) -> list[str]:
    """Names of a folder's files with these suffixes, and of its folders, sorted; none if it is not
    there. What is hidden is passed over."""
    if not folder.is_dir():
        return []
    return sorted(
        one.name
        for one in folder.iterdir()
        if not one.name.startswith(".")
        and ((folders and one.is_dir()) or (one.suffix.lower() in suffixes and one.is_file()))
    )
