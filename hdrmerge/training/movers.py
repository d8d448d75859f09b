"""Backgrounds and what moves in front of them, with the motion known at every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.simulate.motion import random_mask, random_texture
from hdrmerge.training.config import DataConfig
from hdrmerge.training.data import SCALE, Scenes

Generator = np.random.Generator


def random_crop(
    rng: Generator, scenes: Scenes, size: int, scale: tuple[float, float]
) -> FloatArray:
    """A random (size, size, 3) view of a random scene at a random scale, turned and mirrored."""
    import cv2

    image = scenes.images[int(rng.integers(len(scenes.images)))]
    factor = max(rng.uniform(*scale), (size + 2.0) / min(image.shape[:2]))
    span = size / factor
    y = rng.uniform(0, image.shape[0] - span - 1)
    x = rng.uniform(0, image.shape[1] - span - 1)
    matrix = np.array([[1 / factor, 0, x], [0, 1 / factor, y]], np.float32)
    flags = cv2.INTER_CUBIC if factor >= 1 else cv2.INTER_AREA
    if factor < 1:  # area-average instead of aliasing
        window = image[int(y) : int(y + span) + 1, int(x) : int(x + span) + 1]
        view = cv2.resize(window, (size, size), interpolation=cv2.INTER_AREA)
    else:
        view = cv2.warpAffine(image, matrix, (size, size), flags=flags | cv2.WARP_INVERSE_MAP)
    view = cv2.GaussianBlur(view, (0, 0), rng.uniform(0.45, 0.9))  # a lens, also for the renderings
    view = np.maximum(view, float(image.min()))
    if rng.random() < 0.5:
        view = view[:, ::-1]
    if rng.random() < 0.25:
        view = view.transpose(1, 0, 2)
    return np.ascontiguousarray(view, np.float32)


class Layers:
    """A background and things that move in front of it, seen by each frame."""

    def __init__(
        self,
        rng: Generator,
        scenes: Scenes,
        config: DataConfig,
        count: int,
        reference: int,
        background: FloatArray,
    ) -> None:
        self.background, self.count, self.reference = background, count, reference
        size = background.shape[0]
        moving = 0 if rng.random() < config.static else int(rng.integers(1, config.movers + 1))
        capture = rng.permutation(count) if rng.random() < 0.5 else np.arange(count)
        level = np.log(np.maximum(background.mean(axis=2), 1e-9))
        self.movers: list[tuple[FloatArray, FloatArray, list[FloatArray]]] = []
        for _ in range(moving):
            extent = int(rng.uniform(24, 0.7 * size))
            texture = random_texture(extent, scenes.images, rng)
            if rng.random() < 0.15:  # nearly flat
                texture **= np.float32(rng.uniform(0.0, 0.3))
            target = float(np.quantile(level, rng.uniform(0.02, 0.98))) + rng.normal(0.0, 1.2)
            texture = np.maximum(texture * np.float32(np.exp(target)), 1e-9)
            self.movers.append(
                (texture, random_mask(extent, rng), self._path(rng, config, extent, size, capture))
            )

    def _path(
        self, rng: Generator, config: DataConfig, extent: int, size: int, capture: NDArray[Any]
    ) -> list[FloatArray]:
        """The mover's affine map to the picture in each frame; it is inside in the reference."""
        speed = config.speed * rng.uniform(0.03, 1.0) / max(1.0, (self.count - 1) / 2)
        heading = rng.uniform(0, 2 * np.pi)
        velocity = speed * np.array([np.cos(heading), np.sin(heading)])
        start = rng.uniform(-0.2 * extent, size - 0.8 * extent, 2)
        turn, grow = rng.normal(0, 0.03), rng.normal(0, 0.02)
        deform = rng.normal(0, 0.02, (2, 2)) if rng.random() < 0.5 else np.zeros((2, 2))
        base_turn = rng.uniform(0, 2 * np.pi)
        erratic = rng.random() < 0.25
        maps = []
        for k in range(self.count):
            time = float(capture[k] - capture[self.reference])
            wander = rng.normal(0, 0.4 * speed, 2) * (erratic and time != 0)
            angle = base_turn + turn * time
            spin = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            linear = spin @ (np.eye(2) * (1 + grow * time) + deform * time)
            middle = start + extent / 2 + velocity * time + wander
            offset = middle - linear @ np.full(2, extent / 2)
            maps.append(np.hstack([linear, offset[:, None]]).astype(np.float32))
        return maps

    def view(self, k: int) -> tuple[FloatArray, NDArray[np.int8]]:
        """Radiance (S, S, 3) of frame k and which mover (-1: background) is in front."""
        import cv2

        size = self.background.shape[0]
        picture = self.background.copy()
        front = np.full((size, size), -1, np.int8)
        for i, (texture, mask, maps) in enumerate(self.movers):
            shape = (size, size)
            alpha = cv2.warpAffine(mask, maps[k], shape, flags=cv2.INTER_LINEAR)
            cover = cv2.warpAffine(texture, maps[k], shape, borderMode=cv2.BORDER_REPLICATE)
            picture += alpha[..., None] * (cover - picture)
            front[alpha > 0.5] = i
        return picture, front

    def flow(self) -> NDArray[np.float16]:
        """(N, 2, S/4, S/4) displacement of what the reference shows, NaN where it is hidden."""
        size = self.background.shape[0]
        grid = np.arange(size // SCALE) * SCALE + (SCALE - 1) / 2
        x, y = (g.astype(np.float32) for g in np.meshgrid(grid, grid))
        fronts = [self.view(k)[1] for k in range(self.count)]
        here = fronts[self.reference][y.astype(int), x.astype(int)]
        flow = np.zeros((self.count, 2, *x.shape), np.float32)
        for k in range(self.count):
            for i, (_, _, maps) in enumerate(self.movers):
                on = here == i
                to_frame = np.vstack([maps[k], [0, 0, 1]]) @ np.linalg.inv(
                    np.vstack([maps[self.reference], [0, 0, 1]])
                )
                flow[k, 0][on] = (to_frame[0, 0] * x + to_frame[0, 1] * y + to_frame[0, 2] - x)[on]
                flow[k, 1][on] = (to_frame[1, 0] * x + to_frame[1, 1] * y + to_frame[1, 2] - y)[on]
            tx, ty = np.round(x + flow[k, 0]).astype(int), np.round(y + flow[k, 1]).astype(int)
            inside = (tx >= 0) & (tx < size) & (ty >= 0) & (ty < size)
            there = fronts[k][np.clip(ty, 0, size - 1), np.clip(tx, 0, size - 1)]
            flow[k][:, ~inside | (there != here)] = np.nan
        return flow.astype(np.float16)
