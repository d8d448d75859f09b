"""``hdrmerge train``: a configuration in, weights out; can be interrupted and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet, check_input


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="What to train and on what: a TOML file.")
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
    """Trains the deghosting network; the recipe of the shipped weights is configs/decider.toml."""
    from hdrmerge.training.config import read_config
    from hdrmerge.training.train import COLUMNS, WEIGHTS
    from hdrmerge.training.train import train as run_training

    console = Console(quiet=quiet, as_json=as_json)
    check_input(config)
    recipe = read_config(config)
    if steps is not None:
        recipe = replace(recipe, steps=steps)
    sums = dict.fromkeys(COLUMNS[1:], 0.0)

    def tell(step: int, parts: dict[str, float]) -> None:
        for name in sums:
            sums[name] += parts[name] / every
        if step % every == 0:
            console.say(f"step {step:6d}  " + "  ".join(f"{k} {v:.4f}" for k, v in sums.items()))
            sums.update(dict.fromkeys(sums, 0.0))

    def scored(step: int, table: dict[str, float]) -> None:
        rows = [[name, f"{value:.2f}"] for name, value in table.items()]
        console.table([f"Validation at step {step}", "PSNR-mu dB"], rows)

    run = run_training(recipe, out, resume=resume, tell=tell, scored=scored)
    weights = out / WEIGHTS
    if as_json:
        console.product_json({"weights": str(weights), "steps": run.step})
    else:
        console.say(f"Weights: {weights}")
