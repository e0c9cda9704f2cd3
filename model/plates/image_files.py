"""The one reader and the one writer of image files: EXR, PNG, TIFF, DPX and JPEG.

Nothing else in the tree opens or writes an image file. The ways of OpenImageIO that would cost us
mattes are met here: it reads past the end of 2-D arrays, returns ``None`` for what it cannot read,
raises ``UnicodeDecodeError`` for bad text in headers, stores as ZIP when it does not know a
compression, and its writes are not atomic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio

from model.errors import CapacityError, InputError
from model.plates.atomic import discard, new_file, publish, temporary_path
from model.plates.attributes import still_hold, type_of
from model.plates.channels import Picture, find_picture, roles
from model.plates.compression import check_compression
from model.plates.file_errors import damaged, reading, require_file, unsupported, writing
from model.plates.plate import Plate, PlateHeader, Window
from model.plates.whole import is_whole

READABLE = {"openexr", "png", "tiff", "dpx", "cineon", "jpeg"}
WRITABLE = {".exr": "openexr", ".png": "png", ".tif": "tiff", ".tiff": "tiff"}
_HALF_MAX = 65504.0
_HEADER_AT_MOST = 1 << 16  # bytes of a file that are not its pixels, about
_ROUNDED = 0.51  # of a code

Choice = Callable[[Sequence[str], Sequence[bool]], Picture | None]

# Before the first open: a header may claim any size, and the limit is else nearly all of the
# memory there is.
oiio.attribute("limits:imagesize_MB", 4096)
oiio.attribute("limits:channels", 1024)


def set_threads(count: int) -> None:
    """How many threads decoding, encoding and colour conversion may use; 0 = one a core."""
    oiio.attribute("threads", count)
    oiio.attribute("exr_threads", count)


def read_header(
    path: str | Path, *, frame: int | None = None, choose: Choice = find_picture
) -> PlateHeader:
    """All of a plate but its pixels. Raises what `read_plate` raises, but for damaged pixels."""
    source = _open(Path(path), frame)
    with reading(Path(path), frame):
        picture = _seek_picture(source, Path(path), frame, choose)
        return _header(source.spec(), picture, Path(path))


def read_plate(
    path: str | Path, *, frame: int | None = None, choose: Choice = find_picture
) -> Plate:
    """Read the picture of an image file.

    The picture is the default layer's R, G, B and A, else those of a named layer (``beauty.R``),
    else a luminance Y, of the first part that has one. Half stays half, all else becomes float32,
    integers by their range to 0…1. Nothing is clamped, associated or converted: pixels are as
    stored, NaN and infinities included.

    Args:
        path: an EXR, PNG, TIFF, DPX or JPEG.
        frame: its frame number, for messages.
        choose: which channels of a part are wanted, from their names and whether each holds ids.

    Raises:
        InputError: ``input.missing_plate``, ``input.unreadable``, ``input.damaged``,
            ``input.unsupported_image``, ``input.deep`` or ``input.no_picture``.
    """
    path = Path(path)
    source = _open(path, frame)
    with reading(path, frame):
        picture = _seek_picture(source, path, frame, choose)
        spec = source.spec()
        header = _header(spec, picture, path)
        first, last = min(picture.indices), max(picture.indices) + 1
        kind = oiio.HALF if header.pixel_type == "half" else oiio.FLOAT
        pixels = source.read_image(source.current_subimage(), 0, first, last, kind)
        if pixels is None:
            raise damaged(path, frame, source.geterror())
    expected = (header.data_window.height, header.data_window.width, last - first)
    if pixels.shape != expected:
        raise damaged(path, frame, f"it holds {pixels.shape} values where {expected} should be")
    wanted = [index - first for index in picture.indices]
    if wanted != list(range(last - first)):
        pixels = np.ascontiguousarray(pixels[:, :, wanted])
    return Plate(pixels, header)


def rgb(plate: Plate) -> npt.NDArray[np.float32]:
    """The picture as float32 H×W×3: R, G, B, or luminance three times; values as they are."""
    return np.ascontiguousarray(plate.pixels[:, :, rgb_indices(plate)], dtype=np.float32)


def rgb_indices(plate: Plate) -> list[int]:
    """Where R, G and B are among the plate's channels; luminance stands for all three."""
    where = {role: index for index, role in enumerate(roles(plate.header.channels))}
    return [where[role] for role in ("RGB" if "R" in where else "YYY")]


