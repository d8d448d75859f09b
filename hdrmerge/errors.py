"""The errors a person can cause or mend; each is one sentence and, where it helps, one hint.

The library raises these; only ``cli/app.py`` catches them and turns them into exit codes.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process tells its caller; ``docs/cli.md`` lists them."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    STACK = 5
    WEIGHTS = 6
    RESOURCES = 7
    INTERRUPTED = 130


class HdrMergeError(Exception):
    """Base of all expected failures: ``message`` is one sentence, ``hint`` says what to do."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(HdrMergeError):
    """An option or argument that makes no sense."""

    exit_code = ExitCode.USAGE


class InputError(HdrMergeError):
    """A file that cannot be read as what it should be."""

    exit_code = ExitCode.INPUT


class OutputError(HdrMergeError):
    """A file that cannot be written."""

    exit_code = ExitCode.OUTPUT


class StackError(HdrMergeError):
    """Frames that do not make a bracket: one frame, mixed sizes, unknown exposures."""

    exit_code = ExitCode.STACK


class WeightsError(HdrMergeError):
    """Network weights that are missing, corrupt or not of the model asked for."""

    exit_code = ExitCode.WEIGHTS


class ResourceError(HdrMergeError):
    """Not enough memory or disk, or a device that is not there."""

    exit_code = ExitCode.RESOURCES
