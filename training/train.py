"""The training loop, one for all networks.

    python -m training.train training/recipes/st_fam_s.toml --material FOLDER --out runs/one
    python -m training.train RECIPE --out runs/one --resume        goes on, to the bit
    python -m training.train RECIPE --out runs/two --init CHECKPOINT.safetensors
    python -m training.train RECIPE --out runs/two --dry-run       says what it would do
    torchrun --nproc_per_node 2 -m training.train RECIPE --out runs/one

Runs where there is torch, lightning, tensorboard, numpy, scipy, safetensors and opencv, and nothing
else. What differs between networks is in their stages (`training.matting`, `training.propagation`,
`training.published.stage`):

    stage.batches(first step) → batch → stage.loss(network, batch) → total, parts
    stage.validate(network) → figures with "score", lower is better;  stage.pictures(network)
    stage.take_share(share)   several processes: its part of each batch, which is that of one
    stage.epoch_steps, stage.described, if it has epochs, and clips that lie somewhere

--out gets ``state.pt`` (all that a resume needs), ``last.safetensors`` and ``best.safetensors``
(averaged weights, float16, with their record), ``log.jsonl`` and TensorBoard's files. SIGTERM,
SIGINT and the end of --time-budget save and stop after the step under way; a loss that is not
finite stops the run and saves the batch it came from. A run that is there already is not written
over unless --overwrite says so.

With --anneal-by-time the learning rate is at its end when the time budget is, however many steps
that took: for machines that are rented by the minute, whose speed is not known before. Source: Li,
Yumer, Ramanan, "Budgeted Training", ICLR 2020. Such a run cannot be repeated to the bit.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import math
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from model.checkpoint import CheckpointRecord, load_tensors, read_record
from model.errors import EngineError, SetupError
from training.exit_codes import CANCELLED_EXIT, exit_code
from training.loop.beginning import Beginning, beginning_of, resumed, saved
from training.loop.processes import agree_on_norms, anyone, first_error, launched, own_part
from training.loop.recipe_file import check_keys, read_recipe, recipe_hash, table_of, with_folder
from training.loop.run_folder import (
    BEST,
    BOARD,
    LAST,
    LOG,
    STATE,
    check_out,
    into,
    remove_run,
    saved_state,
    write_tensors,
)
from training.loop.schedule import (
    Plateau,
    judged,
    learning_rate,
    optimiser_of,
    place_in_time,
    total_steps,
)
from training.loop.weights_record import write_checkpoint
from training.published.init import initialise

__all__ = ["learning_rate", "main", "read_recipe", "recipe_hash", "run", "write_checkpoint"]

STAGES = {
    "matting": "training.matting:MattingStage",
    "propagation": "training.propagation:PropagationStage",
    "published": "training.published.stage:PublishedStage",
}
NETWORKS = {
    "st_fam_r50": "model.networks.st_fam_r50:StFamR50",
    "st_fam_s": "model.networks.st_fam_s:StFamS",
    "trimap_memory_s": "model.networks.trimap_memory_s:TrimapMemoryS",
}
STOPPED = {signal.SIGINT: CANCELLED_EXIT, signal.SIGTERM: 143}  # exit codes
JUDGE_EVERY = 1000  # steps, where neither recipe nor command line say


class Taught(nn.Module):
    """Network and loss as one module, because DDP looks at what goes through ``forward`` only."""

    def __init__(self, network: nn.Module, stage: Any):
        super().__init__()
        self.network = network
        self.stage = (stage,)  # in a tuple: its tensors are no parameters

    def forward(self, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        found: tuple[Tensor, dict[str, Tensor]] = self.stage[0].loss(self.network, batch)
        return found


@runtime_checkable
class TakesOver(Protocol):
    """A network that can begin with weights of one that was built a little differently."""

    def taken_over(
        self, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> dict[str, Tensor]: ...


@dataclass
class Progress:
    """Where a run stands; saved with it. ``best`` is the lowest score, ``judged`` the step that was
    judged last, ``plateau`` what that means for the rate."""

    step: int = 0
    best: float = math.inf
    judged: int = -1
    plateau: Plateau = field(default_factory=Plateau)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        return run(options)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  it is told, with its traceback
        return exit_code(error)


def run(options: argparse.Namespace) -> int:
    """Train until the recipe's steps, the time budget or SIGTERM end it.

    Args:
        options: as `parser` gives them; what is not there has its default.

    Returns:
        The exit code: 0, 143 after SIGTERM, 130 after SIGINT.
    """
    begin = time.monotonic()
    options = _with_defaults(options)
    recipe = read_recipe(options.recipe, options.set)
    network_class = _named(NETWORKS, recipe["network"], "network")
    stage_class = _named(STAGES, recipe["stage"], "stage")
    check_keys(recipe, stage_class, network_class)
    _check_annealing(options)
    placed = with_folder(recipe, "source", options.source)
    placed = with_folder(placed, "validation", options.validation)
    check_out(options.out, resume=options.resume, overwrite=options.overwrite)
    state = saved_state(options.out, recipe_hash(recipe)) if options.resume else None
    if state is not None:
        beginning, begun = resumed(state, recipe, options.init, options.material, options.out)
    if options.dry_run:
        from training.loop.dry_run import tell

        print("\n".join(tell(placed, options, network_class, stage_class)))  # noqa: T201
        return 0
    torch.set_num_threads(options.threads)
    fabric = launched(options, recipe)
    stop = _Stop()
    torch.manual_seed(int(recipe.get("seed", 0)))
    torch.backends.cudnn.benchmark = True  # all batches are of one size
    torch.set_float32_matmul_precision("high")
    network = built(network_class, recipe)
    if state is None:
        if options.init is not None:
            begun = _initialise(network, options.init, recipe["network"])
        else:
            begun = initialise(network, table_of(recipe, "init"))
        beginning = beginning_of(recipe, options.init, options.material)
    network = network.to(fabric.device, memory_format=torch.channels_last)
    own, share = own_part(placed, fabric)
    stage = stage_class(own, options.material, fabric.device)
    if share is not None:
        stage.take_share(share)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = optimiser_of(recipe, network.parameters())
    taught, optimiser = fabric.setup(Taught(network, stage), optimiser)
    progress = Progress()
    data = _digest(getattr(stage, "described", {}))
    if state is not None:
        _check_clips(state, data, options.out)
        progress = _restored(state, network, average, optimiser)
        state = None  # so that it is not kept in memory
    elif options.overwrite and fabric.is_global_zero:
        remove_run(options.out)
    with into(options.out):
        options.out.mkdir(parents=True, exist_ok=True)
    log = _Log(options.out, fabric.is_global_zero)
    epoch_steps = int(getattr(stage, "epoch_steps", 1))
    steps = total_steps(recipe, epoch_steps)
    judge_every, judge_from = judging(recipe, epoch_steps, options.judge_every)
    for line in begun:
        log.line(line)
    log.line(f"{recipe['network']}: {_count(network):.2f} M parameters, step {progress.step}")
    saved = seen = ready = time.monotonic()
    batches = stage.batches(progress.step)

    def save() -> None:
        _save(options.out, recipe, network, average, optimiser, progress, fabric, data, beginning)

    try:
        while progress.step < steps:
            late = time.monotonic() - begin > options.time_budget
            if anyone(fabric, stop.asked or late):
                if late:
                    log.line(f"time budget spent at step {progress.step}")
                break
            place = progress.step
            if options.anneal_by_time:
                spent = (time.monotonic() - ready) / (begin + options.time_budget - ready)
                # Clocks of several processes differ, and rates must not.
                place = fabric.broadcast(place_in_time(recipe, place, steps, spent))
            rate = learning_rate(recipe, place, epoch_steps, progress.plateau.lowered)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch, failed = _next(batches)
            failed = first_error(fabric, failed)
            if failed is not None:
                save()  # between two steps nothing is lost
                log.close()
                raise failed
            total, parts = taught(batch)
            fabric.backward(total)
            _check_finite(fabric, total, batch, progress.step, options.out)
            norm = fabric.clip_gradients(
                taught, optimiser, max_norm=float(recipe["clip_norm"]), error_if_nonfinite=False
            )
            optimiser.step()
            optimiser.zero_grad()
            progress.step += 1
            agree_on_norms(fabric, network)
            _follow(average, network, _decay(float(recipe["ema"]), progress.step))
            if progress.step % options.log_every == 0:
                speed = options.log_every / (time.monotonic() - seen)
                seen = time.monotonic()
                log.scalars(
                    progress.step,
                    {"loss": total.detach(), "norm": norm, "rate": rate, "steps/s": speed, **parts},
                )
            if progress.step % judge_every == 0 and progress.step >= judge_from:
                # One process judges. What is judged because a run stops says nothing of its rate.
                with _saving_first(save):
                    score = _judge(stage, average, recipe, progress, log, options.out, beginning)
                score = fabric.broadcast(score)
                progress.plateau = judged(recipe, progress.plateau, score)
                seen = time.monotonic()
            if anyone(fabric, time.monotonic() - saved > options.save_every):
                save()
                saved = time.monotonic()
    finally:
        stop.restore()
    if progress.judged != progress.step:
        with _saving_first(save):
            _judge(stage, average, recipe, progress, log, options.out, beginning)
    save()
    log.close()
    log.line(f"stopped at step {progress.step}")
    for number, code in STOPPED.items():
        if anyone(fabric, stop.by == number):
            return code
    return 0


def built(network_class: Any, recipe: Mapping[str, Any]) -> Any:
    """The recipe's network.

    Raises:
        SetupError: ``setup.bad_recipe`` if there is none of such a ``network_config``.
    """
    try:
        return network_class(**table_of(recipe, "network_config"))
    except (TypeError, ValueError) as error:
        raise SetupError(
            "setup.bad_recipe",
            f"there is no {recipe['network']} of the recipe's network_config: {error}",
            hint=f"compare it with the recipes of {recipe['network']} in training/recipes",
        ) from error


def _check_annealing(options: argparse.Namespace) -> None:
    if options.anneal_by_time and (options.resume or math.isinf(options.time_budget)):
        why = "a run that is resumed has none" if options.resume else "there is none"
        raise SetupError(
            "setup.no_budget",
            f"--anneal-by-time lowers the learning rate as a time budget is spent, and {why}",
            hint="give --time-budget 9m, and go on with --init rather than --resume",
        )


def judging(recipe: Mapping[str, Any], epoch_steps: int, every: int | None) -> tuple[int, int]:
    """Steps from one judgement to the next, and the step of the first: as the command line says, or
    in epochs as the recipe's ``validate_freq`` and ``validate_start`` do."""
    start = int(recipe.get("validate_start", 0)) * epoch_steps
    if every is not None:
        return every, start
    if "validate_freq" in recipe:
        return max(1, int(recipe["validate_freq"])) * epoch_steps, start
    return JUDGE_EVERY, start


