"""``hdrmerge batch`` and ``hdrmerge watch``, as people run them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hdrmerge.batch.naming import rename
from hdrmerge.batch.plan import Plan, PlannedBracket
from hdrmerge.cli.progress import BatchProgress, in_words
from hdrmerge.errors import ExitCode, UsageError
from hdrmerge.io import read_exr
from tests.cli_tools import Command, photograph, scene, write_bracket, write_photograph


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A bracket in each of two folders, and a single shot."""
    for name in ("kitchen", "garden"):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        write_bracket(folder)
    for path in (tmp_path / "in/garden").iterdir():  # another scene
        turned = scene()[:, ::-1]
        stops = 2.0 * (int(path.stem[-1]) - 2)
        write_photograph(path, photograph(turned, stops - 1), time=2.0**stops / 60)
    write_photograph(tmp_path / "in/portrait.jpg", photograph(scene()[::-1], 0), time=1 / 60)
    return tmp_path / "in"


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


OWN = {"hdrmerge-batch.sqlite", "report.json", "index.html"}


def test_folders_become_hdr_files(hdrmerge: Command, photographs: Path, tmp_path: Path) -> None:
    out = tmp_path / "new/out"
    look = ("--op", "drago2003", "--set", "bias=0.7", "--saturation", 0.5, "--hdr", "--no-gps")
    done = hdrmerge("batch", photographs, "-o", out, "--jobs", 2, "--ghost-map", *look)
    assert done.code == ExitCode.OK
    names = ("kitchen/IMG_0001-0003", "garden/IMG_0001-0003")
    ends = (".exr", ".jpg", ".ghosts.png")
    assert files(out) == OWN | {f"{name}{end}" for name in names for end in ends}
    assert "2 of 2 brackets are merged (2 now), 1 single shot was left out;" in done.err
    report = json.loads((out / "report.json").read_text())
    assert report["totals"] == {
        "merged": 2,
        "unchanged": 0,
        "failed": 0,
        "skipped": 0,
        "left": 0,
        "singles": 1,
        "duplicates": 0,
        "unreadable": 0,
    }
    assert report["singles"][0]["file"] == "portrait.jpg"
    single, preview = tmp_path / "one.exr", tmp_path / "one.jpg"
    hdrmerge(
        "fuse",
        *sorted((photographs / "garden").iterdir()),
        "-o",
        single,
        "--preview",
        preview,
        *look,
    )
    assert single.read_bytes() == (out / "garden/IMG_0001-0003.exr").read_bytes()
    assert preview.read_bytes() == (out / "garden/IMG_0001-0003.jpg").read_bytes()
    assert b"hdrgm" in preview.read_bytes()

    before = files(out)
    again = hdrmerge("batch", photographs, "-o", out, "--ghost-map", "--json", *look)
    assert again.json["totals"]["unchanged"] == 2
    assert "2 of 2 brackets are merged already" in again.err
    assert files(out) == before


