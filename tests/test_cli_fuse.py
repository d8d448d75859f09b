"""``hdrmerge fuse`` from end to end on little brackets, and all that can be wrong with one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge import read_radiance
from hdrmerge.errors import ExitCode
from hdrmerge.frames import CaptureSettings, RadianceMap
from hdrmerge.pipeline import MergeResult
from hdrmerge.report import FrameReport, MergeReport
from hdrmerge.response import Response
from hdrmerge.results import ghost_picture
from tests.cli_tools import Command, photograph, scene, write_bracket, write_photograph


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def bracket(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "photographs"
    folder.mkdir()
    return write_bracket(folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.exr"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_the_scene_comes_back(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--response", "srgb", "--no-align")
    assert outcome.code == ExitCode.OK, outcome.err
    pixels, _ = read_radiance(out)
    truth = scene()
    inner = (truth > 0.02) & (truth < 4)  # neither noise of 8 bits nor clipped in every frame
    ratio = np.log2(pixels[inner] / truth[inner])
    assert np.std(ratio) < 0.1


def test_defaults_write_an_exr_and_talk_on_stderr(
    hdrmerge: Command, bracket: list[Path], out: Path
) -> None:
    outcome = hdrmerge("fuse", *bracket, "-o", out)
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.out == ""
    for path in bracket:
        assert path.name in outcome.err
    assert f"Wrote {out}" in outcome.err
    assert files(out.parent) == ["out.exr"]


def test_all_outputs(hdrmerge: Command, bracket: list[Path], tmp_path: Path, out: Path) -> None:
    wanted = {
        "--preview": tmp_path / "p.jpg",
        "--ghost-map": tmp_path / "g.png",
        "--report": tmp_path / "r.json",
    }
    extra = [word for pair in wanted.items() for word in pair]
    outcome = hdrmerge("fuse", *bracket, "-o", out, *extra, "-q", "--deghost", "classic")
    assert (outcome.code, outcome.out) == (ExitCode.OK, "")
    size = scene().shape[1::-1]
    assert Image.open(wanted["--preview"]).size == size
    assert Image.open(wanted["--ghost-map"]).size == size
    report = MergeReport.from_dict(json.loads(wanted["--report"].read_text()))
    assert (report.width, report.height) == size
    assert report.deghost == "classic"


def test_json_is_the_only_thing_on_stdout(
    hdrmerge: Command, bracket: list[Path], out: Path
) -> None:
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--json")
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.json["output"] == str(out)
    assert [f["file"] for f in outcome.json["frames"]] == [p.name for p in bracket]


def test_radiance_hdr(hdrmerge: Command, bracket: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "out.HDR"
    assert hdrmerge("fuse", *bracket, "-o", target).code == ExitCode.OK
    assert target.read_bytes().startswith(b"#?RADIANCE")


@pytest.mark.parametrize("option", [["--compression", "zip"], ["--float32"]])
def test_options_of_the_exr_are_not_for_radiance_hdr(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path, option: list[str]
) -> None:
    out = tmp_path / "room.HDR"
    wrong = hdrmerge("fuse", *bracket, "-o", out, *option)
    assert wrong.code == ExitCode.USAGE and f"{option[0]} is about EXR" in wrong.err
    wrong = hdrmerge("batch", bracket[0].parent, "-o", tmp_path / "all", "--format", "hdr", *option)
    assert wrong.code == ExitCode.USAGE and f"{option[0]} is about EXR" in wrong.err
    assert not out.exists() and not (tmp_path / "all").exists()


def test_float32_and_compression(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    assert hdrmerge("fuse", *bracket, "-o", out, "--compression", "none").code == ExitCode.OK
    half = out.stat().st_size
    extra = ("--float32", "--compression", "none")
    assert hdrmerge("fuse", *bracket, "-o", out, *extra).code == ExitCode.OK
    assert 1.8 < out.stat().st_size / half < 2.1


def test_the_order_of_the_files_changes_nothing(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path
) -> None:
    a, b = tmp_path / "a.exr", tmp_path / "b.exr"
    assert hdrmerge("fuse", *bracket, "-o", a).code == ExitCode.OK
    assert hdrmerge("fuse", *bracket[::-1], "-o", b).code == ExitCode.OK
    np.testing.assert_array_equal(read_radiance(a)[0], read_radiance(b)[0])


def test_ev_is_in_the_order_of_the_files(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    reverse = hdrmerge("fuse", *bracket[::-1], "-o", out, "--ev", "+2,0,-2", "--json").json
    assert [f["file"] for f in reverse["frames"]] == [p.name for p in bracket]


def test_an_existing_output_is_replaced(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    out.write_text("old")
    assert hdrmerge("fuse", *bracket, "-o", out).code == ExitCode.OK
    assert out.read_bytes()[:4] == b"\x76\x2f\x31\x01"


def test_the_same_command_twice_in_one_folder(
    hdrmerge: Command, bracket: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time the pattern names the preview and the ghost map, too."""
    monkeypatch.chdir(bracket[0].parent)
    kind = bracket[0].suffix
    command = [
        "fuse",
        f"*{kind}",
        "-o",
        "out.exr",
        "--preview",
        f"p{kind}",
        "--ghost-map",
        f"g{kind}",
    ]
    first = hdrmerge(*command)
    before = Path("out.exr").read_bytes()
    second = hdrmerge(*command)
    assert first.code == second.code == ExitCode.OK, second.err
    assert Path("out.exr").read_bytes() == before
    assert "left out" not in first.err
    for name in (f"p{kind}", f"g{kind}"):
        assert f"{name} was left out: hdrmerge made it" in second.err
    assert "left out" in hdrmerge("info", f"*{kind}").err
    alone = hdrmerge("fuse", f"p{kind}", f"g{kind}", "-o", "other.exr")
    assert alone.code == ExitCode.OK and "left out" not in alone.err  # somebody wants just that


