"""What is wrong with this installation: a list of findings, each one line."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from host_plugins.client import connection as connection_file
from host_plugins.client import control
from host_plugins.client.errors import DvmError
from host_plugins.client.wire import PROTOCOL
from model.errors import EngineError

DISTRIBUTION = "deep-video-matte"
OUR_PACKAGES = ("dvm_server", "host_plugins", "model", "cuda_ops", "training")
_HOME = Path(__file__).parents[1]
_OLDEST_PYTHON = (3, 11)
_LARGEST_ERROR = 1e-4
_LITTLE_DISK = 10e9
_SERVER_SECONDS = 2.0


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        topic: what was looked at.
        level: ``ok``, ``warn`` or ``FAIL``.
        text: what was found, and if need be what to do.
    """

    topic: str
    level: str
    text: str


def examine(state: Path) -> list[Finding]:
    """Look at everything; ``state`` is the state directory a server would use."""
    checks: tuple[tuple[str, Callable[[], Finding]], ...] = (
        ("python", python),
        ("packages", packages),
        ("shadowing", shadowing),
        ("opencv", opencv),
        ("device", device),
        ("deformable convolution", deformable_convolution),
        ("weights", weights),
        ("colour", colour),
        ("protocol", lambda: Finding("protocol", "ok", f"version {PROTOCOL}")),
        ("port", port),
        ("server", lambda: server(state)),
        ("state", lambda: state_directory(state)),
    )
    return [_guarded(topic, check) for topic, check in checks]


def _guarded(topic: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (DvmError, EngineError) as error:
        return Finding(topic, "FAIL", f"{error.message}; {error.hint}")
    except Exception as error:  # noqa: BLE001  a broken package may raise anything; go on looking
        return Finding(topic, "FAIL", f"{type(error).__name__}: {error}")


def python() -> Finding:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Finding("python", "FAIL", f"{found}; use 3.11 or newer")
    return Finding("python", "ok", found)


def packages() -> Finding:
    """Versions of what we need, as the distribution's own metadata lists it."""
    needed = [one for one in metadata.requires(DISTRIBUTION) or () if "extra ==" not in one]
    names = [re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0] for one in needed]
    versions: dict[str, str] = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            return Finding("packages", "FAIL", f"{name} is missing; install {DISTRIBUTION} again")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return Finding("packages", "ok", f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}, {listed}")


def shadowing(
    find: Callable[[str], str | None] | None = None,
    distributions: Callable[[], object] = metadata.packages_distributions,
) -> Finding:
    """Whether another package hides one of ours, or will: their names are everyday words."""
    find = find or _location
    elsewhere = []
    for name in OUR_PACKAGES:
        place = find(name)
        if place is None:
            elsewhere.append(f"{name} is not there")
        elif Path(place).parent != _HOME:
            elsewhere.append(f"{name} is {place}")
    if elsewhere:
        hint = f"should be in {_HOME}; use an environment of its own"
        return Finding("shadowing", "FAIL", f"{', '.join(elsewhere)}; {hint}")
    owners = distributions()
    rivals = sorted(
        f"{name} also comes from {other}"
        for name in OUR_PACKAGES
        for other in set(owners.get(name, ()) if isinstance(owners, dict) else ())
        if other != DISTRIBUTION
    )
    if rivals:
        return Finding("shadowing", "warn", f"{', '.join(rivals)}; uninstall one of them")
    return Finding("shadowing", "ok", f"{', '.join(OUR_PACKAGES)} are ours")


def _location(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or ())
    return places[0] if places else spec.origin


def opencv(installed: Iterable[str] | None = None) -> Finding:
    """Two OpenCV distributions write into the same folder, and either may be half overwritten."""
    if installed is None:
        installed = (one.metadata["Name"] or "" for one in metadata.distributions())
    found = sorted({one.lower() for one in installed if one.lower().startswith("opencv-")})
    if len(found) > 1:
        hint = "uninstall all, then install opencv-python-headless"
        return Finding("opencv", "FAIL", f"{' and '.join(found)} are both installed; {hint}")
    if not found:
        return Finding("opencv", "FAIL", "missing; install opencv-python-headless")
    return Finding("opencv", "ok", f"{found[0]} alone")


def device() -> Finding:
    import torch

    if torch.cuda.is_available():
        listed = []
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            listed.append(f"cuda:{index} {found.name} {found.total_memory / 2**30:.0f} GiB")
        return Finding("device", "ok", ", ".join(listed))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    text = f"cpu, {torch.get_num_threads()} threads, {memory:.0f} GiB; no CUDA device"
    return Finding("device", "ok", text)


def deformable_convolution() -> Finding:
    import torch

    from cuda_ops.deform_conv import implementation, self_check

    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    error = self_check(where)
    text = f"{implementation(where)}, largest error {error:.1e}"
    if not error <= _LARGEST_ERROR:
        return Finding("deformable convolution", "FAIL", f"{text}, more than {_LARGEST_ERROR:g}")
    return Finding("deformable convolution", "ok", text)


def weights() -> Finding:
    """Which networks can run."""
    from model.registry import NETWORKS, find

    default = find("", "matting").name
    listed = []
    for one in NETWORKS:
        if one.brought:
            has = "wants your own"
        else:
            has = "needs none" if not one.weights else one.weights if one.available else "missing"
        listed.append(f"{one.name}: {has}" + (" (default)" if one.name == default else ""))
    level = "ok" if all(one.available or one.brought for one in NETWORKS) else "warn"
    return Finding("weights", level, ", ".join(listed))


def colour() -> Finding:
    from model.plates.colour import config_digest

    source = os.environ.get("OCIO", "") or "the built-in config"
    return Finding("colour", "ok", f"OCIO {source}, digest {config_digest()[:12]}")


def port() -> Finding:
    """Whether a server could listen on this machine."""
    try:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
    except OSError as error:
        return Finding("port", "FAIL", f"no port can be bound on 127.0.0.1: {error.strerror}")
    return Finding("port", "ok", "ports can be bound on 127.0.0.1")


def server(state: Path) -> Finding:
    """Whether one runs, and is of our release."""
    path = state / connection_file.CONNECTION_FILE
    if not path.exists():
        return Finding("server", "ok", "none is running; dvm matte starts a private one")
    found = connection_file.read(path)
    if found.protocol != PROTOCOL:
        hint = "install the same release at both ends"
        return Finding("server", "FAIL", f"speaks protocol {found.protocol}, we {PROTOCOL}; {hint}")
    try:
        told = control.status(found, _SERVER_SECONDS)
    except DvmError:
        text = f"{path} is there and nothing answers at {found.endpoint}; start dvm serve again"
        return Finding("server", "warn", text)
    ours, theirs = metadata.version(DISTRIBUTION), told.get("version", "?")
    level = "ok" if ours == theirs else "warn"
    return Finding("server", level, f"version {theirs} at {found.endpoint}, process {found.pid}")


def state_directory(state: Path) -> Finding:
    """Whether it can be written to, and how much room there is."""
    there = next((one for one in (state, *state.parents) if one.exists()), Path("/"))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        hint = "choose another with --state or $DVM_STATE"
        return Finding("state", "FAIL", f"{state} cannot be written to; {hint}")
    free = shutil.disk_usage(there).free
    text = f"{state} can be written to, {free / 1e9:.0f} GB free"
    if free < _LITTLE_DISK:
        return Finding("state", "warn", f"{text}, which by-value shots may fill")
    return Finding("state", "ok", text)
