"""Rectangles about scattered cells: nothing is missed, nothing twice, and it pays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from hdrmerge.fusion.cover import Place, cover


def counted(places: list[Place], shape: tuple[int, int]) -> NDArray[np.int64]:
    times = np.zeros(shape, np.int64)
    for place in places:
        times[place] += 1
    return times


def cost(places: list[Place], around: int) -> int:
    return sum((r.stop - r.start + around) * (c.stop - c.start + around) for r, c in places)


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5, 1.0])
def test_every_cell_is_covered_once(share: float) -> None:
    cells = np.random.default_rng(5).random((90, 130)) < share
    cells[40, 60] = True
    places = cover(cells, 14, 40)
    times = counted(places, cells.shape)
    assert times.max() == 1
    assert (times[cells] == 1).all()
    assert all(max(r.stop - r.start, c.stop - c.start) <= 40 for r, c in places)
    costs = [cost([place], 14) for place in places]
    assert costs == sorted(costs, reverse=True)


def test_nothing_needs_no_rectangle() -> None:
    assert cover(np.zeros((5, 7), bool), 14, 40) == []


def test_what_lies_far_apart_is_parted_and_what_lies_close_is_not() -> None:
    cells = np.zeros((100, 100), bool)
    cells[2:5, 3:9] = cells[90:95, 80:99] = True
    apart = cover(cells, 14, 100)
    assert sorted(apart, key=lambda p: p[0].start) == [
        (slice(2, 5), slice(3, 9)),
        (slice(90, 95), slice(80, 99)),
    ]
    close = np.zeros((100, 100), bool)
    close[10:20, 10:20] = close[10:20, 22:30] = True
    assert cover(close, 14, 100) == [(slice(10, 20), slice(10, 30))]


def test_an_l_is_cut_at_its_corner() -> None:
    cells = np.zeros((80, 80), bool)
    cells[:, :10] = cells[70:] = True
    places = cover(cells, 4, 80)
    assert len(places) == 2
    assert cost(places, 4) < 0.4 * 84 * 84
