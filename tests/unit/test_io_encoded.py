"""Photographs that are JPEG, PNG or TIFF, whole and broken."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from io_files import SHARED, exif_block, gamma_curve, icc_profile, jpeg_bytes, picture
from PIL import Image

from hdrmerge.errors import HdrMergeError, InputError, ResourceError
from hdrmerge.frames import Frame
from hdrmerge.io import read_frame, read_frames
from hdrmerge.io.icc import PRIMARIES, named_space

DEEP = picture().astype(np.uint16) * 257 + 13


def read(tmp_path: Path, data: bytes, name: str = "a.bin") -> Frame:
    path = tmp_path / name
    path.write_bytes(data)
    return read_frame(path)


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    order = pixels if pixels.ndim == 2 else pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return bytes(cv2.imencode(".png", order)[1])


def saved(image: Image.Image, form: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def tiff(pixels: np.ndarray[Any, Any], **how: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"photometric": "rgb", **how})
    return buffer.getvalue()


def test_jpeg_is_rgb_and_display(tmp_path: Path) -> None:
    frame = read(tmp_path, jpeg_bytes(picture()))
    assert frame.pixels.dtype == np.uint8
    assert (frame.encoding, frame.transfer, frame.colour_space) == ("display", "srgb", "sRGB")
    assert np.abs(frame.pixels.astype(int) - picture()).mean() < 2.5


def test_jpeg_whose_path_opencv_cannot_open(tmp_path: Path) -> None:
    from hdrmerge.io.encoded import read_encoded

    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg_bytes(picture()))
    whole = read_frame(path)
    with path.open("rb") as file:
        path.rename(tmp_path / "elsewhere.jpg")
        frame = read_encoded(file, path, "jpeg")
    assert np.array_equal(frame.pixels, whole.pixels)


def test_jpeg_that_decodes_in_part(tmp_path: Path) -> None:
    # A later scan of a progressive file asks for a table that nobody defines: libjpeg gives up.
    data = saved(Image.fromarray(picture(120, 160)), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda") + 6
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path, data[:at] + b"\x33" + data[at + 1 :])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    # Pillow's own transposition is the judge.
    data = jpeg_bytes(picture(), exif=exif_block({0x0112: (3, [orientation])}, {}))
    from PIL import ImageOps

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    frame = read(tmp_path, data)
    assert frame.pixels.flags.c_contiguous
    np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1"])
def test_png_modes(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(picture()).convert(mode)
    expected = np.asarray(image.convert("RGB"))
    frame = read(tmp_path, saved(image, "PNG"))
    np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize("shape", ["grey", "rgb", "rgba"])
def test_png_16_bit(tmp_path: Path, shape: str) -> None:
    pixels = {"grey": DEEP[..., 0], "rgb": DEEP, "rgba": np.dstack([DEEP, DEEP[..., :1]])}[shape]
    frame = read(tmp_path, png(pixels))
    expected = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels[..., :3]
    assert frame.pixels.dtype == np.uint16
    np.testing.assert_array_equal(frame.pixels, expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzma"},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 3},
    ],
    ids=str,
)
def test_tiff_layouts(tmp_path: Path, dtype: Any, how: dict[str, Any]) -> None:
    if np.dtype(dtype).kind == "f" and how.get("predictor"):
        how = {"compression": "zlib"}  # tifffile alone does not write the float predictor
    pixels = DEEP.astype(dtype) if dtype != np.uint8 else picture()
    if np.dtype(dtype).kind == "f":
        pixels = (DEEP / 40000).astype(dtype)
    frame = read(tmp_path, tiff(pixels, **how))
    np.testing.assert_array_equal(frame.pixels, pixels.astype(frame.pixels.dtype))
    if np.dtype(dtype).kind == "f":
        assert (frame.encoding, frame.white, frame.transfer) == ("linear", 1.0, "linear")
        assert frame.pixels.dtype == np.float32


def test_tiff_without_imagecodecs(tmp_path: Path) -> None:
    coded = cv2.imencode(".tif", DEEP[..., ::-1].copy(), [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1]
    np.testing.assert_array_equal(read(tmp_path, bytes(coded)).pixels, DEEP)  # LZW, 16 bit
    linear = (DEEP / 40000).astype(np.float32)
    how = [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, 3]
    coded = cv2.imencode(".tif", linear[..., ::-1].copy(), how)[1]
    np.testing.assert_array_equal(read(tmp_path, bytes(coded)).pixels, linear)
    image = Image.fromarray(picture())
    for compression in ("tiff_lzw", "packbits"):
        data = saved(image, "TIFF", compression=compression)
        np.testing.assert_array_equal(read(tmp_path, data).pixels, picture())
    jpeg = read(tmp_path, saved(image, "TIFF", compression="jpeg", quality=95))
    assert np.abs(jpeg.pixels.astype(int) - picture()).mean() < 3


def test_tiff_planes_grey_palette_alpha(tmp_path: Path) -> None:
    planes = np.moveaxis(DEEP, -1, 0)
    frame = read(tmp_path, tiff(planes, planarconfig="separate"))
    np.testing.assert_array_equal(frame.pixels, DEEP)
    grey = read(tmp_path, tiff(DEEP[..., 0], photometric="minisblack")).pixels
    np.testing.assert_array_equal(grey, np.repeat(DEEP[..., :1], 3, 2))
    inverted = read(tmp_path, tiff(~DEEP[..., 0], photometric="miniswhite")).pixels
    np.testing.assert_array_equal(inverted, grey)
    alpha = np.dstack([DEEP, DEEP[..., :1]])
    frame = read(tmp_path, tiff(alpha, extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(frame.pixels, DEEP)
    image = Image.fromarray(picture()).convert("P")
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read(tmp_path, saved(image, "TIFF")).pixels, expected)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (1, 4), (3, 1)])
@pytest.mark.parametrize("form", ["tiff", "planes", "grey", "png", "jpeg"])
def test_one_pixel_wide(tmp_path: Path, form: str, shape: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(picture(*shape))
    data = {
        "tiff": lambda: tiff(pixels),
        "planes": lambda: tiff(np.moveaxis(pixels, -1, 0), planarconfig="separate"),
        "grey": lambda: tiff(pixels[..., 0], photometric="minisblack"),
        "png": lambda: png(pixels),
        "jpeg": lambda: jpeg_bytes(pixels),
    }[form]()
    assert read(tmp_path, data).pixels.shape == (*shape, 3)


def test_tiff_orientation_and_settings(tmp_path: Path) -> None:
    tags = [(274, 3, 1, 6, True), (33434, 5, 1, (1, 30), True), (34855, 3, 1, 800, True)]
    frame = read(tmp_path, tiff(DEEP, extratags=tags))
    np.testing.assert_array_equal(frame.pixels, np.rot90(DEEP, -1))
    assert frame.settings.exposure_time == pytest.approx(1 / 30)
    assert frame.settings.iso == 800


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    assert read(tmp_path, tiff(DEEP), "a.jpg").pixels.dtype == np.uint16
    assert read(tmp_path, jpeg_bytes(picture()), "a.tif").pixels.dtype == np.uint8
    assert read(tmp_path, png(DEEP), "a").pixels.dtype == np.uint16


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_embedded_profiles(tmp_path: Path, form: str) -> None:
    profile = icc_profile(PRIMARIES["Adobe RGB (1998)"], gamma_curve(2 + 51 / 256))
    image = Image.fromarray(picture())
    frame = read(tmp_path, saved(image, form, icc_profile=profile))
    assert frame.colour_space == "Adobe RGB (1998)"
    assert frame.transfer == "gamma:2.1992188"
    np.testing.assert_allclose(frame.to_rec709, named_space("Adobe RGB (1998)").to_rec709)


def test_profile_in_several_segments(tmp_path: Path) -> None:
    profile = icc_profile(PRIMARIES["Display P3"], gamma_curve(2.2)) + b"\0" * 150_000
    frame = read(tmp_path, jpeg_bytes(picture(), icc=profile))
    assert frame.colour_space == "Display P3"


def test_adobe_rgb_by_exif(tmp_path: Path) -> None:
    block = exif_block({}, {0xA001: (3, [65535])}, {1: (2, "R03")})
    frame = read(tmp_path, jpeg_bytes(picture(), exif=block))
    assert frame.colour_space == "Adobe RGB (1998)"
    assert frame.transfer == "gamma:2.19921875"


def test_linear_tiff_keeps_its_primaries(tmp_path: Path) -> None:
    profile = icc_profile(PRIMARIES["Rec.2020"], b"curv" + struct.pack(">II", 0, 0))
    frame = read(tmp_path, tiff((DEEP / 65535).astype(np.float32), iccprofile=profile))
    assert (frame.colour_space, frame.transfer) == ("Rec.2020", "linear")


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("form", ["jpeg", "progressive", "with thumbnail", "png", "tiff", "lzw"])
def test_truncated(tmp_path: Path, form: str, keep: float) -> None:
    image = Image.fromarray(picture(120, 160))
    thumbnail = exif_block({0x010F: (2, "M")}, {}) + jpeg_bytes(picture())
    data = {
        "jpeg": lambda: saved(image, "JPEG"),
        "progressive": lambda: saved(image, "JPEG", progressive=True),
        "with thumbnail": lambda: jpeg_bytes(picture(120, 160), exif=thumbnail),
        "png": lambda: saved(image, "PNG"),
        "tiff": lambda: tiff(picture(120, 160)),
        "lzw": lambda: saved(image, "TIFF", compression="tiff_lzw"),
    }[form]()
    with pytest.raises(InputError) as caught:
        read(tmp_path, data[: int(len(data) * keep)])
    assert str(tmp_path) in caught.value.message


def test_trailing_bytes_are_allowed(tmp_path: Path) -> None:
    assert read(tmp_path, jpeg_bytes(picture()) + b"\0" * 5000).shape == (24, 32)


def test_png_check_sum(tmp_path: Path) -> None:
    data = bytearray(png(DEEP))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(InputError, match="check sum"):
        read(tmp_path, bytes(data))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float_tiff_with_bad_values(tmp_path: Path, bad: float) -> None:
    pixels = (DEEP / 65535).astype(np.float32)
    pixels[3, 4, 1] = bad
    with pytest.raises(InputError, match="NaN or infinite"):
        read(tmp_path, tiff(pixels))


def test_cmyk_is_refused(tmp_path: Path) -> None:
    cmyk = Image.fromarray(picture()).convert("CMYK")
    with pytest.raises(InputError, match="CMYK"):
        read(tmp_path, saved(cmyk, "JPEG"))
    with pytest.raises(InputError, match="CMYK"):
        read(tmp_path, saved(cmyk, "TIFF"))


def test_absurd_sizes(tmp_path: Path) -> None:
    import zlib

    header = struct.pack(">IIBBBBB", 200_000, 200_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header
    data = png(DEEP)
    data = data[:8] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]
    with pytest.raises(ResourceError, match="200000 x 200000"):
        read(tmp_path, data)
    jpeg = bytearray(jpeg_bytes(picture()))
    at = jpeg.index(b"\xff\xc0")
    struct.pack_into(">HH", jpeg, at + 5, 65000, 65000)
    with pytest.raises(ResourceError, match="65000 x 65000"):
        read(tmp_path, bytes(jpeg))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello, I am a text file, not a picture", "not a picture"),
        (b"\x76\x2f\x31\x01" + b"\0" * 100, "HDR picture already"),
        (b"#?RADIANCE\n", "HDR picture already"),
        (b"PF\n1 1\n-1\n" + b"\0" * 12, "HDR picture already"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIC"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\xff\xd8\xff", "truncated"),
        (b"\x89PNG\r\n\x1a\n", "truncated"),
        (b"II*\0", "TIFF"),
    ],
)
def test_no_photographs(tmp_path: Path, data: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, data)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a directory") as caught:
        read_frame(tmp_path)
    assert caught.value.hint
    with pytest.raises(InputError, match="does not exist"):
        read_frame(tmp_path / "none.jpg")
    with pytest.raises(InputError, match="not a plain file"):
        read_frame(Path("/dev/zero"))


def test_read_frames_keeps_the_order_and_tells_progress(tmp_path: Path) -> None:
    paths = []
    for k in range(5):
        paths.append(tmp_path / f"{k}.jpg")
        paths[-1].write_bytes(jpeg_bytes(picture(8 + k, 16)))
    told: list[float] = []
    frames = read_frames(paths, progress=lambda stage, fraction: told.append(fraction))
    assert [f.shape[0] for f in frames] == [8, 9, 10, 11, 12]
    assert [f.path for f in frames] == paths
    assert told == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


def test_read_frames_raises_for_the_first_bad_file(tmp_path: Path) -> None:
    good = tmp_path / "good.jpg"
    good.write_bytes(jpeg_bytes(picture()))
    with pytest.raises(HdrMergeError, match=r"bad\.jpg"):
        read_frames([good, tmp_path / "bad.jpg", good])


def test_real_brackets() -> None:
    folder = SHARED / "data/stacks"
    if not folder.exists():
        pytest.skip(f"{folder} is not here")
    adobe = read_frame(folder / "liou_sculpturegarden/1.tif")
    assert adobe.colour_space == "Adobe RGB (1998)"
    assert adobe.pixels.shape == (754, 1024, 3)
