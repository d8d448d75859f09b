"""Trains every configuration of a folder equally long and scores them against each other.

The rows of both papers' ablation tables are one small file each; what they are trained on is
rendered once for all.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from hdrmerge.config import MergeConfig
from hdrmerge.errors import InputError, UsageError
from hdrmerge.evaluate.scoring import Result, rate
from hdrmerge.frames import FloatArray
from hdrmerge.fusion import classic
from hdrmerge.fusion.learned import reconstruct
from hdrmerge.fusion.noise import estimate_noise
from hdrmerge.fusion.radiometric import fuse
from hdrmerge.io.atomic import write_text
from hdrmerge.models.cost import multiply_adds, parameters
from hdrmerge.models.registry import build
from hdrmerge.response import Response
from hdrmerge.simulate import (
    MotionConfig,
    SimulatedBracket,
    SimulationConfig,
    oracle,
    render_bracket,
)
from hdrmerge.simulate.scenes import add_detail, panorama_view
from hdrmerge.stack import ExposureStack
from hdrmerge.training.direct import train_direct, weights_name
from hdrmerge.training.direct_config import DirectConfig, read_direct_config
from hdrmerge.training.pool import Examples, fill, source_of

TABLE, RESULTS = "ablation.md", "ablation.json"
BRACKETS, SIZE = 6, (288, 432)  # of the held-out scenes, for the scores
BASELINES = ("single frame", "plain merge", "classic", "oracle")
SCORES = ("whole", "motion", "clipped", "static", "harm")
_REGIONS = {"whole": "all", "motion": "motion", "clipped": "clipped", "static": "static"}
# Rows may differ in what is compared, and in nothing else.
_COMPARED = {"network", "loss", "model", "seed", "seeds"}
_PROBE = 64  # side of the image that multiply-adds are counted on
Table = dict[str, float]


@dataclass(slots=True)
class Row:
    """One line of the table. ``runs``: the scores (dB, ``harm`` a share) of each seed; CPU
    ``seconds`` a megapixel, NaN where it was not taken."""

    name: str
    parameters: int | None = None
    multiply_adds: float | None = None
    seconds: float = float("nan")
    runs: dict[int, Table] = field(default_factory=dict)

    def mean(self, score: str) -> float:
        return statistics.fmean(run[score] for run in self.runs.values())

    def spread(self, score: str) -> float:
        """Half of the range over the seeds; NaN for one seed alone."""
        values = [run[score] for run in self.runs.values()]
        return (max(values) - min(values)) / 2 if len(values) > 1 else float("nan")


def read_rows(folder: Path) -> dict[str, DirectConfig]:
    """The configurations of an ablation by name: its TOML files, but those that begin with ``_``.

    Raises InputError where there are fewer than two, UsageError where two differ in more than
    network, model, loss and seeds: the rows would not be comparable.
    """
    files = sorted(p for p in folder.glob("*.toml") if not p.name.startswith("_"))
    if len(files) < 2:
        raise InputError(f"{folder} holds no two configurations to compare.")
    rows = {path.stem: read_direct_config(path) for path in files}
    first, *others = rows.items()
    for name, config in others:
        ours, theirs = asdict(config), asdict(first[1])
        for key in ours.keys() - _COMPARED:
            if ours[key] != theirs[key]:
                raise UsageError(
                    f"{name} and {first[0]} differ in {key}: they would not be comparable.",
                    "Rows of an ablation may differ in network, model, loss and seeds.",
                )
    return rows


def run_ablation(
    configs: dict[str, DirectConfig],
    out: Path,
    *,
    tell: Callable[[str], None] | None = None,
    pool: Examples | None = None,
) -> list[Row]:
    """Train and score every row of ``read_rows`` with each of its seeds.

    First every row with its first seed, then with the second, and so on. After each run
    ``ablation.json`` and ``ablation.md`` in ``out`` are written anew; runs that ``out`` holds
    already are not repeated, interrupted ones go on.
    """
    say = tell or (lambda text: None)
    out.mkdir(parents=True, exist_ok=True)
    common = next(iter(configs.values()))
    brackets = validation_brackets(common)
    table = {name: Row(name, runs={0: baseline(name, brackets)}) for name in BASELINES}
    for name, config in configs.items():
        table[name] = Row(name, *_cost(config))
    deepest = max(len(config.seeds) for config in configs.values())
    for turn in range(deepest):
        for name, config in configs.items():
            if turn >= len(config.seeds):
                continue
            seed = config.seeds[turn]
            weights = out / name / f"seed-{seed}" / weights_name(config)
            if not weights.exists():
                if pool is None:
                    say("rendering")
                    pool = fill(source_of(common, "train"), common)
                start = time.perf_counter()
                quiet = replace(config, seed=seed, validation_patches=0)
                train_direct(quiet, weights.parent, resume=True, pool=pool)
                say(f"{name}, seed {seed}: {time.perf_counter() - start:.0f} s")
            row = table[name]
            row.runs[seed], row.seconds = score_weights(weights, brackets)
            write_text(out / TABLE, markdown(list(table.values()), common))
            lines = [asdict(row) for row in table.values()]
            write_text(out / RESULTS, json.dumps(lines, indent=1))
    return list(table.values())


def validation_brackets(config: DirectConfig) -> list[SimulatedBracket]:
    """The brackets that all rows are scored on: held-out scenes, a noisy camera, things that move
    across what the reference clips; exposures, response and alignment are known."""
    scenes = source_of(replace(config, layout="scenes"), "val").images  # type: ignore[union-attr]
    settings = SimulationConfig(
        stops=config.stops,
        size=SIZE,
        full_well=1500.0,
        motion=MotionConfig(5, step=24.0, over_clipped=0.75, contrast=2.0, brightest=2.5),
    )
    brackets = []
    for i in np.linspace(0, len(scenes) - 1, min(BRACKETS, len(scenes))).astype(int):
        rng = np.random.default_rng((99, i))
        view = add_detail(panorama_view(scenes[i], SIZE, 1.5, rng), 0.05, rng)
        others = [scene for k, scene in enumerate(scenes) if k != i][:3]
        brackets.append(render_bracket(view, settings, rng, sources=others))
    return brackets


def baseline(name: str, brackets: list[SimulatedBracket]) -> Table:
    """Mean scores of a method that needs no training."""

    def estimates(bracket: SimulatedBracket) -> list[FloatArray]:
        if name == "single frame":
            return [oracle.single_frame(bracket, bracket.reference)]
        if name == "plain merge":
            return [oracle.plain_merge(bracket)]
        if name == "oracle":
            return [oracle.oracle(bracket)]
        stack = known_stack(bracket)
        noise = estimate_noise(stack)
        return [fuse(stack, classic.decide(stack, noise), noise).radiance.pixels]

    return _mean([rate(f"{i}", name, estimates(b), b) for i, b in enumerate(brackets)])


def score_weights(weights: Path, brackets: list[SimulatedBracket]) -> tuple[Table, float]:
    """Mean scores of a file of weights, and CPU seconds a megapixel."""
    config = MergeConfig(deghost="network", weights=str(weights), device="cpu")
    results, seconds, pixels = [], 0.0, 0
    for i, bracket in enumerate(brackets):
        stack = known_stack(bracket)
        start = time.process_time()
        radiance = reconstruct(stack, config).pixels
        seconds += time.process_time() - start
        pixels += radiance.shape[0] * radiance.shape[1]
        results.append(rate(f"{i}", weights.stem, [radiance], bracket))
    return _mean(results), 1e6 * seconds / pixels


def known_stack(bracket: SimulatedBracket) -> ExposureStack:
    """A bracket whose exposures, response (sRGB) and alignment are known, as merging takes it."""
    return ExposureStack(
        bracket.frames,
        bracket.exposures,
        Response.srgb(),
        bracket.reference,
        np.asarray(bracket.homographies),
    )


def markdown(rows: list[Row], config: DirectConfig) -> str:
    """The table, with what it was made by."""
    head = (
        "| | parameters | multiply-adds a pixel | CPU s a megapixel | seeds "
        "| whole | motion | clipped | static | harm, % |"
    )
    start = "nothing" if config.start is None else Path(config.start).stem
    lines = [
        f"Each row: {config.steps} steps of {config.batch} crops of {config.crop} pixels, "
        f"{config.optimizer} at a rate of {config.rate:g}, {config.precision}, from {start}; "
        f"PSNR-mu in dB, the mean over {BRACKETS} brackets of held-out scenes and over the seeds, "
        "± half of the seeds' range.",
        "",
        head,
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows if row.runs]
    return "\n".join(lines) + "\n"


def _cells(row: Row) -> Iterator[str]:
    yield row.name
    yield "" if row.parameters is None else f"{row.parameters:,}"
    yield "" if row.multiply_adds is None else f"{row.multiply_adds:,.0f}"
    yield "" if np.isnan(row.seconds) else f"{row.seconds:.1f}"
    yield "" if row.parameters is None else ", ".join(str(seed) for seed in sorted(row.runs))
    for score in SCORES:
        factor = 100.0 if score == "harm" else 1.0
        cell = f"{factor * row.mean(score):.2f}"
        spread = factor * row.spread(score)
        yield cell if np.isnan(spread) else f"{cell} ± {spread:.2f}"


def _cost(config: DirectConfig) -> tuple[int, float]:
    with torch.device("meta"):
        network = build(config.network, config.model)
        frames = torch.empty(1, 3, 6, _PROBE, _PROBE)
    work = multiply_adds(network, lambda: network(frames), _PROBE**2)
    return parameters(network), work


def _mean(results: list[Result]) -> Table:
    """Means over brackets; a bracket without a region does not count there."""
    table = {
        name: float(np.nanmean([result.regions[region].psnr_mu for result in results]))
        for name, region in _REGIONS.items()
    }
    return {**table, "harm": float(np.mean([result.harm for result in results]))}
