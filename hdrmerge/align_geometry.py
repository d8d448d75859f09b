"""Homographies as alignment handles them: scaled, compared, doubted, simplified."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hdrmerge.align_refine import Float64, Model
from hdrmerge.frames import Matrix


def scaling(s: float) -> Matrix:
    """Pixel coordinates to those of the same picture at ``s`` times its size."""
    return np.array([[s, 0, (s - 1) / 2], [0, s, (s - 1) / 2], [0, 0, 1]])


def _apply(homography: Matrix, shape: tuple[int, ...]) -> Float64:
    """(3, 81) homogeneous images of a 9 x 9 grid over the picture, corners included."""
    return np.asarray(homography @ _grid(shape[0], shape[1]))


@lru_cache(maxsize=32)
def _grid(height: int, width: int) -> Float64:
    x, y = np.meshgrid(np.linspace(0, width - 1, 9), np.linspace(0, height - 1, 9))
    return np.stack([x.ravel(), y.ravel(), np.ones(x.size)])


def displacements(a: Matrix, b: Matrix, shape: tuple[int, ...]) -> Float64:
    """(81,) distances in px between where two homographies put a grid."""
    p, q = _apply(a, shape), _apply(b, shape)
    return np.asarray(np.hypot(*(p[:2] / p[2] - q[:2] / q[2])))


def is_plausible(homography: Matrix, shape: tuple[int, ...]) -> bool:
    """Whether a camera held by hand could do this: no mirror, no zoom by 2, most still in view."""
    if not np.isfinite(homography).all() or abs(homography[2, 2]) < 1e-9:
        return False
    h = homography / homography[2, 2]
    depth = _apply(h, shape)[2]
    area = np.linalg.det(h[:2, :2])
    return bool(
        depth.min() > 0.5
        and depth.max() < 2
        and 0.5 < area < 2
        and displacements(h, np.eye(3), shape).max() < 0.75 * max(shape)
    )


def restrict(homography: Matrix, model: Model, shape: tuple[int, ...]) -> Matrix:
    """The transform of the model that agrees with a homography at the picture's centre."""
    if model == "homography":
        return homography
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    image = homography @ np.append(centre, 1)
    target = image[:2] / image[2]
    out = np.eye(3)
    if model == "affine":
        out[:2, :2] = (homography[:2, :2] - np.outer(target, homography[2, :2])) / image[2]
    out[:2, 2] = target - out[:2, :2] @ centre
    return out
