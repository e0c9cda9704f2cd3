"""`dvm-train adapt`: the command. Weights adapted to one shot, as a small file beside the base's.

The matting network learns from a few finished mattes, the propagation network from the keyframes.
What is written beats the base on what was held out; if nothing does, nothing is written.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer

from model.checkpoint import CheckpointRecord, read_record, save_checkpoint, sha256_of_file
from model.delta import DeltaBase, named
from model.errors import InputError, SetupError
from model.exposure import ExposureMap
from model.face import Frame
from model.pipeline import ENGINE_VERSION, choose_device
from model.registry import checkpoint_path, find, open_network
from model.tiles import Seen
from model.view import LightView
from training.adapting.loop import Adapted, Course
from training.adapting.matting import adapt_matting
from training.adapting.propagation import adapt_propagation, carried_keyframes
from training.adapting.shot import ShotFiles, digest_of, find_shot, finished_frames, parted

VERSION = 1  # raised when the same inputs would give another delta
MATTING, PROPAGATION = "st_fam_s", "trimap_memory_s"
KINDS = {MATTING: "matting", PROPAGATION: "propagation"}
PARTS = tuple(KINDS.values())
MOST_CARRYING = 200  # steps of the propagation network
LEAST_GAIN = 0.02  # of the held-out figure, for a delta to be worth having
SUFFIX = ".safetensors"
LICENCE = (
    "changes of weights, made from the plates, mattes and trimaps of one shot: these are their "
    "owner's own, and so are the changes; for the base see its own record"
)


@dataclass(frozen=True)
class Request:
    """What is asked for; all of it but ``threads`` and ``device`` decides what comes of it.

    Attributes:
        files: of the shot.
        bases: checkpoint of each network to adapt, by name.
        courses: of each.
        hold_out: frame to judge the matting network by; None = the middle one.
        colourspace, composited_in: of the plates, as for `dvm matte`.
    """

    files: ShotFiles
    bases: Mapping[str, Path]
    courses: Mapping[str, Course]
    hold_out: int | None
    colourspace: str
    composited_in: str

    def key(self, digests: Mapping[str, Mapping[str, str]]) -> str:
        """Tells whether two runs are one."""
        courses = {name: asdict(course) for name, course in self.courses.items()}
        bases = {name: sha256_of_file(path) for name, path in self.bases.items()}
        own = self.hold_out, self.colourspace, self.composited_in, self.files.frames
        return digest_of([VERSION, ENGINE_VERSION, own, courses, bases, digests])


def adapt(
    plates: str = typer.Option(..., metavar="PATTERN", help="Of the shot, e.g. plate.####.exr."),
    trimaps: str = typer.Option(
        ..., metavar="PATTERN", help="Of the finished frames, or of more; they are the keyframes."
    ),
    out: Path = typer.Option(..., metavar="FILE", help="The delta, e.g. shot.delta.safetensors."),
    mattes: str = typer.Option(
        "", metavar="PATTERN", help="Of finished mattes. Without it, propagation alone is adapted."
    ),
    parts: str = typer.Option("matting,propagation", help="Which of the two to adapt."),
    checkpoint: str = typer.Option(
        "", metavar="FILE", help="Base of the matting network; the shipped weights if not given."
    ),
    propagation_checkpoint: str = typer.Option(
        "", metavar="FILE", help="Base of the propagation network; likewise."
    ),
    steps: int = typer.Option(100, min=8, max=2000, help="Of the matting network."),
    propagation_steps: int = typer.Option(
        40, min=8, max=MOST_CARRYING, help="Of the propagation network."
    ),
    rate: float = typer.Option(1e-3, min=1e-6, max=0.1, help="Learning rate, of both."),
    rank: int = typer.Option(4, min=1, max=32, help="Of the changes: how large the file becomes."),
    hold_out: int | None = typer.Option(
        None, metavar="FRAME", help="Finished frame to judge by; default: the middle one."
    ),
    seed: int = typer.Option(0, min=0),
    colourspace: str = typer.Option(
        "", "--colourspace", "--colorspace", help="Of the plates, if not as told."
    ),
    composited_in: str = typer.Option(
        "", help="linear or display: light the mattes are for; default: by the colourspace."
    ),
    device: str = typer.Option("auto", help="auto, cpu or cuda:N."),
    threads: int = typer.Option(0, min=0, help="Of torch; 0 = as many as it chooses."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a file that is another's."),
) -> None:
    """Adapt the networks to one shot from a few finished mattes; write a small checkpoint.

    Use it: dvm matte … --checkpoint FILE. It needs its base: the shipped weights, or beside it.
    """
    wanted = _parts(parts, mattes)
    if composited_in not in ("", "linear", "display"):
        raise typer.BadParameter("is linear or display", param_hint="--composited-in")
    if threads:
        torch.set_num_threads(threads)
    given = {MATTING: checkpoint, PROPAGATION: propagation_checkpoint}
    names = [name for name, kind in KINDS.items() if kind in wanted]
    long = {MATTING: steps, PROPAGATION: propagation_steps}
    request = Request(
        find_shot(plates, mattes, trimaps),
        {name: _base(name, KINDS[name], given[name]) for name in names},
        {name: Course(long[name], rate, rank, seed) for name in names},
        hold_out,
        colourspace,
        composited_in,
    )
    digests = request.files.digests()
    key = request.key(digests)
    if _is_there(out, key, overwrite=overwrite):
        _say(f"{out} is there already, made from the same files and options")
        return
    found = run(request, choose_device(device))
    better = {name: one for name, one in found.items() if one.score <= 1 - LEAST_GAIN}
    if not better:
        raise InputError(
            "input.no_gain",
            f"adapting did not help: {_told(found)}; nothing is written",
            hint="keep the weights as they are, or give more frames, that differ more",
        )
    write(out, request, better, digests, key)
    for name in found.keys() - better.keys():
        _say(f"{name} stays as it is: {_told({name: found[name]})}")
    _say(f"{out}: {_told(better)}; {out.stat().st_size / 1000:.0f} kB")
    _say(f"use it: dvm matte … --checkpoint {out}")


def run(request: Request, device: torch.device) -> dict[str, Adapted]:
    """Adapt each network that is asked for; the score says whether it helped."""
    found = {}
    exposure = ExposureMap()
    if MATTING in request.bases:
        exposure = read_record(request.bases[MATTING]).exposure
    view = LightView(request.colourspace, request.composited_in, exposure, device)
    for name, path in request.bases.items():
        face = open_network(find(name, KINDS[name]), str(path), device)
        course, say = request.courses[name], partial(_tell, name)
        if name == MATTING:

            def solved(frame: Frame, network: Any = face) -> Seen:
                return Seen(frame, network.prior(frame))

            finished = finished_frames(request.files, view, solved)
            taught, judged = parted(finished, request.hold_out)
            said = ", ".join(str(one.number) for one in taught)
            say(f"learns from {said}; judged by {judged.number}")
            found[name] = adapt_matting(face.network, taught, judged, course, say)
        else:
            carries = carried_keyframes(request.files, view, course.seed)
            say(f"{len(carries.taught)} ways between keyframes, {len(carries.judged)} held out")
            found[name] = adapt_propagation(face.network, carries, course, say)
    return found


def write(
    out: Path,
    request: Request,
    better: Mapping[str, Adapted],
    digests: Mapping[str, Mapping[str, str]],
    key: str,
) -> None:
    """The delta with its record, whole or not at all."""
    bases = {
        name: DeltaBase(
            request.bases[name].name,
            sha256_of_file(request.bases[name]),
            read_record(request.bases[name]).config,
        )
        for name in better
    }
    first = next(iter(better))
    training = {
        "adapted": {
            name: {
                **asdict(request.courses[name]),
                "step": one.step,
                "held_out_before": one.before,
                "held_out": one.after,
            }
            for name, one in better.items()
        },
        "frames": list(request.files.frames),
        "files_sha256": digests,
        "key": key,
        "torch": torch.__version__,
    }
    record = CheckpointRecord(
        network=first,
        config=bases[first].config,
        licence=LICENCE,
        training=training,
        exposure=read_record(request.bases[first]).exposure,
        delta=bases,
    )
    tensors: dict[str, torch.Tensor] = {}
    for name, one in better.items():
        tensors |= named(name, one.changes)
    save_checkpoint(out, tensors, record)


def _parts(text: str, mattes: str) -> tuple[str, ...]:
    names = tuple(one.strip() for one in text.split(",") if one.strip())
    unknown = [one for one in names if one not in PARTS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'} is not among {', '.join(PARTS)}",
            param_hint="--parts",
        )
    if not mattes and names == ("matting",):
        raise typer.BadParameter("matting is adapted from finished mattes", param_hint="--mattes")
    return names if mattes else ("propagation",)


def _base(name: str, kind: str, given: str) -> Path:
    """The checkpoint to change: whole weights of this network.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.other_checkpoint``.
    """
    path = checkpoint_path(find(name, kind), given)
    assert path is not None  # both networks have weights
    record = read_record(path)
    if record.delta or record.network != name:
        holds = "changes for one shot" if record.delta else record.network
        raise SetupError(
            "setup.other_checkpoint",
            f"{path} holds {holds}, and what is adapted is {name}",
            hint=f"name whole weights of {name}, or leave it out to adapt the shipped ones",
        )
    return path


def _is_there(out: Path, key: str, *, overwrite: bool) -> bool:
    """Whether the file was made of the same.

    Raises:
        SetupError: ``setup.exists`` if it is another's; ``setup.no_folder``.
    """
    if out.suffix != SUFFIX:
        raise typer.BadParameter(f"{out} does not end in {SUFFIX}", param_hint="--out")
    if not out.parent.is_dir():
        raise SetupError(
            "setup.no_folder", f"there is no folder {out.parent}", hint="make it first"
        )
    if not out.exists():
        return False
    try:
        same = read_record(out).training.get("key") == key
    except SetupError:
        same = False
    if not same and not overwrite:
        raise SetupError(
            "setup.exists",
            f"{out} is there already, made from other files or options",
            hint="add --overwrite, or name another --out",
        )
    return same


def _told(found: Mapping[str, Adapted]) -> str:
    said = []
    for name, one in found.items():
        pairs = [f"{k} {one.before[k]:.4g} → {one.after[k]:.4g}" for k in one.before]
        said.append(f"{name} held out {', '.join(pairs)} (step {one.step})")
    return "; ".join(said)


def _tell(name: str, line: str) -> None:
    _say(f"{name}: {line}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
