"""Taking noise out of what deghosting has left to few frames.

Where frames are rejected the merge is noisier than around it: a patch of grain where somebody
walked. There, and only there, a small network (``models.refiner``) estimates the noise, in standard
deviations of the reference's own, and it is subtracted. Pixels that every frame agrees on stay the
noise-optimal merge, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Decisions, FloatArray, to_float, to_half
from hdrmerge.fusion.cover import Mask, Place, cover
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.refine_inputs import MARGIN, limits, shown, split
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import side_by_side, threads

Network = Callable[[FloatArray], FloatArray]
Picture = NDArray[np.floating[Any]]
Refined = tuple[Place, Picture, int]  # where, its pixels, how many of them have changed

BEFORE, AFTER = 36, 30  # pixels above and left, below and right of a place that the network sees
CELL = 8  # pixels a side: what is refined or not, and the step of the network's coarsest grid
TILE = 384  # pixels a side of a place, at most; a multiple of a cell, more than is seen around it
_LOOK = 256  # pixels a side in which noise is looked for at once; a multiple of a cell
_AROUND = 6  # cells that a place costs more on two sides together, as measured
_FEWEST = 5.0  # pixels' worth of noise that make a cell worth refining


def refine(
    radiance: Picture,
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
    network: Network,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> float:
    """Refine ``radiance`` (H, W, 3), the merge of ``stack`` by ``decisions``, in place.

    ``network``: what ``refine_inputs.shown`` shows, (52, h + 33, w + 33), h and w multiples of 4,
    to (48, h, w), what it finds in the part that begins at (18, 18); both folded
    (``models.refiner.Refiner.within``). Several threads call it at once. Returns the fraction of
    pixels that changed; none by more than four standard deviations. Only cells that hold rejected
    frames are refined, in rectangles about them (``cover.cover``); memory is that of three rows of
    tiles.
    """
    merge = _Merge(radiance, decisions, stack, noise)
    cells = _noisy_cells(merge)
    height, width = stack.shape
    rows: list[list[Future[Refined]]] = []
    changed = 0
    with ThreadPoolExecutor(threads()) as pool:
        for top in range(0, height + 2 * TILE, TILE):
            first = top // CELL
            places = cover(cells[first : first + TILE // CELL], _AROUND, TILE // CELL)
            rows.append(
                [pool.submit(_refine_place, merge, cells, first, p, network) for p in places]
            )
            if len(rows) < 3:
                continue
            for future in rows[1]:  # it sees the row before, which must stay as it was until then
                future.result()
            for place, clean, count in (future.result() for future in rows.pop(0)):
                radiance[place] = clean
                changed += count
            if progress is not None:
                progress("refine", min(top - TILE, height) / height)
    return changed / (height * width)


@dataclass(frozen=True)
class _Merge:
    """What is refined, and what is known about it."""

    radiance: Picture
    decisions: Decisions
    stack: ExposureStack
    noise: NoiseModel

    @cached_property
    def trust(self) -> FloatArray:
        return np.ascontiguousarray(self.decisions.trust, np.float32)

    @cached_property
    def frames(self) -> FloatArray:
        """(N, 3): exposure, read noise, gain."""
        columns = self.stack.exposures, self.noise.read, self.noise.gain
        return np.ascontiguousarray(np.stack(columns, axis=1), np.float32)

    @property
    def model(self) -> tuple[float, float, float]:
        """The reference's noise: read, gain, curve."""
        k = self.stack.reference
        return float(self.noise.read[k]), float(self.noise.gain[k]), self.noise.curve

    @cached_property
    def colour(self) -> NDArray[np.float64] | None:
        """The matrix (3, 3) that rows of sensor values are multiplied with; None: the identity."""
        frame = self.stack.frames[self.stack.reference]
        matrix = np.diag(frame.white_balance) @ np.asarray(frame.to_rec709).T
        return None if np.array_equal(matrix, np.eye(3)) else matrix

    def of_sensor(self, part: tuple[slice, slice]) -> FloatArray:
        """Radiance (h, w, 3) as the sensor saw it: noise is the sensor's, before colour."""
        tile = to_float(np.ascontiguousarray(self.radiance[part]))
        colour = self.colour
        return tile if colour is None else tile @ np.linalg.inv(colour).astype(np.float32)

    def weigh(
        self, planes: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp]
    ) -> tuple[FloatArray, FloatArray]:
        """Of pixels ``planes`` (3, h, w) of the sensor in these rows and columns: the merge's
        standard deviation in units of the reference's, at most 1; how far they are to be refined
        (``refine_inputs.amount``). (h, w) each."""
        from hdrmerge.fusion import refine_loops

        shape = self.stack.shape
        left, share = np.empty(planes.shape[1:], np.float32), np.empty(planes.shape[1:], np.float32)
        refine_loops.weigh(
            planes,
            self.trust,
            *_between(rows, self.trust.shape[1], shape[0]),
            *_between(columns, self.trust.shape[2], shape[1]),
            self.frames,
            np.float32(self.noise.curve),
            self.stack.reference,
            limits(),
            left,
            share,
        )
        return left, share


