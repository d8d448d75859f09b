"""Make the files that run without torch from shipped weights: weights/NAME.onnx.

    pip install onnx && python tools/make_portable.py refiner-1

Writes beside the safetensors and prints the sha256 for the manifest (``portable``).
"""

from __future__ import annotations

import sys

import torch

from hdrmerge.models.checkpoint import load_network
from hdrmerge.models.header import file_sha256
from hdrmerge.models.manifest import PORTABLE, shipped
from hdrmerge.models.refiner import INPUTS, Refiner


class Within(torch.nn.Module):
    """A refiner between folded pixels, without borders."""

    def __init__(self, network: Refiner) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.within(x)


def main(name: str) -> None:
    manifest = shipped()
    path = manifest.path(manifest.entries[name])
    network = load_network(path)
    assert isinstance(network, Refiner)
    out = path.with_suffix(PORTABLE)
    sides = {2: "height", 3: "width"}
    torch.onnx.export(
        Within(network).eval(),
        (torch.zeros(1, 4 * INPUTS, 97, 97),),
        str(out),
        input_names=["x"],
        output_names=["noise"],
        dynamic_axes={"x": sides, "noise": sides},
        opset_version=13,
        dynamo=False,
    )
    sys.stdout.write(f"{out.name} {file_sha256(out)}\n")


if __name__ == "__main__":
    main(sys.argv[1])
