"""Things that move through a bracket: irregular, deforming foregrounds with soft edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hdrmerge.frames import FloatArray


@dataclass(frozen=True, slots=True)
class MotionConfig:
    """How much moves. ``step``: pixels between neighbouring frames. ``size``: smallest and largest
    extent as a share of the picture's shorter side. ``contrast``: a mover's median lies up to so
    many stops above or below what it covers. ``over_clipped``: share of movers that cross regions
    the reference clips. ``brightest``: what a mover's radiance stays below, 1 = the reference's
    saturation; movers reflect light, few of them shine.
    """

    movers: int = 0
    step: float = 40.0
    size: tuple[float, float] = (0.08, 0.35)
    contrast: float = 3.0
    over_clipped: float = 0.35
    brightest: float = 8.0


@dataclass(frozen=True, slots=True, eq=False)
class Mover:
    """One moving thing: coverage (h, w) in [0, 1], radiance (h, w, 3), its centre (x, y) in the
    scene, direction and turning at each frame, and how it deforms (a field (h, w, 2) of unit
    amplitude with a factor a frame, in pixels)."""

    alpha: FloatArray
    radiance: FloatArray
    centre: tuple[float, float]
    offsets: FloatArray  # (N, 2)
    angles: FloatArray  # (N,)
    sway: FloatArray
    sway_factors: FloatArray  # (N,)


def smooth_noise(
    height: int, width: int, cell: float, rng: np.random.Generator, channels: int = 1
) -> FloatArray:
    """Gaussian noise with features of about ``cell`` pixels, standard deviation near 1."""
    import cv2

    shape = (max(2, round(height / cell)) + 2, max(2, round(width / cell)) + 2, channels)
    grid = rng.standard_normal(shape, dtype=np.float32)
    out = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(out.reshape(height, width, channels), dtype=np.float32)


def random_mask(size: int, rng: np.random.Generator) -> FloatArray:
    """An irregular coverage (size, size) in [0, 1]: blob, person, polygon or bars, edges soft."""
    import cv2

    scale = 2  # drawn at twice the size, area-averaged down: anti-aliased edges
    n = size * scale
    kind = rng.choice(["blob", "person", "polygon", "bars"], p=[0.3, 0.35, 0.2, 0.15])
    mask = np.zeros((n, n), np.uint8)
    if kind == "blob":
        y, x = np.mgrid[-1 : 1 : n * 1j, -1 : 1 : n * 1j].astype(np.float32)
        radius = np.hypot(x, y * rng.uniform(0.8, 1.6))
        mask = ((radius + 0.22 * smooth_noise(n, n, n / 5, rng)[..., 0] < 0.72) * 255).astype(
            np.uint8
        )
        mask[[0, -1]] = 0
        mask[:, [0, -1]] = 0
    elif kind == "person":
        _draw_person(mask, rng)
    elif kind == "polygon":
        corners = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = rng.uniform(0.25, 0.48, corners) * n
        points = np.stack([n / 2 + reach * np.cos(angle), n / 2 + reach * np.sin(angle)], 1)
        cv2.fillPoly(mask, [points.astype(np.int32)], 255)
    else:
        for _ in range(int(rng.integers(1, 4))):
            ends = rng.uniform(0.05, 0.95, (2, 2)) * n
            thick = max(2, round(n * rng.uniform(0.015, 0.08)))
            a, b = (tuple(int(v) for v in e) for e in ends)
            cv2.line(mask, a, b, 255, thick)
    small = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    blur = rng.uniform(0.3, 1.2)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), blur), dtype=np.float32)


def _draw_person(
    mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]], rng: np.random.Generator
) -> None:
    """Head, body, arms and legs of ellipses and thick lines; fills about the mask's height."""
    import cv2

    n = len(mask)

    def at(x: float, y: float) -> tuple[int, int]:
        return int(n * x), int(n * y)

    lean = rng.uniform(-0.03, 0.03)
    cv2.ellipse(mask, at(0.5 + lean, 0.14), at(0.065, 0.085), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, at(0.5, 0.38), at(rng.uniform(0.1, 0.15), 0.19), 0, 0, 360, 255, -1)
    thick = max(2, int(n * 0.065))
    for side in (-1, 1):
        knee = (0.5 + side * rng.uniform(0.02, 0.13), 0.73)
        foot = (knee[0] + rng.uniform(-0.08, 0.08), 0.95)
        cv2.line(mask, at(0.5 + side * 0.05, 0.5), at(*knee), 255, thick)
        cv2.line(mask, at(*knee), at(*foot), 255, int(thick * 0.8))
        elbow = (0.5 + side * rng.uniform(0.13, 0.22), rng.uniform(0.3, 0.45))
        hand = (elbow[0] + rng.uniform(-0.12, 0.12), elbow[1] + rng.uniform(-0.05, 0.17))
        cv2.line(mask, at(0.5 + side * 0.09, 0.26), at(*elbow), 255, int(thick * 0.75))
        cv2.line(mask, at(*elbow), at(*hand), 255, int(thick * 0.6))


