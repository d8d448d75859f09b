"""HDR pictures by absolute luminance: BT.2020 primaries and the PQ curve, and PNG of them."""

from __future__ import annotations

import functools
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import UsageError
from hdrmerge.frames import CaptureSettings, FloatArray, Matrix
from hdrmerge.io.atomic import write_bytes
from hdrmerge.io.display import png_parts
from hdrmerge.io.icc import PRIMARIES, rgb_to_xyz
from hdrmerge.io.metadata import exif_block
from hdrmerge.tonemap.bands import in_bands

DIFFUSE_WHITE = 203.0  # cd/m2 of a white sheet, ITU-R BT.2408-7, table 1
PQ_PEAK = 10_000.0  # cd/m2 of the largest PQ code
BT2020, PQ, RGB = 9, 16, 0  # primaries, transfer and matrix in ITU-T H.273
_SHIFT = 11  # of a float's bits: 4096 table steps an octave, 0.012 % apart
_OCTAVES = 40  # below the peak that the table resolves


def pq_encode(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, inverse EOTF: luminance as a fraction of 10 000 cd/m2 to a fraction of 1."""
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = np.power(np.maximum(light, 0), m1)
    return np.power((c1 + c2 * power) / (1 + c3 * power), m2)


@functools.cache
def rec709_to_rec2020() -> Matrix:
    """Linear Rec.709 to linear BT.2020; both have white D65."""
    to_2020 = np.linalg.inv(rgb_to_xyz(PRIMARIES["Rec.2020"]))
    return np.asarray(to_2020 @ rgb_to_xyz(PRIMARIES["sRGB"]), np.float64)


def pq_codes(light: FloatArray, bits: int) -> NDArray[np.uint16]:
    """BT.2020 PQ codes (H, W, 3), full range, of linear Rec.709 ``light``; 1 is diffuse white."""
    matrix = (rec709_to_rec2020().T * (DIFFUSE_WHITE / PQ_PEAK)).astype(np.float32)
    table, first = _table(bits)
    codes = np.empty(light.shape, np.uint16)

    def encode(rows: slice) -> None:
        absolute = np.clip(light[rows] @ matrix, 0, 1)
        index = absolute.view(np.int32) >> _SHIFT
        codes[rows] = np.take(table, np.maximum(index - first, 0))

    in_bands(light.shape, encode)
    return codes


@functools.cache
def _table(bits: int) -> tuple[NDArray[np.uint16], int]:
    """Codes by the upper bits of a float in [0, 1], and the bits of the first."""
    low, one = np.array([2.0**-_OCTAVES, 1], np.float32).view(np.int32) >> _SHIFT
    patterns = (np.arange(low, one + 1, dtype=np.int32) << _SHIFT) + (1 << (_SHIFT - 1))
    fractions = pq_encode(patterns.view(np.float32).astype(np.float64))
    fractions[0], fractions[-1] = 0, 1
    return np.rint(fractions * (2**bits - 1)).astype(np.uint16), int(low)


def light_levels(light: FloatArray) -> tuple[float, float]:
    """MaxCLL and MaxFALL in cd/m2 (CTA-861.3): of the brightest pixel, and on average."""
    brightest = light.max(axis=2)
    levels = float(brightest.max()), float(brightest.mean(dtype=np.float64))
    return levels[0] * DIFFUSE_WHITE, levels[1] * DIFFUSE_WHITE


def write_pq_png(
    path: Path,
    codes: NDArray[np.uint16],
    levels: tuple[float, float],
    settings: CaptureSettings | None = None,
) -> None:
    """Write 16-bit ``pq_codes`` and their ``light_levels`` as PNG, atomically.

    The chunks cICP and cLLI are those of PNG's third edition (W3C 2025).
    """
    peak, average = (round(level * 10_000) for level in levels)
    chunks = [
        (b"cICP", bytes((BT2020, PQ, RGB, 1))),
        (b"cLLI", struct.pack(">2I", peak, average)),
    ]
    if settings is not None:
        chunks.append((b"eXIf", exif_block(settings, srgb=False)))
    write_bytes(path, *png_parts(codes, chunks, path))


def imagecodecs(path: Path) -> ModuleType:
    """The package that codes AVIF and JPEG XL; raises ResourceError where it is absent."""
    try:
        import imagecodecs
    except ImportError:
        raise UsageError(
            f"{path} needs the package imagecodecs, which is not installed.",
            "Install it with: pip install 'hdrmerge[display]'; or write .jpg or .png.",
        ) from None
    module: ModuleType = imagecodecs
    return module
