"""ICC profiles: from the primaries and tone curve of a matrix profile to linear Rec.709.

Parsed are the tags of a three-component matrix/TRC profile (ICC.1:2022, 8.3.3): ``rXYZ gXYZ bXYZ``
and ``rTRC`` as ``curv`` or ``para``. Their XYZ is relative to D50; the Bradford-adapted matrix of
Rec.709 (Lindbloom) leads back to D65. Profiles made of look-up tables only are named, no more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import Matrix

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
D50 = (0.96422, 1.0, 0.82521)  # the ICC's connection space
_D65 = (0.3127, 0.3290)
PRIMARIES = {
    "sRGB": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *_D65),
    "Display P3": (0.68, 0.32, 0.265, 0.69, 0.15, 0.06, *_D65),
    "Adobe RGB (1998)": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *_D65),
    "Rec.2020": (0.708, 0.292, 0.17, 0.797, 0.131, 0.046, *_D65),
    "ProPhoto RGB": (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001, 0.34567, 0.35850),
}


@dataclass(frozen=True, slots=True, eq=False)
class ColourSpace:
    """``to_rec709`` (3, 3) takes linear device RGB to linear Rec.709 D65, white to white.

    ``transfer`` is ``srgb``, ``linear`` or ``gamma:VALUE``: how codes were encoded.
    """

    name: str = "sRGB"
    to_rec709: Matrix = field(default_factory=lambda: np.eye(3))
    transfer: str = "srgb"


def adapt(source: NDArray[np.float64], target: NDArray[np.float64]) -> Matrix:
    """Bradford matrix (3, 3) from XYZ under white ``source`` to XYZ under ``target`` (both XYZ)."""
    ratio = (_BRADFORD @ target) / (_BRADFORD @ source)
    adapted: Matrix = np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD
    return adapted


def rgb_to_xyz(chromaticities: tuple[float, ...]) -> Matrix:
    """Linear RGB to XYZ (white's Y = 1) of eight chromaticities: red, green, blue, white (x, y)."""
    x, y = np.array(chromaticities[0::2]), np.array(chromaticities[1::2])
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    matrix: Matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
    return matrix


def xyz_to_rec709(white: NDArray[np.float64]) -> Matrix:
    """XYZ under ``white`` (XYZ, Y = 1) to linear Rec.709, that white becoming (1, 1, 1)."""
    rec709 = rgb_to_xyz(PRIMARIES["sRGB"])
    matrix: Matrix = np.linalg.inv(rec709) @ adapt(white, rec709.sum(axis=1))
    return matrix


def named_space(name: str, transfer: str = "srgb") -> ColourSpace:
    """One of ``PRIMARIES`` by name."""
    if name == "sRGB":
        return ColourSpace(transfer=transfer)
    to_xyz = rgb_to_xyz(PRIMARIES[name])
    return ColourSpace(name, white_to_white(xyz_to_rec709(to_xyz.sum(axis=1)) @ to_xyz), transfer)


def adobe_rgb() -> ColourSpace:
    """Adobe RGB (1998), whose exponent is 2 + 51/256."""
    return named_space("Adobe RGB (1998)", "gamma:2.19921875")


def parse_profile(profile: bytes) -> ColourSpace | None:
    """Colour space of an ICC profile; None where it is damaged or not of an RGB or grey device."""
    try:
        return _parse(profile)
    except (struct.error, ValueError, IndexError, np.linalg.LinAlgError):
        return None


def _parse(profile: bytes) -> ColourSpace | None:
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    tags: dict[bytes, bytes] = {}
    for k in range(min(struct.unpack_from(">I", profile, 128)[0], 200)):
        signature, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * k)
        tags[signature] = profile[offset : offset + size]
    name = _description(tags.get(b"desc", b""))
    if profile[16:20] == b"GRAY":
        return ColourSpace(transfer=_transfer(tags.get(b"kTRC", b"")))
    if profile[16:20] != b"RGB ":
        return None
    if not all(t in tags for t in (b"rXYZ", b"gXYZ", b"bXYZ")):
        return ColourSpace(name or "unknown")
    columns = [struct.unpack_from(">3i", tags[t], 8) for t in (b"rXYZ", b"gXYZ", b"bXYZ")]
    to_xyz = np.array(columns, dtype=np.float64).T / 65536
    if np.abs(to_xyz.sum(axis=1) - D50).max() > 0.05 or abs(np.linalg.det(to_xyz)) < 1e-3:
        return None  # colorants that do not add up to white
    matrix = white_to_white(xyz_to_rec709(np.array(D50)) @ to_xyz)
    for known in PRIMARIES:
        exact = named_space(known).to_rec709
        if np.abs(matrix - exact).max() < 4e-3:
            name, matrix = known, exact
            break
    return ColourSpace(name or "unknown", matrix, _transfer(tags.get(b"rTRC", b"")))


def white_to_white(matrix: Matrix) -> Matrix:
    """``matrix`` with its rows scaled so that (1, 1, 1) stays (1, 1, 1)."""
    return np.asarray(matrix / matrix.sum(axis=1, keepdims=True), np.float64)


def _description(tag: bytes) -> str:
    if tag[:4] == b"desc":
        size = struct.unpack_from(">I", tag, 8)[0]
        return tag[12 : 12 + min(size, 256)].split(b"\0")[0].decode("ascii", "replace").strip()
    if tag[:4] == b"mluc":
        size, offset = struct.unpack_from(">II", tag, 20)
        return tag[offset : offset + min(size, 512)].decode("utf-16-be", "replace").strip("\0 ")
    return ""


def _transfer(tag: bytes) -> str:
    """The simplest of linear, sRGB and a power that gives the tone curve."""
    curve = _sample_curve(tag)
    if curve is None:
        return "srgb"
    x = np.linspace(0, 1, curve.size)
    srgb = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    inner = (x > 0.05) & (curve > 1e-6) & (x < 1)
    logs = np.log(x[inner])
    gamma = float(np.sum(logs * np.log(curve[inner])) / np.sum(logs**2)) if inner.any() else 1.0
    if not 0.2 < gamma < 5:
        return "srgb"
    if abs(gamma - 1) < 0.01:
        return "linear"
    by_power = np.abs(x**gamma - curve).max()
    return "srgb" if np.abs(srgb - curve).max() <= by_power else f"gamma:{gamma:.8g}"


def _sample_curve(tag: bytes) -> NDArray[np.float64] | None:
    """The decoding curve at 256 equidistant codes."""
    x = np.linspace(0, 1, 256)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x
        table = np.frombuffer(tag[12 : 12 + 2 * min(count, 65536)], ">u2").astype(np.float64)
        if count == 1:
            return np.asarray(x ** (table[0] / 256), np.float64)
        return np.interp(x, np.linspace(0, 1, table.size), table / 65535)
    if tag[:4] == b"para":
        kind = struct.unpack_from(">H", tag, 8)[0]
        count = (1, 3, 4, 5, 7)[kind]
        g, *rest = (float(v) / 65536 for v in struct.unpack_from(f">{count}i", tag, 12))
        if kind == 0:
            return x**g
        a, b = rest[:2]
        power = np.maximum(a * x + b, 0) ** g
        if kind <= 2:
            return power + (rest[2] if kind == 2 else 0.0)
        c, d, e, f = (*rest[2:], 0.0, 0.0)[:4]
        return np.where(x >= d, power + e, c * x + f)
    return None
