"""The loops of calibration and of noise say what their formulas say."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.comparison_loops import choose, medians
from hdrmerge.fusion.noise_loops import BLOCK, compare
from hdrmerge.samples_loops import look

RNG = np.random.default_rng(9)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_blocks_are_bilinear_samples(dtype: str) -> None:
    height, width = 40, 50
    codes = (RNG.random((height, width, 3)) * 255).astype(dtype)
    matrix = np.array([[1.01, 0.02, 1.7], [-0.03, 0.98, 1.4], [1e-4, 2e-4, 1.0]])
    rows, columns = np.array([0, 9, 36]), np.array([0, 5, 20, 46])
    found, inside = np.empty((3, 3, 4, 3), np.float32), np.empty((3, 4), np.bool_)
    whole = dtype != "float32"
    look(codes, matrix, rows, columns, 4, whole, found, inside)
    assert 0 < inside.sum() < inside.size
    for r, c in np.ndindex(3, 4):
        y, x = np.mgrid[rows[r] : rows[r] + 4, columns[c] : columns[c] + 4].reshape(2, -1)
        u, v, w = matrix @ np.stack([x, y, np.ones(16)])
        u, v = u / w, v / w
        within = (u >= 0) & (u <= width - 1) & (v >= 0) & (v <= height - 1)
        assert inside[r, c] == within.all()
        if not inside[r, c]:
            assert np.all(found[:, r, c] == 0)
            continue
        i, j = np.floor(u).astype(int), np.floor(v).astype(int)
        s, t = (u - i)[:, None], (v - j)[:, None]
        z = codes.astype(float)
        value = (z[j, i] * (1 - s) + z[j, i + 1] * s) * (1 - t)
        value += (z[j + 1, i] * (1 - s) + z[j + 1, i + 1] * s) * t
        value = np.floor(value + 0.5) if whole else value
        expected = [value.mean(axis=0), value.var(axis=0, ddof=1), value.max(axis=0)]
        np.testing.assert_allclose(found[:, r, c], expected, rtol=1e-5)


def test_the_flattest_samples_of_each_cell_are_chosen() -> None:
    count, tiles, most, width, step = 3000, 4, 5, 0.5, 2.0
    darker, brighter, highest = RNG.uniform(0, 1, (3, count)).astype(np.float32)
    variance = RNG.uniform(0, 2, count).astype(np.float32)
    tile = RNG.integers(0, tiles, count // 3)
    grid = np.linspace(0, 1, 1021)
    curve, noise = grid**2, 0.1 + 0.1 * grid
    least, clipped = (0.02, 0.05), 0.9
    kept = choose(
        darker,
        brighter,
        variance,
        highest,
        tile,
        curve,
        noise,
        least,
        clipped,
        step,
        width,
        tiles,
        most,
    )
    usable = np.flatnonzero((highest < clipped) & (darker > least[0]) & (brighter > least[1]))
    x = np.interp(brighter[usable], grid, curve) + np.interp(darker[usable], grid, curve) * step
    level = np.floor(np.log(x) / width).astype(int)
    excess = np.maximum(variance[usable] / (0.1 + 0.1 * brighter[usable]) - 4, 0)
    rank = (excess * 2**16).astype(int) + (usable * 40503) % 65536
    expected = []
    for key in sorted(set(zip(level, tile[usable // 3], strict=True))):
        cell = np.flatnonzero((level == key[0]) & (tile[usable // 3] == key[1]))
        expected += list(usable[cell[np.argsort(rank[cell], kind="stable")][:most]])
    assert len(expected) < len(usable)
    assert np.array_equal(kept, expected)


def test_medians_of_groups() -> None:
    values, counts = RNG.normal(size=60), np.array([1, 2, 7, 50])
    out = np.empty(4)
    medians(values, counts, out)
    groups = np.split(values, np.cumsum(counts)[:-1])
    np.testing.assert_allclose(out, [np.median(g) for g in groups])


def test_noise_is_seen_where_both_frames_expose() -> None:
    h, w = 3 * BLOCK, 4 * BLOCK + 3
    darker = RNG.uniform(0.05, 0.3, (3, h, w)).astype(np.float32)
    brighter = (2 * darker + RNG.normal(0, 0.02, darker.shape)).astype(np.float32)
    brighter[1, 3, 3] = 0.95  # clipped in one block and channel
    darker[:, :BLOCK, BLOCK : 2 * BLOCK] = 0.001
    inside = np.array([[[0, w]] * h, [[1, w]] * h])  # the first column of blocks is cut
    inside[1, BLOCK:, 0] = 0
    found = np.empty((2, 3 * 3 * 4), np.float32)
    exposures, limits = (np.float32(0.5), np.float32(1)), (np.float32(0.004), np.float32(0.85))
    number = compare(darker, brighter, inside, exposures, limits, found)
    expected = []
    for y, x, c in np.ndindex(3, 4, 3):
        at = np.s_[c, y * BLOCK : (y + 1) * BLOCK, x * BLOCK : (x + 1) * BLOCK]
        a, b = darker[at].astype(float), brighter[at].astype(float)
        if (y, x) != (0, 0) and min(a.mean(), b.mean()) > 0.004 and max(a.max(), b.max()) < 0.85:
            expected.append((b.mean(), (b - a / 0.5).var()))
    assert number == len(expected) < 3 * 3 * 4 - 3
    np.testing.assert_allclose(found[:, :number].T, expected, rtol=1e-3)
