"""EXR: what we write is what others read, and what others write we read or refuse."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from io_files import SETTINGS

from hdrmerge.errors import InputError, OutputError, UsageError
from hdrmerge.frames import REC709_CHROMATICITIES, CaptureSettings, RadianceMap
from hdrmerge.io import read_exr, read_header, read_radiance, write_exr
from hdrmerge.io.exr import COMPRESSIONS, read_stored_exr
from hdrmerge.io.exr_header import exr_facts
from hdrmerge.io.icc import PRIMARIES, named_space
from hdrmerge.report import FrameReport, MergeReport

REPORT = MergeReport(
    version="1.2.3",
    reference="b.jpg",
    frames=[FrameReport("a.jpg", used_stops=-2.0), FrameReport("b.jpg")],
    exposure_offset=1.25,
    weights_sha256="0a" * 32,
    warnings=['Überbelichtet "sehr"'],
)


def radiance(seed: int = 0) -> RadianceMap:
    values = np.random.default_rng(seed).random((31, 47, 3)) ** 4 * 50
    return RadianceMap(values.astype(np.float32))


def foreign(path: Path, channels: dict[str, Any], **header: Any) -> Path:
    base = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    OpenEXR.File({**base, **header}, channels).write(str(path))
    return path


def test_attributes_by_another_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, radiance(), REPORT, SETTINGS)
    header = OpenEXR.File(str(path)).header()
    assert header["chromaticities"] == pytest.approx(REC709_CHROMATICITIES)
    assert header["colorInteropID"] == "lin_rec709_scene"
    assert header["adoptedNeutral"] == pytest.approx([0.3127, 0.3290])
    assert header["expTime"] == pytest.approx(1 / 60)
    assert (header["isoSpeed"], header["aperture"]) == (200.0, 8.0)
    assert header["nominalFocalLength"] == 35.0
    assert header["capDate"] == "2024:05:06 07:08:09"
    assert (header["cameraMake"], header["cameraModel"]) == ("Maker", "Model")
    assert header["lensModel"] == "Lens"
    assert header["software"] == "hdrmerge 1.2.3"
    assert header["hdrmerge:exposureOffset"] == 1.25
    assert header["hdrmerge:weights"] == "0a" * 32


def test_the_report_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, radiance(), REPORT, SETTINGS)
    facts = read_header(path)
    assert MergeReport.from_dict(facts["report"]) == REPORT
    assert (facts["width"], facts["height"], facts["compression"]) == (47, 31, "piz")
    assert facts["attributes"]["expTime"] == pytest.approx(1 / 60, rel=1e-6)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_compressions(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.exr"
    truth = radiance()
    write_exr(path, truth, compression=compression)
    pixels, header = read_exr(path)
    exact = truth.pixels.astype(np.float16).astype(np.float32)
    if compression in ("b44", "b44a", "dwaa", "dwab"):
        assert np.abs(pixels - exact).mean() < 0.05 * exact.mean() + 0.5
    else:
        np.testing.assert_array_equal(pixels, exact)
    assert exr_facts(header)["compression"] == compression


def test_float32_is_exact(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", radiance(), float32=True)
    np.testing.assert_array_equal(read_exr(tmp_path / "a.exr")[0], radiance().pixels)


def test_beyond_half_is_clipped_and_counted(tmp_path: Path) -> None:
    pixels = radiance().pixels.copy()
    pixels[0, :5, 1] = 1e6
    assert write_exr(tmp_path / "a.exr", RadianceMap(pixels)) == 5
    assert read_exr(tmp_path / "a.exr")[0].max() == 65504
    assert write_exr(tmp_path / "a.exr", RadianceMap(pixels), float32=True) == 0
    assert read_exr(tmp_path / "a.exr")[0].max() == 1e6


def test_unknown_settings_leave_no_attribute(tmp_path: Path) -> None:
    write_exr(tmp_path / "a.exr", radiance(), REPORT, CaptureSettings())
    header = OpenEXR.File(str(tmp_path / "a.exr")).header()
    assert not {"expTime", "isoSpeed", "aperture", "capDate", "cameraMake"} & set(header)


def test_writing_twice_is_bit_identical(tmp_path: Path) -> None:
    for name in ("a.exr", "b.exr"):
        write_exr(tmp_path / name, radiance(), REPORT, replace(SETTINGS, lens_model=None))
    assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()


def test_grey_extra_channels_layers_and_windows(tmp_path: Path) -> None:
    rgb = radiance().pixels
    y = rgb[..., 0].copy()
    path = foreign(tmp_path / "y.exr", {"Y": y})
    np.testing.assert_array_equal(read_exr(path)[0], np.repeat(y[..., None], 3, 2))
    path = foreign(tmp_path / "more.exr", {"RGB": rgb, "A": y, "Z": y})
    np.testing.assert_array_equal(read_exr(path)[0], rgb)
    layer = {f"left.{c}": rgb[..., k].copy() for k, c in enumerate("RGB")}
    path = foreign(tmp_path / "layer.exr", {**layer, "mask": y})
    np.testing.assert_array_equal(read_exr(path)[0], rgb)
    window = (np.array([10, 5], np.int32), np.array([56, 35], np.int32))
    path = foreign(tmp_path / "window.exr", {"RGB": rgb}, dataWindow=window)
    np.testing.assert_array_equal(read_exr(path)[0], rgb)
    assert read_header(path)["width"] == 47


def test_several_parts(tmp_path: Path) -> None:
    rgb = radiance().pixels
    parts = [
        OpenEXR.Part(
            {"type": OpenEXR.scanlineimage, "name": "id"},
            {"a": rgb[..., 0].copy(), "b": rgb[..., 0].copy()},
        ),
        OpenEXR.Part({"type": OpenEXR.scanlineimage, "name": "beauty"}, {"RGB": rgb}),
    ]
    OpenEXR.File(parts).write(str(tmp_path / "parts.exr"))
    np.testing.assert_array_equal(read_exr(tmp_path / "parts.exr")[0], rgb)


def test_no_colour_is_refused(tmp_path: Path) -> None:
    y = radiance().pixels[..., 0].copy()
    path = foreign(tmp_path / "a.exr", {"depth": y, "normal": y})
    with pytest.raises(InputError, match="depth, normal"):
        read_exr(path)
    path = foreign(tmp_path / "yc.exr", {"Y": y, "RY": y, "BY": y})
    with pytest.raises(InputError, match="luminance and subsampled chroma"):
        read_exr(path)


def test_other_primaries_become_rec709(tmp_path: Path) -> None:
    rgb = radiance().pixels
    path = foreign(tmp_path / "a.exr", {"RGB": rgb}, chromaticities=PRIMARIES["Rec.2020"])
    pixels, _ = read_radiance(path)
    expected = rgb @ named_space("Rec.2020").to_rec709.T.astype(np.float32)
    np.testing.assert_allclose(pixels, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(read_exr(path)[0], rgb)


def test_bad_values_are_handed_on(tmp_path: Path) -> None:
    pixels = radiance().pixels.copy()
    pixels[0, 0] = np.nan, np.inf, -1
    values, _ = read_radiance(foreign(tmp_path / "a.exr", {"RGB": pixels}))
    assert np.isnan(values[0, 0, 0])
    assert values[0, 0, 1:].tolist() == [np.inf, -1]


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    with pytest.raises(UsageError, match="compression"):
        write_exr(path, radiance(), compression="gif")
    with pytest.raises(OutputError, match="does not exist"):
        write_exr(tmp_path / "no" / "a.exr", radiance())
    write_exr(path, radiance())
    data = path.read_bytes()
    for keep in (5, 100, len(data) // 2, len(data) - 10):
        path.write_bytes(data[:keep])
        with pytest.raises(InputError):
            read_exr(path)
    path.write_bytes(b"not an EXR")
    with pytest.raises(InputError):
        read_exr(path)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_file_cut_short_is_one_sentence(
    tmp_path: Path, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cut.exr"
    pixels = np.random.default_rng(0).random((300, 200, 3)).astype(np.float32)
    write_exr(path, RadianceMap(pixels))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="no EXR that can be read"):
        read_exr(path)
    os.write(2, b"still there")  # stderr is back
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "still there")


def test_threads_that_read_leave_the_output_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.exr"
    write_exr(path, radiance())
    before = sys.stdout
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(lambda _: read_exr(path)[0], range(64)))
    assert sys.stdout is before
    for pixels in every[1:]:
        np.testing.assert_array_equal(pixels, every[0])


def test_half_floats_stay_as_they_are_stored(tmp_path: Path) -> None:
    values = np.array(
        [[[0.0, 6e-8, 1 / 3], [1.5, 65504, np.inf], [np.nan, -2.0, 1e-5]]], np.float16
    )
    write_exr(tmp_path / "half.exr", RadianceMap(values))
    stored, _ = read_stored_exr(tmp_path / "half.exr")
    assert stored.dtype == np.float16
    np.testing.assert_array_equal(stored, values)
    np.testing.assert_array_equal(read_exr(tmp_path / "half.exr")[0], values.astype(np.float32))
    write_exr(tmp_path / "full.exr", RadianceMap(values.astype(np.float32) / 3), float32=True)
    assert read_stored_exr(tmp_path / "full.exr")[0].dtype == np.float32
