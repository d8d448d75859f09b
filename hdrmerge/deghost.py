"""How ghosts are dealt with: what is asked for, and the decisions it leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError
from hdrmerge.frames import Decisions
from hdrmerge.models.manifest import is_direct
from hdrmerge.models.resolve import ResolvedWeights, resolve_weights
from hdrmerge.stack import ExposureStack

if TYPE_CHECKING:
    from hdrmerge.fusion.noise import NoiseModel

REFINER = "refiner"


@dataclass(frozen=True, slots=True)
class Method:
    """How ghosts are dealt with. ``kind``: ``off``, ``classic``, ``network`` (ours; the merge
    carries the radiance) or ``reconstruct`` (a published network that makes the radiance).

    ``weights`` name the method; ``refiner``: those that refine what the merge leaves noisy.
    """

    kind: str
    weights: ResolvedWeights | None = None
    refiner: ResolvedWeights | None = None

    def uses_torch(self, device: str) -> bool:
        """Whether a merge on this device imports torch, which takes a gigabyte."""
        decides = self.weights is not None and self.weights.model != REFINER
        return decides or (self.refiner is not None and not _portable(self.refiner, device))


def choose_method(config: MergeConfig) -> Method:
    """What ``config`` asks for, its weights found and checked before any work is done.

    Raises WeightsError for missing or damaged weights, UsageError for options that contradict.
    """
    asked = config.model is not None or config.weights is not None
    if config.deghost in ("classic", "off"):
        if asked:
            raise UsageError(
                f"--deghost {config.deghost} uses no network.", "Leave out --model and --weights."
            )
        _check_attention(config, config.deghost)
        return Method(config.deghost)
    weights = resolve_weights(config.weights, config.model)
    kind = "reconstruct" if is_direct(weights.model) else "network"
    _check_attention(config, kind)
    if kind == "reconstruct" or not config.refine:
        return Method(kind, weights)
    own = weights.model == REFINER
    return Method(kind, weights, weights if own else resolve_weights(None, REFINER))


def _check_attention(config: MergeConfig, kind: str) -> None:
    if config.attention and kind != "reconstruct":
        raise UsageError(
            "Only the published networks have an attention map.",
            "Add --model ahdrnet or --model sk-ahdrnet; what others reject is in --ghost-map.",
        )


def decide(
    stack: ExposureStack,
    noise: NoiseModel,
    method: Method,
    config: MergeConfig,
    progress: Callable[[str, float], None],
) -> Decisions | None:
    """What each frame is trusted with; None where nothing is decided (off, reconstruct)."""
    if method.kind not in ("network", "classic"):
        return None
    if method.weights is not None and method.weights.model != REFINER:
        from hdrmerge.fusion import learned

        return learned.decide(stack, config, noise, weights=method.weights, progress=progress)
    from hdrmerge.fusion import classic

    return classic.decide(stack.proxy(config.proxy_pixels), noise)


def refine(
    radiance: NDArray[np.floating[Any]],
    decisions: Decisions,
    stack: ExposureStack,
    noise: NoiseModel,
    weights: ResolvedWeights,
    config: MergeConfig,
    progress: Callable[[str, float], None],
) -> float:
    """Refine a merge (H, W, 3) in place; the fraction of pixels that changed.

    Runs without torch unless a GPU is asked for or the weights are not the shipped ones.
    """
    from hdrmerge.fusion.refine import refine as refine_tiles

    if portable := _portable(weights, config.device):
        from hdrmerge.models.portable import load_portable

        network = load_portable(portable)
    else:
        from hdrmerge.fusion.learned import load_refiner

        network = load_refiner(weights, config.device)
    return refine_tiles(radiance, decisions, stack, noise, network, progress=progress)


def _portable(weights: ResolvedWeights, device: str) -> Path | None:
    """The form of a network that runs without torch, where there is one for the device."""
    return weights.portable if device in ("auto", "cpu") else None
