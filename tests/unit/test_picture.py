"""From radiance to a picture of any format: what white is, what fits together, wild values."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.errors import UsageError
from hdrmerge.io import read_frame
from hdrmerge.picture import PICTURE_SUFFIXES, PictureFormat, diffuse_white, write_picture
from hdrmerge.tonemap import tonemap

HDR = PictureFormat(hdr=True)
PLAIN = TonemapConfig("exposure")


def radiance(scale: float = 1.0) -> np.ndarray:
    """Grey over ten stops; 0.5 becomes a middling grey as it is."""
    stops = np.linspace(-8, 2, 64, dtype=np.float32)
    return np.exp2(np.tile(stops, (48, 1)))[..., None].repeat(3, axis=2) * np.float32(scale)


def png_nits(path: Path) -> np.ndarray:
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., 1] / 65535
    power = codes ** (1 / 78.84375)
    light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return 10_000 * light ** (1 / 0.1593017578125)


@pytest.mark.parametrize("exposure", [0.0, -1.5, 2.0])
def test_white_follows_exposure(exposure: float) -> None:
    """Where the operator only multiplies, white is exactly what it multiplies to one."""
    config = TonemapConfig("exposure", exposure)
    codes = tonemap(radiance(), config, dither=True)
    assert diffuse_white(radiance(), codes) == pytest.approx(2.0**-exposure, rel=0.01)


def test_white_of_other_operators_keeps_the_middle() -> None:
    pixels = radiance(30)
    codes = tonemap(pixels, TonemapConfig("reinhard2002"))
    middle = np.argmin(np.abs(codes[0, :, 0].astype(int) - 140))
    shown = ((codes[0, middle, 0] / 255 + 0.055) / 1.055) ** 2.4
    ratio = pixels[0, middle, 0] / diffuse_white(pixels, codes) / shown
    assert 0.6 < ratio < 1.6


def test_png_holds_radiance_in_nits(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    told = write_picture(path, radiance(), PLAIN, HDR)
    assert told["diffuse_white"] == pytest.approx(1, rel=0.01)
    expected = np.minimum(radiance()[..., 0] / told["diffuse_white"] * 203, 1000)
    np.testing.assert_allclose(png_nits(path), expected, rtol=2e-3)


def test_white_and_peak_as_given(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    form = PictureFormat(hdr=True, diffuse_white=0.25, peak=600)
    told = write_picture(path, radiance(), PLAIN, form)
    expected = radiance()[..., 0] * 4 * 203
    assert told["clipped"] == pytest.approx(np.mean(expected > 600))
    np.testing.assert_allclose(png_nits(path), np.minimum(expected, 600), rtol=2e-3)


def test_half_floats_are_radiance_too(tmp_path: Path) -> None:
    pixels = radiance()
    for name, stored in (("a.png", pixels), ("b.png", pixels.astype(np.float16))):
        write_picture(tmp_path / name, stored, PLAIN, HDR)
    np.testing.assert_allclose(
        png_nits(tmp_path / "b.png"), png_nits(tmp_path / "a.png"), rtol=0.02
    )


def test_an_ordinary_jpeg_and_the_base_are_one_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", radiance(), PLAIN)
    write_picture(tmp_path / "b.jpg", radiance(), PLAIN, HDR)
    plain, base = (read_frame(tmp_path / name).pixels for name in ("a.jpg", "b.jpg"))
    np.testing.assert_array_equal(plain, base)
    assert (tmp_path / "b.jpg").stat().st_size > (tmp_path / "a.jpg").stat().st_size


def test_depth(tmp_path: Path) -> None:
    for name in ("a.png", "a.tif"):
        write_picture(tmp_path / name, radiance(), PLAIN, PictureFormat(depth=16))
        assert read_frame(tmp_path / name).pixels.dtype == np.uint16


def test_dither_can_be_left_out(tmp_path: Path) -> None:
    flat = np.full((32, 32, 3), 0.2, np.float32)
    for name, dither, levels in (("a.png", True, 2), ("b.png", False, 1)):
        write_picture(tmp_path / name, flat, PLAIN, PictureFormat(dither=dither))
        assert np.unique(read_frame(tmp_path / name).pixels).size == levels


@pytest.mark.parametrize(
    ("name", "form", "sentence"),
    [
        ("a.tif", HDR, "no TIFF"),
        ("a.gif", HDR, r"pictures are \.jpg"),
        ("a", PictureFormat(), r"pictures are \.jpg"),
        ("a.jpg", PictureFormat(depth=16), "JPEG holds 8 bits"),
        ("a.png", PictureFormat(depth=12), "PNG holds 8 or 16 bits"),
        ("a.png", PictureFormat(hdr=True, depth=8), "PNG for HDR screens holds 16 bits"),
        ("a.jpg", PictureFormat(quality=0), "quality"),
        ("a.jpg", PictureFormat(quality=101), "quality"),
        ("a.jpg", PictureFormat(hdr=True, peak=100), "peak"),
        ("a.jpg", PictureFormat(hdr=True, peak=float("nan")), "peak"),
        ("a.jpg", PictureFormat(hdr=True, diffuse_white=-1), "white"),
        ("a.jpg", PictureFormat(hdr=True, diffuse_white=float("inf")), "white"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, name: str, form: PictureFormat, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        write_picture(tmp_path / name, radiance(), PLAIN, form)
    assert list(tmp_path.iterdir()) == []


WILD = {
    "nan": np.full((5, 6, 3), np.nan, np.float32),
    "inf": np.full((5, 6, 3), np.inf, np.float32),
    "negative": np.full((5, 6, 3), -1, np.float32),
    "black": np.zeros((5, 6, 3), np.float32),
    "tiny": np.full((5, 6, 3), 1e-38, np.float32),
    "huge": np.full((5, 6, 3), 3e38, np.float32),
    "one pixel": np.ones((1, 1, 3), np.float32),
    "a row": np.ones((1, 300, 3), np.float32),
    "mixture": np.where(np.arange(90).reshape(5, 6, 3) % 7 == 0, np.nan, radiance()[:5, :6]),
}


FORMATS = [
    (f"a{suffix}", hdr)
    for suffix in PICTURE_SUFFIXES
    for hdr in (False, True)
    if not (hdr and suffix.startswith(".tif"))
]


@pytest.mark.parametrize("kind", WILD)
@pytest.mark.parametrize(("name", "hdr"), FORMATS)
def test_wild_values_give_a_picture(tmp_path: Path, kind: str, name: str, hdr: bool) -> None:
    if name in ("a.avif", "a.jxl"):
        pytest.importorskip("imagecodecs", reason="imagecodecs codes AVIF and JPEG XL; absent")
    path = tmp_path / name
    pixels = WILD[kind].astype(np.float32)
    write_picture(path, pixels, TonemapConfig("reinhard2002"), PictureFormat(hdr=hdr))
    assert path.stat().st_size > 0
    if name not in ("a.avif", "a.jxl"):
        assert read_frame(path).shape == pixels.shape[:2]
