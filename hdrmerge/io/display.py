"""Pictures for a display: 8-bit JPEG, and PNG and TIFF at 8 or 16 bit, all with sRGB's profile."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from pathlib import Path

import numpy as np

from hdrmerge.errors import OutputError, UsageError
from hdrmerge.frames import Codes
from hdrmerge.io.atomic import atomic_path, write_bytes

JPEG_QUALITY = 95


def write_display(path: Path, codes: Codes) -> None:
    """Write an sRGB-encoded picture (H, W, 3) RGB atomically; the suffix names the format.

    ``codes`` are uint8, uint16 (PNG and TIFF only) or fractions in [0, 1], which become 8 bit.
    JPEG has quality 95 and full chroma. Raises UsageError for a suffix or depth that does not fit,
    OutputError where the file cannot be written.
    """
    if codes.dtype.kind == "f":
        codes = (np.clip(codes, 0, 1) * 255 + 0.5).astype(np.uint8)
    suffix = path.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        if codes.dtype != np.uint8:
            raise UsageError(f"{path}: JPEG holds 8 bits a value.", "Write .png or .tif.")
        write_bytes(path, _jpeg(codes))
    elif suffix == ".png":
        write_bytes(path, *_png(codes, path))
    elif suffix in (".tif", ".tiff"):
        import tifffile

        with atomic_path(path) as temporary:
            tifffile.imwrite(
                temporary,
                codes,
                photometric="rgb",
                compression="zlib",
                predictor=True,
                iccprofile=srgb_profile(),
                metadata=None,
                software="hdrmerge",
            )
    else:
        raise UsageError(f"{path}: pictures are .jpg, .png or .tif.", "Choose one of these.")


@functools.cache
def srgb_profile() -> bytes:
    """The ICC profile of sRGB."""
    from PIL import ImageCms

    return bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def _jpeg(codes: Codes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(codes)).save(
        buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, icc_profile=srgb_profile()
    )
    return buffer.getvalue()


def _png(codes: Codes, path: Path) -> tuple[bytes, bytes, bytes]:
    """OpenCV's PNG (Pillow has no 16-bit colour) with the profile's chunk after the header."""
    import cv2

    done, coded = cv2.imencode(".png", cv2.cvtColor(codes, cv2.COLOR_RGB2BGR))
    if not done:
        raise OutputError(f"{path} cannot be written as PNG.")
    data = coded.tobytes()
    payload = b"iCCP" + b"sRGB\0\0" + zlib.compress(srgb_profile())
    chunk = struct.pack(">I", len(payload) - 4) + payload + struct.pack(">I", zlib.crc32(payload))
    end_of_header = 8 + 25  # signature, IHDR
    return data[:end_of_header], chunk, data[end_of_header:]
