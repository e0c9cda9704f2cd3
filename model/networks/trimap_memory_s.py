"""`trimap_memory_s`: trimaps carried by `trimap_flow`, corrected by what keyframes have taught.

    keyframes, trimaps        frames gone by, own answers       frame at hand ── TrimapFlow
        │                         │                               │                 │
        │                         │                               │               guess: classes,
        │                         │                               │               confidence, alpha,
        │                         │                               │               open, held
    KeyEncoder, GuessEncoder  (each frame once, kept)         KeyEncoder ─ picture ─ GuessEncoder
        │ key, value              │ key, value                    │ key             │
        │ pinned                  │ the last two                  │ 1/2 … 1/16      │ 1/2 … 1/8
        └──────── MemoryRead ◄────┼───────────────────────────────┤                 │
                      │       MemoryRead, near by ◄───────────────┤                 │
                      │           │                               │                 │
                      └────────── MemoryDecoder ◄─────────────────┴─────────────────┘
                                      │
            added to the logits of the guess's classes and of its confidence

TrimapFlow goes its own way and sees nothing of the answer. All work is done at `WorkingSize`; what
is added is enlarged and laid over `trimap_flow`'s own classes at the frame's size, so an untrained
network answers them exactly. Confidence is the probability that the trimap is right at a pixel: not
certain of a wrong class, and unknown where alpha is truly mixed. Where a keyframe still holds, the
artist's trimap can be doubted (certain → unknown), but never made narrower. At the end the unknown
is made likelier, the more the softer the keyframes' bands are: smoke and lace have holes soon, and
there a wide band costs little. Around edges nothing is added. Cracks in the unknown are closed.

The idea of matching a frame with keyframes by attention is that of the trimap propagation of Y. Sun
et al., "Deep Video Matting via Spatio-Temporal Alignment and Aggregation", CVPR 2021; of keeping
both ends' keyframes, that of the trimap generation module of Y. Zhang et al., ACM Multimedia 2021.
The residual on a classical answer and the size are ours.

Tensor names: N frames, h×w working size, H×W the same padded to multiples of 16.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cuda_ops.recorded import Recorded
from model.checkpoint import trained_network
from model.classical import trimap_flow
from model.classical.anchor import three_classes
from model.classical.filters import Image, floats, planes_of
from model.classical.trimap_flow import Sight, beside, nearest_to
from model.classical.working_size import WorkingSize
from model.face import Frame
from model.networks.memory_decoder import MemoryDecoder
from model.networks.memory_guess import (
    CLASSES,
    CONFIDENCE,
    HELD,
    GuessEncoder,
    keyframe_guess,
)
from model.networks.memory_keys import KeyEncoder, Look
from model.networks.memory_read import KEY, VALUE, Kept, MemoryRead
from model.trimap_classes import Classes, laid_over

NAME = "trimap_memory_s"
MULTIPLE = 16
RECENT = 2  # frames gone by that are remembered
# Log odds in favour of the unknown, at the end, by how soft keyframes' bands are.
_AT_EDGES, _IN_SMOKE = -0.3, 1.1  # where all are those of hard edges, and where nothing is solid
_HARD, _HAIRY = 0.25, 0.3  # from one softness to the other edges have some hair, and it rises to 0


@dataclass(frozen=True)
class Answer:
    """What to add to a guess.

    Attributes:
        classes: float32 N×3×H×W, to the logits of the classes.
        confidence: float32 N×1×H×W, to the logit of the confidence.
    """

    classes: Tensor
    confidence: Tensor

    def over(self, classes: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the classes and of the confidence, laid over those of a guess."""
        return laid_over(classes, confidence, self.classes, self.confidence)


