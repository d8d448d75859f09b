"""Scenes to photograph: views of panoramas, at any size."""

from __future__ import annotations

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.simulate.motion import smooth_noise


def panorama_view(
    panorama: FloatArray, size: tuple[int, int], zoom: float, rng: np.random.Generator
) -> FloatArray:
    """A random view (height, width) of a scene, enlarged by at least ``zoom``, at times mirrored.

    The scene is enlarged further where the view would not fit. Panoramas are cropped as they are.
    """
    import cv2

    height, width = size
    zoom = max(zoom, height / panorama.shape[0], width / panorama.shape[1])
    h = min(panorama.shape[0], max(1, int(np.ceil(height / zoom))))
    w = min(panorama.shape[1], max(1, int(np.ceil(width / zoom))))
    y = int(rng.integers(panorama.shape[0] - h + 1))
    x = int(rng.integers(panorama.shape[1] - w + 1))
    view = np.ascontiguousarray(panorama[y : y + h, x : x + w, :3], dtype=np.float32)
    if rng.uniform() < 0.5:
        view = np.ascontiguousarray(view[:, ::-1])
    if (h, w) == (height, width):
        return np.maximum(view, 0)
    shrink = zoom < 1
    if shrink:
        out = cv2.resize(view, (width, height), interpolation=cv2.INTER_AREA)
        return np.asarray(np.maximum(out, 0.0))
    # In log radiance, where lamps do not ring.
    logs = cv2.log(np.maximum(view, 0) + np.float32(1e-6))
    logs = cv2.resize(logs, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(np.maximum(cv2.exp(logs) - np.float32(1e-6), 0.0))


def add_detail(scene: FloatArray, amount: float, rng: np.random.Generator) -> FloatArray:
    """Fine texture for an enlarged scene, so that it has detail at pixel level again.

    ``amount``: standard deviation in natural-log units where the scene itself is textured; flat
    regions (sky, walls) get little, as in photographs.
    """
    import cv2

    height, width = scene.shape[:2]
    logs = cv2.log(scene.mean(axis=2) + np.float32(1e-6))
    rough = np.abs(logs - cv2.GaussianBlur(logs, (0, 0), 3.0))
    rough = cv2.GaussianBlur(rough, (0, 0), 6.0)
    strength = np.clip(rough / 0.15, 0.05, 1.5)
    detail = sum(
        smooth_noise(height, width, cell, rng)[..., 0] * cell**0.3 for cell in (1.0, 2.0, 4.0)
    )
    detail = np.asarray(detail) / np.float32(2.2)
    return np.asarray(scene * np.exp(amount * strength * detail)[..., None], dtype=np.float32)
