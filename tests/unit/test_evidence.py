"""The compiled comparison of frames says what its formulas say, written out in double precision."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrmerge.fusion.evidence import LEVELS, Shown, Tolerance, evidence_of, level_of, sides_of
from hdrmerge.fusion.noise import NoiseModel

Array = NDArray[np.float64]

EXPOSURES = np.array([0.25, 1.0, 3.7])
READ, GAIN, CURVE, STEP = (2e-5, 1e-5, 3e-5), (1e-3, 8e-4, 2e-3), 2e-4, 6e-4
NOISE = NoiseModel(np.array(READ), np.array(GAIN), CURVE, STEP, 1)


def scene(height: int, width: int) -> Shown:
    """Noisy frames that clip in places, in places contradict each other or see nothing."""
    rng = np.random.default_rng(height)
    radiance = 2.0 ** rng.uniform(-9, 2, (height, width, 1)) * np.array([0.8, 1.0, 1.2])
    linear = np.stack([np.minimum(radiance * t, 1.0) for t in EXPOSURES])
    linear += rng.normal(0, 0.02, linear.shape)
    linear[[0, 2], height // 4 : height // 2] *= 0.3
    below = np.clip((0.97 - linear.max(axis=3)) / 0.07, 0, 1)
    trust = np.ones(below.shape)
    trust[0, :, : width // 4] = rng.uniform(0, 1, (height, width // 4))
    trust[2, :2] = 0.0
    return Shown(
        linear.astype(np.float32),
        below.astype(np.float32),
        trust.astype(np.float32),
        EXPOSURES,
        1,
    )


def sides(shown: Shown, used: list[int], k: int) -> tuple[Array, Array, Array, Array, Array]:
    """Known and shown radiance (h, w, 3) as they are compared, exposure, certainty, cut (h, w)."""
    linear, below, trust = (x.astype(np.float64) for x in (shown.linear, shown.below, shown.trust))
    t = EXPOSURES[:, None, None]
    trusted = (trust > 0.5) / t
    limit = np.minimum(0.95 * trusted[used].max(axis=0), 0.95 / EXPOSURES[k])
    known = np.maximum((linear * trusted[..., None])[used].max(axis=0), 0)
    exposed = np.ones(limit.shape)
    if len(used) > 1:
        weight = (trust * below)[used]
        exposed = (weight * t[used]).sum(axis=0)
        mean = (weight[..., None] * linear[used]).sum(axis=0)
        mean /= np.maximum(exposed, 1e-9)[..., None]
        uncovered = np.clip(1 - 2 * weight.max(axis=0), 0, 1)[..., None]
        known = mean + uncovered * (known - mean)
        exposed = np.maximum(exposed, 1e-3)
    noisy = np.sqrt(variance(limit, 1) / exposed)
    sure = 1 - np.clip((5 - (known.max(axis=2) - limit) / noisy) / 3, 0, 1)
    a = np.minimum(known, limit[..., None])
    b = np.minimum(linear[k] / EXPOSURES[k], limit[..., None])
    return a, np.where(trust[k, ..., None] == 0, a, b), exposed, sure, limit


def variance(x: Array, k: int) -> Array:
    x = np.clip(x, 0, 1)
    return np.asarray(READ[k] + GAIN[k] * x + CURVE * x * x)


def around(x: Array, mode: str) -> Array:
    """(9, h, w, ...): the 3 x 3 pixels around each, ``mode`` beyond the border."""
    padded = np.pad(x, [(1, 1), (1, 1)] + [(0, 0)] * (x.ndim - 2), mode=mode)  # type: ignore[call-overload]
    h, w = x.shape[:2]
    return np.stack([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)])


def halved(x: Array) -> Array:
    return np.asarray((x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4)


def doubled(x: Array) -> Array:
    """Twice the size, linearly interpolated."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        before, after = np.concatenate([x[:1], x[:-1]]), np.concatenate([x[1:], x[-1:]])
        both = np.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=1)
        x = np.moveaxis(both.reshape(-1, *x.shape[1:]), 0, axis)
    return x


