"""The exam's brackets: what is taken, of which scenes, and what must be reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hdrmerge.frames import FloatArray
from hdrmerge.io import read_radiance
from hdrmerge.simulate import MotionConfig, SimulationConfig, render_bracket
from hdrmerge.simulate.bracket import placement_scale
from hdrmerge.simulate.geometry import shake_margin
from hdrmerge.simulate.scenes import add_detail, panorama_view
from hdrmerge.simulate.write import bracket_facts, write_bracket

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data" / "hdr"
SIZE = (1000, 1500)
# Each with the percentile of it that saturates the anchor frame; chosen so that the rows that need
# no method of ours (single frame, oracles) come out near the published ones.
SCENES = {"small_hangar_01": 99.5, "outdoor_umbrellas": 99.9, "phalzer_forest_01": 99.7}
SOURCES = ("comfy_cafe", "GoldenGate", "rainforest_trail")  # movers are cut from these


@dataclass(frozen=True)
class Target:
    """What the default options must reach on average: ``value`` dB, or the oracle's less it."""

    region: str
    metric: str
    value: float
    below_oracle: bool = False


@dataclass(frozen=True)
class Item:
    """One kind of bracket. ``anchor``: the frame, in stops, whose saturation lies on the scene's
    percentile."""

    title: str
    settings: dict[str, Any]
    targets: tuple[Target, ...]
    anchor: float = -3.0
    shaken: bool = False
    movers: int = 0
    published: str = ""
    methods: tuple[str, ...] = field(default=())


def mu(value: float, region: str = "all") -> Target:
    return Target(region, "psnr_mu", value)


def linear(value: float) -> Target:
    return Target("all", "psnr_linear", value)


_FIVE = (-4.0, -2.0, 0.0, 2.0, 4.0)
_SEVEN = tuple(float(s) for s in range(-3, 4))
_NOISY = {"full_well": 1500.0}
ITEMS: dict[str, Item] = {
    "clean": Item(
        "Static, clean, -2/0/+2",
        {"stops": (-2.0, 0.0, 2.0), "full_well": 20000.0},
        (mu(49.0), linear(48.5)),
        published="colour-hdri 49.1 / 48.8, pfstools 42.8 / 39.5, OpenCV 41.7 / 29.8",
    ),
    "noisy": Item(
        "Static, noisy, -3/0/+3",
        _NOISY,
        (mu(43.3),),
        published="oracle 43.8, pfstools 41.5, colour-hdri 39.7, Luminance HDR 38.9, OpenCV 35.9",
    ),
    "five": Item(
        "Static, five frames, -4..+4",
        {"stops": _FIVE, "full_well": 3000.0},
        (mu(46.5),),
        anchor=-4.0,
        published="colour-hdri 46.1, pfstools 44.9, OpenCV 43.4",
    ),
    "seven": Item(
        "Static, seven frames a stop apart",
        {"stops": _SEVEN, **_NOISY},
        (mu(46.0),),
        published="oracle 46.5, best peer 44.4",
    ),
    "response": Item(
        "Static, unknown S-shaped response, -2/0/+2",
        {"stops": (-2.0, 0.0, 2.0), "full_well": 6000.0, "response": "scurve:0.55"},
        (mu(47.0), linear(47.0)),
        published="colour-hdri 47.2 / 47.3, pfstools 42.7 / 42.4, OpenCV 41.5 / 30.2",
    ),
    "hand-held": Item(
        "Hand-held, noisy, -3/0/+3",
        _NOISY,
        (mu(41.0),),
        shaken=True,
        published="OpenCV ECC 32.5, align_image_stack 29.1",
    ),
    "moving": Item(
        "Moving objects, -3/0/+3",
        _NOISY,
        (mu(33.0, "motion"), mu(40.5), mu(40.0, "motion, valid"), mu(28.0, "motion, lost")),
        movers=8,
        published="all / mask: oracle 38.9 / 30.0, with the truth 43.1 / 38.5; single frame "
        "28.6 / 29.6; best peers 29.7 / 21.5",
        methods=("classic", "off"),
    ),
    "moving-5": Item(
        "Moving objects, -5/0/+1",
        {"stops": (-5.0, 0.0, 1.0), **_NOISY},
        (mu(33.0, "motion"),),
        anchor=-5.0,
        movers=8,
        published="all / mask: oracle 39.8 / 30.7, with the truth 45.2 / 43.0; single frame "
        "31.0 / 30.7; best peers 29.3 / 20.8",
        methods=("classic",),
    ),
    "moving-2": Item(
        "Moving objects, two frames, 0/+3",
        {"stops": (0.0, 3.0), **_NOISY},
        (mu(33.0, "motion"),),
        movers=8,
        published="all / mask: oracle 40.9 / 33.4; single frame 31.1 / 33.4; colour-hdri 37 / 28",
        methods=("classic",),
    ),
    "moving-7": Item(
        "Moving objects, seven frames a stop apart",
        {"stops": _SEVEN, **_NOISY},
        (mu(34.0, "motion"),),
        movers=8,
        published="mask: oracle 31.5, with the truth 40.9; single frame 32.1",
        methods=("classic",),
    ),
    "both": Item(
        "Hand-held and moving, -3/0/+3",
        _NOISY,
        (mu(32.0, "motion"), mu(38.0)),
        shaken=True,
        movers=8,
        published="all / mask: best peers 27.0 / 22.1, single frame 28.6 / 29.6",
        methods=("classic",),
    ),
    "both-5": Item(
        "Hand-held and moving, five frames, -4..+4",
        {"stops": _FIVE, "full_well": 3000.0},
        (mu(34.0, "motion"),),
        anchor=-4.0,
        shaken=True,
        movers=8,
        published="all / mask: best peers 30.4 / 21.5, single frame 33.4 / 34.9",
        methods=("classic",),
    ),
    "raw": Item(
        "RAW (16-bit CFA DNG), five frames, -4..+4",
        {"stops": _FIVE, "full_well": 6000.0, "format": "dng"},
        (linear(48.4),),
        anchor=-4.0,
        published="HDRMerge 33.9 / 44.9, HDRutils 37.2 / 44.5",
    ),
}
CLASSIC_TARGETS = (Target("motion", "psnr_mu", 2.5, below_oracle=True), mu(35.0))


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
    recipe = repr(
        (item.settings, item.anchor, item.shaken, item.movers, name, SIZE, SCENES.get(name), 7)
    )
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
        scale=placement_scale(pixels, item.anchor, SCENES.get(name, 99.5)),
        shake_rotation=shake[0],
        shake_shift=shake[1],
        shake_perspective=shake[2],
        motion=MotionConfig(item.movers, over_clipped=0.75, contrast=2.0, brightest=2.5),
    )
    bracket = render_bracket(pixels, config, np.random.default_rng(2), sources=sources)
    write_bracket(bracket, folder, facts={"recipe": recipe})