class TrimapMemoryS(nn.Module):
    """The network itself. See `TrimapMemory` for its face.

    Args:
        look: channels at 1/2, 1/4, 1/8, 1/16 of what frames look like.
        guess: channels at 1/2, 1/4, 1/8 of what is thought of their trimaps.
        caution: how much more likely, in log odds, a certain class must be than the unknown before
            the band of `trimap_flow` is made narrower.
        restraint: how much more likely the unknown must be before that band is made wider.
    """

    def __init__(
        self,
        look: Sequence[int] = (24, 40, 64, 96),
        guess: Sequence[int] = (24, 40, 64),
        caution: float = 0.0,
        restraint: float = 0.0,
    ):
        super().__init__()
        self.config: Mapping[str, Any] = {
            "look": list(look),
            "guess": list(guess),
            "caution": caution,
            "restraint": restraint,
        }
        half, quarter, eighth, sixteenth = look
        own_half, own_quarter, own_eighth = guess
        looks, guesses = (half, quarter, eighth, sixteenth), (own_half, own_quarter, own_eighth)
        self.caution, self.restraint = caution, restraint
        self.keys = KeyEncoder(looks, KEY)
        self.guess = GuessEncoder(guesses, VALUE)
        self.pinned = MemoryRead(local=False)
        self.recent = MemoryRead(local=True)
        self.decoder = MemoryDecoder(looks, guesses, 2 * (VALUE + 1))

    def look(self, picture: Tensor) -> Look:
        """Of pictures N×3×H×W, 0…1, H and W multiples of 16."""
        found: Look = self.keys(picture)
        return found

    def keep(self, look: Look, picture: Tensor, guess: Tensor) -> Kept:
        """Frames as memory keeps them, with what is known of their trimaps (N×7×H×W)."""
        return Kept(look.key, self.guess.kept(self.guess(picture, guess)))

    def answer(
        self,
        look: Look,
        picture: Tensor,
        guess: Tensor,
        pinned: Sequence[Kept],
        recent: Sequence[Kept],
    ) -> Answer:
        """What to add to the guess N×7×H×W of the frames N×3×H×W at hand."""
        read = torch.cat([self.pinned(look.key, pinned), self.recent(look.key, recent)], 1)
        own = self.guess(picture, guess)
        found = self.decoder(look.maps, own, read)
        classes = found[:, :3]
        was_unknown = guess[:, 1:2].float()
        bias = self.caution * was_unknown - self.restraint * (1 - was_unknown)
        classes = torch.cat([classes[:, :1], classes[:, 1:2] + bias, classes[:, 2:]], 1)
        doubt = F.pad(classes[:, 1:2].clamp_min(0), (0, 0, 0, 0, 1, 1))
        return Answer(torch.where(guess[:, HELD] > 0.5, doubt, classes), found[:, 3:])


@dataclass(frozen=True)
class Memory:
    """All that is carried from frame to frame.

    Attributes:
        flow: `trimap_flow`'s own.
        pinned: the span's keyframes.
        recent: the last frames, newest last, at most `RECENT`.
    """

    flow: trimap_flow.Memory
    pinned: tuple[Kept, ...]
    recent: tuple[Kept, ...]


class TrimapMemory:
    """The face of `model.face.PropagationNetwork`."""

    def __init__(self, network: TrimapMemoryS):
        self.network = network.eval().requires_grad_(False)
        self._flow = trimap_flow.TrimapFlow()
        self._told = Recorded(self._tell)

    def start(self, keyframes: Sequence[Frame], origin: int) -> Memory:
        """Pin the span's keyframes and begin at the one nearest to frame ``origin``.

        Raises:
            ValueError: there is no keyframe, one has no trimap, or their sizes differ.
        """
        return self.starts(keyframes, (origin,))[0]

    @torch.no_grad()
    def starts(self, keyframes: Sequence[Frame], origins: Sequence[int]) -> list[Memory]:
        """`start` from each of the origins."""
        with torch.autocast(
            keyframes[0].picture.device.type if keyframes else "cpu", enabled=False
        ):
            flows = self._flow.starts(keyframes, origins)  # solves; half precision would not do
        pinned = tuple(self._keyframe(frame, flows[0].size) for frame in keyframes)
        # As often as there will be frames: that counts as once, and steps are all alike.
        nearest = [(pinned[nearest_to(origin, keyframes)],) * RECENT for origin in origins]
        return [Memory(flow, pinned, own) for flow, own in zip(flows, nearest, strict=True)]

    def step(self, memory: Memory, frame: Frame) -> tuple[Memory, Classes]:
        """Carry on to the next frame in this direction. Raises ValueError if its size differs."""
        sight = self._flow.sight(memory.flow, frame)
        return self._corrected(memory, sight, *self._flow.carry(memory.flow, sight))

    def steps(self, memory: Memory, frames: Iterator[Frame]) -> Generator[Classes, None, None]:
        """`step` after `step`, to the same bit. `TrimapFlow`, which needs no answer of the network,
        goes a frame ahead in a thread of its own, and optical flow a frame ahead of that (but see
        `beside`)."""

        def carried() -> Generator[tuple[Sight, trimap_flow.Memory, Classes], None, None]:
            flow = memory.flow
            with closing(beside(self._flow.sights(flow, frames), flow, "sight")) as seen:
                for sight in seen:
                    flow, classes = self._flow.carry(flow, sight)
                    yield sight, flow, classes

        after = memory
        with closing(beside(carried(), memory.flow, "flow")) as made:
            for sight, flow, classes in made:
                after, found = self._corrected(after, sight, flow, classes)
                yield found

    @torch.no_grad()
    def _corrected(
        self, memory: Memory, sight: Sight, flow: trimap_flow.Memory, classes: Classes
    ) -> tuple[Memory, Classes]:
        """What `TrimapFlow` has found of a frame, with what the network adds to it."""
        picture = self._planes(sight.seen.picture)
        guess = self._padded(flow_guess(classes, flow))
        told, kept = self._told(picture, guess, memory.pinned, memory.recent, _lean(flow.softness))
        after = replace(memory, flow=flow, recent=(*memory.recent, kept)[-RECENT:])
        added = torch.cat([told.classes, told.confidence], 1).to(classes.carried.device)
        added = added[:, :, : flow.size.rows, : flow.size.columns].contiguous()
        return after, replace(classes, added=added)

    def _tell(
        self,
        picture: Tensor,
        guess: Tensor,
        pinned: tuple[Kept, ...],
        recent: tuple[Kept, ...],
        lean: float,
    ) -> tuple[Answer, Kept]:
        """What to add to a guess, and what to remember of the frame."""
        look = self.network.look(picture)
        answer = self.network.answer(look, picture, guess, pinned, recent)
        logits, sure = answer.over(guess[:, CLASSES], guess[:, CONFIDENCE])
        own = torch.cat([logits.softmax(1), sure.sigmoid(), guess[:, 4:].float()], 1)
        kept = self.network.keep(look, picture, own)
        # What is remembered is without what follows.
        return _without_cracks(_leaning(answer, lean), guess), kept

    def _keyframe(self, frame: Frame, size: WorkingSize) -> Kept:
        assert frame.trimap is not None  # trimap_flow has refused it
        picture = self._planes(size.reduce(frame.picture))
        guess = keyframe_guess(self._planes(three_classes(size.reduce(frame.trimap))))
        return self.network.keep(self.network.look(picture), picture, guess)

    def _planes(self, image: Image) -> Tensor:
        """h×w(×C) → 1×C×H×W on the network's device."""
        return self._padded(planes_of(image))

    def _padded(self, planes: Tensor) -> Tensor:
        """1×C×h×w → 1×C×H×W on the network's device."""
        down, right = -planes.shape[2] % MULTIPLE, -planes.shape[3] % MULTIPLE
        padded = F.pad(planes, (0, right, 0, down), mode="replicate")
        return padded.to(next(self.network.parameters()).device)


