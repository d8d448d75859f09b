"""Camera RAW: rendered DNGs of which every code is known, and one real file."""

from __future__ import annotations

import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from io_files import SETTINGS, SHARED, dng_file, picture

from hdrmerge.errors import InputError
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.io import read_frame
from hdrmerge.io.icc import PRIMARIES, rgb_to_xyz
from hdrmerge.simulate.dng import REC709_FROM_XYZ, mosaic, write_dng

BLACK, WHITE = 512, 60000


def scene(height: int = 64, width: int = 96) -> np.ndarray[Any, Any]:
    """(H, W, 3) linear in [0.02, 0.6], smooth."""
    y, x = np.mgrid[0:height, 0:width]
    wave = 0.5 + 0.5 * np.sin(x / 9.0)[..., None] * np.cos(y / 7.0)[..., None]
    return (0.02 + 0.58 * wave * np.array([0.6, 0.8, 1.0])).astype(np.float64)


def codes(linear: np.ndarray[Any, Any], black: float = BLACK, white: float = WHITE) -> Any:
    return np.clip(np.rint(black + linear * (white - black)), 0, white).astype(np.uint16)


def inner(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return values[8:-8, 8:-8]


def linear_of(frame: Frame) -> np.ndarray[Any, Any]:
    return frame.fraction(frame.pixels)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_the_scene_comes_back(tmp_path: Path, pattern: str) -> None:
    path = tmp_path / "a.dng"
    cfa = mosaic(codes(scene()), pattern)
    write_dng(path, cfa, settings=SETTINGS, black=BLACK, white=WHITE, pattern=pattern)
    frame = read_frame(path)
    assert frame.encoding == "linear"
    assert frame.settings == SETTINGS
    assert frame.white_balance == (1, 1, 1)
    np.testing.assert_allclose(frame.to_rec709, np.eye(3), atol=1e-3)
    error = inner(linear_of(frame) - scene())
    assert np.sqrt(np.mean(error**2)) < 3e-3
    assert abs(error.mean()) < 3e-4


def test_each_site_has_its_own_black(tmp_path: Path) -> None:
    blacks = np.array([500.0, 520.0, 540.0, 560.0])
    linear = np.full((32, 48, 3), 0.25)
    cfa = mosaic(linear * 50000).astype(np.float64)
    for k in range(4):
        cfa[k // 2 :: 2, k % 2 :: 2] += blacks[k]
    path = tmp_path / "a.dng"
    write_dng(
        path,
        cfa.astype(np.uint16),
        settings=SETTINGS,
        black=(500.0, 520.0, 540.0, 560.0),
        white=60000,
    )
    expected = 12500 / (60000 - 530)
    np.testing.assert_allclose(linear_of(read_frame(path)), expected, rtol=1e-3)


def test_noise_below_black_survives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark = rng.normal(BLACK, 60, (128, 192, 3))
    path = tmp_path / "a.dng"
    write_dng(path, mosaic(np.rint(dark).astype(np.uint16)), settings=SETTINGS, black=BLACK)
    linear = linear_of(read_frame(path))
    assert linear.min() < 0
    assert abs(linear.mean()) < 3e-5  # clipped at black it would be 3.7e-4


def test_clipped_is_one_in_every_channel(tmp_path: Path) -> None:
    linear = np.full((64, 64, 3), 0.1)
    linear[:, 32:] = 2.0
    neutral = (0.5, 1.0, 0.7)
    path = dng_file(
        tmp_path / "a.dng",
        codes(linear * np.array(neutral)),
        black=BLACK,
        white=WHITE,
        as_shot_neutral=neutral,
    )
    fraction = linear_of(read_frame(path))
    np.testing.assert_allclose(fraction[8:-8, 44:-8], 1.0, atol=1e-3)
    np.testing.assert_allclose(
        inner(fraction)[:, :12], np.broadcast_to(0.1 * np.array(neutral), (48, 12, 3)), rtol=5e-3
    )


def test_white_balance_and_matrix(tmp_path: Path) -> None:
    # A camera with Rec.2020's primaries and unequal gains: white must come out white, and
    # its colours as Rec.709.
    to_xyz = rgb_to_xyz(PRIMARIES["Rec.2020"])
    gains = np.array([0.5, 1.0, 0.6])
    matrix = np.diag(gains) @ np.linalg.inv(to_xyz)
    rec709 = np.array([0.30, 0.12, 0.06])
    camera = matrix @ rgb_to_xyz(PRIMARIES["sRGB"]) @ rec709
    path = dng_file(
        tmp_path / "a.dng",
        codes(np.broadcast_to(camera, (32, 48, 3))),
        black=BLACK,
        white=WHITE,
        as_shot_neutral=tuple(gains),
        colour_matrix=tuple(matrix.ravel()),
    )
    frame = read_frame(path)
    np.testing.assert_allclose(frame.white_balance, [2.0, 1.0, 1 / 0.6], rtol=1e-4)
    np.testing.assert_allclose(frame.to_rec709 @ np.ones(3), 1, atol=1e-9)
    balanced = linear_of(frame)[16, 24] * frame.white_balance
    np.testing.assert_allclose(frame.to_rec709 @ balanced, rec709, rtol=0.01, atol=1e-3)


def test_overstated_white_level_is_found_in_the_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    linear = scene(200, 300) * 1.2 + rng.normal(0, 0.004, (200, 300, 3))
    linear[50:120, 50:120] = 3.0
    clipping = 0.93
    path = dng_file(
        tmp_path / "a.dng", codes(np.minimum(linear, clipping)), black=BLACK, white=WHITE
    )
    fraction = linear_of(read_frame(path))
    np.testing.assert_allclose(fraction[60:110, 60:110], 1.0, atol=1e-3)
    # What is not clipped keeps its scale: ratios between frames stay exact.
    np.testing.assert_allclose(np.median(fraction[140:190] / linear[140:190]), 1.0, rtol=2e-3)


def test_a_frame_that_does_not_clip_keeps_the_white_level(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    linear = np.full((200, 300, 3), 0.3)
    linear[50:150, 50:150] = 0.9  # a bright wall, evenly lit, with its shot noise
    linear += rng.normal(0, 0.008, linear.shape) * np.sqrt(linear)
    path = dng_file(tmp_path / "a.dng", codes(linear), black=BLACK, white=WHITE)
    fraction = linear_of(read_frame(path))
    assert fraction[60:140, 60:140].mean() == pytest.approx(0.9, abs=2e-3)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_orientation(tmp_path: Path, orientation: int, turns: int) -> None:
    cfa = codes(scene())
    upright = read_frame(dng_file(tmp_path / "a.dng", cfa, black=BLACK, white=WHITE))
    turned = dng_file(tmp_path / "b.dng", cfa, black=BLACK, white=WHITE, orientation=orientation)
    np.testing.assert_array_equal(read_frame(turned).pixels, np.rot90(upright.pixels, turns))


def test_a_mosaic_in_a_file_named_tif(tmp_path: Path) -> None:
    assert read_frame(dng_file(tmp_path / "a.tif", codes(scene()))).encoding == "linear"


def test_missing_settings_stay_unknown(tmp_path: Path) -> None:
    settings = replace(CaptureSettings(), camera_make="Maker", camera_model="Model")
    frame = read_frame(dng_file(tmp_path / "a.dng", codes(scene()), settings=settings))
    assert frame.settings == settings


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.9, 0.999])
def test_truncated(tmp_path: Path, keep: float) -> None:
    path = dng_file(tmp_path / "a.dng", codes(scene()))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError):
        read_frame(path)


