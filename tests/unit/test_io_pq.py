"""PQ pictures: codes computed independently, and read back by decoders that others wrote."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from io_files import FULL_SETTINGS as FULL

from hdrmerge.errors import UsageError
from hdrmerge.io import write_avif, write_jxl, write_pq_png
from hdrmerge.io.avif import with_exif
from hdrmerge.io.exif import read_exif
from hdrmerge.io.jxl import with_pq_header
from hdrmerge.io.pq import light_levels, pq_codes, pq_encode, rec709_to_rec2020

WHITE = 203.0


def ramp() -> np.ndarray:
    """Grey from 0.05 to 1000 cd/m2 beside red, green and blue of 203."""
    grey = np.exp2(np.linspace(np.log2(0.05 / WHITE), np.log2(1000 / WHITE), 120))
    picture = np.repeat(grey[None], 64, axis=0)[..., None].repeat(3, axis=2)
    colours = np.zeros((64, 72, 3))
    for k in range(3):
        colours[:, 24 * k : 24 * (k + 1), k] = 1
    return np.concatenate([picture, colours], axis=1).astype(np.float32)


def nits(codes: np.ndarray) -> np.ndarray:
    """ST 2084's EOTF, written down from the standard: code fractions to cd/m2."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = codes ** (1 / m2)
    return 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)


def expected_nits() -> np.ndarray:
    """``ramp`` in BT.2020, by the matrix that ITU-R BT.2087 prints."""
    matrix = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    return ramp().astype(np.float64) * WHITE @ np.array(matrix).T


def read_png(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2RGB) / 65535


@pytest.mark.parametrize(
    ("light", "code"),
    [(0, 0), (0.1, 64), (1, 153), (10, 307), (100, 520), (203, 594), (1000, 769), (10_000, 1023)],
)
def test_codes_of_known_luminances(light: float, code: int) -> None:
    """Full-range 10-bit codes; 58 % and 75 % for 203 and 1000 cd/m2 are in ITU-R BT.2408."""
    assert round(float(pq_encode(np.array(light / 1e4))) * 1023) == code
    grey = np.full((1, 1, 3), light / WHITE, np.float32)
    assert pq_codes(grey, 10).tolist() == [[[code] * 3]]


def test_the_matrix_is_that_of_the_recommendation() -> None:
    printed = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    np.testing.assert_allclose(rec709_to_rec2020(), printed, atol=6e-5)


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_table_of_codes_matches_the_formula(bits: int) -> None:
    light = np.exp2(np.random.default_rng(0).uniform(-30, 6, (64, 512, 1))).astype(np.float32)
    grey = light.repeat(3, axis=2)
    exact = pq_encode(np.clip(grey.astype(np.float64) * WHITE / 1e4, 0, 1)) * (2**bits - 1)
    off = np.abs(pq_codes(grey, bits) - exact)
    assert off.max() < (1.6 if bits == 16 else 0.7)


def test_what_is_brighter_than_pq_or_black() -> None:
    light = np.array([[[1e9, 1e9, 1e9], [0, 0, 0]]], np.float32)
    assert pq_codes(light, 12).tolist() == [[[4095] * 3, [0] * 3]]


def test_png_has_codes_and_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_pq_png(path, pq_codes(ramp(), 16), light_levels(ramp()), FULL)
    relative = nits(read_png(path)) / np.maximum(expected_nits(), 1e-9)
    bright = expected_nits() > 0.05
    assert np.abs(relative - 1)[bright].max() < 5e-3  # the printed matrix has four digits
    data, chunks, position = path.read_bytes(), {}, 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, payload = data[position + 4 : position + 8], data[position + 8 :][:length]
        (check,) = struct.unpack_from(">I", data, position + 8 + length)
        assert check == zlib.crc32(kind + payload)
        chunks.setdefault(kind, payload)
        position += 12 + length
    order = list(chunks)
    assert chunks[b"cICP"] == bytes((9, 16, 0, 1))
    assert order.index(b"cICP") < order.index(b"IDAT")
    assert b"iCCP" not in chunks
    peak, average = struct.unpack(">2I", chunks[b"cLLI"])
    assert peak / 10_000 == pytest.approx(1000, rel=1e-3)
    assert average / 10_000 == pytest.approx(ramp().max(axis=2).mean() * WHITE, rel=1e-3)
    with path.open("rb") as file:
        assert read_exif(file).settings.camera_model == FULL.camera_model


