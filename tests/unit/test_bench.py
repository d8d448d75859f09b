"""The bench measures what a process really takes, on photographs that really are a bracket."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hdrmerge.bench import Bench, Row, photographs, run_bench
from hdrmerge.bench.peers import peer_commands
from hdrmerge.bench.plan import size_of, stops_of
from hdrmerge.bench.process import measure
from hdrmerge.cli.bench import show_bench
from hdrmerge.cli.console import Console
from hdrmerge.errors import ResourceError
from hdrmerge.io import read_frames
from hdrmerge.response import Response


@pytest.mark.skipif(sys.platform == "win32", reason="no peak memory there")
def test_a_process_is_measured_from_outside() -> None:
    code = "import time; a = bytearray(b'1') * (200 << 20); time.sleep(0.3); print('done')"
    cost = measure([sys.executable, "-c", code])
    assert cost.output.strip() == "done"
    assert cost.wall >= 0.3 and cost.cpu > 0
    assert cost.peak is not None and cost.peak > 200 << 20
    idle = measure([sys.executable, "-c", "import time; time.sleep(0.3)"])
    assert idle.wall >= 0.3 > idle.cpu


def test_a_failure_says_what_the_program_said() -> None:
    with pytest.raises(ResourceError, match="out of luck"):
        measure([sys.executable, "-c", "raise SystemExit('out of luck')"])
    with pytest.raises(ResourceError, match="cannot be started"):
        measure(["no-such-program"])


def test_the_photographs_are_a_bracket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photographs, "_TRACED", (40, 60))
    paths = photographs.photograph(tmp_path, 0.06, 3)
    frames = read_frames(paths)
    assert {frame.shape for frame in frames} == {size_of(0.06)} == {(200, 300)}
    times = [frame.settings.exposure_time for frame in frames]
    assert None not in times
    assert np.diff(np.log2([t for t in times if t])) == pytest.approx([3, 3], abs=0.01)
    clipped = [float(np.mean(frame.pixels == 255)) for frame in frames]
    assert clipped[0] < 0.02 < clipped[2]
    assert clipped == sorted(clipped)


def test_the_photographs_are_exposed_as_their_exif_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who walks past the window must not change the exposure, as he would a meter's."""

    def wall(height: int, width: int, phase: float) -> np.ndarray:
        scene = np.full((height, width, 3), 0.03, np.float32)
        scene[:8, : 12 if phase < 0 else 1] = 20  # a window, which somebody hides
        return scene

    monkeypatch.setattr(photographs, "room", wall)
    monkeypatch.setattr(photographs, "_TRACED", (40, 60))
    frames = read_frames(photographs.photograph(tmp_path, 0.06, 4))
    linear = [np.median(Response.srgb().linearise(f, f.pixels)[100:, 100:]) for f in frames]
    assert np.diff(np.log2(linear)) == pytest.approx([3, 3, 3], abs=0.1)


def test_the_bench_s_own_process_stays_small() -> None:
    code = "import hdrmerge.cli.bench, hdrmerge.bench, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_long_brackets_have_smaller_steps() -> None:
    assert stops_of(2) == (-1.5, 1.5) and stops_of(3) == (-3, 0, 3)
    assert np.ptp(stops_of(9)) == 12 and np.diff(stops_of(9)) == pytest.approx(1.5)


def test_opencv_is_told_the_exposures(tmp_path: Path) -> None:
    commands = peer_commands([Path("a.jpg"), Path("b.jpg")], tmp_path, [-1.5, 1.5])
    command, _ = commands["OpenCV, MTB + Debevec, .hdr"]
    assert "[-1.5, 1.5]" in command[2] and command[3:5] == ["a.jpg", "b.jpg"]


def test_the_table_names_machine_load_and_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    machine = {"processor": "Abacus 9", "cores": "2", "memory": "8 GiB", "Python": "3.11"}
    bench = Bench(24.0, 3, machine, (0.1, 0.2), deghost="classic")
    bench.rows = [
        Row("hdrmerge fuse", 4.0, 6.5, 700 << 20, 3),
        Row("peer", 8.0, 8.0, None, 3, 0.5),
    ]
    bench.stages = {"read": 0.5}
    show_bench(bench, Console(quiet=True))
    text = capsys.readouterr().out
    for word in ("Abacus 9", "2 cores", "0.1 to 0.2", "classic", "700", "0.50", "read"):
        assert word in text
    assert bench.to_dict()["rows"][1]["ratio"] == 0.5


@pytest.mark.slow
def test_a_whole_bench() -> None:
    bench = run_bench(0.06, 2, runs=1, options=("--deghost", "classic"))
    rows = {row.name: row for row in bench.rows}
    assert {"hdrmerge fuse", "hdrmerge tonemap", "hdrmerge info", "hdrmerge --help"} < set(rows)
    opencv = rows["OpenCV, MTB + Debevec, .hdr"]
    assert opencv.ratio == pytest.approx(rows["hdrmerge fuse"].wall / opencv.wall)
    assert {"read", "align", "fuse", "write"} < set(bench.stages)
    assert all(row.wall > 0 for row in bench.rows)
