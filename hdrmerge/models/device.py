"""Where a network runs."""

from __future__ import annotations

import torch

from hdrmerge.errors import ResourceError, UsageError


def select_device(name: str = "auto") -> torch.device:
    """``auto`` (the first of cuda, mps, cpu that is there), or the one named.

    Raises ResourceError when the device asked for is not there, UsageError for an unknown name.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(device for device, available in there.items() if available))
    if name not in there:
        raise UsageError(f"There is no device {name!r}.", "Known are auto, cpu, cuda, mps.")
    if not there[name]:
        missing = {"cuda": "an NVIDIA GPU and a torch built for CUDA", "mps": "an Apple GPU"}
        raise ResourceError(
            f"The device {name} is not available.",
            f"It needs {missing[name]}; use --device auto or cpu.",
        )
    return torch.device(name)


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use."""
    return int(torch.cuda.device_count()) if torch.cuda.is_available() else 0
