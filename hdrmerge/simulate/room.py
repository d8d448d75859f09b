"""A procedural scene of over 12 stops: a dim room with a lamp and a bright view, people walking.

It is traced, not photographed, so it may ship: the demo and the tests that need no data use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from hdrmerge.simulate import textures
from hdrmerge.simulate.furniture import LEFT, PLAIN, furniture, walker
from hdrmerge.simulate.tracing import (
    Array,
    Frustum,
    Solid,
    blocked,
    dot,
    first_hit,
    rgb,
)

# Metres; x right, y up, z into the picture. The window is a hole in the wall z = DEPTH.
_RIGHT, _CEILING, _DEPTH = 2.5, 2.7, 4.6
_WINDOW = (-1.35, 0.75, 0.85, 2.25)  # x0, x1, y0, y1
_EYE = np.array([0.2, 1.45, -0.75], np.float32)
_LAMP = np.array([1.62, 1.2, 3.75], np.float32)
_SUN = np.array([0.30, 0.62, 0.72], np.float32) / np.float32(np.linalg.norm([0.30, 0.62, 0.72]))


def _albedo(material: str, p: Array, n: Array) -> Array:
    if material == "wood":
        grain = textures.noise_at(p[:, 0] * 2 + p[:, 1], p[:, 2] * 9, 60, 20)
        tone = np.clip(1 + 0.2 * grain, 0.4, 1.6)[:, None]
        return np.asarray(rgb(0.20, 0.10, 0.045) * tone)
    if material == "books":
        front = n[:, :1] > 0.5
        shelf = np.mod(p[:, 1], 0.36) > 0.335
        board = _albedo("wood", p, n)
        return np.where(front & ~shelf[:, None], textures.books(p[:, 2], p[:, 1]), board)
    if material == "ball":
        stripe = np.mod(np.floor(p[:, 1] * 25 + p[:, 0] * 8), 2) > 0
        return np.where(stripe[:, None], rgb(0.65, 0.60, 0.5), rgb(*PLAIN["ball"]))
    if material == "shirt":
        stripe = np.mod(p[:, 1] * 22, 1) > 0.55
        return np.where(stripe[:, None], rgb(0.55, 0.52, 0.45), rgb(*PLAIN["shirt"]))
    return np.broadcast_to(rgb(*PLAIN[material]), p.shape)


def _in_window(x: Array, y: Array) -> NDArray[np.bool_]:
    """Whether a point of the back wall is glass: inside the hole and not on a bar."""
    x0, x1, y0, y1 = _WINDOW
    glass = (x > x0 + 0.06) & (x < x1 - 0.06) & (y > y0 + 0.06) & (y < y1 - 0.06)
    for bar in np.linspace(x0, x1, 4)[1:-1]:
        glass &= np.abs(x - np.float32(bar)) > 0.022
    return np.asarray(glass & (np.abs(y - 1.78) > 0.02))


def _view(direction: Array, points: Array) -> Array:
    """Radiance that comes in through the window along ``direction``."""
    ahead = np.maximum(direction[:, 2], 1e-3)
    azimuth = direction[:, 0] / ahead + 0.06 * (points[:, 0] + 0.3)
    view = textures.landscape(azimuth, direction[:, 1] / ahead + 0.012 * points[:, 1])
    return np.asarray(0.5 * view)


def _shell(origin: Array, direction: Array) -> tuple[Array, NDArray[np.int16]]:
    """Distance to the room's own surfaces, and which: 0 floor 1 ceiling 2 left 3 right 4 back."""
    best = np.full(len(direction), np.inf, np.float32)
    which = np.zeros(len(direction), np.int16)
    planes = [(1, 0.0), (1, _CEILING), (0, LEFT), (0, _RIGHT), (2, _DEPTH)]
    with np.errstate(divide="ignore", invalid="ignore"):
        for i, (axis, level) in enumerate(planes):
            t = (np.float32(level) - origin[..., axis]) / direction[:, axis]
            t = np.where(t > 1e-3, t, np.inf)
            nearer = t < best
            best[nearer] = t[nearer]
            which[nearer] = i
    return best, which


_SHELL_NORMALS = np.array([[0, 1, 0], [0, -1, 0], [1, 0, 0], [-1, 0, 0], [0, 0, -1]], np.float32)


def _on_rug(p: Array) -> NDArray[np.bool_]:
    return np.asarray((np.abs(p[:, 0] + 0.1) < 1.15) & (np.abs(p[:, 2] - 2.45) < 0.95))