def _judge(
    stage: Any,
    average: nn.Module,
    recipe: Mapping[str, Any],
    progress: Progress,
    log: _Log,
    out: Path,
    beginning: Beginning,
) -> float:
    """Judge the averaged weights on what was held out, and keep them if they are the best yet.

    Returns:
        The score; of a process that does not judge, infinity.
    """
    progress.judged = progress.step
    if not log.active:
        return math.inf
    average.eval()
    figures = stage.validate(average)
    log.scalars(progress.step, {f"held out/{k}": v for k, v in figures.items()})
    log.pictures(progress.step, stage.pictures(average))
    described = getattr(stage, "described", None)
    arguments = average, recipe, progress.step, figures, beginning, described
    with into(out):
        write_checkpoint(out / LAST, *arguments)
        if figures["score"] < progress.best:
            progress.best = figures["score"]
            write_checkpoint(out / BEST, *arguments)
    return float(figures["score"])


def _next(batches: Iterator[Any]) -> tuple[Any, Exception | None]:
    """The next batch, or what went wrong with it."""
    try:
        return next(batches), None
    except Exception as error:  # noqa: BLE001  it is raised when the run has been saved
        return None, error


@contextmanager
def _saving_first(save: Callable[[], None]) -> Iterator[None]:
    """What goes wrong in between is raised when the run has been saved."""
    try:
        yield
    except Exception:
        save()
        raise


