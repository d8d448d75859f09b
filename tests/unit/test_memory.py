"""Half the memory, the same picture; freed blocks stay where they are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hdrmerge.errors import InputError
from hdrmerge.frames import RadianceMap, to_float, to_half


def test_half_floats_are_the_nearest_and_never_infinite() -> None:
    rng = np.random.default_rng(4)
    values = np.exp(rng.uniform(-12, 10, (40, 30, 3))).astype(np.float32)
    values[0, :3] = np.array([[0.0], [1.0], [65504.0]])
    values[1, :3] = [[7e4, 1e9, np.inf]] * 3
    half = to_half(values)
    np.testing.assert_array_equal(half[2:], values[2:].astype(np.float16))
    assert np.all(half[1, :3] == 65504) and np.all(half[0, :3].T == [0, 1, 65504])
    np.testing.assert_array_equal(to_float(half), half.astype(np.float32))
    assert to_float(values) is values


def test_a_radiance_map_shows_floats_whatever_it_stores() -> None:
    values = np.linspace(0, 9, 24, dtype=np.float32).reshape(2, 4, 3)
    assert RadianceMap(values).pixels is values
    kept = RadianceMap(to_half(values))
    assert kept.stored.dtype == np.float16 and kept.pixels.dtype == np.float32
    np.testing.assert_allclose(kept.pixels, values, rtol=2**-11)
    with pytest.raises(InputError):
        RadianceMap(values.astype(np.float64))  # type: ignore[arg-type]


@pytest.mark.skipif(sys.platform != "linux", reason="a switch of glibc")
def test_freed_blocks_are_kept() -> None:
    code = """
import resource, numpy as np
from hdrmerge.memory import keep_freed_blocks
keep_freed_blocks()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        a, b = np.ones(1 << 20, np.float32), np.ones(1 << 18, np.float32)
        del a, b
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(); raise SystemExit(0 if faults() < 2000 else 1)
"""
    # 20 x 5 MiB are 25600 pages
    done = subprocess.run([sys.executable, "-c", code])
    assert done.returncode == 0
