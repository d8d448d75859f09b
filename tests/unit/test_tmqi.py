"""TMQI: the figures of the authors' program, and what follows from the formulas."""

from __future__ import annotations

import numpy as np
import pytest

from hdrmerge.errors import UsageError
from hdrmerge.tmqi import tmqi


def pair(height: int, width: int, middle: float, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """A scene of waves over 15 stops, and codes that are linear in its stops."""
    y, x = np.mgrid[:height, :width].astype(float)
    stops = 6 * np.sin(x / 37) * np.cos(y / 23)
    stops += 1.2 * np.sin(x * y / 900) + 0.4 * np.sin(1.7 * x + 0.9 * y)
    return 2.0**stops, np.clip(np.round(middle + contrast * stops), 0, 255)


# What the authors' Matlab program (version 1.0) gives for these pairs, run in GNU Octave 7.3.
AUTHORS = [
    (
        (187, 253, 118, 14),
        (0.888065, 0.829246, 0.556864),
        (0.979759, 0.952512, 0.873990, 0.712692, 0.677138),
    ),
    (
        (176, 264, 60, 6),
        (0.764616, 0.828514, 0.010817),
        (0.972740, 0.952323, 0.875318, 0.707660, 0.680773),
    ),
]


@pytest.mark.parametrize(("made", "scores", "scales"), AUTHORS)
def test_figures_of_the_authors_program(
    made: tuple[int, int, float, float], scores: tuple[float, ...], scales: tuple[float, ...]
) -> None:
    found = tmqi(*pair(*made))
    np.testing.assert_allclose(
        (found.quality, found.fidelity, found.naturalness), scores, atol=2e-6
    )
    np.testing.assert_allclose(found.scales, scales, atol=2e-6)


def test_clipped_picture_within_the_program_s_rounding() -> None:
    # where the picture is clipped, rounding errors decide the program's structure term
    found = tmqi(*pair(200, 163, 190, 30))
    np.testing.assert_allclose(found.scales[2:], (0.686526, 0.533299, 0.485953), atol=2e-6)
    assert found.quality == pytest.approx(0.721498, abs=5e-4)


def test_colour_counts_by_its_luminance() -> None:
    scene, shown = pair(170, 180, 110, 12)
    rgb = np.stack([shown] * 3, axis=2)
    grey = tmqi(scene, shown)
    found = tmqi(np.stack([scene] * 3, axis=2), rgb)
    assert found.quality == pytest.approx(grey.quality, abs=1e-9)
    assert tmqi(scene, rgb.astype(np.uint8)).quality == pytest.approx(grey.quality, abs=1e-9)
    sixteen = tmqi(scene, (rgb * 257).astype(np.uint16))
    assert sixteen.quality == pytest.approx(grey.quality, abs=1e-9)


def test_scale_of_the_radiance_does_not_matter() -> None:
    scene, shown = pair(170, 180, 110, 12)
    assert tmqi(scene * 1024, shown).quality == pytest.approx(tmqi(scene, shown).quality, abs=1e-6)


def test_grey_card_is_neither_faithful_nor_natural() -> None:
    scene, _ = pair(165, 176, 110, 12)
    found = tmqi(scene, np.full(scene.shape, 116, np.uint8))
    assert found.naturalness == 0
    # contrast seen in one and not in the other: (2 p q + C1) / (p^2 + q^2 + C1), p = 1, q = 0.00135
    assert found.fidelity == pytest.approx(0.0127 / 1.01, abs=1e-5)


def test_brightness_and_contrast_of_natural_pictures_score_one() -> None:
    # blocks of 11 x 11 with a deviation of the mode, 17.49 codes, around a mean of 115.94
    checker = np.indices((176, 176)).sum(axis=0) % 2 * 2.0 - 1.0
    deviation = 64.29 * 3.4 / 12.5 / np.sqrt(121 / 120 * (1 - 1 / 121**2))
    found = tmqi(np.exp(checker), 115.94 + deviation * checker)
    assert found.naturalness == pytest.approx(1, abs=1e-4)
    assert found.fidelity == pytest.approx(1, abs=0.01)
    darker = tmqi(np.exp(checker), 115.94 - 27.99 + deviation * checker)
    assert darker.naturalness == pytest.approx(np.exp(-0.5), abs=1e-4)


def test_turned_contrast_is_unfaithful() -> None:
    scene, shown = pair(170, 180, 110, 12)
    assert tmqi(scene, 255 - shown).fidelity == 0
    assert tmqi(scene, shown).fidelity > 0.8


def test_bad_values_of_the_scene_count_as_black() -> None:
    scene, shown = pair(170, 180, 110, 12)
    bad = scene.copy()
    bad[3, 4], bad[5, 6], bad[7, 8] = np.nan, np.inf, -5
    scene[3, 4] = scene[5, 6] = scene[7, 8] = 0
    assert tmqi(bad, shown).quality == tmqi(scene, shown).quality
    assert 0 <= tmqi(np.zeros_like(scene), shown).quality <= 1


def test_sizes_that_cannot_be_judged() -> None:
    scene, shown = pair(161, 170, 110, 12)
    assert 0 < tmqi(scene, shown).quality < 1
    with pytest.raises(UsageError, match="161 x 161"):
        tmqi(scene[:160], shown[:160])
    with pytest.raises(UsageError, match="170 x 160"):
        tmqi(scene, shown[:160])