def _check_finite(fabric: Fabric, total: Tensor, batch: Any, step: int, out: Path) -> None:
    if anyone(fabric, not bool(torch.isfinite(total))):
        rank = f"-process-{fabric.global_rank}" if fabric.world_size > 1 else ""
        path = out / f"not-finite-{step}{rank}.pt"
        write_tensors(path, {"step": step, "batch": batch})
        raise EngineError(
            "fault.not_finite",
            f"the loss of step {step} is not finite; its batch is in {path}",
            hint="look at that batch; if nothing is wrong with it, a lower learning_rate may do",
        )


def _decay(decay: float, step: int) -> float:
    """Less memory at the beginning, when weights are far from any good."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    mine: list[Tensor] = list(average.parameters())
    theirs = [p.detach() for p in network.parameters()]
    torch._foreach_lerp_(mine, theirs, 1 - decay)
    for kept, seen in zip(average.buffers(), network.buffers(), strict=True):
        kept.copy_(seen)


def _save(
    out: Path,
    recipe: Mapping[str, Any],
    network: nn.Module,
    average: nn.Module,
    optimiser: Any,
    progress: Progress,
    fabric: Fabric,
    data: str,
    beginning: Beginning,
) -> None:
    if not fabric.is_global_zero:
        return
    write_tensors(
        out / STATE,
        {
            "recipe": recipe_hash(recipe),
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": progress.step,
            "best": progress.best,
            "plateau": asdict(progress.plateau),
            "data": data,
            "beginning": saved(beginning),
        },
    )


def _check_clips(state: Mapping[str, Any], data: str, out: Path) -> None:
    """See that a saved run is taught with the clips of before.

    Raises:
        SetupError: ``setup.other_clips``.
    """
    if state.get("data", data) != data:
        raise SetupError(
            "setup.other_clips",
            f"the clips that the run at {out / STATE} was taught with are not the same any more",
            hint="put them back, or start anew with --init and another --out",
        )


def _restored(
    state: Mapping[str, Any], network: nn.Module, average: nn.Module, optimiser: Any
) -> Progress:
    """Put a saved run back."""
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    plateau = Plateau(**state.get("plateau", {}))  # runs of before have none
    return Progress(state["step"], state["best"], plateau=plateau)


def _digest(described: Mapping[str, Any]) -> str:
    text = json.dumps(described, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest() if described else ""


def begun_with(
    network: nn.Module, path: Path, name: str
) -> tuple[CheckpointRecord, dict[str, Tensor]]:
    """A checkpoint to begin with: its record, and its tensors in float32 as the network takes them
    over; whether they fit is not looked at.

    Args:
        network: the recipe's.
        path: of the checkpoint.
        name: of the recipe's network.

    Raises:
        SetupError: ``setup.other_checkpoint`` if it is of another network; as reading it.
    """
    record = read_record(path)
    if record.network != name:
        raise SetupError(
            "setup.other_checkpoint",
            f"{path} holds {record.network}, not {name}",
            hint="name a checkpoint of the recipe's network with --init",
        )
    tensors = {k: v.float() for k, v in load_tensors(path, torch.device("cpu")).items()}
    if isinstance(network, TakesOver):
        tensors = network.taken_over(tensors, record.config)
    return record, tensors


def _initialise(network: nn.Module, path: Path, name: str) -> list[str]:
    record, tensors = begun_with(network, path, name)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise SetupError(
            "setup.other_checkpoint",
            f"the weights in {path} do not fit the recipe's network_config ({error})",
            hint=f"the checkpoint's own is {dict(record.config)}",
        ) from error
    return [f"begins with {path}, {record.training.get('steps', 'unknown')} steps"]


def _named(table: Mapping[str, str], name: str, what: str) -> Any:
    if name not in table:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe's {what} {name!r} is not known",
            hint=f"use one of: {', '.join(table)}",
        )
    module, _, attribute = table[name].partition(":")
    return getattr(import_module(module), attribute)


def _count(network: nn.Module) -> float:
    return sum(p.numel() for p in network.parameters()) / 1e6


class _Stop:
    """Remembers SIGTERM and SIGINT until the step under way is done."""

    def __init__(self) -> None:
        self.by: int | None = None
        self._before = {number: signal.signal(number, self._ask) for number in STOPPED}

    @property
    def asked(self) -> bool:
        return self.by is not None

    def _ask(self, number: int, _: object) -> None:
        self.by = number

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Log:
    """Standard output, ``log.jsonl`` and TensorBoard.

    TensorBoard's files are written by a thread of its own. Where that fails, what it raised is
    raised by the next call as well; a flush by hand would then wait for ever, so there is none.
    """

    def __init__(self, out: Path, active: bool):
        self.active = active
        self._out = out
        self._board: Any = None
        if active:
            from torch.utils.tensorboard import SummaryWriter

            self._hook, threading.excepthook = threading.excepthook, _unless_told
            with into(out):
                self._board = SummaryWriter(str(out / BOARD), max_queue=1000, flush_secs=30)

    def line(self, text: str) -> None:
        if self.active:
            print(text, flush=True)  # noqa: T201

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        if not self.active:
            return
        plain = {name: float(value) for name, value in values.items() if value is not None}
        line = json.dumps({"step": step, **plain}) + "\n"
        with into(self._out):
            for name, value in plain.items():
                self._board.add_scalar(name, value, step)
            with (self._out / LOG).open("a", encoding="utf-8") as file:
                file.write(line)
        self.line(f"{step}: " + "  ".join(f"{k} {v:.4g}" for k, v in plain.items()))

    def pictures(self, step: int, pictures: Mapping[str, Any]) -> None:
        with into(self._out):
            for name, picture in pictures.items():
                self._board.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        if self.active:
            with into(self._out):
                self._board.close()
            threading.excepthook = self._hook


def _seconds(text: str) -> float:
    """``90``, ``90s``, ``9m`` or ``2h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 9m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _unless_told(raised: threading.ExceptHookArgs) -> None:
    """What ends a thread is printed, but for what the file system told one: see `_Log`."""
    if not isinstance(raised.exc_value, OSError):
        threading.__excepthook__(raised)