def random_texture(
    size: int, sources: Sequence[FloatArray], rng: np.random.Generator
) -> FloatArray:
    """Radiance (size, size, 3) with median luminance near 1: cut from a source, flat or made up."""
    import cv2

    kind = rng.uniform()
    if kind < 0.5 and sources:
        source = sources[int(rng.integers(len(sources)))]
        side = min(*source.shape[:2], max(8, int(size / rng.uniform(0.6, 1.6))))
        y, x = (int(rng.integers(0, s - side + 1)) for s in source.shape[:2])
        patch = np.log(source[y : y + side, x : x + side] + np.float32(1e-5))
        patch = cv2.resize(patch, (size, size), interpolation=cv2.INTER_LINEAR)
        out = np.exp(patch)
    elif kind < 0.7:
        out = np.ones((size, size, 3), np.float32) * _random_colour(rng)
    else:
        field = sum(
            smooth_noise(size, size, max(2.0, size / f), rng) / f**0.5
            for f in (2.0, 6.0, 18.0, rng.uniform(20, 60))
        )
        two = np.stack([_random_colour(rng), _random_colour(rng)])
        blend = 1 / (1 + np.exp(-4 * np.asarray(field)))
        out = two[0] * blend + two[1] * (1 - blend)
        if rng.uniform() < 0.5:  # stripes or checks, sharp at pixel level
            period, angle = rng.uniform(4, 24), rng.uniform(0, np.pi)
            y, x = np.mgrid[0:size, 0:size].astype(np.float32)
            wave = np.sin((x * math.cos(angle) + y * math.sin(angle)) * 2 * np.pi / period)
            out = out * np.where(wave > 0, 1.0, rng.uniform(0.1, 0.8))[..., None]
    luminance = out @ np.array([0.2126, 0.7152, 0.0722])
    return np.asarray(out / max(float(np.median(luminance)), 1e-6), dtype=np.float32)


def _random_colour(rng: np.random.Generator) -> FloatArray:
    """A reflectance (3,) with luminance near 1, at times saturated."""
    colour = np.exp(rng.normal(0.0, 0.45, 3))
    return np.asarray(colour / (colour @ [0.2126, 0.7152, 0.0722]), dtype=np.float32)


def random_movers(
    scene: FloatArray,
    area: tuple[int, int, int, int],
    frames: int,
    reference: int,
    config: MotionConfig,
    sources: Sequence[FloatArray],
    rng: np.random.Generator,
) -> list[Mover]:
    """Movers for a scene scaled to the reference's saturation = 1.

    ``area`` (x, y, width, height) is what the reference frame sees of the scene.
    """
    x0, y0, width, height = area
    view = scene[y0 : y0 + height, x0 : x0 + width]
    luminance = view @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    clipped = np.flatnonzero(view.max(axis=2).ravel() >= 1.0)
    movers = []
    for _ in range(config.movers):
        if len(clipped) and rng.uniform() < config.over_clipped:
            cy, cx = divmod(int(rng.choice(clipped)), width)
        else:
            cx, cy = int(rng.integers(width)), int(rng.integers(height))
        share = math.exp(rng.uniform(*np.log(config.size)))
        size = max(12, round(share * min(height, width)))
        half = max(4, size // 2)
        behind = luminance[max(0, cy - half) : cy + half, max(0, cx - half) : cx + half]
        level = float(np.median(behind)) * 2.0 ** rng.uniform(-config.contrast, config.contrast)
        alpha = random_mask(size, rng)
        light = random_texture(size, sources, rng) * np.float32(level)
        heading = rng.uniform(0, 2 * np.pi)
        time = np.arange(frames) - reference
        travel = config.step * time[:, None] * np.array([math.cos(heading), math.sin(heading)])
        wobble = rng.normal(0, 0.15 * config.step, (frames, 2))
        turning = rng.normal(0, 8.0) * time + rng.normal(0, 2.0, frames)
        movers.append(
            Mover(
                alpha=alpha,
                radiance=light
                / (1 + (light / np.float32(config.brightest)) ** 2) ** np.float32(0.5),
                centre=(float(x0 + cx), float(y0 + cy)),
                offsets=(travel + wobble).astype(np.float32),
                angles=turning.astype(np.float32),
                sway=smooth_noise(size, size, max(4.0, size / 3), rng, 2),
                sway_factors=(rng.normal(0, 0.04 * size, frames)).astype(np.float32),
            )
        )
    return movers


def composite(scene: FloatArray, movers: Sequence[Mover], k: int) -> FloatArray:
    """The scene (H, W, 3) at the moment of frame k (the scene itself where nothing moves)."""
    import cv2

    if not movers:
        return scene

    out = scene.copy()
    for m in movers:
        size = len(m.alpha)
        cx, cy = m.centre[0] + float(m.offsets[k, 0]), m.centre[1] + float(m.offsets[k, 1])
        half = int(0.75 * size) + 2
        x0, y0 = max(0, int(cx) - half), max(0, int(cy) - half)
        x1, y1 = min(scene.shape[1], int(cx) + half), min(scene.shape[0], int(cy) + half)
        if x1 <= x0 or y1 <= y0:
            continue
        angle = math.radians(float(m.angles[k]))
        c, s = math.cos(angle), math.sin(angle)
        y, x = np.mgrid[y0:y1, x0:x1].astype(np.float32)
        dx, dy = x - np.float32(cx), y - np.float32(cy)
        u = c * dx + s * dy + np.float32(size / 2)
        v = -s * dx + c * dy + np.float32(size / 2)
        sway = cv2.remap(
            m.sway * m.sway_factors[k], u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        u, v = u + sway[..., 0], v + sway[..., 1]
        alpha = cv2.remap(m.alpha, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        light = cv2.remap(m.radiance, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        patch = out[y0:y1, x0:x1]
        patch += alpha[..., None] * (light - patch)
    return out
