"""One process, measured from outside: wall time, processor time, peak of resident memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdrmerge.errors import ResourceError


@dataclass(frozen=True, slots=True)
class Cost:
    """``wall`` and ``cpu`` in seconds; ``peak`` in bytes, None where the system does not tell;
    ``output``: what the process wrote to stdout."""

    wall: float
    cpu: float
    peak: int | None
    output: str


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run ``command`` to its end. Raises ResourceError where it cannot be started or fails.

    The peak is the kernel's own count for the child. It includes what the parent holds when the
    child starts, so the parent must be small: nothing here imports numpy.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        try:
            child = subprocess.Popen(
                command, stdout=out, stderr=err, env={**os.environ, **(environment or {})}
            )
        except OSError as error:
            raise ResourceError(f"{command[0]} cannot be started: {error.strerror}.") from error
        cpu, peak = float("nan"), None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime
            peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        else:
            child.wait()
        wall = time.perf_counter() - start
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            said = err.read().decode(errors="replace").strip().splitlines()
            why = said[-1] if said else f"exit code {child.returncode}"
            raise ResourceError(f"{' '.join(command[:4])} ... failed: {why}")
        return Cost(wall, cpu, peak, out.read().decode(errors="replace"))
