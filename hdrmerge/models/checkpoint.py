"""Files of weights: safetensors with the network's name and configuration, never a pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hdrmerge.errors import WeightsError
from hdrmerge.models.header import FORMAT, check_content, content_sha256, parse_header
from hdrmerge.models.registry import build


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One file of weights in memory: ``tensors`` as stored, ``about`` what else was noted."""

    model: str
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    about: dict[str, str]


def checkpoint_bytes(
    model: str, config: Any, tensors: Mapping[str, Tensor], about: Mapping[str, str] | None = None
) -> bytes:
    """The contents of a file of weights; ``io.write_bytes`` writes it.

    ``config`` is the network's config dataclass; ``about`` further text for the header (recipe,
    seed). The header also carries the hash of the tensors. The same weights give the same bytes.
    """
    from safetensors.torch import save

    bare: bytes = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
    file = io.BytesIO(bare)
    header = parse_header(file, len(bare))
    metadata = {
        **(about or {}),
        "format": FORMAT,
        "model": model,
        "config": json.dumps(asdict(config), sort_keys=True),
        "content_sha256": content_sha256(file, header),
    }
    # the header is written here, for the library orders metadata at random
    table = {"__metadata__": dict(sorted(metadata.items())), **header.tensors}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bare[header.data_start :]


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check a file of ``checkpoint_bytes``.

    Raises WeightsError when the file is damaged, or is no file of weights of ours.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = check_content(path)
    if header.model is None:
        raise WeightsError(
            f"{path} does not say which network its weights are of.",
            "Weights in the published AHDRNet layout: hdrmerge weights convert.",
        )
    try:
        tensors = load_file(path)
        config = header.config()
    except (SafetensorError, ValueError, OSError) as error:
        raise WeightsError(f"{path} is not a sound file of weights: {error}.") from error
    reserved = ("format", "model", "config", "content_sha256")
    about = {key: text for key, text in header.metadata.items() if key not in reserved}
    return Checkpoint(header.model, config, tensors, about)


def network_from(checkpoint: Checkpoint, source: str) -> nn.Module:
    """The network of a checkpoint, in evaluation mode, float32; ``source`` names it in errors.

    Raises WeightsError when names or shapes of the tensors are not exactly the network's.
    """
    with torch.device("meta"):  # nothing is allocated for a configuration that does not fit
        expected = build(checkpoint.model, checkpoint.config).state_dict()
    check_tensors(
        {name: tuple(tensor.shape) for name, tensor in expected.items()},
        {name: tuple(tensor.shape) for name, tensor in checkpoint.tensors.items()},
        f"{source} does not hold the weights of {checkpoint.model}",
    )
    network = build(checkpoint.model, checkpoint.config)
    network.load_state_dict({k: v.float() for k, v in checkpoint.tensors.items()}, strict=True)
    return network.eval().requires_grad_(False)


def check_tensors(
    expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], message: str
) -> None:
    """Raise WeightsError, saying the first difference, unless names and shapes are the same."""
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) == found.get(name):
            continue
        if name not in found:
            detail = f"{name} is missing"
        elif name not in expected:
            detail = f"{name} does not belong there"
        else:
            detail = f"{name} is {found[name]}, not {expected[name]}"
        raise WeightsError(f"{message}: {detail}.", "Are they of another network or width?")


def load_network(path: Path, device: torch.device | str = "cpu") -> nn.Module:
    """The network in a file of weights, ready to run on ``device``; the same file is read once.

    Raises WeightsError.
    """
    try:
        state = path.stat()
    except OSError:
        raise WeightsError(f"There is no file of weights {path}.") from None
    return _cached_network(path.resolve(), state.st_mtime_ns, state.st_size, torch.device(device))


@lru_cache(maxsize=4)
def _cached_network(path: Path, changed: int, size: int, device: torch.device) -> nn.Module:
    """``changed`` and ``size`` make a file that was written anew a new entry."""
    network = network_from(load_checkpoint(path), path.name)
    # mypy: torch's stubs know no memory_format alone
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
