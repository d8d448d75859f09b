"""The edge: finds the command, runs it, and is the only place that catches errors and exits.

Commands are loaded when they are needed, and import what is heavy inside their functions, so that
``hdrmerge --help`` is quick and a damaged installation of one part does not stop another.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hdrmerge import __version__, errors
from hdrmerge.cli.console import write_line
from hdrmerge.errors import ExitCode, sentence

# name -> (module, attribute: a function or a typer.Typer of sub-commands, panel in the help)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "fuse": ("hdrmerge.cli.fuse", "fuse", "Photographs"),
    "batch": ("hdrmerge.cli.batch", "batch", "Photographs"),
    "watch": ("hdrmerge.cli.watch", "watch", "Photographs"),
    "tonemap": ("hdrmerge.cli.tonemap", "tonemap", "Photographs"),
    "info": ("hdrmerge.cli.info", "info", "Photographs"),
    "response": ("hdrmerge.cli.response", "response", "Photographs"),
    "simulate": ("hdrmerge.cli.simulate", "simulate", "Research"),
    "train": ("hdrmerge.cli.train", "train", "Research"),
    "evaluate": ("hdrmerge.cli.evaluate", "evaluate", "Research"),
    "weights": ("hdrmerge.cli.weights", "app", "Research"),
    "bench": ("hdrmerge.cli.bench", "bench", "Research"),
}


class _Commands(TyperGroup):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = load_command(cmd_name)
        return self.commands[cmd_name]


def load_command(name: str) -> Any:
    """The command object of ``name``, its module imported now."""
    module, attribute, panel = COMMANDS[name]
    target = getattr(import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(name)(target)
        target = single
    command: Any = typer.main.get_command(target)
    command.name = name
    command.rich_help_panel = panel
    return command


app = typer.Typer(
    cls=_Commands,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        write_line(f"hdrmerge {__version__}", error=False)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option(
            "--traceback", help="Show where an error arose, for developers; goes anywhere."
        ),
    ] = False,
) -> None:
    """Turns a bracket of photographs into a clean HDR image."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with an ``ExitCode``."""
    # numpy's threads of its own would wait, burning time, beside those of a merge
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.set_threshold(100_000)  # the compiler's many objects are searched in vain while they load,
    code = run(list(sys.argv[1:] if arguments is None else arguments))
    gc.freeze()  # and at the end
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code; all errors end here as a sentence and a hint."""
    traceback = "--traceback" in arguments
    arguments = [word for word in arguments if word != "--traceback"]
    command: Any = typer.main.get_command(app)
    try:
        code = command.main(arguments or ["--help"], prog_name="hdrmerge", standalone_mode=False)
    except Exception as error:
        if traceback:
            raise
        return report_error(error)
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    if code == ExitCode.INTERRUPTED:
        write_line("Interrupted; no output was written.", error=True)
    return int(code or ExitCode.OK)


def report_error(error: Exception) -> int:
    """Say on stderr what went wrong and return the exit code that goes with it."""
    code, message, hint = describe_error(error)
    if message == ".":  # a group of commands without one: its help has been shown instead
        return code
    write_line(f"error: {message}", error=True)
    if hint:
        write_line(f"hint: {hint}", error=True)
    return code


def describe_error(error: Exception) -> tuple[int, str, str | None]:
    """``errors.describe_error``, and what Typer raises."""
    if isinstance(error, typer.Abort):
        return ExitCode.INTERRUPTED, "Interrupted.", None
    if hasattr(error, "format_message"):  # what Typer says of wrong options and arguments
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "hdrmerge"
        message = error.format_message().replace("Value error, ", "")  # of the library it asks
        return ExitCode.USAGE, sentence(message), f"Try: {path} --help"
    return errors.describe_error(error)
