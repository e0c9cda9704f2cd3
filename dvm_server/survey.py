"""Looks at a shot's files before anything is computed: digests, gaps, what is done, conflicts.

Runs off the main loop: it may read every plate of a shot.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dvm_server import translate
from dvm_server.guide_survey import guide_sources
from dvm_server.identity import ShotFacts, digest, matte_keys, trimap_keys
from dvm_server.jobs import GuideSource, Offer, Plan, PlateSource, TrimapSource, files_of
from dvm_server.ledger import Sources
from dvm_server.outputs import Outputs, sort_outputs
from dvm_server.security import check_roots
from dvm_server.spool import Spool
from host_plugins.client.errors import InputError
from host_plugins.client.shot import Shot
from model.passes import with_handles
from model.plates import colour
from model.plates.atomic import check_name
from model.plates.file_errors import is_there
from model.plates.mattes import check_outputs, matte_paths
from model.plates.movies import is_movie
from model.plates.ranges import FramePattern
from model.plates.same_files import RealNames, SameFiles, file_stamp, would_be_overwritten


@dataclass(frozen=True)
class Surroundings:
    """What a survey needs of the server.

    Attributes:
        spool: by-value files, trimaps, mattes; remembered digests.
        roots: folders a client may name files in; empty = anywhere.
        outputs: recognises files that are there already.
        look: called before a file or folder is looked at, and while it is read; raises to give up.
    """

    spool: Spool
    roots: Sequence[Path]
    outputs: Outputs
    look: Callable[[Path], None] = lambda path: None


def survey(
    offer: Offer, engine: Mapping[str, Any], description: Mapping[str, Any], around: Surroundings
) -> tuple[Plan, list[dict[str, Any]]]:
    """Make the plan for a shot.

    Args:
        offer: what the client submitted.
        engine: `EngineOptions` as plain values.
        description: the engine's, for these options.
        around: the server's side.

    Returns:
        The plan, and journal events for finished files that no journal knows of.

    Raises:
        InputError: a file is missing, unreadable or outside of the roots; an output is there and
            is not this shot's; no frame has a trimap.
    """
    shot = offer.shot
    frames = shot.numbers()
    check_outputs(shot.outputs.layers, shot.outputs.split, shot.outputs.compression)
    context, plates, keyframes, given, guides = _read(offer, around)
    facts = ShotFacts(
        frames=frames,
        context=context,
        keyframes={f: _painted_digest(f, one, plates) for f, one in keyframes.items()},
        given={f: one.sha256 for f, one in given.items() if f not in keyframes},
        plates={f: one.digest for f, one in plates.items()},
        guides={f: {role: g.sha256 for role, g in one.items()} for f, one in guides.items()},
        black=frozenset(f for f in frames if plates[f].missing == "black"),
        causal=translate.looks_back(shot),
        carrying=translate.carrying_options(shot),
        matting=translate.matting_options(shot),
        engine=description,
    )
    keys_a, keys_b = trimap_keys(facts), matte_keys(facts)
    spooled = {
        f: TrimapSource(str(around.spool.path(Spool.trimap_name(key))), "propagated")
        for f, key in keys_a.items()
    }
    trimaps = {**given, **keyframes, **spooled}
    _check_covered(sorted(facts.read_frames()), trimaps, shot)
    plan = Plan(
        offer=offer,
        description=description,
        engine=engine,
        frames=frames,
        context=context,
        spans=facts.spans(),
        blocks=facts.blocks(),
        plates=plates,
        trimaps=trimaps,
        guides=guides,
        trimap_keys=keys_a,
        keys=keys_b,
        outputs=_outputs(offer, frames, keys_b, around),
        done=frozenset(),
        ready=frozenset(),
        carried=frozenset(
            f for f, key in keys_a.items() if around.spool.has(Spool.trimap_name(key))
        ),
    )
    names = RealNames()
    _check_apart(plan, names, around)
    there = sort_outputs(plan, around.outputs, around.spool, around.look)
    plan = replace(
        plan,
        done=there.done,
        ready=there.ready,
        ours=there.ours,
        places={
            names.of(path)[0]: path
            for files in (() if offer.by_value else plan.outputs.values())
            for path in files.values()
        },
    )
    return plan, there.adopted


def engine_asked(shot: Shot, threads: int, around: Surroundings) -> dict[str, Any]:
    """What the engine is asked for, as plain values.

    Args:
        shot: that is to be matted.
        threads: of a worker.
        around: the server's side.

    Raises:
        InputError: the checkpoint is outside of the roots.
    """
    checkpoint = shot.options.checkpoint
    for path in filter(None, (checkpoint, colour.config_file())):
        around.look(Path(path))
    if checkpoint:
        check_roots(checkpoint, around.roots)
    return asdict(translate.engine_options(shot, threads=threads))


def sources_now(plan: Plan, offer: Offer, around: Surroundings) -> Sources:
    """What a plan's shot would be made from now: other files may have come under their names.

    Args:
        plan: of the shot.
        offer: the same shot, as it was submitted again.
        around: the server's side.

    Raises:
        InputError: a file is missing, unreadable or outside of the roots.
    """
    _, plates, keyframes, given, guides = _read(offer, around)
    trimaps = {**given, **keyframes}
    return replace(plan, plates=plates, trimaps=trimaps, guides=guides, trimap_keys={}).sources()


def what_is_left(plan: Plan, spool: Spool) -> tuple[Plan, set[int]]:
    """What of a plan is in the spool still: others may have been made room for since its survey.

    All of that counts as used now, so that what nobody asks for goes first.

    Args:
        plan: of which nothing makes room for others any more.
        spool: of the server; nothing else may make room in it meanwhile.

    Returns:
        The plan without trimaps and mattes that have gone, and the frames whose plates are there.

    Raises:
        SetupError: ``setup.state``.
        model.errors.EngineError: ``setup.state``, ``capacity.disk_full``.
    """
    trimaps = {f: Spool.trimap_name(plan.trimap_keys[f]) for f in plan.carried}
    mattes = {
        f: {Spool.matte_name(plan.keys[f], layer) for layer in files_of(plan.offer.shot)}
        for f in plan.ready
    }
    plates = {f: one.name for f, one in (plan.offer.plates or {}).items()}
    names = {*trimaps.values(), *plates.values()}.union(*mattes.values())
    there = {name for name in names if spool.has(name)}
    spool.expect(there)
    left = replace(
        plan,
        carried=frozenset(f for f, name in trimaps.items() if name in there),
        ready=frozenset(f for f, files in mattes.items() if files <= there),
    )
    return left, {f for f, name in plates.items() if name in there}


def _read(
    offer: Offer, around: Surroundings
) -> tuple[
    tuple[int, ...],
    dict[int, PlateSource],
    dict[int, TrimapSource],
    dict[int, TrimapSource],
    dict[int, dict[str, GuideSource]],
]:
    """The frames that are read; plates, painted and given trimaps, and guides of them."""
    context = _context(offer.shot)
    plates = _plates(offer, context, around)
    keyframes, given = _trimaps(offer, context, plates, around)
    return context, plates, keyframes, given, _guides(offer, context, plates, around)


def _context(shot: Shot) -> tuple[int, ...]:
    """The shot's frames, and those of its handles that are read."""
    frames, everything = shot.numbers(), shot.all_numbers()
    return with_handles(
        frames,
        everything[: shot.handles],
        everything[len(everything) - shot.handles :],
        {one.frame for one in shot.keyframes},
        causal=translate.looks_back(shot),
    )


