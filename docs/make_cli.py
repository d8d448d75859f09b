"""Writes docs/cli.md from the commands themselves; ``make docs`` runs it and a test checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from hdrmerge.cli.app import COMMANDS, load_command

PAGE = Path(__file__).with_name("cli.md")

INTRODUCTION = """\
# Command line

Generated from the program by `make docs`; do not edit. `python -m hdrmerge` does the same as
`hdrmerge`. Results go to stdout, the conversation to stderr. `--traceback` may be added to any
command and shows developers where an error arose.

"""

EXIT_CODES = """\
## Exit codes

| code | meaning |
|---|---|
| 0 | all went well |
| 1 | something failed that has no code of its own; a defect says so |
| 2 | an option or argument makes no sense |
| 3 | a file is missing, or is not what it should be: no picture, truncated, empty, a folder |
| 4 | an output cannot be written |
| 5 | the photographs make no bracket: only one, different sizes, the same twice |
| 6 | weights of a network are missing, corrupt, or of another network |
| 7 | too little memory or disk, or a device that is not there |
| 8 | some brackets of a batch failed, the others are merged; its report says which and why |
| 130 | interrupted with Ctrl-C; no output is half written |

An error is one sentence on stderr, and a hint where there is something to do about it:

    error: IMG_0002.jpg is empty (zero bytes).
    hint: Copy it again from the camera.
"""


def reference() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for name in COMMANDS:
        command = load_command(name)
        parts += describe(command, f"hdrmerge {name}")
    return "".join([*parts, EXIT_CODES])


def describe(command: Any, path: str) -> list[str]:
    """Heading, help, arguments and options of a command, and those of its sub-commands."""
    context = typer.Context(command, info_name=path)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"## {path}\n\n{command.help or ''}\n\n    {path} {usage}\n\n"]
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            names, text = (" ".join(cell.split()).replace("|", "\\|") for cell in record)
            if parameter.param_type_name == "argument":
                names = names.partition(" <")[0]
            rows.append(f"| `{names}` | {text} |\n")
    if rows:
        parts += ["| argument or option | meaning |\n|---|---|\n", *rows, "\n"]
    for name, inner in getattr(command, "commands", {}).items():
        parts += describe(inner, f"{path} {name}")
    return parts


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
