"""Decider: our own network. It says what to trust and what to put where nothing can be trusted.

It sees any number of frames in any order at any spacing, at the resolution of a proxy, and leaves
the radiance to the explicit merge. Each frame is compared with the reference by shared weights;
the frames meet only in means and maxima, so that their order changes nothing. What a classical
deghoster would look at is among the inputs: the difference to the reference in units of its own
noise, in which a clipped value says only "at least this much".

Where the reference clips and no frame can be trusted, a fill is mixed from four candidates: the
reference's own saturation; what tells how bright such places are, spread into the hole (pull-push,
Gortler et al., The Lumigraph, 1996); and two shorter frames displaced by what a coarse search at an
eighth of the resolution finds (a cost volume as in optical flow, restricted to what the reference
can tell: both frames clipped at its saturation; cells vote for those around them).

Radiances are linear with the reference's saturation = 1. Shapes: B brackets, N frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdrmerge.models.bracket import (
    EVIDENCE,
    Bracket,
    coverage,
    evidence,
    merge,
    mu_law,
    per_frame,
)

OWN = (0.90, 0.97)  # a channel fades out between these, as in fusion.radiometric
MULTIPLE = 16  # height and width are padded to multiples of this inside
CLUES = 6  # channels that speak for what is borrowed from a frame
SUPPORT = (1, 3, 7)  # radii in cells over which displacements are voted on
BAND = 16  # rows of cells that are searched at a time


@dataclass(frozen=True, slots=True)
class DeciderConfig:
    """Channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; ``search`` cells of 8 pixels each way;
    ``descriptor`` channels of the matching features; ``fill`` channels of the fill head."""

    widths: tuple[int, int, int, int] = (16, 32, 56, 64)
    search: int = 8
    descriptor: int = 48
    fill: int = 48


class Decision(NamedTuple):
    """``trust`` (B, N, H, W) in [0, 1], 1 for the reference; ``logits`` (B, N, H, W) behind it;
    ``fill`` (B, 3, H, W) radiance >= the reference's own; ``fill_weight`` (B, H, W) in [0, 1];
    ``scores`` (B, 2, D, H/8, W/8) logits of the search's displacements and ``sources`` (B, 2) the
    frames searched (the reference itself: none)."""

    trust: Tensor
    logits: Tensor
    fill: Tensor
    fill_weight: Tensor
    scores: Tensor
    sources: Tensor


def compose(bracket: Bracket, decision: Decision) -> Tensor:
    """The radiance (B, 3, H, W) that the explicit merge makes of a decision."""
    merged, covered = merge(bracket, decision.trust)
    own = bracket.of(bracket.linear, bracket.reference).clamp_min(0.0)
    share = 1.0 - covered
    amount = decision.fill_weight[:, None] * share
    below = ((OWN[1] - own) / (OWN[1] - OWN[0])).clamp(0.0, 1.0)  # channels that do not clip
    known = (own + 1e-6) / (decision.fill * below).clamp_min(1e-6)
    dimmed = decision.fill * known.amin(1, keepdim=True).clamp_max(1.0)
    fallback = own + amount * (dimmed - own).clamp_min(0.0)
    return (merged * covered + fallback * share).clamp_min(0.0)


def _conv(c_in: int, c_out: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, stride, dilation, dilation, padding_mode="zeros"),
        nn.LeakyReLU(0.1, inplace=True),
    )


def _up(x: Tensor, factor: int = 2) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


class _Trunk(nn.Module):
    """The U-Net that each frame runs through; the frames meet at 1/8 and 1/16."""

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        a, b, c, d = widths
        self.stem = _conv(4 * EVIDENCE + 2, a)
        self.fine = _conv(a, a)
        self.to_quarter = nn.Sequential(_conv(a, b, 2), _conv(b, b))
        self.to_eighth = nn.Sequential(_conv(b, c, 2), _conv(c, c))
        self.differs = nn.ModuleList([nn.Conv2d(3, width, 1) for width in (b, c, d)])
        for weight in self.differs.parameters():
            nn.init.zeros_(weight)
        self.meet = nn.Conv2d(3 * c, c, 1)
        self.bottom = nn.Sequential(_conv(c, d, 2), _conv(d, d))
        self.meet_bottom = nn.Conv2d(3 * d, d, 1)
        self.wide = nn.Sequential(_conv(d, d), _conv(d, d, dilation=2))
        self.from_bottom = nn.Conv2d(d, c, 1)
        self.at_eighth = _conv(c, c)
        self.from_eighth = nn.Conv2d(c, b, 1)
        self.at_quarter = _conv(b, b)
        self.from_quarter = nn.Conv2d(b, a, 1)
        self.at_half = _conv(a, a)

    def forward(self, x: Tensor, pooled: list[Tensor], frames: int) -> tuple[Tensor, Tensor]:
        by_quarter, by_eighth, by_bottom = (
            layer(z) for layer, z in zip(self.differs, pooled, strict=True)
        )
        half = self.fine(self.stem(x))
        quarter = self.to_quarter[1](self.to_quarter[0](half) + by_quarter)
        eighth = self.to_eighth[1](self.to_eighth[0](quarter) + by_eighth)
        eighth = eighth + self.meet(_with_pooled(eighth, frames))
        bottom = self.bottom[1](self.bottom[0](eighth) + by_bottom)
        bottom = bottom + self.meet_bottom(_with_pooled(bottom, frames))
        bottom = bottom + self.wide(bottom)
        eighth = self.at_eighth(eighth + _up(self.from_bottom(bottom)))
        quarter = self.at_quarter(quarter + _up(self.from_eighth(eighth)))
        return self.at_half(half + _up(self.from_quarter(quarter))), quarter


def _with_pooled(x: Tensor, frames: int) -> Tensor:
    """Features beside their mean and maximum over a bracket's frames."""
    by_bracket = x.reshape(-1, frames, *x.shape[1:])
    pooled = torch.cat([by_bracket.mean(1), by_bracket.amax(1)], 1)
    return torch.cat([x, pooled.repeat_interleave(frames, 0)], 1)


