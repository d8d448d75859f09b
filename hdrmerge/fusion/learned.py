"""Fusing with a network: the one place where numpy images meet torch.

A deciding network (ours) says what to trust, and the radiometric merge carries the radiance; a
direct network (AHDRNet and its kin) makes the radiance itself from exactly three frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdrmerge.config import Device, MergeConfig
from hdrmerge.errors import ResourceError, UsageError, WeightsError
from hdrmerge.frames import Decisions, FloatArray, RadianceMap
from hdrmerge.fusion import classic
from hdrmerge.fusion.displaced import borrow
from hdrmerge.fusion.fill import fill_clipped
from hdrmerge.fusion.noise import NoiseModel
from hdrmerge.fusion.radiometric import unclipped
from hdrmerge.fusion.triple import Triple, choose_three
from hdrmerge.models.checkpoint import load_network
from hdrmerge.models.device import select_device
from hdrmerge.models.encoding import decode_radiance, encode_pairs
from hdrmerge.models.refiner import Refiner
from hdrmerge.models.resolve import ResolvedWeights, resolve_weights
from hdrmerge.models.tiling import Precision, is_out_of_memory, run_tiled
from hdrmerge.stack import ExposureStack

Progress = Callable[[str, float], None]


def decide(
    stack: ExposureStack,
    config: MergeConfig,
    noise: NoiseModel,
    *,
    weights: ResolvedWeights | None = None,
    progress: Progress | None = None,
) -> Decisions:
    """What a deciding network trusts and fills, at the resolution of the stack's proxy.

    ``weights``: those that ``config`` asks for, where they are known already.

    The classical judgement is its prior: what either of the two sees as moving is rejected, for
    they miss different things. Where nothing can be trusted its fill and the classical one are
    averaged, and what a shorter frame shows displaced is put over both. Raises WeightsError when
    there are no such weights, ResourceError when memory or the device asked for is missing.
    """
    from hdrmerge.models.bracket import bracket_of
    from hdrmerge.models.decider import Decider

    network, weights = _load(config, weights)
    if not isinstance(network, Decider):
        raise WeightsError(
            f"{weights.name} holds weights of {weights.model}, which decides nothing.",
            f"Use --model {weights.model} with them.",
        )
    proxy = stack.proxy(config.proxy_pixels)
    linear, below, judged = classic.judge(proxy, noise)
    prior = torch.from_numpy(judged)[None].to(_device(network))
    bracket = bracket_of(proxy, noise, unclipped, str(_device(network)))
    try:
        with torch.inference_mode():
            decision = network(bracket, prior)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ResourceError(
            "There is not enough memory for the network.",
            "Use --device cpu, close other programs, or --deghost classic.",
        ) from error
    if progress is not None:
        progress("deghost", 1.0)
    trust, fill = _numpy(decision.trust[0]), _numpy(decision.fill[0].movedim(0, -1))
    spread = fill_clipped(proxy, linear, below, trust)
    if spread is not None:
        both = np.sqrt(spread * np.maximum(fill, np.float32(1.0)))
        fill = borrow(proxy, linear, below, trust, both)
    return Decisions(trust=trust, fill=fill, fill_weight=_numpy(decision.fill_weight[0]))


def reconstruct(
    stack: ExposureStack,
    config: MergeConfig,
    *,
    weights: ResolvedWeights | None = None,
    triple: Triple | None = None,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> RadianceMap:
    """The radiance that a direct network makes of three frames of the stack.

    ``weights`` and ``triple``: what ``config`` and ``choose_three`` say, where it is known already.
    The frames are linearised by the stack's response, white-balanced, warped to the reference, and
    encoded as the network knows them; the reference's saturation is 1 in the result, the shortest
    frame's is the most it can reach. Raises StackError for fewer than three frames, WeightsError,
    ResourceError.
    """
    network, found = _load(config, weights)
    triple = triple or choose_three(stack, found)
    linear, exposures = _three_frames(stack, triple)
    on_device = exposures.to(_device(network))
    outputs = run_tiled(
        network,
        linear,
        config.tile,
        prepare=lambda crop: encode_pairs(crop, on_device),
        precision=precision,
        progress=None if progress is None else lambda part: progress("fuse", part),
    )
    del linear
    radiance = _numpy(decode_radiance(outputs.pop("output"), exposures)[0].movedim(0, -1))
    frame = stack.frames[stack.reference]
    radiance *= np.float32(min(frame.white_balance))
    if not np.array_equal(frame.to_rec709, np.eye(3)):
        radiance = radiance @ frame.to_rec709.astype(np.float32).T
    return RadianceMap(np.maximum(radiance, np.float32(0)))


def attention_maps(
    stack: ExposureStack,
    config: MergeConfig,
    *,
    weights: ResolvedWeights | None = None,
    triple: Triple | None = None,
) -> dict[str, FloatArray]:
    """Where a direct network looks in the ``short`` and the ``long`` frame of its three.

    (H, W) float32 in [0, 1] each, the mean over the feature channels. ``weights`` and ``triple`` as
    in ``reconstruct``. Raises what that raises, and UsageError for a network without attention.
    """
    network, found = _load(config, weights)
    triple = triple or choose_three(stack, found)
    if not getattr(network, "attention", True):
        raise UsageError(f"The network of {found.name} has no attention.", "Leave out the map.")
    linear, exposures = _three_frames(stack, triple)
    on_device = exposures.to(_device(network))

    def look(frames: Tensor, **averages: Tensor) -> dict[str, Tensor]:
        maps: dict[str, Tensor] = network.attention_maps(frames, **averages)  # type: ignore[operator]
        return {slot: values.mean(dim=1) for slot, values in maps.items()}

    maps = run_tiled(
        network,
        linear,
        config.tile,
        function=look,
        prepare=lambda crop: encode_pairs(crop, on_device),
    )
    return {slot: _numpy(values[0]) for slot, values in maps.items()}


def load_refiner(weights: ResolvedWeights, device: Device) -> Callable[[FloatArray], FloatArray]:
    """A refiner by torch: folded inputs to what it says of the part within; ``fusion.refine``."""
    network = load_network(weights.path, select_device(device))
    if not isinstance(network, Refiner):
        raise WeightsError(f"{weights.path} holds no refiner.", "Give the weights of one.")

    def run(x: FloatArray) -> FloatArray:
        with torch.inference_mode():
            return _numpy(network.within(torch.from_numpy(x)[None].to(_device(network)))[0])

    return run


def _load(
    config: MergeConfig, weights: ResolvedWeights | None = None
) -> tuple[nn.Module, ResolvedWeights]:
    weights = weights or resolve_weights(config.weights, config.model)
    return load_network(weights.path, select_device(config.device)), weights


def _three_frames(stack: ExposureStack, triple: Triple) -> tuple[Tensor, Tensor]:
    """Linear frames (1, 3, 3, H, W) in the reference's geometry and their exposures (1, 3).

    White balance is applied with 1 as its smallest factor, so that what clips is white when the
    encoding cuts at 1: these networks know white-balanced pictures, and no camera's raw colours.
    Beyond a frame's border stands what the reference shows, at that frame's exposure: a sample
    without news, rather than a black one that looks like motion.
    """
    height, width = stack.shape
    linear = np.empty((3, 3, height, width), np.float32)
    exposures = stack.exposures[list(triple.frames)]
    balance = np.asarray(stack.frames[triple.frames[1]].white_balance, np.float32)
    balance /= balance.min()
    reference, _ = stack.linear(triple.frames[1])
    for slot, k in enumerate(triple.frames):
        values, valid = (reference, None) if slot == 1 else stack.linear(k)
        if valid is not None and not valid.all():
            values = np.where(valid[..., None], values, reference * np.float32(exposures[slot]))
        linear[slot] = (values * balance).transpose(2, 0, 1)
    return torch.from_numpy(linear)[None], torch.from_numpy(exposures.astype(np.float32))[None]


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _numpy(tensor: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