def write_image(
    path: str | Path,
    pixels: npt.NDArray[np.generic],
    channels: Sequence[str],
    *,
    header: PlateHeader | None = None,
    data_window: Window | None = None,
    pixel_type: str = "half",
    compression: str = "zip",
    attributes: Mapping[str, object] | None = None,
) -> None:
    """Write an image file in one step: after an error or a crash the old file, or none, is there.

    NaN becomes 0, and what half cannot hold becomes its largest value. Attributes of ``header``
    that still hold are carried over with its windows and pixel aspect.

    Args:
        path: ends in .exr, .png, .tif or .tiff; its folder must exist.
        pixels: H×W×C, or H×W for one channel; uint8 or uint16 only where they are the file's
            ``pixel_type`` too.
        channels: C names.
        header: of the plate this belongs to; ``None`` = windows of the array's size.
        data_window: where the pixels lie, if not in the header's data window.
        pixel_type: half, float (EXR, TIFF), uint8 or uint16 (PNG, TIFF; 0…1 is scaled to their
            range).
        compression: of EXR; see `compression.check_compression`.
        attributes: ours, written on top; ``None`` leaves out one that would be carried over.

    Raises:
        InputError: ``input.output_unwritable``, ``input.unknown_compression`` or
            ``input.lossy_compression``.
        CapacityError: ``capacity.disk_full``.
        ValueError: shape and channels or window do not agree (our mistake, not the artist's).
    """
    staged = stage_image(
        path,
        pixels,
        channels,
        header=header,
        data_window=data_window,
        pixel_type=pixel_type,
        compression=compression,
        attributes=attributes,
    )
    publish({Path(path): staged})


def stage_image(
    path: str | Path,
    pixels: npt.NDArray[np.generic],
    channels: Sequence[str],
    *,
    header: PlateHeader | None = None,
    data_window: Window | None = None,
    pixel_type: str = "half",
    compression: str = "zip",
    attributes: Mapping[str, object] | None = None,
) -> Path:
    """`write_image` but for its last step; returns the temporary file, for `publish`."""
    path = Path(path)
    if path.suffix.lower() not in WRITABLE:
        raise InputError(
            "input.output_unwritable",
            f"{path} would be a {path.suffix or 'nameless'} file, which is not written here",
            hint=f"use one of {', '.join(WRITABLE)}",
        )
    is_exr = path.suffix.lower() == ".exr"
    if is_exr:
        check_compression(compression, channels, pixel_type)
    block = _three_dimensional(pixels, channels, pixel_type)
    window = data_window or (header.data_window if header else None)
    window = window or Window.of_size(block.shape[1], block.shape[0])
    if (window.height, window.width) != block.shape[:2]:
        raise ValueError(f"{block.shape[0]} rows and {block.shape[1]} columns do not fill {window}")
    spec = oiio.ImageSpec(window.width, window.height, len(channels), pixel_type)
    spec.channelnames = tuple(channels)
    _put_attributes(spec, header, channels, attributes or {})
    if is_exr:
        frame_window = header.display_window if header else window
        spec.x, spec.y = window.x0, window.y0
        spec.full_x, spec.full_y = frame_window.x0, frame_window.y0
        spec.full_width, spec.full_height = frame_window.width, frame_window.height
        spec.attribute("compression", compression)
    else:
        spec.attribute("oiio:UnassociatedAlpha", 1)  # else RGB would be divided by A on the way
    temporary = temporary_path(path)
    try:
        _write(temporary, WRITABLE[path.suffix.lower()], spec, block)
    except BaseException:
        discard(temporary)
        raise
    return temporary


