"""``hdrmerge response`` from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge.errors import ExitCode
from hdrmerge.response import read_response
from tests.cli_tools import Command, scene, write_photograph


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def s_curve(x: np.ndarray) -> np.ndarray:
    y = x ** (1 / 2.2)
    return 0.45 * y + 0.55 * y * y * (3 - 2 * y)


@pytest.fixture(scope="module")
def bracket(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three frames through an S-shaped response."""
    folder = tmp_path_factory.mktemp("bracket")
    rng = np.random.default_rng(1)
    files = []
    for k, stops in enumerate((-2, 0, 2)):
        light = scene(320, 480) * 2.0 ** (stops - 1)
        light = np.clip(light + rng.normal(0, 0.002, light.shape), 0, 1)
        codes = np.round(255 * s_curve(light)).astype(np.uint8)
        files.append(write_photograph(folder / f"{k}.png", codes, time=2.0**stops / 60))
    return files


def test_it_is_found_saved_drawn_and_used(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path
) -> None:
    saved, plot = tmp_path / "camera.json", tmp_path / "camera.png"
    outcome = hdrmerge("response", *bracket, "-o", saved, "--plot", plot, "--no-align")
    assert outcome.code == ExitCode.OK, outcome.err
    assert outcome.out == ""
    assert bracket[0].name in outcome.err and "estimated" in outcome.err
    assert Image.open(plot).size == (900, 640)
    x = np.geomspace(0.02, 0.9, 40)
    found = read_response(saved).encode(np.repeat(x[:, None], 3, 1).astype(np.float32))[:, 1]
    np.testing.assert_allclose(found, s_curve(x), atol=0.03)
    again = hdrmerge("fuse", *bracket, "-o", tmp_path / "o.exr", "--response", saved, "--no-align")
    assert again.code == ExitCode.OK, again.err


@pytest.mark.parametrize("method", ["estimate", "debevec"])
def test_json(hdrmerge: Command, bracket: list[Path], method: str) -> None:
    outcome = hdrmerge("response", *bracket, "--json", "--no-align", "--method", method)
    assert outcome.code == ExitCode.OK, outcome.err
    stops = [row["stops"] for row in outcome.json["frames"]]
    np.testing.assert_allclose(np.diff(stops), [2, 2])
    assert len(outcome.json["curve"]) == 3
    assert outcome.json["name"].startswith("estimated")


def test_what_cannot_be_done_is_said(
    hdrmerge: Command, bracket: list[Path], tmp_path: Path
) -> None:
    assert hdrmerge("response", bracket[0]).code == ExitCode.STACK
    assert hdrmerge("response", *bracket, "-o", tmp_path / "r.txt").code == ExitCode.USAGE
    assert hdrmerge("response", *bracket, "--method", "guess").code == ExitCode.USAGE
    black = [
        write_photograph(tmp_path / f"{k}.png", np.zeros((64, 64, 3), np.uint8), time=2.0**k)
        for k in range(2)
    ]
    outcome = hdrmerge("response", *black, "--no-align")
    assert outcome.code == ExitCode.STACK
    assert "hint:" in outcome.err
