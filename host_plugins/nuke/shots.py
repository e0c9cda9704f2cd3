"""From what is saved in the script to the shots that are submitted, and where their files go."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..client.cache import folder_name
from ..client.desk import FOLDER, MATTE, VERSION
from ..client.errors import InputError
from ..client.finding import Options as Finding
from ..client.guides import Guides
from ..client.shot import Client, Keyframe, Options, Outputs, Plates, Shot, shot_id
from . import adapter, keyframes
from .plates import Source, frames_wanted, hashed

_TRAVEL = {"automatic": "AUTO", "by path": "PATHS", "travel": "FILES"}
_OF_SERVER = ("dvm_server", "dvm_keys", "dvm_travel", "dvm_command", "dvm_cache", "dvm_cache_gb")
_OF_SHOT = (
    "dvm_keyframe_files", "dvm_plates", "dvm_keep_plates", "dvm_use_range", "dvm_first", "dvm_last",
    "dvm_network", "dvm_foreground", "dvm_colourspace", "dvm_composited_in", "dvm_missing",
    "dvm_checkpoint", "dvm_window",
)  # fmt: skip
# Knobs by what the client calls them.
_GUIDES = {"garbage": "dvm_garbage_matte", "core": "dvm_core_matte", "clean": "dvm_clean_plate"}


@dataclass(frozen=True)
class Settings:
    """What is set on a node about its shot.

    Attributes:
        keyframes: file by plate.
        rendered: plates are rendered even if a Read lies above.
        keep_plates: those that were rendered before are used again.
        first, last: frames of the script that are wanted; None = the whole clip.
        network, checkpoint, window, missing, colourspace, composited_in: "" = by default.
        foreground: its colours are wanted too.
        guides: of `guides_of`: patterns by view of each role that has one.
    """

    keyframes: Mapping[int, str]
    rendered: bool = False
    keep_plates: bool = False
    first: int | None = None
    last: int | None = None
    network: str = ""
    checkpoint: str = ""
    window: str = "centred"
    missing: str = ""
    colourspace: str = ""
    composited_in: str = ""
    foreground: bool = False
    guides: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def settings_of(node: Any) -> Settings:
    """What is set on a node.

    Raises:
        InputError: ``input.keyframes``.
    """
    said = adapter.values(node, _OF_SHOT)
    part = said["dvm_use_range"]
    return Settings(
        keyframes=keyframes.read(said["dvm_keyframe_files"]),
        rendered=said["dvm_plates"] == "rendered",
        keep_plates=said["dvm_keep_plates"],
        first=int(said["dvm_first"]) if part else None,
        last=int(said["dvm_last"]) if part else None,
        network=_chosen(said["dvm_network"]),
        checkpoint=said["dvm_checkpoint"],
        window=said["dvm_window"],
        missing=_chosen(said["dvm_missing"]),
        colourspace=said["dvm_colourspace"].strip(),
        composited_in=_chosen(said["dvm_composited_in"]),
        foreground=said["dvm_foreground"],
    )


def guides_of(node: Any) -> Generator[None, None, Mapping[str, Mapping[str, str]]]:
    """What is set on a node as `Settings.guides`; in steps, for each path asks much of Nuke."""
    said = adapter.values(node, tuple(_GUIDES.values()))
    found = {}
    for role, name in _GUIDES.items():
        if said[name]:
            yield
            found[role] = adapter.patterns(node, name)
    return found


def finding_of(node: Any) -> Finding:
    """What is set on a node about servers and files."""
    said = adapter.values(node, _OF_SERVER)
    return Finding(
        server=said["dvm_server"].strip(),
        keys=said["dvm_keys"],
        command=said["dvm_command"],
        cache=said["dvm_cache"],
        cache_gb=int(said["dvm_cache_gb"]),
        travel=_TRAVEL[said["dvm_travel"]],
    )


def home() -> Path:
    """The folder of all our files: ``dvm`` beside the script, or the user's own for an unsaved
    one."""
    file = adapter.script_file()
    return file.parent / FOLDER if file else adapter.user_folder()


def cache_folder(finding: Finding) -> Path:
    """Where mattes go: the folder that is set, else beside the script."""
    return Path(finding.cache) if finding.cache else home() / "mattes"


def state_folder() -> Path:
    """Of a server that is started from here."""
    return adapter.user_folder() / "server"


def trimap_pattern(uid: str, views: Sequence[str], take: int = 1) -> str:
    """Files of the trimaps that keyframes take: an artist's work, no cache. Further takes lie
    beside the first."""
    return _pattern(home() / "trimaps" / uid[:12], f"trimap{take if take > 1 else ''}", views)


def plate_pattern(uid: str, views: Sequence[str]) -> str:
    """Files of plates that are rendered."""
    return _pattern(home() / "plates" / uid[:12], "plate", views)


def _pattern(folder: Path, name: str, views: Sequence[str]) -> str:
    view = ".%V" if views else ""
    return str(folder / f"{name}{view}.####.exr")


def build(settings: Settings, source: Source, layers: Sequence[str], cache: Path) -> list[Shot]:
    """The shots to submit: one, or one of each view.

    Args:
        settings: of the node.
        source: of its plates.
        layers: wanted.
        cache: folder that holds a folder for each shot's mattes; those of several views lie in the
            folder of the first, each in one of its own, so that one path with ``%V`` reads them.

    Raises:
        InputError: ``input.no_keyframe``, ``input.frame_range``, ``input.missing_trimap``.
    """
    first, last = frames_wanted(source, settings.first, settings.last)
    painted = [plate for plate in settings.keyframes if first <= plate <= last]
    if not painted:
        frames = (source.timing.frame(first), source.timing.frame(last))
        raise no_keyframe(f"between the frames {frames[0]} and {frames[1]}")
    shots = [
        _shot(settings, source, view, painted, layers, (first, last)) for view in source.patterns
    ]
    folder = cache / folder_name(shot_id(shots[0]))
    return [
        replace(shot, outputs=replace(shot.outputs, pattern=str(folder / view / "alpha.####.exr")))
        for shot, view in zip(shots, source.patterns)
    ]


def no_keyframe(where: str = "") -> InputError:
    """There is nothing to start from."""
    return InputError(
        "input.no_keyframe",
        f"the node has no keyframe {where}".rstrip(),
        hint="go to a frame, paint its trimap into the Trimap input, and press Add Current Frame",
    )


def _shot(
    settings: Settings,
    source: Source,
    view: str,
    painted: Sequence[int],
    layers: Sequence[str],
    run: tuple[int, int],
) -> Shot:
    pattern = source.patterns[view]
    return Shot(
        name=Path(pattern).name,  # not the node's: its copies are the same shot
        frames=((*run, 1),),
        plates=Plates(
            pattern=pattern,
            colourspace=source.colourspace,
            composited_in=settings.composited_in,
            premultiplied=source.premultiplied,
        ),
        keyframes=tuple(_keyframe(settings, source, plate, view) for plate in painted),
        outputs=Outputs(layers=tuple(layers), split=True, foreground="straight"),
        options=Options(
            network=settings.network,
            checkpoint=settings.checkpoint,
            window=settings.window,
            missing=source.missing,
            overwrite=True,  # mattes of other plates or trimaps: they are in our own cache
        ),
        client=Client(adapter.host_name(), VERSION),
        guides=_guides(settings, view),
    )


def _guides(settings: Settings, view: str) -> Guides:
    """Those of a view; of the first one, where all views have the same plates."""
    return Guides.of_patterns(
        {
            role: hashed(files.get(view) or next(iter(files.values())))
            for role, files in settings.guides.items()
        }
    )


def _keyframe(settings: Settings, source: Source, plate: int, view: str) -> Keyframe:
    path = keyframes.in_view(settings.keyframes[plate], view)
    if not path.is_file():
        raise InputError(
            "input.missing_trimap",
            f"the trimap of frame {source.timing.frame(plate)}, {path}, is not there",
            frame=plate,
            hint="go to that frame and press Add Current Frame again, or remove the keyframe",
        )
    return Keyframe(plate, trimap=str(path))


def layers_wanted(settings: Settings) -> tuple[str, ...]:
    """What Matte asks for."""
    return (*MATTE, "foreground") if settings.foreground else MATTE


def _chosen(item: str) -> str:
    """Of a choice: "" for the first, which leaves it to others."""
    return "" if item in ("automatic", "server's default") else item
