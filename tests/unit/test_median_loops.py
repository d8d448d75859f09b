"""The compiled median against numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.median_loops import median


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_as_numpy_has_it(kind: type) -> None:
    rng = np.random.default_rng(0)
    for count in (*range(1, 40), 1000, 1001):
        for values in (
            rng.standard_normal(count),
            rng.integers(0, 4, count),  # many alike
            np.arange(count),
            -np.arange(count),
            np.full(count, 3.5),
        ):
            array = values.astype(kind)
            before = array.copy()
            assert median(array) == pytest.approx(float(np.median(before.astype(np.float64))))
            assert np.array_equal(array, before)