def test_not_raw_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.nef"
    path.write_bytes(b"this was never a photograph" * 100)
    with pytest.raises(InputError, match="camera RAW") as caught:
        read_frame(path)
    assert caught.value.hint
    path.write_bytes(bytes(picture()))
    with pytest.raises(InputError):
        read_frame(path)


def test_five_frames_give_the_scene(tmp_path: Path) -> None:
    """Demosaicing and codes leave a static five-frame bracket above 48 dB (PSNR-L)."""
    import cv2

    rng = np.random.default_rng(3)
    fine = cv2.GaussianBlur(rng.normal(0, 1, (240, 320, 1)), (0, 0), 2)[..., None] * 4
    broad = cv2.GaussianBlur(rng.normal(0, 1, (240, 320, 3)), (0, 0), 12) * 30
    truth = np.exp(fine + broad)
    truth = truth / truth.max() * 0.95  # 1 = saturation of the shortest frame
    electrons, total, weight = 20000, 0.0, 0.0
    for stops in (0, 2, 4, 6, 8):
        exposed = np.minimum(truth * 2.0**stops, 1.5) * electrons
        noisy = rng.poisson(exposed) + rng.normal(0, 4, exposed.shape)
        path = dng_file(tmp_path / f"{stops}.dng", codes(noisy / electrons, 512, 65535), black=512)
        linear = linear_of(read_frame(path))
        valid = np.float64(linear.max(axis=2) < 0.97)
        valid = cv2.erode(valid, np.ones((3, 3))) if stops else np.ones_like(valid)
        part = valid[..., None] * (2.0**stops if stops else 1e-3)
        total, weight = total + part * linear / 2.0**stops, weight + part
    error = total / weight - truth
    assert -10 * np.log10(np.mean(error**2)) > 48.4


