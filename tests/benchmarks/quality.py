"""The exam: brackets of scenes with a known truth, merged with default options and scored.

    python tests/benchmarks/quality.py                    # everything; a quarter of an hour
    python tests/benchmarks/quality.py --items clean,moving --scenes small_hangar_01
    python tests/benchmarks/quality.py --doc docs/benchmark.md --json quality.json --opencv

Scenes come from ``../shared/data/hdr`` (validation split), enlarged to 1500 x 1000. Brackets are
rendered once into ``--work`` and kept. Reaches 0 when every target of the items that ran is met.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hdrmerge import __version__
from hdrmerge.evaluate import Result, evaluate, summarise
from hdrmerge.frames import FloatArray, RadianceMap
from hdrmerge.io import read_frames, read_radiance, write_exr
from hdrmerge.simulate import MotionConfig, SimulationConfig, render_bracket
from hdrmerge.simulate.bracket import placement_scale
from hdrmerge.simulate.geometry import shake_margin
from hdrmerge.simulate.scenes import add_detail, panorama_view
from hdrmerge.simulate.write import bracket_facts, write_bracket

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "hdr"
SIZE = (1000, 1500)
SCENES = ("small_hangar_01", "vintage_measuring_lab", "aircraft_workshop_01")
PERCENTILE = 99.5
SOURCES = ("comfy_cafe", "GoldenGate", "rainforest_trail")  # movers are cut from these
COLUMNS = (
    ("mu all", "all", "psnr_mu"),
    ("linear", "all", "psnr_linear"),
    ("mu mask", "motion", "psnr_mu"),
    ("mask, valid", "motion, valid", "psnr_mu"),
    ("mask, lost", "motion, lost", "psnr_mu"),
    ("mu static", "static", "psnr_mu"),
    ("SSIM", "all", "ssim_mu"),
    ("PU21", "all", "pu21"),
)


@dataclass(frozen=True)
class Target:
    """What the default options must reach on average: ``value`` dB, or the oracle's less it."""

    region: str
    metric: str
    value: float
    below_oracle: bool = False


@dataclass(frozen=True)
class Item:
    """One kind of bracket. ``anchor``: the frame, in stops, whose saturation lies on the 99.5th
    percentile of the scene."""

    title: str
    settings: dict[str, Any]
    targets: tuple[Target, ...]
    anchor: float = -3.0
    shaken: bool = False
    movers: int = 0
    published: str = ""
    methods: tuple[str, ...] = field(default=())


def _mu(value: float, region: str = "all") -> Target:
    return Target(region, "psnr_mu", value)


def _linear(value: float) -> Target:
    return Target("all", "psnr_linear", value)


