"""Trains a published three-frame network; a run can be interrupted and resumed.

Everything random is drawn from (seed, step), so that a resumed run repeats an uninterrupted one
bit for bit on a CPU.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrmerge.errors import InputError, UsageError
from hdrmerge.io.atomic import atomic_path, write_bytes
from hdrmerge.models.bracket import mu_law
from hdrmerge.models.checkpoint import checkpoint_bytes, load_checkpoint
from hdrmerge.models.registry import build, find_model
from hdrmerge.training.direct_config import DirectConfig
from hdrmerge.training.folders import Folders, cut_patch
from hdrmerge.training.losses import motion_emphasised
from hdrmerge.training.pool import VALIDATION_SEED, Examples, cut, example, fill, source_of
from hdrmerge.training.render import render_patch

STATE, CURVES, SCORES = "state.pt", "curves.csv", "validation.jsonl"
COLUMNS = ("step", "loss", "norm", "rate")
FLOOR = 0.01  # of the rate, at the end of the cosine


def weights_name(config: DirectConfig) -> str:
    """The file of weights that a run leaves behind."""
    return f"{config.network}.safetensors"


def rate_at(step: int, config: DirectConfig) -> float:
    """Learning rate of a step: it rises, then falls along a cosine, or stays."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    if config.schedule == "constant":
        return config.rate * rise
    fall = 0.5 * (1.0 + math.cos(math.pi * step / max(1, config.steps)))
    return config.rate * rise * (FLOOR + (1.0 - FLOOR) * fall)


