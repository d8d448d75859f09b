"""A scene that is a formula, for the golden pictures of the tone-mapping operators.

``python -m tests.unit.tonemap_scene`` writes tests/golden/tonemap.json anew: for a change of pixels
that is meant, and named in CHANGELOG.md. With pfstmo installed, ``--pfstmo`` writes
tests/golden/pfstmo.json: what the papers' other implementation makes of the same scene.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from hdrmerge.config import TonemapConfig
from hdrmerge.tonemap import OPERATORS, tonemap

GOLDEN = Path(__file__).parents[1] / "golden"
SHAPE = (96, 144)
GRID = (6, 9)  # cells whose mean codes are kept


def formula_scene() -> np.ndarray:
    """Sixteen stops from left to right, coloured in rows, with soft texture at three scales."""
    y, x = np.mgrid[0 : SHAPE[0], 0 : SHAPE[1]] / SHAPE[0]
    stops = 16 * (x / x.max()) - 11
    stops = stops + 0.4 * np.sin(40 * x) * np.sin(33 * y) + 0.3 * np.sin(11 * x + 5 * y)
    stops = stops + np.where((x - 0.4) ** 2 + (y - 0.5) ** 2 < 0.01, 5.0, 0.0)  # a lamp
    tint = 0.35 * np.sin(np.stack([6 * y, 6 * y + 2, 6 * y + 4], axis=-1))
    return (2.0 ** (stops[..., None] + 2 * tint)).astype(np.float32)


def cells(codes: np.ndarray) -> np.ndarray:
    """Mean codes (rows, columns, 3) of the grid's cells."""
    rows, columns = (size // count for size, count in zip(SHAPE, GRID, strict=True))
    return codes.reshape(GRID[0], rows, GRID[1], columns, 3).mean(axis=(1, 3))


def pfstmo(name: str, gamma: float | None) -> np.ndarray:
    """The cells of what ``pfstmo_name`` makes of the scene, as sRGB codes."""
    from hdrmerge.frames import RadianceMap
    from hdrmerge.io import read_radiance, write_exr
    from hdrmerge.tonemap.transfer import srgb_encode

    with tempfile.TemporaryDirectory() as folder:
        scene, out = Path(folder, "in.exr"), Path(folder, "out.exr")
        write_exr(scene, RadianceMap(formula_scene()), float32=True)
        pipe = f"set -o pipefail; pfsin {scene} | pfstmo_{name} | pfsoutexr --float32 {out}"
        subprocess.run(["bash", "-c", pipe], check=True, capture_output=True)
        shown = np.clip(read_radiance(out)[0], 0, 1)
    return cells(255 * srgb_encode(shown**gamma if gamma else shown).astype(np.float64))


def write(path: Path, known: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [f'"{n}": {json.dumps(np.round(v, 1).ravel().tolist())}' for n, v in known.items()]
    path.write_text("{\n" + ",\n".join(rows).replace(", ", ",") + "\n}\n")


if __name__ == "__main__":
    if "--pfstmo" in sys.argv:
        programs = {"drago03": None, "reinhard02": None, "reinhard05": None, "mantiuk08": 2.2}
        write(GOLDEN / "pfstmo.json", {n: pfstmo(n, gamma) for n, gamma in programs.items()})
    else:
        scene = formula_scene()
        write(
            GOLDEN / "tonemap.json",
            {name: cells(tonemap(scene, TonemapConfig(name))) for name in OPERATORS},
        )
