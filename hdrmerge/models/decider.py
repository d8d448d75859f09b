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
)
from hdrmerge.models.fill import CLUES, borrowed, box, choose_sources, spread, up

OWN = (0.90, 0.97)  # a channel fades out between these, as in fusion.radiometric
MULTIPLE = 16  # height and width are padded to multiples of this inside
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
        eighth = self.at_eighth(eighth + up(self.from_bottom(bottom)))
        quarter = self.at_quarter(quarter + up(self.from_eighth(eighth)))
        return self.at_half(half + up(self.from_quarter(quarter))), quarter


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
            around = spread(bracket, trust)
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
        contents, scores = [up(around, 4)], []
        sources = choose_sources(bracket)
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
                content, clue = borrowed(there, own, score, self.config.search)
                clues.append(clue * ~absent[:, i, None, None, None])
            contents.append(content)
            scores.append(score)
        mixed = up(self.mixer(torch.cat(clues, 1)).float(), 4)
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
            votes = box(score * tells, radius) / (box(tells, radius) + 0.05)
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