_FIVE = (-4.0, -2.0, 0.0, 2.0, 4.0)
_SEVEN = tuple(float(s) for s in range(-3, 4))
_NOISY = {"full_well": 1500.0}
ITEMS: dict[str, Item] = {
    "clean": Item(
        "Static, clean, -2/0/+2",
        {"stops": (-2.0, 0.0, 2.0), "full_well": 20000.0},
        (_mu(49.0), _linear(48.5)),
        published="colour-hdri 49.1 / 48.8, pfstools 42.8 / 39.5, OpenCV 41.7 / 29.8",
    ),
    "noisy": Item(
        "Static, noisy, -3/0/+3",
        _NOISY,
        (_mu(43.3),),
        published="oracle 43.8, pfstools 41.5, colour-hdri 39.7, Luminance HDR 38.9, OpenCV 35.9",
    ),
    "five": Item(
        "Static, five frames, -4..+4",
        {"stops": _FIVE, "full_well": 3000.0},
        (_mu(46.5),),
        anchor=-4.0,
        published="colour-hdri 46.1, pfstools 44.9, OpenCV 43.4",
    ),
    "seven": Item(
        "Static, seven frames a stop apart",
        {"stops": _SEVEN, **_NOISY},
        (_mu(46.0),),
        published="oracle 46.5, best peer 44.4",
    ),
    "response": Item(
        "Static, unknown S-shaped response, -2/0/+2",
        {"stops": (-2.0, 0.0, 2.0), "full_well": 6000.0, "response": "scurve:0.55"},
        (_mu(47.0), _linear(47.0)),
        published="colour-hdri 47.2 / 47.3, pfstools 42.7 / 42.4, OpenCV 41.5 / 30.2",
    ),
    "hand-held": Item(
        "Hand-held, noisy, -3/0/+3",
        _NOISY,
        (_mu(41.0),),
        shaken=True,
        published="OpenCV ECC 32.5, align_image_stack 29.1",
    ),
    "moving": Item(
        "Moving objects, -3/0/+3",
        _NOISY,
        (_mu(33.0, "motion"), _mu(40.5), _mu(40.0, "motion, valid"), _mu(28.0, "motion, lost")),
        movers=8,
        published="all / mask: oracle 38.9 / 30.0, with the truth 43.1 / 38.5; single frame "
        "28.6 / 29.6; best peers 29.7 / 21.5",
        methods=("classic", "off"),
    ),
    "moving-5": Item(
        "Moving objects, -5/0/+1",
        {"stops": (-5.0, 0.0, 1.0), **_NOISY},
        (_mu(33.0, "motion"),),
        anchor=-5.0,
        movers=8,
        published="all / mask: oracle 39.8 / 30.7, with the truth 45.2 / 43.0; single frame "
        "31.0 / 30.7; best peers 29.3 / 20.8",
        methods=("classic",),
    ),
    "moving-2": Item(
        "Moving objects, two frames, 0/+3",
        {"stops": (0.0, 3.0), **_NOISY},
        (_mu(33.0, "motion"),),
        movers=8,
        published="all / mask: oracle 40.9 / 33.4; single frame 31.1 / 33.4; colour-hdri 37 / 28",
        methods=("classic",),
    ),
    "moving-7": Item(
        "Moving objects, seven frames a stop apart",
        {"stops": _SEVEN, **_NOISY},
        (_mu(34.0, "motion"),),
        movers=8,
        published="mask: oracle 31.5, with the truth 40.9; single frame 32.1",
        methods=("classic",),
    ),
    "both": Item(
        "Hand-held and moving, -3/0/+3",
        _NOISY,
        (_mu(32.0, "motion"), _mu(38.0)),
        shaken=True,
        movers=8,
        published="all / mask: best peers 27.0 / 22.1, single frame 28.6 / 29.6",
        methods=("classic",),
    ),
    "both-5": Item(
        "Hand-held and moving, five frames, -4..+4",
        {"stops": _FIVE, "full_well": 3000.0},
        (_mu(34.0, "motion"),),
        anchor=-4.0,
        shaken=True,
        movers=8,
        published="all / mask: best peers 30.4 / 21.5, single frame 33.4 / 34.9",
        methods=("classic",),
    ),
    "raw": Item(
        "RAW (16-bit CFA DNG), five frames, -4..+4",
        {"stops": _FIVE, "full_well": 6000.0, "format": "dng"},
        (_linear(48.4),),
        anchor=-4.0,
        published="HDRMerge 33.9 / 44.9, HDRutils 37.2 / 44.5",
    ),
}
CLASSIC_TARGETS = (Target("motion", "psnr_mu", 2.5, below_oracle=True), _mu(35.0))


def scene(name: str, margin: int) -> FloatArray:
    """A view of a validation scene with ``margin`` extra pixels on every side."""
    rng = np.random.default_rng(1)
    pixels, _ = read_radiance(DATA / f"{name}.exr")
    pixels = np.maximum(np.nan_to_num(pixels, nan=0.0, posinf=65504.0), 0)
    size = (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin)
    return add_detail(panorama_view(pixels, size, 1.5, rng), 0.05, rng)


def render(name: str, key: str, folder: Path) -> None:
    """Render one bracket of the exam unless ``folder`` holds it already."""
    item = ITEMS[key]
    recipe = repr((item.settings, item.anchor, item.shaken, item.movers, name, SIZE, PERCENTILE, 6))
    if folder.is_dir():
        if bracket_facts(folder).get("recipe") == recipe:
            return
        for path in folder.iterdir():
            path.unlink()
    shake = (1.0, 15.0, 2.0) if item.shaken else (0.0, 0.0, 0.0)
    pixels = scene(name, shake_margin(*SIZE, *shake, 0.0))
    sources = [read_radiance(DATA / f"{source}.exr")[0] for source in SOURCES]
    sources = [np.maximum(np.nan_to_num(s, nan=0.0, posinf=65504.0), 0) for s in sources]
    config = SimulationConfig(
        **item.settings,
        size=SIZE,
        scale=placement_scale(pixels, item.anchor, PERCENTILE),
        shake_rotation=shake[0],
        shake_shift=shake[1],
        shake_perspective=shake[2],
        motion=MotionConfig(item.movers, over_clipped=0.75, contrast=2.0, brightest=2.5),
    )
    bracket = render_bracket(pixels, config, np.random.default_rng(2), sources=sources)
    write_bracket(bracket, folder, facts={"recipe": recipe})


