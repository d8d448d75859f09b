"""Ultra HDR JPEG: read by a reader of the tests' own, by libultrahdr, and by metadata tools."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from io_files import FULL_SETTINGS as FULL
from PIL import Image

from hdrmerge.io import write_display, write_ultra_hdr
from hdrmerge.io.containers import jpeg_segments
from hdrmerge.io.exif import read_exif
from hdrmerge.io.gainmap import make_gain_map
from hdrmerge.tonemap.quantise import encode

WHITE = 203.0
PEAK = np.float32(1000 / WHITE)


def scene(height: int = 96, width: int = 160) -> np.ndarray:
    """A coloured ramp from 2 to 1000 cd/m2, with texture, in units of diffuse white."""
    rng = np.random.default_rng(3)
    ramp = np.exp2(np.linspace(np.log2(2 / WHITE), np.log2(PEAK), width))[None, :, None]
    tint = np.array([1.0, 0.8, 0.6])[None, None] ** np.linspace(-1, 1, height)[:, None, None]
    texture = np.exp2(rng.normal(0, 0.1, (height, width, 1)))
    return np.minimum(ramp * tint * texture, PEAK).astype(np.float32)


def base_codes(light: np.ndarray) -> np.ndarray:
    """A plain tone mapping of it."""
    return encode((light * 1.2 / (1 + light)).clip(0, 1), 8, dither=True)


@dataclass
class Parts:
    """The two JPEGs of a file, and what its ISO 21496-1 block says."""

    base: bytes
    gain_map: bytes
    headroom: float
    low: np.ndarray
    high: np.ndarray
    offset: float
    channels: int


def payloads(jpeg: bytes, marker: int, name: bytes) -> list[bytes]:
    found = [jpeg[start:end] for kind, start, end in jpeg_segments(jpeg) if kind == marker]
    return [payload[len(name) :] for payload in found if payload.startswith(name)]


def split(data: bytes) -> Parts:
    """By the Multi-Picture index, whose numbers must lead to the second picture and the end."""
    start = data.index(b"MPF\0") + 4
    assert data[start : start + 8] == b"MM\0\x2a\0\0\0\x08"
    (entries,) = struct.unpack_from(">I", data, start + 8 + 2 + 12 * 2 + 8)
    _, first, zero, _, _, second, offset, _ = struct.unpack_from(">8I", data, start + entries)
    assert (zero, start + offset, first + second) == (0, first, len(data))
    base, gain_map = data[:first], data[first:]
    (iso,) = payloads(gain_map, 0xE2, b"urn:iso:std:iso:ts:21496:-1\0")
    assert iso[:4] == bytes(4)
    channels = 3 if iso[4] & 0x80 else 1
    assert iso[4] & 0x40
    assert len(iso) == 5 + 8 * (2 + 5 * channels)
    pairs = struct.unpack(f">{'iI' * (2 + 5 * channels)}", iso[5:])
    values = np.array(pairs[::2]) / np.array(pairs[1::2])
    fields = values[2:].reshape(channels, 5)
    assert values[0] == 0
    assert np.all(fields[:, 2] == 1)
    assert np.ptp(fields[:, 3:]) == 0
    return Parts(
        base, gain_map, values[1], fields[:, 0], fields[:, 1], float(fields[0, 3]), channels
    )


def decode(parts: Parts) -> np.ndarray:
    """ISO 21496-1's reconstruction with all the headroom, from what libjpeg decodes."""
    code = np.asarray(Image.open(io.BytesIO(parts.base))) / 255
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    fraction = np.asarray(Image.open(io.BytesIO(parts.gain_map))) / 255
    gain = parts.low + fraction.reshape(*fraction.shape[:2], -1) * (parts.high - parts.low)
    return (linear + parts.offset) * 2.0**gain - parts.offset


def errors(decoded: np.ndarray, light: np.ndarray, least: float) -> np.ndarray:
    """Relative errors of the values between ``least`` cd/m2 and the peak."""
    held = (light > least / WHITE) & (light < PEAK * 0.999)
    return np.abs(decoded / light - 1)[held]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, np.ndarray]:
    light = scene()
    codes = base_codes(light)
    path = tmp_path_factory.mktemp("gainmap") / "a.jpg"
    write_ultra_hdr(path, codes, light, FULL)
    return path, codes, light


