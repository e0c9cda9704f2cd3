"""The training loop, one for all networks.

    python -m training.train training/recipes/st_fam_s.toml --material FOLDER --out runs/one
    python -m training.train RECIPE --out runs/one --resume        goes on, to the bit
    python -m training.train RECIPE --out runs/two --init CHECKPOINT.safetensors

Runs where there is torch, lightning, tensorboard, numpy, scipy, safetensors and opencv, and nothing
else. What differs between networks is in their stages (`training.matting`, `training.propagation`):

    stage.batches(first step) → batch → stage.loss(network, batch) → total, parts
    stage.validate(network) → figures with "score", lower is better;  stage.pictures(network)

--out gets ``state.pt`` (all that a resume needs), ``last.safetensors`` and ``best.safetensors``
(averaged weights, float16, with their record), ``log.jsonl`` and TensorBoard's files. SIGTERM, and
the end of --time-budget, save and stop after the step under way; a loss that is not finite stops
the run and saves the batch it came from.
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
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from model.checkpoint import CheckpointRecord, load_tensors, read_record, save_checkpoint
from model.errors import CapacityError, EngineError, InputError, SetupError
from training.material import material_files

LICENCE = (
    "weights: Apache-2.0, trained on procedural clips and on material under CC0, CC-BY, MIT, "
    "Apache-2.0, BSD-3-Clause and public-domain terms or released for unrestricted use, each file "
    "named in training.material"
)
STAGES = {
    "matting": "training.matting:MattingStage",
    "propagation": "training.propagation:PropagationStage",
}
NETWORKS = {
    "st_fam_s": "model.networks.st_fam_s:StFamS",
    "trimap_memory_s": "model.networks.trimap_memory_s:TrimapMemoryS",
}
EXIT_CODES = ((InputError, 10), (SetupError, 20), (CapacityError, 75))
STOPPED = 143  # exit code after SIGTERM
NOT_FINITE = 70


class NotFinite(Exception):
    """A loss was not finite; the batch is saved at ``path``."""

    def __init__(self, step: int, path: Path):
        super().__init__(f"the loss of step {step} is not finite; its batch is in {path}")
        self.path = path


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
    judged last."""

    step: int = 0
    best: float = math.inf
    judged: int = -1


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return run(options)
    except EngineError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)  # noqa: T201
        return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), 70)
    except NotFinite as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return NOT_FINITE


def run(options: argparse.Namespace) -> int:
    """Train until the recipe's steps, the time budget or SIGTERM end it."""
    begin = time.monotonic()
    recipe = read_recipe(options.recipe, options.set)
    torch.set_num_threads(options.threads)
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=int(options.devices) if options.devices.isdigit() else options.devices,
        precision=recipe.get("precision", "32-true"),
    )
    fabric.launch()
    options.out.mkdir(parents=True, exist_ok=True)
    stop = _Stop()
    torch.manual_seed(int(recipe.get("seed", 0)))
    torch.backends.cudnn.benchmark = True  # all batches are of one size
    torch.set_float32_matmul_precision("high")
    network = _named(NETWORKS, recipe["network"], "network")(**recipe.get("network_config", {}))
    if options.init is not None:
        _initialise(network, options.init, recipe["network"])
    network = network.to(fabric.device, memory_format=torch.channels_last)
    # Each process of a DDP run sees clips of its own.
    own = {**recipe, "seed": int(recipe.get("seed", 0)) + 7919 * fabric.global_rank}
    stage = _named(STAGES, recipe["stage"], "stage")(own, options.material, fabric.device)
    average = copy.deepcopy(network).requires_grad_(False)
    optimiser = torch.optim.AdamW(
        network.parameters(),
        lr=float(recipe["learning_rate"]),
        betas=(0.9, 0.99),
        weight_decay=float(recipe.get("weight_decay", 0.0)),
    )
    taught, optimiser = fabric.setup(Taught(network, stage), optimiser)
    progress = Progress()
    if options.resume:
        progress = _load(options.out / "state.pt", recipe, network, average, optimiser)
    log = _Log(options.out, fabric.is_global_zero)
    steps = int(recipe["steps"])
    log.line(f"{recipe['network']}: {_count(network):.2f} M parameters, step {progress.step}")
    saved = seen = time.monotonic()
    batches = stage.batches(progress.step)
    try:
        while progress.step < steps and not stop.asked:
            if time.monotonic() - begin > options.time_budget:
                log.line(f"time budget spent at step {progress.step}")
                break
            rate = learning_rate(recipe, progress.step)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch = next(batches)
            total, parts = taught(batch)
            fabric.backward(total)
            _check_finite(total, batch, progress.step, options.out)
            norm = fabric.clip_gradients(
                taught, optimiser, max_norm=float(recipe["clip_norm"]), error_if_nonfinite=False
            )
            optimiser.step()
            optimiser.zero_grad()
            progress.step += 1
            _follow(average, network, _decay(float(recipe["ema"]), progress.step))
            if progress.step % options.log_every == 0:
                speed = options.log_every / (time.monotonic() - seen)
                seen = time.monotonic()
                log.scalars(
                    progress.step,
                    {"loss": total.detach(), "norm": norm, "rate": rate, "steps/s": speed, **parts},
                )
            if progress.step % options.judge_every == 0:
                _judge(stage, average, recipe, progress, log, options)
                seen = time.monotonic()
            if time.monotonic() - saved > options.save_every:
                _save(options.out, recipe, network, average, optimiser, progress, fabric)
                saved = time.monotonic()
    finally:
        stop.restore()
    if progress.judged != progress.step:
        _judge(stage, average, recipe, progress, log, options)
    _save(options.out, recipe, network, average, optimiser, progress, fabric)
    log.line(f"stopped at step {progress.step}")
    return STOPPED if stop.asked else 0