def _open(path: Path, frame: int | None) -> oiio.ImageInput:
    require_file(path, frame)
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)  # RGB as stored, not multiplied by A
    with reading(path, frame):
        source = oiio.ImageInput.open(str(path), config)
        reason = "" if source else oiio.geterror()  # which may raise UnicodeDecodeError itself
    if source is None:
        if "Subsampled" in reason:
            raise unsupported(path, frame, "stores luminance and chroma at different resolutions")
        if "deep" in reason.lower() and "not supported" in reason:
            raise unsupported(path, frame, "is a deep image")
        raise damaged(path, frame, reason)
    if source.format_name() not in READABLE:
        raise unsupported(path, frame, f"is a {source.format_name()} file")
    return source


def _seek_picture(
    source: oiio.ImageInput, path: Path, frame: int | None, choose: Choice
) -> Picture:
    """Go to the part that holds the best picture."""
    found: dict[int, Picture] = {}
    deep = False
    names: list[str] = []
    part = 0
    while source.seek_subimage(part, 0):
        spec = source.spec()
        names += map(_text, spec.channelnames)
        if spec.deep:
            deep = True
        elif spec.depth > 1:
            raise unsupported(path, frame, "is a volume of many slices")
        else:
            picture = choose(spec.channelnames, [kind == oiio.UINT32 for kind in _kinds(spec)])
            if picture:
                found[part] = picture
        part += 1
    source.geterror()  # seeking past the last part is how one learns that it was the last
    if not found and deep:
        raise InputError(
            "input.deep",
            f"{path} is a deep image, which has many samples a pixel",
            frame=frame,
            hint="flatten it (DeepToImage) and give the flat plates",
        )
    if not found:
        shown = ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
        raise InputError(
            "input.no_picture",
            f"{path} has no picture among its channels: {shown or 'none'}",
            frame=frame,
            hint="plates need channels R, G and B, or a luminance Y",
        )
    best = min(found, key=lambda one: found[one].rank)
    source.seek_subimage(best, 0)
    return found[best]


def _kinds(spec: oiio.ImageSpec) -> list[oiio.BASETYPE]:
    formats = spec.channelformats or [spec.format] * spec.nchannels
    return [one.basetype for one in formats]


def _header(spec: oiio.ImageSpec, picture: Picture, path: Path) -> PlateHeader:
    metadata: dict[str, object] = {}
    types: dict[str, str] = {}
    for attribute in spec.extra_attribs:
        value = attribute.value
        if isinstance(value, np.ndarray):
            value = tuple(value.tolist())
        if isinstance(value, tuple):
            value = tuple(_text(one) if isinstance(one, str) else one for one in value)
        if isinstance(value, str):
            value = _text(value)
        if isinstance(value, str | int | float | tuple):
            name = _text(attribute.name)
            metadata[name], types[name] = value, str(attribute.type)
    all_kinds = _kinds(spec)
    kinds = {all_kinds[index] for index in picture.indices}
    said = metadata.get("colorInteropID") or metadata.get("oiio:ColorSpace") or ""
    return PlateHeader(
        channels=tuple(_text(spec.channelnames[index]) for index in picture.indices),
        data_window=Window.of_size(spec.width, spec.height, spec.x, spec.y),
        display_window=Window.of_size(spec.full_width, spec.full_height, spec.full_x, spec.full_y),
        pixel_aspect=float(spec.get_float_attribute("PixelAspectRatio", 1.0)),
        metadata=metadata,
        colourspace=str(said),
        path=str(path),
        pixel_type=str(oiio.TypeDesc(kinds.pop())) if len(kinds) == 1 else "float",
        metadata_types=types,
    )


def _text(text: str) -> str:
    """Bytes that are not UTF-8 come as lone surrogates, which none can print: taken as Latin-1."""
    if text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("latin-1")


