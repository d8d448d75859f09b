"""Sub-pixel alignment of two proxies by their pixels: Gauss-Newton over tiles, robust to movers.

The step is the one of Lucas and Kanade 1981 with the reference's gradients (Baker and Matthews
2004), gathered a tile at a time: a tile's structure tensor A and gradient-weighted residual b say
how far the tile still moves and how surely. Exposures need not be known: the frame's codes are
brought to the reference's by matching the histograms of the pixels that both expose well, and
each tile may differ by an offset of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, Matrix

Model = Literal["homography", "affine", "translation"]
Float64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]

_SIGMA = 0.7  # px of the Gaussian before gradients: makes them hold over a pixel's distance
_BINS = 16  # of the reference's codes, in which the residual's deviation is measured
_SAMPLES = 40_000  # residuals that it is measured on
_FLOOR = 0.3  # codes: no residual is surer than rounding
_SIGNAL = 0.02  # share of the apparent texture, in the worst direction, that must be real
_ROUNDS = 6  # of reweighting tiles within a step
_PARAMETERS: dict[Model, list[int]] = {
    "homography": [0, 1, 2, 3, 4, 5, 6, 7],
    "affine": [0, 1, 2, 3, 4, 5],
    "translation": [0, 3],
}


@dataclass(frozen=True, eq=False)
class Proxy:
    """A small picture of a frame: display codes (h, w) uint8, and 255 where they are usable
    (no channel clipped, not black)."""

    codes: Bytes
    usable: Bytes

    @cached_property
    def inner(self) -> Bytes:
        """255 where a pixel and all within 2 px of it are usable."""
        import cv2

        return np.asarray(cv2.erode(self.usable, np.ones((5, 5), np.uint8)), np.uint8)

    @cached_property
    def smooth(self) -> FloatArray:
        """The codes as a reference's are looked at."""
        import cv2

        blurred = cv2.GaussianBlur(self.codes.astype(np.float32), (0, 0), _SIGMA)
        return np.asarray(blurred, np.float32)

    def half(self) -> Proxy:
        """Area-averaged to half the size; a pixel is usable where all it was made of are."""
        import cv2

        h, w = (n // 2 for n in self.codes.shape)
        codes, usable = (
            cv2.resize(a[: 2 * h, : 2 * w], (w, h), interpolation=cv2.INTER_AREA)
            for a in (self.codes, self.usable)
        )
        return Proxy(codes, np.where(usable == 255, np.uint8(255), np.uint8(0)))


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """What T tiles say at some homography: centres (T, 2) in pixels from the picture's centre over
    half its longer side; structure tensors ``a`` (T, 2, 2) in px^-2 and gradient-weighted
    residuals ``b`` (T, 2) in px^-1, both over the residual's variance."""

    centres: Float64
    a: Float64
    b: Float64


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Parameters (P,) of the displacement that tiles ask for and their covariance (P, P)."""

    model: Model
    parameters: Float64
    covariance: Float64

    def matrix(self, shape: tuple[int, ...]) -> Matrix:
        """The step as a homography of the reference's pixel coordinates to themselves."""
        p = np.zeros(8)
        p[_PARAMETERS[self.model]] = self.parameters
        d = np.array([[1 + p[1], p[2], p[0]], [p[4], 1 + p[5], p[3]], [-p[6], -p[7], 1]])
        n = _normaliser(shape)
        return np.asarray(np.linalg.inv(n) @ d @ n)

    def deviation(self, centres: Float64, shape: tuple[int, ...]) -> Float64:
        """(T,) standard deviation in px of the displacement at ``centres``."""
        j = _jacobian(centres, self.model) * (max(shape) / 2)
        if not np.isfinite(self.covariance).all():
            return np.full(len(centres), np.inf)
        variance = ((j @ self.covariance) * j).sum(axis=(1, 2))
        return np.asarray(np.sqrt(np.maximum(variance, 0)))


def match_tones(frame: Counts, reference: Counts) -> FloatArray:
    """(256,) float32: the reference's code for each code of the frame, from equal ranks in the
    counts (256,) of codes that show the same scene: ranks agree under any exposure and response."""
    ranks = []
    for counts in (frame, reference):
        total = np.cumsum(counts, dtype=np.float64)
        ranks.append((total - 0.5 * counts) / max(total[-1], 1.0))
    present = np.concatenate([[True], np.diff(ranks[1]) > 0])
    tones = np.interp(ranks[0], ranks[1][present], np.arange(256.0)[present])
    return np.asarray(tones, dtype=np.float32)


class Pair:
    """A frame's proxy beside the reference's, and what does not change as their homography does.

    ``homography`` need only be right to a few pixels: it says where both are usable.
    """

    def __init__(self, reference: Proxy, frame: Proxy, homography: Matrix) -> None:
        import cv2

        from hdrmerge.align_residual_loops import PAD

        self.shape = h, w = reference.codes.shape
        self.tile = int(min(np.clip(2 ** int(np.log2(max(min(h, w) / 16, 1))), 8, 32), h, w))
        self._reference = reference
        self.usable, self._seen, counts = self._overlap(frame, homography)
        tones = match_tones(counts[0], counts[1])
        wide = cv2.copyMakeBorder(frame.codes, PAD, PAD, PAD, PAD, cv2.BORDER_REPLICATE)
        self._frame = cv2.GaussianBlur(cv2.LUT(wide, tones), (0, 0), _SIGMA)
        self.precision: FloatArray = np.zeros(256, np.float32)  # 1 / deviation, of a code
        self._residuals: FloatArray = np.empty(self.shape, np.float32)
        self._latest = b""

    @property
    def seen(self) -> Mask:
        """(T,) bool: tiles of which the frame shows usable pixels on a quarter or more."""
        return np.asarray(self.total(self._seen) > 0.25 * self.tile**2)

    def usable_at(self, frame: Proxy, homography: Matrix) -> Bytes:
        """1 where frame and reference show usable pixels, and no others next to them, else 0."""
        return self._overlap(frame, homography)[0]

    def _overlap(self, frame: Proxy, homography: Matrix) -> tuple[Bytes, Bytes, Counts]:
        from hdrmerge.align_residual_loops import overlap

        both, seen = np.empty(self.shape, np.uint8), np.empty(self.shape, np.uint8)
        counts = np.zeros((2, 256), np.int64)
        ours = self._reference
        matrix = np.ascontiguousarray(homography, dtype=np.float64)
        overlap(frame.codes, frame.inner, ours.codes, ours.inner, matrix, both, seen, counts)
        return both, seen, counts

    def signal(self, homography: Matrix) -> Float64:
        """(T, 2, 2): structure tensors between the two pictures' gradients instead of within the
        reference's. Their noise is independent, so what remains is texture that both see."""
        return _centred(self._sums(homography, across=True))[0]

    def checkerboard(self) -> Mask:
        """(T,) bool: tiles on the black squares of a board whose squares are 2 x 2 tiles."""
        h, w = (n // self.tile for n in self.shape)
        rows, columns = np.mgrid[:h, :w] // 2
        return np.asarray((rows + columns) % 2 == 0).ravel()

    def measure_noise(self, homography: Matrix) -> float:
        """Set the residual's deviation, as a function of the reference's code, from the residuals
        at ``homography``; returns its mean over the usable pixels (inf without any)."""
        from hdrmerge.align_residual_loops import deviations

        residual = self._residual(homography)
        step = max(1, int((residual.size / _SAMPLES) ** 0.5))
        groups = np.empty((2, _BINS))
        if deviations(residual, self._reference.codes, self.usable, step, groups) < 4 * _BINS:
            self.precision[:] = 0
            return float("inf")
        sigma = np.maximum(1.4826 * groups[1], _FLOOR)
        self.precision = (1 / np.interp(np.arange(256), groups[0], sigma)).astype(np.float32)
        return float(sigma.mean())

    def cost(self, homography: Matrix, where: Bytes) -> Float64:
        """(T,) Tukey's loss (0..1 a pixel) of the residuals, summed over each tile's ``where``."""
        from hdrmerge.align_tiles_loops import losses

        out = np.zeros(self._tiles())
        residual = self._residual(homography)
        losses(residual, self._reference.codes, where, self.precision, self.tile, out)
        return out.ravel()

    def tiles(self, homography: Matrix) -> Tiles:
        """The normal equations of a small further displacement, freed of each tile's offset."""
        return Tiles(self._centres(), *_centred(self._sums(homography, across=False)))

    def _sums(self, homography: Matrix, *, across: bool) -> Float64:
        """(T, 12): see ``align_tiles_loops.sums``."""
        from hdrmerge.align_tiles_loops import sums

        out = np.zeros((*self._tiles(), 12))
        sums(
            self._residual(homography),
            self._reference.smooth,
            self._reference.codes,
            self.usable,
            self.precision,
            self.tile,
            across,
            out,
        )
        return out.reshape(-1, 12)

    def _tiles(self) -> tuple[int, int]:
        """Rows and columns of tiles; a margin smaller than one on the right and below is left
        out."""
        return self.shape[0] // self.tile, self.shape[1] // self.tile

    def _centres(self) -> Float64:
        h, w = self._tiles()
        y, x = np.mgrid[:h, :w] * float(self.tile) + (self.tile - 1) / 2
        n = _normaliser(self.shape)
        return np.stack([n[0, 0] * x.ravel() + n[0, 2], n[1, 1] * y.ravel() + n[1, 2]], axis=1)

    def _residual(self, homography: Matrix) -> FloatArray:
        from hdrmerge.align_residual_loops import residual

        key = homography.tobytes()
        if self._latest != key:
            matrix = np.ascontiguousarray(homography, dtype=np.float64)
            residual(self._frame, self._reference.smooth, matrix, self._residuals)
            self._latest = key
        return self._residuals

    def total(self, values: Bytes) -> Float64:
        """(T,) sums over tiles."""
        import cv2

        t = self.tile
        h, w = self._tiles()
        part = values[: h * t, : w * t].astype(np.float32)
        means = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(means, dtype=np.float64).ravel() * (t * t)


def _centred(sums: Float64) -> tuple[Float64, Float64]:
    """Symmetric structure tensors (T, 2, 2) and gradient-weighted residuals (T, 2) about each
    tile's means, from ``align_tiles_loops.sums``."""
    s, mx, my, nx, ny, xx, yy, xy, yx, mr, xr, yr = sums.T
    s = np.maximum(s, 1e-12)
    a = np.empty((s.size, 2, 2))
    a[:, 0, 0] = xx - mx * nx / s
    a[:, 1, 1] = yy - my * ny / s
    a[:, 0, 1] = a[:, 1, 0] = (xy - mx * ny / s + yx - my * nx / s) / 2
    return a, np.stack([xr - mx * mr / s, yr - my * mr / s], axis=1)


def solve(
    tiles: Tiles,
    model: Model,
    shape: tuple[int, ...],
    use: Mask | None = None,
    signal: Float64 | None = None,
) -> Step:
    """The displacement that the tiles (those of ``use``) agree on.

    Tiles that disagree lose weight (Geman and McClure 1987), so that an object that moves as one
    does not pull; the covariance comes from how far the tiles scatter about the answer, so that
    neighbours' common errors count. With ``signal`` (see ``Pair.signal``) noise is not taken for
    texture that would make the answer sure; it is infinite where there is nothing else.
    """
    from hdrmerge.align_tiles_loops import agree

    j = np.ascontiguousarray(_jacobian(tiles.centres, model) * (max(shape) / 2))
    count = j.shape[2]
    base = np.trace(tiles.a, axis1=1, axis2=2) > 0
    base = (base if use is None else use & base).astype(np.float64)
    p, weight = np.empty(count), np.empty(len(base))
    normal, scatter = np.empty((count, count)), np.empty((count, count))
    agree(j, tiles.a, tiles.b, base, _ROUNDS, p, weight, normal, scatter)
    if signal is not None:
        seen = (weight[:, None, None] * j).reshape(-1, count).T @ (signal @ j).reshape(-1, count)
        share = np.linalg.eigvals(np.linalg.solve(normal, seen)).real
        if share.min() < _SIGNAL:
            return Step(model, p, np.full((count, count), np.inf))
        normal = seen
    back = np.linalg.inv(normal)
    return Step(model, p, back @ scatter @ back)


def _normaliser(shape: tuple[int, ...]) -> Matrix:
    """Pixels to coordinates whose origin is the picture's centre, its longer half side 1."""
    h, w = shape[:2]
    s = 2.0 / max(h, w)
    return np.array([[s, 0, -s * (w - 1) / 2], [0, s, -s * (h - 1) / 2], [0, 0, 1.0]])


def _jacobian(centres: Float64, model: Model) -> Float64:
    """(T, 2, P): displacement at ``centres``, in half sides, for each parameter of I + [p]."""
    x, y = centres.T
    o, i = np.zeros_like(x), np.ones_like(x)
    full = np.array([[i, x, y, o, o, o, x * x, x * y], [o, o, o, i, x, y, x * y, y * y]])
    return np.asarray(full.transpose(2, 0, 1)[:, :, _PARAMETERS[model]])
