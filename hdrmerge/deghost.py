"""How ghosts are dealt with: what is asked for, and the decisions it leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError
from hdrmerge.frames import Decisions
from hdrmerge.models.manifest import is_direct
from hdrmerge.models.resolve import ResolvedWeights, resolve_weights
from hdrmerge.stack import ExposureStack

if TYPE_CHECKING:
    from hdrmerge.fusion.noise import NoiseModel


@dataclass(frozen=True, slots=True)
class Method:
    """How ghosts are dealt with. ``kind``: ``off``, ``classic``, ``network`` (it decides, the merge
    carries the radiance) or ``reconstruct`` (a published network that makes the radiance)."""

    kind: str
    weights: ResolvedWeights | None = None


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
    if config.deghost == "auto" and not asked:  # the network gains little for five times the time
        _check_attention(config, "classic")
        return Method("classic")
    weights = resolve_weights(config.weights, config.model)
    kind = "reconstruct" if is_direct(weights.model) else "network"
    _check_attention(config, kind)
    return Method(kind, weights)


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
    if method.kind == "network":
        from hdrmerge.fusion import learned

        return learned.decide(stack, config, noise, weights=method.weights, progress=progress)
    if method.kind == "classic":
        from hdrmerge.fusion import classic

        return classic.decide(stack.proxy(config.proxy_pixels), noise)
    return None
