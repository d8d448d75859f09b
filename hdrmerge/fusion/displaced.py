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

    def search(place: tuple[slice, slice]) -> tuple[FloatArray, FloatArray]:
        own = below[reference][place]
        best, found = np.zeros(own.shape, np.float32), fill[place]
        for k in reversed(sources):
            radiance = linear[k][place] / np.float32(stack.exposures[k])
            some = halved(trust[k][place])
            still = ((some > _STILL) & (halved(own) > _STILL)).astype(np.float32)
            images = (_encoded(linear[reference][place]), _encoded(radiance), 1.0 - some, still)
            content, believed = _looked_up(radiance, *_search(images))
            better = believed > best
            found = np.where(better[..., None], np.maximum(content, 1.0), found)
            best = np.maximum(best, believed)
        return found, best

    best = np.zeros(lost.shape, np.float32)
    found = fill.copy()
    results = side_by_side(search, [place for place, _ in places])
    for (place, mine), (content, believed) in zip(places, results, strict=True):
        found[place][mine] = content[mine]
        best[place][mine] = believed[mine]
    share = _softened(best)
    some = share > 0
    share = share[some, None]
    mixed = fill.copy()
    mixed[some] = np.exp(np.log(fill[some]) * (1.0 - share) + np.log(found[some]) * share)
    return mixed


def _places(lost: Mask) -> list[tuple[tuple[slice, slice], Mask]]:
    """Windows to search in, and which of their pixels each of them is there for."""
    import cv2

    height, width = lost.shape
    cells = (-(-height // _CELL), -(-width // _CELL))
    padded = np.zeros((cells[0] * _CELL, cells[1] * _CELL), np.uint8)
    padded[:height, :width] = lost
    some = padded.reshape(cells[0], _CELL, cells[1], _CELL).max(axis=(1, 3))
    side = 2 * _TOGETHER + 1
    near = cv2.dilate(some, np.ones((side, side), np.uint8))
    count, labels, shapes, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    large = labels.repeat(_CELL, axis=0).repeat(_CELL, axis=1)[:height, :width]
    places = []
    for i in range(1, count):
        x, y, w, h = (int(v) for v in shapes[i, :4])
        rows = slice(max(0, y - _AROUND) * _CELL, min(height, (y + h + _AROUND) * _CELL))
        columns = slice(max(0, x - _AROUND) * _CELL, min(width, (x + w + _AROUND) * _CELL))
        places.append(((rows, columns), np.asarray(large[rows, columns] == i)))
    return places


def _encoded(radiance: FloatArray) -> FloatArray:
    """What the reference could tell of radiance (h, w, 3), half the size, in [0, 1]."""
    return np.asarray(np.power(np.clip(halved(radiance), 0.0, 1.0), 1 / 2.2), np.float32)


def _search(images: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Displacement (h, w, 2) in pixels at which the second of ``images`` shows what the first
    does, and the share (h, w) of votes that agree. The third tells who votes (1: rejected), the
    fourth where nothing went to (1: it stands still there)."""
    levels = [tuple(images)]
    while len(levels) < len(_STEPS):
        levels.insert(0, tuple(halved(image) for image in levels[0]))
    flow = np.zeros((*levels[0][2].shape, 2), np.float32)
    for level, most, windows, alike in zip(levels, _STEPS, _WINDOWS, _ALIKE, strict=True):
        height, width = level[2].shape
        if flow.shape[:2] != (height, width):
            flow = 2.0 * _median(flow).repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        each = range(-most, most + 1)
        steps = np.array([(x, y) for y in each for x in each], np.float32)
        shares = _votes(level, steps, flow, windows, alike)
        shares -= _STAY / most**2 * np.square(steps).sum(axis=1)[:, None, None]  # breaks ties
        flow = flow + steps[shares.argmax(axis=0)]
    return np.asarray(flow, np.float32), np.asarray(shares.max(axis=0))


def _votes(
    images: Sequence[FloatArray],
    steps: FloatArray,
    start: FloatArray,
    windows: Sequence[int],
    alike: float,
) -> FloatArray:
    """Shares of the votes (n, h, w) that each of n ``steps`` (x, y) from ``start`` gets."""
    import cv2

    seen, there, rejected, still = images
    contrast = brightest(cv2.morphologyEx(seen, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
    votes = rejected * (np.minimum(contrast / _RIM, 1.0) + _FLAT)
    sizes = [(2 * radius + 1, 2 * radius + 1) for radius in windows]
    every = [1.0 / (cv2.blur(votes, size) + _FEW) / np.float32(len(sizes)) for size in sizes]
    mean = np.array([[1.0, 1.0, 1.0, 0.0]], np.float32) / np.float32(3.0 * alike)
    y, x = np.indices(votes.shape, np.float32) + np.float32(1.0)
    x, y = x + start[..., 0], y + start[..., 1]
    # in one image with what is looked up: where nothing stands still, nor beyond the border
    free = cv2.copyMakeBorder(1.0 - still, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0.0)
    wide = cv2.copyMakeBorder(there, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    wide, seen = cv2.merge([*cv2.split(wide), free]), cv2.merge([*cv2.split(seen), votes])
    shares = np.zeros((len(steps), *votes.shape), np.float32)
    for share, (dx, dy) in zip(shares, steps, strict=True):
        # displacements are of whole cells
        moved = cv2.remap(wide, x + dx, y + dy, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        differs = cv2.transform(cv2.absdiff(seen, moved), mean)
        match = np.maximum(1.0 - differs, 0.0) * cv2.extractChannel(moved, 3)
        match *= votes
        for size, scale in zip(sizes, every, strict=True):
            cv2.accumulateProduct(cv2.blur(match, size), scale, share)
    return shares


def _looked_up(
    radiance: FloatArray, flow: FloatArray, agreed: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Displaced radiance (h, w, 3) and how far (h, w) in [0, 1] it is believed."""
    import cv2

    height, width = radiance.shape[:2]
    size = (2 * flow.shape[1], 2 * flow.shape[0])  # the last may reach beyond the border

    def grown(image: FloatArray) -> FloatArray:
        return np.asarray(cv2.resize(image, size)[:height, :width])

    smooth = _median(flow)
    rough = np.abs(flow - smooth).max(axis=2)
    pixels = grown(smooth) * 2.0
    y, x = np.indices((height, width), np.float32)
    border = cv2.BORDER_REPLICATE
    across, down = x + pixels[..., 0], y + pixels[..., 1]
    content = cv2.remap(radiance, across, down, cv2.INTER_LINEAR, borderMode=border)
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
