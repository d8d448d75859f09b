"""The loops of ``align_refine``: pictures sampled through a homography, and sums over tiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hdrmerge.compiled import compiled
from hdrmerge.frames import FloatArray

Float64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Ints = NDArray[np.int32]
Longs = NDArray[np.uint64]

PAD = 2  # pixels that a frame is enlarged by on each side before it is sampled
_ZERO, _ONE, _TWO, _THREE = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
_EIGHTH = np.float32(1 / 8)
_UNLIKE = np.float32(1 / 4)  # Tukey's 1 / c: a residual of more deviations is another object
_A = np.float32(-0.75)  # slope of the cubic kernel one pixel away, as OpenCV has it

_FAR, _INDEX = np.int64(2**62), np.int64(2**32 - 1)
_PAIRS, _FOURS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333)
_EIGHTS, _BYTES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
_S1, _S2, _S4, _S56 = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(56)


@compiled
def _places(
    matrix: Float64,
    y: int,
    shape: tuple[int, int],
    column: Ints,
    row: Ints,
    across: FloatArray,
    down: FloatArray,
) -> None:
    """Where row ``y`` lies in a frame of ``shape``, at most a pixel outside: columns less the
    pixels' own, rows, and how far on the way to the next of each."""
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    p = matrix[0, 1] * y + matrix[0, 2]
    q = matrix[1, 1] * y + matrix[1, 2]
    r = matrix[2, 1] * y + matrix[2, 2]
    bottom, right = np.float64(shape[0]) + 1.0 - 1e-9, np.float64(shape[1]) + 1.0 - 1e-9
    for x in range(column.size):
        at = np.float64(x)
        scale = 1.0 / (c * at + r)
        u = (a * at + p) * scale + 1.0
        v = (b * at + q) * scale + 1.0
        u = u if u > 0.0 else 0.0
        v = v if v > 0.0 else 0.0
        u = u if u < right else right
        v = v if v < bottom else bottom
        i, j = np.int32(u), np.int32(v)
        column[x], row[x] = i - np.int32(x), j
        across[x], down[x] = np.float32(u - np.float64(i)), np.float32(v - np.float64(j))


@compiled
def _kernel(
    share: FloatArray, before: FloatArray, at: FloatArray, after: FloatArray, beyond: FloatArray
) -> None:
    """What cubic interpolation gives the pixels -1, 0, 1 and 2, ``share`` on the way from 0 to 1
    (Keys 1981, eq. 4)."""
    for i in range(share.size):
        t = share[i]
        s = _ONE - t
        before[i] = _A * t * s * s
        at[i] = ((_A + _TWO) * t - (_A + _THREE)) * t * t + _ONE
        after[i] = ((_A + _TWO) * s - (_A + _THREE)) * s * s + _ONE
        beyond[i] = _A * s * t * t


@compiled
def _sample(
    a: FloatArray,
    b: FloatArray,
    c: FloatArray,
    d: FloatArray,
    w: FloatArray,
    x: FloatArray,
    y: FloatArray,
    z: FloatArray,
    s: FloatArray,
    t: FloatArray,
    u: FloatArray,
    v: FloatArray,
    reference: FloatArray,
    out: FloatArray,
) -> None:
    """Four rows interpolated by ``w`` to ``z`` along and by ``s`` to ``v`` across them, less the
    ``reference``."""
    for i in range(out.size):
        out[i] = (
            (a[i] * w[i] + a[i + 1] * x[i] + a[i + 2] * y[i] + a[i + 3] * z[i]) * s[i]
            + (b[i] * w[i] + b[i + 1] * x[i] + b[i + 2] * y[i] + b[i + 3] * z[i]) * t[i]
            + (c[i] * w[i] + c[i + 1] * x[i] + c[i + 2] * y[i] + c[i + 3] * z[i]) * u[i]
            + (d[i] * w[i] + d[i + 1] * x[i] + d[i + 2] * y[i] + d[i + 3] * z[i]) * v[i]
        ) - reference[i]


