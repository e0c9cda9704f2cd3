"""Names of the files of a matte that came by value.

One file a frame, named by the shot's output pattern; or, split, one for each layer:
``NAME.####.exr`` for alpha, ``NAME.trimap.####.exr`` and so on for the others.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from . import files
from .errors import InputError
from .shot import Outputs

_NUMBER = re.compile(r"#+|@+|%(?:0\d{1,2})?d|\$F\d{0,2}")


def output_path(pattern: str, frame: int, layer: str = "alpha") -> Path:
    """The file of a frame, and of a layer if it is split off.

    Args:
        pattern: with ``####``, ``%04d``, ``$F4`` or ``@@@@``, or the name of one image.
        layer: ``alpha`` for the file that the pattern itself names.

    Raises:
        InputError: ``input.pattern``.
    """
    numbers = _numbers(pattern)
    if not pattern or len(numbers) > 1 or (numbers and _has_folder(pattern[numbers[0].end() :])):
        raise InputError(
            "input.pattern",
            f"{pattern!r} is no pattern of output files",
            hint="write one place for the frame number in the file's name, e.g. alpha.####.exr",
        )
    if not numbers:
        path = Path(pattern)
        return path if layer == "alpha" else path.with_name(f"{path.stem}.{layer}{path.suffix}")
    sign, after = numbers[0].group(), pattern[numbers[0].end() :]
    before = layer_pattern(pattern, layer)[: -len(sign + after)]
    return Path(f"{before}{frame:0{_width(sign)}d}{after}")


def layer_pattern(pattern: str, layer: str) -> str:
    """The pattern of one layer's files, split off: ``NAME.trimap.####.exr`` of ``NAME.####.exr``.

    Args:
        pattern: with a place for the frame number.
        layer: ``alpha`` for the pattern itself.
    """
    number = _numbers(pattern)[0]
    if layer == "alpha":
        return pattern
    return _with_layer(pattern[: number.start()], layer) + pattern[number.start() :]


def layers_of_files(outputs: Outputs) -> tuple[str, ...]:
    """The ``layer`` of each file of a frame; one that holds all layers goes as ``alpha``."""
    return outputs.layers if outputs.split else ("alpha",)


def check_folder(outputs: Outputs, frames: Iterable[int]) -> None:
    """See that mattes can be written, before anything is computed.

    Raises:
        InputError: ``input.pattern``, ``input.output_unwritable``.
    """
    numbers = list(frames)
    example = output_path(outputs.pattern, numbers[0])
    if len(numbers) > 1 and example == output_path(outputs.pattern, numbers[1]):
        raise InputError(
            "input.pattern",
            f"{outputs.pattern!r} has no place for the frame number",
            hint="write one in the file's name, e.g. alpha.####.exr",
        )
    if example.suffix.lower() != ".exr":
        raise InputError(
            "input.output_unwritable",
            f"{outputs.pattern} is not the name of an EXR, and mattes are EXRs",
            hint="end it in .exr, e.g. alpha.####.exr",
        )
    if not example.parent.is_dir():
        raise files.unwritable(example, "the folder is not there")
    if not os.access(example.parent, os.W_OK):
        raise files.unwritable(example, "the folder is write-protected")


def _numbers(pattern: str) -> list[re.Match[str]]:
    """Places for the frame number. A lone # or @ in a folder's name is part of that: homes are
    called jane@studio."""
    name = max(pattern.rfind(one) for one in {"/", os.sep})
    found = _NUMBER.finditer(pattern)
    return [one for one in found if one.start() > name or one.group() not in "#@"]


def _width(sign: str) -> int:
    if sign[0] in "#@":
        return len(sign)
    return max(int(sign.strip("%d$F") or "1"), 1)


def _has_folder(text: str) -> bool:
    return "/" in text or os.sep in text


def _with_layer(before: str, layer: str) -> str:
    stem = before.rstrip("._-")
    between = before[len(stem) :] or "."
    if not stem or stem.endswith(("/", "\\")):
        return f"{stem}{layer}."
    return f"{stem}.{layer}{between}"
