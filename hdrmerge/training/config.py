"""A training run's configuration, read from TOML; unknown keys are errors, not silence."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdrmerge.errors import InputError, UsageError
from hdrmerge.models.decider import DeciderConfig


@dataclass(frozen=True, slots=True)
class DataConfig:
    """What is drawn for a patch.

    ``patch`` in pixels, a multiple of 16. ``counts`` of frames with ``count_weights``; ``gap`` and
    ``max_gap`` (brackets of two and three frames) in stops. ``static``: share of patches in which
    nothing moves; up to ``movers`` things move by up to ``speed`` pixels. ``full_well`` and
    ``read_noise`` in electrons, ``jpeg`` qualities, ``handheld`` share of patches that alignment
    has resampled, leaving ``misalignment`` pixels; ``exposure_error`` in stops and
    ``response_error`` (of the exponent) are standard deviations. ``scale`` of the scenes.
    ``lost``: least share of a patch that the reference clips and no shorter frame shows; patches
    are drawn again, a few times, until they have it.
    """

    patch: int = 192
    counts: tuple[int, ...] = (2, 3, 4, 5, 6, 7)
    count_weights: tuple[float, ...] = (0.2, 0.4, 0.08, 0.16, 0.04, 0.12)
    gap: tuple[float, float] = (0.7, 4.0)
    max_gap: float = 5.0
    static: float = 0.12
    movers: int = 3
    speed: float = 64.0
    full_well: tuple[float, float] = (1000.0, 20000.0)
    read_noise: tuple[float, float] = (1.0, 8.0)
    jpeg: tuple[int, int] = (85, 98)
    handheld: float = 0.4
    misalignment: float = 0.3
    exposure_error: float = 0.03
    response_error: float = 0.02
    scale: tuple[float, float] = (1.0, 3.0)
    lost: float = 0.0


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights: ``motion`` of the motion mask in the radiance loss, ``square`` of its squared part,
    ``trust`` and ``search`` of the two losses that show the network what it could know."""

    motion: float = 4.0
    square: float = 4.0
    trust: float = 0.05
    search: float = 0.02


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run.

    ``scenes``: a folder of EXR files, with INDEX.tsv where some are for validation; or, with
    ``layout = "kalantari"``, of scene folders in that layout. ``responses``: an .npz of measured
    camera responses. ``steps`` of ``batch`` patches; the learning ``rate`` warms up over ``warmup``
    steps, stays, and falls linearly to nothing over the last ``decay`` of the run. ``ema``: decay
    of the averaged weights, which are what is validated and exported. ``precision``: ``fp32`` or
    ``bf16``. ``part``: ``all`` of the network, or only the ``fill``, its judgement of the frames
    then being that of the weights ``start`` (a ``state.pt``) and of the truth. ``device``: ``cpu``
    or ``cuda``. ``clip``: largest gradient norm.
    """

    scenes: str
    layout: Literal["scenes", "kalantari"] = "scenes"
    responses: str | None = None
    steps: int = 20000
    batch: int = 4
    rate: float = 1.5e-3
    warmup: int = 100
    decay: float = 0.25
    weight_decay: float = 1e-4
    ema: float = 0.998
    clip: float = 1.0
    seed: int = 1
    precision: Literal["fp32", "bf16"] = "bf16"
    part: Literal["all", "fill"] = "all"
    start: str | None = None
    device: str = "cpu"
    workers: int = 1
    validate_every: int = 400
    validation_patches: int = 8
    save_minutes: float = 2.0
    data: DataConfig = field(default_factory=DataConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    model: DeciderConfig = field(default_factory=DeciderConfig)


_SECTIONS: dict[str, type] = {"data": DataConfig, "loss": LossConfig, "model": DeciderConfig}


def read_config(path: Path) -> TrainConfig:
    """A run's configuration; folders in it are relative to the current folder.

    Raises InputError for a file that is no TOML, UsageError for what it should not hold.
    """
    values = read_toml(path)
    for name, kind in _SECTIONS.items():
        if name in values:
            values[name] = make_section(kind, values[name], f"[{name}] of {path.name}")
    config: TrainConfig = make_section(TrainConfig, values, path.name)
    check_paths(config, ("scenes", "responses", "start"), path)
    return config


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file; raises InputError for a file that is none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}.") from error


def check_paths(config: Any, names: tuple[str, ...], path: Path) -> None:
    """Raise InputError where a folder or file that the configuration names is not there."""
    for name in names:
        folder = getattr(config, name)
        if folder is not None and not Path(folder).exists():
            raise InputError(
                f"{path.name}: {name} = {folder!r} does not exist.",
                "Paths are relative to the folder that the command runs in.",
            )


def make_section(kind: type, values: Any, where: str) -> Any:
    """An instance of a config dataclass from TOML; UsageError where names or types do not fit."""
    if not isinstance(values, dict):
        raise UsageError(f"{where} must be a table.")
    known = {f.name: f for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise UsageError(f"{where} does not know {', '.join(unknown)}.")
    made = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    required = [
        name
        for name, f in known.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in made]
    if missing:
        raise UsageError(f"{where} must say {', '.join(missing)}.")
    default = kind(**dict.fromkeys(required, ""))
    for name, value in made.items():
        expected = getattr(default, name)
        if expected is not None and not _alike(value, expected):
            raise UsageError(f"{where}: {name} = {value!r} should be like {expected!r}.")
    return kind(**made)


def _alike(value: Any, example: Any) -> bool:
    if isinstance(example, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(example, tuple):
        return (
            isinstance(value, tuple)
            and len(value) > 0
            and all(_alike(item, example[0]) for item in value)
        )
    return isinstance(value, type(example))