def flow_guess(classes: Classes, flow: trimap_flow.Memory) -> Tensor:
    """1×7×h×w, the planes of `memory_guess` from an answer of `trimap_flow` and its memory after
    that."""
    state = flow.state
    others = [state.alpha, floats(state.open), floats(state.anchor.held(flow.size))]
    planes = [torch.as_tensor(plane).to(classes.carried.device) for plane in others]
    return torch.cat([classes.carried, torch.stack(planes)[None]], 1)


def _lean(softness: float) -> float:
    """Log odds in favour of the unknown for keyframes whose bands are so soft."""
    if softness > _HAIRY:
        return _IN_SMOKE * (softness - _HAIRY) / (1 - _HAIRY)
    return _AT_EDGES * min((_HAIRY - softness) / (_HAIRY - _HARD), 1)


def _leaning(answer: Answer, lean: float) -> Answer:
    """The unknown made likelier by ``lean``, or less so, where there is an answer."""
    return _with_unknown(answer, lean * _answered(answer).float())


def _without_cracks(answer: Answer, guess: Tensor) -> Answer:
    """Unknown also where two unknowns nearly touch: between the band of `trimap_flow` and what the
    network adds to it a line of certain pixels is left now and then, of which nobody is certain.
    Where a keyframe holds, or there is no answer, nothing is closed."""
    logits, _ = answer.over(guess[:, CLASSES], guess[:, CONFIDENCE])
    lead = logits[:, 1:2] - torch.maximum(logits[:, :1], logits[:, 2:])
    closed = _closed(lead)
    own = _answered(answer) & (guess[:, HELD] < 0.5)
    added = torch.where((lead <= 0) & (closed > 0) & own, closed - lead, torch.zeros_like(lead))
    return _with_unknown(answer, added)


def _answered(answer: Answer) -> Tensor:
    """Bool N×1×h×w: where anything is added to the guess."""
    return (answer.classes != 0).any(1, keepdim=True)


def _with_unknown(answer: Answer, added: Tensor) -> Answer:
    """The answer with N×1×h×w more for the unknown, in log odds."""
    return replace(answer, classes=answer.classes + F.pad(added, (0, 0, 0, 0, 1, 1)))


def _closed(image: Tensor) -> Tensor:
    """N×1×h×w closed by 3×3 pixels: what is low on a line of one or two is as its sides are."""
    return -_highest(-_highest(image))


def _highest(image: Tensor) -> Tensor:
    """The maximum over 3×3 pixels of N×1×h×w; a processor takes far longer to pool them."""
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    up, here, down = around[..., :-2, :], around[..., 1:-1, :], around[..., 2:, :]
    highest = torch.maximum(torch.maximum(up, here), down)
    left, here, right = highest[..., :-2], highest[..., 1:-1], highest[..., 2:]
    return torch.maximum(torch.maximum(left, here), right)


def open_network(checkpoint: str | None, device: torch.device) -> TrimapMemory:
    """With the weights of a checkpoint.

    Raises:
        SetupError: ``setup.no_checkpoint``, ``setup.bad_checkpoint``, ``setup.other_checkpoint``
            if it belongs to another network or does not fit.
    """
    return TrimapMemory(trained_network(checkpoint, NAME, TrimapMemoryS, device, "trimap_flow"))