def _between(at: NDArray[np.intp], proxy: int, whole: int) -> tuple[NDArray[np.int32], FloatArray]:
    """Where pixels of the full picture lie in a proxy: the pixel before, and how far on from it."""
    there = np.clip((at + 0.5) * (proxy / whole) - 0.5, 0.0, proxy - 1)
    before = there.astype(np.int32)
    return before, (there - before).astype(np.float32)


def _noisy_cells(merge: _Merge) -> Mask:
    """Which cells of the picture are noisy enough to refine, told by a quarter of its pixels."""
    height, width = merge.stack.shape
    rejected = np.float32(1.0) - merge.trust.min(axis=0)  # the reference's is all 1
    cells = np.zeros((-(-height // CELL), -(-width // CELL)), np.bool_)
    tiles = [
        (slice(top, min(top + _LOOK, height)), slice(left, min(left + _LOOK, width)))
        for top in range(0, height, _LOOK)
        for left in range(0, width, _LOOK)
    ]

    def look(tile: Place) -> None:
        rows, columns = (slice(part.start, part.stop, 2) for part in tile)
        at = (np.arange(part.start, part.stop, 2) for part in tile)
        share = merge.weigh(split(merge.of_sensor((rows, columns))), *at)[1]
        down, across = (np.arange(0, n, CELL // 2) for n in share.shape)
        sums = np.add.reduceat(np.add.reduceat(share, down, axis=0), across, axis=1)
        top, left = (part.start // CELL for part in tile)
        cells[top : top + len(down), left : left + len(across)] = sums > _FEWEST / 4

    side_by_side(look, [tile for tile in tiles if _touched(rejected, tile, (height, width))])
    return cells


def _touched(rejected: FloatArray, place: Place, shape: tuple[int, int]) -> bool:
    """Whether some frame is distrusted in a tile, as the proxy tells."""
    (h, w), (height, width) = rejected.shape, shape
    rows, columns = place
    top, bottom = rows.start * h // height, -(-rows.stop * h // height) + 1
    left, right = columns.start * w // width, -(-columns.stop * w // width) + 1
    return bool((rejected[top:bottom, left:right] > 0.1).any())


def _refine_place(
    merge: _Merge, cells: Mask, first: int, place: Place, network: Network
) -> Refined:
    """A place among ``cells``, its rows counted from ``first``, without its noise."""
    from hdrmerge.fusion import refine_loops

    rows, columns = slice(place[0].start + first, place[0].stop + first), place[1]
    sides = [(part.stop - part.start) * CELL for part in (rows, columns)]
    corner = rows.start * CELL, columns.start * CELL
    size = merge.stack.shape
    planes, at = _with_surroundings(merge, corner, sides)
    left, share = merge.weigh(planes, *at)
    seen, bands = shown(planes, left, merge.model, (BEFORE, BEFORE, *sides))
    found = network(seen)
    there = tuple(slice(a, min(a + n, m)) for a, n, m in zip(corner, sides, size, strict=True))
    before = np.ascontiguousarray(merge.radiance[there])
    clean, used = np.empty(before.shape, np.float32), np.empty(before.shape[:2], np.uint8)
    start = np.array([BEFORE + MARGIN] * 2)
    chosen = np.ascontiguousarray(cells[rows, columns]).view(np.uint8)
    read, gain, curve = (np.float32(value) for value in merge.model)
    changed = refine_loops.take_out(
        found, bands, planes, share, start, chosen, CELL, read, gain, curve, clean, used
    )
    return (there[0], there[1]), _replaced(before, clean, used, merge.colour), changed


def _with_surroundings(
    merge: _Merge, corner: tuple[int, int], sides: list[int]
) -> tuple[FloatArray, list[NDArray[np.intp]]]:
    """What the sensor saw of a place and what the network and its inputs see around it, as planes;
    their rows and columns. The picture is mirrored at its borders."""
    import cv2

    inside: list[slice] = []
    beyond: list[int] = []
    at: list[NDArray[np.intp]] = []
    for start, length, whole in zip(corner, sides, merge.stack.shape, strict=True):
        low, high = start - BEFORE - MARGIN, start + length + AFTER + MARGIN
        part = slice(max(low, 0), min(high, whole))
        more = part.start - low, high - part.stop
        inside.append(part)
        beyond += more
        at.append(np.pad(np.arange(part.start, part.stop), more, mode="reflect"))
    tile = merge.of_sensor((inside[0], inside[1]))
    if any(beyond):
        top, bottom, left, right = beyond
        border = cv2.BORDER_REFLECT_101
        tile = np.asarray(cv2.copyMakeBorder(tile, top, bottom, left, right, border), np.float32)
    return split(tile), at


def _replaced(
    before: Picture, clean: FloatArray, used: NDArray[np.uint8], colour: NDArray[np.float64] | None
) -> Picture:
    """``before`` (h, w, 3) with the pixels of ``clean``, as the sensor saw them, where ``used``."""
    import cv2

    if colour is not None:
        clean = clean @ colour.astype(np.float32)
    np.maximum(clean, 0.0, out=clean)
    after = to_half(clean) if before.dtype == np.float16 else clean
    return np.asarray(cv2.copyTo(after, used, before))
