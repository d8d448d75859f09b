"""Sub-pixel alignment of two proxies by their pixels: Gauss-Newton over tiles, robust to movers.

The step is the one of Lucas and Kanade 1981 with the reference's gradients (Baker and Matthews
2004), gathered a tile at a time: a tile's structure tensor A and gradient-weighted residual b say
how far the tile still moves and how surely. Exposures need not be known: the frame's codes are
brought to the reference's by matching the histograms of the pixels that both expose well, and
each tile may differ by an offset of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, Matrix

Model = Literal["homography", "affine", "translation"]
Float64 = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_SIGMA = 0.7  # px of the Gaussian before gradients: makes them hold over a pixel's distance
_TUKEY = 4.0  # a residual this many standard deviations large is another object
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


@dataclass(frozen=True, slots=True, eq=False)
class Proxy:
    """A small picture of a frame: display codes (h, w) uint8, and 255 where they are usable
    (no channel clipped, not black)."""

    codes: Bytes
    usable: Bytes

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


def match_tones(frame: Bytes, reference: Bytes) -> FloatArray:
    """(256,) float32: the reference's code for each code of the frame, from equal ranks in the
    histograms of samples that show the same scene: ranks agree under any exposure and response."""
    ranks = []
    for codes in (frame, reference):
        counts = np.bincount(codes.ravel(), minlength=256).astype(np.float64)
        total = np.cumsum(counts)
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

        self.shape = h, w = reference.codes.shape
        self.tile = int(min(np.clip(2 ** int(np.log2(max(min(h, w) / 16, 1))), 8, 32), h, w))
        seen = self.usable_at(frame, homography)
        both = (seen > 0) & (cv2.erode(reference.usable, np.ones((5, 5), np.uint8)) > 0)
        rough = _warp(frame.codes, homography, self.shape, cv2.INTER_NEAREST)
        tones = match_tones(rough[both], reference.codes[both])
        self.usable: FloatArray = both.astype(np.float32)
        self.seen: Mask = self.total(seen) > 0.25 * self.tile**2
        self._levels = reference.codes
        self._frame = cv2.GaussianBlur(cv2.LUT(frame.codes, tones), (0, 0), _SIGMA)
        self._reference = cv2.GaussianBlur(reference.codes.astype(np.float32), (0, 0), _SIGMA)
        self._gx = cv2.Sobel(self._reference, cv2.CV_32F, 1, 0, scale=1 / 8)
        self._gy = cv2.Sobel(self._reference, cv2.CV_32F, 0, 1, scale=1 / 8)
        self.precision: FloatArray = np.zeros_like(self._reference)  # 1 / deviation, a pixel
        self._latest: tuple[bytes, FloatArray] | None = None

    def usable_at(self, frame: Proxy, homography: Matrix) -> FloatArray:
        """1 where the frame shows usable pixels, and no others next to them, else 0."""
        import cv2

        inner = cv2.erode(frame.usable, np.ones((5, 5), np.uint8))
        seen = _warp(inner, homography, self.shape, cv2.INTER_NEAREST)
        return np.asarray(seen > 0, dtype=np.float32)

    def signal(self, homography: Matrix) -> Float64:
        """(T, 2, 2): structure tensors between the two pictures' gradients instead of within the
        reference's. Their noise is independent, so what remains is texture that both see."""
        import cv2

        r = self._residual(homography)
        weight = self._weight(r)
        gx = self._gx + cv2.Sobel(r, cv2.CV_32F, 1, 0, scale=1 / 8)
        gy = self._gy + cv2.Sobel(r, cv2.CV_32F, 0, 1, scale=1 / 8)
        wx, wy = weight * self._gx, weight * self._gy
        s = np.maximum(self.total(weight), 1e-12)
        mx, my = self.total(wx), self.total(wy)
        nx, ny = self.total(weight * gx), self.total(weight * gy)
        out = np.empty((s.size, 2, 2))
        out[:, 0, 0] = self.total(wx * gx) - mx * nx / s
        out[:, 1, 1] = self.total(wy * gy) - my * ny / s
        out[:, 0, 1] = self.total(wx * gy) - mx * ny / s
        out[:, 1, 0] = self.total(wy * gx) - my * nx / s
        return (out + out.transpose(0, 2, 1)) / 2

    def checkerboard(self) -> Mask:
        """(T,) bool: tiles on the black squares of a board whose squares are 2 x 2 tiles."""
        h, w = (n // self.tile for n in self.shape)
        rows, columns = np.mgrid[:h, :w] // 2
        return np.asarray((rows + columns) % 2 == 0).ravel()

    def measure_noise(self, homography: Matrix) -> float:
        """Set the residual's deviation, as a function of the reference's code, from the residuals
        at ``homography``; returns its mean over the usable pixels (inf without any)."""
        import cv2

        residual = self._residual(homography)
        step = max(1, int((residual.size / _SAMPLES) ** 0.5))
        pick = (slice(None, None, step), slice(None, None, step))
        used = self.usable[pick] > 0
        codes, sizes = self._levels[pick][used], np.abs(residual[pick][used])
        if codes.size < 4 * _BINS:
            self.precision[:] = 0
            return float("inf")
        groups = np.array_split(np.argsort(codes, kind="stable"), _BINS)
        sigma = np.maximum([1.4826 * float(np.median(sizes[g])) for g in groups], _FLOOR)
        of_code = np.interp(np.arange(256), [float(codes[g].mean()) for g in groups], sigma)
        self.precision = cv2.LUT(self._levels, (1 / of_code).astype(np.float32))
        return float(sigma.mean())

    def cost(self, homography: Matrix, where: FloatArray) -> Float64:
        """(T,) Tukey's loss (0..1 a pixel) of the residuals, summed over each tile's ``where``."""
        keep = self._keep(self._residual(homography))
        return self.total(where * (1 - keep * keep * keep))

    def tiles(self, homography: Matrix) -> Tiles:
        """The normal equations of a small further displacement, freed of each tile's offset."""
        r = self._residual(homography)
        weight = self._weight(r)
        wx, wy = weight * self._gx, weight * self._gy
        total = self.total
        s = np.maximum(total(weight), 1e-12)
        mx, my, mr = total(wx), total(wy), total(weight * r)
        a = np.empty((s.size, 2, 2))
        a[:, 0, 0] = total(wx * self._gx) - mx * mx / s
        a[:, 1, 1] = total(wy * self._gy) - my * my / s
        a[:, 0, 1] = a[:, 1, 0] = total(wx * self._gy) - mx * my / s
        b = np.stack([total(wx * r) - mx * mr / s, total(wy * r) - my * mr / s], axis=1)
        return Tiles(self._centres(), a, b)

    def _centres(self) -> Float64:
        h, w = (n // self.tile for n in self.shape)
        y, x = np.mgrid[:h, :w] * float(self.tile) + (self.tile - 1) / 2
        n = _normaliser(self.shape)
        return np.stack([n[0, 0] * x.ravel() + n[0, 2], n[1, 1] * y.ravel() + n[1, 2]], axis=1)

    def _residual(self, homography: Matrix) -> FloatArray:
        import cv2

        key = homography.tobytes()
        if self._latest is None or self._latest[0] != key:
            warped = _warp(self._frame, homography, self.shape, cv2.INTER_CUBIC)
            self._latest = key, np.asarray(cv2.subtract(warped, self._reference))
        return self._latest[1]

    def _weight(self, residual: FloatArray) -> FloatArray:
        """Tukey's weight of each pixel over the residual's variance."""
        weight = self._keep(residual)
        weight *= weight
        weight *= self.usable
        weight *= self.precision
        weight *= self.precision
        return weight

    def _keep(self, residual: FloatArray) -> FloatArray:
        """1 - (z / c)^2 floored at 0, for residuals of z standard deviations."""
        z = residual * self.precision
        z *= np.float32(1 / _TUKEY)
        z *= z
        np.subtract(1, z, out=z)
        return np.asarray(np.maximum(z, 0, out=z))

    def total(self, values: NDArray[Any]) -> Float64:
        """(T,) sums over tiles; a margin smaller than a tile on the right and below is left out."""
        import cv2

        t = self.tile
        h, w = (n // t for n in self.shape)
        part = values[: h * t, : w * t].astype(np.float32, copy=False)
        means = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA)
        return np.asarray(means, dtype=np.float64).ravel() * (t * t)


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
    j = _jacobian(tiles.centres, model) * (max(shape) / 2)
    count = j.shape[2]
    a, b = tiles.a, tiles.b
    aj = a @ j
    size = np.trace(a, axis1=1, axis2=2)
    base = (size > 0).astype(np.float64) if use is None else (use & (size > 0)).astype(np.float64)
    inverse = np.linalg.inv(a + (1e-3 + 1e-2 * size)[:, None, None] * np.eye(2))
    weight = base
    for _ in range(_ROUNDS):
        weighted = (weight[:, None, None] * j).reshape(-1, count).T
        normal = weighted @ aj.reshape(-1, count)
        normal += np.eye(count) * (1e-9 * np.trace(normal) + 1e-12)
        p = -np.linalg.solve(normal, weighted @ b.ravel())
        left = b + aj @ p  # what a tile still wants
        q = (left * (inverse @ left[..., None])[..., 0]).sum(axis=1)
        informed = q[(base > 0) & (size > 1)]
        spread = max(float(np.median(informed)) / 1.386, 1.0) if informed.size else 1.0
        weight = base / (1 + q / (6 * spread)) ** 2
    scores = weight[:, None] * (left[:, None, :] @ j)[:, 0]
    if signal is not None:
        seen = weighted @ (signal @ j).reshape(-1, count)
        share = np.linalg.eigvals(np.linalg.solve(normal, seen)).real
        if share.min() < _SIGNAL:
            return Step(model, p, np.full((count, count), np.inf))
        normal = seen
    back = np.linalg.inv(normal)
    return Step(model, p, back @ (scores.T @ scores) @ back)


def _warp(image: NDArray[Any], homography: Matrix, shape: tuple[int, ...], kernel: int) -> Any:
    import cv2

    h, w = shape
    return cv2.warpPerspective(image, homography, (w, h), flags=kernel | cv2.WARP_INVERSE_MAP)


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
