"""Client and server give a matte the same name: one writes by value, the other by path."""

import pytest

from host_plugins.client.outputs import layers_of_files, output_path
from host_plugins.client.shot import Outputs
from host_plugins.client.shot_parts import LAYERS, MOST_FRAMES
from model.plates import mattes
from model.plates.ranges import MAX_FRAMES

PATTERNS = ("/m/a.####.exr", "/m/a_%04d.exr", "/m/a.%d.exr", "/m/$F4.exr", "/m/a-@@.exr", "a.exr")


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("frame", [-7, 0, 7, 1001, 123456])
@pytest.mark.parametrize("split", [False, True])
def test_names_agree(pattern, frame, split):
    outputs = Outputs(pattern, LAYERS, split)
    ours = {layer: output_path(pattern, frame, layer) for layer in layers_of_files(outputs)}
    assert ours == mattes.matte_paths(pattern, frame, LAYERS, split)


def test_words_agree():
    assert tuple(mattes.LAYERS) == LAYERS
    assert MAX_FRAMES == MOST_FRAMES
