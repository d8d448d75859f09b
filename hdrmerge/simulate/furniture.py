"""What stands in the procedural room, and who walks through it. Metres; x right, y up, z away."""

from __future__ import annotations

import math

from hdrmerge.simulate.tracing import Box, Capsule, Frustum, Solid

LEFT = -2.5  # the wall that the shelf leans on


def _legs(x0: float, x1: float, z0: float, z1: float, top: float) -> list[Solid]:
    w = 0.05
    return [
        Box((x, 0.0, z), (x + w, top, z + w), "wood") for x in (x0, x1 - w) for z in (z0, z1 - w)
    ]


def furniture() -> list[Solid]:
    solids: list[Solid] = [
        Box((1.05, 0.70, 3.25), (2.35, 0.75, 4.25), "wood"),
        *_legs(1.1, 2.3, 3.3, 4.2, 0.70),
        Box((-1.45, 0.78, 4.40), (0.85, 0.82, 4.60), "paint"),
        Capsule((1.62, 0.76, 3.75), (1.62, 0.78, 3.75), 0.10, "brass"),
        Capsule((1.62, 0.78, 3.75), (1.62, 1.10, 3.75), 0.014, "brass"),
        Frustum((1.62, 1.06, 3.75), 0.27, 0.20, 0.12, "shade"),
        Box((1.22, 0.75, 3.45), (1.46, 0.79, 3.62), "red"),
        Box((1.24, 0.79, 3.46), (1.44, 0.82, 3.61), "blue"),
        Capsule((2.08, 0.83, 3.55), (2.081, 0.83, 3.55), 0.08, "glaze"),
        Box((0.35, 0.42, 2.75), (0.80, 0.46, 3.2), "wood"),
        *_legs(0.37, 0.78, 2.77, 3.18, 0.42),
        Capsule((-0.75, 0.16, 3.1), (-0.749, 0.16, 3.1), 0.16, "ball"),
        Box((LEFT, 0.0, 1.7), (LEFT + 0.30, 2.2, 3.55), "books"),
        Capsule((-1.9, 0.08, 4.15), (-1.9, 0.28, 4.15), 0.16, "clay"),
    ]
    for i in range(18):  # a plant: stalks that bend over
        turn, reach = i * 2.4, 0.16 + 0.3 * (i % 5) / 4
        lift = 0.62 + 0.5 * ((i * 3) % 7) / 6 - 0.4 * reach
        points = [
            (
                -1.9 + f * reach * math.cos(turn),
                0.42 + g * lift,
                4.12 + 0.6 * f * reach * math.sin(turn),
            )
            for f, g in ((0, 0), (0.25, 0.55), (0.65, 0.92), (1.2, 1.0), (1.75, 0.86))
        ]
        for a, b, thick in zip(points, points[1:], (0.008, 0.016, 0.02, 0.012), strict=False):
            solids.append(Capsule(a, b, thick, "leaf"))
    return solids


def walker(phase: float) -> list[Solid]:
    """Somebody crossing the room from left to right; ``phase`` in steps, 0 = in mid-window."""
    x, z = -0.42 + 0.30 * phase, 2.75
    swing = 0.30 * math.cos(math.pi * phase + 0.6)
    hip, shoulder = 0.95, 1.45
    solids: list[Solid] = [
        Capsule((x, 1.06, z), (x + 0.02, 1.38, z), 0.155, "shirt"),
        Capsule((x, 0.95, z), (x, 1.0, z), 0.145, "trousers"),
        Capsule((x + 0.02, 1.45, z), (x + 0.03, 1.55, z), 0.055, "skin"),
        Capsule((x + 0.04, 1.64, z), (x + 0.04, 1.70, z), 0.095, "skin"),
        Capsule((x + 0.015, 1.70, z), (x + 0.025, 1.735, z), 0.1, "hair"),
    ]
    for side in (-1, 1):
        s = side * swing
        knee = (x + 0.5 * s + 0.05, 0.5, z + 0.08 * side)
        foot = (x + s - 0.02, 0.08, z + 0.08 * side)
        elbow = (x - 0.55 * s - 0.02, 1.18, z + 0.2 * side)
        hand = (x - 0.9 * s + 0.08, 0.98, z + 0.18 * side)
        solids += [
            Capsule((x, hip, z + 0.08 * side), knee, 0.085, "trousers"),
            Capsule(knee, foot, 0.062, "trousers"),
            Capsule(foot, (foot[0] + 0.14, 0.05, foot[2]), 0.045, "shoe"),
            Capsule((x + 0.02, shoulder - 0.06, z + 0.18 * side), elbow, 0.055, "shirt"),
            Capsule(elbow, hand, 0.04, "skin"),
        ]
    return solids


# Reflectances of what has no texture.
PLAIN: dict[str, tuple[float, float, float]] = {
    "paint": (0.62, 0.60, 0.55), "brass": (0.34, 0.22, 0.07), "shade": (0.7, 0.6, 0.45),
    "red": (0.35, 0.04, 0.03), "blue": (0.04, 0.09, 0.25), "glaze": (0.05, 0.25, 0.27),
    "ball": (0.60, 0.14, 0.02), "clay": (0.33, 0.13, 0.06), "leaf": (0.045, 0.13, 0.03),
    "shirt": (0.07, 0.20, 0.36), "trousers": (0.075, 0.075, 0.1), "skin": (0.42, 0.24, 0.16),
    "hair": (0.025, 0.015, 0.01), "shoe": (0.02, 0.02, 0.02),
}  # fmt: skip
