"""``hdrmerge train``: a configuration in, weights out; can be interrupted and resumed."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet, check_input
from hdrmerge.errors import UsageError


def train(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            help="What to train and on what: a TOML file, or a folder of them, one for each row of "
            "an ablation.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for checkpoints, logs and the weights.")
    ],
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run that the folder holds.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Train so many steps, whatever the file says.")
    ] = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between the lines of the log.")] = 20,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Trains a network: configs/refiner.toml is the recipe of the default's weights."""
    console = Console(quiet=quiet, as_json=as_json)
    if config.is_dir():
        compare(config, out, resume=resume, steps=steps, console=console)
        return
    check_input(config)
    from hdrmerge.training.direct_config import network_of

    log = Log(console, every)
    network = network_of(config)
    if network == "decider":
        from hdrmerge.training.config import read_config
        from hdrmerge.training.train import WEIGHTS
        from hdrmerge.training.train import train as train_decider

        decider = read_config(config)
        decider = decider if steps is None else replace(decider, steps=steps)
        done = train_decider(decider, out, resume=resume, tell=log.step, scored=log.scores).step
        weights = out / WEIGHTS
    elif network == "refiner":
        from hdrmerge.training.refine import WEIGHTS, read_refine_config, train_refiner

        refiner = read_refine_config(config)
        refiner = refiner if steps is None else replace(refiner, steps=steps)
        done = train_refiner(refiner, out, resume=resume, tell=log.step, scored=log.scores).step
        weights = out / WEIGHTS
    else:
        from hdrmerge.training.direct import train_direct, weights_name
        from hdrmerge.training.direct_config import read_direct_config

        recipe = read_direct_config(config)
        recipe = recipe if steps is None else replace(recipe, steps=steps)
        done = train_direct(recipe, out, resume=resume, tell=log.step, scored=log.scores).step
        weights = out / weights_name(recipe)
    if as_json:
        console.product_json({"weights": str(weights), "steps": done})
    else:
        console.say(f"Weights: {weights}")


def compare(folder: Path, out: Path, *, resume: bool, steps: int | None, console: Console) -> None:
    """Train all configurations of a folder and print the table of their scores."""
    from hdrmerge.training.ablation import RESULTS, TABLE, read_rows, run_ablation

    if (out / RESULTS).exists() and not resume:
        raise UsageError(f"{out} already holds a run.", "Add --resume, or choose another --out.")
    configs = read_rows(folder)
    if steps is not None:
        configs = {name: replace(config, steps=steps) for name, config in configs.items()}
    rows = run_ablation(configs, out, tell=console.say)
    if console.as_json:
        console.product_json([asdict(row) for row in rows])
        return
    console.product((out / TABLE).read_text(encoding="utf-8"))


class Log:
    """The log of a run: the parts of the loss every few steps, and each validation."""

    def __init__(self, console: Console, every: int) -> None:
        self.console, self.every = console, every
        self.sums: dict[str, float] = {}

    def step(self, step: int, parts: dict[str, float]) -> None:
        for name, value in parts.items():
            self.sums[name] = self.sums.get(name, 0.0) + value / self.every
        if step % self.every == 0:
            means = "  ".join(f"{name} {value:.4f}" for name, value in self.sums.items())
            self.console.say(f"step {step:6d}  {means}")
            self.sums = {}

    def scores(self, step: int, table: dict[str, float]) -> None:
        rows = [[name, f"{value:.2f}"] for name, value in table.items()]
        self.console.table([f"Validation at step {step}", "dB"], rows)
