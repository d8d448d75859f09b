"""Makes hdrmerge/data/response_prior.npz from measured camera responses.

    python tools/make_response_prior.py dorf_curves.npz

The input holds ``irradiance`` (1024,) and ``curves`` (C, 1024) of the Columbia database of response
functions (M. D. Grossberg and S. K. Nayar, "What is the space of camera response functions?",
CVPR 2003). What is kept: mean and principal components of the log inverse responses, as deviations
from sRGB. Curves darker than linear (the database's gamma below 1) are no cameras and left out.
"""

import sys
from pathlib import Path

import numpy as np

COMPONENTS = 11
NODES = (np.arange(1, 65) / 64) ** 1.3
DARKEST = 2e-5


def main(source: str) -> None:
    with np.load(source, allow_pickle=False) as data:
        irradiance, curves, names = data["irradiance"], data["curves"], data["names"]
    srgb = np.where(NODES <= 0.04045, NODES / 12.92, ((NODES + 0.055) / 1.055) ** 2.4)
    rows = []
    for name, curve in zip(names, curves, strict=True):
        if str(name).startswith("gamma+0"):
            continue
        codes, first = np.unique(curve, return_index=True)
        inverse = np.interp(NODES, codes, irradiance[first])
        rows.append(np.log(np.maximum(inverse, DARKEST) / srgb))
    deviations = np.array(rows)
    mean = deviations.mean(axis=0)
    _, size, direction = np.linalg.svd(deviations - mean, full_matrices=False)
    components = direction[:COMPONENTS] * (size[:COMPONENTS, None] / np.sqrt(len(rows)))
    target = Path(__file__).parent.parent / "hdrmerge" / "data" / "response_prior.npz"
    target.parent.mkdir(exist_ok=True)
    np.savez_compressed(
        target,
        nodes=NODES.astype(np.float32),
        mean=mean.astype(np.float32),
        components=components.astype(np.float32),
    )
    sys.stderr.write(f"{target}: {len(rows)} curves\n")


if __name__ == "__main__":
    main(sys.argv[1])