def read_recipe(path: Path, changes: Sequence[str] = ()) -> dict[str, Any]:
    """A recipe with changes from the command line, each ``key=value`` or ``table.key=value``.

    Raises:
        SetupError: ``setup.no_recipe`` or ``setup.bad_recipe``.
    """
    try:
        recipe = tomllib.loads(path.read_text(encoding="utf-8"))
        for change in changes:
            name, _, value = change.partition("=")
            *tables, key = name.split(".")
            place = recipe
            for table in tables:
                place = place.setdefault(table, {})
            place[key] = tomllib.loads(f"value = {value}")["value"]
    except OSError as error:
        raise SetupError(
            "setup.no_recipe", f"the recipe {path} cannot be read ({error.strerror})",
            hint="recipes are in training/recipes",
        ) from error  # fmt: skip
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise SetupError(
            "setup.bad_recipe", f"the recipe {path} with {list(changes)} is not TOML: {error}",
            hint="write --set table.key=value; texts in quotation marks",
        ) from error  # fmt: skip
    missing = {"network", "stage", "batch", "steps", "learning_rate", "clip_norm", "ema"} - set(
        recipe
    )
    if missing:
        raise SetupError(
            "setup.bad_recipe",
            f"the recipe {path} lacks {', '.join(sorted(missing))}",
            hint="compare it with training/recipes/st_fam_s.toml",
        )
    return recipe


def learning_rate(recipe: Mapping[str, Any], step: int) -> float:
    """Linear warm-up, then half a cosine down to ``last_share`` of the rate."""
    most, warm = float(recipe["learning_rate"]), int(recipe.get("warm_up", 0))
    if step < warm:
        return most * (step + 1) / warm
    done = (step - warm) / max(1, int(recipe["steps"]) - warm)
    least = float(recipe.get("last_share", 0.02))
    return most * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """sha256 of the recipe as canonical JSON."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def write_checkpoint(
    path: Path,
    network: nn.Module,
    recipe: Mapping[str, Any],
    step: int,
    metrics: Mapping[str, float],
    material: Path | None = None,
    init: Path | None = None,
) -> None:
    """Weights as float16 with the record of how they came to be.

    Args:
        material: folder of what was taught with; the record names each file.
        init: the checkpoint that training began with; its own record becomes part of this one.
    """
    taught = {
        part: [str(path.relative_to(material)) for path in files] if material else []
        for part, files in material_files(material, "train").items()
    }
    record = CheckpointRecord(
        network=str(recipe["network"]),
        config=dict(network.config),  # type: ignore[arg-type]
        licence=LICENCE,
        training={
            "recipe": dict(recipe),
            "recipe_sha256": recipe_hash(recipe),
            "steps": step,
            "material": taught,
            "init": None if init is None else dict(read_record(init).training),
            "held_out": dict(metrics),
            "torch": torch.__version__,
        },
    )
    tensors = {
        name: tensor.detach().to("cpu", torch.float16, memory_format=torch.contiguous_format)
        for name, tensor in network.state_dict().items()
    }
    save_checkpoint(path, tensors, record)


def _judge(
    stage: Any,
    average: nn.Module,
    recipe: Mapping[str, Any],
    progress: Progress,
    log: _Log,
    options: argparse.Namespace,
) -> None:
    """Judge the averaged weights on what was held out, and keep them if they are the best yet."""
    progress.judged = progress.step
    if not log.active:
        return
    average.eval()
    figures = stage.validate(average)
    log.scalars(progress.step, {f"held out/{k}": v for k, v in figures.items()})
    log.pictures(progress.step, stage.pictures(average))
    arguments = average, recipe, progress.step, figures, options.material, options.init
    write_checkpoint(options.out / "last.safetensors", *arguments)
    if figures["score"] < progress.best:
        progress.best = figures["score"]
        write_checkpoint(options.out / "best.safetensors", *arguments)


def _check_finite(total: Tensor, batch: Any, step: int, out: Path) -> None:
    if not bool(torch.isfinite(total)):
        path = out / f"not-finite-{step}.pt"
        torch.save({"step": step, "batch": batch}, path)
        raise NotFinite(step, path)


def _decay(decay: float, step: int) -> float:
    """Less memory at the beginning, when weights are far from any good."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    mine: list[Tensor] = list(average.parameters())
    theirs = [p.detach() for p in network.parameters()]
    torch._foreach_lerp_(mine, theirs, 1 - decay)