def _shell_albedo(which: NDArray[np.int16], p: Array) -> Array:
    x, y, z = p[:, 0], p[:, 1], p[:, 2]
    out = np.empty_like(p)
    floor = which == 0
    out[floor] = textures.planks(x[floor], z[floor])
    woven = floor & _on_rug(p)
    out[woven] = textures.rug((x[woven] + 1.25) / 2.3, (z[woven] - 1.5) / 1.9)
    for i, colour in ((1, (0.62, 0.60, 0.56)), (2, (0.40, 0.36, 0.30)), (3, (0.40, 0.36, 0.30))):
        here = which == i
        out[here] = textures.plaster(z[here] + i, x[here] + y[here], colour)
    back = which == 4
    out[back] = textures.plaster(x[back], y[back], (0.30, 0.36, 0.36))
    x0, x1, y0, y1 = _WINDOW
    frame = back & (x > x0 - 0.05) & (x < x1 + 0.05) & (y > y0 - 0.05) & (y < y1 + 0.05)
    out[frame] = (0.62, 0.60, 0.55)
    u, v = (x - 1.2) / 0.72, (y - 1.3) / 0.98
    page = back & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    rim = back & (u > -0.05) & (u < 1.05) & (v > -0.037) & (v < 1.037)
    out[rim] = (0.03, 0.022, 0.018)
    out[page] = textures.poster(u[page], v[page])
    skirting = (which >= 2) & (y < 0.09)
    out[skirting] = (0.55, 0.53, 0.48)
    u, v = (z - 2.6) / 0.9, (y - 1.25) / 0.65  # a picture of the view on the right wall
    art = (which == 3) & (u > 0) & (u < 1) & (v > 0) & (v < 1)
    out[(which == 3) & (u > -0.04) & (u < 1.04) & (v > -0.055) & (v < 1.055)] = (0.30, 0.19, 0.06)
    out[art] = np.clip(textures.landscape(0.9 - u[art] * 0.8, v[art] * 0.4 - 0.13) / 60, 0, 0.7)
    return out


def _light(p: Array, n: Array, solids: list[Solid]) -> Array:
    """Irradiance / pi (n, 3) at points: sky through the window, sun, lamp and a little ambience."""
    solid_blockers = [s for s in solids if not isinstance(s, Frustum)]
    large = [s for s in solid_blockers if s.material != "leaf"]  # thin leaves shade no sky
    out = np.zeros_like(p)
    x0, x1, y0, y1 = _WINDOW
    origin = p + n * np.float32(2e-3)
    columns, rows = 5, 4
    area = (x1 - x0) * (y1 - y0) / (columns * rows)
    for i in range(columns):
        for j in range(rows):
            across, up = (i + 0.5) / columns, (j + 0.5) / rows
            goal = rgb(x0 + across * (x1 - x0), y0 + up * (y1 - y0), _DEPTH)
            to = goal - origin
            reach = np.sqrt(dot(to, to))
            to /= reach[:, None]
            form = (
                np.maximum(dot(n, to), 0)
                * np.maximum(to[:, 2], 0)
                * np.float32(area)
                / np.maximum(reach, 0.3) ** 2
            )
            lit = np.flatnonzero(form > 1e-5)
            lit = lit[~blocked(large, origin[lit], to[lit], reach[lit])]
            sky = rgb(11.0, 12.0, 13.5) if j > 1 else rgb(7.0, 7.2, 6.0)
            out[lit] += form[lit, None] * sky / np.float32(np.pi)

    facing = np.maximum(n @ _SUN, 0)
    with np.errstate(divide="ignore"):
        reach = (np.float32(_DEPTH) - origin[:, 2]) / _SUN[2]
    at = origin + reach[:, None] * _SUN
    sunny = np.flatnonzero((facing > 0) & (reach > 0) & _in_window(at[:, 0], at[:, 1]))
    rays = np.broadcast_to(_SUN, (len(sunny), 3))
    sunny = sunny[~blocked(solid_blockers, origin[sunny], rays, reach[sunny])]
    out[sunny] += facing[sunny, None] * rgb(20.0, 17.5, 13.0)

    to = _LAMP - origin
    reach = np.sqrt(dot(to, to))
    to /= reach[:, None]
    above, below = (
        np.clip((side * to[:, 1] - at) / 0.06, 0, 1) for side, at in ((1, 0.5), (-1, 0.7))
    )
    open_end = 1 + 2.2 * above + 2.0 * below
    form = np.maximum(dot(n, to), 0) / np.maximum(reach, 0.15) ** 2 * open_end
    lit = np.flatnonzero(form > 1e-4)
    lit = lit[~blocked(solid_blockers, origin[lit], to[lit], reach[lit])]
    out[lit] += form[lit, None] * rgb(0.30, 0.19, 0.085)

    corner = np.ones(len(p), np.float32)
    for d in (p[:, 1], _CEILING - p[:, 1], p[:, 0] - LEFT, _RIGHT - p[:, 0], _DEPTH - p[:, 2]):
        corner *= 1 - np.where(d > 0.004, 0.55 * np.exp(-np.maximum(d, 0) / 0.25), 0).astype(
            np.float32
        )
    ambient = 0.09 + 0.04 * n[:, 1:2] + 0.07 * np.exp(-((p[:, 2:3] - 3.0) ** 2) / 3)
    return np.asarray(out + corner[:, None] * ambient * rgb(0.9, 0.95, 1.0), dtype=np.float32)


