"""Pictures for a display, and writing atomically."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import stat
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from io_files import FULL_SETTINGS as FULL
from io_files import picture
from PIL import Image

from hdrmerge.errors import OutputError, ResourceError, UsageError
from hdrmerge.io import read_frame, write_bytes, write_display, write_text
from hdrmerge.io.atomic import atomic_path
from hdrmerge.io.display import jpeg_bytes, srgb_profile
from hdrmerge.io.metadata import exif_block
from hdrmerge.tonemap.bands import Made

DEEP = picture().astype(np.uint16) * 257 + 3


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
@pytest.mark.parametrize("codes", [picture(), DEEP], ids=["8", "16"])
def test_lossless(tmp_path: Path, name: str, codes: np.ndarray[Any, Any]) -> None:
    write_display(tmp_path / name, codes)
    frame = read_frame(tmp_path / name)
    assert frame.pixels.dtype == codes.dtype
    np.testing.assert_array_equal(frame.pixels, codes)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_profile_is_embedded(tmp_path: Path, name: str) -> None:
    write_display(tmp_path / name, picture())
    with Image.open(tmp_path / name) as image:
        assert image.info["icc_profile"][36:40] == b"acsp"
        np.testing.assert_allclose(np.asarray(image).astype(int), picture(), atol=14)
    assert read_frame(tmp_path / name).colour_space == "sRGB"


@pytest.mark.parametrize("shape", [(56, 9), (57, 16), (63, 40), (112, 17), (900, 33, 3), (1, 1, 3)])
@pytest.mark.parametrize("quality", [60, 100])
def test_strips_are_the_picture_that_one_coder_makes(shape: tuple[int, ...], quality: int) -> None:
    """More than eight strips, so that restart markers begin anew; pixels are equal, not near."""
    rng = np.random.default_rng(len(shape))
    codes = rng.integers(0, 256, shape, dtype=np.uint8)
    at_once = io.BytesIO()
    Image.fromarray(codes).save(at_once, "JPEG", quality=quality, subsampling=0)
    data = jpeg_bytes(codes, quality=quality, exif=exif_block(FULL), icc=srgb_profile())
    with Image.open(io.BytesIO(data)) as found, Image.open(at_once) as expected:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
        assert found.info["icc_profile"] == srgb_profile()
        assert len(data) < len(at_once.getvalue()) * 1.02 + 2000
    by_opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert by_opencv.shape == shape


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_what_is_made_row_by_row_is_written_alike(tmp_path: Path, name: str) -> None:
    codes = np.tile(picture(), (9, 9, 1))
    write_display(tmp_path / name, codes)
    made = Made(codes.shape, lambda rows: codes[rows], codes.dtype)
    write_display(tmp_path / f"made_{name}", made)
    assert (tmp_path / f"made_{name}").read_bytes() == (tmp_path / name).read_bytes()


def test_jpeg_keeps_full_chroma(tmp_path: Path) -> None:
    write_display(tmp_path / "a.jpg", picture())
    with Image.open(tmp_path / "a.jpg") as image:
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3


def test_fractions_become_8_bit(tmp_path: Path) -> None:
    fractions = np.array([[[-0.5, 0.0, 0.25], [0.5, 1.0, 7.0]]], np.float32)
    write_display(tmp_path / "a.png", fractions)
    assert read_frame(tmp_path / "a.png").pixels.tolist() == [[[0, 0, 64], [128, 255, 255]]]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("codes", [picture(), DEEP], ids=["8", "16"])
def test_exif_travels(tmp_path: Path, name: str, codes: np.ndarray[Any, Any]) -> None:
    path = tmp_path / name
    write_display(path, codes if name != "a.jpg" else picture(), FULL)
    found = read_frame(path).settings
    assert found.location is not None
    assert found.location.latitude == pytest.approx(-33.8567844, abs=1e-6)
    assert replace(found, location=FULL.location) == FULL
    with Image.open(path) as image:  # another reader
        exif = image.getexif()
        inner, gps = exif.get_ifd(0x8769), exif.get_ifd(0x8825)
    assert (exif[0x0110], exif[0x0112], inner[0x829D], gps[3]) == ("Model", 1, 8.0, "E")
    assert inner[0x9003] == "2024:05:06 07:08:09"


def test_tiff_with_exif_is_whole(tmp_path: Path) -> None:
    """Another reader finds one page, its pixels, the profile and the EXIF directories."""
    path = tmp_path / "a.tif"
    write_display(path, DEEP, FULL)
    with tifffile.TiffFile(path) as tiff:
        (page,) = tiff.pages
        np.testing.assert_array_equal(page.asarray(), DEEP)
        tags = page.tags
        assert tags[34665].value["ExposureTime"] == (1, 60)
        assert tags[34853].value["GPSLatitudeRef"] == "S"
        assert tags["InterColorProfile"].value == srgb_profile()
        assert tags["Make"].value == "Maker"


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_exiftool_reads_it(tmp_path: Path, name: str) -> None:
    write_display(tmp_path / name, picture(), FULL)
    fields = ["ExposureTime", "LensModel", "GPSPosition", "SubSecDateTimeOriginal", "Copyright"]
    command = ["exiftool", "-j", "-n", *(f"-{field}" for field in fields), tmp_path / name]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert found["ExposureTime"] == pytest.approx(1 / 60)
    assert found["LensModel"] == "Lens"
    assert found["Copyright"] == "© Ann Author"
    assert found["SubSecDateTimeOriginal"] == "2024:05:06 07:08:09.25-03:30"
    place = [float(v) for v in found["GPSPosition"].split()]
    assert place == pytest.approx([-33.8567844, 151.2152967], abs=1e-5)


def test_quality_of_jpeg(tmp_path: Path) -> None:
    sizes = []
    for quality in (50, 95):
        write_display(tmp_path / "a.jpg", picture(), quality=quality)
        sizes.append((tmp_path / "a.jpg").stat().st_size)
    assert sizes[0] < sizes[1]


def test_what_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="8 bits"):
        write_display(tmp_path / "a.jpg", DEEP)
    with pytest.raises(UsageError, match=r"\.jpg, \.png or \.tif"):
        write_display(tmp_path / "a.gif", picture())
    assert list(tmp_path.iterdir()) == []


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_success_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_text(path, "ä new")
    assert path.read_text(encoding="utf-8") == "ä new"
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_a_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    (tmp_path / "link").symlink_to(target)
    write_bytes(tmp_path / "link", b"n", b"ew")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none/a.jpg", "does not exist"),
        ("file/a.jpg", "not a directory"),
        ("folder.jpg", "is a directory"),
    ],
)
def test_unwritable(tmp_path: Path, name: str, sentence: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    with pytest.raises(OutputError, match=sentence):
        write_display(tmp_path / name, picture())


def test_devices_are_not_replaced() -> None:
    with pytest.raises(OutputError, match="not a plain file"):
        write_bytes(Path("/dev/null"), b"x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="not writable"):
        write_bytes(tmp_path / "a", b"x")


def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="does not fit"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_the_profile_does_not_tell_when_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageCms

    before = srgb_profile()
    made = bytes(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    other = made[:24] + b"\x07\xe9\0\1\0\1\0\1\0\1\0\1" + made[36:]  # as if made at another time

    class Another:
        def __init__(self, _: object) -> None: ...

        def tobytes(self) -> bytes:
            return other

    monkeypatch.setattr(ImageCms, "ImageCmsProfile", Another)
    srgb_profile.cache_clear()
    assert srgb_profile() == before
    srgb_profile.cache_clear()
