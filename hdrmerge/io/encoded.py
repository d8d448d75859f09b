"""JPEG, PNG and TIFF photographs: codes as stored, RGB, upright.

JPEG and PNG are decoded by OpenCV (24 MP JPEG: 0.2 s, Pillow 0.35 s; Pillow also halves the depth
of 16-bit colour PNG), TIFF by tifffile, and where that lacks a codec (LZW, JPEG) by OpenCV. Since
decoders fill what is missing with grey, whole files are checked for their end before.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hdrmerge.errors import InputError, ResourceError
from hdrmerge.frames import Codes, Frame
from hdrmerge.io.containers import jpeg_icc, jpeg_segments, png_chunks, png_icc, tiff_icc
from hdrmerge.io.detect import Kind
from hdrmerge.io.exif import Exif, read_exif
from hdrmerge.io.float_predictor import has_float_predictor, read_predicted
from hdrmerge.io.icc import ColourSpace, adobe_rgb, parse_profile

MAX_PIXELS = 512 * 1024 * 1024  # of a decoded picture; more is taken for a damaged header
_DEFLATE_RATIO = 1100  # no deflated stream holds more bytes for each of its own
_TIFF_DTYPES = ("bool", "uint8", "uint16", "float16", "float32", "float64")

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what matters, we raise


def read_encoded(file: BinaryIO, path: Path, kind: Kind) -> Frame:
    """One JPEG, PNG or TIFF as a Frame; integer codes are display, float codes linear.

    Raises InputError for a file that is truncated, damaged or of an unsupported layout.
    """
    exif = read_exif(file)
    if kind == "tiff":
        profile = tiff_icc(file)
        codes = _decode_tiff(file, path)
    else:
        file.seek(0)
        data = file.read()
        profile = jpeg_icc(data) if kind == "jpeg" else png_icc(data)
        if kind == "jpeg":
            codes = _decode_jpeg(data, path, _check_jpeg(data, path))
        else:
            _check_png(data, path)
            codes = _decode_cv2(data, path)
    linear = codes.dtype == np.float32
    space = _colour_space(profile, exif, linear=linear)
    return Frame(
        pixels=upright(codes, exif.orientation),
        encoding="linear" if linear else "display",
        settings=exif.settings,
        path=path,
        to_rec709=space.to_rec709,
        colour_space=space.name,
        transfer=space.transfer,
    )


def _colour_space(profile: bytes | None, exif: Exif, *, linear: bool) -> ColourSpace:
    space = parse_profile(profile) if profile else None
    if space is None:
        space = adobe_rgb() if exif.adobe_rgb else ColourSpace()
    return ColourSpace(space.name, space.to_rec709, "linear") if linear else space


def upright(codes: Codes, orientation: int) -> Codes:
    """(H, W, 3) pixels turned as EXIF's orientation (1..8) asks."""
    import cv2

    turns: dict[int, Callable[[Codes], Codes]] = {
        2: lambda p: cv2.flip(p, 1),
        3: lambda p: cv2.rotate(p, cv2.ROTATE_180),
        4: lambda p: cv2.flip(p, 0),
        5: cv2.transpose,
        6: lambda p: cv2.rotate(p, cv2.ROTATE_90_CLOCKWISE),
        7: lambda p: cv2.flip(cv2.transpose(p), -1),
        8: lambda p: cv2.rotate(p, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }
    turn = turns.get(orientation)
    return codes if turn is None else turn(codes)


def check_size(width: int, height: int, path: Path) -> None:
    """Refuses pictures without pixels or with more than ``MAX_PIXELS``."""
    if width <= 0 or height <= 0:
        raise InputError(f"{path} claims a size of {width} x {height} pixels.")
    if width * height > MAX_PIXELS:
        raise ResourceError(
            f"{path} claims {width} x {height} pixels, more than {MAX_PIXELS // 2**20} Mi.",
            "The header is damaged, or the picture must be split.",
        )


def _truncated(path: Path) -> InputError:
    return InputError(
        f"{path} is truncated: its end is missing.", "Copy it again from the camera or card."
    )


def _check_jpeg(data: bytes, path: Path) -> tuple[int, int]:
    """Height and width, 0 where no header tells them.

    Raises InputError where the file is not whole, or made for print.
    """
    scan, size = None, (0, 0)
    for marker, start, end in jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if end - start < 6:
                raise _truncated(path)
            if data[start + 5] == 4:
                raise InputError(
                    f"{path} is a CMYK JPEG, made for print.", "Convert it to RGB first."
                )
            height, width = (int.from_bytes(data[start + k : start + k + 2], "big") for k in (1, 3))
            check_size(width, height, path)
            size = height, width
        if marker == 0xDA:
            scan = end
    # Within coded data 0xFF is always stuffed, so an end marker after the scan is the end.
    if scan is None or data.rfind(b"\xff\xd9", scan) < 0:
        raise _truncated(path)
    return size


def _check_png(data: bytes, path: Path) -> None:
    ended, packed, pixels = False, 0, 0
    for kind, start, end in png_chunks(data):
        if kind == b"IHDR":
            width, height = (int.from_bytes(data[start + k : start + k + 4], "big") for k in (0, 4))
            check_size(width, height, path)
            pixels = width * height
        packed += end - start if kind == b"IDAT" else 0
        if kind in (b"IHDR", b"PLTE", b"IDAT") and zlib.crc32(
            memoryview(data)[start - 4 : end]
        ) != int.from_bytes(data[end : end + 4], "big"):
            raise InputError(f"{path} is damaged: a check sum is wrong.", "Copy it again.")
        ended = ended or kind == b"IEND"
    if not ended or packed * _DEFLATE_RATIO < pixels / 8:  # at least one bit a pixel
        raise _truncated(path)


def _decode_jpeg(data: bytes, path: Path, shape: tuple[int, int]) -> Codes:
    """8-bit RGB (H, W, 3) of a JPEG of ``shape``.

    From the file straight into numpy's memory: what OpenCV decodes into its own is copied, in
    twice the memory. It does not say whether it could, but then the last row is as it was, and
    the ``data`` are asked: of a damaged file, or of a path that it cannot spell (Windows).
    """
    import cv2

    _be_quiet()
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    codes = np.empty((*shape, 3), np.uint8)
    untouched = np.resize(np.array([0, 255], np.uint8), codes[-1:].shape)
    codes[-1:] = untouched
    found: Codes | None = None
    with contextlib.suppress(cv2.error):
        found = cv2.imread(str(path), codes, flags)
    if found is not codes or np.array_equal(codes[-1:], untouched):
        return _decoded(data, path, flags)
    return codes


def _decode_cv2(data: bytes, path: Path) -> Codes:
    """Pixels by OpenCV: (H, W, 3) RGB."""
    return _three_channels(_decoded(data, path, -1), path, bgr=True)


def _decoded(data: bytes, path: Path, flags: int) -> Codes:
    import cv2

    _be_quiet()
    codes: Codes | None = None
    with contextlib.suppress(cv2.error):
        codes = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if codes is None:
        raise InputError(f"{path} cannot be decoded; it is damaged.", "Copy it again.")
    return codes


def _be_quiet() -> None:
    """OpenCV tells stderr about each damaged file; the person gets our sentence."""
    import cv2

    cv2.utils.logging.setLogLevel(0)


def _three_channels(codes: Codes, path: Path, *, bgr: bool) -> Codes:
    """Grey to RGB, alpha dropped."""
    import cv2

    if codes.ndim == 2 or codes.shape[2] in (1, 2):
        grey = codes if codes.ndim == 2 else codes[..., 0]
        return np.repeat(grey[..., None], 3, axis=2)
    if codes.shape[2] not in (3, 4):
        raise InputError(
            f"{path} has {codes.shape[2]} channels a pixel, which is not a photograph."
        )
    if bgr:
        four = codes.shape[2] == 4
        converted: Codes = cv2.cvtColor(codes, cv2.COLOR_BGRA2RGB if four else cv2.COLOR_BGR2RGB)
        return converted
    return np.ascontiguousarray(codes[..., :3])


def _decode_tiff(file: BinaryIO, path: Path) -> Codes:
    """First full-size picture of a TIFF as uint8, uint16 or float32 (H, W, 3) RGB."""
    try:
        return _three_channels(_tiff_samples(file, path), path, bgr=False)
    except (InputError, ResourceError, MemoryError):
        raise
    except Exception as error:  # a decoder of foreign bytes raises whatever it meets
        raise InputError(f"{path} is a damaged TIFF ({error}).", "Copy or save it again.") from None


def _tiff_samples(file: BinaryIO, path: Path) -> Codes:
    """Samples (H, W, C) of one to four channels, palette and inversion applied."""
    import tifffile

    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        pages = [p for p in tiff.pages[:8] if not int(p.subfiletype) & 1] or [tiff.pages[0]]
        page = pages[0]
        check_size(int(page.imagewidth), int(page.imagelength), path)
        photometric = int(page.photometric)
        if photometric not in (0, 1, 2, 3, 6):
            name = {5: "CMYK", 8: "CIE Lab"}.get(photometric, f"photometric type {photometric}")
            raise InputError(f"{path} is a TIFF in {name}.", "Convert it to RGB first.")
        if str(page.dtype) not in _TIFF_DTYPES or int(page.imagedepth) != 1:
            raise InputError(
                f"{path} holds {page.bitspersample}-bit samples ({page.dtype}).",
                "8 and 16 bit and floating point TIFF are read.",
            )
        pieces = list(zip(page.dataoffsets, page.databytecounts, strict=False))
        missing = len(pieces) < math.prod(page.chunked) or min(pieces, default=(0, 0))[0] <= 0
        if missing or any(count <= 0 or start + count > size for start, count in pieces):
            raise _truncated(path)
        try:
            plain = not has_float_predictor(page)
            codes = page.asarray(maxworkers=1) if plain else read_predicted(page)
        except (KeyError, ValueError, ImportError) as error:
            if "imagecodecs" not in str(error) and not isinstance(error, ImportError):
                raise
            file.seek(0)
            return _supported_dtype(_decode_cv2(file.read(), path), path)
        size_of_plane = (int(page.imagelength), int(page.imagewidth))
        if int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1:
            codes = np.moveaxis(codes.reshape(-1, *size_of_plane), 0, -1)
        codes = _supported_dtype(codes.reshape(*size_of_plane, -1), path)
        if photometric == 3:
            return _apply_palette(codes[..., 0], page.colormap)
        if photometric == 0:
            return ~codes if codes.dtype != np.float32 else 1 - codes
        return codes


def _supported_dtype(codes: Codes, path: Path) -> Codes:
    if codes.dtype == np.bool_:
        return codes.astype(np.uint8) * np.uint8(255)
    if codes.dtype.kind == "f":
        with np.errstate(over="ignore"):
            codes = codes.astype(np.float32)
        if not np.isfinite(codes).all():
            raise InputError(f"{path} holds NaN or infinite values.", "Write it again without.")
    return codes.astype(codes.dtype.newbyteorder("="), copy=False)


def _apply_palette(indices: Codes, colormap: Any) -> Codes:
    table = np.asarray(colormap, np.uint16).T
    return (table[np.minimum(indices, len(table) - 1)] >> 8).astype(np.uint8)