@compiled
def residual(frame: FloatArray, reference: FloatArray, matrix: Float64, out: FloatArray) -> None:
    """``out`` (h, w): the ``frame`` (H + 2 PAD, W + 2 PAD) through ``matrix`` (3, 3), which maps
    the reference's pixels to those of the frame without its margin, less the ``reference``."""
    height, width = out.shape
    shape = frame.shape[0] - 2 * PAD, frame.shape[1] - 2 * PAD
    column, row = np.empty(width, np.int32), np.empty(width, np.int32)
    part = np.empty((2, width), np.float32)
    w, s = np.empty((4, width), np.float32), np.empty((4, width), np.float32)
    for y in range(height):
        _places(matrix, y, shape, column, row, part[0], part[1])
        _kernel(part[0], w[0], w[1], w[2], w[3])
        _kernel(part[1], s[0], s[1], s[2], s[3])
        n = 0
        while n < width:
            start, shift, top = n, column[n], row[n]
            while n < width and column[n] == shift and row[n] == top:
                n += 1
            left, right = start + shift, n + shift + 3
            _sample(
                frame[top, left:right],
                frame[top + 1, left:right],
                frame[top + 2, left:right],
                frame[top + 3, left:right],
                w[0, start:n],
                w[1, start:n],
                w[2, start:n],
                w[3, start:n],
                s[0, start:n],
                s[1, start:n],
                s[2, start:n],
                s[3, start:n],
                reference[y, start:n],
                out[y, start:n],
            )


@compiled
def _nearest(matrix: Float64, y: int, shape: tuple[int, int], column: Ints, row: Ints) -> None:
    """The pixels of a frame of ``shape`` nearest to row ``y``: columns less the pixels' own, and
    rows, -1 outside."""
    a, b, c = matrix[0, 0], matrix[1, 0], matrix[2, 0]
    p = matrix[0, 1] * y + matrix[0, 2]
    q = matrix[1, 1] * y + matrix[1, 2]
    r = matrix[2, 1] * y + matrix[2, 2]
    bottom, right = np.float64(shape[0]), np.float64(shape[1])
    for x in range(column.size):
        at = np.float64(x)
        scale = 1.0 / (c * at + r)
        u = (a * at + p) * scale + 0.5
        v = (b * at + q) * scale + 0.5
        inside = (u >= 0.0) & (v >= 0.0) & (u < right) & (v < bottom)
        column[x] = np.int32(u if inside else 0.0) - np.int32(x if inside else 0)
        row[x] = np.int32(v if inside else -1.0)


@compiled
def _shown(inner: Bytes, usable: Bytes, seen: Bytes, both: Bytes) -> None:
    for i in range(seen.size):
        shown = np.uint8(inner[i] > 0)
        seen[i] = shown
        both[i] = shown & np.uint8(usable[i] > 0)


@compiled
def _count(codes: Bytes, weights: Bytes, table: Ints) -> None:
    for i in range(codes.size):
        table[i & 3, codes[i]] += np.int32(weights[i])


@compiled
def overlap(
    codes: Bytes,
    inner: Bytes,
    reference: Bytes,
    usable: Bytes,
    matrix: Float64,
    both: Bytes,
    seen: Bytes,
    counts: NDArray[np.int64],
) -> None:
    """Where a frame's and the reference's pixels can be used.

    ``codes`` and ``inner`` (H, W) of the frame, ``reference`` and ``usable`` (h, w) of the
    reference, the second of each not 0 where usable. ``seen`` (h, w): 1 where the frame's nearest
    pixel is, ``both``: where the reference's is too; ``counts`` (2, 256): the codes there.
    """
    height, width = both.shape
    column, row = np.empty(width, np.int32), np.empty(width, np.int32)
    table = np.zeros((8, 256), np.int32)  # four each: neighbours, often alike, need not wait
    for y in range(height):
        _nearest(matrix, y, codes.shape, column, row)
        n = 0
        while n < width:
            start, shift, line = n, column[n], row[n]
            while n < width and column[n] == shift and row[n] == line:
                n += 1
            if line < 0:
                seen[y, start:n] = 0
                both[y, start:n] = 0
                continue
            left, right = start + shift, n + shift
            _shown(inner[line, left:right], usable[y, start:n], seen[y, start:n], both[y, start:n])
            _count(codes[line, left:right], both[y, start:n], table[:4])
        _count(reference[y], both[y], table[4:])
    counts[0] = table[:4].sum(axis=0)
    counts[1] = table[4:].sum(axis=0)


