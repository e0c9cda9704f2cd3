"""The zips that are installed into hosts: a host's folder, the client, and the wheels they need.

Host folders are read as files; none is imported. From the same files a zip has the same bytes each
time, on any system: it is sorted, its times are fixed, its wheels pinned in `wheels.lock`. Only
another zlib may pack them otherwise.

    python -m host_plugins.bundle --update-lock      pin the wheels that are newest now
    python -m host_plugins.bundle --fetch FOLDER     get all pinned wheels, to bundle offline
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .client.errors import DvmError, InputError, SetupError

HERE = Path(__file__).parent
LOCK = HERE / "wheels.lock"
PACKAGES = ("pyzmq", "msgpack")
NAME = "deep_video_matte"
# pip's names of what a platform can load.
PLATFORMS: Mapping[str, tuple[str, ...]] = {
    "linux-x64": (
        "manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_26_x86_64",
        "manylinux_2_17_x86_64", "manylinux2014_x86_64",
    ),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_10_15_universal2"),
    "macos-x64": ("macosx_10_15_x86_64", "macosx_10_9_x86_64", "macosx_10_15_universal2"),
}  # fmt: skip
# Nuke still runs where glibc is 2.17 (EL 7), and the newest wheels do not.
_OLD_LINUX = "linux-x64-glibc-2.17"
_TAGS: Mapping[str, tuple[str, ...]] = {
    **PLATFORMS,
    _OLD_LINUX: ("manylinux_2_17_x86_64", "manylinux2014_x86_64"),
}
NUKE_PYTHONS = ("3.9", "3.10", "3.11", "3.13")  # Nuke 14, 15, 16 and 17; a later one, untested
EXTENSION_PYTHONS = ("3.11", "3.13")  # Blender 4.2 to 5.0; later ones, untested
LEGACY_PYTHON = "3.10"  # Blender 3.4 to 3.6
_TIME = (2026, 1, 1, 0, 0, 0)
_LEFT_OUT = ("__pycache__", "README.md", "pictures", "blender_manifest.toml")

Files = dict[str, bytes]  # by path inside of a zip


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel: which platform and Python it is for, and what it must be."""

    platform: str
    python: str
    sha256: str
    name: str


# Bundles


def bundle(
    host: str, out: Path, platforms: Iterable[str], wheels: Path | None = None
) -> list[Path]:
    """Write a host's zips.

    Args:
        host: one of `HOSTS`.
        out: folder for them; made if need be.
        platforms: of `PLATFORMS`.
        wheels: folder with the pinned wheels; None = got by pip.

    Returns:
        The zips.

    Raises:
        InputError: ``input.unknown_host``, ``input.unknown_platform``,
            ``input.output_unwritable``.
        SetupError: ``setup.no_wheels``, ``setup.wheel_digest``, ``setup.wheels_lock``.
    """
    if host not in HOSTS:
        raise InputError(
            "input.unknown_host",
            f"there is no plug-in for {host!r}",
            hint=f"use one of: {', '.join(HOSTS)}",
        )
    chosen = list(platforms)
    for platform in chosen:
        if platform not in PLATFORMS:
            raise InputError(
                "input.unknown_platform",
                f"there is no platform {platform!r}",
                hint=f"use one of: {', '.join(PLATFORMS)}, all",
            )
    made = []
    with tempfile.TemporaryDirectory() as folder:
        for platform in chosen:
            for name, files in HOSTS[host](platform, wheels, Path(folder)).items():
                made.append(_write(out / name, files))
    return made


def _blender(platform: str, wheels: Path | None, folder: Path) -> dict[str, Files]:
    """An extension for Blender 4.2 and later, and a classic add-on for 3.4 to 3.6."""
    version = _version(HERE / "blender" / "blender_manifest.toml")
    code = {**_tree("blender"), **_tree("client")}
    code["LICENSE"] = code.pop("blender/LICENSE")  # of the whole; a part's own lies in its folder
    brought: Files = {}
    for python in EXTENSION_PYTHONS:
        for wheel in wheels_for(platform, python):
            brought[f"wheels/{wheel.name}"] = wheel_bytes(wheel, wheels, folder)
    manifest = _manifest(platform, sorted(brought))
    extension = {
        **code, **brought, "__init__.py": _ENTRY.encode(), "blender_manifest.toml": manifest,
    }  # fmt: skip
    legacy = {f"{NAME}/{path}": data for path, data in code.items()}
    legacy[f"{NAME}/__init__.py"] = (_literal_info() + _VENDOR + _ENTRY_LEGACY).encode()
    for wheel in wheels_for(platform, LEGACY_PYTHON):
        legacy |= _unpacked(wheel_bytes(wheel, wheels, folder), f"{NAME}/vendor")
    return {
        f"{NAME}-{version}-blender-{platform}.zip": extension,
        f"{NAME}-{version}-blender-3-{platform}.zip": legacy,
    }


