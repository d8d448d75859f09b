"""The bench: a bracket is made, hdrmerge and its peers take turns on it, medians are reported."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from hdrmerge import __version__
from hdrmerge.bench.peers import peer_commands
from hdrmerge.bench.plan import stops_of
from hdrmerge.bench.process import Cost, measure


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one program's runs: seconds of ``wall`` and ``cpu`` time, ``peak`` bytes (the
    largest). ``ratio``: the median, run by run, of hdrmerge's wall time over this one's."""

    name: str
    wall: float
    cpu: float
    peak: int | None
    runs: int
    ratio: float | None = None


@dataclass(slots=True)
class Bench:
    """What was measured where: ``stages`` are medians of hdrmerge's own clock, in seconds."""

    megapixels: float
    frames: int
    machine: dict[str, str]
    load: tuple[float, float]  # before and after: runnable processes, a minute's mean
    rows: list[Row] = field(default_factory=list)
    stages: dict[str, float] = field(default_factory=dict)
    deghost: str = ""

    def to_dict(self) -> dict[str, Any]:
        """In plain types, for ``--json``."""
        rows = [
            {name: getattr(row, name) for name in ("name", "wall", "cpu", "peak", "runs", "ratio")}
            for row in self.rows
        ]
        return {
            "version": __version__,
            "megapixels": self.megapixels,
            "frames": self.frames,
            "deghost": self.deghost,
            "machine": self.machine,
            "load": list(self.load),
            "rows": rows,
            "stages": self.stages,
        }


def run_bench(
    megapixels: float,
    frames: int,
    *,
    runs: int = 3,
    options: tuple[str, ...] = (),
    peers: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Bench:
    """Measure ``hdrmerge fuse`` with ``options`` on a bracket of that size, then the rest.

    Every run is a process of its own; the programs take turns, so that a busy machine troubles all
    alike. Raises ResourceError where one of them fails.
    """
    tell = progress or (lambda stage, fraction: None)
    before = _load()
    costs: dict[str, list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="hdrmerge-bench-") as name:
        folder = Path(name)
        tell("photograph", 0.0)
        maker = [sys.executable, "-m", "hdrmerge.bench.photographs"]
        measure([*maker, str(folder), str(megapixels), str(frames)])
        files = sorted(folder.glob("photograph_*.jpg"))
        output, ours = folder / "ours.exr", [sys.executable, "-m", "hdrmerge"]
        fuse = [*ours, "fuse", "--json", *options, *map(str, files), "-o", str(output)]
        fuse += ["--preview", str(folder / "ours.jpg")]
        turns: dict[str, tuple[list[str], dict[str, str]]] = {"hdrmerge fuse": (fuse, {})}
        if peers:
            turns |= peer_commands(files, folder, stops_of(frames))
        after = {
            "hdrmerge tonemap": [*ours, "tonemap", str(output), "-o", str(folder / "shown.jpg")],
            "hdrmerge info": [*ours, "info", str(output)],
            "hdrmerge --help": [*ours, "--help"],
        }
        steps = runs * (len(turns) + len(after))
        for _ in range(runs):
            for label, (command, environment) in turns.items():
                costs.setdefault(label, []).append(measure(command, environment))
                tell(label, sum(map(len, costs.values())) / steps)
        for _ in range(runs):
            for label, command in after.items():
                costs.setdefault(label, []).append(measure(command))
                tell(label, sum(map(len, costs.values())) / steps)
    merges = costs["hdrmerge fuse"]
    reports = [json.loads(cost.output) for cost in merges]
    stages = {
        stage: statistics.median(report["seconds"].get(stage, math.nan) for report in reports)
        for stage in reports[0]["seconds"]
    }
    stages["start-up and end"] = statistics.median(
        cost.wall - sum(report["seconds"].values())
        for cost, report in zip(merges, reports, strict=True)
    )
    width, height = reports[0]["width"], reports[0]["height"]
    bench = Bench(width * height / 1e6, frames, describe_machine(), (before, _load()))
    bench.rows = [_row(label, found, merges) for label, found in costs.items()]
    bench.stages, bench.deghost = stages, reports[0]["deghost"]
    return bench


def _row(label: str, found: list[Cost], merges: list[Cost]) -> Row:
    ratio = None
    if not label.startswith("hdrmerge"):
        pairs = zip(merges, found, strict=True)
        ratio = statistics.median(ours.wall / theirs.wall for ours, theirs in pairs)
    peaks = [cost.peak for cost in found if cost.peak is not None]
    return Row(
        label,
        statistics.median(cost.wall for cost in found),
        statistics.median(cost.cpu for cost in found),
        max(peaks, default=None),
        len(found),
        ratio,
    )


def describe_machine() -> dict[str, str]:
    """Processor, cores, memory, system and the versions that matter."""
    names = ("numpy", "opencv-python-headless", "OpenEXR", "torch")
    found = {"processor": _processor(), "cores": str(os.cpu_count() or 1)}
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        found["memory"] = f"{memory / 2**30:.0f} GiB"
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["Python"] = platform.python_version()
    for package in names:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