@compiled
def deviations(residual: FloatArray, codes: Bytes, usable: Bytes, step: int, out: Float64) -> int:
    """Mean codes ``out[0]`` and median sizes of the residual ``out[1]`` (G,) of G groups of equally
    many usable pixels, every ``step``-th each way, in the order of their codes; their number."""
    height, width = residual.shape
    counts = np.zeros(257, np.int64)
    for y in range(0, height, step):
        for x in range(0, width, step):
            if usable[y, x] > 0:
                counts[np.int64(codes[y, x]) + 1] += 1
    places = np.cumsum(counts)
    number = places[256]
    sizes, order = np.empty(number, np.float32), np.empty(number, np.uint8)
    for y in range(0, height, step):
        for x in range(0, width, step):
            if usable[y, x] > 0:
                at = places[codes[y, x]]
                places[codes[y, x]] += 1
                order[at] = codes[y, x]
                sizes[at] = abs(residual[y, x])
    groups = out.shape[1]
    if number < groups:
        return int(number)
    start = 0
    for g in range(groups):
        end = start + number // groups + (1 if g < number % groups else 0)
        out[0, g] = np.float64(order[start:end].sum()) / (end - start)
        out[1, g] = np.median(sizes[start:end])
        start = end
    return int(number)


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
    next_weight = base.copy()
    q = np.empty(tiles)
    left = np.empty((tiles, 2))
    right = np.empty(count)
    factor = np.empty((count, count))
    informed = np.empty(tiles)
    for t in range(tiles):
        for k in range(count):
            x, y = jacobian[t, 0, k], jacobian[t, 1, k]
            aj[t, 0, k] = a[t, 0, 0] * x + a[t, 0, 1] * y
            aj[t, 1, k] = a[t, 1, 0] * x + a[t, 1, 1] * y
    for _ in range(rounds):
        weight[:] = next_weight
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
            spread = max(np.median(informed[:number]) / 1.386, 1.0)
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


@compiled
def _bits(word: np.uint64) -> np.int64:
    """How many bits are set; a form in which the compiler knows the processor's instruction."""
    word -= (word >> _S1) & _PAIRS
    word = (word & _FOURS) + ((word >> _S2) & _FOURS)
    word = (word + (word >> _S4)) & _EIGHTS
    return np.int64((word * _BYTES) >> _S56)


@compiled
def _distances(words: Longs, others: Longs, out: NDArray[np.int64]) -> None:
    """How many bits of ``words`` (4,) differ from each of ``others`` (4, N): ``out`` (N,)."""
    a, b, c, d = words[0], words[1], words[2], words[3]
    e, f, g, h = others[0], others[1], others[2], others[3]
    for i in range(out.size):
        out[i] = _bits(a ^ e[i]) + _bits(b ^ f[i]) + _bits(c ^ g[i]) + _bits(d ^ h[i])


@compiled
def nearest(
    ours: Longs, theirs: Longs, first: NDArray[np.int64], second: NDArray[np.int64]
) -> None:
    """For each of ``ours`` (M, 4) the nearest of ``theirs`` (4, N) in Hamming distance, the first
    of them, into ``first`` (M,), and for each of theirs ``second`` (N,) of ours."""
    distance = np.empty(second.size, np.int64)
    second[:] = _FAR
    for i in range(first.size):
        _distances(ours[i], theirs, distance)
        best = _FAR
        for k in range(second.size):
            here = (distance[k] << 32) + k
            there = (distance[k] << 32) + i
            best = here if here < best else best
            second[k] = there if there < second[k] else second[k]
        first[i] = best & _INDEX
    for k in range(second.size):
        second[k] &= _INDEX
