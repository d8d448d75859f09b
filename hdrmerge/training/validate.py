"""Scores and pictures of a network on fixed patches of scenes that it never trains on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hdrmerge.models.bracket import Bracket, merge
from hdrmerge.models.decider import Decider, compose
from hdrmerge.training.config import DataConfig
from hdrmerge.training.data import Scenes, Truth, collate
from hdrmerge.training.losses import scaled, score
from hdrmerge.training.render import render_patch

BRACKETS = {
    "-3/0/+3": (-3.0, 0.0, 3.0),
    "-5/0/+1": (-5.0, 0.0, 1.0),
    "0/+3": (0.0, 3.0),
    "7 x 1": (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0),
}
Sets = dict[str, list[tuple[Bracket, Truth]]]


def validation_sets(scenes: Scenes, config: DataConfig, count: int) -> Sets:
    """``count`` patches of each of ``BRACKETS`` with movers, and of a static -3/0/+3; a noisy
    camera whose response and exposures are known."""
    data = replace(
        config,
        static=0.0,
        full_well=(1500.0, 1500.0),
        read_noise=(4.0, 4.0),
        jpeg=(95, 95),
        handheld=0.2,
        exposure_error=0.0,
        response_error=0.0,
        misalignment=0.1,
    )
    sets = {
        name: [collate([render_patch(scenes, data, 777, i, stops=stops)]) for i in range(count)]
        for name, stops in BRACKETS.items()
    }
    still = replace(data, static=1.0)
    stops = BRACKETS["-3/0/+3"]
    sets["static"] = [
        collate([render_patch(scenes, still, 778, i, stops=stops)]) for i in range(count)
    ]
    return sets


def validate(model: Decider | None, sets: Sets) -> dict[str, float]:
    """PSNR-mu in dB by bracket and part of the picture (``losses.score``), over all pixels of a
    set; without a model those of the plain merge and of the oracle with the clipped fallback."""
    table: dict[str, float] = {}
    for name, batches in sets.items():
        for method in ["network"] if model is not None else ["plain", "oracle"]:
            sums: dict[str, Tensor] = {}
            for bracket, truth in batches:
                parts = _scores(method, model, bracket, truth)
                for part, pair in parts.items():
                    sums[part] = sums.get(part, torch.zeros(2)) + torch.tensor(pair)
            for part, (error, pixels) in sums.items():
                if pixels:
                    psnr = -10 * math.log10(max(float(error / pixels), 1e-12))
                    table[f"{method} {name} {part}"] = round(psnr, 3)
    return table


@torch.no_grad()
def _scores(
    method: str, model: Decider | None, bracket: Bracket, truth: Truth
) -> dict[str, tuple[float, float]]:
    ideal, covered = merge(bracket, truth.same)
    if model is not None:
        radiance = compose(bracket, model(bracket))
    elif method == "plain":
        radiance, _ = merge(bracket, torch.ones_like(truth.same))
    else:
        own = bracket.of(bracket.linear, bracket.reference)
        radiance = ideal * covered + own * (1.0 - covered)
    return score(bracket, radiance, truth, covered=covered)


@torch.no_grad()
def write_pictures(model: Decider, sets: Sets, path: Path, rows: int = 6) -> None:
    """One PNG: a row a patch of the first set with the reference, the plain merge, the network's,
    the truth, the trust of the shortest and of the longest frame."""
    import cv2

    lines = []
    for bracket, truth in next(iter(sets.values()))[:rows]:
        decision = model(bracket)
        plain, _ = merge(bracket, torch.ones_like(truth.same))
        own = bracket.of(bracket.linear, bracket.reference).clamp(0.0, 1.0).pow(1 / 2.2)
        pictures = [own] + [
            scaled(bracket, radiance)
            for radiance in (plain, compose(bracket, decision), truth.radiance)
        ]
        pictures += [decision.trust[:, k, None].expand(-1, 3, -1, -1) for k in (0, -1)]
        lines.append(torch.cat([p[0] for p in pictures], dim=2))
    codes = (torch.cat(lines, dim=1).clamp(0.0, 1.0) * 255).round().byte()
    picture = np.ascontiguousarray(codes.permute(1, 2, 0).numpy()[..., ::-1])
    cv2.imwrite(str(path), picture)