def test_the_plan_is_printed_and_nothing_done(
    hdrmerge: Command, photographs: Path, tmp_path: Path
) -> None:
    before = files(tmp_path)
    table = hdrmerge("batch", photographs, "--plan", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert table.code == ExitCode.OK
    assert "kitchen/IMG_0001-0003" in table.out
    assert "-2.0 +0.0 +2.0" in table.out
    assert "single: portrait.jpg" in table.out
    assert "2 brackets (0 doubtful), 1 single shot, 0 duplicates, 0 unr" in table.out
    plan = Plan.from_json(hdrmerge("batch", photographs, "--plan", "--json").out)
    assert [b.name for b in plan.brackets] == ["garden/IMG_0001-0003", "kitchen/IMG_0001-0003"]
    assert files(tmp_path) == before


def test_a_plan_is_edited_and_run(hdrmerge: Command, photographs: Path, tmp_path: Path) -> None:
    saved, out = tmp_path / "plan.json", tmp_path / "out"
    assert hdrmerge("batch", photographs, "--save-plan", saved).code == ExitCode.OK
    assert not out.exists()
    data = json.loads(saved.read_text())
    data["brackets"][0]["name"] = "the/garden"
    del data["brackets"][1]
    saved.write_text(json.dumps(data))
    done = hdrmerge("batch", saved, "-o", out, "--preview", "none", "--no-sheet", "--format", "hdr")
    assert done.code == ExitCode.OK
    assert files(out) == {"hdrmerge-batch.sqlite", "report.json", "the/garden.hdr"}
    data["brackets"][0]["name"] = "../garden"
    saved.write_text(json.dumps(data))
    wrong = hdrmerge("batch", saved, "-o", out)
    assert wrong.code == ExitCode.INPUT
    assert "output folder" in wrong.err


def test_failures_are_listed(hdrmerge: Command, photographs: Path, tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    hdrmerge("batch", photographs, "--save-plan", plan)
    broken = photographs / "kitchen/IMG_0002.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    done = hdrmerge("batch", plan, "-o", out, "--jobs", 1)
    assert done.code == ExitCode.PARTIAL
    assert "error: 1 of 2 brackets failed." in done.err
    assert "cause" in done.err
    assert str(broken) in done.err
    assert "Traceback" not in done.err
    failed = json.loads((out / "report.json").read_text())["brackets"][1]
    assert failed["failure"]["kind"] == "input"
    assert str(broken) in failed["failure"]["message"]
    assert str(broken.name) in (out / "index.html").read_text()
    assert (out / "garden/IMG_0001-0003.exr").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere", "-o", "out"], ExitCode.INPUT, "nowhere does not exist"),
        (["in"], ExitCode.USAGE, "--output"),
        (["in", "-o", "in"], ExitCode.USAGE, "both searched and written"),
        (["in", "-o", "in/portrait.jpg"], ExitCode.OUTPUT, "is a file"),
        (["in", "-o", "out", "--jobs", "many"], ExitCode.USAGE, "--jobs"),
        (["in", "-o", "out", "--jobs", "0"], ExitCode.USAGE, "--jobs"),
        (["in", "-o", "out", "--memory", "lots"], ExitCode.USAGE, "--memory"),
        (["in", "-o", "out", "--name", "{shoe}"], ExitCode.USAGE, "'{shoe}'"),
        (["in", "-o", "out", "--name", "hdr"], ExitCode.USAGE, "same name"),
        (["in", "-o", "out", "--op", "magic"], ExitCode.USAGE, "'magic'"),
        (["in", "-o", "out", "--op", "all"], ExitCode.USAGE, "one picture"),
        (["in", "-o", "out", "--set", "bias"], ExitCode.USAGE, "'bias'"),
        (["in", "-o", "out", "--preview", "tif", "--hdr"], ExitCode.USAGE, "no TIFF"),
        (["in", "-o", "out", "--preview", "none", "--hdr"], ExitCode.USAGE, "--preview none"),
        (["in", "-o", "out", "--deghost", "off", "--model", "ahdrnet"], ExitCode.USAGE, "network"),
        (["in", "-o", "out", "--weights", "absent"], ExitCode.WEIGHTS, "'absent'"),
        (["in", "-o", "out", "--frames", "1"], ExitCode.USAGE, "frames"),
        (["empty", "-o", "out"], ExitCode.INPUT, "No brackets"),
        (["plan.json", "in", "-o", "out"], ExitCode.USAGE, "by itself"),
        (["plan.json", "-o", "out"], ExitCode.INPUT, "plan.json"),
    ],
)
def test_what_makes_no_sense(
    hdrmerge: Command,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: ExitCode,
    said: str,
) -> None:
    monkeypatch.chdir(photographs.parent)
    Path("empty").mkdir()
    Path("plan.json").write_text("{}")
    wrong = hdrmerge("batch", *arguments)
    assert wrong.code == code
    assert said in wrong.err
    assert wrong.err.startswith("error: ")
    assert not list(Path().rglob("*.exr"))
    assert not Path("out").exists()


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hdrmerge", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to the whole group
        cwd=Path(__file__).parents[1],
    )


