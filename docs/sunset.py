"""A procedural scene of 24 stops for the pictures of docs/: the sun sets over the sea."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.simulate.textures import noise_at

_SUN = (0.36, 0.085)  # across, and above the horizon, in widths of the picture
_HORIZON = 0.58  # of the height


def sunset(height: int, width: int) -> FloatArray:
    """Linear Rec.709 radiance (height, width, 3), the average of four samples a pixel."""
    import cv2

    fine = _scene(2 * height, 2 * width)
    return np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))


def _scene(height: int, width: int) -> FloatArray:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, up = (x + 0.5) / width, (_HORIZON * height - y) / width
    sea = up < 0
    # the sea mirrors the sky above it, waves lift the mirrored ray
    waves = noise_at(x / (0.01 - up.clip(max=0)) * 0.1, 1 / (0.012 - up.clip(max=0)), 24, 3)
    lift = np.where(sea, np.abs(up) * (1 + 0.6 * waves) + 0.002, up).clip(min=0)
    side = np.where(sea, x + 0.06 * waves * np.abs(up), x)
    radiance = _sky(side, lift)
    grazing = (0.02 + 0.9 * np.exp(-14 * np.abs(up)))[..., None]
    radiance = np.where(sea[..., None], radiance * grazing + _colour(0.002, 0.004, 0.006), radiance)
    # a headland with trees before the sky, hardly lit
    edge = 0.2 * np.exp(-(((x - 0.95) / 0.22) ** 2)) + 0.012 * noise_at(x, 0 * x, 300, 7) - 0.03
    shore = -0.014 - 0.02 * (x - 0.6) + 0.002 * noise_at(x, 0 * x, 500, 8)
    land = (up < edge) & (up > shore) & (x > 0.5)
    grass = 0.6 + 0.4 * noise_at(x, up, 700, 9).clip(-1.2, 2)
    radiance = np.where(land[..., None], grass[..., None] * _colour(0.012, 0.014, 0.008), radiance)
    # a boat with a red sail and a lamp
    sail = (np.abs(x - 0.53) < 0.3 * (0.10 - up).clip(0, 0.09)) & (up > 0.012) & (x > 0.515)
    hull = (np.abs(x - 0.53) < 0.035 + 0.5 * up) & (up > -0.012) & (up < 0.008)
    radiance = np.where(sail[..., None], _colour(0.55, 0.05, 0.03), radiance)
    radiance = np.where(hull[..., None], _colour(0.03, 0.03, 0.04), radiance)
    lamp = (x - 0.508) ** 2 + (up - 0.014) ** 2 < 0.003**2
    return np.where(lamp[..., None], _colour(40, 30, 12), radiance).astype(np.float32)


def _colour(red: float, green: float, blue: float) -> FloatArray:
    return np.array([red, green, blue], np.float32)


def _sky(x: FloatArray, up: FloatArray) -> FloatArray:
    """Blue above, orange below, the sun and its glow, and clouds that it lights from behind."""
    away = np.hypot(x - _SUN[0], up - _SUN[1])
    low = np.exp(-7 * up)[..., None]
    sky = _colour(0.10, 0.19, 0.42) * (1 - low) + _colour(1.1, 0.42, 0.12) * low
    glow = 3.0 * np.exp(-14 * away) + 60 * np.exp(-110 * away)
    sky = sky + glow[..., None] * _colour(1.0, 0.62, 0.25)
    sky = np.where((away < 0.014)[..., None], _colour(30000, 21000, 9000), sky)
    cloud = noise_at(x * 0.7, up * 2.6 + 0.2, 420, 5) - 0.25 + 1.2 * np.sin(9 * up + 2 * x)
    thick = 1 / (1 + np.exp(-3 * cloud)) * np.clip(up / 0.05, 0, 1)
    lit = _colour(0.9, 0.38, 0.22) * (0.25 + 2.2 * np.exp(-5 * away))[..., None]
    return np.asarray(sky * (1 - 0.85 * thick)[..., None] + 0.5 * thick[..., None] * lit)