def _shade(origin: Array, direction: Array, solids: list[Solid], coarse: NDArray[np.intp]) -> Array:
    """Radiance (n, 3) along rays; light is computed at the rays ``coarse`` (n,) points to."""
    t, which = first_hit(solids, origin, direction)
    wall, side = _shell(origin, direction)
    inside = t < wall
    p = origin + np.where(inside, t, wall)[:, None] * direction
    n = _SHELL_NORMALS[side]
    albedo = _shell_albedo(side, p)
    glow = np.zeros_like(p)
    for i, solid in enumerate(solids):
        here = np.flatnonzero(inside & (which == i))
        if not len(here):
            continue
        n[here] = solid.normal(p[here])
        albedo[here] = _albedo(solid.material, p[here], n[here])
        if solid.material == "shade":
            level = (p[here, 1] - 1.06) / 0.27
            warm = np.exp(-((level - 0.4) ** 2) * 5) * (
                0.55 + 0.45 * np.abs(dot(n[here], direction[here]))
            )
            glow[here] = warm[:, None] * rgb(13.0, 7.4, 2.9)
        n[here] = np.where(dot(n[here], direction[here])[:, None] > 0, -n[here], n[here])
    label = np.where(inside, which.astype(np.int32), -1 - side)
    use = np.unique(coarse)
    light = np.zeros_like(p)
    light[use] = _light(p[use], n[use], solids)
    odd = np.flatnonzero(label != label[coarse])  # its neighbour sees something else
    light[odd] = _light(p[odd], n[odd], solids)
    even = np.flatnonzero(label == label[coarse])
    light[even] = light[coarse[even]]
    out = albedo * light + glow

    glossy = np.flatnonzero(~inside & (side == 0) & ~_on_rug(p))  # varnish mirrors the window
    bounce = direction[glossy].copy()
    wobble = textures.noise_at(p[glossy, 0] * 9, p[glossy, 2], 60, 21)
    bounce[:, 1] = -bounce[:, 1] * (1 + 0.03 * wobble)
    reach = (np.float32(_DEPTH) - p[glossy, 2]) / bounce[:, 2]
    at = p[glossy] + reach[:, None] * bounce
    clear = _in_window(at[:, 0], at[:, 1])
    clear[clear] = ~blocked(solids, p[glossy[clear]], bounce[clear], reach[clear])
    mirror = 0.02 + 0.5 * (1 - np.abs(direction[glossy, 1])) ** 5
    seen = glossy[clear]
    out[seen] += (mirror[clear, None] * 0.35) * _view(bounce[clear], at[clear])

    glass = np.flatnonzero(~inside & (side == 4) & _in_window(p[:, 0], p[:, 1]))
    out[glass] = _view(direction[glass], p[glass])
    return np.asarray(out, dtype=np.float32)


def room(
    height: int,
    width: int,
    *,
    phase: float | None = None,
    progress: Callable[[float], None] | None = None,
) -> Array:
    """The room as linear Rec.709 radiance (height, width, 3), anti-aliased.

    ``phase``: where somebody is on the way across, in steps from the middle of the window (None:
    nobody is there). ``progress`` is told the fraction done.
    """
    import cv2

    solids = furniture() + ([] if phase is None else walker(phase))
    fine_h, fine_w = 2 * height, 2 * width
    reach = math.tan(math.radians(31.0))
    out = np.empty((height, width, 3), np.float32)
    band = max(2, (400_000 // fine_w) // 2 * 2)
    for top in range(0, fine_h, band):
        rows = min(band, fine_h - top)
        y, x = np.mgrid[top : top + rows, 0:fine_w].astype(np.float32)
        right = (x.ravel() + 0.5) / fine_w * 2 - 1
        down = ((y.ravel() + 0.5) * 2 - fine_h) / fine_w
        direction = np.stack([right * reach - 0.03, -down * reach - 0.10, np.ones_like(right)], 1)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        index = np.arange(rows * fine_w).reshape(rows, fine_w)
        coarse = np.repeat(np.repeat(index[::2, ::2], 2, 0), 2, 1).ravel()
        radiance = _shade(_EYE, direction.astype(np.float32), solids, coarse)
        # Averaged as a lens would: linear light.
        fine = radiance.reshape(rows, fine_w, 3)
        out[top // 2 : (top + rows) // 2] = cv2.resize(
            fine, (width, rows // 2), interpolation=cv2.INTER_AREA
        )
        if progress is not None:
            progress((top + rows) / fine_h)
    return out
