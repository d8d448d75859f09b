"""What the surfaces of the procedural room look like: wood, books, a poster, a view of hills."""

from __future__ import annotations

import functools

import numpy as np

from hdrmerge.simulate.motion import smooth_noise
from hdrmerge.simulate.tracing import Array, rgb


def _hash(*values: Array) -> Array:
    """A fixed pseudo-random number in [0, 1) for each combination of (rounded) values."""
    total = np.zeros(values[0].shape, np.float64)
    for value, factor in zip(values, (12.9898, 78.233, 37.719), strict=False):
        total += np.floor(value) * factor
    return np.asarray(np.modf(np.abs(np.sin(total) * 43758.5453))[0], dtype=np.float32)


@functools.lru_cache(maxsize=32)
def noise_tile(seed: int) -> Array:
    """A (1024, 1024) field of many scales with standard deviation near 1."""
    rng = np.random.default_rng(seed)
    cells = (2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
    field = sum(smooth_noise(1024, 1024, c, rng)[..., 0] * c**0.5 for c in cells)
    return np.asarray(field / np.std(field), dtype=np.float32)


def noise_at(u: Array, v: Array, scale: float, seed: int) -> Array:
    """The noise field at (u, v) times ``scale`` pixels, mirrored beyond its borders."""
    import cv2

    u, v = (np.abs(np.mod(x * np.float32(scale) + 1022, 2044) - 1022) for x in (u, v))
    shape = u.shape
    if not u.size:
        return np.zeros(shape, np.float32)
    rows = u.reshape(1, -1), v.reshape(1, -1)
    # remap takes at most 32767 columns
    width = 16384
    pad = (-rows[0].shape[1]) % width
    grids = [np.pad(r[0], (0, pad)).reshape(-1, width).astype(np.float32) for r in rows]
    out = cv2.remap(noise_tile(seed), grids[0], grids[1], cv2.INTER_LINEAR)
    return np.asarray(out.ravel()[: rows[0].shape[1]].reshape(shape))


def _mix(a: tuple[float, ...], b: tuple[float, ...], amount: Array) -> Array:
    share: Array = amount[..., None]
    return np.asarray(rgb(*a) * (1 - share) + rgb(*b) * share, dtype=np.float32)


def planks(u: Array, v: Array) -> Array:
    """A wooden floor, planks 13 cm wide along v."""
    row = u / np.float32(0.13)
    shift = _hash(row) * 1.7
    column = (v + shift) / np.float32(1.4)
    tone = _hash(row, column)
    grain = noise_at(u * 14, v, 60, 1)
    wood = _mix((0.16, 0.075, 0.035), (0.36, 0.20, 0.10), np.clip(tone + 0.13 * grain, 0, 1))
    gap = (np.abs(np.mod(row, 1) - 0.5) > 0.475) | (np.abs(np.mod(column, 1) - 0.5) > 0.497)
    return wood * np.where(gap, 0.25, 1.0)[..., None]


def rug(u: Array, v: Array) -> Array:
    """A woven rug on [0, 1]^2 with a border and lozenges."""
    lozenge = np.mod(np.abs(np.mod(u * 6, 1) - 0.5) + np.abs(np.mod(v * 4, 1) - 0.5), 0.5) < 0.25
    border = np.minimum(np.minimum(u, 1 - u) * 2.2, np.minimum(v, 1 - v) * 1.6)
    colour = np.where(lozenge[..., None], rgb(0.30, 0.05, 0.045), rgb(0.05, 0.075, 0.16))
    colour = np.where((border < 0.12)[..., None], rgb(0.45, 0.36, 0.22), colour)
    colour = np.where((border < 0.05)[..., None], rgb(0.10, 0.02, 0.02), colour)
    weave = 0.8 + 0.2 * np.sin(u * 900) * np.sin(v * 700)
    return np.asarray(colour * weave[..., None], dtype=np.float32)


def plaster(u: Array, v: Array, colour: tuple[float, float, float]) -> Array:
    """Painted plaster."""
    tone = 1 + 0.035 * noise_at(u, v, 90, 2) + 0.02 * noise_at(u, v, 700, 3)
    return np.asarray(rgb(*colour) * tone[..., None], dtype=np.float32)


def books(u: Array, v: Array) -> Array:
    """Spines of books on shelves 0.36 apart (v up), with titles one almost can read."""
    shelf = np.floor(v / 0.36)
    height = np.mod(v, 0.36)
    cell = u / np.float32(0.052) + shelf * 7.3
    jitter = _hash(cell, shelf)
    local = np.mod(cell, 1)
    hue = _hash(cell + 3, shelf)
    tone = 0.35 + 0.65 * _hash(cell + 9, shelf)
    palette = np.array(
        [
            [0.32, 0.05, 0.04], [0.05, 0.09, 0.22], [0.07, 0.18, 0.09], [0.42, 0.30, 0.12],
            [0.50, 0.47, 0.40], [0.06, 0.06, 0.06], [0.30, 0.13, 0.05], [0.14, 0.22, 0.27],
        ],
        np.float32,
    )  # fmt: skip
    colour = palette[(hue * 7.99).astype(np.int32)] * tone[..., None]
    top = 0.22 + 0.1 * jitter
    round_back = np.clip(1.15 - 1.6 * np.abs(local - 0.5) ** 2 * 2, 0.2, 1.1)
    colour = colour * round_back[..., None]
    glyph = _hash(np.floor(height / 0.0085) + 31 * shelf, np.floor(local * 7), np.floor(cell))
    title = (np.abs(local - 0.5) < 0.24) & (height > 0.05) & (height < top - 0.05) & (glyph > 0.55)
    ink = np.where((tone > 0.8)[..., None], rgb(0.05, 0.04, 0.03), rgb(0.6, 0.48, 0.22))
    colour = np.where((title & (jitter > 0.3))[..., None], ink, colour)
    band = (np.abs(height - top + 0.03) < 0.004) | (np.abs(height - 0.03) < 0.004)
    colour = np.where((band & (hue > 0.4))[..., None], rgb(0.55, 0.42, 0.18), colour)
    gap = (height > top) | (np.abs(local - 0.5) > 0.485)
    return np.where(gap[..., None], np.float32(0.012), colour).astype(np.float32)


@functools.lru_cache(maxsize=1)
def _poster() -> Array:
    """A printed poster (900, 660, 3) with lines of text in falling size, as at the optician's."""
    import cv2

    page = np.full((900, 660, 3), 184, np.uint8)  # linear light, not sRGB
    page[40:300, 40:620] = (13, 41, 61)
    cv2.circle(page, (470, 150), 70, (191, 107, 20), -1, cv2.LINE_AA)
    for i, top in enumerate((190, 215, 245)):
        x = np.arange(40, 621)
        y = top + 22 * np.sin(x / (47 + 13 * i) + i * 2) + 8 * np.sin(x / 17 + i)
        points = np.concatenate([np.stack([x, y], 1), [[620, 299], [40, 299]]]).astype(np.int32)
        shade = 0.75 - 0.25 * i
        cv2.fillPoly(page, [points], (26 * shade, 76 * shade, 61 * shade), cv2.LINE_AA)
    lines = [
        ("HIGH", 3.6, 9, 400),
        ("DYNAMIC RANGE", 2.0, 5, 480),
        ("what the eye sees at once", 1.15, 3, 540),
        ("three exposures - one picture - no ghosts", 0.72, 2, 590),
        ("shadows / highlights / everything in between", 0.62, 1, 630),
    ]  # fmt: skip
    for text, size, thick, y in lines:
        (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size, thick)
        at = ((660 - width) // 2, y)
        cv2.putText(page, text, at, cv2.FONT_HERSHEY_DUPLEX, size, (8, 8, 10), thick, cv2.LINE_AA)
    for i in range(9):  # a grey scale, a stop a step, and bars of falling width
        page[680:740, 60 + 60 * i : 118 + 60 * i] = round(184 * 0.5 ** (i * 0.75))
    for i in range(14):
        step = 14 - i
        for j in range(5):
            left = 60 + i * 38 + j * step // 2
            page[770:850, left : left + max(1, step // 4)] = 10
    return page.astype(np.float32) / 255


def poster(u: Array, v: Array) -> Array:
    """The poster at (u, v) in [0, 1]^2, v up, linearly interpolated."""
    page = _poster()
    x = np.clip(u * 660 - 0.5, 0, 658.999)
    y = np.clip((1 - v) * 900 - 0.5, 0, 898.999)
    i, j = x.astype(np.int32), y.astype(np.int32)
    fx, fy = (x - i)[..., None], (y - j)[..., None]
    top = page[j, i] * (1 - fx) + page[j, i + 1] * fx
    low = page[j + 1, i] * (1 - fx) + page[j + 1, i + 1] * fx
    return np.asarray(top * (1 - fy) + low * fy, dtype=np.float32)


def landscape(x: Array, y: Array) -> Array:
    """Radiance of the view outside: x = azimuth, y = elevation (tangents), both (n,).

    Sky with lit clouds, three ridges with snow on the farthest, a lake, a near meadow and firs.
    """
    up = np.clip(y / 0.45, 0, 1)
    sky = _mix((30.0, 30.0, 29.0), (7.0, 13.0, 27.0), up**0.6)
    cloud = noise_at(x + 3, y * 2.6 + 0.31, 420, 4) + 0.4 * noise_at(x, y * 2.2, 1300, 5)
    cover = np.clip((cloud - 0.05) * 0.9, 0, 1) * np.clip((y + 0.02) * 7, 0, 1)
    edge = np.clip(1.4 - np.abs(cloud - 0.5), 0.4, 1.4)
    out = sky * (1 - cover[..., None]) + (rgb(120, 112, 100) * edge[..., None]) * cover[..., None]

    far = 0.115 + 0.035 * noise_at(x, x * 0, 300, 6) + 0.008 * noise_at(x, x * 0 + 1, 1500, 7)
    snow = y > far - 0.045 + 0.016 * noise_at(x, y * 3, 900, 8)
    lit = np.clip(0.6 + 0.5 * noise_at(x + y, y - 0.5 * x, 900, 9), 0.15, 1.5)[..., None]
    rock = np.where(snow[..., None], rgb(50, 50, 54), rgb(9, 11, 15)) * lit
    out = np.where((y < far)[..., None], rock, out)
    middle = 0.05 + 0.022 * noise_at(x + 9, x * 0, 420, 10) + 0.004 * noise_at(x, x * 0, 3000, 11)
    wood = (
        rgb(2.6, 4.2, 3.2) * np.clip(0.8 + 0.35 * noise_at(x, y * 2, 1600, 12), 0.2, 2)[..., None]
    )
    out = np.where((y < middle)[..., None], wood, out)

    lake = y < -0.005
    ripple = noise_at(x * 0.6, y * 9, 1500, 13)
    glint = (
        np.clip(ripple - 1.55, 0, 1)[..., None]
        * rgb(420, 390, 320)
        * np.exp(-((x - 0.1) ** 2) * 90)[..., None]
    )
    depth = np.clip(-y / 0.12, 0, 1)
    water = _mix((9.0, 11.0, 12.0), (2.0, 4.2, 6.0), depth) * (1 + 0.16 * ripple)[..., None] + glint
    out = np.where(lake[..., None], water, out)
    shore = -0.085 + 0.012 * noise_at(x + 4, x * 0, 260, 14)
    grass = (
        rgb(4.6, 7.0, 1.7) * np.clip(1 + 0.3 * noise_at(x * 2, y * 2, 1500, 15), 0.2, 2)[..., None]
    )
    out = np.where((y < shore)[..., None], grass, out)
    for i, (centre, height, width) in enumerate(
        [(-0.27, 0.30, 0.055), (-0.21, 0.21, 0.042), (-0.335, 0.24, 0.05), (0.06, 0.17, 0.032)]
    ):
        top, foot = -0.085 + height, -0.097
        level = np.clip((top - y) / height, 0, 1)
        tiers = np.mod(level * 9, 1)
        reach = width * (0.06 + level) * (0.62 + 0.38 * tiers)
        reach = reach * (1 + 0.12 * noise_at(x * 0.3, y * 6, 1400, 16 + i))
        tree = (np.abs(x - centre) < reach) & (y < top) & (y > foot)
        shade = np.clip(1.0 + 6 * (x - centre) / width * 0.12 + 0.4 * tiers, 0.3, 2)[..., None]
        out = np.where(tree[..., None], rgb(0.5, 0.85, 0.42) * shade, out)
    return np.asarray(np.maximum(out, 0.05), dtype=np.float32)
