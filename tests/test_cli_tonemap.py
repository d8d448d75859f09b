"""``hdrmerge tonemap`` and ``hdrmerge info``: what files say, and what may be wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge import TonemapConfig, write_exr
from hdrmerge.errors import ExitCode
from hdrmerge.frames import CaptureSettings, RadianceMap
from hdrmerge.io import read_exr
from hdrmerge.report import FrameReport, MergeReport
from hdrmerge.tonemap import OPERATORS, tonemap
from tests.cli_tools import Command, scene, write_bracket, write_photograph


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


REPORT = MergeReport(
    version="9",
    width=128,
    height=96,
    frames=[FrameReport(file="a.jpg", used_stops=-2.0), FrameReport(file="b.jpg")],
    reference="b.jpg",
    response="srgb",
    exposure_source="EXIF",
    deghost="classic",
)
SETTINGS = CaptureSettings(exposure_time=0.25, f_number=8.0, iso=200.0, camera_model="Model 1")


@pytest.fixture
def exr(tmp_path: Path) -> Path:
    path = tmp_path / "in.exr"
    write_exr(path, RadianceMap(scene().astype(np.float32)), REPORT, SETTINGS)
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("op", ["reinhard", "reinhard2002-local", "exposure"])
def test_a_picture_comes_out(hdrmerge: Command, exr: Path, suffix: str, op: str) -> None:
    target = exr.with_name("out" + suffix)
    outcome = hdrmerge("tonemap", exr, "-o", target, "--op", op, "--exposure", "0.5")
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.out == ""
    picture = np.asarray(Image.open(target))
    assert picture.shape == scene().shape
    assert 40 < picture.mean() < 220


def test_sixteen_bits(hdrmerge: Command, exr: Path) -> None:
    import tifffile

    target = exr.with_name("out.tif")
    assert hdrmerge("tonemap", exr, "-o", target, "--depth", "16").code == ExitCode.OK
    assert tifffile.imread(target).dtype == np.uint16


def test_parameters_matter(hdrmerge: Command, exr: Path) -> None:
    def mean(*extra: object) -> float:
        target = exr.with_name("out.png")
        done = hdrmerge("tonemap", exr, "-o", target, "--op", "reinhard2002", *extra)
        assert done.code == ExitCode.OK
        return float(np.asarray(Image.open(target)).mean())

    assert mean("--key", 0.05) < mean("--key", 0.18) < mean("--key", 0.18, "--exposure", 1)
    assert mean("--white", 50) < mean("--white", 1)


def test_set_is_key(hdrmerge: Command, exr: Path) -> None:
    one, other = exr.with_name("one.png"), exr.with_name("other.png")
    short, long = ["--key", 0.05, "--white", 3], ["--set", "key=0.05", "--set", "white = 3"]
    for target, extra in ((one, short), (other, long)):
        outcome = hdrmerge("tonemap", exr, "-o", target, "--op", "reinhard", *extra)
        assert outcome.code == ExitCode.OK, outcome.err
    np.testing.assert_array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(other)))


def test_saturation_and_colour(hdrmerge: Command, exr: Path) -> None:
    target = exr.with_name("out.png")

    def spread(*extra: object) -> float:
        assert hdrmerge("tonemap", exr, "-o", target, *extra).code == ExitCode.OK
        codes = np.asarray(Image.open(target)).astype(int)
        return float((codes.max(axis=2) - codes.min(axis=2)).mean())

    assert spread("--saturation", 0) <= 1
    assert spread("--saturation", 0.5) < spread() < spread("--saturation", 1.5)
    assert spread("--color", "schlick1995", "--saturation", 0.5) < spread("--colour", "none")


def test_a_sheet_of_all_operators(hdrmerge: Command, exr: Path) -> None:
    target = exr.with_name("sheet.jpg")
    outcome = hdrmerge("tonemap", exr, "-o", target, "--op", "all", "--json")
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.json["operator"] == "all"
    sheet = np.asarray(Image.open(target))
    columns, height, width = 4, 96 + 26 + 6, 128 + 6
    rows = -(-len(OPERATORS) // columns)
    assert sheet.shape == (rows * height + 6, columns * width + 6, 3)
    first = sheet[6 + 26 : 6 + 26 + 96, 6 : 6 + 128].astype(float)
    config = TonemapConfig(next(iter(OPERATORS)))
    expected = tonemap(read_exr(exr)[0], config).astype(float)
    assert np.abs(first - expected).mean() < 4  # JPEG, and the label beside it


def test_operators_are_listed_with_parameters_and_defaults(hdrmerge: Command) -> None:
    outcome = hdrmerge("tonemap", "--op", "list")
    assert outcome.code == ExitCode.OK, outcome.err
    for operator in OPERATORS.values():
        assert f"\n{operator.name}" in "\n" + outcome.out
        for alias in operator.aliases:
            assert alias in outcome.out
    assert re.search(r"^ +bias +0\.85 +0\.5 to 1", outcome.out, re.MULTILINE)
    assert re.search(r"^ +key +automatic", outcome.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--op", "drgo"], "drago"),
        (["--op", "drago", "--set", "key=1"], "bias"),
        (["--op", "drago", "--set", "key=1"], "reinhard2002"),
        (["--op", "drago", "--set", "bias=7"], "0.5 to 1"),
        (["--op", "drago", "--set", "bias"], "bias=0.9"),
        (["--op", "drago", "--set", "bias=much"], "'bias=much'"),
        (["--op", "drago", "--set", "bias=0.8", "--set", "bias=0.9"], "twice"),
        (["--key", "0.2", "--set", "key=0.3"], "same"),
        (["--op", "all", "--key", "0.2"], "one operator"),
        (["--op", "all", "--depth", "16"], "8 bits"),
        (["--exposure", "400"], "stops"),
        (["--saturation", "-1"], "saturation"),
        (["--colour", "loud"], "pouli2013"),
    ],
)
def test_a_mistake_is_named(hdrmerge: Command, exr: Path, extra: list[str], said: str) -> None:
    target = exr.with_name("out.png")
    outcome = hdrmerge("tonemap", exr, "-o", target, *extra)
    assert outcome.code == ExitCode.USAGE
    assert outcome.err.startswith("error: ")
    assert said in outcome.err
    assert not target.exists()


def test_a_preview_takes_the_same_options(hdrmerge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    photographs = write_bracket(folder)
    out, preview, later = (tmp_path / name for name in ("o.exr", "p.png", "l.png"))
    look = ["--op", "drago", "--set", "bias=0.7", "--exposure", "1", "--saturation", "0.5"]
    outcome = hdrmerge("fuse", *photographs, "-o", out, "--float32", "--preview", preview, *look)
    assert outcome.code == ExitCode.OK, outcome.err
    assert hdrmerge("tonemap", out, "-o", later, *look).code == ExitCode.OK
    difference = np.asarray(Image.open(preview)).astype(int) - np.asarray(Image.open(later))
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("extra", [["--op", "agx"], ["--set", "key=1"], ["--exposure", "1"]])
def test_options_of_a_preview_that_is_not_made(
    hdrmerge: Command, tmp_path: Path, extra: list[str]
) -> None:
    outcome = hdrmerge("fuse", *write_bracket(tmp_path), "-o", tmp_path / "o.exr", *extra)
    assert outcome.code == ExitCode.USAGE
    assert "--preview" in outcome.err
    assert not (tmp_path / "o.exr").exists()


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        (["--op", "sparkle"], ExitCode.USAGE),
        (["--op", "exposure", "--key", "0.2"], ExitCode.USAGE),
        (["--key", "-1"], ExitCode.USAGE),
        (["--depth", "16"], ExitCode.USAGE),
    ],
)
def test_options_that_make_no_sense(
    hdrmerge: Command, exr: Path, extra: list[str], code: ExitCode
) -> None:
    target = exr.with_name("out.jpg")
    outcome = hdrmerge("tonemap", exr, "-o", target, *extra)
    assert outcome.code == code
    assert outcome.err.startswith("error: ")
    assert not target.exists()


@pytest.mark.parametrize("op", ["reinhard", "reinhard-local", "exposure"])
def test_nan_in_an_exr_is_shown_and_said(hdrmerge: Command, tmp_path: Path, op: str) -> None:
    import OpenEXR

    pixels = scene().astype(np.float32)
    pixels[5, 5], pixels[6, 6] = np.nan, np.inf
    path, target = tmp_path / "nan.exr", tmp_path / "out.png"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(path))
    outcome = hdrmerge("tonemap", path, "-o", target, "--op", op, "-q")
    assert outcome.code == ExitCode.OK, outcome.err
    assert "warning:" in outcome.err
    assert "6 values" in outcome.err
    assert not np.asarray(Image.open(target))[5, 5].any()


@pytest.mark.parametrize("content", [b"", b"Dear diary", b"\x76\x2f\x31\x01\x02\x00\x00\x00abc"])
@pytest.mark.parametrize("command", ["tonemap", "info"])
def test_no_hdr_file(hdrmerge: Command, tmp_path: Path, content: bytes, command: str) -> None:
    path, target = tmp_path / "in.exr", tmp_path / "out.jpg"
    path.write_bytes(content)
    extra = ["-o", target] if command == "tonemap" else []
    outcome = hdrmerge(command, path, *extra)
    assert outcome.code == ExitCode.INPUT, outcome.err
    assert "in.exr" in outcome.err
    assert not target.exists()


def test_a_photograph_is_no_hdr_file(hdrmerge: Command, tmp_path: Path) -> None:
    path = write_photograph(tmp_path / "a.jpg", np.zeros((8, 8, 3), np.uint8))
    outcome = hdrmerge("tonemap", path, "-o", tmp_path / "out.png")
    assert outcome.code == ExitCode.INPUT


def test_info_reads_back_what_fuse_wrote(hdrmerge: Command, exr: Path) -> None:
    outcome = hdrmerge("info", exr)
    assert outcome.code == ExitCode.OK, outcome.err
    for word in ("0.25", "200", "Model 1", "a.jpg", "b.jpg *", "lin_rec709_scene", "srgb"):
        assert word in outcome.out, word


def test_info_as_json(hdrmerge: Command, exr: Path) -> None:
    data = hdrmerge("info", exr, "--json", "--stats").json
    assert MergeReport.from_dict(data["report"]) == REPORT
    assert data["minimum"] == pytest.approx(scene().min(), rel=1e-2)
    assert data["maximum"] == pytest.approx(scene().max(), rel=1e-2)
    assert 8 < data["dynamic_range_stops"] < 11


def test_info_of_an_exr_decodes_no_pixels(
    hdrmerge: Command, exr: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("hdrmerge.io.read_radiance", fail)
    assert hdrmerge("info", exr).code == ExitCode.OK
    assert read_exr(exr)[0].shape == scene().shape


def test_info_of_radiance_hdr(hdrmerge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    target = tmp_path / "out.hdr"
    assert hdrmerge("fuse", *write_bracket(folder), "-o", target).code == ExitCode.OK
    outcome = hdrmerge("info", target, "--stats")
    assert outcome.code == ExitCode.OK, outcome.err
    assert "maximum" in outcome.out


def test_info_of_photographs_says_what_would_be_done(hdrmerge: Command, tmp_path: Path) -> None:
    paths = write_bracket(tmp_path)
    outcome = hdrmerge("info", *paths)
    assert outcome.code == ExitCode.OK, outcome.err
    for word in ("1/15 s", "1/60 s", "1/240 s", "EV100", "*"):
        assert word in outcome.out, word
    data = hdrmerge("info", *paths, "--json").json
    assert [p["ev100"] for p in data["photographs"]] == pytest.approx(
        [13.91, 11.91, 9.91], abs=0.05
    )
    stops = [frame["used_stops"] for frame in data["plan"]["frames"]]
    assert max(stops) - min(stops) == pytest.approx(4.0, abs=0.1)
    # what only the merge tells is not known, and not claimed to be nothing
    assert "clipped in every frame" not in outcome.out
    assert [frame["rejected"] for frame in data["plan"]["frames"]] == [None] * 3
    assert data["plan"]["clipped_everywhere"] is None


def test_info_of_one_photograph(hdrmerge: Command, tmp_path: Path) -> None:
    outcome = hdrmerge("info", write_bracket(tmp_path)[0], "--json")
    assert outcome.json["plan"] is None
    assert outcome.json["photographs"][0]["f_number"] == 8.0


def test_info_of_a_mixture(hdrmerge: Command, exr: Path, tmp_path: Path) -> None:
    outcome = hdrmerge("info", exr, *write_bracket(tmp_path))
    assert outcome.code == ExitCode.USAGE
