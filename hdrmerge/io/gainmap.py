"""Ultra HDR JPEG: an ordinary picture, and a gain map that turns it into the HDR one.

A screen with headroom shows ``(base + k) 2^(w gain) - k``, w growing from 0 without headroom to 1
where there is enough (ISO 21496-1:2025; Android's Ultra HDR and Adobe's gain map, version 1.0). The
gain is measured against the base as decoders see it, JPEG's errors included, so that the two
together are the HDR picture. Libraries code the two JPEGs; the segments that tie them are
written here, in the standard's binary form and as the older XMP.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import CaptureSettings, Codes, FloatArray
from hdrmerge.io.atomic import write_bytes
from hdrmerge.io.containers import jpeg_segments
from hdrmerge.io.display import JPEG_QUALITY, jpeg_bytes, srgb_profile
from hdrmerge.io.metadata import exif_block
from hdrmerge.tonemap.bands import in_bands
from hdrmerge.tonemap.colour import REC709_LUMINANCE
from hdrmerge.tonemap.transfer import srgb_decode

Detail = Literal["exact", "small"]
Part = tuple[slice, ...]

_OFFSET = 1 / 256  # k, of base and HDR: keeps the gain of black finite
_VISIBLE = 1 / 203  # 1 cd/m2: darker values do not widen the range that 8 bits must cover
_TAILS = (0.1, 99.95)  # percentiles of the gain that the range covers
_SMALL = 4  # a small map has a pixel for so many by so many
_SMALL_QUALITY = 90
_LEAST = 1e-3  # stops, of a range that holds nothing
_SAMPLES = 1_000_000
_FINE = 8  # parts of a code that the base is resolved into
_YCC_TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], np.float32)
_YCC_OFFSET = _YCC_TO_RGB @ np.array([0, -128, -128], np.float32)
_ISO = b"urn:iso:std:iso:ts:21496:-1\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"


@dataclass(frozen=True, slots=True)
class GainMap:
    """``codes`` (h, w, 3) or (h, w) uint8; 0 is a gain of ``low`` and 255 of ``high``, in stops.

    ``low`` and ``high`` have one value for a grey map and else three. ``headroom``: stops above
    the base's white from which on a screen shows the whole gain.
    """

    codes: NDArray[np.uint8]
    low: tuple[float, ...]
    high: tuple[float, ...]
    headroom: float


def write_ultra_hdr(
    path: Path,
    codes: Codes,
    light: FloatArray,
    settings: CaptureSettings | None = None,
    *,
    quality: int = JPEG_QUALITY,
    detail: Detail = "exact",
) -> None:
    """Write sRGB ``codes`` (H, W, 3) uint8 and HDR ``light`` (H, W, 3) as one JPEG, atomically.

    ``light``: linear Rec.709, finite, >= 0; 1 is the base's white. The base is, byte for byte, the
    picture that ``write_display`` writes, but for the segments that point to the map. ``detail``
    small: a luminance map at a quarter of the width and height, a few percent of the file.
    """
    exif = None if settings is None else exif_block(settings)
    base = jpeg_bytes(codes, quality=quality, exif=exif, icc=srgb_profile())
    exact = detail == "exact"
    gain = make_gain_map(_decode(base, 1 if exact else _SMALL), light, detail)
    # 100 and no YCbCr: what JPEG adds to a map's error is then below half a code
    jpeg = jpeg_bytes(gain.codes, quality=100 if exact else _SMALL_QUALITY, rgb=exact)
    write_bytes(path, *_assemble(base, jpeg, gain))


def make_gain_map(base: Codes, light: FloatArray, detail: Detail = "exact") -> GainMap:
    """The gain from ``base`` (h, w, 3) uint8 Y'CbCr, as decoded, to ``light`` (H, W, 3).

    For the small map the base is small already.
    """
    linear = srgb_decode(np.linspace(0, 1, 255 * _FINE + 1, dtype=np.float32))
    bright = light
    if detail == "small":
        bright = np.asarray(_resized(light, base) @ REC709_LUMINANCE)[..., None]
        against = _log(np.take(linear, _fine_codes(base)) @ REC709_LUMINANCE)[..., None]

        def gain(part: Part) -> FloatArray:
            return np.asarray(_log(bright[part]) - against[part])
    else:
        table = _log(linear)

        def gain(part: Part) -> FloatArray:
            return np.asarray(_log(bright[part]) - np.take(table, _fine_codes(base[part])))

    peak = max(float(bright.max(initial=0)), 1.0)
    step = max(1, int((bright.shape[0] * bright.shape[1] / _SAMPLES) ** 0.5))
    sparse = (slice(None, None, step), slice(None, None, step))
    low, high = _limits(bright[sparse], gain(sparse))
    codes: Codes = np.empty(bright.shape, np.uint8)

    def code(rows: slice) -> None:
        fraction = (gain((rows,)) - low) / (high - low)
        codes[rows] = np.clip(fraction * np.float32(255) + np.float32(0.5), 0, 255)

    in_bands(bright.shape, code)
    single = codes[..., 0] if codes.shape[2] == 1 else codes
    headroom = max(float(np.log2(peak)), _LEAST)
    return GainMap(single, tuple(low.tolist()), tuple(high.tolist()), headroom)


def _limits(light: FloatArray, gain: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Smallest and largest gain of each channel that the map can say, in stops.

    The fewer stops, the finer are 256 codes: what is too dark to see or very rare is left out,
    but not the gain of the brightest light over white.
    """
    low, high = np.zeros(gain.shape[2], np.float32), np.full(gain.shape[2], _LEAST, np.float32)
    for k in range(gain.shape[2]):
        seen = gain[..., k][light[..., k] > _VISIBLE]
        if seen.size:
            low[k], high[k] = np.percentile(seen, _TAILS)
            over_white = np.log2((light[..., k].max() + _OFFSET) / (1 + _OFFSET))
            high[k] = max(high[k], over_white, low[k] + _LEAST)
    return low, high