def _save(
    out: Path,
    recipe: Mapping[str, Any],
    network: nn.Module,
    average: nn.Module,
    optimiser: Any,
    progress: Progress,
    fabric: Fabric,
) -> None:
    if not fabric.is_global_zero:
        return
    part = out / ".state.pt.tmp"
    torch.save(
        {
            "recipe": recipe_hash(recipe),
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": progress.step,
            "best": progress.best,
        },
        part,
    )
    part.replace(out / "state.pt")


def _load(
    path: Path, recipe: Mapping[str, Any], network: nn.Module, average: nn.Module, optimiser: Any
) -> Progress:
    """Put a saved run back.

    Raises:
        SetupError: ``setup.no_run`` if there is none, ``setup.other_run`` if it had another recipe.
    """
    if not path.is_file():
        raise SetupError(
            "setup.no_run", f"there is no run to resume at {path}", hint="leave --resume out"
        )
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["recipe"] != recipe_hash(recipe):
        raise SetupError(
            "setup.other_run",
            f"the run at {path} was made with another recipe",
            hint="resume it with its own recipe, or start anew with --init and another --out",
        )
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return Progress(state["step"], state["best"])


def _initialise(network: nn.Module, path: Path, name: str) -> None:
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
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise SetupError(
            "setup.other_checkpoint",
            f"the weights in {path} do not fit the recipe's network_config ({error})",
            hint=f"the checkpoint's own is {dict(record.config)}",
        ) from error


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
        self.asked = False
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}

    def _ask(self, *_: object) -> None:
        self.asked = True

    def restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class _Log:
    """Standard output, ``log.jsonl`` and TensorBoard."""

    def __init__(self, out: Path, active: bool):
        self.active = active
        self._out = out
        self._board: Any = None
        if active:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"))

    def line(self, text: str) -> None:
        if self.active:
            print(text, flush=True)  # noqa: T201

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        if not self.active:
            return
        plain = {name: float(value) for name, value in values.items() if value is not None}
        for name, value in plain.items():
            self._board.add_scalar(name, value, step)
        with (self._out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **plain}) + "\n")
        self.line(f"{step}: " + "  ".join(f"{k} {v:.4g}" for k, v in plain.items()))

    def pictures(self, step: int, pictures: Mapping[str, Any]) -> None:
        for name, picture in pictures.items():
            self._board.add_image(name, picture, step, dataformats="HWC")
        self._board.flush()


def _seconds(text: str) -> float:
    """``90``, ``90s``, ``9m`` or ``2h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 9m or 2h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.train", description="Train a network by a recipe."
    )
    parser.add_argument("recipe", type=Path, help="a file of training/recipes")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--material", type=Path, help="folder with real material; see README")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--init", type=Path, help="checkpoint to start from")
    parser.add_argument("--time-budget", type=_seconds, default=math.inf, metavar="9m")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--devices", default="1", help="how many; more than one is DDP")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the processor")
    parser.add_argument("--log-every", type=int, default=50, metavar="STEPS")
    parser.add_argument("--judge-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--save-every", type=_seconds, default=300, metavar="5m")
    return parser


if __name__ == "__main__":
    sys.exit(main())