def evidence(shown: Shown, used: list[int], k: int, tolerance: Array) -> Array:
    """The evidence (h, w), sides of multiples of four, by the formulas."""
    a, b, exposed, sure, _ = sides(shown, used, k)
    t = EXPOSURES[k]
    found = []
    for i, slack in enumerate((0.7, 0.5, 0.4)):
        if i:
            a, b, exposed, sure = map(halved, (a, b, exposed, sure))
        mean_a, mean_b = around(a, "reflect").mean(axis=0), around(b, "reflect").mean(axis=0)
        doubt = np.maximum(1 - around(sure, "reflect").mean(axis=0), 1e-3)
        own = variance(mean_a, 1) / exposed[..., None] / (9 * 4**i)
        own += (STEP / np.maximum(exposed, 1)[..., None]) ** 2 + at_black(mean_b, READ[1])
        own *= doubt[..., None]
        own += variance(mean_b * t, k) / t**2 / (9 * 4**i) + (STEP / t) ** 2
        own += at_black(mean_a, READ[k] / t**2)
        level = np.maximum(mean_a, mean_b).max(axis=2)
        own += ((tolerance[level_of(level.astype(np.float32))] * level) ** 2)[..., None]
        outside, extent = [], []
        for one, two in ((mean_a, mean_b), (mean_b, mean_a)):
            low, high = around(one, "edge").min(axis=0), around(one, "edge").max(axis=0)
            over = two - (one + slack * (high - one))
            outside.append(np.maximum(np.maximum(over, one + slack * (low - one) - two), 0))
            extent.append(high - low)
        square = (np.minimum(*outside) ** 2 / own).sum(axis=2)
        power = 1 / (own + (np.maximum(*extent) * slack / 2) ** 2)
        found.append((np.sqrt(square), power.sum(axis=2)))
    result, power = found.pop()
    while found:
        finer, finer_power = found.pop()
        result = doubled(result)
        expected = result * np.sqrt(finer_power / doubled(power))
        result = np.maximum(finer, result * np.clip((5 - expected) / 2, 0, 1))
        power = finer_power
    return np.asarray(result)


def at_black(value: Array, read: float) -> Array:
    sigma = read**0.5
    return np.asarray((0.5 * sigma) ** 2 / (1 + (0.4 * value / sigma) ** 4) + (0.16 * sigma) ** 2)


CASES = [([1], 0), ([1], 2), ([1, 0], 2), ([1, 2], 0)]


@pytest.mark.parametrize(("used", "k"), CASES)
def test_sides_are_what_both_can_tell(used: list[int], k: int) -> None:
    shown = scene(24, 37)
    rows = slice(4, 20)
    planes = sides_of(shown, NOISE, used, k, rows, side=8)
    assert planes.shape == (9, 16, 40)
    a, b, *rest = sides(shown, used, k)
    for i, expected in enumerate([*a.transpose(2, 0, 1), *b.transpose(2, 0, 1), *rest]):
        assert np.allclose(planes[i, :, :37], expected[rows], rtol=2e-5, atol=2e-5)
        assert np.array_equal(planes[i, :, 37:], np.repeat(planes[i, :, 36:37], 3, axis=1))


@pytest.mark.parametrize(("used", "k"), CASES)
@pytest.mark.parametrize(("height", "width"), [(64, 52), (4, 4), (8, 36)])
def test_evidence_is_what_its_formulas_say(
    used: list[int], k: int, height: int, width: int
) -> None:
    shown = scene(height, width)
    tolerance = np.linspace(0.03, 0.3, LEVELS).astype(np.float32)
    out = np.empty((height, width), np.float32)
    for start in range(0, height, 16):  # in bands, whose seams must not show
        rows = slice(start, min(start + 16, height))
        evidence_of(shown, NOISE, used, k, Tolerance(tolerance), rows, out)
    expected = evidence(shown, used, k, tolerance.astype(np.float64))
    assert height < 64 or expected.max() > 4  # what moves
    near = np.isclose(out, expected, rtol=2e-4, atol=2e-4)
    assert near.mean() > 0.999, np.abs(out - expected).max()  # of a level, some round otherwise


def test_levels_are_half_stops() -> None:
    radiance = 2.0 ** (np.array([-30.0, -15.9, -15.6, -15.4, 0.1, 30.0]))
    assert level_of(radiance.astype(np.float32)).tolist() == [0, 0, 0, 1, 32, LEVELS - 1]
