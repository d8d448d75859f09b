"""A tone curve that keeps contrast where the pixels are.

Eilertsen, Mantiuk and Unger 2015, "Real-time noise-aware tone mapping", section 5: of all curves
that fit the scene into the display, the one that changes the contrast of the pixels least. In
equal bins of log luminance with a share p_k of the pixels and a slope s_k, it minimises
sum p_k (s_k - 1)^2 with sum s_k delta = range of the display, so that s_k = 1 - lambda / p_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.tonemap.transfer import srgb_encode

Bins = NDArray[np.float64]

_WIDTH = 0.25  # of a bin, in stops
_BLUR = 0.5  # of the histogram, in stops: neighbours in luminance are treated alike
_FLOOR = 0.3  # of a bin's share, relative to the mean share: no tone is lost
_ENDS = (0.5, 99.9)  # percentiles between which contrast counts
_BLACK = -8.0  # stops below white at which a display shows nothing more
_SLOPES = (0.12, 1.1)  # least and most; a flat scene gains a little contrast
_LIFT = 2.5  # stops by which shadows may rise above what the middle does: below is noise
_BEYOND = 0.05  # slope above the brightest that counts: the sun's disc
_ANCHORS = (-7.0, -1.2)  # where the median may lie, in stops below white
_TRIED, _ROUNDS = 33, 7  # values of lambda, narrowed so often: to 2^-29 of a stop
_WHITE = 0.0  # stops from white at which the brightest lie: what is seen through windows
_MEAN = 112.0  # sRGB code of the mean of an ordinary picture
_BRIGHTENING = 4.5  # stops at most from an exposure for the bright parts to one for the median
_DULL = -0.5  # where the brightest of a scene must lie lest it looks grey, stops,
_REMEDY = 0.25  # and what part of what is missing is given
_LIT = 10.0  # cd/m2 on average, from which on a scene is shown as bright as by day: a lit room
_DUSK = 0.6  # stops darker for each tenth of that ...
_NIGHT = 2.4  # ... and at most: a night is to be seen for one, and to be read


@dataclass(frozen=True, slots=True)
class ContrastCurve:
    """Log2 scene luminance to log2 display luminance (0 = white): knots of a rising line."""

    scene: Bins
    display: Bins

    def __call__(self, stops: NDArray[np.floating]) -> Bins:
        return np.asarray(np.interp(stops, self.scene, self.display))


def fit_curve(
    stops: FloatArray,
    brightness: float | None = None,
    exposure: float = 0.0,
    adaptation: float | None = None,
) -> ContrastCurve:
    """The curve for a picture of log2 luminances ``stops``.

    The median's place is chosen so that the mean of the sRGB codes is ``brightness`` of 255. None
    is 112, but less for a scene whose bright parts are so far above the median that one would
    expose more than 4.5 stops more for it: a dark room stays dark, its noise unseen. A scene
    without bright parts is made a little brighter, lest it looks grey. Where ``adaptation``, the
    scene's average luminance in cd/m2, is known to be a night's, it is made darker.
    ``exposure``: stops brighter than all that.
    """
    low, high = (float(v) for v in np.percentile(stops, _ENDS))
    count = max(2, int(np.ceil((high - low) / _WIDTH)))
    edges = low + _WIDTH * np.arange(count + 1)
    histogram, _ = np.histogram(np.clip(stops, low, edges[-1]), edges)
    share = histogram / histogram.sum()
    weight = _smooth(share)
    median = float(np.median(stops))
    middle = int(np.clip(round((median - low) / _WIDTH), 1, count - 1))
    centres = edges[:-1] + _WIDTH / 2

    def curve(anchor: float) -> ContrastCurve:
        """With the median at ``anchor`` stops of the display."""
        room = max(anchor - _BLACK, middle * _WIDTH - _LIFT)
        slopes = [_slopes(weight[:middle], room), _slopes(weight[middle:], _WHITE - anchor)]
        display = np.concatenate([[0.0], np.cumsum(np.concatenate(slopes)) * _WIDTH])
        display += anchor - display[middle]
        far = 40.0
        return ContrastCurve(
            np.concatenate([[low - far], edges, [edges[-1] + far]]),
            np.concatenate([[display[0] - far], display, [display[-1] + far * _BEYOND]]),
        )

    def mean_code(anchor: float) -> float:
        return float(255 * (share @ srgb_encode(np.minimum(2.0 ** curve(anchor)(centres), 1.0))))

    dark, bright = _ANCHORS
    for _ in range(24):
        anchor = (dark + bright) / 2
        if mean_code(anchor) < (_MEAN if brightness is None else brightness):
            dark = anchor
        else:
            bright = anchor
    if brightness is None:
        dark = median - float(np.percentile(stops, 98.0)) + _BRIGHTENING
        dim = max(0.0, anchor - dark)
        anchor = min(anchor, dark)
        anchor += _REMEDY * max(0.0, _DULL - float(curve(anchor).display[-2]))
        anchor -= max(0.0, _darkness(adaptation) - dim)  # which may be dark enough already
    return curve(float(np.clip(anchor + exposure, *_ANCHORS)))


def _darkness(adaptation: float | None) -> float:
    """Stops by which a scene of this average luminance is shown darker than by day."""
    if adaptation is None or adaptation <= 0:
        return 0.0
    return float(np.clip(_DUSK * np.log10(_LIT / adaptation), 0.0, _NIGHT))


def _smooth(share: Bins) -> Bins:
    """Shares of the bins, smoothed, none near zero."""
    radius = int(np.ceil(3 * _BLUR / _WIDTH))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) * _WIDTH / _BLUR) ** 2)
    smooth = np.convolve(np.pad(share, radius, mode="edge"), kernel / kernel.sum(), "valid")
    smooth = np.maximum(smooth, _FLOOR / share.size)
    return np.asarray(smooth / smooth.sum())


def _slopes(weight: Bins, room: float) -> Bins:
    """The slopes of bins that must share ``room`` stops of the display."""
    least, most = _SLOPES
    if weight.size * _WIDTH * most <= room:
        return np.full(weight.size, most)
    least = min(least, 0.5 * room / (weight.size * _WIDTH))
    low, high = -40.0, 20.0  # log2 of lambda
    for _ in range(_ROUNDS):
        tried = np.linspace(low, high, _TRIED)
        slopes = np.clip(most - np.exp2(tried)[:, None] / weight, least, most)
        after = int(np.count_nonzero(slopes.sum(axis=1) * _WIDTH > room))
        after = min(max(after, 1), _TRIED - 1)
        low, high = float(tried[after - 1]), float(tried[after])
    return np.asarray(slopes[after])