class Decider(nn.Module):
    """See the module. ``forward(bracket) -> Decision`` for the whole proxy at once, any H and W.

    The search reaches ``8 * search`` pixels and the trunk about 150, and pull-push is global: the
    proxy is not tiled.
    """

    def __init__(self, config: DeciderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DeciderConfig()
        a, b, _, _ = config.widths
        self.trunk = _Trunk(config.widths)
        self.judge = nn.Sequential(_conv(a, a), nn.Conv2d(a, 4, 3, 1, 1))
        self.describe = nn.Sequential(
            nn.Conv2d(4 * 16, 32, 1),
            nn.LeakyReLU(0.1, inplace=True),
            _conv(32, config.descriptor, 2),
            _conv(config.descriptor, config.descriptor),
            _conv(config.descriptor, config.descriptor, dilation=2),
            nn.Conv2d(config.descriptor, config.descriptor, 1),
        )
        self.sharpness = nn.Parameter(torch.tensor(2.5))
        self.tells = nn.Conv2d(2 * b, 1, 1)
        self.support = nn.Parameter(torch.full((len(SUPPORT),), 0.5))
        self.mixer = nn.Sequential(
            _conv(3 * b + 1 + 3 + 2 * CLUES, config.fill),
            _conv(config.fill, config.fill),
            nn.Conv2d(config.fill, 7, 3, 1, 1),
        )
        last = self.judge[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, 0.5)
        last = self.mixer[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))

    def forward(self, bracket: Bracket, prior: Tensor | None = None) -> Decision:
        """The decision; ``prior`` (B, N, H, W) in [0, 1] is another judge's trust (that of
        ``fusion.classic``), which this network's is multiplied with: what either sees is rejected.
        """
        height, width = bracket.linear.shape[-2:]
        bracket = _padded(bracket)
        batch, frames = bracket.exposures.shape
        seen, pooled = evidence(bracket)
        constant = torch.stack([torch.log2(bracket.exposures) / 4, torch.zeros_like(bracket.gain)])
        constant[1].scatter_(1, bracket.reference[:, None], 1.0)
        folded = F.pixel_unshuffle(seen.flatten(0, 1), 2)
        extra = constant.permute(1, 2, 0).flatten(0, 1)[:, :, None, None]
        folded = torch.cat([folded, extra.expand(-1, -1, *folded.shape[-2:])], 1)
        folded = folded.contiguous(memory_format=torch.channels_last)
        half, quarter = self.trunk(folded, pooled, frames)

        logits = F.pixel_shuffle(self.judge(half), 2).float()
        logits = logits.reshape(batch, frames, *logits.shape[-2:])
        trust = torch.sigmoid(3.0 * logits)
        own = torch.zeros_like(bracket.exposures).scatter_(1, bracket.reference[:, None], 1.0)
        trust = torch.maximum(trust, own[:, :, None, None]) * bracket.valid[:, :, 0]

        if prior is not None:
            edge = (0, trust.shape[-1] - width, 0, trust.shape[-2] - height)
            trust = trust * F.pad(prior, edge, mode="replicate")
        fill, scores, sources = self._fill(bracket, trust.detach(), quarter)
        crop = (..., slice(0, height), slice(0, width))
        mask = 1.0 - bracket.of(bracket.usable, bracket.reference)[:, 0]
        return Decision(trust[crop], logits[crop], fill[crop], mask[crop], scores, sources)

    def _fill(
        self, bracket: Bracket, trust: Tensor, quarter: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Radiance for where nothing can be trusted, the search's scores, the frames searched."""
        batch, frames = bracket.exposures.shape
        own = bracket.of(bracket.linear, bracket.reference).clamp_min(0.0)
        with torch.no_grad():
            covered = coverage(bracket, trust)
            around = _spread(bracket, trust)
        by_bracket = quarter.float().reshape(batch, frames, *quarter.shape[1:])
        features = bracket.of(by_bracket, bracket.reference)
        clues = [
            by_bracket.mean(1),
            by_bracket.amax(1),
            features,
            F.avg_pool2d(covered, 4),
            around.clamp(-1.0, 8.0) / 4,
        ]
        seen = mu_law(own.clamp_max(1.0))
        contents, scores = [_up(around, 4)], []
        sources = _sources(bracket)
        absent = sources == bracket.reference[:, None]
        for i, source in enumerate(sources.unbind(1)):
            if absent[:, i].all():  # nothing to search, as for the second of three frames
                side = 2 * self.config.search + 1
                height, width = quarter.shape[-2:]
                clues.append(own.new_zeros(batch, CLUES, height, width))
                contents.append(torch.zeros_like(own))
                scores.append(own.new_zeros(batch, side * side, height // 2, width // 2))
                continue
            there = bracket.of(bracket.linear, source).clamp_min(0.0)
            there = there / bracket.of(bracket.exposures, source)[:, None, None, None]
            pair = torch.cat([features, bracket.of(by_bracket, source)], 1)
            tells = torch.sigmoid(self.tells(F.avg_pool2d(pair, 2)).float())
            moved = mu_law(there.clamp_max(1.0))
            query, keys = self._descriptors(seen, moved), self._descriptors(moved, seen)
            score = self._vote(self._search(query, keys), tells)
            with torch.no_grad():
                content, clue = _borrowed(there, own, score, self.config.search)
                clues.append(clue * ~absent[:, i, None, None, None])
            contents.append(content)
            scores.append(score)
        mixed = _up(self.mixer(torch.cat(clues, 1)).float(), 4)
        allowed = F.pad(~absent, (2, 0), value=True)[:, :, None, None]
        share = torch.softmax(mixed[:, :4].masked_fill(~allowed, -20.0), 1)
        log_fill = mixed[:, 4:]
        for i, content in enumerate(contents):
            log_fill = log_fill + share[:, i + 1 : i + 2] * content.clamp_min(0.0)
        log_fill = F.softplus(log_fill, beta=8.0).clamp_max(12.0)
        return torch.maximum(torch.exp2(log_fill), own), torch.stack(scores, 1), sources

    def _vote(self, score: Tensor, tells: Tensor) -> Tensor:
        """Scores with those around them: the inside of a clipped thing looks like anything, its
        rim does not; ``tells`` (B, 1, H/8, W/8) in [0, 1] says which cells have something to say.
        """
        voted = score
        for gain, radius in zip(self.support, SUPPORT, strict=True):
            votes = _box(score * tells, radius) / (_box(tells, radius) + 0.05)
            voted = voted + gain * votes
        return voted

    def _descriptors(self, seen: Tensor, other: Tensor) -> Tensor:
        """Matching features (B, D, H/8, W/8) of what the reference could have seen of a frame
        (B, 3, H, W), mu-law, and of where the ``other`` of the pair sees something else."""
        differs = (seen - other).mean(1, keepdim=True)
        x = F.pixel_unshuffle(torch.cat([seen, differs], 1), 4)
        x = self.describe(x.contiguous(memory_format=torch.channels_last))
        return F.normalize(x.float(), dim=1)

    def _search(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scores (B, D, H/8, W/8) of the displacements, row by row, left to right.

        A band of query rows is multiplied with all keys it could reach, then the displacements are
        picked: a few per cent of the products are used, and it is still the fastest on a CPU.
        """
        reach = self.config.search
        side = 2 * reach + 1
        batch, _, height, width = query.shape
        padded = F.pad(keys, (reach, reach, reach, reach))
        steps = torch.arange(side, device=query.device)
        x = torch.arange(width, device=query.device)[:, None, None] + steps
        wide = width + 2 * reach
        bands = []
        for top in range(0, height, BAND):
            rows = min(BAND, height - top)
            here = query[:, :, top : top + rows].flatten(2).transpose(1, 2)
            there = padded[:, :, top : top + rows + 2 * reach].flatten(2)
            y = torch.arange(rows, device=query.device)[:, None, None, None] + steps[:, None]
            index = (y * wide + x).reshape(1, rows * width, side * side)
            scores = torch.bmm(here, there).gather(2, index.expand(batch, -1, -1))
            bands.append(scores.transpose(1, 2).reshape(batch, -1, rows, width))
        return torch.cat(bands, 2) * torch.exp(self.sharpness)


def _padded(bracket: Bracket) -> Bracket:
    height, width = bracket.linear.shape[-2:]
    bottom, right = -height % MULTIPLE, -width % MULTIPLE
    if not bottom and not right:
        return bracket
    pad = (0, right, 0, bottom, 0, 0)
    return bracket._replace(
        linear=F.pad(bracket.linear, pad, mode="replicate"),
        valid=F.pad(bracket.valid, pad, mode="replicate"),
        usable=F.pad(bracket.usable, pad, mode="replicate"),
    )


def _sources(bracket: Bracket) -> Tensor:
    """(B, 2) frames to borrow from: the shortest, and the one nearest to two stops below the
    reference if that is another; the reference's own index stands for none."""
    stops = torch.log2(bracket.exposures)
    shorter = stops < -0.2
    first = torch.where(shorter.any(1), stops.argmin(1), bracket.reference)
    second = (stops + 2.0).abs().masked_fill(~shorter, 1e3).argmin(1)
    second = torch.where(shorter.any(1) & (second != first), second, bracket.reference)
    return torch.stack([first, second], 1)


def _spread(bracket: Bracket, trust: Tensor) -> Tensor:
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
    return _pull_push(F.avg_pool2d(known, 2), F.avg_pool2d(weight.sum(1), 2))


def _pull_push(known: Tensor, weight: Tensor) -> Tensor:
    """Weighted values (sums ``known`` of ``weight``) carried to where the weight is nothing."""
    levels = [(known, weight)]
    while max(levels[-1][1].shape[-2:]) > 1:
        levels.append((_halved(levels[-1][0]), _halved(levels[-1][1])))
    spread = torch.zeros_like(levels[-1][0])
    for known, weight in reversed(levels):
        if spread.shape != known.shape:
            size = known.shape[-2:]
            spread = F.interpolate(spread, size=size, mode="bilinear", align_corners=False)
        own = (8.0 * weight).clamp_max(1.0) / weight.clamp_min(1e-9)
        spread = spread + own * (known - weight * spread)
    return spread


def _halved(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False)


def _box(x: Tensor, radius: int) -> Tensor:
    """Sums over (2 radius + 1)^2 cells: two products with banded matrices, quick in both modes."""

    def band(size: int) -> Tensor:
        at = torch.arange(size, device=x.device)
        return ((at[:, None] - at).abs() <= radius).to(x.dtype)

    return band(x.shape[-2]) @ x @ band(x.shape[-1])


def _displacement(score: Tensor, reach: int) -> tuple[Tensor, Tensor]:
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


def _borrowed(there: Tensor, own: Tensor, score: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """log2 of radiance ``there`` (B, 3, H, W) where the search says the reference's content is,
    and what speaks for it (B, CLUES, H/4, W/4): its level, how it fits, how sure the search is."""
    flow, sure = _displacement(score, reach)
    moved = _warp(there, flow)
    misfit = (mu_law(moved.clamp_max(1.0)) - mu_law(own)).abs()
    content = torch.log2(moved.clamp_min(1e-6)).clamp(-8.0, 12.0)
    level = F.avg_pool2d(content.mean(1, keepdim=True), 4) / 4
    present = torch.ones_like(level)
    return content, torch.cat([level, F.avg_pool2d(misfit, 4), _up(sure), present], 1)


def _warp(image: Tensor, flow: Tensor) -> Tensor:
    """``image`` (B, 3, H, W) looked up at a displacement (B, 2, H/8, W/8) in cells of 8 pixels."""
    height, width = image.shape[-2:]
    pixels = _up(flow, 8) * 8.0
    y = torch.arange(height, device=image.device, dtype=image.dtype)[:, None]
    x = torch.arange(width, device=image.device, dtype=image.dtype)[None]
    grid = torch.stack(
        [(2 * (x + pixels[:, 0]) + 1) / width - 1, (2 * (y + pixels[:, 1]) + 1) / height - 1], -1
    )
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
