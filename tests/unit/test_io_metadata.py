"""EXIF written and read back, by others too; and the same by way of an EXR's attributes."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from io_files import FULL_SETTINGS as FULL
from PIL import Image

from hdrmerge.frames import CaptureSettings, Location, RadianceMap
from hdrmerge.io import read_radiance, write_exr
from hdrmerge.io.exif import read_exif
from hdrmerge.io.metadata import attributes_of, exif_block, settings_of


def read_back(block: bytes) -> CaptureSettings:
    return read_exif(io.BytesIO(block)).settings


def test_everything_comes_back() -> None:
    found = read_back(exif_block(FULL))
    assert found.location is not None
    assert found.location.latitude == pytest.approx(-33.8567844, abs=1e-6)
    assert found.location.longitude == pytest.approx(151.2152967, abs=1e-6)
    assert found.location.altitude == -12.5
    assert replace(found, location=FULL.location) == FULL


def test_another_reader_agrees() -> None:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + exif_block(FULL))
    inner, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert (exif[0x010F], exif[0x0110], exif[0x0112]) == ("Maker", "Model", 1)
    assert (inner[0x829A], inner[0x829D], inner[0x8827]) == (pytest.approx(1 / 60), 8.0, 200)
    assert (inner[0x9003], inner[0x9291]) == ("2024:05:06 07:08:09", "25")
    assert (inner[0x9011], inner[0xA405], inner[0xA434]) == ("-03:30", 52, "Lens")
    assert (gps[1], gps[3]) == ("S", "E")
    assert gps[2] == (33.0, 51.0, pytest.approx(24.424, abs=1e-6))
    assert gps[4] == (151.0, 12.0, pytest.approx(55.068, abs=1e-6))


def test_without_a_place_there_is_no_gps_directory() -> None:
    block = exif_block(replace(FULL, location=None))
    assert read_back(block).location is None
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    assert 0x8825 not in exif
    assert not exif.get_ifd(0x8825)


def test_what_is_unknown_is_absent() -> None:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + exif_block(CaptureSettings()))
    assert set(exif) == {0x0112, 0x0131, 0x8769}
    assert read_back(exif_block(CaptureSettings())) == CaptureSettings()


@pytest.mark.parametrize(
    ("time", "fraction"),
    [(1 / 8000, (1, 8000)), (0.3, (3, 10)), (1.3, (13, 10)), (30.0, (30, 1)), (1 / 60, (1, 60))],
)
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_times_stay_the_fractions_they_were(
    time: float, fraction: tuple[int, int], kind: type[np.floating]
) -> None:
    block = exif_block(CaptureSettings(exposure_time=float(kind(time))))
    assert struct.pack("<2I", *fraction) in block
    assert read_back(block).exposure_time == pytest.approx(time, rel=1e-9)


def test_an_exr_carries_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, RadianceMap(np.ones((4, 4, 3), np.float32)), None, FULL)
    found = settings_of(read_radiance(path)[1]["attributes"])
    assert found.captured_at == datetime(2024, 5, 6, 7, 8, 9)
    assert found.location is not None
    assert found.location.latitude == pytest.approx(-33.8567844, abs=1e-5)
    assert found.location.longitude == pytest.approx(151.2152967, abs=1e-4)
    same = replace(found, captured_at=FULL.captured_at, location=FULL.location)
    assert same == replace(FULL, exposure_time=same.exposure_time)
    assert same.exposure_time == pytest.approx(1 / 60, rel=1e-6)


def test_absurd_attributes_are_unknown() -> None:
    absurd = {
        "expTime": -1.0,
        "aperture": float("nan"),
        "isoSpeed": "fast",
        "cameraMake": 7,
        "capDate": "yesterday",
        "utcOffset": 1e9,
        "latitude": 100.0,
        "longitude": 0.0,
    }
    assert settings_of(absurd) == CaptureSettings()
    assert settings_of({}) == CaptureSettings()
    known = {k: v for k, v in attributes_of(FULL).items() if v is not None}
    assert settings_of({**known, "latitude": True}).location is None


def test_the_coast_of_africa_means_no_fix() -> None:
    block = exif_block(replace(FULL, location=Location(0.0, 0.0)))
    assert read_back(block).location is None
