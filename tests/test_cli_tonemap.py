"""``hdrmerge tonemap`` and ``hdrmerge info``: what files say, and what may be wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge import write_exr
from hdrmerge.errors import ExitCode
from hdrmerge.frames import CaptureSettings, RadianceMap
from hdrmerge.io import read_exr
from hdrmerge.report import FrameReport, MergeReport
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


def test_info_of_one_photograph(hdrmerge: Command, tmp_path: Path) -> None:
    outcome = hdrmerge("info", write_bracket(tmp_path)[0], "--json")
    assert outcome.json["plan"] is None
    assert outcome.json["photographs"][0]["f_number"] == 8.0


def test_info_of_a_mixture(hdrmerge: Command, exr: Path, tmp_path: Path) -> None:
    outcome = hdrmerge("info", exr, *write_bracket(tmp_path))
    assert outcome.code == ExitCode.USAGE
