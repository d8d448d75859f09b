"""What the decider's fill is mixed from: what tells of clipped places, and displaced frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from hdrmerge.models.bracket import Bracket, mu_law, per_frame

CLUES = 6  # channels that speak for what is borrowed from a frame


def choose_sources(bracket: Bracket) -> Tensor:
    """(B, 2) frames to borrow from: the shortest, and the one nearest to two stops below the
    reference if that is another; the reference's own index stands for none."""
    stops = torch.log2(bracket.exposures)
    shorter = stops < -0.2
    first = torch.where(shorter.any(1), stops.argmin(1), bracket.reference)
    second = (stops + 2.0).abs().masked_fill(~shorter, 1e3).argmin(1)
    second = torch.where(shorter.any(1) & (second != first), second, bracket.reference)
    return torch.stack([first, second], 1)


def spread(bracket: Bracket, trust: Tensor) -> Tensor:
    """log2 of how bright the clipped parts of the reference may be, (B, 3, H/4, W/4).

    Two things tell: what shorter frames show, trusted, where the reference clips; and bright
    things that they show where it does not (what moved away). Pull-push carries both into the rest.
    """
    shorter = per_frame((bracket.exposures < 0.9).float())
    least = bracket.exposures.amin(1, keepdim=True)
    radiance = bracket.linear / per_frame(bracket.exposures)
    clips = 1.0 - bracket.of(bracket.usable, bracket.reference)[:, None]
    trusted, bright = trust[:, :, None], (radiance.amax(2, keepdim=True) >= 1.0).float()
    tells = trusted * clips + (1.0 - trusted) * (1.0 - clips) * bright
    tells = tells * bracket.valid * bracket.usable.clamp_min(1e-3) * shorter
    frames = tells.shape[1]
    weight = F.avg_pool2d(tells.flatten(0, 1), 2)
    weight = -F.max_pool2d(-weight, 3, 1, 1)  # rims are mixtures
    stops = torch.log2(F.avg_pool2d(radiance.flatten(0, 1), 2).clamp(0.07, 6e4))
    weight = weight.reshape(-1, frames, *weight.shape[1:]) * per_frame(bracket.exposures / least)
    known = (weight * stops.reshape(-1, frames, *stops.shape[1:])).sum(1)
    return pull_push(F.avg_pool2d(known, 2), F.avg_pool2d(weight.sum(1), 2))


def pull_push(known: Tensor, weight: Tensor) -> Tensor:
    """Weighted values (sums ``known`` of ``weight``) carried to where the weight is nothing."""
    levels = [(known, weight)]
    while max(levels[-1][1].shape[-2:]) > 1:
        levels.append((halved(levels[-1][0]), halved(levels[-1][1])))
    spread = torch.zeros_like(levels[-1][0])
    for known, weight in reversed(levels):
        if spread.shape != known.shape:
            size = known.shape[-2:]
            spread = F.interpolate(spread, size=size, mode="bilinear", align_corners=False)
        own = (8.0 * weight).clamp_max(1.0) / weight.clamp_min(1e-9)
        spread = spread + own * (known - weight * spread)
    return spread


def halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def box(x: Tensor, radius: int) -> Tensor:
    """Sums over (2 radius + 1)^2 cells: two products with banded matrices, quick in both modes."""

    def band(size: int) -> Tensor:
        at = torch.arange(size, device=x.device)
        return ((at[:, None] - at).abs() <= radius).to(x.dtype)

    return band(x.shape[-2]) @ x @ band(x.shape[-1])


def displacement(score: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Displacement (B, 2, h, w) in cells about the best score, and how sure it is (B, 1, h, w)."""
    side = 2 * reach + 1
    share = torch.softmax(score, 1)
    best = share.argmax(1, keepdim=True)
    by, bx = best // side, best % side
    steps = torch.arange(side, device=score.device)
    dy = steps.repeat_interleave(side)[None, :, None, None]
    dx = steps.repeat(side)[None, :, None, None]
    near = ((dy - by).abs() <= 1) & ((dx - bx).abs() <= 1)
    local = share * near
    mass = local.sum(1, keepdim=True)
    y = (local * dy).sum(1, keepdim=True) / mass - reach
    x = (local * dx).sum(1, keepdim=True) / mass - reach
    return torch.cat([x, y], 1), mass


def borrowed(there: Tensor, own: Tensor, score: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """log2 of radiance ``there`` (B, 3, H, W) where the search says the reference's content is,
    and what speaks for it (B, CLUES, H/4, W/4): its level, how it fits, how sure the search is."""
    flow, sure = displacement(score, reach)
    moved = warp(there, flow)
    misfit = (mu_law(moved.clamp_max(1.0)) - mu_law(own)).abs()
    content = torch.log2(moved.clamp_min(1e-6)).clamp(-8.0, 12.0)
    level = F.avg_pool2d(content.mean(1, keepdim=True), 4) / 4
    present = torch.ones_like(level)
    return content, torch.cat([level, F.avg_pool2d(misfit, 4), up(sure), present], 1)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """``image`` (B, 3, H, W) looked up at a displacement (B, 2, H/8, W/8) in cells of 8 pixels."""
    height, width = image.shape[-2:]
    pixels = up(flow, 8) * 8.0
    y = torch.arange(height, device=image.device, dtype=image.dtype)[:, None]
    x = torch.arange(width, device=image.device, dtype=image.dtype)[None]
    grid = torch.stack(
        [(2 * (x + pixels[:, 0]) + 1) / width - 1, (2 * (y + pixels[:, 1]) + 1) / height - 1], -1
    )
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)


def up(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
