"""``hdrmerge weights``: what is installed, whether it is sound, and getting more."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hdrmerge.cli.console import Console
from hdrmerge.errors import ExitCode, UsageError, WeightsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="List, check, fetch and convert the networks' weights.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]


@app.command("list")
def list_weights(as_json: Json = False) -> None:
    """List the weights that came with this installation."""
    from hdrmerge.models.manifest import shipped

    console = Console(as_json=as_json)
    manifest = shipped()
    entries = list(manifest.entries.values())
    if as_json:
        listed = [{**asdict(e), "default": e.name == manifest.default} for e in entries]
        console.product_json(listed)
    elif not entries:
        console.say("No weights are shipped with this version.")
    else:
        rows = [
            (
                f"{e.name} (default)" if e.name == manifest.default else e.name,
                e.model,
                f"{_bytes(manifest.path(e)) / 1e6:.1f} MB",
                str(e.steps),
                e.sha256[:12],
            )
            for e in entries
        ]
        console.table(("name", "network", "size", "steps", "sha256"), rows, product=True)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of shipped weights, or files; all shipped ones by default."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare weights with their hashes; exits with 6 when one is damaged or missing."""
    from hdrmerge.models.header import check_content
    from hdrmerge.models.manifest import shipped
    from hdrmerge.models.resolve import check_entry

    console = Console(quiet=quiet, as_json=as_json)
    manifest = shipped()
    results: dict[str, str] = {}
    for name in names or list(manifest.entries):
        try:
            entry = manifest.entries.get(name)
            path = check_entry(manifest, entry) if entry else Path(name)
            check_content(path)
            results[name] = "sound"
        except WeightsError as error:
            results[name] = error.message
    if as_json:
        console.product_json(results)
    for name, result in results.items():
        if result == "sound":
            console.say(f"{name}: sound")
        else:
            console.warn(result)
    if not results:
        console.say("No weights are shipped with this version.")
    if any(result != "sound" for result in results.values()):
        raise typer.Exit(ExitCode.WEIGHTS)


@app.command()
def download(
    spec: Annotated[str, typer.Argument(help="hf:owner/repo[@revision][:file]")],
    quiet: Quiet = False,
) -> None:
    """Fetch weights from a Hugging Face hub and print where they are, for --weights."""
    from hdrmerge.models.header import check_content
    from hdrmerge.models.hub import download as fetch
    from hdrmerge.models.hub import parse_spec

    console = Console(quiet=quiet)
    path = fetch(parse_spec(spec))
    header = check_content(path)
    console.say(f"{spec}: weights of {header.model or 'an unnamed network'}")
    console.product(str(path))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="AHDRNet weights (.pth or .safetensors).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    quiet: Quiet = False,
) -> None:
    """Convert AHDRNet weights from the layout of the published code."""
    from hdrmerge.io.atomic import write_bytes
    from hdrmerge.models.checkpoint import checkpoint_bytes
    from hdrmerge.models.convert import from_published, read_published

    if output.suffix != ".safetensors":
        raise UsageError(f"{output} does not end in .safetensors.", "Rename the output.")
    config, tensors = from_published(read_published(source))
    about = {"converted_from": source.name}
    write_bytes(output, checkpoint_bytes("ahdrnet", config, tensors, about))
    Console(quiet=quiet).say(f"{output}: AHDRNet, width {config.width}")


def _bytes(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
