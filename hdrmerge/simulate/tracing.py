"""A small ray caster for the procedural room: boxes, capsules, a lampshade; all vectorised.

Points and directions are (n, 3) float32, distances (n,) along the ray, inf where nothing is hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]  # float32, with float64 in between
_FAR = np.float32(np.inf)
Vector = tuple[float, float, float]


def rgb(*values: float) -> Array:
    """A constant (3,), float32."""
    return np.array(values, np.float32)


def dot(a: Array, b: Array) -> Array:
    """Dot products of (..., 3) with (..., 3)."""
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box; ``material`` names its texture."""

    low: Vector
    high: Vector
    material: str

    def bound(self) -> tuple[Array, float]:
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        return (low + high) / 2, float(np.linalg.norm(high - low)) / 2

    def hit(self, origin: Array, direction: Array) -> Array:
        near = np.full(len(direction), -_FAR, np.float32)
        far = np.full(len(direction), _FAR, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for axis in range(3):
                inverse = 1 / direction[:, axis]
                a = (np.float32(self.low[axis]) - origin[..., axis]) * inverse
                b = (np.float32(self.high[axis]) - origin[..., axis]) * inverse
                np.fmax(near, np.fmin(a, b), out=near)
                np.fmin(far, np.fmax(a, b), out=far)
        return np.where((far > near) & (near > 1e-3), near, _FAR)

    def normal(self, points: Array) -> Array:
        centre = (np.array(self.low) + np.array(self.high)) / 2
        half = (np.array(self.high) - np.array(self.low)) / 2
        local = (points - centre.astype(np.float32)) / half.astype(np.float32)
        axis = np.abs(local).argmax(axis=1)
        out = np.zeros_like(points)
        rows = np.arange(len(points))
        out[rows, axis] = np.sign(local[rows, axis])
        return out


@dataclass(frozen=True, slots=True)
class Capsule:
    """All points within ``radius`` of the segment from ``start`` to ``end``."""

    start: Vector
    end: Vector
    radius: float
    material: str

    def bound(self) -> tuple[Array, float]:
        a, b = np.array(self.start, np.float32), np.array(self.end, np.float32)
        return (a + b) / 2, float(np.linalg.norm(b - a)) / 2 + self.radius

    def hit(self, origin: Array, direction: Array) -> Array:
        a, b = np.array(self.start, np.float32), np.array(self.end, np.float32)
        r2 = np.float32(self.radius**2)
        axis = b - a
        to = origin - a
        length2, along, offset = float(axis @ axis), direction @ axis, to @ axis
        qa = length2 - along * along
        qb = length2 * dot(direction, to) - offset * along
        qc = length2 * dot(to, to) - offset * offset - r2 * length2
        disc = qb * qb - qa * qc
        with np.errstate(divide="ignore", invalid="ignore"):
            side = (-qb - np.sqrt(np.maximum(disc, 0))) / qa
        place = offset + side * along
        best = np.where((disc >= 0) & (place > 0) & (place < length2) & (side > 1e-3), side, _FAR)
        for end in (a, b):  # the round ends
            to = origin - end
            half = dot(direction, to)
            disc = half * half - dot(to, to) + r2
            t = -half - np.sqrt(np.maximum(disc, 0))
            best = np.minimum(best, np.where((disc >= 0) & (t > 1e-3), t, _FAR))
        return best.astype(np.float32)

    def normal(self, points: Array) -> Array:
        a, b = np.array(self.start, np.float32), np.array(self.end, np.float32)
        axis = b - a
        share = np.clip(((points - a) @ axis) / max(float(axis @ axis), 1e-12), 0, 1)
        out = points - a - share[:, None] * axis
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


@dataclass(frozen=True, slots=True)
class Frustum:
    """An upright open cone stump (a lampshade): radius falls from ``bottom`` to ``top``."""

    foot: Vector
    height: float
    bottom: float
    top: float
    material: str

    def bound(self) -> tuple[Array, float]:
        middle = np.array(self.foot, np.float32) + rgb(0, self.height / 2, 0)
        return middle, float(np.hypot(self.height / 2, max(self.bottom, self.top)))

    def hit(self, origin: Array, direction: Array) -> Array:
        to = origin - np.array(self.foot, np.float32)
        slope = (self.top - self.bottom) / self.height
        reach, change = self.bottom + slope * to[..., 1], slope * direction[:, 1]
        qa = direction[:, 0] ** 2 + direction[:, 2] ** 2 - change**2
        qb = to[..., 0] * direction[:, 0] + to[..., 2] * direction[:, 2] - reach * change
        qc = to[..., 0] ** 2 + to[..., 2] ** 2 - reach**2
        disc = qb * qb - qa * qc
        root = np.sqrt(np.maximum(disc, 0))
        best = np.full(len(direction), _FAR, np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            for t in ((-qb - root) / qa, (-qb + root) / qa):
                y = to[..., 1] + t * direction[:, 1]
                good = (disc >= 0) & (t > 1e-3) & (y >= 0) & (y <= self.height)
                best = np.minimum(best, np.where(good, t, _FAR))
        return best

    def normal(self, points: Array) -> Array:
        out = points - np.array(self.foot, np.float32)
        out[:, 1] = 0
        return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9))


Solid = Box | Capsule | Frustum


def first_hit(
    solids: Sequence[Solid], eye: Array, direction: Array
) -> tuple[Array, NDArray[np.int16]]:
    """Distance from ``eye`` (3,) to the nearest solid along each direction, its index or -1."""
    best = np.full(len(direction), _FAR, np.float32)
    which = np.full(len(direction), -1, np.int16)
    for i, solid in enumerate(solids):
        centre, radius = solid.bound()
        to = centre - eye
        cosine = np.sqrt(max(float(to @ to) - radius**2, 0.0))
        rays = np.flatnonzero(direction @ to >= cosine)  # those that meet its bounding sphere
        t = solid.hit(eye, direction[rays])
        nearer = t < best[rays]
        best[rays[nearer]] = t[nearer]
        which[rays[nearer]] = i
    return best, which


def blocked(
    solids: Sequence[Solid], origin: Array, direction: Array, reach: Array
) -> NDArray[np.bool_]:
    """Whether a solid lies between each origin and ``reach`` along its direction."""
    out = np.zeros(len(direction), np.bool_)
    for solid in solids:
        centre, radius = solid.bound()
        to = centre - origin
        along = dot(to, direction)
        near = (dot(to, to) - along * along <= radius**2) & (along > -radius) & ~out
        rays = np.flatnonzero(near & (along - radius < reach))
        out[rays] = solid.hit(origin[rays], direction[rays]) < reach[rays]
    return out
