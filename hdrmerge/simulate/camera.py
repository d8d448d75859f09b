"""What a camera does to light: noise, clipping, camera response, quantisation, compression."""

from __future__ import annotations

import functools
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import UsageError
from hdrmerge.frames import Codes, FloatArray

FileFormat = Literal["jpg", "png8", "png16", "tif16", "dng"]
Chroma = Literal["420", "422", "444"]
ResponseLike = str | NDArray[Any]

_LUT_SIZE = 1 << 16


def _forward(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Code fraction of exposure fraction x for a named response."""
    kind, _, value = name.partition(":")
    try:
        number = float(value) if value else None
    except ValueError:
        number = float("nan")
    if kind == "linear":
        return x
    if kind == "srgb":
        return np.where(
            x <= 0.0031308, 12.92 * x, 1.055 * np.maximum(x, 1e-12) ** (1 / 2.4) - 0.055
        )
    if kind == "gamma" and (number is None or number > 0):
        return np.asarray(x ** (1.0 / (number or 2.2)))
    if kind == "scurve" and (number is None or 0 <= number < 1):
        # A contrast curve over a power law, as the picture styles of cameras have it.
        y = x ** (1 / 2.2)
        return np.asarray(y + (0.55 if number is None else number) * (y * y * (3 - 2 * y) - y))
    raise UsageError(
        f"Unknown camera response {name!r}.", "Use srgb, linear, gamma[:2.2] or scurve[:0.55]."
    )


def forward_table(response: ResponseLike) -> FloatArray:
    """The forward response as (65536, 3) code fractions at exposure (i / 65535)^2.

    ``response``: a name (``srgb``, ``linear``, ``gamma:2.2``, ``scurve:0.55``) or the *inverse*
    response, (K,) or (K, 3), at K equidistant code fractions, increasing from 0 to 1 (the
    convention of ``hdrmerge.response.Response.curve``). The square spends the table's entries in
    the shadows, where responses are steep. Raises UsageError.
    """
    if isinstance(response, str):
        return _named_table(response)
    exposure = np.linspace(0.0, 1.0, _LUT_SIZE) ** 2
    curve = np.asarray(response, dtype=np.float64)
    curve = curve[:, None] if curve.ndim == 1 else curve
    if curve.ndim != 2 or curve.shape[1] not in (1, 3) or len(curve) < 2:
        raise UsageError(f"A response curve is (K,) or (K, 3), not {curve.shape}.")
    if np.any(np.diff(curve, axis=0) < 0) or not np.allclose(curve[[0, -1]], [[0.0], [1.0]]):
        raise UsageError("A response curve must increase from 0 to 1.")
    codes = np.linspace(0.0, 1.0, len(curve))
    columns = [np.interp(exposure, curve[:, c], codes) for c in range(curve.shape[1])]
    return np.stack(columns * (3 // len(columns)), axis=1).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _named_table(name: str) -> FloatArray:
    x = np.linspace(0.0, 1.0, _LUT_SIZE) ** 2
    return np.repeat(_forward(name, x).astype(np.float32)[:, None], 3, axis=1)


def inverse_curve(response: ResponseLike, size: int = 1024) -> FloatArray:
    """The inverse response (size, 3) at equidistant code fractions, as ``Response.curve``."""
    table = forward_table(response).astype(np.float64)
    exposure = np.linspace(0.0, 1.0, _LUT_SIZE) ** 2
    codes = np.linspace(0.0, 1.0, size)
    return np.stack([np.interp(codes, table[:, c], exposure) for c in range(3)], 1).astype(
        np.float32
    )


def expose(
    clean: FloatArray, full_well: float, read_noise: float, rng: np.random.Generator
) -> FloatArray:
    """A noisy, clipped exposure of clean linear exposure (..., 3), 1 = saturation.

    Photon noise as a Gaussian of the Poisson's variance plus read noise, both in electrons, with
    ``full_well`` electrons at saturation. Values below 0 remain, as in a RAW file.
    """
    signal = np.clip(clean, 0.0, 2.0)
    sigma = np.sqrt(signal * np.float32(1 / full_well) + np.float32((read_noise / full_well) ** 2))
    sigma *= rng.standard_normal(signal.shape, dtype=np.float32)
    signal += sigma
    return np.minimum(signal, np.float32(1.0), out=signal)


def develop(exposure: FloatArray, table: FloatArray, bits: Literal[8, 16]) -> Codes:
    """Exposure (H, W, 3) through the forward response to uint8 or uint16 codes."""
    index = np.sqrt(np.clip(exposure, 0.0, 1.0)) * np.float32(_LUT_SIZE - 1) + np.float32(0.5)
    full, kind = (255.0, np.uint8) if bits == 8 else (65535.0, np.uint16)
    codes = (table * np.float32(full) + np.float32(0.5)).astype(kind)
    if np.array_equal(table[:, 0], table[:, 1]) and np.array_equal(table[:, 0], table[:, 2]):
        return np.asarray(np.take(codes[:, 0], index.astype(np.uint16)))
    channels = [np.take(codes[:, c], index[..., c].astype(np.uint16)) for c in range(3)]
    return np.stack(channels, axis=-1)


def compress_jpeg(codes: NDArray[np.uint8], quality: int, chroma: Chroma) -> bytes:
    """Baseline JPEG of RGB codes, without metadata."""
    import cv2

    factor = {
        "420": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        "422": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        "444": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    }[chroma]
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    return bytes(cv2.imencode(".jpg", codes[..., ::-1], options)[1].tobytes())


def decompress_jpeg(data: bytes) -> NDArray[np.uint8]:
    """RGB codes of a JPEG, as any reader sees them."""
    import cv2

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    return np.ascontiguousarray(np.asarray(bgr, dtype=np.uint8)[..., ::-1])


def demosaic(cfa: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """A quick demosaic of RGGB codes, (H, W) -> (H, W, 3); LibRaw reads the file better."""
    import cv2

    return np.asarray(cv2.cvtColor(cfa, cv2.COLOR_BayerRGGB2RGB_EA), dtype=np.uint16)
