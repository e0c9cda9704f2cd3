"""The fast form of `st_fam_r50` gives on the device what the plain form gives on the CPU."""

import copy

import pytest
import torch

from model.networks.st_fam_r50 import StFamR50, StFamR50Matting, planes_of

pytestmark = pytest.mark.gpu

# Wide enough at its coarse levels for what only wide ones take.
CHANNELS = (16, 64, 256, 512, 512)


def network(upsample):
    torch.manual_seed(5)
    made = StFamR50(CHANNELS, upsample=upsample).eval().requires_grad_(False)
    for align in made.align:
        torch.nn.init.normal_(align.taps.weight, std=0.5 / (9 * align.bias.numel()) ** 0.5)
    return made


@pytest.mark.parametrize(
    ("precision", "bound"), [(None, 2e-3), (torch.float16, 0.02), (torch.bfloat16, 0.05)]
)
@pytest.mark.parametrize("upsample", ["shuffle", "deconv"])
def test_fast_on_the_device_is_plain_on_the_cpu(upsample, precision, bound, device, clip_of, on):
    plain, frames = network(upsample), clip_of(3, 120, 300)
    right = plain(torch.cat([planes_of(f.picture, f.trimap) for f in frames])).alpha
    right = right[..., :120, :300]
    face = StFamR50Matting(copy.deepcopy(plain).to(device))
    there = on(frames, device)
    with torch.autocast(device.type, precision, enabled=precision is not None):
        seen = [face.encode(f, face.prior(f)) for f in there]
        answers = [face.decode(seen, 2, side).alpha.float().cpu() for side in (0, 64)]
        again = face.decode(seen, 2).alpha.float().cpu()
    unknown = frames[2].trimap == 0.5
    assert (answers[0] - right)[unknown].abs().mean() < bound
    assert (answers[0] - answers[1]).abs().max() < bound
    assert torch.equal(answers[0], again)
