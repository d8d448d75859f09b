"""``hdrmerge simulate`` and ``hdrmerge evaluate`` as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hdrmerge.errors import ExitCode
from hdrmerge.frames import RadianceMap
from hdrmerge.io import read_radiance, write_exr
from hdrmerge.simulate.motion import smooth_noise
from tests.cli_tools import Command


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    pixels = np.exp(1.5 * smooth_noise(120, 160, 9, np.random.default_rng(0), 3))
    write_exr(tmp_path / "scene.exr", RadianceMap(pixels.astype(np.float32)))
    return tmp_path / "scene.exr"


def test_bracket_of_a_file_and_its_scores(hdrmerge: Command, scene: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    done = hdrmerge(
        "simulate", scene, "-o", out, "--stops=-2,0,+2", "--motion", 2, "--shake", 0.2, "--json"
    )
    assert done.code == ExitCode.OK
    report = json.loads(done.out)
    assert [Path(f).name for f in report["frames"]] == [f"frame_{k}.jpg" for k in range(3)]
    assert report["stops"] == [-2, 0, 2] and report["reference"] == 1 and report["moving"] > 0
    assert read_radiance(out / "truth.exr")[0].shape[2] == 3
    scores, page = tmp_path / "scores.json", tmp_path / "page.html"
    done = hdrmerge("evaluate", out, "-m", "single", "-m", "oracle", "-o", scores, "--page", page)
    assert done.code == ExitCode.OK
    assert page.read_text().count("data:image/jpeg") == 5
    assert len(done.out.splitlines()) == 3 and "oracle" in done.out
    single, oracle = json.loads(scores.read_text())
    assert single["regions"]["all"]["psnr_mu"] < oracle["regions"]["all"]["psnr_mu"]


def test_the_room_needs_no_file(hdrmerge: Command, tmp_path: Path) -> None:
    done = hdrmerge("simulate", "room", "-o", tmp_path, "--size", "60x40", "--format", "png16")
    assert done.code == ExitCode.OK
    assert {p.name for p in tmp_path.glob("frame_*")} == {f"frame_{k}.png" for k in range(3)}
    assert done.out == "" and "scene.json" in done.err


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--size", "big"], ExitCode.USAGE, "--size"),
        (["--stops", "a,b"], ExitCode.USAGE, "--stops"),
        (["--response", "sepia"], ExitCode.USAGE, "camera response"),
        (["--noise", "0"], ExitCode.USAGE, "full_well"),
        (["--reference", "7"], ExitCode.USAGE, "no frame 7"),
        (["--shake", "20"], ExitCode.USAGE, "too small"),
        (["--format", "gif"], ExitCode.USAGE, "gif"),
    ],
)
def test_wrong_options_are_a_sentence(
    hdrmerge: Command,
    scene: Path,
    tmp_path: Path,
    options: list[str],
    code: ExitCode,
    message: str,
) -> None:
    done = hdrmerge("simulate", scene, "-o", tmp_path / "b", *options)
    assert done.code == code
    assert message in done.err and "Traceback" not in done.err
    assert not (tmp_path / "b").exists()


def test_output_that_is_a_file_and_scene_that_is_not_there(
    hdrmerge: Command, scene: Path, tmp_path: Path
) -> None:
    assert hdrmerge("simulate", scene, "-o", scene).code == ExitCode.OUTPUT
    assert hdrmerge("simulate", tmp_path / "no.exr", "-o", tmp_path).code == ExitCode.INPUT
    assert hdrmerge("evaluate", tmp_path).code == ExitCode.INPUT
