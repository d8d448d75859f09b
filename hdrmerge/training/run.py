"""What every training shares: a network and its average, checkpoints, logs, going on."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from hdrmerge.errors import InputError, UsageError
from hdrmerge.io.atomic import atomic_path, write_bytes
from hdrmerge.models.checkpoint import checkpoint_bytes
from hdrmerge.training.muon import Muon

OptimizerName = Literal["adamw", "muon"]
OPTIMIZERS: dict[OptimizerName, type[torch.optim.AdamW] | type[Muon]]
OPTIMIZERS = {"adamw": torch.optim.AdamW, "muon": Muon}
STATE, CURVES, SCORES = "state.pt", "curves.csv", "validation.jsonl"
Tell = Callable[[int, dict[str, float]], None]


class Schedule(Protocol):
    """What a configuration says of any run; see ``training.config.TrainConfig``."""

    @property
    def steps(self) -> int: ...
    @property
    def save_minutes(self) -> float: ...
    @property
    def validate_every(self) -> int: ...


@dataclass(slots=True)
class Trainee:
    """A network in training, the running average of its weights, and how far it is."""

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0

    @classmethod
    def fresh(
        cls,
        make: Callable[[], nn.Module],
        seed: int,
        device: str,
        rate: float,
        decay: float,
        optimizer: OptimizerName = "adamw",
    ) -> Trainee:
        """At step 0, its weights drawn from ``seed``; ``decay`` is the optimiser's weight decay."""
        torch.manual_seed(seed)
        model, average = (_placed(make(), device) for _ in range(2))
        average.load_state_dict(model.state_dict())
        chosen = OPTIMIZERS[optimizer](model.parameters(), lr=rate, weight_decay=decay)
        return cls(model, average, chosen)

    def start_from(self, state: Path) -> None:
        """Take the averaged weights of another run's ``state.pt``."""
        device = next(self.model.parameters()).device
        weights = torch.load(state, map_location=device, weights_only=True)["average"]
        self.model.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def learn(self, loss: Tensor, *, rate: float, clip: float, ema: float) -> float:
        """One step of the optimiser, skipped where it is not finite; the gradient's norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        keep = min(ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for mean, new in pairs:
                mean.lerp_(new, 1.0 - keep)
        return float(norm)

    def save(self, path: Path) -> None:
        """Write everything that ``load`` needs, atomically."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_path(path) as temporary:
            torch.save(state, temporary)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises InputError when it is not of such a network."""
        try:
            device = next(self.model.parameters()).device
            state = torch.load(path, map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} is not a checkpoint of this configuration.", "Start anew in another --out."
            ) from error

    def export(self, path: Path, model: str, config: Any, seed: int, **about: str) -> None:
        """Write the averaged weights at half precision as a file for ``--weights``."""
        tensors = {name: t.half() for name, t in self.average.state_dict().items()}
        told = {"seed": str(seed), "steps": str(self.step), **about}
        write_bytes(path, checkpoint_bytes(model, config, tensors, told))


def check_optimizer(name: str, path: Path) -> None:
    """Raise UsageError where a configuration, read from ``path``, names an unknown optimiser."""
    if name not in OPTIMIZERS:
        raise UsageError(
            f"{path.name}: optimizer must be one of {', '.join(OPTIMIZERS)}, not {name!r}."
        )


def open_run(out: Path, trainee: Trainee, config: dict[str, Any], *, resume: bool) -> None:
    """Make ``out``, or load what it holds; raises UsageError unless ``resume`` is asked for."""
    out.mkdir(parents=True, exist_ok=True)
    state = out / STATE
    if state.exists() and not resume:
        raise UsageError(f"{out} already holds a run.", "Add --resume, or choose another --out.")
    if state.exists():
        trainee.load(state)
    (out / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def follow(
    trainee: Trainee,
    schedule: Schedule,
    out: Path,
    parts: Iterable[dict[str, float]],
    columns: Sequence[str],
    *,
    validate: Callable[[], dict[str, float]],
    tell: Tell | None = None,
    scored: Tell | None = None,
) -> None:
    """Take one step after the other from ``parts`` (each advances ``trainee`` by one and gives the
    loss's parts) to the schedule's end: curves (CSV), scores (JSON lines) and checkpoints."""
    saved = time.monotonic()
    rows = _kept_rows(out / CURVES, trainee.step)
    with (out / CURVES).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerows([("step", *columns), *rows])
        for part in parts:
            writer.writerow([trainee.step, *(f"{part[name]:.6g}" for name in columns)])
            if tell is not None:
                tell(trainee.step, part)
            last = trainee.step >= schedule.steps
            if last or time.monotonic() - saved > 60 * schedule.save_minutes:
                handle.flush()
                trainee.save(out / STATE)
                saved = time.monotonic()
            if last or trainee.step % schedule.validate_every == 0:
                table = validate()
                if table:
                    note(out, trainee.step, table, scored)


def note(out: Path, step: int, table: dict[str, float], scored: Tell | None) -> None:
    """Log a validation."""
    with (out / SCORES).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"step": step, **table}) + "\n")
    if scored is not None:
        scored(step, table)


def _kept_rows(path: Path, step: int) -> list[list[str]]:
    """What an earlier part of the run logged; what is beyond ``step`` will be written again."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    return [row for row in rows if row and int(row[0]) <= step]


def _placed(network: nn.Module, device: str) -> nn.Module:
    # mypy: torch's stubs know no memory_format alone
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