def opencv_merge(folder: Path, output: Path, *, ecc: bool) -> None:
    """OpenCV's own HDR pipeline: MTB or ECC alignment, CalibrateDebevec, MergeDebevec."""
    import cv2

    facts = bracket_facts(folder)
    frames = read_frames([folder / row["file"] for row in facts["frames"]])
    images = [np.ascontiguousarray(frame.pixels[..., ::-1]) for frame in frames]
    times = np.array([frame.settings.relative_exposure for frame in frames], np.float32)
    if ecc:
        middle = len(images) // 2
        grey = [cv2.equalizeHist(cv2.cvtColor(i, cv2.COLOR_BGR2GRAY)) for i in images]
        for k, image in enumerate(images):
            if k == middle:
                continue
            warp = np.eye(3, dtype=np.float32)
            stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-5)
            try:
                cv2.findTransformECC(grey[middle], grey[k], warp, cv2.MOTION_HOMOGRAPHY, stop)
            except cv2.error:
                continue
            size = (image.shape[1], image.shape[0])
            images[k] = cv2.warpPerspective(
                image, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            )
    else:
        cv2.createAlignMTB().process(images, images)
    response = cv2.createCalibrateDebevec().process(images, times)
    merged = cv2.createMergeDebevec().process(images, times, response)
    merged = np.maximum(np.nan_to_num(merged[..., ::-1]), 0).astype(np.float32)
    output.parent.mkdir(exist_ok=True)
    write_exr(output, RadianceMap(np.ascontiguousarray(merged)), float32=True)


def order_matters(folder: Path) -> bool:
    """Whether the order of the files changes a single value of the merge."""
    from hdrmerge import MergeConfig, merge_stack

    frames = read_frames(sorted(folder.glob("frame_*.*")))
    a = merge_stack(frames, MergeConfig()).radiance.pixels
    b = merge_stack(frames[::-1], MergeConfig()).radiance.pixels
    return not np.array_equal(a, b)


def check(item: Item, results: list[Result]) -> list[tuple[str, float, float, bool]]:
    """(what, reached, wanted, met) for each target of an item."""
    rows = []
    todo = [("default", target) for target in item.targets]
    if "classic" in item.methods and item.movers and not item.shaken:
        todo += [("classic", target) for target in CLASSIC_TARGETS]
    for method, target in todo:
        means = {m: v[0] for m, v in summarise(results, target.region, target.metric).items()}
        wanted = means["oracle"] - target.value if target.below_oracle else target.value
        name = "linear" if target.metric == "psnr_linear" else "mu"
        reached = means[method]
        rows.append((f"{method}: {name}, {target.region}", reached, wanted, reached >= wanted))
    casts = [r.cast for r in results if r.method == "default"]
    rows.append(("default: colour cast", max(casts), 1.01, max(casts) <= 1.01))
    return rows


def table(results: list[Result]) -> list[list[str]]:
    """One row a method: means over the scenes, with the worst scene of ours in brackets."""
    columns = {title: summarise(results, region, metric) for title, region, metric in COLUMNS}
    shown = [t for t in columns if any(np.isfinite(v[0]) for v in columns[t].values())]
    rows = [["", *shown, "cast", "harm %", "s"]]
    for method in dict.fromkeys(r.method for r in results):
        own = [r for r in results if r.method == method]
        cells = []
        for title in shown:
            mean, worst = columns[title][method]
            digits = 3 if title == "SSIM" else 1
            text = f"{mean:.{digits}f}" if np.isfinite(mean) else "-"
            several = len(own) > 1 and np.isfinite(mean) and title != "SSIM"
            cells.append(f"{text} ({worst:.1f})" if several else text)
        harm = [r.harm for r in own if np.isfinite(r.harm)]
        cells.append(f"{max(r.cast for r in own):.3f}")
        cells.append(f"{100 * np.mean(harm):.2f}" if harm else "-")
        cells.append(f"{np.mean([r.seconds for r in own]):.1f}")
        rows.append([method, *cells])
    return rows


def as_text(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            c.ljust(w) if i == 0 else c.rjust(w)
            for i, (c, w) in enumerate(zip(r, widths, strict=True))
        )
        for r in rows
    )