@dataclass(slots=True)
class Run:
    """A run in progress; ``forward`` is ``model``, compiled where that was asked for."""

    config: DirectConfig
    model: nn.Module
    average: nn.Module
    forward: Callable[[Tensor], Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0

    @classmethod
    def fresh(cls, config: DirectConfig) -> Run:
        """A run at step 0, its weights drawn from the seed."""
        torch.manual_seed(config.seed)
        model, average = (_placed(build(config.network, config.model), config) for _ in range(2))
        if config.start is not None:
            given = load_checkpoint(Path(config.start)).tensors
            own = model.state_dict()
            fitting = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
            model.load_state_dict(fitting, strict=False)
        average.load_state_dict(model.state_dict())
        forward: Any = torch.compile(model) if config.compile else model
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.rate, weight_decay=config.weight_decay
        )
        return cls(config, model, average, forward, optimizer)

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
            state = torch.load(path, map_location=self.config.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = int(state["step"])
        except (RuntimeError, KeyError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} is not a checkpoint of this configuration.", "Start anew in another --out."
            ) from error

    def advance(self, batch: Examples) -> dict[str, float]:
        """One step of the optimiser, skipped where it is not finite."""
        config = self.config
        batch = Examples(*(tensor.to(config.device) for tensor in batch))
        rate = rate_at(self.step, config)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        kind = torch.device(config.device).type
        with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
            output = self.forward(batch.encoded())
        loss = motion_emphasised(
            output.float(),
            batch.target,
            batch.moving,
            batch.clipped(),
            motion=config.loss.motion,
            saturated=config.loss.clipped,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        keep = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            pairs = zip(self.average.parameters(), self.model.parameters(), strict=True)
            for mean, new in pairs:
                mean.lerp_(new, 1.0 - keep)
        return {"loss": loss.item(), "norm": float(norm), "rate": rate}

    def export(self, path: Path) -> None:
        """Write the averaged weights at half precision as a file for ``--weights``."""
        tensors = {name: t.half() for name, t in self.average.state_dict().items()}
        about = {
            "seed": str(self.config.seed),
            "steps": str(self.step),
            "stops": ",".join(f"{stop:g}" for stop in self.config.stops),
        }
        model = find_model(self.config.network).name
        write_bytes(path, checkpoint_bytes(model, self.average.config, tensors, about))


def train_direct(
    config: DirectConfig,
    out: Path,
    *,
    resume: bool = False,
    pool: Examples | None = None,
    tell: Callable[[int, dict[str, float]], None] | None = None,
    scored: Callable[[int, dict[str, float]], None] | None = None,
) -> Run:
    """Run a training, or go on with the one in ``out``.

    ``pool``: brackets rendered already, for runs that share them. ``tell`` hears of every step,
    ``scored`` of every validation. Writes into ``out``: the state, the curves (CSV), the scores
    (JSON lines), and at the end the weights. Raises UsageError when ``out`` holds a run and
    ``resume`` is not asked for.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = out / STATE
    if state.exists() and not resume:
        raise UsageError(f"{out} already holds a run.", "Add --resume, or choose another --out.")
    run = Run.fresh(config)
    if state.exists():
        run.load(state)
    (out / "config.json").write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")
    held_out = validation_examples(config)
    source = None if pool is not None and not config.renew else source_of(config, "train")
    round_ = -1
    saved = time.monotonic()
    rows = _kept_rows(out / CURVES, run.step)
    with (out / CURVES).open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerows([COLUMNS, *rows])
        while run.step < config.steps:
            due = run.step // config.renew if config.renew else 0
            if due != round_ and source is not None:
                pool = None  # both at once may be more than there is memory for
                pool = fill(source, config, due)
            round_ = due
            assert pool is not None
            parts = run.advance(cut(pool, config, run.step))
            writer.writerow([run.step, *(f"{parts[name]:.6g}" for name in COLUMNS[1:])])
            if tell is not None:
                tell(run.step, parts)
            last = run.step == config.steps
            if last or time.monotonic() - saved > 60 * config.save_minutes:
                handle.flush()
                run.save(state)
                saved = time.monotonic()
            if held_out and (last or run.step % config.validate_every == 0):
                table = validate(run.average, held_out)
                with (out / SCORES).open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"step": run.step, **table}) + "\n")
                if scored is not None:
                    scored(run.step, table)
    run.export(out / weights_name(config))
    return run


def validation_examples(config: DirectConfig) -> list[Examples]:
    """The same few brackets of held-out scenes for every run, as batches of one."""
    if not config.validation_patches:
        return []
    source = source_of(config, "val")
    chosen = []
    for i in range(config.validation_patches):
        if isinstance(source, Folders):
            patch = cut_patch(source, config.data.patch, VALIDATION_SEED, i)
        else:
            patch = render_patch(source, config.data, VALIDATION_SEED, i, stops=config.stops)
        one = example(patch)
        linear, exposures, target, moving = (tensor[None] for tensor in one)
        chosen.append(Examples(linear.float(), exposures, target.float(), moving))
    return chosen


@torch.no_grad()
def validate(network: nn.Module, batches: list[Examples]) -> dict[str, float]:
    """PSNR-mu in dB over all pixels of the batches: whole, motion, clipped, static."""
    device = next(network.parameters()).device
    sums: dict[str, list[float]] = {}
    for batch in batches:
        output = network(batch.encoded().to(device)).float().cpu()
        error = (mu_law(output) - mu_law(batch.target)).square().mean(dim=1, keepdim=True)
        masks = {
            "whole": torch.ones_like(batch.moving),
            "motion": batch.moving,
            "clipped": batch.clipped(),
            "static": ~batch.moving,
        }
        for name, mask in masks.items():
            total = sums.setdefault(name, [0.0, 0.0])
            total[0] += float((error * mask).sum())
            total[1] += float(mask.sum())
    return {
        name: round(-10 * math.log10(max(error / count, 1e-12)), 3)
        for name, (error, count) in sums.items()
        if count
    }


def _kept_rows(path: Path, step: int) -> list[list[str]]:
    """What an earlier part of the run logged; what is beyond ``step`` will be written again."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.reader(handle))[1:]
    return [row for row in rows if row and int(row[0]) <= step]


def _placed(network: nn.Module, config: DirectConfig) -> nn.Module:
    # mypy: torch's stubs know no memory_format alone
    return network.to(config.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
