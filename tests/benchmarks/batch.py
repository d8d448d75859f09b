"""Throughput of `hdrmerge batch` by jobs, and the memory that it needs beside what it expects.

    python tests/benchmarks/batch.py --megapixels 6 --brackets 6 --jobs 1 2
    python tests/benchmarks/batch.py --memory

Rounds of different jobs take turns, so that a noisy machine troubles all alike. CPU seconds are
those of all processes; their growth with the jobs is what more jobs cost, whatever else runs. The
peak is the largest sum of what the processes hold (proportional set size), looked at every 50 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from hdrmerge.batch.job import estimate
from hdrmerge.batch.limits import PROGRAM
from hdrmerge.bench.photographs import photograph


def measure(folder: Path, out: Path, *options: str) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of a batch; raises if it fails."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "hdrmerge", "batch", folder, "-o", out, "-q", "--no-sheet"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    child = subprocess.Popen([*command, "--frames", "3", *options])
    peaks = [0]
    watcher = threading.Thread(target=_watch, args=(child, peaks))
    watcher.start()
    if child.wait():
        raise SystemExit("the batch failed")
    wall = time.perf_counter() - start
    watcher.join()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, peaks[0] / 2**20


def _watch(child: subprocess.Popen[bytes], peaks: list[int]) -> None:
    while child.poll() is None:
        peaks[0] = max(peaks[0], sum(_resident(pid) for pid in _family(child.pid)))
        time.sleep(0.05)


def _family(pid: int) -> list[int]:
    found = [pid]
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += _family(int(child))
    return found


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split()[0]) << 10
    return 0


def throughput(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name, "in"), Path(name, "out")
        for b in range(options.brackets):
            (folder / f"b{b}").mkdir(parents=True)
            photograph(folder / f"b{b}", options.megapixels, 3, seed=b)
        results: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(options.runs):
            for jobs in options.jobs:
                results.setdefault(jobs, []).append(measure(folder, out, "--jobs", jobs))
        print(
            f"{options.brackets} brackets of 3 x {options.megapixels:g} megapixels, load", end=" "
        )
        print(f"{os.getloadavg()[0]:.1f} on {len(os.sched_getaffinity(0))} cores")
        print("jobs   wall s   CPU s   peak MiB   throughput   best")
        base = results[options.jobs[0]]
        for jobs, rounds in results.items():
            wall, cpu, _ = (statistics.median(r[k] for r in rounds) for k in range(3))
            ratios = [b[0] / r[0] for b, r in zip(base, rounds, strict=True)]
            best = min(r[0] for r in base) / min(r[0] for r in rounds)
            peak = max(r[2] for r in rounds)
            ratio = f"{statistics.median(ratios):10.2f} x"
            print(f"{jobs:>4s} {wall:8.1f} {cpu:7.1f} {peak:10.0f} {ratio} {best:6.2f} x")


def memory() -> None:
    """Peaks of single merges, which the expectation must not fall short of by much."""
    from PIL import Image

    print("megapixels frames kind   peak MiB  expected MiB")
    for megapixels, frames, kind in (
        *((mp, 3, "jpg") for mp in (1.0, 6.0, 12.0, 24.0)),
        (6.0, 7, "jpg"),
        (6.0, 3, "tif"),
        (6.0, 3, "dng"),
    ):
        with tempfile.TemporaryDirectory() as name:
            folder, out = Path(name, "in"), Path(name, "out")
            folder.mkdir()
            if kind == "dng":
                _simulate(folder, megapixels)
            else:
                for path in photograph(folder, megapixels, frames):
                    if kind == "tif":
                        codes = np.asarray(Image.open(path)).astype(np.uint16) * 257
                        _write_tiff(path.with_suffix(".tif"), codes)
                        path.unlink()
            files = sorted(p for p in folder.iterdir() if p.suffix in (".jpg", ".tif", ".dng"))
            plan = {
                "hdrmerge_plan": 1,
                "root": str(folder),
                "brackets": [{"name": "a", "files": [p.name for p in files]}],
            }
            Path(name, "plan.json").write_text(json.dumps(plan))
            command = [
                sys.executable,
                "-m",
                "hdrmerge",
                "batch",
                Path(name, "plan.json"),
                "-o",
                out,
            ]
            subprocess.run([*command, "-q", "--jobs", "1"], check=True)
            (bracket,) = json.loads((out / "report.json").read_text())["brackets"]
            expected = (estimate(tuple(map(str, files)))[1] + PROGRAM) >> 20
            peak = bracket["peak_bytes"] >> 20
            print(
                f"{megapixels:10g} {len(files):6d} {kind:4s} {peak:10d} {expected:13d}", flush=True
            )


def _write_tiff(path: Path, codes: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, codes, photometric="rgb")


def _simulate(folder: Path, megapixels: float) -> None:
    width = round((megapixels * 1.5e6) ** 0.5 / 2) * 2
    size = f"{width}x{round(width / 3) * 2}"
    command = [sys.executable, "-m", "hdrmerge", "simulate", "room", "-o", folder, "-q"]
    subprocess.run([*command, "--format", "dng", "--size", size], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=6.0)
    parser.add_argument("--brackets", type=int, default=6)
    parser.add_argument("--jobs", nargs="+", default=["1", "2", "auto"])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="peaks of single merges instead")
    options = parser.parse_args()
    if options.memory:
        memory()
    else:
        throughput(options)


if __name__ == "__main__":
    main()
