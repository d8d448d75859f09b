"""Pictures that `tonemap` and `fuse --preview` write: formats, EXIF, what is said and refused."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge.errors import ExitCode
from hdrmerge.frames import CaptureSettings, Location, RadianceMap
from hdrmerge.io import read_frame, write_exr
from hdrmerge.io.exif import read_exif
from hdrmerge.io.metadata import exif_block
from hdrmerge.tonemap.transfer import srgb_encode
from tests.cli_tools import Command

SETTINGS = CaptureSettings(
    exposure_time=1 / 60, camera_model="Model 1", lens_model="Lens", location=Location(47.5, 8.25)
)


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def exr(tmp_path: Path) -> Path:
    stops = np.linspace(-8, 3, 96, dtype=np.float32)
    pixels = np.exp2(np.tile(stops, (64, 1)))[..., None].repeat(3, axis=2)
    write_exr(tmp_path / "in.exr", RadianceMap(pixels), None, SETTINGS)
    return tmp_path / "in.exr"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_exif_comes_from_the_exr(hdrmerge: Command, exr: Path, name: str) -> None:
    target = exr.with_name(name)
    assert hdrmerge("tonemap", exr, "-o", target).code == ExitCode.OK
    found = read_frame(target).settings
    assert (found.camera_model, found.lens_model) == ("Model 1", "Lens")
    assert found.location is not None
    assert found.location.latitude == pytest.approx(47.5, abs=1e-5)
    assert hdrmerge("tonemap", exr, "-o", target, "--no-gps").code == ExitCode.OK
    assert read_frame(target).settings == replace(found, location=None)


def test_ultra_hdr(hdrmerge: Command, exr: Path) -> None:
    target = exr.with_name("a.jpg")
    outcome = hdrmerge("tonemap", exr, "-o", target, "--hdr")
    assert outcome.code == ExitCode.OK, outcome.err
    assert "203 cd/m2" in outcome.err
    with Image.open(target) as image:
        assert (image.format, image.size) == ("JPEG", (96, 64))
    assert b"urn:iso:std:iso:ts:21496:-1" in target.read_bytes()


def test_json_says_what_white_is(hdrmerge: Command, exr: Path) -> None:
    options = ["--op", "exposure", "--hdr", "--diffuse-white", "2", "--peak", "406", "--json"]
    told = hdrmerge("tonemap", exr, "-o", exr.with_name("a.png"), *options).json
    assert (told["diffuse_white"], told["peak"]) == (2, 406)
    assert told["clipped"] == pytest.approx(np.mean(np.linspace(-8, 3, 96) > 2))


def test_deep_and_plain(hdrmerge: Command, exr: Path) -> None:
    target = exr.with_name("a.png")
    assert hdrmerge("tonemap", exr, "-o", target, "--depth", "16").code == ExitCode.OK
    assert read_frame(target).pixels.dtype == np.uint16
    sizes = []
    for quality in ("40", "95"):
        assert (
            hdrmerge(
                *("tonemap", exr, "-o", exr.with_name("a.jpg"), "--no-dither", "--quality", quality)
            ).code
            == ExitCode.OK
        )
        sizes.append(exr.with_name("a.jpg").stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("name", ["a.avif", "a.jxl"])
def test_what_needs_an_extra(
    hdrmerge: Command, exr: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    outcome = hdrmerge("tonemap", exr, "-o", exr.with_name(name))
    assert outcome.code == ExitCode.USAGE
    assert "imagecodecs" in outcome.err
    assert "hdrmerge[display]" in outcome.err
    assert not exr.with_name(name).exists()


@pytest.mark.parametrize("name", ["a.avif", "a.jxl"])
def test_formats_that_are_always_hdr(hdrmerge: Command, exr: Path, name: str) -> None:
    pytest.importorskip("imagecodecs", reason="imagecodecs codes AVIF and JPEG XL; absent")
    outcome = hdrmerge("tonemap", exr, "-o", exr.with_name(name))
    assert outcome.code == ExitCode.OK, outcome.err
    assert exr.with_name(name).stat().st_size > 100
    assert exif_block(replace(SETTINGS, location=None))[:4] in exr.with_name(name).read_bytes()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("-o", "a.webp"), ".avif"),
        (("-o", "a.tif", "--hdr"), "TIFF"),
        (("-o", "a.jpg", "--depth", "16"), "8 bits"),
        (("-o", "a.jpg", "--quality", "0"), "quality"),
        (("-o", "a.jpg", "--hdr", "--peak", "20000"), "10000"),
        (("-o", "a.jpg", "--hdr", "--op", "all"), "contact sheet"),
    ],
)
def test_what_makes_no_sense(
    hdrmerge: Command, exr: Path, options: tuple[str, ...], word: str
) -> None:
    target = exr.with_name(options[1])
    outcome = hdrmerge("tonemap", exr, "-o", target, *options[2:])
    assert outcome.code == ExitCode.USAGE, outcome.err
    assert word in outcome.err
    assert not target.exists()


def photographs(folder: Path) -> list[Path]:
    """Two exposures of one textured scene, with EXIF."""
    rng = np.random.default_rng(5)
    scene = np.kron(np.exp2(rng.uniform(-5, 0, (12, 16, 3))), np.ones((8, 8, 1)))
    paths = []
    for k, stops in enumerate((0, 2)):
        linear = np.clip(scene * 2.0**stops, 0, 1)
        fraction = srgb_encode(linear.astype(np.float32))
        settings = replace(SETTINGS, exposure_time=2.0**stops / 60, f_number=8.0, iso=100.0)
        paths.append(folder / f"{k}.jpg")
        Image.fromarray(np.rint(fraction * 255).astype(np.uint8)).save(
            paths[-1], quality=98, subsampling=0, exif=b"Exif\0\0" + exif_block(settings)
        )
    return paths


@pytest.mark.parametrize("gps", [True, False])
def test_previews_carry_the_reference_s_exif(hdrmerge: Command, tmp_path: Path, gps: bool) -> None:
    preview, target = tmp_path / "p.jpg", tmp_path / "out.exr"
    options = [
        "--deghost",
        "classic",
        "--preview",
        preview,
        "--hdr",
        *([] if gps else ["--no-gps"]),
    ]
    outcome = hdrmerge("fuse", *photographs(tmp_path), "-o", target, *options)
    assert outcome.code == ExitCode.OK, outcome.err
    assert b"hdrgm" in preview.read_bytes()
    found = read_exif(io.BytesIO(preview.read_bytes())).settings
    assert found.camera_model == "Model 1"
    assert (found.location is not None) == gps
    again = tmp_path / "again.png"
    assert hdrmerge("tonemap", target, "-o", again).code == ExitCode.OK
    assert (read_frame(again).settings.location is not None) == gps
    assert read_frame(again).settings.exposure_time == found.exposure_time


def test_hdr_without_a_preview(hdrmerge: Command, tmp_path: Path) -> None:
    outcome = hdrmerge("fuse", *photographs(tmp_path), "-o", tmp_path / "out.exr", "--hdr")
    assert outcome.code == ExitCode.USAGE
    assert "--preview" in outcome.err
