"""Training patches: small brackets of known scenes, with everything that goes wrong in them.

A patch is a pure function of ``(seed, index)``: scene, movers, exposures, camera and errors are all
drawn from one generator, so that a run can be resumed bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import FloatArray
from hdrmerge.simulate import camera
from hdrmerge.training.config import DataConfig
from hdrmerge.training.data import CODE_GAIN, CODE_READ, Patch, Scenes
from hdrmerge.training.movers import Layers, random_crop

Generator = np.random.Generator
TRIES = 8  # at a patch that has what is asked for


def render_patch(
    scenes: Scenes,
    config: DataConfig,
    seed: int,
    index: int,
    *,
    count: int = 3,
    stops: Sequence[float] | None = None,
) -> Patch:
    """Patch ``index`` of ``seed`` with ``count`` frames, or with one frame for each of ``stops``
    (ascending, 0 = the reference)."""
    rng = np.random.default_rng((seed, index))
    size = config.patch
    if stops is None:
        exposures, reference = _draw_exposures(rng, config, count)
    else:
        exposures, reference = np.exp2(np.asarray(stops, np.float32)), list(stops).index(0)
        count = len(stops)
    for _ in range(TRIES):
        background = random_crop(rng, scenes, size, config.scale)
        layers = Layers(rng, scenes, config, count, reference, background)
        views = [layers.view(k)[0] for k in range(count)]
        scale = np.float32(_saturation(rng, views[reference], float(exposures[0])))
        truth = views[reference] / scale
        if config.lost <= 0 or _lost(truth, views[:reference], scale) >= config.lost:
            break

    full_well = log_uniform(rng, *config.full_well)
    read_noise = log_uniform(rng, *config.read_noise)
    gain, read = 1.0 / full_well, (read_noise / full_well) ** 2
    actual, believed_curve = draw_response(rng, scenes, config.response_error)
    table = camera.forward_table(actual)
    handheld = rng.random() < config.handheld
    believed = exposures.copy()
    if rng.random() < 0.6:
        believed *= np.exp2(rng.normal(0.0, config.exposure_error, count)).astype(np.float32)
    believed /= believed[reference]
    quality = None if rng.random() < 0.15 else int(rng.integers(config.jpeg[0], config.jpeg[1] + 1))

    linear = np.empty((count, size, size, 3), np.float32)
    same = np.ones((count, size, size), bool)
    for k, view in enumerate(views):
        seen = view / scale
        hand = None
        if k != reference:
            deviation = np.sqrt(gain * exposures[k] * truth + read) / exposures[k]
            same[k] = (np.abs(seen - truth) <= 0.08 * truth + 0.7 * deviation).all(axis=2)
            if handheld:
                hand = rng.uniform(-0.5, 0.5, 2).astype(np.float32)
                seen = _displace(rng, seen, config.misalignment, hand)
        exposed = camera.expose(seen * exposures[k], full_well, read_noise, rng)
        codes = camera.develop(exposed, table, 8)
        if quality is not None:
            codes = camera.decompress_jpeg(camera.compress_jpeg(codes, quality, "420"))
        linear[k] = believed_curve[codes if hand is None else _realign(codes, hand)]
    return Patch(
        linear=linear,
        exposures=believed.astype(np.float32),
        reference=reference,
        noise=(
            (read + CODE_READ) * log_uniform(rng, 0.6, 1.6),
            (gain + CODE_GAIN) * log_uniform(rng, 0.75, 1.33),
            log_uniform(rng, 1e-7, 1e-4),
        ),
        truth=truth.astype(np.float32),
        same=same,
        flow=layers.flow(),
    )


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_exposures(rng: Generator, config: DataConfig, count: int) -> tuple[FloatArray, int]:
    """Ascending exposures relative to the reference, and the reference's index."""
    low, high = config.gap
    if count <= 3 and rng.random() < 0.15:
        high = config.max_gap
    high = min(high, 11.0 / (count - 1))
    if rng.random() < 0.6:
        gaps = np.full(count - 1, rng.uniform(low, high))
    else:
        gaps = rng.uniform(low, high, count - 1)
    stops = np.concatenate([[0.0], np.cumsum(gaps)])
    middle = (count - 1) // 2
    reference = middle if rng.random() < 0.6 else int(rng.integers(count))
    if config.lost > 0:
        reference = max(reference, 1)
    return np.exp2(stops - stops[reference]).astype(np.float32), reference


