"""What the deciding network is given, what it makes of it first, and the merge that follows.

Training and merging fill the same ``Bracket``, so that they cannot differ. Radiances are linear
with the reference's saturation = 1. Shapes: B brackets, N frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from hdrmerge.frames import FloatArray
    from hdrmerge.fusion.noise import NoiseModel
    from hdrmerge.stack import ExposureStack

MU = 5000.0
CLIP = 0.95  # from here on a value says only "at least this much"
ENOUGH = 0.5  # trust below which the merge turns to the fallback, as in fusion.radiometric
NO_TRUST = 0.05  # trust below which a sample does not count at all, likewise
SHORTEST = 1e-4  # what is left of the shortest frame's weight where it clips, likewise
EVIDENCE = 10  # channels of evidence a frame
POOLED = (4, 8, 16)  # pixels over which differences are pooled for the trunk


class Bracket(NamedTuple):
    """What the network is given.

    ``linear`` (B, N, 3, H, W) aligned linear values, 1 = saturation of that frame; ``valid``
    (B, N, 1, H, W), 0 outside a frame; ``usable`` (B, N, 1, H, W) in [0, 1], how surely it is below
    saturation; ``exposures`` (B, N), the reference's = 1; ``reference`` (B,) int64. Variance of a
    linear value x of frame k: read + gain x + curve x^2, ``read`` and ``gain`` (B, N), ``curve``
    (B,).
    """

    linear: Tensor
    valid: Tensor
    usable: Tensor
    exposures: Tensor
    reference: Tensor
    read: Tensor
    gain: Tensor
    curve: Tensor

    def variance(self, linear: Tensor) -> Tensor:
        """Variance of (B, N, 3, H, W) linear values of the frames."""
        x = linear.clamp_min(0.0)
        slope = per_frame(self.gain) + self.curve[:, None, None, None, None] * x
        return x * slope + per_frame(self.read)

    def shortest(self) -> Tensor:
        """(B, N) bool: the frame with the least exposure."""
        first = self.exposures.argmin(1, keepdim=True)
        return torch.zeros_like(self.exposures, dtype=torch.bool).scatter_(1, first, True)

    def of(self, values: Tensor, frame: Tensor) -> Tensor:
        """(B, ...) of ``values`` (B, N, ...): frame ``frame`` (B,) of each bracket."""
        return values[torch.arange(values.shape[0], device=values.device), frame]


def bracket_of(
    stack: ExposureStack,
    noise: NoiseModel,
    unclipped: Callable[..., FloatArray],
    device: str = "cpu",
) -> Bracket:
    """The inputs of a (proxy) stack. ``noise`` is that of the frames as they were measured;
    ``unclipped`` is the merge's own judgement, ``fusion.radiometric.unclipped``."""
    height, width = stack.shape
    noise = noise.averaged(height * width)
    pairs = [stack.linear(k) for k in range(len(stack))]

    usable = [
        unclipped(linear, demosaiced=frame.encoding == "linear")[None]
        for (linear, _), frame in zip(pairs, stack.frames, strict=True)
    ]

    def tensor(values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float32), device=device)[None]

    return Bracket(
        linear=tensor(np.stack([linear.transpose(2, 0, 1) for linear, _ in pairs])),
        valid=tensor(np.stack([valid[None] for _, valid in pairs])),
        usable=tensor(np.stack(usable)),
        exposures=tensor(stack.exposures),
        reference=torch.tensor([stack.reference], device=device),
        read=tensor(noise.read),
        gain=tensor(noise.gain),
        curve=tensor(noise.curve),
    )


def mu_law(radiance: Tensor) -> Tensor:
    """log(1 + mu r) / log(1 + mu) of radiance >= 0 (Kalantari & Ramamoorthi 2017)."""
    return torch.log1p(MU * radiance) / math.log1p(MU)


def merge(bracket: Bracket, trust: Tensor) -> tuple[Tensor, Tensor]:
    """``fusion.radiometric``'s merge in torch: radiance (B, 3, H, W) and coverage (B, 1, H, W).

    Noise-optimal weights (Granados et al. 2010, Hanji et al. 2020) at the radiance that a first,
    Poisson-weighted mean gives; frames fade out below saturation, the shortest never to nothing.
    """
    x, t = bracket.linear, per_frame(bracket.exposures)
    covered = coverage(bracket, trust)
    trust = (trust * (trust >= NO_TRUST))[:, :, None] * bracket.valid
    usable = torch.maximum(bracket.usable, SHORTEST * per_frame(bracket.shortest()))
    with torch.no_grad():
        w = usable * trust
        first = (w * x).sum(1, keepdim=True) / (w * t).sum(1, keepdim=True).clamp_min(1e-20)
        certainty = usable * t.square() / bracket.variance(first.clamp_min(0.0) * t)
    weight = certainty * trust
    merged = (weight * x / t).sum(1) / weight.sum(1).clamp_min(1e-20)
    return merged, covered


def coverage(bracket: Bracket, trust: Tensor) -> Tensor:
    """How far (B, 1, H, W) in [0, 1] the merge relies on what it has; the rest is the fallback."""
    trust = (trust * (trust >= NO_TRUST))[:, :, None] * bracket.valid
    use = torch.where(per_frame(bracket.shortest()), trust, bracket.usable * trust)
    return (use.amax(1) / ENOUGH).clamp_max(1.0)


def evidence(bracket: Bracket) -> tuple[Tensor, list[Tensor]]:
    """What each frame shows and how it differs from the reference, (B, N, EVIDENCE, H, W); and the
    difference pooled over 4, 8 and 16 pixels in units of what noise then leaves (B N, 3, h, w):
    a dim thing that no pixel betrays is plain in their mean.
    """
    x, t = bracket.linear, per_frame(bracket.exposures)
    variance = bracket.variance(x) / t.square()
    radiance = x / t
    own = bracket.of(radiance, bracket.reference)[:, None]
    own_variance = bracket.of(variance, bracket.reference)[:, None]
    clipped, own_clipped = x >= CLIP, own >= CLIP
    difference = radiance - own
    difference = difference.masked_fill(own_clipped & (difference > 0), 0.0)
    difference = difference.masked_fill(clipped & (difference < 0), 0.0)
    noise = variance + own_variance
    deviation = (noise + (0.02 * own).square()).sqrt()
    pooled = []
    for size in POOLED:
        mean, power, level = (
            F.avg_pool2d((part * bracket.valid).flatten(0, 1), size)
            for part in (difference, noise, own.expand_as(x))
        )
        spread = (2.0 * power / size**2 + (0.02 * level).square() + 1e-12).sqrt()
        pooled.append(torch.asinh(mean / (2.0 * spread)) * 0.5)
    normal = torch.asinh(difference / (2.0 * deviation)) * 0.5
    least = own.clamp_min(0.0) + deviation
    ratio = torch.log2(((own + difference).clamp_min(0.0) + deviation) / least)
    unusable = 1.0 - bracket.usable
    own_unusable = bracket.of(unusable, bracket.reference)[:, None]
    channels = [
        x.clamp(0.0, 1.0).clamp_min(1e-6).pow(1 / 2.2),
        normal,
        ratio.mean(2, keepdim=True).clamp(-4.0, 4.0) * 0.5,
        unusable,
        own_unusable.expand_as(unusable),
        mu_law(radiance.clamp_min(0.0).mean(2, keepdim=True)),
    ]
    return torch.cat(channels, dim=2) * bracket.valid, pooled


def per_frame(values: Tensor) -> Tensor:
    """(B, N) values beside (B, N, C, H, W) ones."""
    return values[:, :, None, None, None]
