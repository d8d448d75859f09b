"""Mertens, Kautz and Van Reeth 2007, "Exposure fusion", of exposures made from the radiance."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.scene import Statistics

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
_LEAST = 1e-6  # of exposedness in a weight: it decides where grey or flat parts have no other
_TINY = 1e-12  # added to weights, as in the authors' program: where all are 0 all count alike
_SHOWN = 0.5  # linear value that the brightest thousandth has in the shortest exposure
_DARK = 0.1  # linear value that the darkest twentieth has in the longest
_MOST = 6  # exposures
_GAMMA = 2.2  # of the camera
_FULL = 65535  # stands for 1 in the planes of the second level
_AROUND = 4  # rows around a band that its next level, and that enlarged again, look at
_HIGHER = 4  # bands that have rows around them are so much higher than others

Halves = NDArray[np.uint16]


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
    """
    luminance = picture @ _LUMINANCE
    if not luminance.max(initial=0.0) > 0:
        return np.zeros_like(picture)
    exposure = np.float32(scene.exposure)
    gains = _gains(luminance, spacing)
    del luminance
    height, width = picture.shape[:2]
    levels = max(0, int(math.log2(min(height, width))) - 1)
    result = np.empty_like(picture)
    # of the second level, in 65535ths; those of the first are never there as a whole
    weights = np.empty((len(gains), -(-height // 2), -(-width // 2)), np.uint16)

    def finest(pairs: slice) -> None:
        import cv2

        rows, around, inner = _surrounded(pairs, height)
        planes = [_encoded(plane) for plane in cv2.split(picture[around])]
        shares = _shares(planes, gains, (contrast, saturation, exposedness, sigma))
        for k, share in enumerate(shares):
            weights[k, pairs] = _halved(share, pairs, around)
        for channel, plane in enumerate(planes):
            total = np.zeros_like(plane)
            for gain, share in zip(gains, shares, strict=True):
                shown = _shown(plane, gain)
                if levels:
                    cv2.subtract(
                        shown, _enlarged(np.asarray(cv2.pyrDown(shown)), shown.shape), dst=shown
                    )
                cv2.multiply(shown, share, dst=shown)
                cv2.add(total, shown, dst=total)
            result[rows, :, channel] = total[inner]

    _in_pairs(picture.shape, finest)
    if levels:
        for channel in range(3):
            _add_coarser(result, picture, channel, gains, weights, levels - 1)

    def decode(rows: slice) -> None:
        import cv2

        part = np.clip(result[rows], 0, 1, out=result[rows])
        cv2.pow(part, _GAMMA, part)
        part *= exposure
        part[picture[rows] @ _LUMINANCE == 0] = 0  # blending lends it a little from its neighbours

    in_bands(picture.shape, decode)
    return result


def _add_coarser(
    result: FloatArray,
    picture: FloatArray,
    channel: int,
    gains: list[np.float32],
    weights: Halves,
    levels: int,
) -> None:
    """Add to a channel of the finest level what is blended on all the others."""
    height = picture.shape[0]
    exposures = np.empty_like(weights)

    def halve(pairs: slice) -> None:
        _, around, _ = _surrounded(pairs, height)
        plane = _encoded(np.ascontiguousarray(picture[around, :, channel]))
        for k, gain in enumerate(gains):
            exposures[k, pairs] = _halved(_shown(plane, gain), pairs, around)

    _in_pairs(picture.shape, halve)
    fused = _blend(exposures, weights, levels)

    def add(pairs: slice) -> None:
        rows, around, inner = _surrounded(pairs, height)
        part = fused[around.start // 2 : -(-around.stop // 2)]
        shape = (around.stop - around.start, picture.shape[1])
        result[rows, :, channel] += _enlarged(part, shape)[inner]

    _in_pairs(picture.shape, add)


def _in_pairs(shape: tuple[int, ...], work: Callable[[slice], None]) -> None:
    """``work`` on bands of pairs of rows, high enough for the rows around them to cost little."""
    in_bands((-(-shape[0] // 2), -(-shape[1] // _HIGHER)), work)


def _surrounded(pairs: slice, height: int) -> tuple[slice, slice, slice]:
    """The rows of pairs, those with the rows around that pyramids need, and the first in these."""
    rows = slice(2 * pairs.start, min(2 * pairs.stop, height))
    around = slice(max(rows.start - _AROUND, 0), min(rows.stop + _AROUND, height))
    return rows, around, slice(rows.start - around.start, rows.stop - around.start)


def _encoded(plane: FloatArray) -> FloatArray:
    import cv2

    return np.asarray(cv2.pow(plane, 1 / _GAMMA))


def _shown(plane: FloatArray, gain: np.float32) -> FloatArray:
    """One exposure of an encoded channel."""
    shown: FloatArray = plane * gain
    return np.minimum(shown, np.float32(1), out=shown)


def _halved(plane: FloatArray, pairs: slice, around: slice) -> Halves:
    """The next level of a band, in 65535ths, a row for each of its pairs."""
    import cv2

    small = cv2.pyrDown(plane)[pairs.start - around.start // 2 :][: pairs.stop - pairs.start]
    return np.asarray(small * np.float32(_FULL) + np.float32(0.5)).astype(np.uint16)


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


def _shares(
    planes: list[FloatArray],
    gains: list[np.float32],
    powers: tuple[float, float, float, float],
) -> list[FloatArray]:
    """Weights of all exposures of a picture of encoded channels; their sum is 1."""
    import cv2

    contrast, saturation, exposedness, sigma = powers
    every = []
    for gain in gains:
        red, green, blue = (_shown(plane, gain) for plane in planes)
        grey = (red + green + blue) * np.float32(1 / 3)
        weight = np.ones_like(grey)
        if contrast > 0:
            laplacian = np.abs(cv2.Laplacian(grey, cv2.CV_32F, borderType=cv2.BORDER_REPLICATE))
            weight *= laplacian if contrast == 1 else laplacian**contrast
        if saturation > 0:
            # the variance by differences of channels: grey is exactly 0
            spread = (red - green) ** 2 + (green - blue) ** 2 + (blue - red) ** 2
            deviation = np.sqrt(spread * np.float32(1 / 9))
            weight *= deviation if saturation == 1 else deviation**saturation
        weight += np.float32(_LEAST)
        distance = (red - 0.5) ** 2 + (green - 0.5) ** 2 + (blue - 0.5) ** 2
        weight *= np.exp(distance * np.float32(-exposedness / (2 * sigma**2)))
        every.append(weight + np.float32(_TINY))
    inverse = 1 / np.sum(every, axis=0)
    return [np.multiply(weight, inverse, out=weight) for weight in every]


def _blend(exposures: Halves, weights: Halves, levels: int) -> FloatArray:
    """One channel of all exposures, blended level by level."""
    import cv2

    total: list[FloatArray] = []
    for exposure, share in zip(exposures, weights, strict=True):
        shown, weight = exposure * np.float32(1 / _FULL), share * np.float32(1 / _FULL)
        for level in range(levels + 1):
            if level < levels:
                smaller = np.asarray(cv2.pyrDown(shown))
                cv2.subtract(shown, _enlarged(smaller, shown.shape), dst=shown)
            cv2.multiply(shown, weight, dst=shown)
            if level == len(total):
                total.append(shown)
            else:
                cv2.add(total[level], shown, dst=total[level])
            if level < levels:
                weight, shown = np.asarray(cv2.pyrDown(weight)), smaller
    result = total.pop()
    while total:
        finer = total.pop()
        result = np.asarray(cv2.add(finer, _enlarged(result, finer.shape), dst=finer))
    return result


def _enlarged(small: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    import cv2

    return np.asarray(cv2.pyrUp(small, dstsize=(shape[1], shape[0])))
