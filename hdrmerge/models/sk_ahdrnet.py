"""AHDRNet with selective-kernel and spatial attention (Deng et al., ICPR 2020).

The channel part (selective kernel, Li et al., CVPR 2019) learns *what* to look at, the spatial part
(CBAM, Woo et al., ECCV 2018) *where*. How the parts are joined is our reconstruction, for the
paper's text is silent: cat(F_k, F_ref) -> 3x3 -> SK(3, 5) -> V; S = spatial(V);
A_k = sigmoid(3x3(V * S)); F_k' = F_k * A_k.

The selective kernel averages over the whole image. Taken for each tile alone that would make seams,
so the averages can be handed in (``tiling`` computes them exactly, tile by tile, beforehand).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hdrmerge.models.ahdrnet import (
    SLOTS,
    AHDRNetConfig,
    Merge,
    conv,
    encode_features,
    start_xavier,
)


@dataclass(frozen=True, slots=True)
class SKAHDRNetConfig:
    """Width and blocks as in AHDRNet; ``attention`` picks both parts or one, for the ablation."""

    width: int = 64
    growth: int = 32
    layers: int = 6
    blocks: int = 3
    attention: Literal["both", "channel", "spatial"] = "both"

    def __post_init__(self) -> None:
        if self.attention not in ("both", "channel", "spatial"):
            raise ValueError(f"attention {self.attention!r} is none of both, channel, spatial")
        self.merge_config()  # refuses sizes that are not positive

    @property
    def has_channel(self) -> bool:
        return self.attention in ("both", "channel")

    @property
    def has_spatial(self) -> bool:
        return self.attention in ("both", "spatial")

    def merge_config(self) -> AHDRNetConfig:
        """The merging part, which is AHDRNet's."""
        return AHDRNetConfig(self.width, self.growth, self.layers, self.blocks)

    @property
    def averages_radius(self) -> int:
        """Pixels to each side that the averaged features depend on: encoder, 3x3, 5x5."""
        return 1 + 1 + 2

    @property
    def attention_radius(self) -> int:
        """3x3 and 3x3, the 5x5 branch, the 7x7 spatial part."""
        return 2 + 2 * self.has_channel + 3 * self.has_spatial

    @property
    def receptive_radius(self) -> int:
        """Pixels that an output depends on to each side, global averages aside."""
        return 1 + self.attention_radius + self.merge_config().merge_radius


class SelectiveKernel(nn.Module):
    """Chooses a receptive field for each channel (Li et al. 2019, section 3.1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = max(width // 16, 32)
        self.branches = nn.ModuleList((conv(width, width, 3), conv(width, width, 5)))
        self.squeeze = nn.Linear(width, squeezed)
        self.select = nn.ModuleList(nn.Linear(squeezed, width) for _ in self.branches)

    def branch_features(self, x: Tensor) -> list[Tensor]:
        return [F.relu(branch(x)) for branch in self.branches]

    def forward(self, x: Tensor, averages: Tensor | None = None) -> Tensor:
        """``averages`` (B, width): the global mean of the branches' sum; None takes x's own."""
        features = self.branch_features(x)
        if averages is None:
            averages = sum(features).mean(dim=(-2, -1))  # type: ignore[union-attr]
        code = F.relu(self.squeeze(averages))
        choice = torch.stack([select(code) for select in self.select]).softmax(dim=0)
        weighted = [f * c[..., None, None] for f, c in zip(features, choice, strict=True)]
        return torch.stack(weighted).sum(dim=0)


class SpatialAttention(nn.Module):
    """Where to look: [max, mean over channels] -> 7x7 -> (B, 1, h, w) in (0, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = conv(2, 1, 7)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)), dim=1)
        return torch.sigmoid(self.weigh(pooled))


class SKAttention(nn.Module):
    """What of a frame's features to keep, given the reference's: (B, width, h, w) in (0, 1)."""

    def __init__(self, config: SKAHDRNetConfig) -> None:
        super().__init__()
        width = config.width
        self.compare = conv(2 * width, width)
        self.channel = SelectiveKernel(width) if config.has_channel else None
        self.spatial = SpatialAttention() if config.has_spatial else None
        self.gate = conv(width, width)

    def compared(self, frame: Tensor, reference: Tensor) -> Tensor:
        return F.relu(self.compare(torch.cat((frame, reference), dim=1)))

    def forward(self, frame: Tensor, reference: Tensor, averages: Tensor | None = None) -> Tensor:
        x = self.compared(frame, reference)
        if self.channel is not None:
            x = self.channel(x, averages)
        if self.spatial is not None:
            x = x * self.spatial(x)
        return torch.sigmoid(self.gate(x))


class SKAHDRNet(nn.Module):
    """Encoded frames (B, 3, 6, h, w), short, reference, long -> radiance (B, 3, h, w) in (0, 1).

    Wherever ``averages`` (B, ``averaged_channels``) is taken it is the mean of ``averaged`` over
    the whole image; None computes it from the frames given, which then have to be whole.
    """

    def __init__(self, config: SKAHDRNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or SKAHDRNetConfig()
        self.receptive_radius = self.config.receptive_radius
        self.averages_radius = self.config.averages_radius
        self.averaged_channels = len(SLOTS) * self.config.width * self.config.has_channel
        self.encoder = conv(6, self.config.width)
        self.attention = nn.ModuleList(SKAttention(self.config) for _ in SLOTS)
        self.merge = Merge(self.config.merge_config())
        self.apply(start_xavier)

    def forward(self, frames: Tensor, averages: Tensor | None = None) -> Tensor:
        short, reference, long = encode_features(self.encoder, frames)
        means = self._split(averages)
        short = short * self.attention[0](short, reference, means[0])
        long = long * self.attention[1](long, reference, means[1])
        features = self.merge.enter(torch.cat((short, reference, long), dim=1))
        del short, long  # a fifth of the peak memory
        radiance: Tensor = self.merge(features, reference)
        return radiance

    def attention_maps(self, frames: Tensor, averages: Tensor | None = None) -> dict[str, Tensor]:
        """What is kept of the short and of the long frame: (B, width, h, w) in (0, 1) each."""
        short, reference, long = encode_features(self.encoder, frames)
        gated = zip(SLOTS, self.attention, (short, long), self._split(averages), strict=True)
        return {slot: gate(frame, reference, mean) for slot, gate, frame, mean in gated}

    def averaged(self, frames: Tensor) -> Tensor:
        """The features (B, ``averaged_channels``, h, w) whose mean the selective kernels use."""
        short, reference, long = encode_features(self.encoder, frames)
        sums = []
        for gate, frame in zip(self.attention, (short, long), strict=True):
            assert isinstance(gate, SKAttention) and gate.channel is not None
            sums.append(sum(gate.channel.branch_features(gate.compared(frame, reference))))
        return torch.cat(sums, dim=1)  # type: ignore[arg-type]

    def _split(self, averages: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
        if averages is None or not self.config.has_channel:
            return None, None
        first, second = averages.chunk(2, dim=1)
        return first, second