def _plates(offer: Offer, frames: Sequence[int], around: Surroundings) -> dict[int, PlateSource]:
    """Each frame's plate, with a stand-in where it is missing and the shot allows it."""
    shot = offer.shot
    if offer.plates is not None:
        there = {
            f: PlateSource(f, str(around.spool.path(one.name)), one.sha256, one.sha256)
            for f, one in offer.plates.items()
        }
        where: Callable[[int], str] = "frame {}, which the client did not send".format
    else:
        pattern = FramePattern.parse(shot.plates.pattern)
        there = _plates_by_path(pattern, frames, around)
        where = lambda f: str(pattern.path(f))  # noqa: E731  the other branch is no function either
    missing = [f for f in frames if f not in there]
    if missing and (shot.options.missing == "error" or not any(f in there for f in frames)):
        handle = missing[0] not in shot.numbers()
        raise InputError(
            "input.missing_plate",
            f"the plate of frame {missing[0]}{', a handle,' if handle else ''} is not there: "
            f"{where(missing[0])}"
            + (f" ({len(missing)} plates are missing)" if len(missing) > 1 else ""),
            shot=shot.name,
            frame=missing[0],
            hint="render it, or give fewer handles"
            if handle
            else "render it, or choose --missing hold or --missing black",
        )
    return {
        f: there[f] if f in there else _stand_in(f, there, frames, shot.options.missing)
        for f in frames
    }