def nuke_folder() -> Files:
    """The folder that is dropped beside Nuke, without the wheels: what `nuke.pluginAddPath` is
    given, with our package in it."""
    package = {
        f"{NAME}/{path}": data for path, data in {**_tree("nuke"), **_tree("client")}.items()
    }
    # Nuke, or who tries it, runs these; they lie in the folder that it is given.
    top = {name: package.pop(f"{NAME}/nuke/{name}") for name in ("init.py", "menu.py", "smoke.py")}
    package[f"{NAME}/__init__.py"] = b'"""Deep Video Matte."""\n'
    return {**top, **package}


def _of_nuke(platform: str) -> str:
    """The platform whose wheels Nuke takes."""
    return _OLD_LINUX if platform == "linux-x64" else platform


def _nuke(platform: str, wheels: Path | None, folder: Path) -> dict[str, Files]:
    """One folder for Nuke 14 to 17, with the wheels of each one's Python unpacked."""
    files = {f"DeepVideoMatte/{path}": data for path, data in nuke_folder().items()}
    files["DeepVideoMatte/LICENSE"] = (HERE / "client" / "LICENSE").read_bytes()
    system = platform.split("-")[0]
    for python in NUKE_PYTHONS:
        into = f"DeepVideoMatte/vendor/{system}-py{python.replace('.', '')}"
        for wheel in wheels_for(_of_nuke(platform), python):
            files |= _unpacked(wheel_bytes(wheel, wheels, folder), into)
    version = _version(HERE / "blender" / "blender_manifest.toml")
    return {f"{NAME}-{version}-nuke-{platform}.zip": files}


HOSTS: Mapping[str, Callable[[str, Path | None, Path], dict[str, Files]]] = {
    "blender": _blender,
    "nuke": _nuke,
}

# Without bl_info: extensions have their manifest, and Blender says that it ignores the other.
_ENTRY = '''"""Deep Video Matte in Blender."""

from .blender import register, unregister

__all__ = ["register", "unregister"]
'''
_ENTRY_LEGACY = """from .blender import register, unregister

__all__ = ["bl_info", "register", "unregister"]
"""
_VENDOR = """
import sys
from pathlib import Path

try:  # where the system's Python has them, as on Debian, those are used
    import msgpack
    import zmq
except ImportError:
    sys.path.append(str(Path(__file__).parent / "vendor"))

"""


def _literal_info() -> str:
    """Blender 3.x reads bl_info without running the add-on: it must stand in the first file."""
    source = (HERE / "blender" / "__init__.py").read_text(encoding="utf-8")
    begin = source.index("bl_info = {")
    end = source.index("}\n", begin) + 2
    return f'"""Deep Video Matte in Blender."""\n\n{source[begin:end]}'


def _manifest(platform: str, wheels: list[str]) -> bytes:
    text = (HERE / "blender" / "blender_manifest.toml").read_text(encoding="utf-8")
    named = ",\n".join(f'  "./{path}"' for path in wheels)
    text = text.replace("platforms = []", f'platforms = ["{platform}"]')
    text = text.replace("wheels = []", f"wheels = [\n{named},\n]")
    return text.encode()


def _version(manifest: Path) -> str:
    for line in manifest.read_text(encoding="utf-8").splitlines():
        if line.startswith("version = "):
            return line.split('"')[1]
    raise ValueError(f"{manifest} names no version")


def _tree(name: str) -> Files:
    """A folder's files, without what is for people, caches, and what editors and systems hide."""
    found = {}
    for path in sorted((HERE / name).rglob("*")):
        parts = path.relative_to(HERE / name).parts
        if path.is_file() and not any(p in _LEFT_OUT or p.startswith(".") for p in parts):
            found[str(PurePosixPath(name, *parts))] = path.read_bytes()
    return found


def _unpacked(wheel: bytes, into: str) -> Files:
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        return {f"{into}/{n}": archive.read(n) for n in archive.namelist() if not n.endswith("/")}


def _write(path: Path, files: Files) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3  # Unix, where Python would say which system made it
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, files[name])
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data.getvalue())
        temporary.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    return path


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        "input.output_unwritable",
        f"{path} cannot be written: {error.strerror}",
        hint="name another folder",
    )


# Wheels


def locked() -> list[Wheel]:
    """All that are pinned.

    Raises:
        SetupError: ``setup.wheels_lock`` if the lock cannot be read.
    """
    hint = "make it again with python -m host_plugins.bundle --update-lock"
    try:
        lines = LOCK.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(
            "setup.wheels_lock", f"{LOCK} cannot be read: {error}", hint=hint
        ) from error
    found = []
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 4 or len(words[2]) != 64:
            raise SetupError(
                "setup.wheels_lock",
                f"{LOCK} has a line that pins no wheel: {line!r}",
                hint=hint,
            )
        found.append(Wheel(*words))
    return found


