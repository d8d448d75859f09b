"""Radiance HDR, PFM and float TIFF."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from io_files import SETTINGS, icc_profile, jpeg_bytes, picture, predicted_tiff

from hdrmerge.errors import InputError, ResourceError
from hdrmerge.frames import RadianceMap
from hdrmerge.io import read_header, read_radiance, write_hdr
from hdrmerge.io.icc import PRIMARIES, named_space
from hdrmerge.io.metadata import settings_of
from hdrmerge.report import MergeReport

REPORT = MergeReport(version="1.2.3", reference="b.jpg", exposure_offset=1.25)


def radiance() -> RadianceMap:
    values = np.random.default_rng(0).random((31, 47, 3)) ** 4 * 50
    values[0, 0] = 0
    return RadianceMap(values.astype(np.float32))


def test_round_trip_is_unbiased(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance(), REPORT, SETTINGS)
    pixels, facts = read_radiance(path)
    largest = radiance().pixels.max(axis=2, keepdims=True)
    error = (pixels - radiance().pixels)[largest[..., 0] > 0] / largest[largest[..., 0] > 0]
    assert np.abs(error).max() <= 1 / 256
    assert abs(error.mean()) < 1e-4
    assert np.all(pixels[0, 0] == 0)
    assert facts["width"] == 47


def test_header(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance(), REPORT, SETTINGS)
    lines = path.read_bytes().split(b"\n\n")[0].decode().splitlines()
    assert lines[0] == "#?RADIANCE"
    assert "FORMAT=32-bit_rle_rgbe" in lines
    assert "PRIMARIES=0.6400 0.3300 0.3000 0.6000 0.1500 0.0600 0.3127 0.3290" in lines
    facts = read_header(path)
    assert MergeReport.from_dict(facts["report"]) == REPORT
    assert facts["attributes"]["SOFTWARE"] == "hdrmerge 1.2.3"


def test_another_reader_agrees(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance(), REPORT, SETTINGS)
    theirs = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    np.testing.assert_array_equal(theirs, read_radiance(path)[0])


def test_exposure_is_divided_out(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance())
    plain, _ = read_radiance(path)
    path.write_bytes(path.read_bytes().replace(b"EXPOSURE=1.0", b"EXPOSURE=2.0\nEXPOSURE=4"))
    np.testing.assert_allclose(read_radiance(path)[0], plain / 8)


def test_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance())
    data, (plain, _) = path.read_bytes(), read_radiance(path)
    path.write_bytes(data.replace(b"-Y 31 +X 47", b"+Y 31 -X 47"))
    np.testing.assert_array_equal(read_radiance(path)[0], plain[::-1, ::-1])
    path.write_bytes(data.replace(b"-Y 31 +X 47", b"+X 47 -Y 31"))
    with pytest.raises(InputError, match="damaged Radiance header"):
        read_radiance(path)


def test_other_primaries(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance())
    plain, _ = read_radiance(path)
    ours = b"0.6400 0.3300 0.3000 0.6000 0.1500 0.0600 0.3127 0.3290"
    rec2020 = " ".join(map(str, PRIMARIES["Rec.2020"])).encode()
    path.write_bytes(path.read_bytes().replace(ours, rec2020))
    expected = plain @ named_space("Rec.2020").to_rec709.T.astype(np.float32)
    np.testing.assert_allclose(read_radiance(path)[0], expected, rtol=1e-4, atol=1e-4)


def test_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.hdr"
    write_hdr(path, radiance())
    data = path.read_bytes()
    for keep in (3, 20, len(data) // 2, len(data) - 4):
        path.write_bytes(data[:keep])
        with pytest.raises(InputError):
            read_radiance(path)
    path.write_bytes(data.replace(b"-Y 31 +X 47", b"-Y 310000 +X 47000"))
    with pytest.raises(ResourceError):
        read_radiance(path)
    path.write_bytes(data.replace(b"rgbe", b"xyze"))
    with pytest.raises(InputError, match="XYZ"):
        read_radiance(path)
    path.write_bytes(b"#?RADIANCE\n" + b"A=B\n" * 600_000)
    with pytest.raises(InputError):
        read_radiance(path)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [b"-1.0", b"1.0"])
def test_pfm(tmp_path: Path, channels: int, scale: bytes) -> None:
    values = radiance().pixels[..., :channels]
    order = "<f4" if scale[:1] == b"-" else ">f4"
    head = (b"PF" if channels == 3 else b"Pf") + b"\n47 31\n" + scale + b"\n"
    path = tmp_path / "a.pfm"
    path.write_bytes(head + values[::-1].astype(order).tobytes())
    pixels, facts = read_radiance(path)
    np.testing.assert_array_equal(pixels, np.broadcast_to(values, (31, 47, 3)))
    assert facts["format"] == "PFM"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="PFM"):
        read_radiance(path)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_float_tiff_with_its_predictor(tmp_path: Path, kind: type[np.floating]) -> None:
    pixels = radiance().pixels.astype(kind)
    path = tmp_path / "a.tif"
    path.write_bytes(predicted_tiff(pixels))
    np.testing.assert_array_equal(read_radiance(path)[0], pixels.astype(np.float32))


def test_tiff_metadata_become_attributes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, radiance().pixels, photometric="rgb", datetime="2024:05:06 07:08:09")
    attributes = read_radiance(path)[1]["attributes"]
    assert settings_of(attributes).captured_at == datetime(2024, 5, 6, 7, 8, 9)


def test_float_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, radiance().pixels, photometric="rgb")
    np.testing.assert_array_equal(read_radiance(path)[0], radiance().pixels)
    profile = icc_profile(PRIMARIES["Display P3"], b"curv" + b"\0" * 8)
    tifffile.imwrite(path, radiance().pixels, photometric="rgb", iccprofile=profile)
    expected = radiance().pixels @ named_space("Display P3").to_rec709.T.astype(np.float32)
    np.testing.assert_allclose(read_radiance(path)[0], expected, rtol=1e-4, atol=1e-4)


def test_photographs_are_no_hdr(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    path.write_bytes(jpeg_bytes(picture()))
    with pytest.raises(InputError, match="photograph") as caught:
        read_radiance(path)
    assert "fuse" in (caught.value.hint or "")
    tifffile.imwrite(path, picture(), photometric="rgb")
    with pytest.raises(InputError, match="photograph"):
        read_header(path)
