"""The loops of ``align_refine``: sums over tiles, and the displacement that tiles agree on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray
from hdrmerge.median_loops import median

Float64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
_EIGHTH = np.float32(1 / 8)
_UNLIKE = np.float32(1 / 4)  # Tukey's 1 / c: a residual of more deviations is another object


@compiled
def _gradients(
    above: FloatArray, here: FloatArray, below: FloatArray, gx: FloatArray, gy: FloatArray
) -> None:
    """Sobel's, of the row ``here`` by its neighbours, over 8; mirrored at its ends."""
    n = here.size
    for i in range(1, n - 1):
        gx[i] = _EIGHTH * (
            (above[i + 1] - above[i - 1])
            + _TWO * (here[i + 1] - here[i - 1])
            + (below[i + 1] - below[i - 1])
        )
        gy[i] = _EIGHTH * (
            (below[i - 1] - above[i - 1])
            + _TWO * (below[i] - above[i])
            + (below[i + 1] - above[i + 1])
        )
    inner = 1 if n > 1 else 0
    gx[0] = gx[n - 1] = _ZERO
    gy[0] = _EIGHTH * _TWO * (below[0] - above[0] + below[inner] - above[inner])
    gy[n - 1] = (
        _EIGHTH * _TWO * (below[n - 1] - above[n - 1] + below[n - 1 - inner] - above[n - 1 - inner])
    )


@compiled
def _precisions(codes: Bytes, table: FloatArray, out: FloatArray) -> None:
    for i in range(out.size):
        out[i] = table[codes[i]]


@compiled
def _keep(residual: FloatArray, precision: FloatArray, out: FloatArray) -> None:
    """1 - (z / c)^2, floored at 0, of residuals of z standard deviations."""
    for i in range(out.size):
        z = residual[i] * precision[i] * _UNLIKE
        k = _ONE - z * z
        out[i] = k if k > _ZERO else _ZERO


