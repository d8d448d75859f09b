"""Which three frames of a bracket a published network is given, and what to say of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hdrmerge.errors import StackError
from hdrmerge.models.header import read_header
from hdrmerge.models.registry import make_config
from hdrmerge.models.resolve import ResolvedWeights
from hdrmerge.stack import ExposureStack

PUBLISHED = (2.0, 2.0)  # stops from the short frame to the reference, and on to the long one
TOLERANCE = 0.5  # stops; the networks know the spacing that they were trained on, and no other


@dataclass(frozen=True, slots=True)
class Triple:
    """Three frames of a stack for a direct network: ``frames`` are indices (short, reference,
    long); ``warnings`` say where they are not what the network was trained for."""

    frames: tuple[int, int, int]
    warnings: tuple[str, ...]


def choose_three(stack: ExposureStack, weights: ResolvedWeights | None = None) -> Triple:
    """The reference and the two frames that suit a direct network best.

    A shorter and a longer one, each as near as there is to the spacing that the ``weights`` were
    trained on. Where the reference is the shortest or longest of the bracket, the two nearest on
    its other side, which such networks have not seen. Raises StackError for fewer than three
    frames.
    """
    if len(stack) < 3:
        raise StackError(
            "This network takes three frames, the bracket has two.",
            "Use the default network or --deghost classic, which take any number.",
        )
    steps = trained_steps(weights)
    stops = np.log2(stack.exposures)
    reference = stack.reference

    def misfit(k: int) -> float:
        return abs(abs(float(stops[k])) - steps[int(k > reference)])

    shorter = sorted(range(reference), key=misfit)
    longer = sorted(range(reference + 1, len(stack)), key=misfit)
    warnings = []
    if shorter and longer:
        short, long = shorter[0], longer[0]
    else:
        short, long = sorted((shorter or longer)[:2])
        warnings.append(
            "The reference is the "
            + ("longest" if shorter else "shortest")
            + " exposure; this network expects it in the middle."
        )
    for k in (short, long):
        if misfit(k) > TOLERANCE:
            warnings.append(
                f"{stack.frames[k].path.name} is {stops[k]:+.1f} stops from the reference; this "
                f"network was trained for {steps[int(k > reference)]:g} and may fail."
            )
    return Triple((short, reference, long), (*warnings, *_narrow(weights)))


def trained_steps(weights: ResolvedWeights | None) -> tuple[float, float]:
    """Stops from the short frame to the reference and on to the long one in training; as published
    where the weights do not say."""
    if weights is None:
        return PUBLISHED
    text = read_header(weights.path).metadata.get("stops", "")
    try:
        short, reference, long = (float(word) for word in text.split(","))
    except ValueError:
        return PUBLISHED
    return reference - short, long - reference


def _narrow(weights: ResolvedWeights | None) -> tuple[str, ...]:
    """Says so where the weights are of a narrower network than the published one."""
    if weights is None:
        return ()
    used = make_config(weights.model, read_header(weights.path).config())
    published = make_config(weights.model)
    if used.width >= published.width:
        return ()
    return (
        f"{weights.name} is a narrow {weights.model}: {used.width} of the published "
        f"{published.width} feature channels.",
    )
