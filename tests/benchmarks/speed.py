"""Wall time and peak memory of a whole merge, beside OpenCV's MTB + Debevec in the same run.

    python tests/benchmarks/speed.py --megapixels 24 --frames 3 --runs 3

Each run is a process of its own; the peak is its resident set as the kernel counted it. The two
take turns, so that a noisy machine troubles both alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

OPENCV = """
import sys, cv2, numpy as np
*files, out = sys.argv[1:]
times = np.array([2.0 ** (3 * k) / 100 for k in range(len(files))], np.float32)
images = [cv2.imread(f) for f in files]
cv2.createAlignMTB().process(images, images)
response = cv2.createCalibrateDebevec().process(images, times)
cv2.imwrite(out, cv2.createMergeDebevec().process(images, times, response))
"""


def render_frames(folder: Path, megapixels: float, frames: int) -> list[Path]:
    """A noisy textured bracket three stops apart with EXIF times, hand-held by a few pixels."""
    from PIL import Image

    rng = np.random.default_rng(7)
    width = round((megapixels * 1.5e6) ** 0.5)
    height = round(width / 1.5)
    scene = np.ones((height, width), np.float32)
    for scale in (4, 16, 64, 256):
        coarse = rng.normal(0, 0.55, (height // scale + 2, width // scale + 2)).astype(np.float32)
        scene *= np.exp(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    paths = []
    for k in range(frames):
        stops = 3.0 * (k - (frames - 1) / 2)
        shifted = np.roll(scene, (3 * k, 5 * k), (0, 1))
        exposure = np.clip(0.18 * shifted * 2.0**stops, 0, 1)
        noisy = exposure + rng.normal(0, 1, exposure.shape).astype(np.float32) * np.sqrt(
            exposure / 3000 + 1e-6
        )
        code = np.where(
            noisy <= 0.0031308, noisy * 12.92, 1.055 * np.maximum(noisy, 1e-6) ** (1 / 2.4) - 0.055
        )
        grey = np.clip(code * 255 + 0.5, 0, 255).astype(np.uint8)
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "hdrmerge", "speed bench"
        exif.get_ifd(0x8769).update({0x829A: 2.0 ** (3 * k) / 100, 0x829D: 8.0, 0x8827: 100})
        path = folder / f"frame{k}.jpg"
        Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2)).save(path, quality=95, exif=exif)
        paths.append(path)
    return paths


def measure(command: list[str]) -> tuple[float, float]:
    """(wall seconds, peak resident MiB) of one process; raises if it fails."""
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        text = child.stderr.read().decode() if child.stderr else ""
        raise RuntimeError(f"{command} failed: {text}")
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--deghost", default="classic")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = [str(p) for p in render_frames(folder, arguments.megapixels, arguments.frames)]
        ours = [sys.executable, "-m", "hdrmerge", "fuse", "-q", *files, "-o", str(folder / "o.exr")]
        ours += ["--deghost", arguments.deghost]
        opencv = [sys.executable, "-c", OPENCV, *files, str(folder / "o.hdr")]
        rows: dict[str, list[tuple[float, float]]] = {"hdrmerge": [], "OpenCV MTB + Debevec": []}
        for _ in range(arguments.runs):
            rows["hdrmerge"].append(measure(ours))
            rows["OpenCV MTB + Debevec"].append(measure(opencv))
    print(f"{arguments.frames} x {arguments.megapixels:g} MP, {os.cpu_count()} cores,")
    print(f"{platform.machine()}, Python {platform.python_version()}, OpenCV {cv2.__version__}")
    for label, values in rows.items():
        seconds = statistics.median(v[0] for v in values)
        print(f"{label:24s} {seconds:7.2f} s  {max(v[1] for v in values):7.0f} MiB")
    ratios = [a[0] / b[0] for a, b in zip(*rows.values(), strict=True)]
    print(f"ratio of wall times, run by run: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
