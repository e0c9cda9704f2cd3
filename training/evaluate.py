"""`dvm-train evaluate`: the command; what it does is in `training.judging.evaluation`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
import typer

from model.plates import image_files
from model.plates.file_errors import writing
from training.cli import require_choices, say
from training.conventions.by_name import CONVENTIONS, PUBLISHED
from training.judging.baselines import BASELINES, CHEAP
from training.judging.calibration import Reliability, write_diagram
from training.judging.evaluation import MODES, PLACEMENTS, Request, judge
from training.judging.evaluation_run import KNN_PIXELS
from training.judging.subjects import WINDOWS
from training.judging.tables import gates_table, write_evaluation
from training.report.writing import CLIPS, FRAMES, write_report

TRIMAPS = ("every", "keyframes", "both")
_GROUPS: dict[str, tuple[str, ...]] = {"cheap": CHEAP, "all": tuple(BASELINES), "none": ()}


def evaluate(
    data: list[str] = typer.Option(
        ...,
        help="A folder of items with truth, synthetic:matting, synthetic:propagation, "
        "footage:heldout or footage:large; may be given more than once.",
    ),
    network: list[str] = typer.Option(
        [], help="A network by name, with its shipped checkpoint; may be given more than once."
    ),
    checkpoint: list[str] = typer.Option(
        [], help="A checkpoint to judge; its record says of which network. More than once."
    ),
    mattes: list[str] = typer.Option(
        [],
        help="A folder of mattes in files, made by whatever program, one folder an item: judged "
        "like a network's. More than once.",
    ),
    window: list[int] = typer.Option(
        [5], help="Frames of the window that networks see: 5, 3 or 1. More than once to compare."
    ),
    trimaps: str = typer.Option(
        "every", help="every: a trimap on every frame; keyframes: trimaps are carried; both."
    ),
    keyframes: list[str] = typer.Option(
        list(PLACEMENTS), help="Where they are: first, both-ends. More than once."
    ),
    carried_mattes: bool = typer.Option(
        False, "--carried-mattes", help="Judge the mattes of carried trimaps too."
    ),
    items: list[str] = typer.Option([], help="Judge these items alone. More than once."),
    convention: list[str] = typer.Option(
        [],
        help="Whose metrics stand beside ours: published-dvm, tcvom, rvm. More than once.",
    ),
    as_published: bool = typer.Option(
        False,
        "--as-published",
        help="With --convention published-dvm: what its released MESSDdt computes, faults and all.",
    ),
    baselines: list[str] = typer.Option(
        ["cheap"],
        help=f"cheap ({', '.join(CHEAP)}), knn, all, none, or one by its name. More than once.",
    ),
    knn_pixels: int = typer.Option(
        KNN_PIXELS, min=1, help="knn is left out for items with frames of more pixels than this."
    ),
    material: Path | None = typer.Option(None, help="Folder of real material for made data sets."),
    out: Path = typer.Option(Path("evaluation"), help="Folder for tables, diagrams and sheets."),
    cache: Path | None = typer.Option(
        None, help="Folder where priors and mattes are kept; OUT/cache if it is not given."
    ),
    first: int = typer.Option(0, min=0, help="Only the first frames of each item; 0 = all."),
    every: int = typer.Option(
        1, min=1, help="Judge two neighbouring frames of every so many; 1 = all."
    ),
    mode: str = typer.Option(
        "whole",
        help="How frames are brought to matting networks. whole: at their size; tiled: in the "
        "engine's tiles; resized: smaller, the answer enlarged again.",
    ),
    tile: int = typer.Option(512, min=64, help="Side of tiles, with --mode tiled."),
    max_side: int = typer.Option(
        1600, min=32, help="The longer side at most, with --mode resized; never enlarged."
    ),
    published_resize: bool = typer.Option(
        False,
        "--published-resize",
        help="For st_fam_r50 alone, to compare: sizes cut to multiples of 32 by nearest "
        "neighbour, as its published test does.",
    ),
    device: str = typer.Option("cpu", help="auto, cpu or cuda:N."),
    threads: int = typer.Option(1, min=1, help="Of torch, OpenCV and OpenImageIO."),
    workers: int = typer.Option(1, min=1, help="Processes that grow sprites for made data sets."),
    pymatting: bool = typer.Option(True, help="Whether baselines that pymatting makes are judged."),
    sheets: bool = typer.Option(True, help="Whether contact sheets are drawn."),
    report: bool = typer.Option(True, help="Whether an HTML report is written, into OUT/report."),
    report_frames: int = typer.Option(
        FRAMES, min=0, help="The worst frames of an item that the report shows; 0 = all."
    ),
    report_clips: int = typer.Option(
        CLIPS, min=0, help="The worst items that the report has pictures of; 0 = all."
    ),
) -> None:
    """Judge networks against truth, their priors and the classics; write tables and sheets."""
    require_choices("--trimaps", [trimaps], TRIMAPS)
    require_choices("--keyframes", keyframes, PLACEMENTS)
    require_choices("--window", window, WINDOWS)
    require_choices("--mode", [mode], MODES)
    require_choices("--convention", convention, CONVENTIONS)
    require_choices("--baselines", baselines, (*_GROUPS, *BASELINES))
    if as_published and PUBLISHED not in convention:
        raise typer.BadParameter(f"wants --convention {PUBLISHED}", param_hint="--as-published")
    if published_resize and mode != "whole":
        raise typer.BadParameter("wants --mode whole", param_hint="--published-resize")
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    image_files.set_threads(threads)
    request = Request(
        data=tuple(data),
        out=out,
        networks=tuple(network),
        checkpoints=tuple(checkpoint),
        mattes=tuple(mattes),
        windows=tuple(window),
        trimaps=trimaps,
        keyframes=tuple(keyframes),
        items=tuple(items),
        material=material,
        cache=cache,
        first=first,
        every=every,
        device=device,
        workers=workers,
        conventions=tuple(convention),
        as_published=as_published,
        baselines=tuple(dict.fromkeys(b for one in baselines for b in _GROUPS.get(one, (one,)))),
        knn_pixels=knn_pixels,
        pymatting=pymatting,
        carried_mattes=carried_mattes,
        sheets=sheets,
        mode=mode,
        tile=tile,
        max_side=max_side,
        published_resize=published_resize,
    )
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    found = judge(request, say)
    write_evaluation(out, found)
    by_set: dict[str, dict[str, Reliability]] = {}
    for one in found.calibrations:
        by_set.setdefault(one.data_set, {})[one.method] = one.table
    for name, tables in zip(_short_names([*by_set]), by_set.values(), strict=True):
        write_diagram(out / f"reliability_{name.replace(':', '_')}.svg", tables)
    if found.gates:
        typer.echo(gates_table(found.gates))
    typer.echo(f"{out / 'evaluation.md'}")
    if report:
        page = write_report(out, found, frames=report_frames, clips=report_clips)
        typer.echo(f"{page}")


def _short_names(data_sets: Sequence[str]) -> list[str]:
    """What the data sets are called in names of files: as their folders are; where two folders are
    called alike, with as many of the folders above as tell them apart."""
    parts = [Path(one).absolute().parts if Path(one).exists() else (one,) for one in data_sets]
    lengths = range(1, max(map(len, parts), default=1) + 1)
    levels = [["_".join(one[-length:]).strip("/") for one in parts] for length in lengths]
    return [
        next((level[i] for level in levels if level.count(level[i]) == 1), levels[-1][i])
        for i in range(len(parts))
    ]
