"""Taking noise out of what deghosting has left to few frames.

Where frames are rejected the merge is noisier than around it: a patch of grain where somebody
walked. There, and only there, a small network (``models.refiner``) estimates the noise, in standard
deviations of the reference's own, and it is subtracted. Pixels that every frame agrees on stay the
noise-optimal merge, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Decisions, FloatArray, thrice, to_float, to_half
from hdrmerge.fusion.cover import Place, cover
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.refine_inputs import amount, bands_of, inputs, noise_in, reference_noise
from hdrmerge.stack import ExposureStack
from hdrmerge.threads import threads

Network = Callable[[FloatArray], FloatArray]

HALO = 48  # pixels around a place that the network and its inputs reach
_REACH = 40  # that the network alone does, 39; as HALO, a multiple of a cell
CELL = 8  # pixels a side: what is refined or not, and the step of the network's coarsest grid
TILE = 384  # pixels a side that are looked at at once; as HALO, a multiple of a cell
_FEWEST = 5.0  # pixels' worth of noise that make a cell worth refining
_FURTHEST = np.float32(4.0)  # standard deviations by which a value may change
_NO_TRUST = np.float32(0.05)  # as in fusion.radiometric


def refine(
    radiance: NDArray[np.floating[Any]],
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
    network: Network,
    *,
    progress: Callable[[str, float], None] | None = None,
) -> float:
    """Refine ``radiance`` (H, W, 3), the merge of ``stack`` by ``decisions``, in place.

    ``network``: ``inputs`` (13, h, w), sides multiples of 8, to what ``noise_in`` takes; called by
    several threads at once. Returns the fraction of pixels that changed; none by more than four
    standard deviations. Only cells that hold rejected frames are refined, in rectangles about them
    (``cover.cover``); memory is that of two rows of tiles.
    """
    height, width = stack.shape
    rejected = _rejected(decisions, stack.reference)
    done: list[tuple[Place, FloatArray]] = []
    changed = 0
    with ThreadPoolExecutor(threads()) as pool:
        for top in range(0, height, TILE):
            rows = slice(top, min(top + TILE, height))
            tiles = [(rows, slice(left, min(left + TILE, width))) for left in range(0, width, TILE)]
            tiles = [tile for tile in tiles if _touched(rejected, tile, (height, width))]
            noisy = partial(_noisy_cells, radiance, decisions, stack, noise)
            cells = np.zeros((-(-(rows.stop - top) // CELL), -(-width // CELL)), np.bool_)
            for tile, found in zip(tiles, pool.map(noisy, tiles), strict=True):
                first = tile[1].start // CELL
                cells[:, first : first + found.shape[1]] = found
            places = cover(cells, 2 * _REACH // CELL, TILE // CELL)
            work = partial(_refine_place, radiance, top, cells, decisions, stack, noise, network)
            results = list(pool.map(work, places))
            _write(radiance, done)  # what the next row of tiles reaches stays as it was until then
            done = [(place, clean) for place, clean, _ in results]
            changed += sum(count for _, _, count in results)
            if progress is not None:
                progress("refine", rows.stop / height)
    _write(radiance, done)
    return changed / (height * width)


def _write(radiance: NDArray[np.floating[Any]], done: list[tuple[Place, FloatArray]]) -> None:
    for place, clean in done:
        radiance[place] = clean


def _rejected(decisions: Decisions, reference: int) -> FloatArray:
    """(h, w): the most that any frame but the reference is distrusted."""
    trust = [t for k, t in enumerate(decisions.trust) if k != reference]
    return np.asarray(1.0 - np.minimum.reduce(trust), dtype=np.float32)


def _touched(rejected: FloatArray, place: Place, shape: tuple[int, int]) -> bool:
    """Whether some frame is distrusted in a tile, as the proxy tells."""
    (h, w), (height, width) = rejected.shape, shape
    rows, columns = place
    top, bottom = rows.start * h // height, -(-rows.stop * h // height) + 1
    left, right = columns.start * w // width, -(-columns.stop * w // width) + 1
    return bool((rejected[top:bottom, left:right] > 0.1).any())


def _noisy_cells(
    radiance: NDArray[np.floating[Any]],
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
    tile: Place,
) -> NDArray[np.bool_]:
    """Which cells of a tile are noisy enough to be refined, told by a quarter of its pixels."""
    around = np.arange(tile[0].start, tile[0].stop, 2), np.arange(tile[1].start, tile[1].stop, 2)
    values = _of_sensor(radiance[tile][::2, ::2], stack)
    share = amount(values, _noise_left(values, around, decisions, stack, noise)[1])
    rows, columns = (np.arange(0, n, CELL // 2) for n in share.shape)
    sums = np.add.reduceat(np.add.reduceat(share, rows, axis=0), columns, axis=1)
    return np.asarray(sums > _FEWEST / 4)


def _refine_place(
    radiance: NDArray[np.floating[Any]],
    top: int,
    cells: NDArray[np.bool_],
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
    network: Network,
    place: Place,
) -> tuple[Place, FloatArray, int]:
    """Where in the picture a place among ``cells``, which begin at the row ``top``, lies; what is
    there without its noise; how many of its pixels changed."""
    import cv2

    size = stack.shape
    start = top + place[0].start * CELL, place[1].start * CELL
    sides = [(part.stop - part.start) * CELL for part in place]
    inside = tuple(slice(a, min(a + n, m)) for a, n, m in zip(start, sides, size, strict=True))
    there: Place = (inside[0], inside[1])
    wide, beyond = _with_halo(start, sides, size)
    tile = _of_sensor(radiance[wide], stack)
    shown = np.arange(wide[0].start, wide[0].stop), np.arange(wide[1].start, wide[1].stop)
    left, noisier = _noise_left(tile, shown, decisions, stack, noise)
    if any(beyond):
        border = cv2.BORDER_REFLECT_101
        tile, left, noisier = (
            cv2.copyMakeBorder(plane, *beyond, border) for plane in (tile, left, noisier)
        )
    model = float(noise.read[stack.reference]), float(noise.gain[stack.reference]), noise.curve
    bands = bands_of(tile, *model)
    seen = (slice(None), *(slice(HALO - _REACH, _REACH - HALO),) * 2)
    found = noise_in(bands[seen], network(np.ascontiguousarray(inputs(tile, bands, left)[seen])))
    height, width = (part.stop - part.start for part in there)
    inner = (slice(HALO, HALO + height), slice(HALO, HALO + width))
    own = np.ascontiguousarray(tile[inner])
    share = amount(own, noisier[inner])
    share *= cells[place].repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]
    found = found[:, _REACH : _REACH + height, _REACH : _REACH + width].transpose(1, 2, 0)
    clean = np.clip(found, -_FURTHEST, _FURTHEST)
    clean *= -reference_noise(own, *model)
    clean *= thrice(share)
    clean += own
    to_rec709 = _colour(stack)
    if to_rec709 is not None:
        clean = clean @ to_rec709.astype(np.float32)
    used = (share > 0).view(np.uint8)
    before = np.ascontiguousarray(radiance[there])
    np.maximum(clean, 0.0, out=clean)
    after = to_half(clean) if before.dtype == np.float16 else clean
    return there, np.asarray(cv2.copyTo(after, used, before)), cv2.countNonZero(used)


def _of_sensor(radiance: NDArray[np.floating[Any]], stack: ExposureStack) -> FloatArray:
    """Radiance as the sensor saw it: noise is the sensor's, before colour."""
    tile = to_float(np.ascontiguousarray(radiance))
    to_rec709 = _colour(stack)
    return tile if to_rec709 is None else tile @ np.linalg.inv(to_rec709).astype(np.float32)


