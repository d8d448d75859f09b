"""What training stands on: scenes, measured responses, and patches as tensors."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdrmerge.errors import InputError
from hdrmerge.frames import FloatArray
from hdrmerge.fusion.radiometric import unclipped
from hdrmerge.models.bracket import Bracket
from hdrmerge.training.config import DataConfig

CODE_READ, CODE_GAIN = 1e-7, 4e-5  # what 8 bits and JPEG add to a linear value's variance
SCALE = 4  # the displacement field is kept at a quarter of the resolution


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One bracket: ``linear`` (N, S, S, 3) float32 as it is believed to be, 1 = saturation, in
    ascending ``exposures`` (N,) relative to frame ``reference``. ``noise`` = (read, gain, curve):
    variance of a linear value x is read + gain x + curve x^2. ``truth`` (S, S, 3): the radiance
    that the reference sees, its saturation = 1. ``same`` (N, S, S): frame k truly shows it.
    ``flow`` (N, 2, S/4, S/4): where (dx, dy, pixels) frame k shows it, NaN where nowhere.
    """

    linear: FloatArray
    exposures: FloatArray
    reference: int
    noise: tuple[float, float, float]
    truth: FloatArray
    same: NDArray[np.bool_]
    flow: NDArray[np.float16]


class Truth(NamedTuple):
    """``radiance`` (B, 3, H, W), the reference's saturation = 1; ``same`` (B, N, H, W) float: the
    frame shows it; ``flow`` (B, N, 2, H/4, W/4) pixels, NaN where it is hidden."""

    radiance: Tensor
    same: Tensor
    flow: Tensor


@dataclass(frozen=True, slots=True)
class Scenes:
    """HDR images (H, W, 3) float32 > 0 and camera response curves (M, 1024) to draw from: code
    fractions for equidistant irradiance."""

    images: tuple[FloatArray, ...]
    responses: FloatArray


def collate(patches: Sequence[Patch]) -> tuple[Bracket, Truth]:
    """Patches of one frame count as tensors."""
    count = len(patches[0].exposures)
    linear = np.stack([p.linear for p in patches])
    usable = np.stack([[unclipped(frame) for frame in frames] for frames in linear])
    read, gain, curve = np.asarray([p.noise for p in patches], np.float32).T
    bracket = Bracket(
        linear=torch.from_numpy(np.ascontiguousarray(linear.transpose(0, 1, 4, 2, 3))),
        valid=torch.ones(len(patches), count, 1, *linear.shape[2:4]),
        usable=torch.from_numpy(usable[:, :, None]),
        exposures=torch.from_numpy(np.stack([p.exposures for p in patches])),
        reference=torch.tensor([p.reference for p in patches]),
        read=torch.from_numpy(read[:, None].repeat(count, 1)),
        gain=torch.from_numpy(gain[:, None].repeat(count, 1)),
        curve=torch.from_numpy(curve.copy()),
    )
    truth = Truth(
        radiance=torch.from_numpy(np.stack([p.truth.transpose(2, 0, 1) for p in patches])),
        same=torch.from_numpy(np.stack([p.same for p in patches])).float(),
        flow=torch.from_numpy(np.stack([p.flow for p in patches])).float(),
    )
    return bracket, truth


def held_out(paths: list[Path], split: str) -> list[Path]:
    """Every eighth of ``paths`` for the split ``val``, the others for ``train``; all where there
    is but one."""
    if len(paths) == 1:
        return paths
    return paths[::8] if split == "val" else [p for i, p in enumerate(paths) if i % 8]


def load_scenes(folder: Path, split: str, responses: Path | None = None) -> Scenes:
    """Scenes of one ``split``, as ``INDEX.tsv`` in ``folder`` lists them or as ``held_out`` says.

    ``responses``: an .npz with ``irradiance`` and ``brightness`` rows (or None: sRGB and powers).
    Raises InputError where nothing is found.
    """
    from hdrmerge.io.radiance_hdr import read_radiance

    index = folder / "INDEX.tsv"
    if index.exists():
        with index.open(newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        names = [folder / r["file"] for r in rows if r["split"] == split]
    else:
        files = sorted(p for p in folder.iterdir() if p.suffix.lower() in (".exr", ".hdr"))
        names = held_out(files, split)
    if not names:
        raise InputError(f"{folder} holds no scenes of the split {split!r}.")
    images = []
    for name in names:
        pixels = np.nan_to_num(read_radiance(name)[0], posinf=6e4)
        floor = max(float(np.percentile(pixels, 5)) * 1e-2, 1e-6)
        images.append(np.maximum(pixels, floor).astype(np.float32))
    curves = np.empty((0, 1024), np.float32)
    if responses is not None:
        with np.load(responses) as archive:
            curves = _forward_curves(archive)
    return Scenes(tuple(images), curves)


def _forward_curves(archive: Any) -> FloatArray:
    """Measured responses from an archive with ``curves`` (M, 1024), ends pinned to 0 and 1."""
    curves = np.asarray(archive["curves"], np.float32)
    curves = np.maximum.accumulate(np.clip(curves, 0.0, 1.0), axis=1)
    usable = (
        curves[:, 1023 // 50] < 0.45
    )  # some are as steep as a logarithm: no photograph has them
    return curves[usable]


def batch_counts(config: DataConfig, seed: int, batches: int) -> list[int]:
    """The number of frames of each batch: the same in a batch, drawn over batches."""
    weights = np.asarray(config.count_weights, np.float64)
    rng = np.random.default_rng((seed, 0xC0))
    return [int(n) for n in rng.choice(config.counts, size=batches, p=weights / weights.sum())]
