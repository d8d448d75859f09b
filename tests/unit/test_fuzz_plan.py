"""Damaged and hostile plans, names and metadata end in a sentence or in nothing known."""

from __future__ import annotations

import io
import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from card import Body, _Marks, exif_bytes
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_batch_plan import PLAN

from hdrmerge.batch.names import check_name, safe_name
from hdrmerge.batch.plan import Plan
from hdrmerge.batch.scan import photo
from hdrmerge.errors import HdrMergeError
from hdrmerge.frames import CaptureSettings
from hdrmerge.io.exif import read_shot

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
MAKERS = ("canon", "nikon", "sony", "panasonic")
HEADS = (
    *(b"Nikon\0\x02\x10\0\0II*\0", b"FUJIFILM\x0c\0\0\0", b"OLYMPUS\0II\x03\0", b"SONY DSC \0\0\0"),
    *(b"OM SYSTEM\0\0\0MM\x04\0", b"Panasonic\0\0\0", b"\x05\0"),
)


def never_escapes(plan: Plan) -> None:
    """What a plan that was accepted names lies below its root and below the output folder."""
    root, out = Path("/root/of/plan"), Path("/out/folder")
    for b in plan.brackets:
        assert check_name(b.name) is None
        assert out in Path(_normal(out / f"{b.name}.exr")).parents
        for file in b.files:
            assert root in Path(_normal(root / file)).parents


def _normal(path: Path) -> str:
    import os.path

    return os.path.normpath(path)


def parse(text: str) -> None:
    try:
        plan = Plan.from_json(text)
    except HdrMergeError as error:
        assert error.message
        return
    never_escapes(plan)
    assert Plan.from_json(plan.to_json()) == plan


@QUICK
@given(JSON, st.sampled_from(["root", "brackets", "singles", "warnings", "hdrmerge_plan"]))
def test_any_value_at_the_top(value: Any, key: str) -> None:
    data = {"hdrmerge_plan": 1, "root": "r", "brackets": []} | {key: value}
    parse(json.dumps(data))


@QUICK
@given(JSON, st.sampled_from(["name", "files", "stops", "reason", "doubt"]))
def test_any_value_in_a_bracket(value: Any, key: str) -> None:
    row = {"name": "n", "files": ["a", "b"]} | {key: value}
    parse(json.dumps({"hdrmerge_plan": 1, "root": "r", "brackets": [row]}))


@QUICK
@given(st.lists(st.text(max_size=30), min_size=2, max_size=3), st.text(max_size=60))
@example(["../a", "b"], "../../x")
@example(["a/..", "b"], "c:/x")
def test_any_names(files: list[str], name: str) -> None:
    row = {"name": name, "files": files}
    parse(json.dumps({"hdrmerge_plan": 1, "root": "r", "brackets": [row]}))
    assert check_name(safe_name(name)) is None


@QUICK
@given(st.text(alphabet="./\\:* ~conNULprn\0\n\ud800é", max_size=300))
def test_any_name_can_be_made_safe(text: str) -> None:
    safe = safe_name(text)
    assert check_name(safe) is None
    assert safe_name(safe) == safe


def mutated(data: bytes, chance: random.Random) -> bytes:
    """``data`` with a few bytes changed, cut or put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] = chance.choice((0, 0xFF, 0x7F, 0x80, chance.randrange(256)))
        elif kind == 1:
            changed[at:at] = chance.randbytes(chance.randint(1, 4))
        elif kind == 2:
            del changed[at : at + chance.randint(1, 6)]
        else:
            changed[at : at + 4] = chance.randbytes(4)
    return bytes(changed)


def plans(start: int, count: int) -> None:
    text = PLAN.to_json().encode()
    for seed in range(start, start + count):
        parse(mutated(text, random.Random(seed)).decode("utf-8", "replace"))


def metadata(start: int, count: int) -> None:
    taken = CaptureSettings(
        1 / 60, 8.0, 100.0, datetime(2024, 5, 6, 7, 8, 9, 120_000), focal_length=24
    )
    blocks = [
        exif_bytes(
            taken, _Marks(Body(make=m.upper(), maker=m, marks=True, bias=True), True, 2, -2.0, 7)
        )
        for m in MAKERS
    ]
    for seed in range(start, start + count):
        chance = random.Random(seed)
        data = chance.choice(blocks)
        if chance.random() < 0.3:  # another maker's note in its place
            head = chance.choice(HEADS)
            at = max(data.find(n) for n in (b"Nikon\0", b"SONY DSC", b"Panasonic", b"\x03\0\x04\0"))
            data = data[:at] + head + chance.randbytes(40) + data[at + len(head) + 40 :]
        shot = read_shot(io.BytesIO(mutated(data, chance)))
        drive = shot.drive
        assert drive.stops is None or abs(drive.stops) <= 1024
        assert drive.shot is None or 1 <= drive.shot <= 999
        assert shot.bias is None or abs(shot.bias) <= 20
        assert shot.thumbnail == b"" or len(shot.thumbnail) <= 1 << 17
        photo("folder/IMG_1.JPG", "jpeg", 1, shot)


def test_mutated_plans() -> None:
    plans(0, 1500)


def test_mutated_metadata() -> None:
    metadata(0, 1500)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10_000, 50_000, 10_000))
def test_many_mutated_plans_and_metadata(start: int) -> None:
    plans(start, 5_000)
    metadata(start, 10_000)
