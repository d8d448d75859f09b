"""What a photograph looks like at thumbnail size: its brightness, and whether two show one scene.

Two exposures of one scene differ by a monotone curve, clipped at both ends. The signs of
differences between neighbouring pixels survive that, as the bits of G. Ward's median threshold
bitmaps do ("Fast, robust image registration for compositing high dynamic range photographs from
hand-held exposures", JGT 8, 2003), and need no median, which moves when much of a frame clips.
Small differences count less than large ones, so that noise has little say.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.batch.scan import Photo, Progress
from hdrmerge.errors import InputError, ResourceError
from hdrmerge.io.exif import read_shot

WIDTH, HEIGHT = 48, 32
_LAGS = (1, 3)  # pixels between those whose difference counts
_PLAIN = 6.0  # codes of difference above the noise that count in full
_NOISY = 2.8  # standard deviations of noise below which a difference of two pixels says nothing
_MARGIN = 4
_EVIDENCE = 20.0  # full differences that both must show; fewer say nothing
_SHIFTS = [(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
_THREADS = 2
_ROWS = 32
_SAMPLES = 300_000  # values looked at to tell a mask from a photograph
_BLOCK = 1024  # looks compared at a time


@dataclass(frozen=True, slots=True)
class Look:
    """``small`` (32, 48) float32 grey codes in [0, 255], ``stops``: log2 of its linear mean,
    ``noise``: the difference of codes that noise makes. ``mask``: two values are all there are."""

    small: NDArray[np.float32]
    stops: float
    noise: float
    mask: bool = False


def load_looks(
    photos: Sequence[Photo], root: Path, *, progress: Progress | None = None
) -> dict[Photo, Look]:
    """Looks of ``photos``; those that cannot be decoded are left out."""
    looks: dict[Photo, Look] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for k, look in enumerate(pool.map(lambda p: _load(root / p.file, p), photos)):
            if look is not None:
                looks[photos[k]] = look
            if progress is not None and k % 16 == 0:
                progress("look", k / len(photos))
    return looks


def _load(path: Path, photo: Photo) -> Look | None:
    try:
        pixels = _thumbnail(path, photo)
        if pixels is None and photo.kind == "jpeg":
            pixels = _reduced(path, photo)
        return _decoded(path) if pixels is None else look_of(pixels)
    except (InputError, ResourceError, OSError, ValueError, MemoryError):
        return None


def look_of(pixels: NDArray[Any]) -> Look:
    """The look of grey display codes (H, W) in [0, 255]."""
    import cv2

    small = cv2.resize(pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    linear = np.square(small / 255.0) * 0.98 + small / 255.0 * 0.02  # near sRGB, for a ratio
    noise = _NOISY * _noise(pixels) * min(1.0, WIDTH * HEIGHT / pixels.size) ** 0.5
    return Look(small, float(np.log2(max(float(linear.mean()), 1e-6))), noise)


def _noise(pixels: NDArray[Any]) -> float:
    """Standard deviation of noise: J. Immerkaer, "Fast noise variance estimation", CVIU 64, 1996,
    with the median in place of the mean."""
    import cv2

    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(pixels.astype(np.float32), -1, mask))
    inside = (pixels > 1) & (pixels < 254)  # clipping hides it
    known = response[inside] if inside.sum() >= 50 else response
    return float(np.median(known)) / (0.6745 * 6.0)


def _thumbnail(path: Path, photo: Photo) -> NDArray[Any] | None:
    """The picture inside the metadata, without the bars that bring it to 4:3."""
    import cv2

    if photo.shot.size is None:
        return None
    with path.open("rb") as file:
        data = read_shot(file).thumbnail
    if not data:
        return None
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if pixels is None or min(pixels.shape) < HEIGHT:
        return None
    height, width = pixels.shape
    aspect = photo.shot.size[0] / photo.shot.size[1]
    keep_h = min(height, max(HEIGHT, round(width / aspect)))
    keep_w = min(width, max(HEIGHT, round(height * aspect)))
    top, left = (height - keep_h) // 2, (width - keep_w) // 2
    return np.asarray(pixels[top : top + keep_h, left : left + keep_w])


def _reduced(path: Path, photo: Photo) -> NDArray[Any] | None:
    import cv2

    data = np.frombuffer(path.read_bytes(), np.uint8)
    flag = cv2.IMREAD_REDUCED_GRAYSCALE_8 if _side(photo) > 8 * WIDTH else cv2.IMREAD_GRAYSCALE
    decoded: NDArray[Any] | None = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
    return decoded


def _decoded(path: Path) -> Look:
    from hdrmerge.io import read_frame

    frame = read_frame(path)
    every = max(1, round((frame.pixels.size / _SAMPLES) ** 0.5))
    codes = frame.pixels[::every, ::every]
    low, high = codes.min(), codes.max()
    mask = bool(low < high and ((codes == low) | (codes == high)).all())
    small = frame.averaged(WIDTH * HEIGHT * 16)
    grey = small.fraction(small.pixels).mean(axis=2).clip(0.0, 1.0)
    return replace(
        look_of(np.asarray((grey ** (1 / 2.2) if frame.encoding == "linear" else grey) * 255.0)),
        mask=mask,
    )


def _side(photo: Photo) -> int:
    return min(photo.shot.size) if photo.shot.size else 0


def _signs(look: Look, dx: int = 0, dy: int = 0) -> NDArray[np.float32]:
    """-1 to +1 for each pair of neighbours of a look moved by whole pixels."""
    x = np.roll(look.small, (dy, dx), (0, 1)) if dx or dy else look.small
    rows, columns = HEIGHT - _MARGIN, WIDTH - _MARGIN
    parts = []
    for lag in _LAGS:
        for d in (x[:, lag:] - x[:, :-lag], x[lag:] - x[:-lag]):
            parts.append(d[:rows, :columns].ravel())
    d = np.concatenate(parts)
    size = np.clip((np.abs(d) - np.float32(look.noise)) / np.float32(_PLAIN), 0.0, 1.0)
    return np.asarray(np.sign(d) * size)


def similarity(a: Sequence[Look], b: Sequence[Look]) -> NDArray[np.float32]:
    """(len(a), len(b)) agreement in [-1, 1] of signs, at the best of small shifts.

    1 where the scene is the same, about 0 for another one, NaN where there is next to nothing to
    compare (a frame that is all but black or white).
    """
    best = np.full((len(a), len(b)), np.nan, dtype=np.float32)
    for row in range(0, len(a), _BLOCK):
        fixed = np.stack([_signs(look) for look in a[row : row + _BLOCK]])
        for column in range(0, len(b), _BLOCK):
            tile = best[row : row + _BLOCK, column : column + _BLOCK]
            for dx, dy in _SHIFTS:
                moved = np.stack([_signs(look, dx, dy) for look in b[column : column + _BLOCK]])
                count = np.abs(fixed) @ np.abs(moved).T
                agreement = (fixed @ moved.T) / np.maximum(count, _EVIDENCE)
                agreement[count < _EVIDENCE] = np.nan
                np.fmax(tile, agreement, out=tile)
    return best


def band(looks: Sequence[Look | None], reach: int) -> NDArray[np.float32]:
    """(N, reach) likeness of each shot to the k-th next one; NaN where either is unknown."""
    count = len(looks)
    found = np.full((count, reach), np.nan, dtype=np.float32)
    for start in range(0, count, _ROWS):
        rows = [k for k in range(start, min(start + _ROWS, count)) if looks[k] is not None]
        stop = min(start + _ROWS + reach - 1, count)
        columns = [k for k in range(start, stop) if looks[k] is not None]
        if not rows or len(columns) < 2:
            continue
        a = [look for k in rows if (look := looks[k]) is not None]
        b = [look for k in columns if (look := looks[k]) is not None]
        values = similarity(a, b)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if 0 < column - row < reach:
                    found[row, column - row] = values[i, j]
    return found


def bridges_of(alike: NDArray[np.float32], stops: Sequence[float]) -> list[float]:
    """(N - 1,) the greatest likeness across each gap between exposures ``stops`` (N,), ascending.

    ``alike`` (N, N); NaN where nothing is known.
    """
    order = np.argsort(stops, kind="stable")
    found = []
    for k in range(1, len(order)):
        across = alike[np.ix_(order[:k], order[k:])]
        found.append(float(np.nanmax(across)) if not np.isnan(across).all() else np.nan)
    return found
