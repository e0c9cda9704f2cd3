"""Nuke runs this at every start, on farms too: it only says where the plug-in's Python is.

Nothing is imported but the standard library, nothing is asked, nothing can raise.
"""

import sys
from pathlib import Path


def _vendor(home):
    """The folder with pyzmq and msgpack for this system and this Nuke's Python."""
    system = {"linux": "linux", "darwin": "macos"}.get(sys.platform, "windows")
    return home / "vendor" / "{}-py{}{}".format(system, *sys.version_info[:2])


def _add_paths():
    home = Path(__file__).resolve().parent
    for folder in (home, _vendor(home)):
        # At the end: a studio's own copies of the same packages come first.
        if folder.is_dir() and str(folder) not in sys.path:
            sys.path.append(str(folder))


_add_paths()
