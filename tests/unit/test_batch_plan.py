"""Plans as files: written whole, read strictly, and never out of their folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hdrmerge.batch import plan as plan_module
from hdrmerge.batch.names import check_name, safe_name
from hdrmerge.batch.plan import (
    Plan,
    PlannedBracket,
    PlannedFile,
    read_plan,
    write_plan,
)
from hdrmerge.errors import InputError, OutputError

PLAN = Plan(
    root="/photos",
    brackets=(
        PlannedBracket("villa/IMG_1-3", ("villa/1.jpg", "villa/2.jpg"), "seen", None, (-2.0, 0.0)),
        PlannedBracket("é ü", ("a\udc80b.jpg", 'quote".jpg', "line\n.jpg"), "odd", "Perhaps."),
    ),
    singles=(PlannedFile("x.jpg", "a single shot"),),
    duplicates=(PlannedFile("y.jpg", "a copy of x.jpg"),),
    unreadable=(PlannedFile("z.jpg", "is empty"),),
    warnings=("Something.",),
)


def changed(**values: Any) -> str:
    """A valid plan's JSON with keys replaced (None: removed)."""
    data = {"hdrmerge_plan": 1, "root": "/r", "brackets": []} | values
    return json.dumps({k: v for k, v in data.items() if v is not None})


def bracket(**values: Any) -> dict[str, Any]:
    return {"name": "n", "files": ["a", "b"]} | values


def test_a_plan_comes_back_from_its_file(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == PLAN
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert "é ü" in (tmp_path / "plan.json").read_text()  # people edit it


def test_what_a_person_leaves_out_is_filled_in() -> None:
    plan = Plan.from_json(changed(brackets=[bracket()]))
    assert plan.brackets[0] == PlannedBracket("n", ("a", "b"), "given by the plan")
    assert plan.singles == ()


def test_a_relative_root_is_beside_the_plan(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(changed(root="photos", brackets=[bracket()]))
    plan = read_plan(tmp_path / "plan.json")
    assert plan.paths(plan.brackets[0]) == [tmp_path / "photos" / n for n in "ab"]
    (tmp_path / "plan.json").write_text(changed(root="s3://bucket/photos"))
    assert read_plan(tmp_path / "plan.json").root == "s3://bucket/photos"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1"),
        ("[]", "must be an object"),
        ("{", "line 1"),
        ('{"a": 1, "a": 2}', "'a' twice"),
        ('{"a": NaN}', "no number"),
        ("[" * 100_000, "no plan has"),
        ("[1" + "0" * 5000 + "]", "no plan has"),
        (changed(hdrmerge_plan=2), "version 2"),
        (changed(hdrmerge_plan=True), "version True"),
        (changed(hdrmerge_plan=None), "lacks the key 'hdrmerge_plan'"),
        (changed(surprise=1), "unknown key 'surprise'"),
        (changed(root=""), "root, must name a folder"),
        (changed(root=3), "root, must be text"),
        (changed(brackets={}), "brackets, must be a list"),
        (changed(brackets=[3]), r"brackets\[0\], must be an object"),
        (changed(brackets=[bracket(extra=1)]), r"brackets\[0\], has an unknown key 'extra'"),
        (changed(brackets=[bracket(files=["a"])]), r"files, must name at least two"),
        (changed(brackets=[bracket(files=["a", 1])]), r"files\[1\], must be text"),
        (changed(brackets=[bracket(files=["a", "a"])]), "already"),
        (changed(brackets=[bracket(), bracket(name="m")]), r"brackets\[1\]\.files, 'a' is in"),
        (changed(brackets=[bracket(), bracket(name="N", files=["c", "d"])]), "again"),
        (changed(brackets=[bracket(stops=[1])]), "1 values for 2 files"),
        (changed(brackets=[bracket(stops=[1, "2"])]), r"stops\[1\], must be a number"),
        (changed(brackets=[bracket(stops=[1, 1e300])]), "between -64 and 64"),
        (changed(brackets=[bracket(doubt=1)]), "doubt, must be text"),
        (changed(brackets=[bracket(reason="x" * 20_000)]), "at most"),
        (changed(singles=[{"file": "a", "why": "b"}]), r"singles\[0\], has an unknown key"),
    ],
)
def test_mistakes_are_named_with_their_place(text: str, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as caught:
        Plan.from_json(text, "p.json")
    assert caught.value.message.startswith("p.json")
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message


ESCAPES = ("../x", "/x", "a/../../x", "a//b", "./x", "..", ".", "", "a/", "x\0y")


@pytest.mark.parametrize("path", ESCAPES)
def test_files_stay_below_the_root(path: str) -> None:
    with pytest.raises(InputError, match=r"files\[1\]"):
        Plan.from_json(changed(brackets=[bracket(files=["a", path])]))
    with pytest.raises(InputError, match=r"singles\[0\]\.file"):
        Plan.from_json(changed(singles=[{"file": path}]))


@pytest.mark.parametrize(
    "name",
    [
        *(*ESCAPES, "C:x", "a\\b", "a\\..\\b", "con", "a/NUL.txt", "a ", " a", "a.", "x/.../y"),
        *("a\nb", "n" * 201, "n/" * 600 + "n", 'a"b', "a|b", "\ud800"),
    ],
)
def test_names_stay_below_the_output_folder(name: str) -> None:
    assert check_name(name)
    with pytest.raises(InputError, match=r"brackets\[0\]\.name"):
        Plan.from_json(changed(brackets=[bracket(name=name)]))
    assert check_name(safe_name(name)) is None


@pytest.mark.parametrize("name", ["IMG_1-3", "villa/ground floor/é", "a.b", ".hidden", "コ"])
def test_good_names_stay_as_they_are(name: str) -> None:
    assert check_name(name) is None
    assert safe_name(name) == name


def test_files_that_are_no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_plan(tmp_path / "absent.json")
    (tmp_path / "p.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_plan(tmp_path / "p.json")
    monkeypatch.setattr(plan_module, "_MAX_BYTES", 10)
    (tmp_path / "p.json").write_text(changed())
    with pytest.raises(InputError, match="larger than any plan"):
        read_plan(tmp_path / "p.json")


def test_a_plan_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_plan(PLAN, tmp_path / "absent" / "plan.json")
    os.makedirs(tmp_path / "plan.json")  # noqa: PTH103
    with pytest.raises(OutputError, match="is a directory"):
        write_plan(PLAN, tmp_path / "plan.json")
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
