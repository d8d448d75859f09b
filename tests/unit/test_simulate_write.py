"""What the simulator writes, any reader reads: EXIF, codes, masks and the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrmerge.errors import InputError, OutputError
from hdrmerge.io import read_frame
from hdrmerge.simulate import MotionConfig, SimulationConfig, render_bracket
from hdrmerge.simulate.motion import smooth_noise
from hdrmerge.simulate.write import read_bracket, write_bracket


def _bracket(**settings: Any) -> Any:
    rng = np.random.default_rng(0)
    scene = np.exp(smooth_noise(96, 128, 9, rng, 3)).astype(np.float32)
    return render_bracket(scene, SimulationConfig(**settings), rng)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("file_format", ["jpg", "png8", "png16", "tif16"])
def test_files_hold_the_codes_and_settings(
    tmp_path: Path, file_format: str, orientation: int
) -> None:
    bracket = _bracket(format=file_format, orientation=orientation)
    paths = write_bracket(bracket, tmp_path)
    for path, frame in zip(paths, bracket.frames, strict=True):
        read = read_frame(path)
        assert np.array_equal(read.pixels, frame.pixels)
        assert read.settings.exposure_time == pytest.approx(frame.settings.exposure_time)
        assert (read.settings.f_number, read.settings.iso) == (8.0, 100.0)
        assert read.settings.camera_model == "Simulated Camera"
        assert read.settings.captured_at is not None


def test_raw_files_hold_the_scene(tmp_path: Path) -> None:
    scene = np.full((64, 96, 3), (0.2, 0.3, 0.1), np.float32)
    config = SimulationConfig(format="dng", stops=(-1.0, 0.0), scale=1.0, full_well=1e6)
    paths = write_bracket(render_bracket(scene, config, np.random.default_rng(0)), tmp_path)
    frame = read_frame(paths[1])
    assert frame.encoding == "linear" and frame.settings.exposure_time == pytest.approx(1 / 60)
    middle = frame.fraction(frame.pixels)[16:-16, 16:-16].mean(axis=(0, 1))
    linear = (middle * frame.white_balance) @ frame.to_rec709.T
    assert np.allclose(linear / linear[1], np.array((0.2, 0.3, 0.1)) / 0.3, rtol=0.02)


@pytest.mark.parametrize("fault", ["missing", "zero", "same-time", "no-f-number"])
def test_faulty_exif_reads_as_what_is_not_known(tmp_path: Path, fault: str) -> None:
    bracket = _bracket(exif=fault)
    for path, frame in zip(write_bracket(bracket, tmp_path), bracket.frames, strict=True):
        read = read_frame(path).settings
        for name in ("exposure_time", "f_number", "iso"):
            expected = getattr(frame.settings, name)
            assert getattr(read, name) == (expected and pytest.approx(expected)), name


def test_bracket_read_back_is_the_bracket_written(tmp_path: Path) -> None:
    bracket = _bracket(
        motion=MotionConfig(3), shake_shift=3.0, shake_rotation=0.5, response="gamma:2.0"
    )
    write_bracket(bracket, tmp_path / "b", facts={"seed": 7})
    back = read_bracket(tmp_path / "b")
    assert back.stops == bracket.stops and back.reference == bracket.reference
    for name in ("same", "clipped", "valid", "motion", "truth", "homographies"):
        assert np.array_equal(getattr(back, name), getattr(bracket, name)), name
    for k in range(3):
        assert np.allclose(back.truth_of(k), bracket.truth_of(k), rtol=1e-4, atol=1e-5)
        assert np.array_equal(back.valid_for(k), bracket.valid_for(k))
    assert back.config.motion == bracket.config.motion
    facts = json.loads((tmp_path / "b" / "scene.json").read_text())
    assert facts["seed"] == 7 and facts["config"]["response"] == "gamma:2.0"


def test_sampled_response_survives_the_file(tmp_path: Path) -> None:
    curve = np.linspace(0, 1, 50) ** 2
    write_bracket(_bracket(response=curve), tmp_path)
    assert np.allclose(read_bracket(tmp_path).config.response, curve)


def test_folder_without_a_bracket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no simulated bracket"):
        read_bracket(tmp_path)
    (tmp_path / "scene.json").write_text("{}")
    with pytest.raises(InputError, match="no simulated bracket"):
        read_bracket(tmp_path)


def test_facts_of_another_version_are_refused(tmp_path: Path) -> None:
    write_bracket(_bracket(), tmp_path)
    facts = json.loads((tmp_path / "scene.json").read_text())
    facts["config"]["lens"] = "unknown"
    (tmp_path / "scene.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="not of this version"):
        read_bracket(tmp_path)


def test_damaged_mask_is_named(tmp_path: Path) -> None:
    write_bracket(_bracket(), tmp_path)
    (tmp_path / "same_1.png").write_bytes(b"")
    with pytest.raises(InputError, match="same_1"):
        read_bracket(tmp_path)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        write_bracket(_bracket(), tmp_path / "file" / "inside")
