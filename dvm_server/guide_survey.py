"""Looks at the files of a shot's guides before anything is computed: which are there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from dvm_server.jobs import GuideSource, Offer
from dvm_server.spool import Spool
from host_plugins.client.errors import InputError
from host_plugins.client.guides import NAMES, Guide
from model.plates.ranges import FramePattern


def guide_sources(
    offer: Offer,
    frames: Sequence[int],
    required: Collection[int],
    spool: Spool,
    is_there: Callable[[Path, int], bool],
    digest_of: Callable[[Path, int], str],
) -> dict[int, dict[str, GuideSource]]:
    """Each frame's garbage matte, core matte and clean plate by role.

    Args:
        offer: what the client submitted.
        frames: of the shot, its handles too.
        required: frames for which there must be a file, if the guide is one file a frame.
        spool: where files that came by value are.
        is_there: whether a file that a client named for a frame is there.
        digest_of: sha256 of a file that a client named, for a frame; raises if it may not be read.

    Raises:
        InputError: ``input.missing_guide``; what ``digest_of`` raises.
    """
    found: dict[int, dict[str, GuideSource]] = {}
    for role, guide in offer.shot.guides.given():
        for frame in frames:
            source = (
                _sent(offer, role, frame, spool)
                if guide.by_value
                else _named(guide, frame, is_there, digest_of)
            )
            if source is not None:
                found.setdefault(frame, {})[role] = source
            elif frame in required:
                raise _missing(offer, role, guide, frame)
    return found


def _sent(offer: Offer, role: str, frame: int, spool: Spool) -> GuideSource | None:
    sent = offer.guides.get((role, None)) or offer.guides.get((role, frame))
    return None if sent is None else GuideSource(str(spool.path(sent.name)), sent.sha256)


def _named(
    guide: Guide,
    frame: int,
    is_there: Callable[[Path, int], bool],
    digest_of: Callable[[Path, int], str],
) -> GuideSource | None:
    path = FramePattern.parse(guide.pattern).path(frame)
    return GuideSource(str(path), digest_of(path, frame)) if is_there(path, frame) else None


def _missing(offer: Offer, role: str, guide: Guide, frame: int) -> InputError:
    pattern = None if guide.by_value else FramePattern.parse(guide.pattern)
    path = "" if pattern is None else f": {pattern.path(frame)}"
    one = pattern is not None and pattern.is_single
    of = "" if one else f" of frame {frame}"
    return InputError(
        "input.missing_guide",
        f"the {NAMES[role]}{of} is not there{path}",
        shot=offer.shot.name,
        frame=None if one else frame,
        hint="correct its path"
        if one
        else "make one for every frame of the shot, or give one image for all of them",
    )
