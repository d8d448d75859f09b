"""Broken files give a Frame or a sentence, never another exception, a crash or a hang.

Each case mutates or cuts a small valid file by a seeded generator. Readers in C may crash the
process outright, so the cases run in a child process, which also bounds time and memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = (
    *("jpeg", "progressive", "exif", "png8", "png16", "tiff8", "tiff16", "tiff-zip", "tiff-lzw"),
    *("tiff-float", "tiff-half", "tiff-predicted", "dng", "exr", "exr-piz", "exr-dwaa"),
    *("hdr", "pfm", "pfm-grey", "icc"),
)
_SECONDS_A_CASE = 0.25  # mean that is allowed, on a busy machine
_ROOT = Path(__file__).resolve().parents[2]
_RUNNER = Path(__file__).with_name("fuzz_runner.py")


def run(kinds: tuple[str, ...], start: int, count: int, folder: Path) -> None:
    """Cases ``start`` to ``start + count`` of each kind in one child process."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, str(_RUNNER), ",".join(kinds), str(start), str(count), str(folder)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60 + _SECONDS_A_CASE * count * len(kinds),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-200:]}\n{done.stderr[-3000:]}"


def test_mutated_files(tmp_path: Path) -> None:
    run(KINDS, 0, 25, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_mutated_files(kind: str, tmp_path: Path) -> None:
    run((kind,), 1000, 6000, tmp_path)
