"""The input convention of the three-frame networks, and its undoing: nothing else knows it.

Kalantari and Ramamoorthi 2017, kept by AHDRNet and its successors: frame k enters as six channels,
the display-encoded image I_k = x_k^(1/2.2) and its linear version H_k = x_k / t_k, with x_k linear
in [0, 1] (1 = saturation of that frame) and t_k relative to the *shortest* of the frames given.
So 1.0 in H, and in what the networks return, is the saturation of the shortest frame. Their data
has no camera tone curve: a camera's JPEG is linearised by its own response first.
"""

from __future__ import annotations

import torch
from torch import Tensor

GAMMA = 2.2


def encode_pairs(linear: Tensor, exposures: Tensor) -> Tensor:
    """Frames as the networks take them.

    ``linear`` (B, N, 3, h, w), 0 = black, 1 = saturation of each frame, clipped to that range;
    ``exposures`` (B, N) relative, in any unit. Returns (B, N, 6, h, w): I, then H.
    """
    clipped = linear.clamp(0.0, 1.0)
    relative = exposures.amin(dim=1, keepdim=True) / exposures
    pair = (clipped ** (1.0 / GAMMA), clipped * relative[:, :, None, None, None])
    return torch.cat(pair, dim=2)


def decode_radiance(output: Tensor, exposures: Tensor) -> Tensor:
    """Undo the networks' scale: (B, 3, h, w) with 1 = the shortest frame's saturation -> radiance.

    ``exposures`` (B, N) of the frames given to ``encode_pairs``, with the reference's exposure 1:
    then radiance 1 is the reference's saturation.
    """
    return output / exposures.amin(dim=1)[:, None, None, None]
