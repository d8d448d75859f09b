"""AHDRNet (Yan et al., "Attention-guided Network for Ghost-free HDR Imaging", CVPR 2019).

Three frames, the middle one the reference, enter as pairs (see ``encoding``); the others are gated
by attention against the reference, and dilated residual dense blocks merge them into radiance.
The configuration's flags are the rows of the paper's ablation table.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LARGEST = {"width": 1024, "growth": 1024, "layers": 32, "blocks": 32, "depth": 32}

SLOTS = ("short", "long")  # the two frames that are gated, in the order of their modules


@dataclass(frozen=True, slots=True)
class AHDRNetConfig:
    """AHDRNet as published, and what its ablation changes.

    ``width`` feature channels; ``blocks`` blocks in series, each of ``layers`` dense convolutions
    of ``growth`` channels. ``attention`` False hands the frames on ungated (DRDB-Net); ``dilated``
    False drops the dilation of 2 (A-RDB-Net); ``dense`` False puts ``depth`` plain residual blocks
    in the place of each dense one (RB-Net, and Deep-RB-Net with a depth of 4, which comes nearest
    to the dense block's parameters; that number is ours, the paper's text gives none).
    """

    width: int = 64
    growth: int = 32
    layers: int = 6
    blocks: int = 3
    attention: bool = True
    dilated: bool = True
    dense: bool = True
    depth: int = 1

    def __post_init__(self) -> None:
        # bounded, for a checkpoint's header is not to be trusted
        for name, largest in _LARGEST.items():
            size = getattr(self, name)
            if not (isinstance(size, int) and 1 <= size <= largest):
                raise ValueError(f"{name} must be 1 to {largest}, not {size!r}")

    @property
    def attention_radius(self) -> int:
        """Pixels that the attention looks to each side: two 3x3 convolutions."""
        return 2 if self.attention else 0

    @property
    def merge_radius(self) -> int:
        """Pixels that everything behind the attention looks to each side."""
        dense = self.layers * (2 if self.dilated else 1)
        block = dense if self.dense else self.depth * 2
        return 1 + self.blocks * block + 3

    @property
    def receptive_radius(self) -> int:
        """Pixels that an output depends on to each side; a tile with this halo is exact."""
        return 1 + self.attention_radius + self.merge_radius


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps the image's size, zero beyond its border."""
    return nn.Conv2d(inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation)


class DenseBlock(nn.Module):
    """Residual dense block: (B, width, h, w) -> the same shape."""

    def __init__(self, width: int, growth: int, layers: int, dilation: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            conv(width + i * growth, growth, dilation=dilation) for i in range(layers)
        )
        self.project = conv(width + layers * growth, width, size=1)

    def forward(self, x: Tensor) -> Tensor:
        features = x
        for layer in self.layers:
            features = torch.cat((features, F.relu(layer(features))), dim=1)
        projected: Tensor = self.project(features)
        return projected + x


class ResidualBlocks(nn.Module):
    """``depth`` plain residual blocks in series (RB-Net): (B, width, h, w) -> the same shape."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.first = nn.ModuleList(conv(width, width) for _ in range(depth))
        self.second = nn.ModuleList(conv(width, width) for _ in range(depth))

    def forward(self, x: Tensor) -> Tensor:
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(F.relu(first(x)))
        return x


class PairAttention(nn.Module):
    """What of a frame's features to keep, given the reference's: (B, width, h, w) in (0, 1)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.compare = conv(2 * width, 2 * width)
        self.gate = conv(2 * width, width)

    def forward(self, frame: Tensor, reference: Tensor) -> Tensor:
        compared = F.leaky_relu(self.compare(torch.cat((frame, reference), dim=1)), 0.01)
        return torch.sigmoid(self.gate(compared))


class Merge(nn.Module):
    """Merged features and the reference's, (B, width, h, w) each -> radiance (B, 3, h, w).

    The merged features are ``enter`` of the three frames' gated ones, (B, 3 * width, h, w).
    """

    def __init__(self, config: AHDRNetConfig) -> None:
        super().__init__()
        width = config.width
        self.enter = conv(3 * width, width)
        self.blocks = nn.ModuleList(
            DenseBlock(width, config.growth, config.layers, 2 if config.dilated else 1)
            if config.dense
            else ResidualBlocks(width, config.depth)
            for _ in range(config.blocks)
        )
        self.gather = conv(config.blocks * width, width, size=1)
        self.smooth = conv(width, width)
        self.leave = conv(width, width)
        self.radiance = conv(width, 3)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        outputs = []
        for block in self.blocks:
            x = block(x)
            outputs.append(x)
        x = self.smooth(self.gather(torch.cat(outputs, dim=1))) + reference
        return torch.sigmoid(self.radiance(self.leave(x)))


class AHDRNet(nn.Module):
    """Encoded frames (B, 3, 6, h, w), short, reference, long -> radiance (B, 3, h, w) in (0, 1).

    1.0 is the saturation of the shortest frame (``encoding`` makes the one and undoes the other).
    """

    averaged_channels = 0  # it uses no global statistics

    def __init__(self, config: AHDRNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or AHDRNetConfig()
        self.receptive_radius = self.config.receptive_radius
        self.encoder = conv(6, self.config.width)
        self.attention = nn.ModuleList(
            PairAttention(self.config.width) for _ in SLOTS if self.config.attention
        )
        self.merge = Merge(self.config)
        self.apply(start_xavier)

    def forward(self, frames: Tensor) -> Tensor:
        short, reference, long = encode_features(self.encoder, frames)
        if self.config.attention:
            short = short * self.attention[0](short, reference)
            long = long * self.attention[1](long, reference)
        features = self.merge.enter(torch.cat((short, reference, long), dim=1))
        del short, long  # a fifth of the peak memory
        radiance: Tensor = self.merge(features, reference)
        return radiance

    def attention_maps(self, frames: Tensor) -> dict[str, Tensor]:
        """What is kept of the short and of the long frame: (B, width, h, w) in (0, 1) each.

        Empty for the variants without attention.
        """
        short, reference, long = encode_features(self.encoder, frames)
        gated = zip(SLOTS, self.attention, (short, long), strict=False)
        return {slot: attention(frame, reference) for slot, attention, frame in gated}


def encode_features(encoder: nn.Module, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shared first layer on (B, 3, 6, h, w): three times (B, width, h, w)."""
    batch, count = frames.shape[:2]
    if count != 3:
        raise ValueError(f"three frames are needed, not {count}")
    encoded = F.leaky_relu(encoder(frames.flatten(0, 1)), 0.01)
    short, reference, long = encoded.view(batch, 3, *encoded.shape[1:]).unbind(dim=1)
    return short, reference.clone(), long  # its own memory, for it outlives the others


def start_xavier(module: nn.Module) -> None:
    """Xavier start (Glorot and Bengio 2010) of a layer's weights, biases at zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
