"""Mertens, Kautz and Van Reeth 2007, "Exposure fusion", of exposures made from the radiance."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.edge_aware import exposed
from hdrmerge.tonemap.scene import Statistics

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LEAST = 1e-6  # of exposedness in a weight: it decides where grey or flat parts have no other
_TINY = 1e-12  # added to weights, as in the authors' program: where all are 0 all count alike
_SHOWN = 0.5  # linear value that the brightest thousandth has in the shortest exposure
_DARK = 0.1  # linear value that the darkest twentieth has in the longest
_MOST = 6  # exposures
_GAMMA = 2.2  # of the camera

Weights = NDArray[np.uint8]


def mertens2007(
    picture: FloatArray,
    scene: Statistics,
    *,
    contrast: float,
    saturation: float,
    exposedness: float,
    sigma: float,
    spacing: float,
) -> FloatArray:
    """Linear RGB (H, W, 3) to display RGB: the best parts of many exposures, blended.

    Exposures ``spacing`` stops apart span the scene, from the one that shows its brightest
    thousandth to the one that shows its darkest twentieth (further apart where six would not do);
    each is what a camera of gamma 2.2 would give. Weights (section 3.1) are the powers
    ``contrast``, ``saturation`` and ``exposedness`` of the Laplacian of grey, the standard
    deviation of the channels, and a Gaussian of ``sigma`` around 0.5 in every channel; Laplacian
    pyramids of the exposures are blended by Gaussian pyramids of the weights (section 3.2).

    ``picture`` is overwritten: at full size there is no room for another.
    """
    luminance = picture @ _LUMINANCE
    if not luminance.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    exposure = np.float32(exposed(luminance, scene))
    black = luminance == 0
    gains = _gains(luminance, spacing)
    del luminance
    powers = (contrast, saturation, exposedness, sigma)

    def encode(rows: slice) -> None:
        np.power(picture[rows], np.float32(1 / _GAMMA), out=picture[rows])

    in_bands(picture.shape, encode)
    weights = np.empty((len(gains), *picture.shape[:2]), np.uint8)
    in_bands(picture.shape, lambda rows: _weigh(picture, rows, gains, powers, weights))
    for channel in range(3):
        picture[:, :, channel] = _blend(
            np.ascontiguousarray(picture[:, :, channel]), gains, weights
        )

    def decode(rows: slice) -> None:
        part = np.clip(picture[rows], 0, 1, out=picture[rows])
        np.power(part, np.float32(_GAMMA), out=part)
        part *= exposure
        part[black[rows]] = 0  # blending lends it a little from its neighbours

    in_bands(picture.shape, decode)
    return picture


def _gains(luminance: FloatArray, spacing: float) -> list[np.float32]:
    """Factors on the encoded radiance that make the exposures, darkest first."""
    step = max(1, int((luminance.size / 200_000) ** 0.5))
    seen = luminance[::step, ::step]
    seen = seen[seen > 0]
    if seen.size == 0:
        seen = luminance[luminance > 0]
    low, high = (float(v) for v in np.percentile(seen, (5.0, 99.9)))
    first, last = math.log2(_SHOWN / high), math.log2(_DARK / low)
    count = min(_MOST, max(2, 1 + math.ceil((last - first) / spacing)))
    stops = np.linspace(first, max(first, last), count)
    return [np.float32(2.0 ** (s / _GAMMA)) for s in stops]


def _weigh(
    encoded: FloatArray,
    rows: slice,
    gains: list[np.float32],
    powers: tuple[float, float, float, float],
    out: Weights,
) -> None:
    """Weights of all exposures in a band; 255 is their sum."""
    import cv2

    contrast, saturation, exposedness, sigma = powers
    top, bottom = max(rows.start - 1, 0), min(rows.stop + 1, encoded.shape[0])
    inner = slice(rows.start - top, rows.stop - top)
    planes = [np.ascontiguousarray(encoded[top:bottom, :, c]) for c in range(3)]
    every = []
    for gain in gains:
        red, green, blue = (np.minimum(plane * gain, np.float32(1)) for plane in planes)
        grey = (red + green + blue) * np.float32(1 / 3)
        weight = np.ones_like(grey)
        if contrast > 0:
            laplacian = np.abs(cv2.Laplacian(grey, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE))
            weight *= laplacian if contrast == 1 else laplacian**contrast
        if saturation > 0:
            # the variance by differences of channels: grey is exactly 0
            spread = (red - green) ** 2 + (green - blue) ** 2 + (blue - red) ** 2
            weight *= (spread * np.float32(1 / 9)) ** np.float32(0.5 * saturation)
        weight += np.float32(_LEAST)
        distance = (red - 0.5) ** 2 + (green - 0.5) ** 2 + (blue - 0.5) ** 2
        weight *= np.exp(distance * np.float32(-exposedness / (2 * sigma**2)))
        every.append(weight[inner] + np.float32(_TINY))
    total = np.sum(every, axis=0)
    rest = np.full(total.shape, 255, np.uint8)
    below = np.zeros_like(total)
    for k, weight in enumerate(every[:-1]):
        # rounding sums, not weights, so that the rounded weights still add up
        below += weight
        upto = (below / total * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        out[k, rows] = upto - (255 - rest)
        rest = np.asarray(255 - upto, np.uint8)
    out[-1, rows] = rest


def _blend(plane: FloatArray, gains: list[np.float32], weights: Weights) -> FloatArray:
    """One channel of all exposures, blended level by level."""
    import cv2

    levels = max(0, int(math.log2(min(plane.shape))) - 1)
    total: list[FloatArray] = []
    for k, gain in enumerate(gains):
        shown = np.minimum(plane * gain, np.float32(1))
        weight = np.asarray(weights[k] * np.float32(1 / 255))
        for level in range(levels + 1):
            if level < levels:
                smaller = np.asarray(cv2.pyrDown(shown))
                cv2.subtract(shown, _enlarged(smaller, shown), dst=shown)
            cv2.multiply(shown, weight, dst=shown)
            if k == 0:
                total.append(shown)
            else:
                cv2.add(total[level], shown, dst=total[level])
            if level < levels:
                weight, shown = np.asarray(cv2.pyrDown(weight)), smaller
    result = total.pop()
    while total:
        finer = total.pop()
        result = cv2.add(finer, _enlarged(result, finer), dst=finer)
    return np.asarray(result)


def _enlarged(small: FloatArray, large: FloatArray) -> FloatArray:
    import cv2

    return np.asarray(cv2.pyrUp(small, dstsize=(large.shape[1], large.shape[0])))
