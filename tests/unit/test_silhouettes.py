"""A moving thing is rejected as a whole, also where the reference clips and tells nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.fusion.silhouettes import extended

HEIGHT, WIDTH = 120, 160
WALL, SKY, THING = 0.1, 6.0, 1.5  # radiances, the reference's saturation = 1
DOOR = slice(80, None)  # columns through which the sky is seen


def box(rows: slice, columns: slice) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[rows, columns] = True
    return mask


def judged(things: NDArray[np.bool_], level: float = THING) -> tuple[FloatArray, FloatArray]:
    """Trust in a short frame that shows ``things`` before a wall and a sky, where the reference
    shows only these: what comparison alone leaves, and what it is extended to."""
    radiance = np.full((HEIGHT, WIDTH, 3), WALL, np.float32)
    radiance[:, DOOR] = SKY
    clips = np.zeros((HEIGHT, WIDTH), np.float32)
    clips[:, DOOR] = 1.0
    radiance[things] = level
    trust = 1.0 - (things & ((clips < 0.5) | (level < 1.0))).astype(np.float32)
    noise = 0.02 * np.random.default_rng(1).standard_normal(radiance.shape).astype(np.float32)
    deviation = np.full(radiance.shape, 0.02, np.float32)
    full = np.kron(trust, np.ones((2, 2), np.float32))
    after = extended(full, radiance + noise, deviation, clips)
    return trust, np.asarray(after[::2, ::2], np.float32)


@pytest.mark.parametrize("level", [1.2, 2.0, 4.0])
def test_the_rest_of_a_thing_follows_its_rejected_part(level: float) -> None:
    things = box(slice(40, 80), slice(50, 120))
    before, after = judged(things, level)
    inside = things & box(slice(None), DOOR)
    assert (before[inside] == 1.0).all()
    assert np.mean(after[inside] < 0.5) > 0.95


def test_the_sky_beside_it_stays_trusted() -> None:
    things = box(slice(40, 80), slice(50, 120))
    _, after = judged(things)
    beside = box(slice(None), DOOR) & ~box(slice(35, 85), slice(45, 125))
    assert np.mean(after[beside] < 0.5) < 0.001


def test_the_sky_that_a_dark_thing_has_left_stays_trusted() -> None:
    """Where the reference shows a dark thing the short frame shows the sky: it is rejected there,
    but the sky goes on around, and that is no moving thing."""
    radiance = np.full((HEIGHT, WIDTH, 3), WALL, np.float32)
    radiance[:, DOOR] = SKY
    clips = np.zeros((HEIGHT, WIDTH), np.float32)
    clips[:, DOOR] = 1.0
    was = box(slice(50, 70), slice(70, 110))
    clips[was] = 0.0
    trust = np.kron(1.0 - was.astype(np.float32), np.ones((2, 2), np.float32))
    after = extended(trust, radiance, np.full(radiance.shape, 0.02, np.float32), clips)[::2, ::2]
    beside = box(slice(None), DOOR) & ~box(slice(45, 75), slice(65, 115))
    assert np.mean(after[beside] < 0.5) < 0.001


def test_nothing_follows_where_nothing_is_rejected() -> None:
    """A bright thing wholly before the sky contradicts nothing: there is no telling it moved."""
    things = box(slice(40, 80), slice(95, 130))
    before, after = judged(things)
    assert (before == 1.0).all()
    assert (after == 1.0).all()


def test_trust_never_rises() -> None:
    things = box(slice(40, 80), slice(50, 120))
    before, after = judged(things)
    assert (after <= before + 1e-6).all()
