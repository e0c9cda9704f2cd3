"""Arrays kept on disk by what they were computed from, so that a second run finds them."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

import model
from model.plates.file_errors import writing

Arrays = Mapping[str, npt.NDArray[Any]]
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Kept:
    """A folder of .npz files, or nothing (``None``): then everything is computed."""

    def __init__(self, folder: Path | None):
        self._folder = folder

    def arrays(self, key: str, compute: Callable[[], Arrays]) -> Arrays:
        """What was computed under this key before; else compute and keep it.

        A file that cannot be read counts as not there.
        """
        if self._folder is None:
            return compute()
        found = self.find(key)
        if found is None:
            found = compute()
            self.keep(key, found)
        return found

    def find(self, key: str) -> Arrays | None:
        """None if it is not kept."""
        if self._folder is None or not self._path(key).is_file():
            return None
        try:
            data = io.BytesIO(self._path(key).read_bytes())
            with np.load(data, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except _UNREADABLE:
            return None

    def keep(self, key: str, arrays: Arrays) -> None:
        """Raises CapacityError ``capacity.disk_full``, InputError ``input.output_unwritable``."""
        if self._folder is None:
            return
        path = self._path(key)
        part = path.with_name(f".{path.stem}.{os.getpid()}.npz")
        with writing(self._folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("wb") as file:
                    _write(file, arrays)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / key[:2] / f"{key}.npz"


def _write(file: IO[bytes], arrays: Arrays) -> None:
    """As ``numpy.savez_compressed``, but quickly: alphas are mostly 0 and 1."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def key_of(*parts: object) -> str:
    """A digest of texts, numbers and arrays (bytes and shape)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


@cache
def sources_digest(*places: str) -> str:
    """Of source files: what was kept is not used once the code that made it has changed.

    Args:
        places: folders or files, from the repository's root: ``model/classical``.
    """
    digest = hashlib.sha256()
    root = Path(model.__file__).parents[1]
    for place in places:
        path = root / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()
