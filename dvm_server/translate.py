"""Wire ↔ model: the only place that knows the errors, options and shots of both."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from host_plugins.client import errors as wire_errors
from host_plugins.client.errors import DvmError
from host_plugins.client.shot import Shot
from model import errors as model_errors
from model import registry
from model.engine import EngineOptions
from model.plates import colour
from model.plates.file_errors import no_space
from model.plates.same_files import file_stamp

_CLASSES: dict[type[model_errors.EngineError], type[DvmError]] = {
    model_errors.InputError: wire_errors.InputError,
    model_errors.SetupError: wire_errors.SetupError,
    model_errors.CapacityError: wire_errors.CapacityError,
}


def wire_error(error: BaseException, *, shot: str = "", frame: int | None = None) -> DvmError:
    """The error a client gets for whatever was raised.

    Ours keep class, code and sentence. Anything else is a `ServerError` with a report number; its
    traceback goes to the log under that number.

    Args:
        error: what was raised.
        shot: name of the shot, where the error does not say.
        frame: the frame at work, where the error does not say.
    """
    if isinstance(error, DvmError):
        said = error.to_wire()
        said["shot"] = error.shot or shot
        said["frame"] = frame if error.frame is None else error.frame
        return wire_errors.from_wire(said)
    at = getattr(error, "frame", None)
    at = frame if at is None else at
    if isinstance(error, model_errors.Cancelled):
        return wire_errors.Cancelled("cancelled", error.message, shot=shot, frame=at)
    if isinstance(error, model_errors.EngineError):
        for ours, theirs in _CLASSES.items():
            if isinstance(error, ours):
                return theirs(error.code, error.message, shot=shot, frame=at, hint=error.hint)
    if isinstance(error, MemoryError):
        return wire_errors.CapacityError(
            "capacity.memory",
            "the server's machine ran out of memory",
            shot=shot,
            frame=at,
            hint="try fewer threads, a smaller --tile, or another machine",
        )
    if isinstance(error, OSError) and no_space(error):
        return wire_errors.CapacityError(
            "capacity.disk_full",
            "a disk is full, or a limit on the size of files is reached"
            + (f", at {error.filename}" if error.filename else ""),
            shot=shot,
            frame=at,
            hint="free some space and submit again; finished frames are kept",
        )
    report = uuid.uuid4().hex[:8]
    logging.getLogger("dvm").error("report %s", report, exc_info=error)
    return wire_errors.ServerError(
        "server.fault",
        f"the server failed with {type(error).__name__}",
        shot=shot,
        frame=at,
        hint=f"the traceback is in server.log under report {report}; please send it to us",
        report=report,
    )


def model_error(plain: Mapping[str, Any]) -> model_errors.EngineError:
    """An error that came from a decoder, as the engine raises it."""
    classes = {"input": model_errors.InputError, "capacity": model_errors.CapacityError}
    found = wire_errors.from_wire(plain)
    kind = classes.get(found.kind, model_errors.SetupError)
    return kind(found.code, found.message, frame=found.frame, hint=found.hint)


def engine_options(shot: Shot, *, threads: int) -> EngineOptions:
    """What the engine is asked for; the device is the worker's own affair."""
    checkpoint, config = shot.options.checkpoint, colour.config_file()
    return EngineOptions(
        network=shot.options.network,
        checkpoint=checkpoint,
        checkpoint_stamp=file_stamp(checkpoint) if checkpoint else "",
        ocio_stamp=file_stamp(config) if config else "",
        precision=shot.options.precision,
        tile=shot.options.tile,
        causal=looks_back(shot),
        colourspace=shot.plates.colourspace,
        composited_in=shot.plates.composited_in,
        premultiplied=shot.plates.premultiplied,
        foreground=shot.outputs.foreground,
        layers=_layers(shot),
        roi=shot.roi,
        threads=threads,
    )


def _layers(shot: Shot) -> tuple[str, ...]:
    """In one file there is always an alpha."""
    layers = shot.outputs.layers
    return layers if shot.outputs.split or "alpha" in layers else ("alpha", *layers)


def looks_back(shot: Shot) -> bool:
    """Whether its mattes see no later frames, by the shot's wish or by the network's nature."""
    return shot.options.window == "causal" or registry.looks_back(shot.options.network)


def carrying_options(shot: Shot) -> dict[str, Any]:
    """Options that key A depends on."""
    return {
        "colourspace": shot.plates.colourspace,
        "composited_in": shot.plates.composited_in,
        "premultiplied": shot.plates.premultiplied,
        "precision": shot.options.precision,
        "tile": shot.options.tile,
    }


def matting_options(shot: Shot) -> dict[str, Any]:
    """Options that key B depends on besides: all that shapes the files of a matte."""
    outputs = asdict(shot.outputs)
    del outputs["pattern"]
    # Fields that the first release did not have are left out at their default: keys stand.
    roi = {} if shot.roi is None else {"roi": list(shot.roi)}
    return {**outputs, "layers": list(shot.outputs.layers), "window": shot.options.window, **roi}


def options_from_plain(plain: Mapping[str, Any]) -> EngineOptions:
    """`EngineOptions` that came through a pipe as plain values."""
    roi = plain.get("roi")
    tuples = {"layers": tuple(plain["layers"]), "roi": None if roi is None else tuple(roi)}
    return EngineOptions(**{**plain, **tuples})