def _with_halo(
    start: tuple[int, int], sides: Sequence[int], size: tuple[int, int]
) -> tuple[Place, tuple[int, int, int, int]]:
    """The part of the picture that is a place and what is around it; and how many pixels that would
    lie beyond the border (above, below, left, right), where the picture is mirrored."""
    inside, beyond = [], []
    for first, length, whole in zip(start, sides, size, strict=True):
        low, high = first - HALO, first + length + HALO
        inside.append(slice(max(low, 0), min(high, whole)))
        beyond += [max(-low, 0), max(high - whole, 0)]
    return (inside[0], inside[1]), (beyond[0], beyond[1], beyond[2], beyond[3])


def _colour(stack: ExposureStack) -> NDArray[np.float64] | None:
    """The matrix (3, 3) that rows of sensor values are multiplied with; None for the identity."""
    frame = stack.frames[stack.reference]
    matrix = np.diag(frame.white_balance) @ np.asarray(frame.to_rec709).T
    return None if np.array_equal(matrix, np.eye(3)) else matrix


def _noise_left(
    tile: FloatArray,
    around: tuple[NDArray[np.intp], NDArray[np.intp]],
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
) -> tuple[FloatArray, FloatArray]:
    """The merge's standard deviation in units of the reference's, at most 1; and in units of what
    it would be if every frame counted. (h, w) each."""
    import cv2

    red, green, blue = cv2.split(tile)
    peak = cv2.max(cv2.max(red, green), blue)
    x = np.clip((red + green + blue) * np.float32(1 / 3), 0.0, 1.0)
    trusted = np.full(x.shape, 1e-9, np.float32)
    every = trusted.copy()
    own = np.ones_like(x)
    for k, exposure in enumerate(stack.exposures):
        t = np.float32(exposure)
        certainty = np.clip((np.float32(0.97) - peak * t) * np.float32(1 / 0.07), 1e-4, 1.0)
        certainty *= t * t / noise.variance(x * t, k)
        every += certainty
        if k == stack.reference:
            own = certainty
            trusted += certainty
        else:
            trust = _looked_up(decisions.trust[k], around, stack.shape)
            trusted += np.where(trust < _NO_TRUST, np.float32(0.0), trust) * certainty
    return np.minimum(np.sqrt(own / trusted), 1.0), np.sqrt(every / trusted)


def _looked_up(
    plane: FloatArray, around: tuple[NDArray[np.intp], NDArray[np.intp]], shape: tuple[int, int]
) -> FloatArray:
    """A proxy plane at pixels of the full picture, bilinearly."""
    import cv2

    (h, w), (height, width) = plane.shape, shape
    y = ((around[0] + 0.5) * (h / height) - 0.5).astype(np.float32)
    x = ((around[1] + 0.5) * (w / width) - 0.5).astype(np.float32)
    across, down = (np.ascontiguousarray(g) for g in np.broadcast_arrays(x[None, :], y[:, None]))
    return np.asarray(
        cv2.remap(
            plane,
            across,
            down,
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.float32,
    )