def test_names_with_spaces_and_accents(hdrmerge: Command, tmp_path: Path) -> None:
    folder = tmp_path / "été 2026"
    folder.mkdir()
    write_bracket(folder)
    outcome = hdrmerge("fuse", folder / "*.jpg", "-o", folder / "résultat 1.exr")
    assert outcome.code == ExitCode.OK, outcome.err
    assert (folder / "résultat 1.exr").is_file()


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "not an image":
        path.write_text("Dear diary, " * 100)
    elif how == "truncated":
        path.write_bytes(data[: len(data) // 3])
    elif how == "zero bytes":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    elif how == "a folder":
        path.unlink()
        path.mkdir()
    elif how == "a float TIFF with NaN":
        import tifffile

        pixels = scene().astype(np.float32)
        pixels[3, 4] = np.nan
        path.unlink()
        tifffile.imwrite(path, pixels, photometric="rgb")


@pytest.mark.parametrize(
    "how",
    ["not an image", "truncated", "zero bytes", "missing", "a folder", "a float TIFF with NaN"],
)
def test_a_spoilt_file(hdrmerge: Command, bracket: list[Path], out: Path, how: str) -> None:
    spoil(bracket[1], how)
    outcome = hdrmerge("fuse", *bracket, "-o", out)
    assert outcome.code == ExitCode.INPUT, outcome.err
    assert_sentence_and_hint(outcome.err, bracket[1].name)
    assert files(out.parent) == []


def assert_sentence_and_hint(text: str, word: str) -> None:
    error, hint = text.splitlines()
    assert error.startswith("error: ")
    assert word in error
    assert error.endswith((".", "!", "?"))
    assert len(hint) > len("hint: ") + 10


def test_mixed_sizes(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    write_photograph(bracket[1], photograph(scene(80, 128), 0), time=1 / 60)
    outcome = hdrmerge("fuse", *bracket, "-o", out)
    assert outcome.code == ExitCode.STACK
    assert_sentence_and_hint(outcome.err, "128 x 80")
    assert files(out.parent) == []


def test_one_photograph(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    outcome = hdrmerge("fuse", bracket[0], "-o", out)
    assert outcome.code == ExitCode.STACK
    assert_sentence_and_hint(outcome.err, "two")


def test_the_same_file_twice(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    link = bracket[0].with_name("link.jpg")
    link.symlink_to(bracket[0])
    for twin in (bracket[0], link):
        outcome = hdrmerge("fuse", *bracket, twin, "-o", out)
        assert outcome.code == ExitCode.STACK
        assert_sentence_and_hint(outcome.err, "twice")


def test_a_copy(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    copy = bracket[0].with_name("copy.jpg")
    copy.write_bytes(bracket[0].read_bytes())
    outcome = hdrmerge("fuse", *bracket, copy, "-o", out)
    assert outcome.code == ExitCode.STACK
    assert_sentence_and_hint(outcome.err, "copy.jpg")


def test_the_same_exposure_in_all(hdrmerge: Command, tmp_path: Path, out: Path) -> None:
    # also what auto-ISO makes of a bracket; it lowers noise, so it is no error
    rng = np.random.default_rng(3)
    paths = []
    for k in range(3):
        noisy = photograph(scene() * rng.normal(1, 0.02, (96, 128, 1)), -1)
        paths.append(write_photograph(tmp_path / f"{k}.png", noisy))
    outcome = hdrmerge("fuse", *paths, "-o", out)
    assert outcome.code == ExitCode.OK, outcome.err
    assert "warning:" in outcome.err
    assert "equally exposed" in outcome.err


@pytest.mark.parametrize(
    ("extra", "code", "word"),
    [
        (["--ev", "1,2"], ExitCode.USAGE, "--ev"),
        (["--ev", "1,2,x"], ExitCode.USAGE, "--ev"),
        (["--times", "1,2,0"], ExitCode.USAGE, "--times"),
        (["--times", "1,2,3", "--ev", "1,2,3"], ExitCode.USAGE, "--ev"),
        (["--reference", "other.jpg"], ExitCode.USAGE, "--reference"),
        (["--response", "sparkle"], None, "sparkle"),
        (["--model", "sparkle"], None, "sparkle"),
        (["--weights", "sparkle"], ExitCode.WEIGHTS, "sparkle"),
        (["--preview", "p.gif"], ExitCode.USAGE, "p.gif"),
        (["--report", "r.txt"], ExitCode.USAGE, "r.txt"),
        (["--ghost-map", "missing/g.png"], ExitCode.OUTPUT, "missing"),
    ],
)
def test_options_that_make_no_sense(
    hdrmerge: Command,
    bracket: list[Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    extra: list[str],
    code: ExitCode | None,
    word: str,
) -> None:
    monkeypatch.chdir(out.parent)
    outcome = hdrmerge("fuse", *bracket, "-o", out, *extra)
    assert outcome.code in ([code] if code else [ExitCode.USAGE, ExitCode.INPUT]), outcome.err
    assert_sentence_and_hint(outcome.err, word)
    assert files(out.parent) == []


def test_corrupt_weights(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    weights = out.with_name("broken.safetensors")
    weights.write_bytes(b"\xff" * 100)
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--weights", weights)
    assert outcome.code == ExitCode.WEIGHTS
    assert_sentence_and_hint(outcome.err, "broken.safetensors")
    assert files(out.parent) == ["broken.safetensors"]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("out.png", ExitCode.USAGE),
        ("out", ExitCode.USAGE),
        ("missing/out.exr", ExitCode.OUTPUT),
        ("folder.exr", ExitCode.OUTPUT),
    ],
)
def test_outputs_that_cannot_be(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path, name: str, code: ExitCode
) -> None:
    (tmp_path / "folder.exr").mkdir()
    outcome = hdrmerge("fuse", *bracket, "-o", tmp_path / name)
    assert outcome.code == code
    assert_sentence_and_hint(outcome.err, name.partition("/")[0])
    assert files(tmp_path) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    outcome = hdrmerge("fuse", *bracket, "-o", locked / "out.exr")
    assert outcome.code == ExitCode.OUTPUT
    assert_sentence_and_hint(outcome.err, "locked")


def test_an_input_is_never_overwritten(hdrmerge: Command, bracket: list[Path], out: Path) -> None:
    before = bracket[0].read_bytes()
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--preview", bracket[0])
    assert outcome.code == ExitCode.USAGE
    assert_sentence_and_hint(outcome.err, bracket[0].name)
    assert bracket[0].read_bytes() == before


def test_one_name_for_two_outputs(hdrmerge: Command, bracket: list[Path], tmp_path: Path) -> None:
    same = tmp_path / "p.png"
    outcome = hdrmerge(
        "fuse", *bracket, "-o", tmp_path / "o.exr", "--preview", same, "--ghost-map", same
    )
    assert outcome.code == ExitCode.USAGE


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), OSError(28, "full")])
def test_nothing_is_left_half_written(
    hdrmerge: Command,
    bracket: list[Path],
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("os.replace", stop)
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--preview", out.with_name("p.jpg"))
    assert outcome.code != ExitCode.OK
    assert files(out.parent) == []


def test_ghost_picture_is_the_mean_of_the_other_frames() -> None:
    trust = np.array([[[0.0]], [[1.0]], [[0.5]]], np.float32)
    report = MergeReport(frames=[FrameReport(file=n) for n in "abc"], reference="b")
    radiance = RadianceMap(np.zeros((4, 6, 3), np.float32))
    result = MergeResult(radiance, report, trust, CaptureSettings(), Response.srgb())
    picture = ghost_picture(result, 4, 6)
    assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    assert np.all(picture == 64)  # a quarter of 255