def _three_dimensional(
    pixels: npt.NDArray[np.generic], channels: Sequence[str], pixel_type: str
) -> npt.NDArray[np.generic]:
    """A C-contiguous, finite H×W×C array: OpenImageIO reads past the end of any other."""
    block = np.asarray(pixels)
    if block.ndim == 2:
        block = block[:, :, None]
    if block.ndim != 3 or block.shape[2] != len(channels) or 0 in block.shape:
        raise ValueError(f"an array of shape {np.shape(pixels)} is not H×W×{len(channels)}")
    if block.dtype.kind in "ui":
        if block.dtype.name != pixel_type:
            raise ValueError(f"{block.dtype.name} pixels are not written as {pixel_type}")
        return np.ascontiguousarray(block)
    if pixel_type in ("uint8", "uint16"):
        finite = np.nan_to_num(block.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0)
        return np.ascontiguousarray(finite.clip(0.0, 1.0))
    if pixel_type not in ("half", "float"):
        raise ValueError(f"no file here stores {pixel_type!r}")
    largest = _HALF_MAX if pixel_type == "half" else float(np.finfo(np.float32).max)
    finite = np.nan_to_num(block, nan=0.0, posinf=largest, neginf=-largest)
    kind = np.float16 if pixel_type == "half" else np.float32
    return np.ascontiguousarray(finite.clip(-largest, largest).astype(kind))


def _put_attributes(
    spec: oiio.ImageSpec,
    header: PlateHeader | None,
    channels: Sequence[str],
    ours: Mapping[str, object],
) -> None:
    # OpenImageIO would make up the time of day as DateTime: untrue, and no two runs alike.
    spec.attribute("DateTime", "string", "")
    types = header.metadata_types if header else {}
    colour = {"R", "G", "B"} <= set(roles(channels))
    carried = still_hold(header, colour=colour) if header else {}
    for name, value in {**carried, **ours}.items():
        if value is None:
            continue
        kind = type_of(name, value, {} if name in ours else types)
        spec.attribute(name, kind, tuple(value) if isinstance(value, list) else value)
    if header:
        spec.attribute("PixelAspectRatio", header.pixel_aspect)


def _write(
    temporary: Path, file_format: str, spec: oiio.ImageSpec, block: npt.NDArray[np.generic]
) -> None:
    target = oiio.ImageOutput.create(file_format)
    if target is None:
        raise RuntimeError(f"this OpenImageIO writes no {file_format}: {oiio.geterror()}")
    # Opened here first for the system's own word on a folder that is full or closed to us, and
    # kept open so that `fsync` tells of what was lost since, by whomever it was written.
    with writing(temporary.parent), new_file(temporary) as file:
        written = target.open(str(temporary), spec) and target.write_image(block)
        reason = target.geterror()
        written = target.close() and written
        reason = reason or target.geterror()
        os.fsync(file.fileno())
        # OpenImageIO opened it by its name, which somebody else may have taken meanwhile.
        whole = written and _is_same(file, temporary) and _is_whole(temporary, file_format, block)
        if not whole and os.name == "posix":
            # Raises if the disk is why.
            os.posix_fallocate(file.fileno(), 0, block.nbytes + _HEADER_AT_MOST)
    if written and not whole:
        raise CapacityError(
            "capacity.disk_full",
            f"a file in {temporary.parent} was not written whole, as where space runs out for a "
            "moment",
            hint="see that there is space and try again; finished frames are kept",
        )
    if not written:
        raise InputError(
            "input.output_unwritable",
            f"a file in {temporary.parent} could not be written: "
            f"{reason or 'OpenImageIO gives no reason'}",
            hint="check the folder and the output options",
        )


def _is_same(file: BinaryIO, path: Path) -> bool:
    here, there = os.fstat(file.fileno()), path.lstat()
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _is_whole(path: Path, file_format: str, block: npt.NDArray[np.generic]) -> bool:
    """Whether all of it is in the file: OpenImageIO does not tell of each write that failed."""
    if file_format != "tiff":
        return is_whole(path, file_format)
    # Its strips have no order, and not all have checksums: it is read again.
    try:
        source = _open(path, None)
    except InputError:
        return False
    stored = source.spec()
    found = source.read_image(0, 0, 0, stored.nchannels, stored.format)
    source.geterror()
    source.close()
    if found is None or found.shape != block.shape:
        return False
    if block.dtype == found.dtype:
        return np.array_equal(found, block)
    most = np.iinfo(found.dtype).max
    return bool((np.abs(found - block.astype(np.float64) * most) <= _ROUNDED).all())