@compiled
def losses(
    residual: FloatArray,
    codes: Bytes,
    where: Bytes,
    precision: FloatArray,
    tile: int,
    out: Float64,
) -> None:
    """Tukey's loss (0..1 a pixel) summed over ``where`` (h, w; 0 or 1) in each tile, added to
    ``out`` (rows, columns); ``precision`` (256,): 1 over the residual's deviation at a code."""
    width = out.shape[1] * tile
    p, keep = np.empty(width, np.float32), np.empty(width, np.float32)
    for y in range(out.shape[0] * tile):
        _precisions(codes[y, :width], precision, p)
        _keep(residual[y, :width], p, keep)
        for column in range(out.shape[1]):
            total = _ZERO
            used = where[y]
            for i in range(column * tile, (column + 1) * tile):
                total += np.float32(used[i]) * (_ONE - keep[i] * keep[i] * keep[i])
            out[y // tile, column] += total


@compiled
def _add_own(w: FloatArray, gx: FloatArray, gy: FloatArray, r: FloatArray, out: Float64) -> None:
    s = mx = my = mr = xx = yy = xy = xr = yr = _ZERO
    for i in range(w.size):
        wx, wy = w[i] * gx[i], w[i] * gy[i]
        s += w[i]
        mx += wx
        my += wy
        mr += w[i] * r[i]
        xx += wx * gx[i]
        yy += wy * gy[i]
        xy += wx * gy[i]
        xr += wx * r[i]
        yr += wy * r[i]
    for i, total in enumerate((s, mx, my, mx, my, xx, yy, xy, xy, mr, xr, yr)):
        out[i] += total


@compiled
def _add_across(
    w: FloatArray, gx: FloatArray, gy: FloatArray, hx: FloatArray, hy: FloatArray, out: Float64
) -> None:
    s = mx = my = nx = ny = xx = yy = xy = yx = _ZERO
    for i in range(w.size):
        wx, wy = w[i] * gx[i], w[i] * gy[i]
        s += w[i]
        mx += wx
        my += wy
        nx += w[i] * hx[i]
        ny += w[i] * hy[i]
        xx += wx * hx[i]
        yy += wy * hy[i]
        xy += wx * hy[i]
        yx += wy * hx[i]
    for i, total in enumerate((s, mx, my, nx, ny, xx, yy, xy, yx)):
        out[i] += total


@compiled
def sums(
    residual: FloatArray,
    reference: FloatArray,
    codes: Bytes,
    usable: Bytes,
    precision: FloatArray,
    tile: int,
    across: bool,
    out: Float64,
) -> None:
    """Sums over tiles, added to ``out`` (rows, columns, 12), under Tukey's weight over the
    residual's variance: of 1, the reference's gradient (x, y), another gradient (x, y), the
    products xx, yy, xy, yx of the first with the other; then of the ``residual`` and its products
    with the first gradient (x, y). The other is the reference's too, or where ``across`` the
    frame's, for which the last three are not summed.
    """
    height = residual.shape[0]
    width = out.shape[1] * tile
    full = residual.shape[1]
    p, w = np.empty(width, np.float32), np.empty(width, np.float32)
    g, h = np.empty((2, full), np.float32), np.empty((2, full), np.float32)
    shown = np.empty((3, full), np.float32)
    for y in range(out.shape[0] * tile):
        up, down = abs(y - 1), height - 1 - abs(height - 2 - y)  # mirrored
        up, down = min(up, height - 1), max(down, 0)
        _gradients(reference[up], reference[y], reference[down], g[0], g[1])
        if across:
            for i in range(full):
                shown[0, i] = reference[up, i] + residual[up, i]
                shown[1, i] = reference[y, i] + residual[y, i]
                shown[2, i] = reference[down, i] + residual[down, i]
            _gradients(shown[0], shown[1], shown[2], h[0], h[1])
        _precisions(codes[y, :width], precision, p)
        r, used = residual[y, :width], usable[y, :width]
        _keep(r, p, w)
        for i in range(width):
            w[i] = w[i] * w[i] * p[i] * p[i] * np.float32(used[i])
        for column in range(out.shape[1]):
            a, b = column * tile, (column + 1) * tile
            at = out[y // tile, column]
            if across:
                _add_across(w[a:b], g[0, a:b], g[1, a:b], h[0, a:b], h[1, a:b], at)
            else:
                _add_own(w[a:b], g[0, a:b], g[1, a:b], r[a:b], at)


@compiled
def _solved(normal: Float64, right: Float64, factor: Float64, out: Float64) -> None:
    """``out`` (P,) of ``normal`` (P, P) ``out`` = ``right``, by Cholesky's ``factor``."""
    n = right.size
    for i in range(n):
        for j in range(i + 1):
            total = normal[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(total) if i == j else total / factor[j, j]
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= factor[i, k] * out[k]
        out[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = out[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * out[k]
        out[i] = total / factor[i, i]


@compiled
def agree(
    jacobian: Float64,
    a: Float64,
    b: Float64,
    base: Float64,
    rounds: int,
    parameters: Float64,
    weight: Float64,
    normal: Float64,
    scatter: Float64,
) -> None:
    """Parameters (P,) that minimise the sum of the tiles' squared wishes b + A J p under A's
    inverse, reweighted ``rounds`` times by Geman and McClure.

    ``jacobian`` (T, 2, P), ``a`` (T, 2, 2), ``b`` (T, 2), ``base`` (T,): 0 where a tile has no say.
    ``weight`` (T,): with which the last round was solved, ``normal`` (P, P): its matrix,
    ``scatter`` (P, P): the sum of the outer products of what is left of each tile's say.
    """
    tiles, count = b.shape[0], parameters.size
    aj = np.empty((tiles, 2, count))
    next_weight = np.empty(tiles)
    q = np.empty(tiles)
    left = np.empty((tiles, 2))
    right = np.empty(count)
    factor = np.empty((count, count))
    informed = np.empty(tiles)
    for t in range(tiles):
        next_weight[t] = base[t]
        for k in range(count):
            x, y = jacobian[t, 0, k], jacobian[t, 1, k]
            aj[t, 0, k] = a[t, 0, 0] * x + a[t, 0, 1] * y
            aj[t, 1, k] = a[t, 1, 0] * x + a[t, 1, 1] * y
    for _ in range(rounds):
        for t in range(tiles):
            weight[t] = next_weight[t]
        normal[:] = 0.0
        right[:] = 0.0
        for t in range(tiles):
            if weight[t] > 0.0:
                for i in range(count):
                    x, y = weight[t] * jacobian[t, 0, i], weight[t] * jacobian[t, 1, i]
                    right[i] -= x * b[t, 0] + y * b[t, 1]
                    for k in range(count):
                        normal[i, k] += x * aj[t, 0, k] + y * aj[t, 1, k]
        trace = 0.0
        for i in range(count):
            trace += normal[i, i]
        for i in range(count):
            normal[i, i] += 1e-9 * trace + 1e-12
        _solved(normal, right, factor, parameters)
        number = 0
        for t in range(tiles):
            u, v = b[t, 0], b[t, 1]
            for k in range(count):
                u += aj[t, 0, k] * parameters[k]
                v += aj[t, 1, k] * parameters[k]
            left[t, 0], left[t, 1] = u, v
            size = a[t, 0, 0] + a[t, 1, 1]
            more = 1e-3 + 1e-2 * size
            e, f, g = a[t, 0, 0] + more, a[t, 0, 1], a[t, 1, 1] + more
            q[t] = (g * u * u - 2.0 * f * u * v + e * v * v) / (e * g - f * f)
            if base[t] > 0.0 and size > 1.0:
                informed[number] = q[t]
                number += 1
        spread = 1.0
        if number > 0:
            spread = max(median(informed[:number]) / 1.386, 1.0)
        for t in range(tiles):
            down = 1.0 + q[t] / (6.0 * spread)
            next_weight[t] = base[t] / (down * down)
    scatter[:] = 0.0
    for t in range(tiles):
        if next_weight[t] > 0.0:
            for i in range(count):
                right[i] = next_weight[t] * (
                    left[t, 0] * jacobian[t, 0, i] + left[t, 1] * jacobian[t, 1, i]
                )
            for i in range(count):
                for k in range(count):
                    scatter[i, k] += right[i] * right[k]
