"""Frames made on a stream of their own while another is busy, and mattes on their way back."""

import numpy as np
import pytest
import torch

from model.face import Frame
from model.transfers import Download, Upload, sent

pytestmark = pytest.mark.gpu


def test_values_survive_beside_a_busy_network(device):
    upload = Upload(device)
    busy = torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0)).to(device)
    back = []
    for i in range(20):
        pixels = np.random.default_rng(i).random((540, 960, 3)).astype(np.float16)

        def make(i=i, pixels=pixels):
            light = sent(pixels, device).permute(2, 0, 1)[None].float()
            return Frame(i, light, light * 2, None, "linear")

        for _ in range(20):
            busy = torch.tanh(busy @ busy)
        frame = upload(make)
        made = frame.picture + busy.sum() * 0
        back.append((pixels, Download(made[0].permute(1, 2, 0))))
        del frame, made  # their memory may be used again at once
    for pixels, found in back:
        assert np.array_equal(found.array(), pixels.astype(np.float32) * 2)
