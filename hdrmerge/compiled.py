"""Inner loops as machine code: what numpy would do array by array is done pixel by pixel.

A loop that is written as a scalar formula and compiled reads each pixel once, where numpy passes
over memory for every operator. Modules of such loops are named ``*_loops`` and imported where they
are called, since the compiler takes a fifth of a second to load.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import numba
from numba.core.errors import NumbaError
from numba.core.event import Listener, register

P = ParamSpec("P")
R = TypeVar("R")

# Sums may be reordered and divisions shared, so that loops run eight pixels at a time; infinities
# and NaN keep their meaning.
_MATH = {"reassoc", "contract", "arcp", "nsz"}


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` as machine code, compiled when first called and kept on disk for the next time.

    It runs beside other Python threads. Divisions by zero give infinities as in numpy. What it is
    given must be contiguous arrays and numpy scalars, always of the same types: each combination is
    compiled anew, about a second each. One whose name begins with an underscore is for compiled
    functions alone, and best of the same module: a change elsewhere would not be noticed on disk.
    """
    jit = partial(
        numba.njit,
        nogil=True,
        error_model="numpy",
        fastmath=_MATH,
        forceinline=True,  # else what compiles runs other copies than what loads it from disk
        no_cfunc_wrapper=True,
    )
    machine: Callable[P, R]
    if function.__name__.startswith("_"):
        machine = jit(no_cpython_wrapper=True)(function)
        return machine
    try:
        machine = jit(cache=True)(function)
    except (RuntimeError, OSError, NumbaError):  # nowhere to keep it: compiled in every process
        machine = jit()(function)
    return machine


@compiled
def nothing(value: float) -> float:
    return value


class _Told(Listener):  # type: ignore[misc]
    """Calls back at the first compilation."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell: Callable[[], None] | None = tell

    def on_start(self, event: object) -> None:
        tell, self._tell = self._tell, None
        if tell is not None:
            tell()

    def on_end(self, event: object) -> None:
        pass


def wake(tell: Callable[[], None] | None = None) -> None:
    """Load the compiler, while something else waits for a disk or runs outside the interpreter.

    ``tell`` is called once if some loop has to be compiled from now on, because none was kept: a
    merge's take half a minute.
    """
    if tell is not None:
        register("numba:compile", _Told(tell))
    nothing(0.0)
