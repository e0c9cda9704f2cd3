"""`dvm matte`: a clip from the command line, with a running server or a private one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from dvm_server.interrupts import Interrupts
from dvm_server.private_server import private_server
from dvm_server.private_states import private_state, remove_old
from dvm_server.reporting import failures, reporter
from dvm_server.running import by_value_files, run_to_end
from dvm_server.shot_input import Wishes, build_shot, find_clip
from dvm_server.typed import parse_holdouts, parse_keyframes, parse_roi
from host_plugins.client.connection import default_state_dir, find
from host_plugins.client.finding import on_this_machine
from host_plugins.client.shot import Options, Roto
from host_plugins.client.shot_parts import MOST_HANDLES, WIDEST_ROTO, WIDEST_TILE
from model.plates.mattes import LAYERS


def matte(
    plates: Annotated[
        str,
        typer.Argument(
            metavar="PLATES", help="Pattern (plate.####.exr, %04d, $F4), one image, or a movie."
        ),
    ],
    out: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="Pattern of the alpha plates, e.g. alpha.####.exr."),
    ],
    trimap: Annotated[
        list[str] | None, typer.Option(metavar="FRAME:FILE", help="Keyframe; may be repeated.")
    ] = None,
    trimaps: Annotated[
        str, typer.Option(metavar="PATTERN", help="A trimap for every frame that it matches.")
    ] = "",
    roto: Annotated[
        list[str] | None,
        typer.Option(metavar="FRAME:FILE", help="Keyframe from a rough shape; may be repeated."),
    ] = None,
    roto_shrink: Annotated[
        int,
        typer.Option(min=0, max=WIDEST_ROTO, help="Pixels inside of the shape that are uncertain."),
    ] = Roto.shrink,
    roto_grow: Annotated[
        int, typer.Option(min=0, max=WIDEST_ROTO, help="Pixels outside of it that are uncertain.")
    ] = Roto.grow,
    garbage: Annotated[
        str, typer.Option(metavar="PATTERN", help="Garbage mattes, or one: alpha is 0 where 1.")
    ] = "",
    core: Annotated[
        str, typer.Option(metavar="PATTERN", help="Core mattes, or one: alpha is 1 where 1.")
    ] = "",
    holdout: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND=PATTERN", help="Another way to say garbage=… and core=…."),
    ] = None,
    clean_plate: Annotated[
        str,
        typer.Option(metavar="PATTERN", help="The background alone: a plate a frame, or one."),
    ] = "",
    frames: Annotated[str, typer.Option(metavar="RANGE", help="E.g. 1001-1012 or 1-9x2.")] = "",
    roi: Annotated[
        str, typer.Option(metavar="REGION", help="WxH+X+Y or x0,y0,x1,y1, from the top left.")
    ] = "",
    handles: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_HANDLES, help="Frames beyond the range's ends that are read too."
        ),
    ] = 0,
    outputs: Annotated[str, typer.Option(help=f"Of {','.join(LAYERS)}.")] = "alpha",
    foreground: Annotated[
        Literal["premultiplied", "straight"], typer.Option(help="Colours of the foreground output.")
    ] = "premultiplied",
    split: Annotated[bool, typer.Option("--split", help="A file for each output.")] = False,
    network: Annotated[str, typer.Option(help="Matting network; see dvm doctor.")] = "",
    checkpoint: Annotated[str, typer.Option(metavar="FILE", help="Weights of your own.")] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda:N.")] = "",
    threads: Annotated[
        int, typer.Option(min=0, help="CPU threads; 0 = one a core. Part of a matte's identity.")
    ] = 0,
    precision: Annotated[
        Literal["auto", "float32", "float16", "bfloat16"],
        typer.Option(help="Of the matting network; auto = what is fastest there."),
    ] = "auto",
    tile: Annotated[
        int, typer.Option(min=0, max=WIDEST_TILE, help="Side of its tiles; 0 = as it fits.")
    ] = 0,
    colourspace: Annotated[
        str, typer.Option("--colourspace", "--colorspace", help="Of the plates, if not as told.")
    ] = "",
    composited_in: Annotated[
        Literal["linear", "display"] | None,
        typer.Option(help="Light the matte is for; default: by the colourspace."),
    ] = None,
    missing: Annotated[
        Literal["error", "hold", "black"], typer.Option(help="What to do about missing plates.")
    ] = "error",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are not this shot's mattes.")
    ] = False,
    compression: Annotated[str, typer.Option(help="EXR compression.")] = "zip",
    causal: Annotated[
        bool, typer.Option("--causal", help="Look at earlier frames only, t-2 to t.")
    ] = False,
    server: Annotated[
        str, typer.Option(metavar="URL|FILE", help="A running server; default: a private one.")
    ] = "",
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the private server keeps its state.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object a line on stdout.")
    ] = False,
) -> None:
    """Matte a clip: plates and trimaps in, alpha plates out."""
    for given, name, what in ((device, "--device", "device"), (threads, "--threads", "threads")):
        if server and given:
            raise typer.BadParameter(f"the server chooses its {what}", param_hint=name)
    layers = _layers(outputs)
    with failures(as_json=as_json), Interrupts() as interrupts:
        keyframes = parse_keyframes(trimap or [])
        shapes = parse_keyframes(roto or [], "--roto")
        clip = find_clip(plates, frames, {**keyframes, **shapes}, missing, handles)
        connection = find(server) if server else None
        # A connection file may have been copied from the machine that the server is on.
        remote = "://" in server or bool(connection and not on_this_machine(connection.endpoint))
        weights = os.path.abspath(checkpoint) if checkpoint and not remote else checkpoint  # noqa: PTH100
        options = Options(
            network=network,
            checkpoint=weights,
            window="causal" if causal else "centred",
            precision=precision,
            tile=tile,
            missing=missing,
            overwrite=overwrite,
        )
        wishes = Wishes(
            out=out,
            keyframes=keyframes,
            trimaps=trimaps,
            layers=layers,
            split=split,
            compression=compression,
            colourspace=colourspace,
            composited_in=composited_in or "",
            options=options,
            guides=parse_holdouts(holdout or [], garbage=garbage, core=core, clean=clean_plate),
            foreground=foreground,
            roi=parse_roi(roi),
            shapes=shapes,
            roto=Roto(roto_shrink, roto_grow),
        )
        shot = build_shot(clip, wishes, remote=remote)
        with ExitStack() as stack:
            if connection is None:
                private = default_state_dir() / "private"
                if not state:
                    remove_old(private)
                folder = state or stack.enter_context(private_state(private, shot))
                arguments = ["--threads", str(threads), *(["--device", device] if device else [])]
                connection = stack.enter_context(
                    private_server(folder.absolute(), arguments, interrupts.check)
                )
            report = stack.enter_context(reporter(shot, as_json=as_json))
            files = by_value_files(shot, stack, report, interrupts) if remote else None
            summary = run_to_end(connection, shot, files, report, interrupts)
        report.done(summary)


def _layers(text: str) -> tuple[str, ...]:
    names = [one.strip() for one in text.split(",") if one.strip()]
    unknown = [one for one in names if one not in LAYERS]
    if unknown or not names:
        raise typer.BadParameter(
            f"{', '.join(unknown) or 'nothing'} is not among {', '.join(LAYERS)}",
            param_hint="--outputs",
        )
    return tuple(one for one in LAYERS if one in names)
