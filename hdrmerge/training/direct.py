"""Trains a published three-frame network; a run can be interrupted and resumed.

Everything random is drawn from (seed, step), so that a resumed run repeats an uninterrupted one
bit for bit on a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrmerge.models.bracket import mu_law
from hdrmerge.models.checkpoint import load_checkpoint
from hdrmerge.models.registry import build, find_model
from hdrmerge.training.direct_config import DirectConfig
from hdrmerge.training.folders import Folders, cut_patch
from hdrmerge.training.losses import motion_emphasised
from hdrmerge.training.pool import VALIDATION_SEED, Examples, cut, example, fill, source_of
from hdrmerge.training.render import render_patch
from hdrmerge.training.run import Tell, Trainee, follow, open_run

COLUMNS = ("loss", "norm", "rate")
FLOOR = 0.01  # of the rate, at the end of the cosine


def weights_name(config: DirectConfig) -> str:
    """The file of weights that a run leaves behind."""
    return f"{config.network}.safetensors"


def rate_at(step: int, config: DirectConfig) -> float:
    """Learning rate of a step: it rises, then falls along a cosine or a line, or stays."""
    rise = min(1.0, (step + 1) / max(1, config.warmup))
    if config.schedule == "constant":
        return config.rate * rise
    if config.schedule == "linear":
        return config.rate * rise * (1.0 - step / max(1, config.steps))
    fall = 0.5 * (1.0 + math.cos(math.pi * step / max(1, config.steps)))
    return config.rate * rise * (FLOOR + (1.0 - FLOOR) * fall)


def fresh(config: DirectConfig) -> Trainee:
    """A run at step 0: weights drawn from the seed, those of ``config.start`` where they fit."""
    trainee = Trainee.fresh(
        lambda: build(config.network, config.model),
        config.seed,
        config.device,
        config.rate,
        config.weight_decay,
        config.optimizer,
    )
    if config.start is not None:
        given = load_checkpoint(Path(config.start)).tensors
        own = trainee.model.state_dict()
        fitting = {n: t for n, t in given.items() if n in own and own[n].shape == t.shape}
        trainee.model.load_state_dict(fitting, strict=False)
        trainee.average.load_state_dict(trainee.model.state_dict())
    return trainee


def advance(
    trainee: Trainee, forward: Callable[[Tensor], Tensor], config: DirectConfig, batch: Examples
) -> dict[str, float]:
    """One step; ``forward`` is the trainee's model, compiled where that was asked for."""
    batch = Examples(*(tensor.to(config.device) for tensor in batch))
    kind = torch.device(config.device).type
    with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
        output = forward(batch.encoded())
    loss = motion_emphasised(
        output.float(),
        batch.target,
        batch.moving,
        batch.clipped(),
        motion=config.loss.motion,
        saturated=config.loss.clipped,
    )
    rate = rate_at(trainee.step, config)
    norm = trainee.learn(loss, rate=rate, clip=config.clip, ema=config.ema)
    return {"loss": loss.item(), "norm": norm, "rate": rate}


def train_direct(
    config: DirectConfig,
    out: Path,
    *,
    resume: bool = False,
    pool: Examples | None = None,
    tell: Tell | None = None,
    scored: Tell | None = None,
) -> Trainee:
    """Run a training, or go on with the one in ``out``.

    ``pool``: brackets rendered already, for runs that share them. ``tell`` hears of every step,
    ``scored`` of every validation. Writes into ``out``: the state, the curves (CSV), the scores
    (JSON lines), and at the end the weights. Raises UsageError when ``out`` holds a run and
    ``resume`` is not asked for.
    """
    trainee = fresh(config)
    open_run(out, trainee, asdict(config), resume=resume)
    forward: Any = torch.compile(trainee.model) if config.compile else trainee.model
    held_out = validation_examples(config)

    def steps() -> Iterator[dict[str, float]]:
        for step, brackets in _rounds(config, pool, trainee.step):
            yield advance(trainee, forward, config, cut(brackets, config, step))

    follow(
        trainee,
        config,
        out,
        steps(),
        COLUMNS,
        validate=lambda: validate(trainee.average, held_out),
        tell=tell,
        scored=scored,
    )
    export(trainee, config, out / weights_name(config))
    return trainee


def export(trainee: Trainee, config: DirectConfig, path: Path) -> None:
    """Write the averaged weights; their header says the spacing they know."""
    stops = ",".join(f"{stop:g}" for stop in config.stops)
    model = find_model(config.network).name
    trainee.export(path, model, trainee.average.config, config.seed, stops=stops)


def _rounds(
    config: DirectConfig, pool: Examples | None, first: int
) -> Iterator[tuple[int, Examples]]:
    """The steps from ``first`` to the end, each with the brackets that it is cut from: ``pool``,
    or those rendered for its round."""
    source = None if pool is not None and not config.renew else source_of(config, "train")
    round_ = -1
    for step in range(first, config.steps):
        due = step // config.renew if config.renew else 0
        if due != round_ and source is not None:
            pool = None  # both at once may be more than there is memory for
            pool = fill(source, config, due)
        round_ = due
        assert pool is not None
        yield step, pool


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
