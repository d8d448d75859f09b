"""The errors a person can cause or mend; each is one sentence and, where it helps, one hint.

The library raises these; only ``cli/app.py`` catches them and turns them into exit codes.
"""

from __future__ import annotations

import errno
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
    PARTIAL = 8
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


class PartialError(HdrMergeError):
    """Some brackets of a batch failed; the others are merged."""

    exit_code = ExitCode.PARTIAL


class InterruptedBatchError(HdrMergeError):
    """A batch that was stopped by a person or a signal, and can go on."""

    exit_code = ExitCode.INTERRUPTED


def describe_error(error: BaseException) -> tuple[int, str, str | None]:
    """Exit code, one sentence, and what to do about it where that is known, of any failure."""
    if isinstance(error, HdrMergeError):
        return error.exit_code, error.message, error.hint
    if isinstance(error, MemoryError):
        hint = "Close other programs, or merge fewer or smaller frames."
        return ExitCode.RESOURCES, "There is not enough memory.", hint
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = ExitCode.RESOURCES if full else ExitCode.FAILURE
        return code, sentence(f"{named}{error.strerror}"), None
    hint = "This is a defect in hdrmerge; run again with --traceback and report what it prints."
    return ExitCode.FAILURE, sentence(f"{type(error).__name__}: {error}"), hint


def sentence(text: str) -> str:
    """``text`` as one line that ends in a full stop."""
    line = " ".join(text.split())
    return line if line.endswith((".", "!", "?")) else f"{line}."
