"""Every operator's picture of a formula scene, against stored ones and against pfstmo's."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hdrmerge.config import TonemapConfig
from hdrmerge.tonemap import OPERATORS, tonemap
from hdrmerge.tonemap.colour import REC709_LUMINANCE
from hdrmerge.tonemap.scene import measure
from tests.unit.tonemap_scene import GOLDEN, GRID, SHAPE, cells, formula_scene

TOLERANCE = 1.0  # mean code of a cell of 16 x 16 pixels: other processors round otherwise
STORED = json.loads((GOLDEN / "tonemap.json").read_text())
PEERS = json.loads((GOLDEN / "pfstmo.json").read_text())
SCENE = measure(formula_scene() @ REC709_LUMINANCE)
WHITE = 0.18 * SCENE.maximum / SCENE.log_average
MATCHED = {
    "drago03": TonemapConfig("drago2003"),
    # its white is the largest luminance
    "reinhard02": TonemapConfig("reinhard2002", parameters={"key": 0.18, "white": WHITE}),
    "reinhard05": TonemapConfig(
        "reinhard-devlin2005", parameters={"chromatic": 0.5, "light": 0.75}
    ),
    "mantiuk08": TonemapConfig("mantiuk2008"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_pictures_are_what_they_were(name: str) -> None:
    shown = cells(tonemap(formula_scene(), TonemapConfig(name)))
    assert name in STORED, "python -m tests.unit.tonemap_scene"
    np.testing.assert_allclose(shown.ravel(), STORED[name], atol=TOLERANCE)


@pytest.mark.parametrize("program", MATCHED)
def test_pictures_are_those_of_pfstmo(program: str) -> None:
    codes = tonemap(formula_scene(), MATCHED[program])
    # where a channel would clip we keep the hue and pfstmo does not
    parts = codes.reshape(GRID[0], SHAPE[0] // GRID[0], GRID[1], SHAPE[1] // GRID[1], 3)
    whole = parts.max(axis=(1, 3, 4)) < 255
    assert whole.sum() > 20
    theirs = np.reshape(PEERS[program], (*GRID, 3))
    difference = np.abs(cells(codes) - theirs)[whole]
    assert difference.mean() < 1.0
    assert difference.max() < 3.5
