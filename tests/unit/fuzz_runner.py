"""The child of test_fuzz_io: KIND,... START COUNT FOLDER; says which case failed and how."""

from __future__ import annotations

import faulthandler
import io
import resource
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import tifffile
from io_files import (
    SETTINGS,
    dng_file,
    exif_block,
    gamma_curve,
    icc_profile,
    jpeg_bytes,
    picture,
    predicted_tiff,
)
from PIL import Image

from hdrmerge.errors import HdrMergeError
from hdrmerge.frames import Frame, RadianceMap
from hdrmerge.io import read_frame, read_header, read_radiance, write_exr, write_hdr
from hdrmerge.io.icc import PRIMARIES
from hdrmerge.report import MergeReport

MEMORY = 6 << 30  # address space of this process; most of it is what libraries reserve
SLOWEST = 20.0  # seconds of one case
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def seed_file(kind: str, path: Path) -> bytes:
    """A small valid file of this kind."""
    rgb, deep = picture(), picture().astype(np.uint16) * 257
    radiance = RadianceMap((deep / 3000).astype(np.float32))
    block = exif_block(
        {0x010F: (2, "Maker"), 0x0112: (3, [6])},
        {0x829A: (5, [(1, 60)]), 0x829D: (5, [(8, 1)]), 0x8827: (3, [200]), 0xA001: (3, [65535])},
        {1: (2, "R03")},
    )
    profile = icc_profile(PRIMARIES["Display P3"], gamma_curve(2.2))
    buffer = io.BytesIO()
    if kind in ("jpeg", "progressive", "exif", "icc"):
        return {
            "jpeg": lambda: jpeg_bytes(rgb),
            "progressive": lambda: jpeg_bytes(rgb, progressive=True),
            "exif": lambda: jpeg_bytes(rgb[:8, :8], exif=block),
            "icc": lambda: jpeg_bytes(rgb[:8, :8], icc=profile),
        }[kind]()
    if kind == "png8":
        Image.fromarray(rgb).save(buffer, "PNG", exif=block, icc_profile=profile)
    elif kind == "png16":
        buffer.write(cv2.imencode(".png", deep)[1].tobytes())
    elif kind == "tiff-lzw":
        Image.fromarray(rgb).save(buffer, "TIFF", compression="tiff_lzw")
    elif kind == "tiff-predicted":
        return predicted_tiff(radiance.pixels.astype(np.float16))
    elif kind.startswith("tiff"):
        floats = {"tiff-float": np.float32, "tiff-half": np.float16}
        pixels = radiance.pixels.astype(floats[kind]) if kind in floats else deep
        pixels = rgb if kind == "tiff8" else pixels
        how = {"compression": "zlib", "predictor": True} if kind == "tiff-zip" else {}
        tifffile.imwrite(buffer, pixels, photometric="rgb", iccprofile=profile, **how)
    elif kind == "dng":
        return dng_file(path, deep).read_bytes()
    elif kind.startswith("exr"):
        compression = kind.partition("-")[2] or "zip"
        write_exr(path, radiance, MergeReport(), SETTINGS, compression=compression)
        return path.read_bytes()
    elif kind == "hdr":
        write_hdr(path, radiance, MergeReport(), SETTINGS)
        return path.read_bytes()
    elif kind == "pfm":
        buffer.write(b"PF\n32 24\n-1.0\n" + radiance.pixels.tobytes())
    elif kind == "pfm-grey":
        buffer.write(b"Pf\n32 24\n2.5e0\n" + radiance.pixels[..., 0].astype(">f4").tobytes())
    return buffer.getvalue()


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes changed, mostly near the front where headers are; or a piece cut or doubled."""
    out = bytearray(data)
    action = rng.integers(10)
    if action == 0:
        return bytes(out[: rng.integers(len(out))])
    if action == 1:
        start, size = rng.integers(len(out)), rng.integers(1, 64)
        return bytes(out[:start] + out[start + size :])
    if action == 2:
        start, size = rng.integers(len(out)), rng.integers(1, 64)
        return bytes(out[: start + size] + out[start:])
    reach = len(out) if action < 6 else min(len(out), 512)
    for _ in range(rng.integers(1, 9)):
        at = rng.integers(reach)
        if rng.random() < 0.5:
            out[at] = INTERESTING[rng.integers(len(INTERESTING))]
        elif rng.random() < 0.5:
            out[at] = rng.integers(256)
        else:
            width = int(rng.choice([2, 4]))
            out[at : at + width] = b"\xff" * width
    return bytes(out)


def main(kind: str, start: int, count: int, folder: Path) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    path = folder / f"case.{'dng' if kind == 'dng' else 'bin'}"
    seed = seed_file(kind, path)
    check(path, seed, kind)
    for case in range(start, start + count):
        rng = np.random.default_rng((case, sum(kind.encode())))
        data = mutate(seed, rng)
        path.write_bytes(data)
        sys.stdout.write(f"\r{kind} case {case}")
        sys.stdout.flush()
        begun = time.monotonic()
        check(path, data, kind)
        if time.monotonic() - begun > SLOWEST:
            raise SystemExit(f"{kind} case {case} took {time.monotonic() - begun:.1f} s")


def check(path: Path, data: bytes, kind: str) -> None:
    """Reads the file through every door; anything but a result or HdrMergeError gets out."""
    path.write_bytes(data)
    try:
        frame = read_frame(path)
        assert isinstance(frame, Frame)
        assert np.isfinite(frame.to_rec709).all()
    except HdrMergeError as error:
        assert error.message
    if kind.startswith(("exr", "hdr", "pfm", "tiff-float", "tiff-half", "tiff-pred")):
        for read in (read_header, read_radiance):
            try:
                read(path)
            except HdrMergeError as error:
                assert error.message


if __name__ == "__main__":
    for name in sys.argv[1].split(","):
        main(name, int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
