"""What the decision network is trained on, and how its decisions are scored."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from hdrmerge.models.bracket import CLIP, Bracket, mu_law
from hdrmerge.models.decider import Decision, compose
from hdrmerge.training.config import LossConfig
from hdrmerge.training.data import SCALE, Truth


def scaled(bracket: Bracket, radiance: Tensor) -> Tensor:
    """mu-law of radiance with the shortest frame's saturation = 1, clipped there."""
    least = bracket.exposures.amin(1)[:, None, None, None]
    return mu_law((radiance * least).clamp(0.0, 1.0))


def motion_emphasised(
    output: Tensor,
    target: Tensor,
    moving: Tensor,
    clipped: Tensor,
    *,
    motion: float = 0.0,
    saturated: float = 0.0,
) -> Tensor:
    """Mean absolute error of mu-law images, weighted where it is hard (Deng et al., ICPR 2020).

    ``output`` and ``target`` (B, 3, H, W) in [0, 1]; ``moving`` and ``clipped`` (B, 1, H, W) bool.
    The weight is 1 + ``motion`` where something moved + ``saturated`` where the reference is
    clipped, divided by its mean; both 0 give the plain error that AHDRNet is trained with.
    """
    weight = 1.0 + motion * moving.float() + saturated * clipped.float()
    return (weight * (mu_law(output) - mu_law(target)).abs()).mean() / weight.mean()


def motion_mask(truth: Truth) -> Tensor:
    """(B, 1, H, W): some frame shows something else than the reference."""
    return 1.0 - truth.same.amin(1, keepdim=True)


def decision_loss(
    bracket: Bracket, decision: Decision, truth: Truth, config: LossConfig
) -> tuple[Tensor, dict[str, float]]:
    """The loss and its parts by name."""
    error = scaled(bracket, compose(bracket, decision)) - scaled(bracket, truth.radiance)
    weight = (1.0 + (config.motion - 1.0) * motion_mask(truth)).expand_as(error)
    radiance = (weight * (error.abs() + config.square * error.square())).sum() / weight.sum()
    trust = _trust_loss(bracket, decision, truth)
    search = _search_loss(bracket, decision, truth)
    parts = {"radiance": radiance.item(), "trust": trust.item(), "search": search.item()}
    return radiance + config.trust * trust + config.search * search, parts


def _trust_loss(bracket: Bracket, decision: Decision, truth: Truth) -> Tensor:
    """Cross entropy of the validity, where the frame's sample would count at all."""
    own = F.one_hot(bracket.reference, truth.same.shape[1])[:, :, None, None]
    counts = (bracket.linear.amax(2) < CLIP) * bracket.valid[:, :, 0] * (1 - own)
    loss = F.binary_cross_entropy_with_logits(3.0 * decision.logits, truth.same, reduction="none")
    weight = counts * (1.0 + 3.0 * (1.0 - truth.same))
    return (weight * loss).sum() / weight.sum().clamp_min(1.0)


def _search_loss(bracket: Bracket, decision: Decision, truth: Truth) -> Tensor:
    """Cross entropy of the displacement of what moves; what the reference clips counts more."""
    step = 8 // SCALE
    reach = (math.isqrt(decision.scores.shape[2]) - 1) // 2
    total = decision.scores.new_zeros(())
    count = decision.scores.new_zeros(())
    own = bracket.of(bracket.linear, bracket.reference).amax(1, keepdim=True)
    clipped = F.avg_pool2d((own >= CLIP).float(), 8)[:, 0]
    for i, source in enumerate(decision.sources.unbind(1)):
        flow = bracket.of(truth.flow, source)[..., step // 2 :: step, step // 2 :: step]
        cells = flow / 8.0
        known = torch.isfinite(cells).all(1) & (cells.abs().amax(1) <= reach)
        known &= (source != bracket.reference)[:, None, None]
        cells = torch.where(known[:, None], cells, 0.0)
        nearest = cells.round().long() + reach
        target = nearest[:, 1] * (2 * reach + 1) + nearest[:, 0]
        loss = F.cross_entropy(decision.scores[:, i], target, reduction="none")
        moves = (cells.abs().amax(1) > 0.25).float()
        weight = known * (0.02 + moves) * (0.2 + clipped)
        total = total + (weight * loss).sum()
        count = count + weight.sum()
    return total / count.clamp_min(1.0)


def score(
    bracket: Bracket, radiance: Tensor, truth: Truth, *, covered: Tensor
) -> dict[str, tuple[float, float]]:
    """Summed squared mu-law error and number of values in parts of the picture.

    ``covered`` (B, 1, H, W): the coverage of the oracle's merge; below a half no frame is valid.
    """
    error = (scaled(bracket, radiance) - scaled(bracket, truth.radiance)).square()
    mask = motion_mask(truth)
    some = (covered >= 0.5).float()
    parts = {
        "all": torch.ones_like(mask),
        "mask": mask,
        "valid": mask * some,
        "none": mask * (1.0 - some),
        "static": 1.0 - mask,
    }
    return {
        name: (float((error * part).sum()), float(part.sum()) * 3) for name, part in parts.items()
    }
