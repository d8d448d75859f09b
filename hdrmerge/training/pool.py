"""Brackets rendered ahead and kept in memory, from which the published networks' batches are cut.

Rendering is paid once for many steps, and once for all rows of an ablation.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from hdrmerge.errors import InputError
from hdrmerge.models.encoding import encode_pairs
from hdrmerge.training.data import Patch, Scenes, load_scenes
from hdrmerge.training.direct_config import DirectConfig
from hdrmerge.training.folders import Folders, cut_patch, find_folders
from hdrmerge.training.render import render_patch

VALIDATION_SEED = 777


class Examples(NamedTuple):
    """``linear`` (B, 3, 3, h, w), each frame's saturation = 1; ``exposures`` (B, 3), the
    reference's = 1; ``target`` (B, 3, h, w) radiance in [0, 1], the shortest frame's saturation
    = 1; ``moving`` (B, 1, h, w) bool: some frame shows something else than the reference."""

    linear: Tensor
    exposures: Tensor
    target: Tensor
    moving: Tensor

    def encoded(self) -> Tensor:
        """(B, 3, 6, h, w), as the networks take them."""
        return encode_pairs(self.linear.float(), self.exposures)

    def clipped(self) -> Tensor:
        """(B, 1, h, w) bool: the reference is saturated."""
        return self.linear[:, 1].amax(dim=1, keepdim=True) >= CLIPPED


CLIPPED = 0.98  # 250 of 255 codes of a display-encoded frame


class Pool(Dataset[Examples]):
    """Round ``round_`` of brackets of a run: item i is drawn from (seed, round, i) alone."""

    def __init__(self, source: Scenes | Folders, config: DirectConfig, round_: int = 0) -> None:
        self.source, self.config = source, config
        self.first = round_ * config.pool

    def __len__(self) -> int:
        return self.config.pool

    def __getitem__(self, item: int) -> Examples:
        config, index = self.config, self.first + item
        if isinstance(self.source, Folders):
            return example(cut_patch(self.source, config.data.patch, config.pool_seed, index))
        stops = config.stops
        return example(render_patch(self.source, config.data, config.pool_seed, index, stops=stops))


def example(patch: Patch) -> Examples:
    """One bracket of three as tensors without the first axis, at half precision."""
    least = np.float32(patch.exposures.min())
    return Examples(
        linear=torch.from_numpy(patch.linear.transpose(0, 3, 1, 2).astype(np.float16)),
        exposures=torch.from_numpy(patch.exposures),
        target=torch.from_numpy(
            np.clip(patch.truth.transpose(2, 0, 1) * least, 0.0, 1.0).astype(np.float16)
        ),
        moving=torch.from_numpy(~patch.same.all(axis=0))[None],
    )


def source_of(config: DirectConfig, split: str) -> Scenes | Folders:
    """Scenes or folders of photographs of a ``split``; raises InputError where there are none."""
    folder = Path(config.scenes)
    if config.layout == "kalantari":
        return find_folders(folder, split)
    return load_scenes(folder, split, Path(config.responses) if config.responses else None)


def fill(source: Scenes | Folders, config: DirectConfig, round_: int = 0) -> Examples:
    """All brackets of a round, (pool, ...) each, rendered by ``config.workers`` processes."""
    if config.crop > config.data.patch:
        raise InputError(f"Crops of {config.crop} do not fit patches of {config.data.patch}.")
    loader = DataLoader(
        Pool(source, config, round_),
        batch_size=None,
        num_workers=config.workers,
        worker_init_fn=one_thread,
    )
    parts: list[Examples] = list(loader)
    return Examples(*(torch.stack(tensors) for tensors in zip(*parts, strict=True)))


def cut(pool: Examples, config: DirectConfig, step: int) -> Examples:
    """Batch ``step``: crops from random places of random brackets, turned, mirrored, and their
    colours exchanged; drawn from (seed, step) alone."""
    rng = np.random.default_rng((config.seed, step))
    size = config.crop
    chosen = []
    for item in rng.integers(len(pool.linear), size=config.batch):
        top, left = rng.integers(config.data.patch - size + 1, size=2)
        quarter, mirror = int(rng.integers(4)), bool(rng.integers(2))
        colours = torch.from_numpy(rng.permutation(3))

        def crop(tensor: Tensor) -> Tensor:
            part = tensor[..., top : top + size, left : left + size]  # noqa: B023
            part = torch.rot90(part, quarter, (-2, -1))  # noqa: B023
            return part.flip(-1) if mirror else part  # noqa: B023

        chosen.append(
            Examples(
                linear=crop(pool.linear[item])[:, colours],
                exposures=pool.exposures[item],
                target=crop(pool.target[item])[colours],
                moving=crop(pool.moving[item]),
            )
        )
    linear, exposures, target, moving = (torch.stack(t) for t in zip(*chosen, strict=True))
    return Examples(linear.float(), exposures, target.float(), moving)


def one_thread(_: int) -> None:
    """A rendering process's share of the machine."""
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