X_TRANS = np.array(
    [
        [1, 1, 0, 1, 1, 2],
        [1, 1, 2, 1, 1, 0],
        [2, 0, 1, 0, 2, 1],
        [1, 1, 2, 1, 1, 0],
        [1, 1, 0, 1, 1, 2],
        [0, 2, 1, 2, 0, 1],
    ]
)


def fractions(values: Any) -> tuple[int, ...]:
    pairs = [Fraction(float(v)).limit_denominator(10_000) for v in values]
    return tuple(n for f in pairs for n in (f.numerator, f.denominator))


@pytest.mark.parametrize("kind", ["bayer", "tiled", "x-trans", "linear", "mono", "float"])
def test_kinds_of_dng_by_another_writer(tmp_path: Path, kind: str) -> None:
    height, width = 516, 528  # LibRaw takes no X-Trans below 512
    y, x = np.mgrid[0:height, 0:width]
    linear = np.stack([0.1 + 0.3 * x / width, 0.2 + 0.3 * y / height, 0.4 - 0.2 * x / width], -1)
    tags: list[tuple[Any, ...]] = [
        (50706, 1, 4, b"\1\4\0\0", True),
        (50708, 2, 0, "Camera", True),
        (271, 2, 0, "Maker", True),
        (272, 2, 0, "Camera", True),
        (50721, 10, 9, fractions(REC709_FROM_XYZ), True),
        (50728, 5, 3, fractions((0.5, 1, 0.7)), True),
        (50778, 3, 1, 21, True),
        (33434, 5, 1, (1, 30), True),
    ]
    stored: Any = linear.astype(np.float32) if kind == "float" else codes(linear)
    if kind != "float":
        tags += [(50717, 4, 1, WHITE, True), (50714, 3, 1, BLACK, True)]
    if kind in ("bayer", "tiled", "float"):
        stored = mosaic(stored)
        tags += [(33421, 3, 2, (2, 2), True), (33422, 1, 4, bytes([0, 1, 1, 2]), True)]
    elif kind == "x-trans":
        pattern = np.tile(X_TRANS, (height // 6, width // 6))
        stored = np.take_along_axis(stored, pattern[..., None], axis=2)[..., 0]
        tags += [(33421, 3, 2, (6, 6), True), (33422, 1, 36, bytes(X_TRANS.ravel().tolist()), True)]
    elif kind == "mono":
        stored, linear = stored[..., 1], np.repeat(linear[..., 1:2], 3, axis=2)
    path = tmp_path / "a.dng"
    photometric = {"linear": 34892, "mono": "minisblack"}.get(kind, 32803)
    how: dict[str, Any] = {"tile": (64, 64)} if kind == "tiled" else {}
    tifffile.imwrite(path, stored, photometric=photometric, extratags=tags, metadata=None, **how)
    if kind == "mono":  # tifffile insists on three samples for linear RAW
        plain, raw = (struct.pack("<HHII", 262, 3, 1, v) for v in (1, 34892))
        path.write_bytes(path.read_bytes().replace(plain, raw))
    frame = read_frame(path)
    assert frame.settings.exposure_time == pytest.approx(1 / 30)
    if kind != "mono":
        np.testing.assert_allclose(frame.white_balance, [2, 1, 1 / 0.7], rtol=1e-3)
    np.testing.assert_allclose(inner(linear_of(frame)), inner(linear), atol=2e-3)


def test_real_raw() -> None:
    path = SHARED / "data/raw/kodak_dc50.kdc"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    frame = read_frame(path)
    assert frame.pixels.shape == (512, 768, 3)
    assert frame.settings.iso == 84
    assert frame.settings.exposure_time == pytest.approx(0.00435)
    assert frame.settings.camera_make == "Eastman Kodak Company"
    fraction = frame.fraction(frame.pixels)
    assert fraction.min() > -0.01
    assert 0.05 < fraction.mean() < 0.3
