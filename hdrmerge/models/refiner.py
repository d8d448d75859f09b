"""Refiner: takes the noise out of what deghosting leaves to few frames.

Where something moves, the merge has only the reference (or few frames) and is as noisy as those,
beside surroundings in which every frame counts. This network estimates that noise and takes it
away, at full resolution, in the tiles that hold such places.

It works on radiance transformed so that the reference's noise has a standard deviation of one
(``fusion.refine_inputs``; Anscombe 1948, for signal-dependent noise Foi 2009), so that it is the
same problem for every camera. Mostly it says which share of the detail at three scales is noise, as
wavelet shrinkage does (Donoho & Johnstone 1994); a small free part follows edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BANDS = 9  # three scales of detail of three channels
INPUTS = BANDS + 4  # with the level of three channels, and how noisy the merge still is
OUTPUTS = BANDS + 3
LIMIT = 4.0  # of the free part, in standard deviations of the reference's noise


@dataclass(frozen=True, slots=True)
class RefinerConfig:
    """Channels at 1/2, 1/4 and 1/8 of the resolution."""

    widths: tuple[int, int, int] = (16, 32, 48)


def _conv(c_in: int, c_out: int, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, size, stride, size // 2), nn.LeakyReLU(0.1, inplace=True)
    )


class Refiner(nn.Module):
    """``forward(x)``: inputs (B, 13, H, W) of ``fusion.refine_inputs``; returns (B, 12, H, W): the
    shares in [0, 1] of the nine bands that are noise, and three channels of noise beside them, in
    standard deviations, within ``LIMIT``. H and W are multiples of 8."""

    def __init__(self, config: RefinerConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or RefinerConfig()
        a, b, c = config.widths
        # the many channels of inputs and outputs are mixed, not filtered: half the arithmetic
        self.stem = nn.Sequential(_conv(4 * INPUTS, a, size=1), _conv(a, a))
        self.to_quarter = nn.Sequential(_conv(a, b, 2), _conv(b, b))
        self.to_eighth = nn.Sequential(_conv(b, c, 2), _conv(c, c))
        self.from_eighth = nn.Conv2d(c, b, 1)
        self.at_quarter = nn.Sequential(_conv(b, b), _conv(b, b))
        self.from_quarter = nn.Conv2d(b, a, 1)
        self.at_half = nn.Sequential(_conv(a, a), _conv(a, a), nn.Conv2d(a, 4 * OUTPUTS, 1))
        last = self.at_half[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=1e-3)
        start = torch.tensor(
            [0.5] * 3 + [-2.0] * 3 + [-4.0] * 3 + [0.0] * 3
        )  # fine detail is noise
        with torch.no_grad():
            last.bias.copy_(start.repeat_interleave(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.folded(F.pixel_unshuffle(x, 2)), 2)

    def folded(self, x: Tensor) -> Tensor:
        """What is left of ``forward`` when 2 x 2 pixels lie side by side as channels."""
        half = self.stem(x)
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        quarter = self.at_quarter(quarter + _up(self.from_eighth(eighth)))
        return limited(self.at_half(half + _up(self.from_quarter(quarter))))

    def within(self, x: Tensor) -> Tensor:
        """The part of ``folded`` that sees no border, not yet ``limited``, from no more than it
        needs: (B, 52, h + 33, w + 33) to (B, 48, h, w), which begins at (18, 18); h and w are
        multiples of 4.

        Half the arithmetic for a place of 128 pixels a side: what is near the output is not done
        for the surroundings. Plain convolutions and slices, which every inference runtime knows
        (``models.portable``).
        """
        half = _unpadded(self.stem, x)
        quarter = _unpadded(self.to_quarter, half)
        eighth = _up(_unpadded(self.from_eighth, _unpadded(self.to_eighth, quarter)))
        quarter = quarter[..., 4:-3, 4:-3] + eighth[..., 1:-1, 1:-1]
        coarse = _up(_unpadded(self.from_quarter, _unpadded(self.at_quarter, quarter)))
        return _unpadded(self.at_half, half[..., 15:-12, 15:-12] + coarse)


def limited(found: Tensor) -> Tensor:
    """Shares and noise (B, 48, H, W), folded, of what the last convolution found."""
    shares, free = found[:, : 4 * BANDS], found[:, 4 * BANDS :]
    return torch.cat([torch.sigmoid(shares), LIMIT * torch.tanh(free / LIMIT)], 1)


def _unpadded(part: nn.Module, x: Tensor) -> Tensor:
    """``part`` of ``x`` where its convolutions see nothing beyond the border."""
    if isinstance(part, nn.Sequential):
        for module in part:
            x = _unpadded(module, x)
        return x
    if isinstance(part, nn.Conv2d):
        return F.conv2d(x, part.weight, part.bias, part.stride)
    result: Tensor = part(x)
    return result


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
