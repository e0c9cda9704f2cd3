"""Pictures on disk: read and written by one process of the project's own environment.

A host's Python has no OpenImageIO; ``$DVM_TEST_PYTHON`` names the Python that has.
"""

from __future__ import annotations

import array
import atexit
import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[4]
_PYTHON = os.environ.get("DVM_TEST_PYTHON", sys.executable)

_WORK = r"""
import base64, json, sys
import numpy as np
import OpenImageIO as oiio


def read(path):
    config = oiio.ImageSpec()
    config["oiio:UnassociatedAlpha"] = 1
    source = oiio.ImageInput.open(path, config)
    if source is None:
        raise OSError(oiio.geterror() or "cannot be opened")
    found, part = None, 0
    while source.seek_subimage(part, 0):
        spec = source.spec()
        pixels = source.read_image(part, 0, 0, spec.nchannels, oiio.FLOAT)
        if pixels is None:
            raise OSError(source.geterror() or "is damaged")
        pixels = np.asarray(pixels, np.float32).reshape(spec.height, spec.width, spec.nchannels)
        box = [spec.x - spec.full_x, spec.y - spec.full_y]
        box += [box[0] + spec.width, box[1] + spec.height]
        if found is None:
            found = {"width": spec.full_width, "height": spec.full_height, "bbox": box,
                     "channels": {}}
        for index, name in enumerate(spec.channelnames):
            if box != found["bbox"]:
                raise OSError("parts of different windows are not in this fake")
            data = np.ascontiguousarray(pixels[:, :, index]).tobytes()
            found["channels"].setdefault(name, base64.b64encode(data).decode())
        part += 1
    source.close()
    return found


def write(path, width, height, bbox, channels, datatype, compression):
    x0, y0, x1, y1 = bbox
    kinds = {"16 bit half": oiio.HALF, "32 bit float": oiio.FLOAT, "8 bit": oiio.UINT8,
             "16 bit": oiio.UINT16}
    spec = oiio.ImageSpec(x1 - x0, y1 - y0, len(channels), kinds[datatype])
    spec.x, spec.y = x0, y0
    spec.full_x, spec.full_y, spec.full_width, spec.full_height = 0, 0, width, height
    spec.channelnames = [name for name, _ in channels]
    if compression:
        spec["compression"] = compression
    spec["oiio:UnassociatedAlpha"] = 1
    planes = [np.frombuffer(base64.b64decode(data), np.float32) for _, data in channels]
    pixels = np.stack([one.reshape(y1 - y0, x1 - x0) for one in planes], 2)
    target = oiio.ImageOutput.create(path)
    if target is None or not target.open(path, spec):
        raise OSError(oiio.geterror() or target.geterror() or "cannot be written")
    done = target.write_image(np.ascontiguousarray(pixels))
    problem = target.geterror()
    if not target.close() or not done:
        raise OSError(problem or target.geterror())


for line in sys.stdin:
    asked = json.loads(line)
    try:
        given = {"read": read, "write": write}[asked.pop("do")](**asked)
        answer = {"given": given}
    except Exception as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
"""

_process: subprocess.Popen[str] | None = None
_read: dict[str, tuple[tuple[int, int], Any]] = {}


def _ask(**asked: Any) -> Any:
    global _process
    if _process is None or _process.poll() is not None:
        _process = subprocess.Popen(
            [_PYTHON, "-c", _WORK],
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            cwd=str(_REPOSITORY),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    assert _process.stdin is not None and _process.stdout is not None
    _process.stdin.write(json.dumps(asked) + "\n")
    _process.stdin.flush()
    line = _process.stdout.readline()
    if not line:
        raise OSError("the process that reads and writes pictures ended")
    answer = json.loads(line)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer["given"]


def read(path: str) -> dict[str, Any]:
    """Width, height, bbox (x0, y0, x1, y1; top first) and planes by the file's channel names.

    Raises:
        RuntimeError: the file cannot be read.
    """
    stat = Path(path).stat()
    key = (stat.st_mtime_ns, stat.st_size)
    if path not in _read or _read[path][0] != key:
        found = _ask(do="read", path=path)
        found["channels"] = {name: _floats(data) for name, data in found["channels"].items()}
        _read[path] = (key, found)
    return _read[path][1]


def write(
    path: str, size: tuple[int, int], bbox: tuple[int, int, int, int],
    channels: list[tuple[str, list[float]]], datatype: str = "32 bit float",
    compression: str = "zip",
) -> None:  # fmt: skip
    """Write planes by the file's channel names.

    Raises:
        RuntimeError: the file cannot be written.
    """
    packed = [
        (name, base64.b64encode(array.array("f", plane).tobytes()).decode())
        for name, plane in channels
    ]
    _ask(
        do="write", path=path, width=size[0], height=size[1], bbox=bbox, channels=packed,
        datatype=datatype, compression=compression,
    )  # fmt: skip


def _floats(data: str) -> list[float]:
    numbers = array.array("f")
    numbers.frombytes(base64.b64decode(data))
    return list(numbers)


def end() -> None:
    """End the process; the next call starts another."""
    global _process
    _read.clear()
    if _process is None:
        return
    assert _process.stdin is not None and _process.stdout is not None
    _process.stdin.close()
    _process.wait(10)
    _process.stdout.close()
    _process = None


atexit.register(end)
