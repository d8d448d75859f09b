"""Hand shake: a homography a frame, and sampling a scene through it."""

from __future__ import annotations

import math

import numpy as np

from hdrmerge.frames import FloatArray, Matrix

_FLOOR = 1e-6  # added before the logarithm; far below any camera's noise


def shake_margin(
    height: int, width: int, rotation: float, shift: float, perspective: float, parallax: float
) -> int:
    """Pixels of scene needed around the picture so that no shaken frame looks past its border."""
    reach = 0.5 * math.hypot(height, width) * math.radians(rotation)
    total = reach + shift + 2 * perspective + 3 * parallax
    return math.ceil(total) + 2 if total > 0 else 0


def random_homography(
    height: int,
    width: int,
    rotation: float,
    shift: float,
    perspective: float,
    rng: np.random.Generator,
) -> Matrix:
    """A homography from reference to frame coordinates (pixel centres at integers).

    ``rotation`` in degrees about the centre and ``shift`` in pixels are the largest values;
    ``perspective`` is how many pixels the corners may leave a parallelogram.
    """
    angle = math.radians(rotation) * rng.uniform(-1, 1)
    dx, dy = shift * rng.uniform(-1, 1, 2)
    cx, cy = (width - 1) / 2, (height - 1) / 2
    a, b = (
        perspective
        * rng.uniform(-1, 1, 2)
        / (max(cx, cy, 1.0) * np.array([max(cx, 1.0), max(cy, 1.0)]))
    )
    cosine, sine = math.cos(angle), math.sin(angle)
    centred = np.array([[cosine, -sine, dx], [sine, cosine, dy], [a / 2, b / 2, 1.0]])
    to_centre = np.array([[1, 0, -cx], [0, 1, -cy], [0, 0, 1.0]])
    matrix = np.linalg.inv(to_centre) @ centred @ to_centre
    return np.asarray(matrix / matrix[2, 2])


def parallax_field(height: int, width: int, amount: float, rng: np.random.Generator) -> FloatArray:
    """A smooth displacement (H, W, 2) in pixels with ``amount`` as its standard deviation."""
    import cv2

    cells = (max(2, height // 96) + 2, max(2, width // 96) + 2, 2)
    grid = (amount * rng.standard_normal(cells)).clip(-2.5 * amount, 2.5 * amount)
    return np.asarray(
        cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    )


def sample_scene(
    scene: FloatArray,
    origin: tuple[int, int],
    size: tuple[int, int],
    homography: Matrix,
    field: FloatArray | None = None,
) -> FloatArray:
    """What a frame sees: ``scene`` through the inverse of ``homography``, (H, W, 3).

    ``origin`` (x, y) is where the reference's pixel (0, 0) lies in the scene. The reference itself
    is copied. Interpolation is cubic in log radiance: cubic in linear radiance would ring black
    around lamps, and linear would blur.
    """
    import cv2

    (height, width), (x0, y0) = size, origin
    if field is None and np.array_equal(homography, np.eye(3)):
        return scene[y0 : y0 + height, x0 : x0 + width].copy()
    to_scene = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]]) @ np.linalg.inv(homography)
    logs = cv2.log(scene + np.float32(_FLOOR))
    border = cv2.BORDER_REFLECT_101
    if field is None:
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        out = cv2.warpPerspective(logs, to_scene, (width, height), flags=flags, borderMode=border)
    else:
        y, x = np.mgrid[0:height, 0:width].astype(np.float32)
        m = to_scene.astype(np.float32)
        w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
        map_x = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w + field[..., 0]
        map_y = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w + field[..., 1]
        out = cv2.remap(logs, map_x, map_y, cv2.INTER_CUBIC, borderMode=border)
    return np.asarray(np.maximum(cv2.exp(out) - np.float32(_FLOOR), 0.0), dtype=np.float32)


def inside(
    homography: Matrix, size: tuple[int, int]
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    """Which reference pixels (H, W) a frame of the same size sees."""
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    m = homography.astype(np.float32)
    w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
    u = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w
    v = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w
    return np.asarray((u >= 0) & (v >= 0) & (u <= width - 1) & (v <= height - 1))
