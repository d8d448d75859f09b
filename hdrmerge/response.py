"""Camera response: from the codes of a display-encoded frame to linear exposure and back.

A camera's JPEG engine applies a tone curve f to exposure; merging needs its inverse. ``Response``
holds that inverse, one monotone curve a channel, sampled at equidistant code fractions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdrmerge.errors import InputError, UsageError
from hdrmerge.frames import Codes, FloatArray, Frame

SAMPLES = 255 * 16 + 1  # every 8-bit code is a sample, so 8-bit frames see no interpolation


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """Inverse camera response.

    ``curve`` (K, 3) float32: exposure in [0, 1] (1 = saturation) at K equidistant code fractions
    in [0, 1]; each column rises from 0 to 1. ``name`` is what a report prints. Raises InputError
    when the curve is not such a function.
    """

    name: str
    curve: FloatArray

    def __post_init__(self) -> None:
        c = np.array(self.curve, dtype=np.float32)  # own copy: a response never changes
        if c.ndim != 2 or c.shape[1] != 3 or c.shape[0] < 2:
            raise InputError(f"A camera response is (K, 3) samples, K >= 2, not {c.shape}.")
        if not np.isfinite(c).all() or np.any(np.diff(c, axis=0) < 0):
            raise InputError(f"The camera response {self.name!r} does not rise everywhere.")
        if np.any(c[0] != 0) or np.any(c[-1] != 1):
            raise InputError(f"The camera response {self.name!r} does not run from 0 to 1.")
        c.flags.writeable = False
        object.__setattr__(self, "curve", c)

    @classmethod
    def srgb(cls) -> Response:
        """The transfer function of IEC 61966-2-1."""
        v = np.linspace(0, 1, SAMPLES)
        linear = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
        return cls.shared("sRGB", linear)

    @classmethod
    def gamma(cls, exponent: float) -> Response:
        """Exposure = code ** exponent; raises UsageError unless 0.1 <= exponent <= 10."""
        if not 0.1 <= exponent <= 10:
            raise UsageError(
                f"A response of gamma {exponent:g} makes no sense.", "Try gamma:2.2 or srgb."
            )
        return cls.shared(f"gamma {exponent:g}", np.linspace(0, 1, SAMPLES) ** exponent)

    @classmethod
    def linear(cls) -> Response:
        """Codes proportional to exposure."""
        return cls.shared("linear", np.linspace(0, 1, 2))

    @classmethod
    def shared(cls, name: str, curve: NDArray[Any]) -> Response:
        """One curve (K,) for the three channels; its ends are pinned to 0 and 1."""
        c = np.array(curve, dtype=np.float64)
        c = (c - c[0]) / (c[-1] - c[0])
        return cls(name, np.repeat(c[:, None], 3, axis=1).astype(np.float32))

    @classmethod
    def named(cls, spec: str) -> Response:
        """``srgb``, ``linear``, ``gamma:VALUE`` or the path of a saved response (JSON).

        Raises UsageError for anything else, InputError when the file is no response.
        """
        if spec == "srgb":
            return cls.srgb()
        if spec == "linear":
            return cls.linear()
        if spec.startswith("gamma:"):
            try:
                return cls.gamma(float(spec.removeprefix("gamma:")))
            except ValueError:
                raise UsageError(f"{spec!r} names no gamma.", "Write it as gamma:2.2.") from None
        if Path(spec).is_file():
            return read_response(Path(spec))
        raise UsageError(
            f"There is no response {spec!r}.",
            "Use auto, srgb, linear, gamma:2.2, estimate, debevec or the path of a saved response.",
        )

    def linearise(self, frame: Frame, codes: Codes) -> FloatArray:
        """Linear values of ``codes`` (h, W, 3) of ``frame``: float32, 0 = black, 1 = saturation.

        Codes of a linear frame are scaled only and keep their negatives, whatever the response.
        """
        if frame.encoding == "linear":
            return frame.fraction(codes)
        if codes.dtype == np.float32:
            return self._interpolate(frame.fraction(codes))
        table = self._table(codes.dtype, frame.black, frame.white)
        if codes.dtype == np.uint8:
            return look_up(codes, table)
        return np.stack([table[codes[..., c], c] for c in range(3)], axis=-1)

    def of_codes(self, frame: Frame) -> FloatArray:
        """Linear values (256, 3) of all codes of an 8-bit ``frame``."""
        codes = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        table: FloatArray = self.linearise(frame, codes[None])[0]
        return table

    def quantiles(self, frame: Frame, q: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quantiles (Q, 3) of a frame's linear values at ``q`` (Q,) in [0, 1], linearly between
        two values; of 8-bit frames the codes are counted, not sorted."""
        if frame.pixels.dtype != np.uint8:
            linear = self.linearise(frame, frame.pixels).reshape(-1, 3)
            return np.asarray(np.quantile(linear, q, axis=0), dtype=np.float64)
        table = self.of_codes(frame).astype(np.float64)
        place = q * (frame.shape[0] * frame.shape[1] - 1)
        low = np.floor(place)
        out = np.empty((len(q), 3))
        for c in range(3):
            counts = np.bincount(frame.pixels[..., c].ravel(), minlength=256)
            below, above = np.searchsorted(np.cumsum(counts), [low, np.ceil(place)], side="right")
            out[:, c] = table[below, c] + (place - low) * (table[above, c] - table[below, c])
        return out

    def encode(self, linear: FloatArray) -> FloatArray:
        """The forward response: linear (..., 3) -> code fraction in [0, 1], float32."""
        out = np.empty(linear.shape, np.float32)
        v = np.linspace(0, 1, len(self.curve))
        for c in range(3):
            x, first = np.unique(self.curve[:, c], return_index=True)
            codes = v[first]
            codes[-1] = v[np.searchsorted(self.curve[:, c], 1.0)]
            out[..., c] = np.interp(linear[..., c], x, codes)
        return out

    def to_json(self) -> str:
        """A JSON document that ``from_json`` reads back to the last bit."""
        samples = [[float(f"{v:.9g}") for v in column] for column in self.curve.T]
        data = {"format": "hdrmerge camera response 1", "name": self.name, "curve": samples}
        return json.dumps(data, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Response:
        """Raises InputError when ``text`` is no saved response."""
        try:
            data = json.loads(text)
            if not str(data["format"]).startswith("hdrmerge camera response"):
                raise ValueError(data["format"])
            curve = np.array(data["curve"], dtype=np.float32).T
            name = str(data["name"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                "This is no saved camera response.", "Make one with `hdrmerge response`."
            ) from error
        return cls(name, curve)

    def _interpolate(self, fraction: FloatArray) -> FloatArray:
        v = np.linspace(0, 1, len(self.curve))
        columns = [np.interp(fraction[..., c], v, self.curve[:, c]) for c in range(3)]
        return np.stack(columns, axis=-1).astype(np.float32)

    def _table(self, dtype: np.dtype[Any], black: float, white: float) -> FloatArray:
        return _cached_table(self, dtype.str, black, white)


def look_up(codes: NDArray[np.uint8], table: FloatArray) -> FloatArray:
    """``table`` (256, 3) at each of ``codes`` (h, w, 3)."""
    import cv2

    alike = np.array_equal(table[:, 0], table[:, 1]) and np.array_equal(table[:, 0], table[:, 2])
    values = table[None, :, :1] if alike else table[None]  # one table is twice as fast as three
    return np.asarray(cv2.LUT(np.ascontiguousarray(codes), np.ascontiguousarray(values)))


@lru_cache(maxsize=8)
def _cached_table(response: Response, dtype: str, black: float, white: float) -> FloatArray:
    """(levels, 3): the linear value of every code of an integer type."""
    levels = np.arange(np.iinfo(np.dtype(dtype)).max + 1, dtype=np.float64)
    fraction = ((levels - black) / (white - black)).astype(np.float32)
    return response._interpolate(np.repeat(fraction[:, None], 3, axis=1))


def read_response(path: Path) -> Response:
    """A response saved by ``write_response``; raises InputError when it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a camera response.") from error
    try:
        return Response.from_json(text)
    except InputError as error:
        raise InputError(f"{path}: {error.message}", error.hint) from error


def write_response(response: Response, path: Path) -> None:
    """Save ``response`` as JSON, atomically; raises OutputError."""
    from hdrmerge.io.atomic import write_text

    write_text(path, response.to_json() + "\n")
