"""The recipe of the refiner: patches rendered ahead, the noise in them, the loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hdrmerge.fusion.refine_inputs import noise_in
from hdrmerge.models.refiner import BANDS, Refiner, RefinerConfig
from hdrmerge.training.config import check_paths, make_section, read_toml
from hdrmerge.training.data import Scenes, load_scenes
from hdrmerge.training.noise_patches import NoiseConfig, render_noise_patch
from hdrmerge.training.run import OptimizerName, Tell, Trainee, check_optimizer, follow, open_run

WEIGHTS = "refiner.safetensors"
COLUMNS = ("loss", "norm")
FEWEST = 0.06  # share of a patch that must have something to refine
VALIDATION_SEED = 777
DARK = 50.0  # how steeply mu-law must rise by a standard deviation to count wholly


@dataclass(frozen=True, slots=True)
class RefineConfig:
    """A run: ``pool`` patches are rendered ahead and kept; ``steps`` of ``batch`` of them, turned
    and mirrored. The learning ``rate`` warms up over ``warmup`` steps, stays, and falls linearly
    over the last ``decay`` of the run. ``optimizer``: ``adamw`` or ``muon`` (``muon.Muon``). The
    rest as in ``TrainConfig``."""

    network: str
    scenes: str
    responses: str | None = None
    pool: int = 3000
    steps: int = 10000
    batch: int = 8
    optimizer: OptimizerName = "muon"
    rate: float = 6e-3
    warmup: int = 50
    decay: float = 0.4
    weight_decay: float = 1e-4
    ema: float = 0.998
    clip: float = 1.0
    seed: int = 1
    precision: str = "bf16"
    device: str = "cpu"
    validate_every: int = 500
    validation_patches: int = 128
    save_minutes: float = 2.0
    data: NoiseConfig = field(default_factory=NoiseConfig)
    model: RefinerConfig = field(default_factory=RefinerConfig)


_SECTIONS: dict[str, type] = {"data": NoiseConfig, "model": RefinerConfig}


def read_refine_config(path: Path) -> RefineConfig:
    """A run's configuration from TOML; raises InputError and UsageError as ``read_config``."""
    values = read_toml(path)
    for name, kind in _SECTIONS.items():
        if name in values:
            values[name] = make_section(kind, values[name], f"[{name}] of {path.name}")
    config: RefineConfig = make_section(RefineConfig, values, path.name)
    check_paths(config, ("scenes", "responses"), path)
    check_optimizer(config.optimizer, path)
    return config


def render_pool(scenes: Scenes, config: NoiseConfig, seed: int, count: int) -> list[Tensor]:
    """``count`` patches that have something to refine, stacked, at half precision: inputs, noise,
    amount, slope (``NoisePatch``)."""
    kept: list[list[Any]] = []
    index = 0
    while len(kept) < count:
        patch = render_noise_patch(scenes, config, seed, index)
        index += 1
        if patch.amount.mean() >= FEWEST:
            whole = patch._replace(amount=patch.amount[None])
            kept.append([part.astype(np.float16) for part in whole])
    return [torch.from_numpy(np.stack(parts)) for parts in zip(*kept, strict=True)]


def refine_loss(found: Tensor, noise: Tensor, amount: Tensor, slope: Tensor) -> Tensor:
    """Smooth L1 in standard deviations plus squares in mu-law, where something is refined."""
    error = found - noise
    weight = 0.98 * amount + 0.02
    steep = weight * (DARK * slope).square().clamp(max=4.0)
    smooth = (weight * ((error.square() + 0.01).sqrt() - 0.1)).sum()
    return (smooth + (steep * error.square()).sum()) / (3.0 * weight.sum())


def noise_found(network: torch.nn.Module, x: Tensor) -> Tensor:
    """The noise (B, 3, H, W) that a network finds in its inputs."""
    found = network(x.contiguous(memory_format=torch.channels_last)).float()
    noise: Tensor = noise_in(2.0 * torch.sinh(x[:, :BANDS]), found)
    return noise


def gains(network: torch.nn.Module, pool: list[Tensor]) -> dict[str, float]:
    """dB of noise power taken away where something is refined: in standard deviations, and in
    mu-law."""
    taken = torch.zeros(2)
    there = torch.zeros(2)
    with torch.inference_mode():
        for parts in zip(*(torch.split(part, 16) for part in pool), strict=True):
            x, noise, amount, slope = (part.float() for part in parts)
            error = noise_found(network, x) - noise
            for i, scale in enumerate((torch.ones_like(slope), slope)):
                taken[i] += (amount * (scale * error).square()).sum()
                there[i] += (amount * (scale * noise).square()).sum()
    names = ("gain in noise", "gain in mu-law")
    return {
        name: round(10 * math.log10(float(b) / float(a)), 3)
        for name, a, b in zip(names, taken, there, strict=True)
    }


def train_refiner(
    config: RefineConfig,
    out: Path,
    *,
    resume: bool = False,
    tell: Tell | None = None,
    scored: Tell | None = None,
) -> Trainee:
    """Run a training, or go on with the one in ``out``; leaves ``WEIGHTS`` there.

    Raises UsageError when ``out`` holds a run and ``resume`` is not asked for.
    """
    trainee = Trainee.fresh(
        lambda: Refiner(config.model),
        config.seed,
        config.device,
        config.rate,
        config.weight_decay,
        config.optimizer,
    )
    open_run(out, trainee, asdict(config), resume=resume)
    responses = None if config.responses is None else Path(config.responses)
    folder = Path(config.scenes)
    held_out = render_pool(
        load_scenes(folder, "val", responses), config.data, VALIDATION_SEED,
        config.validation_patches,
    )  # fmt: skip
    pool = render_pool(
        load_scenes(folder, "train", responses), config.data, config.seed, config.pool
    )

    def steps() -> Iterator[dict[str, float]]:
        while trainee.step < config.steps:
            yield _advance(trainee, config, _batch(pool, config, trainee.step))

    def validate() -> dict[str, float]:
        table = gains(trainee.average.to("cpu"), held_out)
        trainee.average.to(config.device)
        return table

    follow(trainee, config, out, steps(), COLUMNS, validate=validate, tell=tell, scored=scored)
    trainee.export(out / WEIGHTS, "refiner", config.model, config.seed)
    return trainee


def _batch(pool: list[Tensor], config: RefineConfig, step: int) -> list[Tensor]:
    """Batch ``step``, drawn from (seed, step) alone."""
    rng = np.random.default_rng((config.seed, step))
    chosen = torch.from_numpy(rng.choice(len(pool[0]), config.batch, replace=False))
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
    batch = [torch.rot90(part[chosen].float(), quarter, (2, 3)) for part in pool]
    return [part.flip(3) if mirror else part for part in batch]


def _advance(trainee: Trainee, config: RefineConfig, batch: list[Tensor]) -> dict[str, float]:
    x, noise, amount, slope = (part.to(config.device) for part in batch)
    fall = (config.steps - trainee.step) / max(1.0, config.decay * config.steps)
    rate = config.rate * min(1.0, (trainee.step + 1) / max(1, config.warmup), fall)
    kind = torch.device(config.device).type
    with torch.autocast(kind, torch.bfloat16, enabled=config.precision == "bf16"):
        found = noise_found(trainee.model, x)
    loss = refine_loss(found, noise, amount, slope)
    norm = trainee.learn(loss, rate=rate, clip=config.clip, ema=config.ema)
    return {"loss": loss.item(), "norm": norm}
