"""What an eye sees: thresholds, contrast sensitivity, and how strong a contrast appears."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def cone_threshold(adaptation: Array | float) -> Array:
    """Photopic, Ferwerda et al. 1996, eq. 1; ``adaptation`` in cd/m2, positive."""
    log = np.log10(adaptation)
    bend = np.maximum(0.249 * log + 0.65, 0) ** 2.7 - 0.72
    return np.asarray(10 ** np.where(log <= -2.6, -0.72, np.where(log >= 1.9, log - 1.255, bend)))


def rod_threshold(adaptation: Array | float) -> Array:
    """Scotopic, Ferwerda et al. 1996, eq. 2; ``adaptation`` in scotopic cd/m2, positive."""
    log = np.log10(adaptation)
    bend = np.maximum(0.405 * log + 1.6, 0) ** 2.18 - 2.86
    return np.asarray(
        10 ** np.where(log <= -3.94, -2.86, np.where(log >= -1.44, log - 0.395, bend))
    )


def threshold(adaptation: Array) -> Array:
    """Of rods or cones, whichever see less: Ward Larson et al. 1997, table 1."""
    return np.minimum(cone_threshold(adaptation), rod_threshold(adaptation))


def sensitivity(frequency: float, adaptation: Array | float) -> Array:
    """Contrast sensitivity of Daly 1993, "The visible differences predictor", eq. 14.3.

    ``frequency`` in cycles a degree; ``adaptation`` in cd/m2; a picture of a square degree, seen
    along the horizontal from half a metre.
    """
    adaptation = np.asarray(adaptation, dtype=np.float64)
    height = 0.801 * (1 + 0.7 / adaptation) ** -0.2
    width = 0.3 * (1 + 100 / adaptation) ** 0.15

    def at(rho: float) -> Array:
        spread = np.minimum(width * 0.9 * rho, 300.0)  # beyond, nothing is seen
        size = ((3.23 * rho**-0.6) ** 5 + 1) ** -0.2
        return np.asarray(
            size * height * 0.9 * rho * np.exp(-spread) * np.sqrt(1 + 0.06 * np.exp(spread))
        )

    distance = 0.856 * 0.5**0.14
    return 250.0 * np.minimum(at(frequency), at(frequency / distance))


def transducer(contrast: Array, sensitivity: Array) -> Array:
    """How strong a contrast (log10, >= 0) appears, in steps of its threshold: Wilson 1980.

    The constants are those of Mantiuk et al. 2008, eq. 5.
    """
    strength = sensitivity * (10.0**contrast - 1)
    above = 3.291 * ((1 + strength**3) ** (1 / 3) - 1)
    return np.asarray(above / (0.2599 * (3.433 + strength) ** 0.8))
