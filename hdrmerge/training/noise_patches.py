"""Patches for the refiner: merges in which frames are missing here and there, and their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.fusion.refine_inputs import amount, inputs, reference_noise
from hdrmerge.simulate import camera
from hdrmerge.simulate.motion import random_mask, random_texture
from hdrmerge.training.data import CODE_GAIN, CODE_READ, Scenes
from hdrmerge.training.movers import random_crop
from hdrmerge.training.render import draw_response, log_uniform

Generator = np.random.Generator
MU = 5000.0
CLIP = 4.0  # standard deviations: what is more is no noise


@dataclass(frozen=True, slots=True)
class NoiseConfig:
    """What is drawn for a patch of ``patch`` pixels a side: ``full_well`` and ``read_noise`` in
    electrons, ``jpeg`` qualities, ``scale`` of the scenes, ``longer`` and ``shorter``: stops of the
    frames beside the reference. ``grain``: share of patches whose noise a camera's processing has
    blurred."""

    patch: int = 128
    full_well: tuple[float, float] = (500.0, 8000.0)
    read_noise: tuple[float, float] = (1.0, 10.0)
    jpeg: tuple[int, int] = (90, 99)
    scale: tuple[float, float] = (1.0, 4.0)
    longer: tuple[float, float] = (1.0, 5.0)
    grain: float = 0.35


class NoisePatch(NamedTuple):
    """``inputs`` (13, S, S) and the ``noise`` (3, S, S) in standard deviations that is in them;
    ``amount`` (S, S) of it that is taken out; ``slope`` (3, S, S): what a standard deviation is in
    mu-law of radiance whose 1 lies three stops higher."""

    inputs: FloatArray
    noise: FloatArray
    amount: FloatArray
    slope: FloatArray


def render_noise_patch(scenes: Scenes, config: NoiseConfig, seed: int, index: int) -> NoisePatch:
    """Patch ``index`` of ``seed``: a pure function of its arguments."""
    import cv2

    rng = np.random.default_rng((seed, index))
    size = config.patch
    truth = _view(rng, scenes, config)
    peak = truth.max(axis=2)
    truth /= np.float32(np.quantile(peak, rng.uniform(0.5, 1.0)) * np.exp2(rng.uniform(0.5, 6.0)))
    full_well = log_uniform(rng, *config.full_well)
    read_noise = log_uniform(rng, *config.read_noise)
    gain, read = 1.0 / full_well, (read_noise / full_well) ** 2
    actual, _ = draw_response(rng, scenes, 0.0)
    table = camera.forward_table(actual)
    quality = None if rng.random() < 0.15 else int(rng.integers(config.jpeg[0], config.jpeg[1] + 1))
    blur = rng.uniform(0.4, 0.8) if rng.random() < config.grain else 0.0
    if blur:
        truth = cv2.GaussianBlur(truth, (0, 0), blur)
        kernel = cv2.getGaussianKernel(7, blur)
        finer = float((kernel**2).sum() ** 2)  # of the variance is left
    else:
        finer = 1.0

    def observe(t: float) -> FloatArray:
        exposed = camera.expose(truth * np.float32(t), full_well, read_noise, rng)
        if blur:
            exposed = cv2.GaussianBlur(exposed, (0, 0), blur)
        codes = camera.develop(exposed, table, 8)
        if quality is not None:
            codes = camera.decompress_jpeg(camera.compress_jpeg(codes, quality, "420"))
        return np.asarray(actual[codes], np.float32)

    own = observe(1.0)
    model = (read * finer + CODE_READ, gain * finer + CODE_GAIN, log_uniform(rng, 1e-7, 1e-4))
    seen_as = _measured(own - truth, reference_noise(truth, *model)) * log_uniform(rng, 0.85, 1.2)
    believed = (float(model[0] * seen_as), float(model[1] * seen_as), float(model[2]))
    stops = [0.0]
    stops.append(rng.uniform(*config.longer))
    if rng.random() < 0.3:
        stops.append(stops[1] * rng.uniform(0.3, 0.8))
    trusted = np.ones((len(stops), size, size), np.float32)
    for k in range(1, len(stops)):
        rejected = np.ones((size, size), np.float32)
        if rng.random() < 0.6:
            extent = int(size * rng.uniform(0.6, 2.0))
            mask = random_mask(extent, rng)
            corner = rng.uniform(-0.5 * extent, size - 0.5 * extent, 2)
            place = np.array([[1, 0, corner[0]], [0, 1, corner[1]]], np.float32)
            rejected = cv2.warpAffine(mask, place, (size, size))
        trusted[k] = 1.0 - rejected
    total = np.zeros_like(truth)
    weights = np.full_like(truth, 1e-12)
    full = np.full_like(truth, 1e-12)
    for k, stop in enumerate(stops):
        t = np.float32(2.0**stop)
        seen = own if k == 0 else observe(float(t))
        usable = np.clip((0.95 - seen.max(axis=2, keepdims=True)) / 0.05, 0, 1)
        if k == 0:
            usable = np.maximum(usable, 1e-3)
        certainty = usable * t * t / np.square(reference_noise(truth * t, *believed))
        weight = certainty * trusted[k][..., None]
        total += weight * (seen / t)
        weights += weight
        full += certainty
    merged = total / weights
    sigma = reference_noise(merged, *believed)
    left = np.minimum(np.sqrt(1.0 / weights).mean(axis=2) / sigma.mean(axis=2), 1.0)
    slope = (MU / 8) * sigma / (1.0 + (MU / 8) * np.clip(merged, 0, 1)) / np.log1p(MU)
    share = amount(merged, np.sqrt((full / weights).mean(axis=2)))
    return NoisePatch(
        inputs(merged, left.astype(np.float32), believed),
        np.clip((merged - truth) / sigma, -CLIP, CLIP).transpose(2, 0, 1).astype(np.float32),
        share,
        slope.transpose(2, 0, 1).astype(np.float32),
    )


def _measured(error: FloatArray, sigma: FloatArray) -> float:
    """The share of a frame's noise variance that blocks of it show, as ``fusion.noise`` looks:
    JPEG takes some away."""
    block = 8

    def blocks(values: FloatArray) -> FloatArray:
        h, w = values.shape[0] // block, values.shape[1] // block
        cut = values[: h * block, : w * block].reshape(h, block, w, block, 3)
        return np.asarray(cut.transpose(0, 2, 4, 1, 3).reshape(-1, block * block))

    share = blocks(error).var(axis=1) / np.square(blocks(sigma)).mean(axis=1)
    return float(np.clip(1.12 * np.quantile(share, 0.3), 0.2, 1.5))


def _view(rng: Generator, scenes: Scenes, config: NoiseConfig) -> FloatArray:
    """A piece of a scene (S, S, 3), mostly with a thing or two cut from elsewhere in front."""
    import cv2

    size = config.patch
    view = random_crop(rng, scenes, size, config.scale)
    level = np.log(np.maximum(view.mean(axis=2), 1e-9))
    for _ in range(int(rng.integers(0, 3))):
        extent = int(rng.uniform(0.3, 1.5) * size)
        texture = random_texture(extent, scenes.images, rng)
        target = float(np.quantile(level, rng.uniform(0.02, 0.98))) + rng.normal(0.0, 1.0)
        texture = np.maximum(texture * np.float32(np.exp(target)), 1e-9)
        corner = rng.uniform(-0.6 * extent, size - 0.4 * extent, 2)
        place = np.array([[1, 0, corner[0]], [0, 1, corner[1]]], np.float32)
        alpha = cv2.warpAffine(random_mask(extent, rng), place, (size, size))
        cover = cv2.warpAffine(texture, place, (size, size), borderMode=cv2.BORDER_REPLICATE)
        view += alpha[..., None] * (cover - view)
    return view
