"""What a person can ask of a merge and of a tone mapping; frozen, typed, free of heavy imports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Deghost = Literal["auto", "network", "classic", "off"]
Device = Literal["auto", "cpu", "cuda", "mps"]
DEFAULT_OPERATOR = "auto"
Colour = Literal["none", "schlick1995", "mantiuk2009", "pouli2013"]


@dataclass(frozen=True, slots=True)
class MergeConfig:
    """Options of one merge.

    ``ev``: exposure of each frame in stops in the order of the files, overrides EXIF.
    ``times``: exposure time of each frame in seconds, likewise. ``response``: ``auto``, ``srgb``,
    ``linear``, ``gamma:VALUE``, ``estimate``, ``debevec`` or the path of a saved response.
    ``reference``: index of the reference frame in the order of the files, or None for the best
    exposed; ``between``: of those that have a shorter and a longer one.
    ``attention``: also say what a published network attends to. ``refine``: take out the noise of
    what a network's deghosting leaves to few frames.
    """

    ev: tuple[float, ...] | None = None
    times: tuple[float, ...] | None = None
    response: str = "auto"
    reference: int | None = None
    align: bool = True
    deghost: Deghost = "auto"
    model: str | None = None
    weights: str | None = None
    device: Device = "auto"
    tile: int | None = None
    proxy_pixels: int = 1_500_000
    attention: bool = False
    between: bool = False
    refine: bool = True


@dataclass(frozen=True, slots=True)
class TonemapConfig:
    """Options of a tone mapping: the operator's name and its parameters by name.

    ``exposure`` brightens by stops. ``colour`` is the saturation correction and ``saturation`` its
    strength; None: what goes with the operator.
    """

    operator: str = DEFAULT_OPERATOR
    exposure: float = 0.0
    parameters: dict[str, float] = field(default_factory=dict)
    colour: Colour | None = None
    saturation: float | None = None