def _count_of(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _devices(text: str) -> str:
    """``2``, ``auto``, or numbers of GPUs: ``0,1``."""
    if not re.fullmatch(r"0*[1-9]\d*|auto|-1|\d+(,\d+)+", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of devices: write 2, 0,1 or auto")
    return text


def _with_defaults(options: argparse.Namespace) -> argparse.Namespace:
    """So that who calls `run` need not name every option."""
    least = parser().parse_args(["recipe", "--out", "out"])
    return argparse.Namespace(**{**vars(least), **vars(options)})


def parser() -> argparse.ArgumentParser:
    """The command line's."""
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description="Train a network by a recipe."
    )
    parser.add_argument("recipe", type=Path, help="a file of training/recipes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--material", type=Path, help="folder with real material; see README")
    parser.add_argument("--source", type=Path, help="folder of the recipe's [source]")
    parser.add_argument("--validation", type=Path, help="folder of the recipe's [validation]")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; do nothing")
    before = parser.add_mutually_exclusive_group()
    before.add_argument("--resume", action="store_true", help="go on with the run in --out")
    before.add_argument(
        "--overwrite", action="store_true", help="remove the run in --out if there is one"
    )
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument("--time-budget", type=_seconds, default=math.inf, metavar="9m")
    parser.add_argument(
        "--anneal-by-time",
        action="store_true",
        help="the learning rate falls with --time-budget, whatever the number of steps",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--devices", type=_devices, default="1", help="how many; torchrun says it by itself"
    )
    parser.add_argument("--threads", type=_count_of, default=1, help="of torch on the processor")
    parser.add_argument("--log-every", type=_count_of, default=50, metavar="STEPS")
    parser.add_argument(
        "--judge-every",
        type=_count_of,
        metavar="STEPS",
        help=f"as the recipe says, or {JUDGE_EVERY}",
    )
    parser.add_argument("--save-every", type=_seconds, default=300, metavar="5m")
    return parser


if __name__ == "__main__":
    sys.exit(main())