def as_markdown(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


DOC_HEAD = """# Benchmark: how close to the truth

Generated by `python tests/benchmarks/quality.py --doc docs/benchmark.md{flags}` with hdrmerge
{version}; do not edit.

Each bracket is rendered from a known scene by `hdrmerge simulate`: {size} pixels, JPEG of quality
95 (or DNG), sRGB response unless said otherwise. Noisy cameras hold 1500 electrons at saturation,
with 4 electrons of read noise. Moving objects shift by 40 pixels between frames; hand-held frames
turn by up to 1 degree, shift by up to 15 pixels and tilt slightly. Scenes: {scenes}.

Scores are in dB: PSNR of mu-law images (mu = 5000) and of linear radiance, 1 = the shortest
frame's saturation, after one scale factor fitted on static, well-exposed pixels; each is the mean
over the scenes, with the worst scene in brackets. *mask* is where something moves; in *mask,
valid* at least one frame shows the reference's content unclipped, in *mask, lost* none does.
*cast* is the largest over the smallest channel scale (1 = none), *harm* the share of static
pixels that are worse than in the plain merge.

Rows: **default** is what `hdrmerge fuse` does; *classic* and *off* are its other ways to handle
motion; *single* is the best single frame without any merge; *plain* the noise-optimal merge that
is told response, exposures and alignment but is blind to motion; *oracle* uses exactly those
samples that show the reference's content, and the clipped value where there are none;
*oracle+truth* has the truth in those places. *As published* quotes measurements of other tools on
other scenes of the same kind: compare them with the target, not digit by digit.
"""


def document(
    sections: list[tuple[Item, list[list[str]], list[tuple[str, float, float, bool]]]],
    scenes: tuple[str, ...],
    flags: str,
) -> str:
    """The page."""
    size = f"{SIZE[1]} x {SIZE[0]}"
    head = DOC_HEAD.format(version=__version__, size=size, scenes=", ".join(scenes), flags=flags)
    parts = [head]
    for item, rows, checks in sections:
        parts.append(f"## {item.title}\n")
        parts.append(as_markdown(rows) + "\n")
        if item.published:
            parts.append(f"As published: {item.published}.\n")
        goals = [
            f"{what} {reached:.{3 if 'cast' in what else 1}f} "
            f"({'meets' if met else 'misses'} {wanted:.{2 if 'cast' in what else 1}f})"
            for what, reached, wanted, met in checks
        ]
        parts.append("Targets: " + "; ".join(goals) + ".\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--items", default=",".join(ITEMS), help="comma-separated: " + ", ".join(ITEMS)
    )
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument(
        "--methods", default="", help="further methods, as `hdrmerge evaluate` names them"
    )
    parser.add_argument("--opencv", action="store_true", help="add OpenCV's MTB and ECC + Debevec")
    parser.add_argument(
        "--order", action="store_true", help="check that file order changes nothing"
    )
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "hdrmerge-exam")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--doc", type=Path)
    options = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"The scenes are not there: {DATA}")
    names = tuple(options.scenes.split(","))
    options.work.mkdir(parents=True, exist_ok=True)
    sections, everything, missed = [], [], 0
    for key in options.items.split(","):
        item = ITEMS[key]
        folders = [options.work / f"{key}-{name}" for name in names]
        for name, folder in zip(names, folders, strict=True):
            render(name, key, folder)
        extra = tuple(m for m in options.methods.split(",") if m)
        methods = ["single", "plain", *item.methods, "default", *extra, "oracle", "oracle+truth"]
        if options.opencv and item.settings.get("format") != "dng":
            for label, ecc in (("OpenCV MTB + Debevec", False), ("OpenCV ECC + Debevec", True)):
                if ecc and not item.shaken:
                    continue
                results_at = options.work / label.replace(" ", "-")
                for folder in folders:
                    opencv_merge(folder, results_at / f"{folder.name}.exr", ecc=ecc)
                methods.insert(0, f"{label}={results_at}")
        start = time.perf_counter()
        results = evaluate(folders, methods)
        results = [_shorter(r) for r in results]
        rows, checks = table(results), check(item, results)
        if options.order:
            changed = any(order_matters(folder) for folder in folders)
            checks.append(("file order changes the result", float(changed), 0.0, not changed))
        missed += sum(not met for *_, met in checks)
        sections.append((item, rows, checks))
        everything += [{"item": key, **r.to_dict()} for r in results]
        out = [f"\n{item.title}  [{time.perf_counter() - start:.0f} s]", as_text(rows)]
        out += [
            f"{'ok  ' if met else 'MISS'} {w} {r:.2f} >= {t:.2f}"
            if "cast" not in w and "order" not in w
            else f"{'ok  ' if met else 'MISS'} {w} {r:.3f}"
            for w, r, t, met in checks
        ]
        sys.stdout.write("\n".join(out) + "\n")
        sys.stdout.flush()
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1))
    if options.doc:
        flags = " --opencv" if options.opencv else ""
        options.doc.write_text(document(sections, names, flags))
    sys.stdout.write(f"\n{missed} targets missed\n")
    return 1 if missed else 0


def _shorter(result: Result) -> Result:
    """Results from elsewhere by their name alone."""
    import dataclasses

    return dataclasses.replace(result, method=result.method.partition("=")[0])


if __name__ == "__main__":
    sys.exit(main())
