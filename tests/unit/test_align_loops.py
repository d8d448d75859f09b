"""The loops of alignment say what their formulas say, written out in double precision."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hdrmerge import align_features_loops, align_residual_loops, align_tiles_loops
from hdrmerge.align_residual_loops import PAD

RNG = np.random.default_rng(8)
SHAPE = (45, 70)
TURNED = np.array([[0.99, -0.03, 2.3], [0.025, 1.01, -3.4], [1e-4, -2e-4, 1.0]])


def places(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    u, v, w = np.einsum("ij,jhw->ihw", matrix, np.stack([x, y, np.ones_like(x)]))
    return u / w, v / w


def keys(t: np.ndarray) -> np.ndarray:
    """Cubic convolution, Keys 1981, a = -0.75."""
    t, a = np.abs(t), -0.75
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    return np.where(t < 1, near, np.where(t < 2, a * (t**3 - 5 * t**2 + 8 * t - 4), 0))


def test_residual_is_a_cubic_sample_less_the_reference() -> None:
    frame = RNG.uniform(0, 255, (SHAPE[0] + 2 * PAD, SHAPE[1] + 2 * PAD)).astype(np.float32)
    reference = RNG.uniform(0, 255, SHAPE).astype(np.float32)
    out = np.empty(SHAPE, np.float32)
    align_residual_loops.residual(frame, reference, TURNED, out)
    u, v = places(TURNED)
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    inside = (i >= -1) & (i < SHAPE[1]) & (j >= -1) & (j < SHAPE[0])
    assert 0.5 < inside.mean() < 1
    expected = np.zeros(SHAPE)
    for dy, dx in product(range(-1, 3), repeat=2):
        row, column = (
            np.clip(k + d + PAD, 0, n - 1)
            for k, d, n in zip((j, i), (dy, dx), frame.shape, strict=True)
        )
        expected += frame[row, column] * keys(v - j - dy) * keys(u - i - dx)
    np.testing.assert_allclose(out[inside], (expected - reference)[inside], atol=2e-3)
    assert np.isfinite(out).all()


def test_overlap_looks_at_the_nearest_pixel() -> None:
    codes, reference = RNG.integers(0, 256, (2, *SHAPE), dtype=np.uint8)
    inner, usable = (RNG.random((2, *SHAPE)) > 0.3).astype(np.uint8) * np.uint8(255)
    both, seen = np.empty(SHAPE, np.uint8), np.empty(SHAPE, np.uint8)
    counts = np.zeros((2, 256), np.int64)
    align_residual_loops.overlap(codes, inner, reference, usable, TURNED, both, seen, counts)
    i, j = (np.floor(p + 0.5).astype(int) for p in places(TURNED))
    inside = (i >= 0) & (i < SHAPE[1]) & (j >= 0) & (j < SHAPE[0])
    at = np.clip(j, 0, SHAPE[0] - 1), np.clip(i, 0, SHAPE[1] - 1)
    expected = inside & (inner[at] > 0)
    assert np.array_equal(seen, expected)
    expected &= usable > 0
    assert np.array_equal(both, expected)
    assert np.array_equal(counts[0], np.bincount(codes[at][expected], minlength=256))
    assert np.array_equal(counts[1], np.bincount(reference[expected], minlength=256))


def weights(r: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = r.astype(float) * precision
    keep = np.maximum(1 - (z / 4) ** 2, 0)  # Tukey's biweight, c = 4
    return keep, keep**2 * precision**2


def sobel(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.pad(p.astype(float), 1, mode="reflect")
    smooth = p[:-2] + 2 * p[1:-1] + p[2:]
    across = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    return (smooth[:, 2:] - smooth[:, :-2]) / 8, (across[2:] - across[:-2]) / 8


@pytest.mark.parametrize("across", [False, True])
def test_sums_over_tiles(across: bool) -> None:
    tile = 8
    codes = RNG.integers(0, 256, SHAPE, dtype=np.uint8)
    reference = RNG.uniform(0, 255, SHAPE).astype(np.float32)
    r = RNG.normal(0, 5, SHAPE).astype(np.float32)
    usable = (RNG.random(SHAPE) > 0.2).astype(np.uint8)
    precision = RNG.uniform(0.1, 1, 256).astype(np.float32)
    h, w = SHAPE[0] // tile, SHAPE[1] // tile
    out, lost = np.zeros((h, w, 12)), np.zeros((h, w))
    align_tiles_loops.sums(r, reference, codes, usable, precision, tile, across, out)
    align_tiles_loops.losses(r, codes, usable, precision, tile, lost)

    def total(values: np.ndarray) -> np.ndarray:
        return values[: h * tile, : w * tile].reshape(h, tile, w, tile).sum(axis=(1, 3))

    keep, weight = weights(r, precision[codes])
    weight = weight * usable
    x, y = sobel(reference)
    u, v = sobel(reference.astype(float) + r) if across else (x, y)
    parts = [1, x, y, u, v, x * u, y * v, x * v, y * u]
    parts += [0, 0, 0] if across else [r, x * r, y * r]
    expected = np.stack([total(weight * p) for p in parts], axis=-1)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=0.05)
    np.testing.assert_allclose(lost, total(usable * (1 - keep**3)), rtol=1e-4)


def test_deviations_are_medians_of_equal_groups() -> None:
    codes = RNG.integers(0, 256, SHAPE, dtype=np.uint8)
    r = RNG.normal(0, 5, SHAPE).astype(np.float32)
    usable = (RNG.random(SHAPE) > 0.2).astype(np.uint8)
    out = np.empty((2, 16))
    number = align_residual_loops.deviations(r, codes, usable, 2, out)
    used = usable[::2, ::2] > 0
    z, size = codes[::2, ::2][used], np.abs(r[::2, ::2][used])
    assert number == z.size
    groups = np.array_split(np.argsort(z, kind="stable"), 16)
    np.testing.assert_allclose(out[0], [z[g].mean() for g in groups])
    np.testing.assert_allclose(out[1], [np.median(size[g]) for g in groups], rtol=1e-6)


def test_nearest_words() -> None:
    ours, theirs = (
        RNG.integers(0, 256, (60, 32), dtype=np.uint8),
        RNG.integers(0, 256, (50, 32), dtype=np.uint8),
    )
    theirs[7] = theirs[3] = ours[20]  # as near as each other: the first counts
    first, second = np.empty(60, np.int64), np.empty(50, np.int64)
    columns = np.ascontiguousarray(theirs.view(np.uint64).T)
    align_features_loops.nearest(ours.view(np.uint64), columns, first, second)
    bits = np.unpackbits(ours[:, None] ^ theirs[None], axis=2).sum(axis=2)
    assert first[20] == 3
    assert np.array_equal(first, bits.argmin(axis=1))
    assert np.array_equal(second, bits.argmin(axis=0))


@pytest.mark.parametrize("count", [2, 6, 8])
def test_tiles_agree_despite_outliers(count: int) -> None:
    tiles = 300
    jacobian = RNG.normal(0, 1, (tiles, 2, count))
    root = RNG.normal(0, 3, (tiles, 2, 2))
    a = root @ root.transpose(0, 2, 1) + 2 * np.eye(2)
    truth = RNG.normal(0, 1, count)
    b = -(a @ (jacobian @ truth)[..., None])[..., 0] + RNG.normal(0, 0.01, (tiles, 2))
    b[:60] += RNG.normal(30, 5, (60, 2))  # objects that move
    base = np.ones(tiles)
    base[-20:], b[-20:] = 0, 1e6
    p, weight = np.empty(count), np.empty(tiles)
    normal, scatter = np.empty((count, count)), np.empty((count, count))
    align_tiles_loops.agree(jacobian, a, b, base, 6, p, weight, normal, scatter)
    np.testing.assert_allclose(p, truth, atol=0.05)
    assert weight[:60].mean() < 0.3 * weight[60:-20].mean()
    assert np.all(weight[-20:] == 0)
    j, aj = jacobian.reshape(-1, count), (a @ jacobian).reshape(-1, count)
    expected = (np.repeat(weight, 2)[:, None] * j).T @ aj
    np.testing.assert_allclose(normal, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert np.allclose(scatter, scatter.T)
