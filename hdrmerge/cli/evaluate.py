"""``hdrmerge evaluate``: scores merges of simulated brackets against the truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hdrmerge.cli.console import Console
from hdrmerge.cli.options import Json, Quiet, check_output

if TYPE_CHECKING:
    from hdrmerge.evaluate import Result


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Brackets that `hdrmerge simulate` wrote."),
    ],
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            "-m",
            help="default, classic, network, off, model:NAME, single, plain, oracle, "
            "oracle+truth, or NAME=FOLDER of results; may be repeated.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write everything to this .json.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write a page with pictures to this .html.")
    ] = None,
    vdp: Annotated[
        bool, typer.Option("--vdp", help="Add ColorVideoVDP (pip install 'hdrmerge\\[vdp]').")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Scores merges of simulated brackets against the truth."""
    from hdrmerge import evaluate as scoring
    from hdrmerge.cli.console import finite
    from hdrmerge.evaluate.page import Page

    console = Console(quiet=quiet, as_json=as_json)
    if output is not None:
        check_output(output, (".json",), [])
    if page is not None:
        check_output(page, (".html",), [])
    brackets = scoring.find_brackets(folders)
    methods = method or ["single", "plain", "default", "oracle", "oracle+truth"]
    pictures = Page()
    keep = pictures.keep if page is not None else None
    with console.progress() as progress:
        results = scoring.evaluate(brackets, methods, vdp=vdp, progress=progress, keep=keep)
    if page is not None:
        pictures.write(page, HEADER, table_rows(results), results)
    rows = [result.to_dict() for result in results]
    if output is not None:
        import json

        from hdrmerge.io.atomic import write_text

        write_text(output, json.dumps(finite(rows), indent=1))
    if as_json:
        console.product_json(rows)
        return
    console.table(HEADER, table_rows(results), product=True)


HEADER = (
    "bracket",
    "method",
    "all",
    "motion",
    "static",
    "linear",
    "ssim",
    "pu21",
    "cast",
    "harm %",
    "JOD",
)


def table_rows(results: list[Result]) -> list[tuple[str, ...]]:
    """One row a bracket and method: PSNR-mu of three regions, then the whole picture's scores."""
    rows = []
    for r in results:
        whole = r.regions["all"]
        mu = [r.regions[name].psnr_mu for name in ("all", "motion", "static")]
        cells = [*(number(v, 1) for v in mu), number(whole.psnr_linear, 1)]
        cells += [number(whole.ssim_mu, 3), number(whole.pu21, 1), number(r.cast, 3)]
        rows.append((r.bracket, r.method, *cells, number(100 * r.harm, 2), number(r.jod, 2)))
    return rows


def number(value: float, digits: int) -> str:
    """A number for a table; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
