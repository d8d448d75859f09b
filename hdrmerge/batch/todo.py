"""What is left to do of a plan: outputs that are there and still true are not made again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hdrmerge.batch.job import Input, Product, Products, file_sha256
from hdrmerge.batch.plan import Plan, PlannedBracket
from hdrmerge.batch.state import FILE, Record, Written
from hdrmerge.errors import OutputError

REPORT, SHEET, STAGE = "report.json", "index.html", ".hdrmerge-stage"
_OWN = {name.casefold() for name in (FILE, f"{FILE}-journal", REPORT, SHEET, STAGE)}


@dataclass(frozen=True, slots=True)
class Standing:
    """How a bracket stands: ``make`` is what has to be made, ``edited`` what another program has
    changed since it was written, which is left alone."""

    make: tuple[Product, ...] = ()
    edited: tuple[str, ...] = ()


def output_paths(bracket: PlannedBracket, products: Products) -> dict[Product, str]:
    """The outputs of a bracket below the output folder, by product."""
    return {product: f"{bracket.name}{end}" for product, end in products.suffixes().items()}


def check_outputs(plan: Plan, products: Products, out: Path) -> dict[str, OutputError]:
    """By bracket, why its outputs cannot have the names they would have."""
    wrong: dict[str, OutputError] = {}
    taken: dict[str, str] = {}
    root = out.resolve()
    for bracket in plan.brackets:
        for path in output_paths(bracket, products).values():
            folded = path.casefold()
            if folded.split("/")[0] in _OWN:
                wrong[bracket.name] = OutputError(
                    f"{path} is a name that the batch itself uses.", "Choose another with --name."
                )
            elif taken.setdefault(folded, bracket.name) != bracket.name:
                wrong[bracket.name] = OutputError(
                    f"{path} is an output of {taken[folded]} too.", "Choose others with --name."
                )
            elif not (out / path).parent.resolve().is_relative_to(root):
                wrong[bracket.name] = OutputError(
                    f"{path} lies outside the output folder: a folder in it is a link.",
                    "Remove the link, or choose another name with --name.",
                )
    return wrong


def check_foreign(paths: Iterable[str], claimed: Container[str], out: Path) -> OutputError | None:
    """Why these outputs must not be written: one is there that no batch has made."""
    for path in paths:
        if path not in claimed and ((out / path).is_symlink() or (out / path).exists()):
            return OutputError(
                f"{path} is there already, and no batch has written it.",
                "Move it away, or let it be replaced with --overwrite.",
            )
    return None


def standing(
    record: Record | None,
    inputs: Sequence[Path],
    outputs: dict[Product, str],
    digests: dict[Product, str],
    out: Path,
) -> Standing:
    """Compare what is recorded with what is wanted and what is there.

    Photographs count as unchanged where size and time are those of the merge, or else the content.
    """
    everything = Standing(tuple(outputs))
    if record is None or record.status != "done" or not same_inputs(record.inputs, inputs):
        return everything
    make: list[Product] = []
    edited: list[str] = []
    for product, path in outputs.items():
        found = _presence(record.files.get(product), path, digests[product], out)
        if found == "stale":
            make.append(product)
        elif found == "edited":
            edited.append(path)
    if make == ["preview"] and outputs["radiance"] not in edited:
        return Standing(("preview",), tuple(edited))
    if make and edited:  # making the one would replace the other
        return Standing((), tuple(edited))
    return everything if make else Standing((), tuple(edited))


def same_inputs(recorded: Sequence[Input], paths: Sequence[Path]) -> bool:
    """Whether these photographs are those that were merged; content counts, not where it lies."""
    if len(recorded) != len(paths):
        return False
    for seen, path in zip(recorded, paths, strict=True):
        try:
            status = path.stat()
            if status.st_size != seen.size:
                return False
            same_file = seen.path == str(path) and status.st_mtime_ns == seen.mtime_ns
            if not same_file and file_sha256(path) != seen.sha256:
                return False
        except OSError:
            return False
    return True


def _presence(
    written: Written | None, path: str, digest: str, out: Path
) -> Literal["good", "stale", "edited"]:
    if written is None or written.path != path:
        return "stale"
    try:
        size = (out / path).stat().st_size
    except OSError:
        return "stale"
    if size not in (written.size, 0):
        return "edited"
    return "good" if size == written.size and written.digest == digest else "stale"
