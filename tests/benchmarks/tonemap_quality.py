"""TMQI of every tone-mapping operator, ours and the peers' that are installed, over given scenes.

    python tests/benchmarks/tonemap_quality.py SCENE.exr ... [--only auto reinhard2002] [--no-peers]

Prints a table, best mean first: TMQI, its two parts, how often an operator was first or second, and
its worst scene. Every operator runs with its defaults. Peers: pfstmo (Debian: pfstools) with the
gamma that its manual asks for, and OpenCV with gamma 2.2. ``--pictures DIR`` keeps the pictures: a
number is no reason not to look.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from hdrmerge.config import TonemapConfig
from hdrmerge.io import read_radiance
from hdrmerge.tmqi import tmqi
from hdrmerge.tonemap import OPERATORS, tonemap

Maker = Callable[[Path, np.ndarray], np.ndarray]

# pfstmo's programs, and whether the manual's example sends the result through pfsgamma -g 2.2
PFSTMO = {
    "drago03": True,
    "durand02": True,
    "fattal02": True,  # the manual leaves it out, and the picture is far too dark then
    "ferradans11": False,
    "mai11": False,
    "mantiuk06": True,
    "mantiuk08": False,
    "pattanaik00": True,
    "reinhard02": True,
    "reinhard02 --scales": True,
    "reinhard05": True,
}
OPENCV: dict[str, Callable[[float], Any]] = {
    "drago": cv2.createTonemapDrago,
    "mantiuk": cv2.createTonemapMantiuk,
    "reinhard": cv2.createTonemapReinhard,
}


def ours(name: str) -> Maker:
    return lambda path, pixels: tonemap(pixels, TonemapConfig(operator=name))


def pfstmo(command: str, gamma: bool) -> Maker:
    def make(path: Path, pixels: np.ndarray) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            scene, out = Path(folder, "scene.exr"), Path(folder, "out.png")
            scene.symlink_to(path.resolve())
            steps = [f"pfsin {scene}", f"pfstmo_{command}"]
            steps += ["pfsgamma -g 2.2"] if gamma else []
            pipe = " | ".join([*steps, f"pfsout {out}"])
            subprocess.run(
                ["bash", "-c", f"set -o pipefail; {pipe}"],
                check=True,
                capture_output=True,
                timeout=600,
            )
            return cv2.imread(str(out), cv2.IMREAD_COLOR)[:, :, ::-1]

    return make


def opencv(create: Callable[[float], Any]) -> Maker:
    def make(path: Path, pixels: np.ndarray) -> np.ndarray:
        shown = create(2.2).process(np.ascontiguousarray(pixels[:, :, ::-1]))
        return (np.clip(np.nan_to_num(shown), 0, 1)[:, :, ::-1] * 255 + 0.5).astype(np.uint8)

    return make


def makers(only: list[str], peers: bool) -> dict[str, Maker]:
    """Every operator that can run here, by the name in the table."""
    found = {name: ours(name) for name in OPERATORS}
    if peers:
        installed = {c: g for c, g in PFSTMO.items() if shutil.which(f"pfstmo_{c.split()[0]}")}
        found |= {f"pfstmo {c}": pfstmo(c, gamma) for c, gamma in installed.items()}
        found |= {f"opencv {name}": opencv(create) for name, create in OPENCV.items()}
    return {name: make for name, make in found.items() if not only or name in only}


def judge(path: Path, known: dict[str, Maker], pictures: Path | None) -> dict[str, list[float]]:
    """Quality, fidelity and naturalness by operator; an operator that fails scores 0."""
    pixels, _ = read_radiance(path)
    pixels = np.maximum(np.nan_to_num(pixels, posinf=65504.0, neginf=0.0), 0).astype(np.float32)
    scores = {}
    for name, make in known.items():
        try:
            codes = make(path, pixels)
        except Exception as error:  # the others still count
            print(f"{path.stem}: {name} failed: {error}", flush=True)
            scores[name] = [0.0, 0.0, 0.0]
            continue
        found = tmqi(pixels, codes)
        scores[name] = [found.quality, found.fidelity, found.naturalness]
        if pictures:
            out = pictures / path.stem / f"{name.replace(' ', '_')}.png"
            out.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(out), codes[:, :, ::-1])
    return scores


def table(scenes: list[str], scores: list[dict[str, list[float]]]) -> str:
    names = list(scores[0])
    values = np.array([[scene[name] for name in names] for scene in scores])
    quality = values[:, :, 0]
    rank = 1 + (quality[:, :, None] < quality[:, None, :]).sum(axis=2)
    lines = [f"{'operator':26} TMQI   fidel. natur. top-2  worst"]
    for k in np.argsort(-quality.mean(axis=0)):
        mean = values[:, k].mean(axis=0)
        worst = int(quality[:, k].argmin())
        lines.append(
            f"{names[k]:26} {mean[0]:.4f} {mean[1]:.4f} {mean[2]:.4f} "
            f"{int((rank[:, k] <= 2).sum()):3d}/{len(scenes)} "
            f"{quality[worst, k]:.3f} {scenes[worst]}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("scenes", nargs="+", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these rows only")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep the pictures here")
    parser.add_argument("--csv", type=Path, help="write every score here")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    known = makers(arguments.only, not arguments.no_peers)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        scores = list(
            pool.map(lambda path: judge(path, known, arguments.pictures), arguments.scenes)
        )
    if arguments.csv:
        rows = ["scene,operator,tmqi,fidelity,naturalness"]
        for path, scene in zip(arguments.scenes, scores, strict=True):
            rows += [f"{path.stem},{n},{q:.6f},{s:.6f},{k:.6f}" for n, (q, s, k) in scene.items()]
        arguments.csv.write_text("\n".join(rows) + "\n")
    print(table([path.stem for path in arguments.scenes], scores))


if __name__ == "__main__":
    main()
