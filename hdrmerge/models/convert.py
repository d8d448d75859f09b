"""AHDRNet weights in the layout of the published code and its many descendants, made ours.

Its keys: ``conv1`` (encoder), ``att11 att12 att31 att32`` (attention of the short and of the long
frame), ``conv2``, ``RDB1..3.dense_layers.I.conv`` and ``.conv_1x1``, ``GFF_1x1``, ``GFF_3x3``,
``conv_up``, ``conv3``; also ``attConv1`` and ``attConv3``, which no output depends on. The input
convention is ``encoding``'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hdrmerge.errors import HdrMergeError, WeightsError
from hdrmerge.models.ahdrnet import AHDRNet, AHDRNetConfig
from hdrmerge.models.checkpoint import check_tensors
from hdrmerge.models.header import read_header

_LAYERS = {
    "conv1": "encoder",
    "att11": "attention.0.compare",
    "att12": "attention.0.gate",
    "att31": "attention.1.compare",
    "att32": "attention.1.gate",
    "conv2": "merge.enter",
    "GFF_1x1": "merge.gather",
    "GFF_3x3": "merge.smooth",
    "conv_up": "merge.leave",
    "conv3": "merge.radiance",
}
_UNUSED = ("attConv1", "attConv3")
_BLOCK = re.compile(r"RDB(\d+)\.(?:dense_layers\.(\d+)\.conv|(conv_1x1))")


def from_published(tensors: Mapping[str, Tensor]) -> tuple[AHDRNetConfig, dict[str, Tensor]]:
    """Configuration and tensors of our AHDRNet from a state dict in the published layout.

    Width, growth, layers and blocks are read off the shapes; ``module.`` before a name (data
    parallel training) is dropped, and a 1x1 convolution without bias gets zeros. Raises
    WeightsError when a name is unknown or missing or a shape does not fit.
    """
    named: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        layer, _, kind = key.removeprefix("module.").rpartition(".")
        if layer not in _UNUSED:
            named[f"{_our_layer(layer, key)}.{kind}"] = tensor.detach().float()
    blocks = {int(n.split(".")[2]) for n in named if n.startswith("merge.blocks.")}
    layers = {int(n.split(".")[4]) for n in named if re.match(r"merge\.blocks\.0\.layers\.", n)}
    try:
        config = AHDRNetConfig(
            width=named["encoder.weight"].shape[0],
            growth=named["merge.blocks.0.layers.0.weight"].shape[0],
            layers=len(layers),
            blocks=len(blocks),
            attention="attention.0.gate.weight" in named,
        )
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"These are not weights of AHDRNet in the published layout: {error}."
        ) from error
    for name in [n for n in named if n.endswith("project.weight")]:
        bias = name.removesuffix("weight") + "bias"
        named.setdefault(bias, torch.zeros(named[name].shape[0]))
    with torch.device("meta"):
        expected = AHDRNet(config).state_dict()
    check_tensors(
        {name: tuple(tensor.shape) for name, tensor in expected.items()},
        {name: tuple(tensor.shape) for name, tensor in named.items()},
        "These are not weights of AHDRNet in the published layout",
    )
    return config, named


def read_published(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth (tensors only, no code is run) or .safetensors file.

    A training checkpoint's ``state_dict`` or ``model`` is taken out. Raises WeightsError.
    """
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            read_header(path)
            loaded: Any = load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except HdrMergeError:
        raise
    # a damaged pickle fails in a dozen ways that torch does not gather into one
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else None
        raise WeightsError(
            f"The weights {path} cannot be read: {reason or 'the file is damaged or no weights'}.",
            "Expected are a state dict saved by torch, tensors only, or safetensors.",
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(t, Tensor) for t in loaded.values()):
        raise WeightsError(f"{path} holds no table of tensors.")
    return {str(name): tensor for name, tensor in loaded.items()}


def _our_layer(layer: str, key: str) -> str:
    if layer in _LAYERS:
        return _LAYERS[layer]
    match = _BLOCK.fullmatch(layer)
    if match is None:
        raise WeightsError(
            f"These are not weights of AHDRNet in the published layout: {key} is unknown.",
            "Other networks that grew out of AHDRNet cannot be converted.",
        )
    block, dense, project = match.groups()
    inside = "project" if project else f"layers.{dense}"
    return f"merge.blocks.{int(block) - 1}.{inside}"
