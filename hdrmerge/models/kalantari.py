"""The weight estimator of Kalantari and Ramamoorthi ("Deep High Dynamic Range Imaging of Dynamic
Scenes", SIGGRAPH 2017): the baseline that the later networks are compared with.

Four convolutions of 7, 5, 3 and 1 pixels look at three *aligned* frames and give each pixel of each
frame and colour a blending weight; the radiance is the weighted mean. The paper aligns by optical
flow; here the frames come as the stack aligns them, by homographies, so that what moves has to be
weighted down rather than brought into place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdrmerge.models.ahdrnet import conv, start_xavier

SIZES = (7, 5, 3, 1)
LEAST = 1e-4  # of a weight: they must not all vanish


@dataclass(frozen=True, slots=True)
class KalantariConfig:
    """``width`` feature channels of the first two layers; the third has half of it."""

    width: int = 100

    def __post_init__(self) -> None:
        # bounded, for a checkpoint's header is not to be trusted
        if not (isinstance(self.width, int) and 2 <= self.width <= 1024):
            raise ValueError(f"width must be 2 to 1024, not {self.width!r}")

    @property
    def receptive_radius(self) -> int:
        """Pixels that an output depends on to each side."""
        return sum(size // 2 for size in SIZES)


class Kalantari(nn.Module):
    """Encoded frames (B, 3, 6, h, w), short, reference, long -> radiance (B, 3, h, w) in [0, 1].

    1.0 is the saturation of the shortest frame (``encoding`` makes the one and undoes the other).
    """

    averaged_channels = 0  # it uses no global statistics

    def __init__(self, config: KalantariConfig | None = None) -> None:
        super().__init__()
        self.config = config or KalantariConfig()
        self.receptive_radius = self.config.receptive_radius
        width = self.config.width
        channels = (18, width, width, width // 2, 9)
        self.layers = nn.ModuleList(
            conv(channels[i], channels[i + 1], size) for i, size in enumerate(SIZES)
        )
        self.apply(start_xavier)

    def weights(self, frames: Tensor) -> Tensor:
        """Blending weights (B, 3, 3, h, w), frame by colour, in (0, 1); they need not sum to 1."""
        if frames.shape[1] != 3:
            raise ValueError(f"three frames are needed, not {frames.shape[1]}")
        x = frames.flatten(1, 2)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        batch, _, height, width = x.shape
        return torch.sigmoid(self.layers[-1](x)).view(batch, 3, 3, height, width)

    def forward(self, frames: Tensor) -> Tensor:
        weights = self.weights(frames).float() + LEAST
        radiance: Tensor = (weights * frames[:, :, 3:]).sum(dim=1) / weights.sum(dim=1)
        return radiance

    def attention_maps(self, frames: Tensor) -> dict[str, Tensor]:
        """The weights of the short and of the long frame, (B, 3, h, w) in (0, 1) each."""
        weights = self.weights(frames)
        return {"short": weights[:, 0], "long": weights[:, 2]}
