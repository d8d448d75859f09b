"""Evaluation: scores land where they should, results from elsewhere count, mistakes are named."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hdrmerge.errors import InputError, UsageError
from hdrmerge.evaluate import evaluate, find_brackets, summarise, vdp
from hdrmerge.frames import RadianceMap
from hdrmerge.io import write_exr
from hdrmerge.simulate import MotionConfig, SimulationConfig, render_bracket
from hdrmerge.simulate.motion import smooth_noise
from hdrmerge.simulate.write import read_bracket, write_bracket


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    scene = np.exp(1.5 * smooth_noise(150, 200, 12, rng, 3)).astype(np.float32)
    config = SimulationConfig(
        motion=MotionConfig(3, step=25.0), shake_shift=3.0, shake_rotation=0.3, full_well=1500.0
    )
    path = tmp_path_factory.mktemp("exam") / "one"
    write_bracket(render_bracket(scene, config, rng), path)
    return path


def test_rows_are_in_the_order_that_they_must_be(folder: Path) -> None:
    results = evaluate([folder], ["off", "default", "oracle", "oracle+truth"])
    motion = {method: mean for method, (mean, _) in summarise(results, "motion", "psnr_mu").items()}
    assert motion["off"] < motion["default"]
    assert motion["oracle"] < motion["oracle+truth"]
    whole = {r.method: r for r in results}
    assert whole["oracle+truth"].regions["motion, lost"].psnr_mu > 60
    parts = ("motion, valid", "motion, lost")
    share = sum(whole["oracle"].regions[p].share for p in parts)
    assert share == pytest.approx(whole["oracle"].regions["motion"].share, abs=1e-6)


def test_results_from_elsewhere_in_any_frames_geometry_and_scale(
    folder: Path, tmp_path: Path
) -> None:
    bracket = read_bracket(folder)
    for k in range(3):
        radiance = RadianceMap(bracket.truth_of(k) * np.float32(0.01))
        write_exr(tmp_path / "one.exr", radiance, float32=True)
        (result,) = evaluate([folder], [f"theirs={tmp_path}"])
        assert result.frame == k
        assert result.regions["all"].psnr_mu > 80
        assert result.cast == pytest.approx(1.0, abs=1e-3)


def test_colour_video_vdp_sees_absolute_luminance(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    class Metric:
        def __init__(self, display_name: str) -> None:
            seen["display"] = display_name

        def predict(self, test: Any, reference: Any, dim_order: str) -> tuple[float, None]:
            seen["shapes"], seen["order"] = (test.shape, reference.shape), dim_order
            seen["peak"] = float(reference.max())
            return 9.5, None

    monkeypatch.setitem(sys.modules, "pycvvdp", types.SimpleNamespace(cvvdp=Metric))
    vdp._metric.cache_clear()
    (result,) = evaluate([folder], ["oracle"], vdp=True)
    vdp._metric.cache_clear()
    assert result.jod == 9.5 and seen["order"] == "HWC" and "linear" in seen["display"]
    assert len(set(seen["shapes"])) == 1 and 100 < seen["peak"] <= 1000


def test_colour_video_vdp_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    vdp._metric.cache_clear()
    with pytest.raises(UsageError, match="not installed"):
        evaluate([folder], ["oracle"], vdp=True)


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no result for one"):
        evaluate([folder], [f"theirs={tmp_path}"])
    with pytest.raises(UsageError, match="no method 'best'"):
        evaluate([folder], ["best"])
    with pytest.raises(InputError, match="no simulated bracket"):
        find_brackets([tmp_path])
    assert find_brackets([folder, folder.parent]) == [folder, folder]


def test_result_of_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    write_exr(tmp_path / "one.exr", RadianceMap(np.ones((8, 9, 3), np.float32)))
    with pytest.raises(InputError, match="9 x 8 pixels"):
        evaluate([folder], [f"theirs={tmp_path}"])