def _lost(truth: FloatArray, shorter: Sequence[FloatArray], scale: np.float32) -> float:
    """Share of pixels that the reference clips and no shorter view shows."""
    lost = truth.max(axis=2) >= 1.0
    for view in shorter:
        lost &= (np.abs(view / scale - truth) > 0.08 * truth).any(axis=2)
    return float(lost.mean())


def _saturation(rng: Generator, view: FloatArray, shortest: float) -> float:
    """The radiance at which the reference clips.

    Mostly what a photographer does who exposes the shortest frame for the highlights; at times
    anywhere inside the patch, at times far above it.
    """
    peak = view.max(axis=2)
    way = rng.random()
    if way < 0.5:
        level = float(np.quantile(peak, rng.uniform(0.97, 1.0))) * min(shortest, 1.0)
    elif way < 0.8:
        level = float(np.quantile(peak, 1 - rng.beta(1.0, 2.5)))
    else:
        level = float(np.median(peak) * np.exp2(rng.uniform(0.5, 6.0)))
    return max(level, 1e-7)


def draw_response(
    rng: Generator, scenes: Scenes, deviation: float
) -> tuple[FloatArray, FloatArray]:
    """A camera's inverse response (256,), and the one that is believed to be it, which strays from
    it by ``deviation`` (of the exponent)."""
    codes = np.linspace(0.0, 1.0, 256, dtype=np.float64)
    kind = rng.random()
    error = 0.0
    if kind < 0.5 or (kind < 0.75 and not len(scenes.responses)):
        irradiance = np.where(codes <= 0.04045, codes / 12.92, ((codes + 0.055) / 1.055) ** 2.4)
    elif kind < 0.75:
        row = scenes.responses[int(rng.integers(len(scenes.responses)))]
        rising = row + np.linspace(0, 1e-4, row.size)
        irradiance = np.interp(codes, rising / rising[-1], np.linspace(0, 1, row.size))
        error = deviation
    else:
        irradiance = codes ** rng.uniform(1.8, 2.6)
        error = deviation
    irradiance[0], irradiance[-1] = 0.0, 1.0
    believed = irradiance.copy()
    if error and rng.random() < 0.8:  # a wrong gamma and a wrong bend, as an estimate leaves them
        bend = 1 + rng.normal(0, error) + rng.normal(0, error) * np.cos(np.pi * codes)
        believed = believed ** np.clip(bend, 0.8, 1.25)
    return irradiance.astype(np.float32), np.maximum.accumulate(believed).astype(np.float32)


def _displace(rng: Generator, image: FloatArray, deviation: float, hand: FloatArray) -> FloatArray:
    """The hand's shift (2,), and what alignment will leave of it: a fraction of a pixel
    everywhere, and a little more here and there."""
    import cv2

    size = image.shape[0]
    grid = np.arange(size, dtype=np.float32)
    x, y = np.meshgrid(grid, grid)
    coarse = rng.normal(0, deviation, (2, 4, 4)).astype(np.float32)
    if rng.random() < 0.3:
        coarse *= 2
    field = [cv2.resize(c, (size, size), interpolation=cv2.INTER_CUBIC) for c in coarse]
    shift = rng.normal(0, deviation, 2).astype(np.float32) + hand
    return np.asarray(
        np.maximum(
            cv2.remap(
                image,
                x + field[0] + shift[0],
                y + field[1] + shift[1],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            0.0,
        ),
        np.float32,
    )


def _realign(codes: NDArray[np.uint8], hand: FloatArray) -> NDArray[np.uint8]:
    """Alignment takes the hand's shift back."""
    import cv2

    matrix = np.array([[1, 0, hand[0]], [0, 1, hand[1]]], np.float32)
    size = codes.shape[1::-1]
    border = cv2.BORDER_REFLECT_101
    moved = cv2.warpAffine(codes, matrix, size, flags=cv2.INTER_CUBIC, borderMode=border)
    return np.asarray(moved, np.uint8)
