"""`dvm-train checkpoint`: bring a published checkpoint over, average several, show what one is.

    dvm-train checkpoint import best_net_Base.pth [--network st_fam_r50] [--out FILE.safetensors]
                                                  [--half] [--overwrite]
    dvm-train checkpoint average FILE FILE … --out FILE.safetensors [--trust 0.8] [--overwrite]
    dvm-train checkpoint show FILE.safetensors

Needs torch, numpy and safetensors alone; ``python -m training.checkpoint`` is the same. The import
is strict: tensors that are missing, unknown or of another shape are named, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from model.checkpoint import (
    CheckpointRecord,
    load_pickled,
    read_record,
    save_checkpoint,
    sha256_of_file,
)
from model.errors import EngineError, SetupError
from model.networks.r50_published_names import never_looked_at, published_name, widths_of
from model.networks.st_fam_r50 import NAME, StFamR50
from training.averaged import average, check_place
from training.exit_codes import exit_code

LICENCE = (
    "weights: the user's own copy of the checkpoint published with Y. Sun et al., CVPR 2021; under "
    "which licence they may be used or passed on is not known to us, and its code has none"
)
NAMED = 3  # how many tensors a refusal names of each kind


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "show":
            _say(json.dumps(asdict(read_record(options.file)), indent=1))
            return 0
        if options.command == "average":
            average(options.files, options.out, trust=options.trust, overwrite=options.overwrite)
            _say(f"{options.out}: the mean of {len(options.files)}")
            return 0
        out = options.out or options.file.with_suffix(".safetensors")
        record = import_checkpoint(
            options.file, out, half=options.half, overwrite=options.overwrite
        )
    except EngineError as error:
        return exit_code(error)
    _say(f"{out}: {record.network} {json.dumps(dict(record.config))}")
    left = record.training.get("left_out")
    if isinstance(left, list):
        _say(f"left out, for the published network never uses them: {len(left)} ({some_of(left)})")
    _say(f"use it: dvm matte … --network {record.network} --checkpoint {out}")
    return 0


def import_checkpoint(
    file: Path, out: Path, *, half: bool = False, overwrite: bool = False
) -> CheckpointRecord:
    """Write the tensors of a published checkpoint as one of ours, whole or not at all.

    How wide the network is, how many frames it looks back, whether it has a refining stage and how
    it doubles sizes is read from names and shapes. What the published network by ``deconv`` has and
    never uses is left out, and the record names it.

    Args:
        file: as published, written by torch.
        out: the safetensors file.
        half: kernels and matrices in float16; norms and biases stay what they are, and so does
            what float16 cannot hold.
        overwrite: whether ``out`` may be there already.

    Returns:
        What the new checkpoint says of itself.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint`` if
            it is not of this network, ``setup.exists``, ``setup.no_folder``.
    """
    check_place(out, overwrite)
    published = load_pickled(file)
    config, tensors, left = ours(published, str(file))
    if half:
        tensors = {name: _halved(one) for name, one in tensors.items()}
    record = CheckpointRecord(
        NAME,
        config,
        LICENCE,
        training={
            "imported_from": file.name,
            "imported_sha256": sha256_of_file(file),
            **({"left_out": left} if left else {}),
        },
    )
    save_checkpoint(out, tensors, record)
    return record


def ours(
    published: Mapping[str, Tensor], file: str
) -> tuple[Mapping[str, object], dict[str, Tensor], list[str]]:
    """The configuration of the network that published tensors belong to, its state, and the names
    of those that the published network has and never uses.

    Args:
        published: by their published names.
        file: where they are from, for errors.

    Raises:
        SetupError: ``setup.other_checkpoint``, naming what does not fit; ``setup.bad_checkpoint``
            if there are numbers that are not finite.
    """
    widths = widths_of(published)
    if widths is None:
        raise SetupError(
            "setup.other_checkpoint",
            f"{file} is not a checkpoint of {NAME}: it lacks what tells its widths, such as "
            f"encoder.bn1.weight and fusion.attn0.ca.fc.0.weight; it has {some_of([*published])}",
            hint="the published file is called best_net_Base.pth",
        )
    with torch.device("meta"):
        network = StFamR50(widths.channels, widths.shift, widths.refine, widths.upsample)
    wanted = {published_name(name): (name, one) for name, one in network.state_dict().items()}
    unused = never_looked_at(widths.channels) if widths.upsample == "deconv" else {}
    _check_fit(published, {name: one for name, (_, one) in wanted.items()}, unused, file)
    bad = [name for name in wanted if not published[name].isfinite().all()]
    if bad:
        raise SetupError(
            "setup.bad_checkpoint",
            f"{file} has numbers that are not finite in {some_of(bad)}",
            hint="get it again from where it was published",
        )
    state = {name: published[theirs] for theirs, (name, _) in wanted.items()}
    return network.config, state, [name for name in unused if name in published]


def _check_fit(
    found: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    unused: Mapping[str, Tensor],
    file: str,
) -> None:
    """Refuse what does not fit; tensors of ``unused`` may be missing, but not of another shape."""
    missing = [name for name in wanted if name not in found]
    unknown = [name for name in found if name not in wanted and name not in unused]
    other = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(one.shape)}"
        for name, one in {**wanted, **unused}.items()
        if name in found and found[name].shape != one.shape
    ]
    kinds = ("missing", missing), ("unknown", unknown), ("of another shape", other)
    said = [f"{len(names)} {kind} ({some_of(names)})" for kind, names in kinds if names]
    if said:
        raise SetupError(
            "setup.other_checkpoint",
            f"{file} does not fit {NAME}: of its {len(wanted)} tensors, {', '.join(said)}",
            hint="import the network's own file, whole and unchanged",
        )


def some_of(names: Sequence[str]) -> str:
    """The first few names, and how many more there are, for a sentence."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _halved(one: Tensor) -> Tensor:
    """Float16, unless it is a norm's, a bias, or does not fit."""
    if not one.is_floating_point() or one.dim() < 2:
        return one
    small = one.half()
    return small if bool(small.isfinite().all()) else one


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dvm-train checkpoint", description="Bring a published checkpoint over; average; show."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    bring = commands.add_parser(
        "import",
        help="write a published .pth as a checkpoint of ours",
        description="Writes your own copy of a published checkpoint as a safetensors file that "
        "--checkpoint takes. Code in it is never run; what does not fit is named, and nothing is "
        "written then. The weights stay what they are, and so does their licence, which is not "
        "known to us.",
    )
    bring.add_argument("file", type=Path, metavar="FILE.pth", help="e.g. best_net_Base.pth")
    bring.add_argument("--network", choices=[NAME], default=NAME, help="whose it is")
    bring.add_argument(
        "--out", type=Path, metavar="FILE.safetensors", help="beside FILE if it is not given"
    )
    bring.add_argument(
        "--half", action="store_true", help="kernels in float16: 0.64 GB instead of 1.28"
    )
    bring.add_argument("--overwrite", action="store_true", help="if the file is there already")
    mean = commands.add_parser(
        "average",
        help="write the mean of checkpoints of one network",
        description="Writes the mean of weights, such as those before and after a further run. The "
        "record is that of the last file, with the digests of all and without held-out figures.",
    )
    mean.add_argument("files", type=Path, nargs="+", metavar="FILE.safetensors")
    mean.add_argument("--out", type=Path, required=True, metavar="FILE.safetensors")
    mean.add_argument(
        "--trust",
        type=_share,
        metavar="0…1",
        help="of st_fam_s, instead of the last file's: share of the residual",
    )
    mean.add_argument("--overwrite", action="store_true", help="if the file is there already")
    show = commands.add_parser("show", help="print the record of a checkpoint of ours")
    show.add_argument("file", type=Path, metavar="FILE.safetensors")
    return parser


def _share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 1:  # nor is what is no number
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 1")
    return number


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