def test_light_levels() -> None:
    light = np.zeros((2, 2, 3), np.float32)
    light[0, 0] = (4, 1, 0)
    assert light_levels(light) == (pytest.approx(4 * WHITE), pytest.approx(WHITE))


def close(codes: np.ndarray, tolerance: float) -> None:
    """Mean relative error of what is brighter than 5 cd/m2."""
    bright = expected_nits() > 5
    wrong = np.abs(nits(codes)[bright] / expected_nits()[bright] - 1)
    assert wrong.mean() < tolerance
    assert np.percentile(wrong, 90) < 3 * tolerance


@pytest.mark.parametrize("bits", [10, 12])
def test_avif(tmp_path: Path, bits: int) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs codes AVIF, and is absent")
    path = tmp_path / "a.avif"
    write_avif(path, pq_codes(ramp(), bits), FULL, bits=bits, quality=100)
    codes = codecs.avif_decode(path.read_bytes())
    assert codes.dtype == np.uint16
    close(codes / (2**bits - 1), 0.01)
    nclx = path.read_bytes().index(b"colrnclx") + 8
    assert struct.unpack_from(">3HB", path.read_bytes(), nclx) == (9, 16, 9, 0x80)


@pytest.mark.skipif(shutil.which("avifdec") is None, reason="libavif's avifdec is not installed")
def test_libavif_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs", reason="imagecodecs codes AVIF, and is absent")
    write_avif(tmp_path / "a.avif", pq_codes(ramp(), 12), FULL, bits=12, quality=100)
    command = ["avifdec", "-d", "16", tmp_path / "a.avif", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for line in ("Color Primaries: 9", "Transfer Char. : 16", "Matrix Coeffs. : 9", "12"):
        assert line in done.stdout
    assert "Exif Metadata  : Present" in done.stdout
    close(read_png(tmp_path / "a.png"), 0.01)


def test_jxl(tmp_path: Path) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs codes JPEG XL, and is absent")
    path = tmp_path / "a.jxl"
    write_jxl(path, ramp(), FULL, quality=99)
    codes = codecs.jpegxl_decode(path.read_bytes())
    assert codes.dtype == np.uint16
    close(codes / 65535, 0.02)


@pytest.mark.skipif(shutil.which("djxl") is None, reason="libjxl's djxl is not installed")
def test_libjxl_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("imagecodecs", reason="imagecodecs codes JPEG XL, and is absent")
    write_jxl(tmp_path / "a.jxl", ramp(), FULL, quality=99)
    subprocess.run(
        ["djxl", tmp_path / "a.jxl", tmp_path / "a.png"], capture_output=True, check=True
    )
    close(read_png(tmp_path / "a.png"), 0.02)
    if shutil.which("jxlinfo"):
        told = subprocess.run(
            ["jxlinfo", "-v", tmp_path / "a.jxl"], capture_output=True, text=True, check=True
        ).stdout
        assert "Rec.2100 primaries, PQ" in told
        assert "intensity_target: 1000" in told
        assert "Exif" in told


@pytest.mark.parametrize(
    "stream", [b"", b"\xff\x0a", b"\xff\xd8\xff\xe0" * 9, b"\xff\x0a" + bytes(20)]
)
def test_other_streams_get_no_header(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        with_pq_header(stream, 1000)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x08ftyp", b"\0\0\0\x10ftypavif\0\0\0\0"])
def test_other_boxes_get_no_exif(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        with_exif(data, b"II")


@pytest.mark.parametrize("name", ["a.avif", "a.jxl"])
def test_without_imagecodecs(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UsageError, match="imagecodecs") as caught:
        if name == "a.avif":
            write_avif(tmp_path / name, pq_codes(ramp(), 10))
        else:
            write_jxl(tmp_path / name, ramp())
    assert "hdrmerge[display]" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []
