"""Our tone-mapping operators beside others' implementations of the same papers.

    python tests/benchmarks/tonemap_peers.py SCENE.exr ... [--only drago] [--pictures DIR]
    python tests/benchmarks/tonemap_peers.py --time SCENE.exr
    python tests/benchmarks/tonemap_peers.py --files SCENE.exr

Prints mean and 95th percentile of CIEDE2000 over the pixels of each scene, parameters being
matched; or, with --time, seconds and memory of each for one scene. Peers: pfstmo (Debian: pfstools)
and OpenCV. Their linear results get the same sRGB transfer function as ours. --files times whole
programs, EXR in and JPEG out, beside Luminance HDR (Debian: luminance-hdr).
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from hdrmerge.config import Colour, TonemapConfig
from hdrmerge.io import read_radiance
from hdrmerge.tonemap import tonemap
from hdrmerge.tonemap.colour import REC709_LUMINANCE
from hdrmerge.tonemap.scene import measure
from hdrmerge.tonemap.transfer import srgb_decode, srgb_encode

Peer = Callable[[Path], np.ndarray]  # the scene's file in, code fractions (H, W, 3) out


@dataclass(frozen=True)
class Pair:
    """An operator of ours with the parameters that match the peer's."""

    operator: str
    peer: Peer
    program: str
    parameters: dict[str, float] = field(default_factory=dict)
    measured: Callable[[np.ndarray], dict[str, float]] | None = None  # parameters from the scene
    colour: Colour | None = None
    saturation: float | None = None
    match_median: bool = False  # the peer's light is scaled to our median

    def theirs(self, path: Path, ours: np.ndarray) -> np.ndarray:
        shown = self.peer(path)
        if self.match_median:
            light = srgb_decode(shown)
            light *= np.median(srgb_decode(ours)) / np.median(light)
            shown = srgb_encode(np.minimum(light, 1))
        return shown

    def ours(self, pixels: np.ndarray) -> np.ndarray:
        found = self.measured(pixels) if self.measured else {}
        parameters = self.parameters | found
        config = TonemapConfig(self.operator, 0.0, parameters, self.colour, self.saturation)
        return tonemap(pixels, config, bits=16) / np.float32(65535)


def pfstmo(command: str, *, gamma: float | None = None) -> Peer:
    """``pfstmo_`` + command; ``gamma``: of the display that its result are codes for."""

    def make(path: Path) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            scene, out = Path(folder, "scene.exr"), Path(folder, "out.exr")
            scene.symlink_to(path.resolve())
            pipe = f"pfsin {scene} | pfstmo_{command} | pfsoutexr --float32 {out}"
            subprocess.run(
                ["bash", "-c", f"set -o pipefail; {pipe}"], check=True, capture_output=True
            )
            shown, _ = read_radiance(out)
        shown = np.clip(np.nan_to_num(shown), 0, 1)
        return srgb_encode(shown**gamma if gamma else shown)

    return make


def opencv(create: Callable[[], object], *, codes: bool = False) -> Peer:
    """``codes``: its result is taken as the display's codes."""

    def make(path: Path) -> np.ndarray:
        pixels, _ = read_radiance(path)
        pixels = np.maximum(np.nan_to_num(pixels), 0)
        shown = create().process(pixels)  # its luma takes the first channel for red
        shown = np.clip(np.nan_to_num(shown), 0, 1)
        return shown if codes else srgb_encode(shown)

    return make


def brightest_white(pixels: np.ndarray) -> dict[str, float]:
    """The largest luminance, in units of the log-average at 0.18, as Reinhard's own program."""
    luminance = np.maximum(np.nan_to_num(pixels), 0) @ REC709_LUMINANCE
    scene = measure(luminance)
    return {"white": 0.18 * scene.maximum / scene.log_average}


def opencv_reinhard(pixels: np.ndarray) -> dict[str, float]:
    """What OpenCV's limits of the key, and its division by the maximum, amount to."""
    pixels = np.maximum(np.nan_to_num(pixels), 0)
    maximum = float(pixels.max())
    logs = np.log(np.maximum(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) / maximum, 1e-4))
    key = (logs.max() - logs.mean()) / (logs.max() - logs.min())
    contrast = 0.3 + 0.7 * float(key) ** 1.4
    return {"contrast": contrast, "brightness": (contrast - 1) / contrast * float(np.log(maximum))}


PAIRS: dict[str, Pair] = {
    "reinhard02": Pair(
        "reinhard2002",
        pfstmo("reinhard02"),
        "pfstmo_reinhard02",
        {"key": 0.18},
        measured=brightest_white,
    ),
    "drago03": Pair("drago2003", pfstmo("drago03"), "pfstmo_drago03"),
    # its defaults, of which its manual says otherwise; it reads its result as sRGB codes
    "reinhard05": Pair(
        "reinhard-devlin2005",
        pfstmo("reinhard05"),
        "pfstmo_reinhard05",
        {"chromatic": 0.5, "light": 0.75},
    ),
    "mantiuk08": Pair("mantiuk2008", pfstmo("mantiuk08", gamma=2.2), "pfstmo_mantiuk08"),
    "reinhard02 --scales": Pair(
        "reinhard2002-local",
        pfstmo("reinhard02 --scales"),
        "pfstmo_reinhard02",
        {"key": 0.18, "white": 1e9, "phi": 1.0},
    ),
    "fattal02": Pair("fattal2002", pfstmo("fattal02"), "pfstmo_fattal02"),
    # it hangs the base from its dark end, ours from its bright end: another exposure
    "durand02 -g": Pair(
        "durand2002",
        pfstmo("durand02 -g"),
        "pfstmo_durand02",
        {"contrast": float(np.exp(5))},
        match_median=True,
    ),
    "mantiuk06": Pair("mantiuk2006", pfstmo("mantiuk06"), "pfstmo_mantiuk06"),
    # it ends by stretching the brightest channel of any pixel to white, which the paper does not
    "opencv drago": Pair(
        "drago2003", opencv(lambda: cv2.createTonemapDrago(1.0)), "", match_median=True
    ),
    "opencv reinhard": Pair(
        "reinhard-devlin2005",
        opencv(lambda: cv2.createTonemapReinhard(1.0, 0.0, 1.0, 0.0), codes=True),
        "",
        measured=opencv_reinhard,
    ),
}


def lab(fractions: np.ndarray) -> np.ndarray:
    """CIELAB under D65 of sRGB code fractions (H, W, 3)."""
    return cv2.cvtColor(srgb_decode(fractions), cv2.COLOR_LRGB2Lab).astype(np.float64)


def ciede2000(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Colour difference of CIELAB values (..., 3): Sharma, Wu and Dalal 2005."""
    l1, a1, b1 = np.moveaxis(first, -1, 0)
    l2, a2, b2 = np.moveaxis(second, -1, 0)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1 + 0.5 * (1 - np.sqrt(mean**7 / (mean**7 + 25.0**7)))
    a1, a2 = a1 * stretch, a2 * stretch
    c1, c2 = np.hypot(a1, b1), np.hypot(a2, b2)
    h1, h2 = np.degrees(np.arctan2(b1, a1)) % 360, np.degrees(np.arctan2(b2, a2)) % 360
    grey = c1 * c2 == 0
    turn = np.where(grey, 0, (h2 - h1 + 180) % 360 - 180)
    # opposite hues: -180 above becomes 180, which changes nothing but a sign that is squared
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    middle = np.where(grey, h1 + h2, (h1 + turn / 2) % 360)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2

    def cosine(times: float, shift: float) -> np.ndarray:
        return np.cos(np.radians(times * middle + shift))

    t = 1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6)
    t -= 0.2 * cosine(4, -63)
    weight_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    weight_c, weight_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * t
    rotation = 2 * np.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    rotation *= -np.sin(np.radians(60 * np.exp(-(((middle - 275) / 25) ** 2))))
    dl, dc, dh = (l2 - l1) / weight_l, (c2 - c1) / weight_c, hue / weight_h
    return np.sqrt(np.maximum(dl**2 + dc**2 + dh**2 + rotation * dc * dh, 0))


def compare(path: Path, pairs: dict[str, Pair], pictures: Path | None) -> dict[str, np.ndarray]:
    """CIEDE2000 of every pixel, by pair."""
    pixels, _ = read_radiance(path)
    found = {}
    for name, pair in pairs.items():
        ours = pair.ours(pixels)
        theirs = pair.theirs(path, ours)
        found[name] = ciede2000(lab(ours), lab(theirs))
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            both = (np.hstack([ours, theirs])[..., ::-1] * 255 + 0.5).astype(np.uint8)
            cv2.imwrite(str(pictures / f"{path.stem}_{name.replace(' ', '_')}.png"), both)
    return found


def seconds(path: Path, pairs: dict[str, Pair]) -> None:
    """Time ours and pfstmo's computation, reading and writing left out, on one scene."""
    for name, pair in pairs.items():
        if not pair.program:
            continue
        ours = child(path, pair)
        with tempfile.TemporaryDirectory() as folder:
            frame = Path(folder, "in.pfs")
            scene = Path(folder, "scene.exr")
            scene.symlink_to(path.resolve())
            subprocess.run(["bash", "-c", f"pfsin {scene} > {frame}"], check=True)
            start = time.perf_counter()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = f"pfstmo_{name} < {frame} > /dev/null"
            subprocess.run(["bash", "-c", command], check=True, capture_output=True)
            wall = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime - before.ru_utime
        print(f"{name:12} ours {ours}   theirs {wall:6.2f} s, CPU {cpu:6.2f} s", flush=True)


LUMINANCE_OPERATORS = ("reinhard02", "drago", "mantiuk06", "fattal")  # names that both know


def programs(path: Path) -> None:
    """Time ``hdrmerge tonemap`` and luminance-hdr-cli in turns, from EXR to JPEG of quality 95."""
    with tempfile.TemporaryDirectory() as folder:
        for name in LUMINANCE_OPERATORS:
            ours = [sys.executable, "-m", "hdrmerge", "tonemap", str(path), "--op", name]
            ours += ["--quality", "95", "-o", f"{folder}/{name}_ours.jpg"]
            theirs = ["luminance-hdr-cli", "-l", str(path), "--tmo", name, "-q", "95"]
            theirs += ["-o", f"{folder}/{name}_theirs.jpg"]
            (wall, cpu), (other_wall, other_cpu) = used(ours), used(theirs)
            print(
                f"{name:12} ours {wall:6.2f} s, CPU {cpu:6.2f} s   theirs {other_wall:6.2f} s, "
                f"CPU {other_cpu:6.2f} s   ratio {other_wall / wall:5.1f}, "
                f"CPU {other_cpu / cpu:5.1f}   load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def used(command: list[str]) -> tuple[float, float]:
    """(wall, processor) seconds of a program; it must write a picture to what follows its -o."""
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    written = cv2.imread(command[command.index("-o") + 1])
    if written is None or written.max() == 0:
        raise SystemExit(f"{command[0]} wrote no picture, or a black one: take another scene.")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def child(path: Path, pair: Pair) -> str:
    """Wall and CPU seconds of ``tonemap`` alone, and the peak memory, in a fresh process."""
    code = f"""
import resource, sys, time
from pathlib import Path
from hdrmerge.config import TonemapConfig
from hdrmerge.io import read_radiance
from hdrmerge.tonemap import tonemap
pixels, _ = read_radiance(Path({str(path)!r}))
before = resource.getrusage(resource.RUSAGE_SELF)
start = time.perf_counter()
tonemap(pixels, TonemapConfig({pair.operator!r}, 0.0, {pair.parameters!r}))
wall = time.perf_counter() - start
after = resource.getrusage(resource.RUSAGE_SELF)
assert "torch" not in sys.modules
print(f"{{wall:6.2f}} s, CPU {{after.ru_utime - before.ru_utime:6.2f}} s, "
      f"{{after.ru_maxrss / 1024:5.0f}} MiB")
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these pairs only")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep both pictures here")
    parser.add_argument("--time", action="store_true", help="time and memory instead")
    parser.add_argument("--files", action="store_true", help="time whole programs instead")
    arguments = parser.parse_args()
    if arguments.files:
        programs(arguments.scenes[0])
        return
    pairs = {
        name: pair
        for name, pair in PAIRS.items()
        if (not arguments.only or name in arguments.only)
        and (not pair.program or shutil.which(pair.program))
    }
    if arguments.time:
        seconds(arguments.scenes[0], pairs)
        return
    means: dict[str, list[float]] = {name: [] for name in pairs}
    for path in arguments.scenes:
        found = compare(path, pairs, arguments.pictures)
        for name, difference in found.items():
            means[name].append(float(difference.mean()))
            high = np.percentile(difference, 95)
            print(f"{path.stem:24} {name:18} mean {difference.mean():6.2f}  95 % {high:6.2f}")
    for name, values in means.items():
        print(f"{'all':24} {name:18} mean {np.mean(values):6.2f}  worst {max(values):6.2f}")


if __name__ == "__main__":
    main()