def _stand_in(
    frame: int, there: Mapping[int, PlateSource], frames: Sequence[int], policy: str
) -> PlateSource:
    """The nearest earlier plate, else the nearest later one."""
    earlier = [f for f in frames if f < frame and f in there]
    nearest = earlier[-1] if earlier else next(f for f in frames if f > frame and f in there)
    return replace(there[nearest], missing=policy)


def _plates_by_path(
    pattern: FramePattern, frames: Sequence[int], around: Surroundings
) -> dict[int, PlateSource]:
    around.look(pattern.path(frames[0]))
    check_roots(pattern.path(frames[0]), around.roots)
    found = {}
    movie = pattern.is_single and is_movie(pattern.path(0))
    if pattern.is_single and not movie and len(frames) > 1:
        raise InputError(
            "input.pattern",
            f"{pattern} is one image, and the shot has {len(frames)} frames",
            hint="write the frame number as ####, e.g. plate.####.exr",
        )
    for frame in frames:
        path = pattern.path(frame)
        if not _is_there(path, frame, around):
            continue
        check_roots(path, around.roots)
        stamp = file_stamp(str(path)) if movie else ""
        sha256 = _digest_of(path, frame, around)
        if movie:
            of_frame = digest([sha256, frame])
            found[frame] = PlateSource(frame, str(path), "", of_frame, stamp=stamp)
        else:
            found[frame] = PlateSource(frame, str(path), sha256, sha256)
    return found


def _painted_digest(frame: int, trimap: TrimapSource, plates: Mapping[int, PlateSource]) -> str:
    """Of a painted trimap its own; that of a shape is made from plates too."""
    if trimap.roto is None:
        return trimap.sha256
    beside = [plates[f].digest for f in (frame, *trimap.neighbours)]
    return digest(["roto", trimap.sha256, list(trimap.roto), beside])


def _trimaps(
    offer: Offer,
    frames: Sequence[int],
    plates: Mapping[int, PlateSource],
    around: Surroundings,
) -> tuple[dict[int, TrimapSource], dict[int, TrimapSource]]:
    """Painted and given trimaps of the shot's frames."""
    shot, inside = offer.shot, set(frames)
    painted, given = {}, {}
    for key in shot.keyframes:
        if key.frame not in inside:
            continue
        sent = offer.trimaps.get(key.frame)
        if key.part:
            if sent is None or sent.sha256 != key.part:
                raise _no_trimap(key.frame, "was not sent with the shot", shot)
            path = str(around.spool.path(sent.name))
            found = TrimapSource(path, "painted", sent.sha256)
        else:
            found = _trimap(Path(key.trimap), "painted", key.frame, shot, around)
        if key.roto is not None:
            beside = _beside(key.frame, frames, plates)
            size = (key.roto.shrink, key.roto.grow)
            found = replace(found, roto=size, neighbours=beside)
        painted[key.frame] = found
    if shot.trimaps is not None and shot.trimaps.by_value:
        for frame, sent in offer.trimaps.items():
            if frame in inside and frame not in painted:
                path = str(around.spool.path(sent.name))
                given[frame] = TrimapSource(path, "given", sent.sha256)
    elif shot.trimaps is not None:
        pattern = FramePattern.parse(shot.trimaps.pattern)
        for frame in frames:
            if frame not in painted and _is_there(pattern.path(frame), frame, around):
                given[frame] = _trimap(pattern.path(frame), "given", frame, shot, around)
    return painted, given


def _beside(
    frame: int, frames: Sequence[int], plates: Mapping[int, PlateSource]
) -> tuple[int, ...]:
    """The frames before and after one, where they have plates of their own."""
    place = list(frames).index(frame)
    near = (*frames[max(place - 1, 0) : place], *frames[place + 1 : place + 2])
    return tuple(f for f in near if not plates[f].missing)


def _trimap(path: Path, source: str, frame: int, shot: Shot, around: Surroundings) -> TrimapSource:
    around.look(path)
    check_roots(path, around.roots)
    if not is_there(path, frame):
        raise _no_trimap(frame, f"is not there: {path}", shot)
    return TrimapSource(str(path), source, _digest_of(path, frame, around))


def _no_trimap(frame: int, why: str, shot: Shot) -> InputError:
    return InputError(
        "input.missing_trimap",
        f"the trimap of keyframe {frame} {why}",
        shot=shot.name,
        frame=frame,
        hint="check the path of the keyframe's trimap",
    )


