"""Training data in the layout of Kalantari & Ramamoorthi (2017): photographs, not renderings.

A scene is a folder with three TIFFs (dark to bright, display gamma 2.2), ``exposure.txt`` (their
exposures in stops, a line each) and ``HDRImg.hdr`` (the truth at the moment of the middle frame).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import InputError
from hdrmerge.frames import FloatArray
from hdrmerge.io import read_frame
from hdrmerge.io.radiance_hdr import read_radiance
from hdrmerge.training.data import SCALE, Patch, held_out

GAMMA = 2.2
TRUTH = "HDRImg.hdr"
NOISE = (1e-6, 1.0 / 4000.0, 1e-5)  # of a typical camera: the files do not tell


@dataclass(frozen=True, slots=True)
class Folders:
    """Scene folders to cut patches from."""

    paths: tuple[Path, ...]


def find_folders(root: Path, split: str) -> Folders:
    """Scene folders below ``root``: every eighth is for ``val``, the others for ``train``.

    Raises InputError where there is none.
    """
    paths = sorted(path.parent for path in root.rglob("exposure.txt"))
    if not paths:
        raise InputError(f"{root} holds no scene folders with an exposure.txt.")
    return Folders(tuple(held_out(paths, split)))


def read_folder(path: Path) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Linear frames (3, H, W, 3), 1 = saturation; exposures (3,) relative to the middle frame; and
    the truth (H, W, 3), the middle frame's saturation = 1. Raises InputError."""
    names = sorted(p for p in path.iterdir() if p.suffix.lower() in (".tif", ".tiff"))
    try:
        stops = [float(word) for word in (path / "exposure.txt").read_text().split()]
    except ValueError as error:
        raise InputError(f"{path / 'exposure.txt'} holds something else than numbers.") from error
    if len(names) != 3 or len(stops) != 3 or not stops[0] < stops[1] < stops[2]:
        raise InputError(f"{path} should hold three TIFFs and three rising exposures.")
    frames = [read_frame(name) for name in names]
    linear = np.stack([f.fraction(f.pixels) for f in frames]) ** np.float32(GAMMA)
    truth = read_radiance(path / TRUTH)[0]
    if truth.shape != linear.shape[1:]:
        raise InputError(f"{path}: {TRUTH} and the frames differ in size.")
    exposures = np.exp2(np.asarray(stops, np.float32) - np.float32(stops[1]))
    middle = linear[1]
    good = (middle > 0.1) & (middle < 0.7) & (truth > 0)
    if not good.any():
        raise InputError(f"{path}: nothing is well exposed in the middle frame.")
    scale = np.median(middle[good] / truth[good])  # the truth's unit is not told: find it
    return linear, exposures, np.asarray(truth * np.float32(scale), np.float32)


def same_content(linear: FloatArray, exposure: float, truth: FloatArray) -> NDArray[np.bool_]:
    """(H, W): the frame shows what the truth shows (mask of Deng et al., ICPR 2020).

    The truth is exposed like the frame; where neither is clipped and the grey values differ by more
    than 0.04, opened by 3 and dilated by 7 pixels, something else is seen.
    """
    import cv2

    expected = np.clip(truth * np.float32(exposure), 0.0, 1.0)
    clipped = (expected.max(axis=2) > 0.97) | (linear.max(axis=2) > 0.97)
    grey = [np.power(x.mean(axis=2), np.float32(1 / GAMMA)) for x in (expected, linear)]
    differs = ((np.abs(grey[0] - grey[1]) > 0.04) & ~clipped).astype(np.uint8)
    differs = cv2.morphologyEx(differs, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return np.asarray(cv2.dilate(differs, np.ones((7, 7), np.uint8)) == 0)


def cut_patch(folders: Folders, size: int, seed: int, index: int) -> Patch:
    """Patch ``index`` of ``seed``: a random crop of a random scene, turned and mirrored.

    Where things move to is not known here: the search learns nothing from such patches.
    """
    rng = np.random.default_rng((seed, index))
    path = folders.paths[int(rng.integers(len(folders.paths)))]
    linear, exposures, truth = read_folder(path)
    height, width = truth.shape[:2]
    if min(height, width) < size:
        raise InputError(f"{path}: patches of {size} pixels do not fit.")
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))

    def cut(image: FloatArray) -> FloatArray:
        crop = np.rot90(image[y : y + size, x : x + size], quarter)
        return np.ascontiguousarray(crop[:, ::-1] if mirror else crop)

    frames = np.stack([cut(frame) for frame in linear])
    target = cut(truth)
    same = [same_content(f, float(t), target) for f, t in zip(frames, exposures, strict=True)]
    same[1] = np.ones_like(same[1])
    return Patch(
        linear=frames,
        exposures=exposures,
        reference=1,
        noise=NOISE,
        truth=target,
        same=np.stack(same),
        flow=np.full((3, 2, size // SCALE, size // SCALE), np.nan, np.float16),
    )