def wait_for(found, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_ctrl_c_ends_what_is_in_hand_and_the_next_run_goes_on(
    hdrmerge: Command, photographs: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start("batch", photographs, "-o", out, "--jobs", "1")
    wait_for(lambda: list(out.glob(".hdrmerge-stage/*")))
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "error: Interrupted: 1 of 2 brackets are merged." in said
    assert "Traceback" not in said
    assert {f for f in files(out) if f.endswith(".exr")} == {"garden/IMG_0001-0003.exr"}
    assert not list(out.glob(".*"))
    assert json.loads((out / "report.json").read_text())["stopped"] == "interrupted"
    hdrmerge("batch", photographs, "-o", out)
    assert (out / "kitchen/IMG_0001-0003.exr").exists()


def test_killed_and_started_again(hdrmerge: Command, photographs: Path, tmp_path: Path) -> None:
    """One kill; tests/benchmarks/batch_kill.py does hundreds."""
    out, other = tmp_path / "out", tmp_path / "other"
    process = start("batch", photographs, "-o", out, "--jobs", "1", "-q")
    wait_for(lambda: list(out.rglob("*.exr")))
    process.kill()
    process.communicate()
    for folder in (out, other):
        assert hdrmerge("batch", photographs, "-o", folder, "--jobs", "1").code == ExitCode.OK
    assert not list(out.glob(".*"))
    assert files(out) == files(other)
    for name in files(out) - {"hdrmerge-batch.sqlite", "report.json"}:
        assert (out / name).read_bytes() == (other / name).read_bytes(), name


def test_watching_until_ctrl_c(photographs: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "tethered", tmp_path / "out"
    folder.mkdir()
    process = start("watch", folder, "-o", out, "--frames", "3", "--interval", "0.1")
    for path in sorted((photographs / "kitchen").iterdir()):
        shutil.copy(path, folder)
    result = out / "IMG_0001-0003.exr"
    wait_for(lambda: (out / "report.json").exists())
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == ExitCode.OK
    assert "1 brackets are merged." in said
    assert read_exr(result)[0].shape == (96, 128, 3)
    assert not list(out.glob(".*"))


def planned(*names: str) -> Plan:
    files = ("DSC_1.jpg", "DSC_2.jpg", "DSC_3.jpg")
    brackets = [
        PlannedBracket(name, tuple(f"{name.rpartition('/')[0]}/{f}" for f in files), "given")
        for name in names
    ]
    return Plan("/photographs", tuple(brackets))


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{folder}/{first}-{last}", ["a/b/DSC_1-DSC_3", "c/DSC_1-DSC_3"]),
        ("{first}", ["DSC_1", "DSC_1-2"]),
        ("{number:03}", ["001", "002"]),
        ("{folder}/hdr/{name}", ["a/b/hdr/a/b/x", "c/hdr/c/y"]),
        ("../../{first}", ["_/_/DSC_1", "_/_/DSC_1-2"]),
        ("/{folder}/{first}", ["a/b/DSC_1", "c/DSC_1"]),
        ("{frames} of {first}", ["3 of DSC_1", "3 of DSC_1-2"]),
    ],
)
def test_names_by_template(template: str, names: list[str]) -> None:
    found = [b.name for b in rename(planned("a/b/x", "c/y"), template).brackets]
    if ".." in template:
        assert all(".." not in name.split("/") and not name.startswith("/") for name in found)
        assert len(set(found)) == 2
    else:
        assert found == names


@pytest.mark.parametrize(
    "template", ["{first", "{first.__class__}", "{first[0]}", "{}", "{first!x}", "{number:z}", "x"]
)
def test_templates_that_make_no_sense(template: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        rename(planned("a/x"), template)


def test_time_to_go_is_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrmerge.batch.report import Entry, Summary
    from hdrmerge.cli.console import Console

    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    progress = BatchProgress(Console(quiet=True))
    progress.begin(Summary(), 3, 1000)
    now[0] += 60
    progress.ended(Entry("small", ()), 100, 0)
    assert progress.time_left(0) == "9 min to go"
    assert progress.time_left(200) == "4 min to go"  # half of what is in work is done
    progress.ended(Entry("large", ()), 900, 0)
    assert progress.time_left(0) == ""
    assert [in_words(s) for s in (0.2, 89, 3600, 2 * 3600, 72 * 3600)] == [
        "1 s",
        "89 s",
        "60 min",
        "2.0 h",
        "3.0 days",
    ]
