"""What a network costs: parameters, and multiply-adds a pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


def parameters(network: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in network.parameters())


def multiply_adds(network: nn.Module, run: Callable[[], Any], pixels: int) -> float:
    """Multiply-adds a pixel of the convolutions that ``run()`` makes ``network`` do.

    ``pixels`` is the number of pixels of the image that ``run`` processes. Fully connected layers
    behind a global average are done once an image, whatever its size, and are not counted.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        source = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
        taps = layer.weight[0].numel()
        total += source.shape[0] * source.shape[1] * source.shape[-2] * source.shape[-1] * taps

    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return total / pixels