def test_the_base_is_the_ordinary_picture(
    written: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    path, codes, _ = written
    write_display(tmp_path / "plain.jpg", codes, FULL)
    plain = (tmp_path / "plain.jpg").read_bytes()
    base = split(path.read_bytes()).base
    rest = bytearray(base)
    for name in (b"http://ns.adobe.com/xap/1.0/\0", b"urn:iso:std:iso:ts:21496:-1\0", b"MPF\0"):
        at = rest.index(name)
        length = struct.unpack_from(">H", rest, at - 2)[0]
        del rest[at - 4 : at - 2 + length]
    assert bytes(rest) == plain
    np.testing.assert_array_equal(
        np.asarray(Image.open(path)), np.asarray(Image.open(tmp_path / "plain.jpg"))
    )


def test_it_decodes_to_the_light_within_a_percent(
    written: tuple[Path, np.ndarray, np.ndarray],
) -> None:
    path, _, light = written
    wrong = errors(decode(split(path.read_bytes())), light, 4)
    assert wrong.mean() < 0.005
    assert np.mean(wrong < 0.01) > 0.9
    assert np.percentile(wrong, 99) < 0.02


def test_libultrahdr_decodes_it(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="libultrahdr, by imagecodecs, is absent")
    path, _, light = written
    decoded = codecs.ultrahdr_decode(path.read_bytes(), dtype="float16", boost=float(PEAK))
    wrong = errors(decoded[..., :3].astype(np.float64), light, 4)
    assert wrong.mean() < 0.005
    assert np.mean(wrong < 0.01) > 0.9


def test_xmp_and_iso_say_the_same(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    data = written[0].read_bytes()
    parts = split(data)
    (own,) = payloads(parts.gain_map, 0xE1, b"http://ns.adobe.com/xap/1.0/\0")
    text = own.decode()
    for name, values in (("GainMapMin", parts.low), ("GainMapMax", parts.high)):
        (found,) = re.findall(f"<hdrgm:{name}><rdf:Seq>(.*?)</rdf:Seq>", text)
        listed = [float(v) for v in re.findall("<rdf:li>(.*?)</rdf:li>", found)]
        assert listed == pytest.approx(values.tolist(), abs=2e-6)
    for name, value in (
        ("HDRCapacityMax", parts.headroom),
        ("HDRCapacityMin", 0),
        ("OffsetSDR", parts.offset),
        ("OffsetHDR", parts.offset),
        ("Gamma", 1),
    ):
        (found,) = re.findall(f'hdrgm:{name}="(.*?)"', text)
        assert float(found) == pytest.approx(value, abs=2e-6)
    assert parts.headroom == pytest.approx(np.log2(PEAK), abs=1e-3)
    assert 'hdrgm:Version="1.0"' in text
    (directory,) = payloads(parts.base, 0xE1, b"http://ns.adobe.com/xap/1.0/\0")
    assert f'Item:Length="{len(parts.gain_map)}"'.encode() in directory
    assert b'Item:Semantic="GainMap"' in directory
    assert b'hdrgm:Version="1.0"' in directory
    assert payloads(parts.base, 0xE2, b"urn:iso:std:iso:ts:21496:-1\0") == [bytes(4)]


def test_exif_is_there_once(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    parts = split(written[0].read_bytes())
    assert read_exif(io.BytesIO(parts.base)).settings.camera_model == FULL.camera_model
    assert b"Exif\0" not in parts.gain_map


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
def test_exiftool_reads_it(written: tuple[Path, np.ndarray, np.ndarray]) -> None:
    arguments = ["exiftool", "-a", "-s2", "-NumberOfImages", "-DirectoryItemSemantic", "-Model"]
    done = subprocess.run([*arguments, written[0]], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        *("NumberOfImages:", "2", "DirectoryItemSemantic:", "Primary"),
        *("DirectoryItemSemantic:", "GainMap", "Model:", "Model"),
    ]


def test_a_small_map_is_small_and_close(tmp_path: Path) -> None:
    smooth = np.repeat(scene()[:, :1] ** 0, 160, axis=1) * np.linspace(0.05, PEAK, 160)[:, None]
    light = smooth.astype(np.float32)
    codes = base_codes(light)
    write_ultra_hdr(tmp_path / "a.jpg", codes, light, detail="small")
    parts = split((tmp_path / "a.jpg").read_bytes())
    assert parts.channels == 1
    small = Image.open(io.BytesIO(parts.gain_map))
    assert (small.mode, small.size) == ("L", (40, 24))
    assert len(parts.gain_map) < 0.5 * len(parts.base)
    full = np.asarray(small.resize((160, 96), Image.Resampling.BILINEAR))
    wide = io.BytesIO()
    Image.fromarray(full).save(wide, "PNG")
    parts.gain_map = wide.getvalue()
    assert np.median(errors(decode(parts), light, 20)) < 0.03


def test_a_known_gain() -> None:
    """Grey 188 is linear 0.5029; light of twice that needs log2((1.0058 + k) / (0.5029 + k))."""
    ycc = np.full((8, 8, 3), (188, 128, 128), np.uint8)
    linear = ((188 / 255 + 0.055) / 1.055) ** 2.4
    light = np.full((8, 8, 3), 2 * linear, np.float32)
    gain = make_gain_map(ycc, light)
    expected = np.log2((2 * linear + 1 / 256) / (linear + 1 / 256))
    assert gain.low == pytest.approx([expected] * 3, abs=1e-4)
    assert np.ptp(gain.codes) == 0


@pytest.mark.parametrize("value", [0.0, 1.0, 4.9])
@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5)])
@pytest.mark.parametrize("detail", ["exact", "small"])
def test_nothing_to_see_is_no_problem(
    tmp_path: Path, shape: tuple[int, int], value: float, detail: str
) -> None:
    light = np.full((*shape, 3), value, np.float32)
    write_ultra_hdr(tmp_path / "a.jpg", base_codes(light), light, detail=detail)
    parts = split((tmp_path / "a.jpg").read_bytes())
    assert parts.headroom > 0
    assert np.all(parts.high > parts.low)
    if detail == "exact":
        np.testing.assert_allclose(decode(parts), light, atol=0.006, rtol=0.01)
