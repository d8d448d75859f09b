"""EXIF: what cameras write, and what they should not have written."""

from __future__ import annotations

import io
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from io_files import SETTINGS, SHARED, Tags, dng_file, exif_block, jpeg_bytes, picture

from hdrmerge.io.exif import Exif, read_exif

TIME, F_NUMBER, ISO = 0x829A, 0x829D, 0x8827
SHUTTER, APERTURE = 0x9201, 0x9202


def of(exif: Tags, image: Tags | None = None, **how: Any) -> Exif:
    block = exif_block(image or {}, exif, **how)
    return read_exif(io.BytesIO(jpeg_bytes(picture(), exif=block)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_plain_settings(order: str) -> None:
    exif = of(
        {
            TIME: (5, [(1, 60)]),
            F_NUMBER: (5, [(56, 10)]),
            ISO: (3, [400]),
            0x9003: (2, "2024:05:06 07:08:09"),
            0x9291: (2, "25"),
            0x920A: (5, [(350, 10)]),
            0xA434: (2, "24-70mm"),
        },
        {0x010F: (2, "Maker"), 0x0110: (2, "Model  "), 0x0112: (3, [6])},
        order=order,
    )
    settings = exif.settings
    assert settings.exposure_time == pytest.approx(1 / 60)
    assert (settings.f_number, settings.iso, settings.focal_length) == (5.6, 400, 35)
    assert settings.captured_at == datetime(2024, 5, 6, 7, 8, 9, 250000)
    assert (settings.camera_make, settings.camera_model) == ("Maker", "Model")
    assert settings.lens_model == "24-70mm"
    assert exif.orientation == 6


def test_manual_lens_has_no_aperture() -> None:
    assert of({TIME: (5, [(1, 60)])}).settings.f_number is None
    assert of({F_NUMBER: (5, [(0, 1)]), APERTURE: (5, [(0, 1)])}).settings.f_number is None
    assert of({F_NUMBER: (5, [(0, 0)])}).settings.f_number is None


def test_apex_stands_in_for_time_and_aperture() -> None:
    settings = of({SHUTTER: (10, [(5, 1)]), APERTURE: (5, [(6, 1)])}).settings
    assert settings.exposure_time == pytest.approx(1 / 32)
    assert settings.f_number == pytest.approx(8.0)
    long = of({TIME: (5, [(0, 0)]), SHUTTER: (10, [(-3, 1)])}).settings
    assert long.exposure_time == pytest.approx(8.0)


def test_rounded_time_stays_as_stored() -> None:
    settings = of({TIME: (5, [(1, 30)]), SHUTTER: (10, [(5, 1)])}).settings
    assert settings.exposure_time == pytest.approx(1 / 30)


@pytest.mark.parametrize(
    ("tags", "iso"),
    [
        ({ISO: (3, [65535]), 0x8832: (4, [102400])}, 102400),
        ({ISO: (3, [65535]), 0x8833: (4, [204800])}, 204800),
        ({ISO: (3, [65535]), 0x8831: (4, [80000])}, 80000),
        ({ISO: (3, [65535]), 0x8830: (3, [1]), 0x8831: (4, [7]), 0x8832: (4, [9])}, 7),
        ({0x8830: (3, [2]), 0x8832: (4, [640])}, 640),
        ({ISO: (3, [65535])}, None),
        ({ISO: (3, [0])}, None),
        ({ISO: (3, [320, 320])}, 320),
    ],
)
def test_iso_in_extended_tags(tags: Tags, iso: float | None) -> None:
    assert of(tags).settings.iso == iso


def test_zeros_are_unknown() -> None:
    settings = of({TIME: (5, [(0, 0)]), ISO: (3, [0]), 0x920A: (5, [(0, 1)])}).settings
    assert settings.exposure_time is None
    assert settings.iso is None
    assert settings.focal_length is None


def test_tags_in_the_image_directory_count() -> None:
    image: Tags = {TIME: (5, [(1, 4)]), F_NUMBER: (5, [(4, 1)]), ISO: (3, [100])}
    settings = of({}, image).settings
    assert (settings.exposure_time, settings.f_number, settings.iso) == (0.25, 4, 100)


def test_adobe_rgb_by_interoperability() -> None:
    uncalibrated: Tags = {0xA001: (3, [65535])}
    assert of(uncalibrated, interop={1: (2, "R03")}).adobe_rgb
    assert not of(uncalibrated, interop={1: (2, "R98")}).adobe_rgb
    assert not of({0xA001: (3, [1])}, interop={1: (2, "R03")}).adobe_rgb


@pytest.mark.parametrize("when", ["0000:00:00 00:00:00", "    :  :     :  :  ", "yesterday", ""])
def test_unset_dates(when: str) -> None:
    assert of({0x9003: (2, when)}).settings.captured_at is None


def test_date_falls_back_to_the_file_date() -> None:
    exif = of({0x9003: (2, "    ")}, {0x0132: (2, "2020:02:29 01:02:03")})
    assert exif.settings.captured_at == datetime(2020, 2, 29, 1, 2, 3)


def test_orientation_out_of_range_is_upright() -> None:
    assert of({}, {0x0112: (3, [0])}).orientation == 1
    assert of({}, {0x0112: (3, [9])}).orientation == 1


def test_exif_behind_a_large_profile() -> None:
    block = exif_block({}, {TIME: (5, [(1, 8)])})
    data = jpeg_bytes(picture(), exif=block)
    segment = b"\xff\xe2" + struct.pack(">H", 60002) + b"ICC_PROFILE\0\1\1" + b"x" * 59986
    moved = data[:2] + segment * 3 + data[2:]
    assert read_exif(io.BytesIO(moved)).settings.exposure_time == 0.125


def test_png_chunk() -> None:
    from PIL import Image

    buffer = io.BytesIO()
    block = exif_block({}, {TIME: (5, [(1, 8)])})
    Image.fromarray(picture()).save(buffer, "PNG", exif=block)
    assert read_exif(buffer).settings.exposure_time == 0.125


def test_dng(tmp_path: Path) -> None:
    path = dng_file(tmp_path / "a.dng", picture().astype("uint16") * 100)
    with path.open("rb") as file:
        settings = read_exif(file).settings
    assert settings == SETTINGS


def test_a_directory_that_points_to_itself() -> None:
    block = bytearray(exif_block({}, {TIME: (5, [(1, 8)])}))
    entry = block.index(struct.pack("<HHI", 0x8769, 4, 1))
    struct.pack_into("<I", block, entry + 8, 8)
    assert read_exif(io.BytesIO(bytes(block))).settings.exposure_time is None


@pytest.mark.parametrize("length", range(0, 200, 7))
def test_damage_never_raises(length: int) -> None:
    block = exif_block({0x010F: (2, "Maker")}, {TIME: (5, [(1, 60)]), ISO: (3, [100])})
    read_exif(io.BytesIO(block[:length]))
    read_exif(io.BytesIO(jpeg_bytes(picture(), exif=block)[:length]))


def test_real_file_with_time_0_0() -> None:
    path = SHARED / "data/stacks/adarsh_iphone/iphone3.jpg"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with path.open("rb") as file:
        settings = read_exif(file).settings
    assert settings.exposure_time is None
    assert settings.iso is None
    assert settings.f_number == 1.7
    assert settings.captured_at == datetime(2020, 1, 20, 15, 51, 33, 631907)
