"""What the reference clips and a shorter frame shows elsewhere: found there and brought back.

A bright thing that moved is clipped in the reference and unclipped, but displaced, in a shorter
frame. Both frames are cut at the reference's saturation, so that they look alike, and compared
over displacements (block matching with truncated differences). Only pixels in which the two frames
contradict each other have a say, those at rims and in textures most: the inside of a clipped thing
looks like anything, its silhouette does not. Votes are counted over windows of three sizes, first
at an eighth of the resolution, then at a quarter and a half about what was found.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray, brightest
from hdrmerge.fusion.fill import halved
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import side_by_side

Mask = NDArray[np.bool_]
Window = tuple[slice, slice]

_CELL = 8  # pixels
_TOGETHER = 3  # cells: what is lost within twice as many is searched for together,
_AROUND = 12  # with so many cells around, to be found in and to vote
_STEPS = (9, 2, 1)  # cells of eight, four and two pixels that are searched each way
_WINDOWS = ((1, 3, 6), (1, 3, 9), (1, 4, 12))  # radii of the windows, in cells
_STAY = np.float32(0.001)  # share of the votes that the farthest step needs more than none
_ALIKE = (0.10, 0.08, 0.08)  # differences of encoded values from which on nothing is alike
_RIM = np.float32(0.15)  # contrast in 3 x 3 cells that counts wholly
_FLAT = np.float32(0.03)  # and how much cells without any contrast count
_FEW = np.float32(0.004)  # votes that are too few to mean anything
_AGREED = (0.5, 0.6)  # share of the votes that make a displacement believed, not at all and wholly
_SMOOTH = 4.0  # half pixels by which neighbours may differ
_BRIGHT = np.float32(0.9)  # of the reference's saturation: what it clips is no darker
_STILL = 0.7  # trust with which a frame shows what the reference shows, both unclipped


def borrow(
    stack: ExposureStack,
    linear: Sequence[FloatArray],
    below: Sequence[FloatArray],
    trust: FloatArray,
    fill: FloatArray,
) -> FloatArray:
    """``fill`` (h, w, 3) with what the nearest two shorter frames show displaced, where they
    believably do; arguments as of ``fill_clipped``. Reaches 82 pixels each way."""
    reference = stack.reference
    shown = trust[reference - 1] * below[reference - 1]
    for k in range(reference - 1):
        shown = np.maximum(shown, trust[k] * below[k])
    lost = (below[reference] < 0.5) & (shown < 0.5)
    places = _places(lost)
    if not places:
        return fill
    sources = range(max(0, reference - 2), reference)

    def search(around: Window, place: Window) -> tuple[FloatArray, FloatArray]:
        own = halved(below[reference][around])
        seen = _encoded(halved(linear[reference][around]))
        inner = _within(place, around)
        believed = np.zeros(fill[place].shape[:2], np.float32)
        found = fill[place]
        for k in reversed(sources):
            some = halved(trust[k][around])
            still = ((some > _STILL) & (own > _STILL)).astype(np.float32)
            there = halved(linear[k][around]) / np.float32(stack.exposures[k])
            result = _search((seen, _encoded(there), 1.0 - some, still))
            if result is None:
                continue
            content, share = _looked_up(linear[k][around], stack.exposures[k], *result, inner)
            better = share > believed
            found = np.where(better[..., None], np.maximum(content, 1.0), found)
            believed = np.maximum(believed, share)
        return found, believed

    best = np.zeros(lost.shape, np.float32)
    results = side_by_side(lambda both: search(*both), [both for *both, _ in places])
    for (_, place, mine), (_, believed) in zip(places, results, strict=True):
        best[place][mine] = believed[mine]
    share = _softened(best)
    mixed = fill.copy()
    for (_, place, mine), (content, _) in zip(places, results, strict=True):
        some = mine & (share[place] > 0)
        part = share[place][some, None]
        mixed[place][some] = fill[place][some] ** (1.0 - part) * content[some] ** part
    return mixed


def _places(lost: Mask) -> list[tuple[Window, Window, Mask]]:
    """Windows to search in, those to look up what was found, and which of the latter's pixels each
    is there for."""
    import cv2

    height, width = lost.shape
    cells = (-(-height // _CELL), -(-width // _CELL))
    padded = np.zeros((cells[0] * _CELL, cells[1] * _CELL), np.uint8)
    padded[:height, :width] = lost * np.uint8(255)  # so that one of 64 is not rounded away
    some = cv2.resize(padded, cells[::-1], interpolation=cv2.INTER_AREA)
    side = 2 * _TOGETHER + 1
    near = cv2.dilate(some, np.ones((side, side), np.uint8))
    count, labels, shapes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    places = []
    for i in range(1, count):
        x, y, w, h = (int(v) for v in shapes[i, :4])
        rows, columns = _window((y, y + h), height), _window((x, x + w), width)
        around = (
            _window((y - _AROUND, y + h + _AROUND), height),
            _window((x - _AROUND, x + w + _AROUND), width),
        )
        mine = (labels[y : y + h, x : x + w] == i).repeat(_CELL, axis=0).repeat(_CELL, axis=1)
        mine = mine[: rows.stop - rows.start, : columns.stop - columns.start]
        places.append((around, (rows, columns), mine))
    return places


def _window(cells: tuple[int, int], length: int) -> slice:
    """The pixels of ``cells``, of a line of so many."""
    return slice(max(0, cells[0]) * _CELL, min(length, cells[1] * _CELL))


def _within(place: Window, around: Window) -> Window:
    """Where in ``around`` a ``place`` lies."""
    rows, columns = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(place, around, strict=True)
    )
    return rows, columns


def _encoded(radiance: FloatArray) -> FloatArray:
    """What the reference could tell of radiance (h, w, 3), in [0, 1]."""
    return np.asarray(np.power(np.clip(radiance, 0.0, 1.0), np.float32(1 / 2.2)), np.float32)


def _search(images: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray] | None:
    """Displacement (h, w, 2) in pixels at which the second of ``images`` shows what the first
    does, and the share (h, w) of votes that agree; None where nobody votes. The third tells who
    votes (1: rejected), the fourth where nothing went to (1: it stands still there)."""
    if not images[2].any():
        return None
    levels = [tuple(images)]
    while len(levels) < len(_STEPS):
        levels.insert(0, tuple(halved(image) for image in levels[0]))
    flow = np.zeros((*levels[0][2].shape, 2), np.float32)
    share = np.zeros(flow.shape[:2], np.float32)
    for level, most, windows, alike in zip(levels, _STEPS, _WINDOWS, _ALIKE, strict=True):
        height, width = level[2].shape
        if flow.shape[:2] != (height, width):
            flow = 2.0 * _median(flow).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        flow, share = _moved(level, most, flow, windows, alike)
    return flow, share


def _moved(
    images: Sequence[FloatArray],
    most: int,
    flow: FloatArray,
    windows: tuple[int, int, int],
    alike: float,
) -> tuple[FloatArray, FloatArray]:
    """``flow`` (h, w, 2), in cells, and the best steps of up to ``most`` cells each way from there;
    their shares (h, w) of the votes."""
    import cv2

    from hdrmerge.fusion.displaced_loops import best_steps

    seen, there, rejected, still = images
    contrast = brightest(cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    votes = rejected * (np.minimum(contrast / _RIM, 1.0) + _FLAT)
    sizes = [(2 * radius + 1, 2 * radius + 1) for radius in windows]
    every = [1.0 / (cv2.blur(votes, size) + _FEW) / np.float32(len(sizes)) for size in sizes]
    moved = np.ascontiguousarray(flow.transpose(2, 0, 1), np.int64)  # whole cells
    best = np.empty(votes.shape, np.float32)
    best_steps(
        np.stack(cv2.split(seen)),
        np.stack(cv2.split(there)),
        1.0 - still,
        votes,
        np.stack(every),
        windows,
        moved,
        most,
        np.float32(alike),
        _STAY / np.float32(most**2),
        best,
    )
    return np.ascontiguousarray(moved.transpose(1, 2, 0), np.float32), best


def _looked_up(
    linear: FloatArray, t: float, flow: FloatArray, agreed: FloatArray, place: Window
) -> tuple[FloatArray, FloatArray]:
    """Displaced radiance (h, w, 3) of a frame of exposure ``t`` in a ``place`` of it, and how far
    (h, w) in [0, 1] it is believed."""
    import cv2

    # the flow is of half the size, and three cells around have a say
    outer = [slice(max(0, part.start // 2 - 3), -(-part.stop // 2) + 3) for part in place]
    inner = [
        slice(part.start - 2 * out.start, part.stop - 2 * out.start)
        for part, out in zip(place, outer, strict=True)
    ]

    def grown(image: FloatArray) -> FloatArray:
        size = (2 * image.shape[1], 2 * image.shape[0])  # the last may reach beyond the border
        return np.asarray(cv2.resize(image, size)[inner[0], inner[1]])

    flow, agreed = (image[outer[0], outer[1]] for image in (flow, agreed))
    smooth = _median(flow)
    rough = np.abs(flow - smooth).max(axis=2)
    pixels = grown(smooth) * 2.0
    y, x = (np.arange(part.start, part.stop, dtype=np.float32) for part in place)
    across, down = x + pixels[..., 0], y[:, None] + pixels[..., 1]
    content = cv2.remap(linear, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    content = content * np.float32(1.0 / t)
    believed = np.clip((grown(agreed) - _AGREED[0]) / (_AGREED[1] - _AGREED[0]), 0.0, 1.0)
    believed *= (grown(rough) < _SMOOTH) & (brightest(content) > _BRIGHT)
    return content, np.asarray(believed, dtype=np.float32)


def _median(flow: FloatArray) -> FloatArray:
    import cv2

    return np.dstack([cv2.medianBlur(np.ascontiguousarray(flow[..., i]), 5) for i in (0, 1)])


def _softened(believed: FloatArray) -> FloatArray:
    """Without specks, and with soft edges."""
    import cv2

    whole = cv2.morphologyEx(believed, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 2.0), dtype=np.float32)
