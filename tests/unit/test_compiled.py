"""Inner loops as machine code: kept or not, they do the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrmerge.compiled import compiled, wake

DEMO = Path(__file__).parents[2] / "demo"


def unkept() -> Any:
    """A loop that nothing is kept of, for want of a file that it stands in."""
    names: dict[str, Any] = {}
    exec("def twice(x):\n    return x + x\n", names)
    return compiled(names["twice"])


def test_where_nothing_can_be_kept_loops_are_compiled_all_the_same() -> None:
    """As where neither the package nor a cache folder can be written."""
    assert unkept()(np.float32(1.5)) == 3


def test_infinities_and_divisions_by_zero_are_numpys() -> None:
    @compiled
    def share(a: np.float32, b: np.float32) -> np.float32:
        return a / b

    assert share(np.float32(1), np.float32(0)) == np.inf
    assert np.isnan(share(np.float32(0), np.float32(0)))
    assert share(np.float32(1), np.float32(np.inf)) == 0


def test_compiling_is_told_once() -> None:
    told: list[int] = []
    wake(lambda: told.append(1))
    twice = unkept()
    assert twice(1.0) == 2 and twice(np.float32(1)) == 2
    assert told == [1]


@pytest.mark.slow
def test_the_merge_that_compiles_is_the_merge_that_loads(tmp_path: Path) -> None:
    photographs = sorted(map(str, DEMO.glob("*.jpg")))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    outputs = []
    for run in ("first", "second"):
        out, preview = tmp_path / f"{run}.exr", tmp_path / f"{run}.png"
        command = [sys.executable, "-m", "hdrmerge", "fuse", *photographs, "-o", str(out)]
        done = subprocess.run(
            [*command, "--preview", str(preview)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("Compiling" in done.stderr) == (run == "first")
        outputs.append((out.read_bytes(), preview.read_bytes()))
    assert outputs[0] == outputs[1]
