"""Kills a batch at random moments and starts it again, until it has been killed often enough.

    python tests/benchmarks/batch_kill.py --kills 200

After every kill each output that is there must be, to the bit, the one of an undisturbed run; when
a batch gets through, nothing else may be left; then a new one begins. Every other kill takes the
workers too, the others leave it to them to notice. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.cli_tools import photograph, write_photograph

CHANGING = ("report.json", "hdrmerge-batch.sqlite")  # what a run says of itself
WORKING = (".hdrmerge-stage/", "hdrmerge-batch.sqlite-journal")


def write_brackets(folder: Path, count: int, height: int = 192) -> None:
    """Brackets of three photographs, each of another scene, in two folders."""
    width = height * 4 // 3
    for b in range(count):
        rng = np.random.default_rng(b)
        texture = rng.uniform(0.4, 1.0, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
        scene = np.geomspace(0.02, 8.0, width)[None, :, None] * texture
        place = folder / f"house{b % 2}"
        place.mkdir(parents=True, exist_ok=True)
        for k, stops in enumerate((-2, 0, 2)):
            name = place / f"IMG_{10 * b + k:04}.jpg"
            write_photograph(name, photograph(scene, stops - 1), time=2.0**stops / 60)


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hdrmerge", "batch", folder, "-o", out, "-q", *more]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)


def contents(out: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file():
            try:
                found[path.relative_to(out).as_posix()] = path.read_bytes()
            except FileNotFoundError:  # a worker that ends just now
                continue
    return found


def wrong(out: Path, truth: dict[str, bytes], *, ended: bool) -> list[str]:
    """What should not be as it is."""
    found = contents(out)
    if not ended:
        found = {name: data for name, data in found.items() if not name.startswith(WORKING)}
    strange = [f"{name} does not belong there" for name in found.keys() - truth.keys()]
    differing = [
        f"{name} differs"
        for name in found.keys() & truth.keys()
        if name not in CHANGING and found[name] != truth[name]
    ]
    missing = [f"{name} is missing" for name in truth.keys() - found.keys()] if ended else []
    folders = [f"{p} is left" for p in out.glob(".*")] if ended else []
    return strange + differing + missing + folders


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--brackets", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    more = ("--ghost-map", "--report", "--jobs", "2")
    problems: list[str] = []
    moments: Counter[str] = Counter()
    kills = batches = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "photographs")
        write_brackets(folder, options.brackets)
        began = time.monotonic()
        first = start(folder, Path(name, "truth"), *more)
        assert first.wait() == 0, first.stderr and first.stderr.read().decode()
        usual = time.monotonic() - began
        truth = contents(Path(name, "truth"))
        out = Path(name, "out")
        while kills < options.kills or batches == 0 or out.exists():
            process = start(folder, out, *more)
            try:
                delay = chance.uniform(0.0, usual) if kills < options.kills else 600
                code = process.wait(delay)
            except subprocess.TimeoutExpired:
                whole = kills % 2 == 0
                (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
                process.wait()
                kills += 1
                done = sum(path.suffix == ".exr" for path in out.rglob("*"))
                moments[f"{done} of {options.brackets} there"] += 1
                problems += wrong(out, truth, ended=False)
                continue
            if code:
                text = process.stderr.read().decode() if process.stderr else ""
                problems.append(f"exit code {code}: {text}")
            problems += wrong(out, truth, ended=True)
            batches += 1
            shutil.rmtree(out)
    print(f"{kills} kills over {batches} batches of {options.brackets} brackets,")
    print(f"an undisturbed one of which took {usual:.1f} s; killed with")
    for moment, count in sorted(moments.items()):
        print(f"  {moment}: {count}")
    for problem in problems[:20]:
        print(problem)
    print(f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
