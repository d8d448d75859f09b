"""A bracket of any size, quickly: a small traced room, enlarged, with fine texture, hand-held.

A process of its own (``python -m hdrmerge.bench.photographs``), so that what it needs of memory is
not counted as anybody else's.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrmerge.bench.plan import size_of, stops_of
from hdrmerge.frames import FloatArray, Matrix
from hdrmerge.io.atomic import write_bytes
from hdrmerge.simulate import camera
from hdrmerge.simulate.exif import capture_settings
from hdrmerge.simulate.geometry import random_homography
from hdrmerge.simulate.motion import smooth_noise
from hdrmerge.simulate.room import room
from hdrmerge.simulate.write import exif_block

_TRACED = (160, 240)  # pixels of the room before it is enlarged
_TEXTURE = 1024  # pixels a side of the texture that is repeated over a photograph
_MARGIN = 0.05  # of the room on each side, which shake may bring into view
_FULL_WELL, _READ_NOISE = 6000.0, 4.0  # electrons
_PERCENTILE = 99.0  # of the room, what the shortest frame does not clip
_BAND = 64  # rows


def photograph(folder: Path, megapixels: float, count: int, seed: int = 7) -> list[Path]:
    """Write ``count`` JPEG photographs with EXIF, three stops apart or less, of somebody walking
    through a room, each turned by up to 0.1 degrees and shifted by up to 8 pixels."""
    height, width = size_of(megapixels)
    stops = stops_of(count)
    rng = np.random.default_rng(seed)
    texture = sum(
        smooth_noise(_TEXTURE, _TEXTURE, cell, rng)[..., 0] * cell**0.3 for cell in (1, 2, 4, 8)
    )
    paths, level = [], 1.0
    for k in range(count):
        scene = room(*_TRACED, phase=k - (count - 1) / 2)
        if k == 0:  # who hides the window later must not change the exposure
            level = float(np.percentile(scene.max(axis=2), _PERCENTILE)) * 2.0 ** stops[0]
        to_frame = np.eye(3)
        if k != count // 2:
            to_frame = random_homography(height, width, 0.1, 8.0, 0.0, rng)
        codes = _develop(
            scene * np.float32(2.0 ** stops[k] / level),
            0.06 * np.asarray(texture, np.float32),
            np.asarray(np.linalg.inv(to_frame), np.float64),
            (height, width),
            rng,
        )
        settings = capture_settings("none", k, stops, (0.0,) * count, 1 / 60, 8.0, 100.0)
        paths.append(folder / f"photograph_{k}.jpg")
        data = camera.compress_jpeg(codes, 95, "420")
        exif = b"Exif\0\0" + exif_block(settings)
        segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
        write_bytes(paths[-1], data[:2], segment, data[2:])
    return paths


def _develop(
    scene: FloatArray,
    texture: FloatArray,
    to_scene: Matrix,
    shape: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Codes (H, W, 3) of ``scene`` enlarged to the view that ``to_scene`` leads to; texture is
    log radiance in the pixels of that view."""
    import cv2

    (h, w), (height, width) = scene.shape[:2], shape
    sx, sy = (1 - 2 * _MARGIN) * w / width, (1 - 2 * _MARGIN) * h / height
    shrink = np.array([[sx, 0, _MARGIN * w], [0, sy, _MARGIN * h], [0, 0, 1.0]])
    logs = cv2.log(np.maximum(scene, 0) + np.float32(1e-6))
    table = camera.forward_table("srgb")
    codes = np.empty((height, width, 3), np.uint8)
    flags = cv2.WARP_INVERSE_MAP
    for top in range(0, height, _BAND):
        size = (width, min(_BAND, height - top))
        band = to_scene @ np.array([[1.0, 0, 0], [0, 1, top], [0, 0, 1]])
        large = cv2.warpPerspective(
            logs,
            shrink @ band,
            size,
            flags=cv2.INTER_CUBIC | flags,
            borderMode=cv2.BORDER_REPLICATE,
        )
        fine = cv2.warpPerspective(
            texture, band, size, flags=cv2.INTER_LINEAR | flags, borderMode=cv2.BORDER_WRAP
        )
        exposed = camera.expose(cv2.exp(large + fine[..., None]), _FULL_WELL, _READ_NOISE, rng)
        codes[top : top + size[1]] = camera.develop(exposed, table, 8)
    return codes


if __name__ == "__main__":
    photograph(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
