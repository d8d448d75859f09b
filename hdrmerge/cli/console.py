"""Talking to people (stderr) and to programs (stdout): nothing else in the package prints."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

Progress = Callable[[str, float], None]


class Console:
    """One command's voice.

    stderr carries the conversation (tables, notes, progress; silent under ``quiet``), stdout the
    product. ``as_json`` says that the product is JSON; tables are then left out of stderr too.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self.quiet = quiet
        self.as_json = as_json

    def say(self, text: str) -> None:
        """A line for people."""
        if not self.quiet:
            write_line(text, error=True)

    def warn(self, text: str) -> None:
        """A line that people should not miss, also under ``--quiet``."""
        write_line(f"warning: {text}", error=True)

    def product(self, text: str) -> None:
        """A line of the result, on stdout."""
        write_line(text, error=False)

    def product_json(self, data: Any) -> None:
        """The result as indented JSON on stdout; what is not finite becomes null."""
        write_line(json.dumps(finite(data), indent=2, ensure_ascii=False), error=False)

    def table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], *, product: bool = False
    ) -> None:
        """A table; the first column is flush left, the others flush right."""
        if self.as_json or (self.quiet and not product):
            return
        for line in format_table(header, rows):
            write_line(line, error=not product)

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A progress callback ``(stage, fraction 0..1)``, or None where nobody is watching."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<12}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=RichConsole(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=1.0)

            def update(stage: str, fraction: float) -> None:
                bar.update(task, description=stage, completed=min(max(fraction, 0.0), 1.0))

            yield update


def write_line(text: str, *, error: bool) -> None:
    """Write and flush one line; characters that the terminal cannot show are replaced."""
    stream = sys.stderr if error else sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a plain table with aligned columns: no box, so that it can be cut and pasted."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    return lines


def finite(data: Any) -> Any:
    """The same data with NaN and infinities as None: JSON has neither."""
    if isinstance(data, dict):
        return {key: finite(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
