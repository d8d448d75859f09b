"""``fuse --model`` with the published networks' shipped weights, and ``--attention-map``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hdrmerge.errors import ExitCode
from hdrmerge.io import read_radiance
from tests.cli_tools import Command, photograph, scene, write_bracket, write_photograph

pytest.importorskip("torch")


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.mark.parametrize("model", ["ahdrnet", "sk-ahdrnet"])
def test_the_shipped_weights_are_used_and_named(
    hdrmerge: Command, tmp_path: Path, model: str
) -> None:
    out, maps = tmp_path / "out.exr", tmp_path / "maps"
    bracket = write_bracket(tmp_path)
    outcome = hdrmerge(
        "fuse", *bracket, "-o", out, "--model", model, "--attention-map", maps, "--json"
    )
    assert outcome.code == 0, outcome.err
    assert outcome.json["model"] == f"{model}-half" and outcome.json["deghost"] == "reconstruct"
    assert outcome.json["frames"][0]["rejected"] is None  # it does not tell
    assert (
        f"{model}-half is a narrow {model}: 32 of the published 64" in outcome.json["warnings"][-1]
    )
    radiance = read_radiance(out)[0]
    truth = scene()
    inside = (truth > 0.05) & (truth < 1.0)
    ratio = radiance[inside] / truth[inside]
    assert abs(np.log2(ratio / np.median(ratio))).mean() < 0.4  # a picture of this scene
    assert sorted(path.name for path in maps.iterdir()) == [
        "attention_long.png",
        "attention_short.png",
    ]
    for path in maps.iterdir():
        codes = np.asarray(Image.open(path))
        assert codes.shape == radiance.shape and codes.max() == 255
        assert (codes[..., 0] == codes[..., 1]).all() and codes.std() > 2


def test_the_reference_lies_between_the_other_two(hdrmerge: Command, tmp_path: Path) -> None:
    """Even where the shortest frame alone would be the best: the networks know no other place."""
    radiance = 0.9 * (scene() / scene().max()) ** 0.25  # the longer frames clip nearly all of it
    bracket = [
        write_photograph(tmp_path / f"{k}.jpg", photograph(radiance, 2 * k), time=2.0 ** (2 * k))
        for k in range(3)
    ]
    plain = hdrmerge("fuse", *bracket, "-o", tmp_path / "a.exr", "--json")
    network = hdrmerge("fuse", *bracket, "-o", tmp_path / "b.exr", "--model", "ahdrnet", "--json")
    assert plain.json["reference"] == "0.jpg" and network.json["reference"] == "1.jpg"


@pytest.mark.parametrize("options", [[], ["--deghost", "classic"], ["--model", "decider"]])
def test_what_has_no_attention_says_so(
    hdrmerge: Command, tmp_path: Path, options: list[str]
) -> None:
    bracket, maps = write_bracket(tmp_path), tmp_path / "maps"
    out = tmp_path / "out.exr"
    outcome = hdrmerge("fuse", *bracket, "-o", out, "--attention-map", maps, *options)
    assert outcome.code == ExitCode.USAGE and "--model ahdrnet" in outcome.err
    assert not out.exists() and not maps.exists()


def test_the_folder_must_be_one(hdrmerge: Command, tmp_path: Path) -> None:
    bracket, maps = write_bracket(tmp_path), tmp_path / "maps"
    maps.write_text("mine")
    outcome = hdrmerge(
        "fuse", *bracket, "-o", tmp_path / "o.exr", "--model", "ahdrnet", "--attention-map", maps
    )
    assert outcome.code == ExitCode.OUTPUT and "is a file" in outcome.err
    assert maps.read_text() == "mine"