def _guides(
    offer: Offer, frames: Sequence[int], plates: Mapping[int, PlateSource], around: Surroundings
) -> dict[int, dict[str, GuideSource]]:
    """Guides by frame and role; every frame of the shot that has a plate must have them."""

    def there(path: Path, frame: int) -> bool:
        return _is_there(path, frame, around)

    def digest_of(path: Path, frame: int) -> str:
        check_roots(path, around.roots)
        return _digest_of(path, frame, around)

    required = {f for f in offer.shot.numbers() if not plates[f].missing}
    for _, guide in offer.shot.guides.given():
        if guide.pattern:
            around.look(FramePattern.parse(guide.pattern).path(frames[0]))
            check_roots(FramePattern.parse(guide.pattern).path(frames[0]), around.roots)
    return guide_sources(offer, frames, required, around.spool, there, digest_of)


def _check_covered(frames: Sequence[int], trimaps: Mapping[int, TrimapSource], shot: Shot) -> None:
    bare = [f for f in frames if f not in trimaps]
    if bare:
        raise InputError(
            "input.no_keyframe",
            f"frame {bare[0]} has no trimap, and there is no keyframe within the shot's frames "
            f"{'and handles ' if shot.handles else ''}to carry one from",
            shot=shot.name,
            frame=bare[0],
            hint="paint a trimap on at least one of the shot's frames",
        )


def _outputs(
    offer: Offer, frames: Sequence[int], keys: Mapping[int, str], around: Surroundings
) -> dict[int, dict[str, Path]]:
    """Where each frame's files go: by value into the spool, else where the shot says."""
    shot = offer.shot
    if offer.by_value:
        return {
            f: {
                layer: around.spool.path(Spool.matte_name(keys[f], layer))
                for layer in files_of(shot)
            }
            for f in frames
        }
    if not shot.outputs.pattern:
        raise InputError(
            "input.no_output",
            f"the shot {shot.name!r} does not say where its mattes go",
            shot=shot.name,
            hint="give an output pattern, e.g. --out alpha.####.exr",
        )
    if FramePattern.parse(shot.outputs.pattern).is_single and len(frames) > 1:
        raise InputError(
            "input.pattern",
            f"{shot.outputs.pattern} is one file, and the shot has {len(frames)} frames",
            shot=shot.name,
            hint="write the frame number as ####, e.g. alpha.####.exr",
        )
    found = {
        f: matte_paths(shot.outputs.pattern, f, shot.outputs.layers, shot.outputs.split)
        for f in frames
    }
    for folder in {path.parent for files in found.values() for path in files.values()}:
        around.look(folder)
        check_roots(folder, around.roots)
        around.outputs.check_folder(folder)
    check_name(max((path for files in found.values() for path in files.values()), key=_length))
    for files in found.values():
        for path in files.values():
            around.look(path)
            if path.is_symlink():
                check_roots(path, around.roots)
    return found


def _length(path: Path) -> int:
    return len(os.fsencode(path))


def _check_apart(plan: Plan, names: RealNames, around: Surroundings) -> None:
    """Refuse to write over what is read, whatever ``overwrite`` says."""
    read = {one.path: f for f, one in plan.plates.items()}
    read |= {one.path: f for f, one in plan.trimaps.items() if one.source != "propagated"}
    read |= {one.path: f for f, roles in plan.guides.items() for one in roles.values()}

    def looked_at(path: Path) -> Path:
        around.look(path)
        return path

    files_read = SameFiles(map(looked_at, map(Path, read)), names)
    for files in plan.outputs.values():
        for path in map(looked_at, files.values()):
            own = files_read.find(path)
            if own is not None:
                raise InputError(
                    "input.output_is_input",
                    would_be_overwritten(path, own),
                    shot=plan.offer.shot.name,
                    frame=read[str(own)],
                    hint="give the mattes another name or folder",
                )


def _is_there(path: Path, frame: int, around: Surroundings) -> bool:
    around.look(path)
    return is_there(path, frame)


def _digest_of(path: Path, frame: int, around: Surroundings) -> str:
    try:
        return around.spool.digest_of(path, lambda: around.look(path))
    except OSError as error:
        raise InputError(
            "input.unreadable",
            f"{path} cannot be read ({error.strerror})",
            frame=frame,
            hint="check what is there, and its permissions",
        ) from error