def _log(light: FloatArray) -> FloatArray:
    return np.asarray(np.log2(light + np.float32(_OFFSET)))


def _resized(light: FloatArray, like: Codes) -> FloatArray:
    """Area averages at the size of ``like``."""
    import cv2

    size = (like.shape[1], like.shape[0])
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)


def _decode(jpeg: bytes, reduction: int) -> Codes:
    """(h, w, 3) uint8 Y'CbCr, at a fraction of the size where JPEG's blocks allow."""
    from PIL import Image

    image = Image.open(io.BytesIO(jpeg))
    image.draft("YCbCr", tuple(max(n // reduction, 1) for n in image.size))
    return np.asarray(image)


def _fine_codes(base: Codes) -> NDArray[np.uint16]:
    """RGB codes times ``_FINE`` of Y'CbCr (JFIF), half way between what decoders make of them.

    Browsers and phones round them to 8 bits, libultrahdr goes on with fractions. In the dark that
    is several percent of light; half way, both are off by half as much.
    """
    ycc = base.astype(np.float32)
    exact = np.einsum("ijk,lk->ijl", ycc, _YCC_TO_RGB) + _YCC_OFFSET
    np.clip(exact, 0, 255, out=exact)
    exact += np.rint(exact)
    exact *= _FINE / 2
    return np.asarray(np.rint(exact, out=exact), np.uint16)


def _assemble(base: bytes, gain_map: bytes, gain: GainMap) -> tuple[bytes, ...]:
    """The parts of the file: the base with the segments that point to the map, and the map.

    The two pictures follow each other, as in a Multi-Picture file (CIPA DC-007).
    """
    second_head = [
        _segment(0xE1, _XMP + _packet('hdrgm:Version="1.0"' + _attributes(gain), _lists(gain))),
        _segment(0xE2, _ISO + _iso_metadata(gain)),
    ]
    second = [b"\xff\xd8", *second_head, gain_map[2:]]
    length = sum(map(len, second))
    at = _after_metadata(base)
    head = base[:at] + _segment(0xE1, _XMP + _directory(length))
    head += _segment(0xE2, _ISO + struct.pack(">2H", 0, 0))  # the version that a reader must know
    index = 4 + len(_mpf(0, 0, 0)) + 4  # marker and length, the payload
    first_length = len(head) + index - 4 + len(base) - at
    offset = first_length - (len(head) + 8)  # from the byte order mark within the index
    mpf = _segment(0xE2, _mpf(first_length, length, offset))
    return head, mpf, base[at:], *second


def _after_metadata(jpeg: bytes) -> int:
    """Where the first segment begins that is no application's: behind EXIF and profile."""
    for marker, start, _ in jpeg_segments(jpeg):
        if not 0xE0 <= marker <= 0xEF:
            return start - 4
    raise ValueError("no JPEG")


def _segment(marker: int, payload: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def _mpf(first: int, second: int, offset: int) -> bytes:
    """The index of two pictures: their lengths, and where the second begins."""
    entries = struct.pack(">4I", 0x030000, first, 0, 0)  # the representative picture
    entries += struct.pack(">4I", 0, second, offset, 0)
    fields = ((0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(">I", 2)))
    at = 8 + 2 + 12 * 3 + 4
    directory = struct.pack(">H", 3)
    for tag, kind, count, payload in (*fields, (0xB002, 7, 32, struct.pack(">I", at))):
        directory += struct.pack(">HHI", tag, kind, count) + payload
    return b"MPF\0" + struct.pack(">2sHI", b"MM", 42, 8) + directory + bytes(4) + entries


def _iso_metadata(gain: GainMap) -> bytes:
    """ISO 21496-1, annex C: fractions, stops for headroom and gain."""
    flags = 0x40 | (0x80 if len(gain.low) == 3 else 0)  # the base's primaries; three channels
    data = struct.pack(">2HB", 0, 0, flags) + _fraction(0) + _fraction(gain.headroom)
    for low, high in zip(gain.low, gain.high, strict=True):
        data += _fraction(low) + _fraction(high) + _fraction(1)
        data += _fraction(_OFFSET) + _fraction(_OFFSET)
    return data


def _fraction(value: float) -> bytes:
    denominator = 1 << 20
    return struct.pack(">iI", round(value * denominator), denominator)


def _attributes(gain: GainMap) -> str:
    numbers = {
        "Gamma": 1.0,
        "OffsetSDR": _OFFSET,
        "OffsetHDR": _OFFSET,
        "HDRCapacityMin": 0.0,
        "HDRCapacityMax": gain.headroom,
    }
    if len(gain.low) == 1:
        numbers |= {"GainMapMin": gain.low[0], "GainMapMax": gain.high[0]}
    return ' hdrgm:BaseRenditionIsHDR="False"' + "".join(
        f' hdrgm:{name}="{value:.6f}"' for name, value in numbers.items()
    )


def _lists(gain: GainMap) -> str:
    """Values that differ between channels are elements."""
    if len(gain.low) == 1:
        return ""
    return "".join(
        f"<hdrgm:{name}><rdf:Seq>{''.join(f'<rdf:li>{v:.6f}</rdf:li>' for v in values)}"
        f"</rdf:Seq></hdrgm:{name}>"
        for name, values in (("GainMapMin", gain.low), ("GainMapMax", gain.high))
    )


def _directory(length: int) -> bytes:
    """The base's XMP: the file holds two pictures, and the second, so long, is the gain map."""
    item = '<rdf:li rdf:parseType="Resource"><Container:Item Item:Mime="image/jpeg" Item:Semantic='
    return _packet(
        'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
        'xmlns:Item="http://ns.google.com/photos/1.0/container/item/" hdrgm:Version="1.0"',
        f'<Container:Directory><rdf:Seq>{item}"Primary"/></rdf:li>'
        f'{item}"GainMap" Item:Length="{length}"/></rdf:li></rdf:Seq></Container:Directory>',
    )


def _packet(attributes: str, content: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" {attributes}>'
        f"{content}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()