def wheels_for(platform: str, python: str) -> list[Wheel]:
    """The pinned wheels of a platform and a Python, one for each of `PACKAGES`.

    Raises:
        SetupError: ``setup.wheels_lock`` if one is not pinned: a zip without it would install, and
            fail in the host.
    """
    found = [one for one in locked() if (one.platform, one.python) == (platform, python)]
    names = [one.name.split("-")[0] for one in found]
    for package in PACKAGES:
        if names.count(package) != 1:
            raise SetupError(
                "setup.wheels_lock",
                f"{LOCK} pins {names.count(package)} wheels of {package} for {platform}, Python "
                f"{python}, and has to pin one",
                hint="make it again with python -m host_plugins.bundle --update-lock",
            )
    return found


def wheel_bytes(wheel: Wheel, given: Path | None, folder: Path) -> bytes:
    """A pinned wheel, checked.

    Args:
        wheel: from the lock.
        given: folder it lies in; None = pip gets it.
        folder: for what pip gets.

    Raises:
        SetupError: ``setup.no_wheels``, ``setup.wheel_digest``.
    """
    path = (given or folder) / wheel.name
    if given is None and not path.exists():
        package, version = wheel.name.split("-")[:2]
        _pip_download(f"{package}=={version}", wheel.platform, wheel.python, folder)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SetupError(
            "setup.no_wheels",
            f"the wheel {wheel.name} is not in {path.parent}",
            hint="get all of them with python -m host_plugins.bundle --fetch FOLDER, and name that "
            "folder with --wheels",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != wheel.sha256:
        raise SetupError(
            "setup.wheel_digest",
            f"the wheel {path} is not the one that is pinned (sha256 {found[:12]}…, wanted "
            f"{wheel.sha256[:12]}…)",
            hint="get it again; do not use this one",
        )
    return data


def fetch(folder: Path) -> int:
    """Get all pinned wheels into a folder; how many there are.

    Raises:
        InputError: ``input.output_unwritable``.
        SetupError: as `wheel_bytes`.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    names = set()
    for wheel in locked():
        if not (folder / wheel.name).exists():
            package, version = wheel.name.split("-")[:2]
            _pip_download(f"{package}=={version}", wheel.platform, wheel.python, folder)
        wheel_bytes(wheel, folder, folder)
        names.add(wheel.name)
    return len(names)


def update_lock() -> None:
    """Pin the newest wheels there are."""
    lines = ["# platform, Python, sha256 and name of each wheel that bundles bring along."]
    lines.append("# Made by: python -m host_plugins.bundle --update-lock")
    for platform in _TAGS:
        for python in _pythons(platform):
            with tempfile.TemporaryDirectory() as folder:
                for package in PACKAGES:
                    _pip_download(package, platform, python, Path(folder))
                for path in sorted(Path(folder).glob("*.whl")):
                    digest = hashlib.sha256(path.read_bytes()).hexdigest()
                    lines.append(f"{platform} {python} {digest} {path.name}")
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _pythons(platform: str) -> list[str]:
    """Those that some bundle for a platform needs wheels of."""
    wanted = {LEGACY_PYTHON, *EXTENSION_PYTHONS} if platform in PLATFORMS else set()
    if platform == _of_nuke(platform):
        wanted |= set(NUKE_PYTHONS)
    return sorted(wanted, key=lambda one: int(one.split(".")[1]))


def _pip_download(what: str, platform: str, python: str, folder: Path) -> None:
    """
    Raises:
        SetupError: ``setup.no_wheels``.
    """
    number = python.replace(".", "")
    ran = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        + ["--no-deps", "--only-binary=:all:", "--dest", str(folder), "--python-version", python]
        + ["--implementation", "cp", "--abi", f"cp{number}", "--abi", "abi3"]
        + [word for tag in _TAGS[platform] for word in ("--platform", tag)]
        + [what],
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise SetupError(
            "setup.no_wheels",
            f"pip could not get {what} for {platform}, Python {python} ({last})",
            hint="connect to a package index, or name a folder with the wheels with --wheels",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Wheels for plug-in bundles.")
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--update-lock", action="store_true")
    choice.add_argument("--fetch", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    try:
        if options.update_lock:
            update_lock()
        else:
            print(f"{fetch(options.fetch)} wheels in {options.fetch}")  # noqa: T201
    except DvmError as error:
        sys.exit(f"{error.message}. {error.hint}.")


if __name__ == "__main__":
    main()
