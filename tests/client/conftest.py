from pathlib import Path

import pytest

from tests.client.material import Clip, make_clip


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    folder = tmp_path / "clip"
    folder.mkdir()
    return make_clip(folder)
