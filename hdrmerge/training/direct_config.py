"""The configuration of a training of a published three-frame network, read from TOML."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from hdrmerge.errors import InputError, UsageError
from hdrmerge.models.registry import is_direct, make_config
from hdrmerge.training.config import DataConfig, check_paths, make_section, read_toml
from hdrmerge.training.run import OptimizerName, check_optimizer


@dataclass(frozen=True, slots=True)
class MotionLoss:
    """Weights of Deng et al. (ICPR 2020) beside the 1 of every pixel: ``motion`` (a) where
    something moved, ``clipped`` (b) where the reference is saturated; both 0: the plain mean
    absolute error."""

    motion: float = 0.0
    clipped: float = 0.0


@dataclass(frozen=True, slots=True)
class DirectConfig:
    """A run.

    ``network``: ``ahdrnet``, ``sk-ahdrnet``, a variant of theirs or ``kalantari``; ``model`` what
    of its configuration is not as published (``width``, ...). ``scenes``, ``layout`` and
    ``responses`` as in ``TrainConfig``; the brackets have frames at ``stops``. ``start``: a file of
    weights whose tensors are taken where name and shape are the same; the rest is drawn from the
    seed. ``pool`` brackets of
    ``data.patch`` pixels are rendered (by ``workers`` processes) from ``pool_seed`` and kept in
    memory; every ``renew`` steps they are rendered anew (0: never). ``steps`` of ``batch`` crops of
    ``crop`` pixels. The learning ``rate`` warms up over ``warmup`` steps and falls along a cosine
    to a hundredth, along a line to nothing, or stays (``schedule``). ``optimizer``: ``adamw`` or
    ``muon``, with ``weight_decay``; ``clip``: largest gradient norm; ``ema``: decay of the averaged
    weights, which are what is validated and exported. ``precision``: ``fp32`` or ``bf16``;
    ``compile``: by torch.compile. ``seeds``: those that an ablation trains; a run of its own takes
    ``seed``.
    """

    network: str
    scenes: str
    layout: Literal["scenes", "kalantari"] = "scenes"
    responses: str | None = None
    stops: tuple[float, ...] = (-2.0, 0.0, 2.0)
    start: str | None = None
    pool: int = 1000
    pool_seed: int = 1
    renew: int = 0
    steps: int = 5000
    batch: int = 4
    crop: int = 64
    rate: float = 2e-3
    warmup: int = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    optimizer: OptimizerName = "adamw"
    weight_decay: float = 1e-4
    ema: float = 0.998
    clip: float = 1.0
    seed: int = 1
    seeds: tuple[int, ...] = (1,)
    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False
    device: str = "cpu"
    workers: int = 0
    validate_every: int = 500
    validation_patches: int = 16
    save_minutes: float = 2.0
    data: DataConfig = field(default_factory=lambda: DataConfig(patch=160))
    loss: MotionLoss = field(default_factory=MotionLoss)
    model: dict[str, Any] = field(default_factory=dict)


_SECTIONS: dict[str, type] = {"data": DataConfig, "loss": MotionLoss}


def network_of(path: Path) -> str:
    """The network that a file trains: the deciding one where it names none."""
    return str(_read(path).get("network", "decider"))


def read_direct_config(path: Path) -> DirectConfig:
    """A run's configuration; folders in it are relative to the current folder.

    ``base`` names another file beside it whose values hold where this one says nothing. Raises
    InputError for a file that is no TOML or names what does not exist, UsageError for what it
    should not hold.
    """
    values = _read(path)
    for name, kind in _SECTIONS.items():
        if name in values:
            values[name] = make_section(kind, values[name], f"[{name}] of {path.name}")
    model = values.pop("model", {})
    config: DirectConfig = make_section(DirectConfig, values, path.name)
    if not is_direct(config.network):
        raise UsageError(
            f"{path.name}: {config.network} is not trained by such a file.",
            "The deciding network's recipe is configs/decider.toml.",
        )
    make_config(config.network, model)
    check_paths(config, ("scenes", "responses", "start"), path)
    check_optimizer(config.optimizer, path)
    if config.crop > config.data.patch:
        raise UsageError(
            f"{path.name}: crops of {config.crop} do not fit patches of {config.data.patch}."
        )
    if len(config.stops) != 3 or sorted(config.stops) != list(config.stops) or config.stops[1] != 0:
        raise UsageError(f"{path.name}: stops must be three, rising, the middle one 0.")
    return replace(config, model=model)


def _read(path: Path) -> dict[str, Any]:
    values = read_toml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    inherited = path.parent / str(base)
    if not inherited.is_file() or inherited == path:
        raise InputError(f"{path.name}: base = {base!r} does not exist beside it.")
    merged = _read(inherited)
    for name, value in values.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = {**merged[name], **value} if both else value
    return merged
