"""One reader and one writer of image files, and one place that opens movies."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("model", "dvm_server", "host_plugins", "cuda_ops", "training", "samples")
IMPORTS = re.compile(
    r"^\s*(?:import\s+(?:OpenImageIO|oiio)\b|from\s+OpenImageIO\b)"
    r"|(?:import_module|__import__)\(\s*[\"']OpenImageIO",
    re.MULTILINE,
)
# An H×W array given to any of these is read past its end.
WRITES = re.compile(
    r"oiio\.ImageOutput\b|\.(?:write_scanlines?|write_tiles?|write_deep_image|set_pixels)\("
)
MOVIES = re.compile(r"^\s*(?:import\s+av\b|from\s+av\b)", re.MULTILINE)


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for folder in PRODUCT
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def test_the_patterns_see_what_they_are_for():
    assert IMPORTS.search("import numpy\nimport OpenImageIO as oiio\n")
    assert IMPORTS.search("    from OpenImageIO import ImageBuf")
    assert WRITES.search("buf.set_pixels(roi, alpha)")
    assert MOVIES.search("import av\n") and not MOVIES.search("import average\n")


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        # colour.py converts colours, and review.py draws letters: neither opens a file with it
        (
            IMPORTS,
            {"model/plates/image_files.py", "model/plates/colour.py", "model/review.py"},
        ),
        (WRITES, {"model/plates/image_files.py"}),
        (MOVIES, {"model/plates/movies.py", "model/plates/movie_colour.py"}),
    ],
    ids=["OpenImageIO", "writes", "PyAV"],
)
def test_only_these_files(pattern, allowed):
    found = {name for name, text in sources().items() if pattern.search(text)}
    assert found == allowed
