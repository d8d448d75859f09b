"""Running a plan: what is done is kept, what fails is told, and nothing is ever half there."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_tools import (
    ALL,
    InlinePool,
    killed_at_a1,
    killed_once_at_a1,
    remembered,
    run,
    statuses,
    tree,
    write_brackets,
)
from PIL import Image

from hdrmerge.batch.job import Failure, Job, Outcome
from hdrmerge.batch.limits import choose_limits, cores, free_memory, parse_bytes
from hdrmerge.batch.plan import Plan
from hdrmerge.batch.pool import LocalPool
from hdrmerge.batch.state import State
from hdrmerge.batch.worker import failure_of, work
from hdrmerge.config import MergeConfig, TonemapConfig
from hdrmerge.errors import ExitCode, InputError, OutputError, UsageError
from hdrmerge.io import read_exr
from hdrmerge.picture import PictureFormat


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    root = tmp_path_factory.mktemp("photographs")
    return root, write_brackets(root, 2)


@pytest.fixture
def plan(photographs: tuple[Path, Plan], tmp_path: Path) -> Plan:
    """Two brackets in a folder of the test's own."""
    root = tmp_path / "in"
    shutil.copytree(photographs[0], root)
    return replace(photographs[1], root=str(root))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def kinds(pool: InlinePool) -> list[tuple[str, tuple[str, ...]]]:
    return [(job.name.partition("/")[0], job.make) for job in pool.jobs]


def never(job: Job) -> Outcome:
    raise AssertionError(f"{job.name} is done again")


def test_everything_is_made_once(plan: Plan, out: Path) -> None:
    assert statuses(run(plan, out, InlinePool(work))) == ["merged", "merged"]
    first = tree(out)
    ends = (".exr", ".ghosts.png", ".jpg", ".json")
    assert set(first) == {f"a{k}/IMG_0-2{end}" for k in range(2) for end in ends}
    for k in range(2):
        pixels, header = read_exr(out / f"a{k}/IMG_0-2.exr")
        assert pixels.shape == (64, 80, 3)
        assert "seconds" not in header["hdrmerge:report"]
    assert statuses(run(plan, out, InlinePool(never))) == ["unchanged", "unchanged"]
    assert tree(out) == first


def test_two_runs_and_two_workers_give_the_same_bytes(plan: Plan, out: Path) -> None:
    run(plan, out)
    other = out.with_name("other")
    summary = run(plan, other, pool=lambda: LocalPool(2, 1))  # type: ignore[arg-type]
    assert statuses(summary) == ["merged", "merged"]
    assert tree(other) == tree(out)


def test_another_tone_mapping_makes_previews_only(plan: Plan, out: Path) -> None:
    run(plan, out)
    brighter = replace(ALL, tonemap=TonemapConfig(exposure=1.0))
    times = {p: p.stat().st_mtime_ns for p in out.rglob("*.exr")}
    pool = InlinePool()
    assert statuses(run(plan, out, pool, products=brighter)) == ["merged", "merged"]
    assert kinds(pool) == [("a0", ("preview",)), ("a1", ("preview",))]
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.exr")} == times
    other = out.with_name("other")
    run(plan, other, products=brighter)
    assert tree(other) == tree(out)  # as if it had been asked for at once
    assert statuses(run(plan, out, InlinePool(never), products=brighter)) == ["unchanged"] * 2
    with State(out) as one, State(other) as two:
        a, b = one.get("a0/IMG_0-2"), two.get("a0/IMG_0-2")
        assert a is not None
        assert b is not None
        assert a.card == b.card
        assert a.report is not None


@pytest.mark.parametrize(
    "change",
    [
        {"tonemap": TonemapConfig("drago2003", 0.0, {"bias": 0.7})},
        {"tonemap": TonemapConfig(saturation=0.0)},
        {"form": PictureFormat(hdr=True)},
    ],
)
def test_options_of_the_preview_make_previews_only(
    plan: Plan, out: Path, change: dict[str, Any]
) -> None:
    plan = replace(plan, brackets=plan.brackets[:1])
    run(plan, out)
    before = tree(out)
    pool = InlinePool()
    run(plan, out, pool, products=replace(ALL, **change))
    assert kinds(pool) == [("a0", ("preview",))]
    after = tree(out)
    assert {name for name in before if before[name] != after[name]} == {"a0/IMG_0-2.jpg"}


def test_without_the_place_everything_is_made_again(plan: Plan, out: Path) -> None:
    plan = replace(plan, brackets=plan.brackets[:1])
    for path in plan.paths(plan.brackets[0]):
        image = Image.open(path)
        exif = image.getexif()
        exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 30.0, 0.0), 3: "E", 4: (8.0, 0.0, 0.0)})
        image.save(path, exif=exif, quality=95)

    def places() -> list[bool]:
        attributes = read_exr(out / "a0/IMG_0-2.exr")[1]
        shown = Image.open(out / "a0/IMG_0-2.jpg").getexif().get_ifd(0x8825)
        return ["latitude" in attributes, 2 in shown]

    run(plan, out)
    assert places() == [True, True]
    pool = InlinePool()
    run(plan, out, pool, products=replace(ALL, gps=False))
    assert [len(make) for _, make in kinds(pool)] == [4]
    assert places() == [False, False]


@pytest.mark.parametrize(
    "change",
    [
        {"config": MergeConfig(deghost="off")},
        {"config": MergeConfig(align=False)},
        {"products": replace(ALL, float32=True)},
        {"products": replace(ALL, compression="zip")},
    ],
)
def test_other_options_make_everything_again(plan: Plan, out: Path, change: object) -> None:
    plan = replace(plan, brackets=plan.brackets[:1])
    run(plan, out)
    pool = InlinePool()
    run(plan, out, pool, **change)  # type: ignore[arg-type]
    assert [name for name, make in kinds(pool) if len(make) == 4] == ["a0"]


def test_a_saved_response_counts_by_its_content(plan: Plan, out: Path, tmp_path: Path) -> None:
    from hdrmerge.response import Response, write_response

    saved = tmp_path / "camera.json"
    write_response(Response.srgb(), saved)
    config = MergeConfig(response=str(saved))
    plan = replace(plan, brackets=plan.brackets[:1])
    run(plan, out, config=config)
    assert statuses(run(plan, out, InlinePool(never), config=config)) == ["unchanged"]
    write_response(Response.gamma(2.2), saved)
    assert statuses(run(plan, out, config=config)) == ["merged"]


def test_what_is_missing_is_made(plan: Plan, out: Path) -> None:
    run(plan, out)
    first = tree(out)
    (out / "a0/IMG_0-2.jpg").unlink()
    (out / "a1/IMG_0-2.exr").unlink()
    pool = InlinePool()
    run(plan, out, pool)
    assert kinds(pool) == [("a0", ("preview",)), ("a1", tuple(ALL.suffixes()))]
    assert tree(out) == first


def test_inputs_count_by_content(plan: Plan, out: Path) -> None:
    run(plan, out)
    photograph = plan.paths(plan.brackets[1])[2]
    os.utime(photograph, (1, 1))
    assert statuses(run(plan, out, InlinePool(never))) == ["unchanged", "unchanged"]
    moved = Path(plan.root).rename(out.with_name("moved"))
    plan = replace(plan, root=str(moved))
    assert statuses(run(plan, out, InlinePool(never))) == ["unchanged", "unchanged"]
    photograph = plan.paths(plan.brackets[1])[2]
    data = bytearray(photograph.read_bytes())
    data[-20] ^= 1
    photograph.write_bytes(data)
    assert statuses(run(plan, out)) == ["unchanged", "merged"]


def test_what_another_program_changed_is_left(plan: Plan, out: Path) -> None:
    run(plan, out)
    retouched = out / "a0/IMG_0-2.jpg"
    retouched.write_bytes(b"retouched by hand")
    brighter = replace(ALL, tonemap=TonemapConfig(exposure=1.0))
    for products in (ALL, brighter):
        summary = run(plan, out, products=products)
        assert summary.entries["a0/IMG_0-2"].edited == ("a0/IMG_0-2.jpg",)
        assert retouched.read_bytes() == b"retouched by hand"
    assert statuses(run(plan, out, overwrite=True)) == ["merged", "merged"]
    assert retouched.read_bytes() != b"retouched by hand"


def test_files_of_others_are_not_replaced(plan: Plan, out: Path) -> None:
    theirs = out / "a0/IMG_0-2.jpg"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    stray = out / ".hdrmerge-0123456789ab.tmp"  # of a `fuse` that is running
    stray.touch()
    summary = run(plan, out)
    assert statuses(summary) == ["failed", "merged"]
    failure = summary.entries["a0/IMG_0-2"].failure
    assert failure is not None
    assert failure.code == ExitCode.OUTPUT
    assert "a0/IMG_0-2.jpg is there already" in failure.message
    assert theirs.read_bytes() == b"theirs"
    assert [p.name for p in theirs.parent.iterdir()] == ["IMG_0-2.jpg"]
    assert stray.exists()
    assert statuses(run(plan, out, overwrite=True)) == ["merged", "merged"]


def test_an_interrupted_overwrite_goes_on_without_it(plan: Plan, out: Path) -> None:
    run(plan, out)

    class Killed(BaseException): ...

    def die(job: Job) -> Outcome:
        if job.name.startswith("a1"):
            raise Killed
        return remembered(job)

    with pytest.raises(Killed):
        run(plan, out, InlinePool(die), overwrite=True)
    pool = InlinePool()
    assert statuses(run(plan, out, pool)) == ["unchanged", "merged"]


def test_outputs_stay_in_the_folder(plan: Plan, out: Path, tmp_path: Path) -> None:
    out.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (out / "a0").symlink_to(outside)
    summary = run(plan, out)
    assert statuses(summary) == ["failed", "merged"]
    assert list(outside.iterdir()) == []


def test_names_that_collide(plan: Plan, out: Path) -> None:
    names = ("A", "a.ghosts")
    brackets = [replace(b, name=n) for b, n in zip(plan.brackets, names, strict=True)]
    products = replace(ALL, preview="png")
    summary = run(replace(plan, brackets=tuple(brackets)), out, products=products)
    assert statuses(summary) == ["merged", "failed"]
    brackets = [replace(b, name=n) for b, n in zip(plan.brackets, ("report", "B"), strict=True)]
    summary = run(replace(plan, brackets=tuple(brackets)), out)
    assert statuses(summary) == ["failed", "merged"]
    assert not (out / "report.json").exists()


def test_one_bad_bracket_does_not_stop_the_rest(plan: Plan, out: Path) -> None:
    photograph = plan.paths(plan.brackets[0])[1]
    whole = photograph.read_bytes()
    photograph.write_bytes(whole[: len(whole) // 2])
    summary = run(plan, out)
    assert statuses(summary) == ["failed", "merged"]
    failure = summary.entries["a0/IMG_0-2"].failure
    assert failure is not None
    assert (failure.code, failure.traceback) == (ExitCode.INPUT, None)
    assert str(photograph) in failure.message
    assert not (out / "a0").exists()
    photograph.write_bytes(whole)
    assert statuses(run(plan, out)) == ["merged", "unchanged"]


def test_missing_and_copied_photographs(plan: Plan, out: Path) -> None:
    plan.paths(plan.brackets[0])[0].unlink()
    one, two, _ = plan.paths(plan.brackets[1])
    shutil.copy(one, two)
    failures = [entry.failure for entry in run(plan, out).entries.values()]
    assert [f and f.code for f in failures] == [ExitCode.INPUT, ExitCode.STACK]
    assert "does not exist" in str(failures[0])
    assert "same photograph" in str(failures[1])


def test_a_photograph_that_changes_meanwhile(
    plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hdrmerge import io

    real = io.read_frames

    def read(paths: list[Path]) -> object:
        frames = real(paths)
        if paths[0].parent.name == "a0":
            os.utime(paths[0], (1, 1))
        return frames

    monkeypatch.setattr(io, "read_frames", read)
    summary = run(plan, out, InlinePool(work))
    assert statuses(summary) == ["failed", "merged"]
    assert "changed while" in str(summary.entries["a0/IMG_0-2"].failure)
    assert not (out / "a0").exists()


def test_a_defect_is_told_with_its_place(
    plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdrmerge.results.ghost_picture", lambda *_: 1 / 0)
    failure = run(plan, out, InlinePool(work)).entries["a0/IMG_0-2"].failure
    assert failure is not None
    assert failure.code == ExitCode.FAILURE
    assert "ZeroDivisionError" in failure.message
    assert "test_batch_run" in str(failure.traceback)
    assert tree(out) == {}


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_stops_the_batch(
    plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "fsync":  # a worker's write
            patch.setattr("hdrmerge.io.atomic.os.fsync", full)
        else:  # the move to its place, which may need space for a folder
            patch.setattr("hdrmerge.batch.run.Path.mkdir", _only(Path.mkdir, "a0", full))
        summary = run(plan, out, InlinePool(work))
    assert statuses(summary) == ["failed", "left"]
    assert summary.stopped == "the disk is full"
    failure = summary.entries["a0/IMG_0-2"].failure
    assert failure is not None
    assert failure.code == ExitCode.RESOURCES
    assert ".hdrmerge-stage" not in failure.message
    assert tree(out) == {}
    assert statuses(run(plan, out)) == ["merged", "merged"]


def _only(real, name: str, fail):  # type: ignore[no-untyped-def]
    return lambda self, *a, **k: fail() if self.name == name else real(self, *a, **k)


def test_too_little_memory_is_tried_again_alone(plan: Plan, out: Path) -> None:
    tried: list[str] = []

    def scarce(job: Job) -> Outcome:
        tried.append(job.name[:2])
        if job.name.startswith("a0") and tried.count("a0") == 1:
            return Outcome(failure=failure_of(MemoryError()))
        return remembered(job)

    assert statuses(run(plan, out, InlinePool(scarce))) == ["merged", "merged"]
    assert tried == ["a0", "a0", "a1"]


def test_too_little_memory_for_good(plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hdrmerge.io import encoded

    def read(data: bytes, path: Path, shape: tuple[int, int]) -> None:
        raise MemoryError

    monkeypatch.setattr(encoded, "_decode_jpeg", read)
    pool = InlinePool(work)
    summary = run(plan, out, pool)
    assert statuses(summary) == ["failed", "failed"]
    assert summary.stopped is None
    assert len(pool.jobs) == 4
    failure = summary.entries["a1/IMG_0-2"].failure
    assert failure is not None
    assert failure.code == ExitCode.RESOURCES
    assert "memory" in failure.message


def test_a_worker_that_is_killed_is_replaced(plan: Plan, out: Path) -> None:
    summary = run(plan, out, pool=lambda: LocalPool(2, 1, killed_once_at_a1))  # type: ignore[arg-type]
    assert (out / "killed").exists()
    assert statuses(summary) == ["merged", "merged"]


def test_a_worker_that_is_always_killed(plan: Plan, out: Path) -> None:
    summary = run(plan, out, pool=lambda: LocalPool(1, 1, killed_at_a1))  # type: ignore[arg-type]
    assert statuses(summary) == ["merged", "failed"]
    failure = summary.entries["a1/IMG_0-2"].failure
    assert failure is not None
    assert failure.code == ExitCode.RESOURCES
    assert "killed" in failure.message


class Interrupting(InlinePool):
    """Sends itself signals while a job is in work, as Ctrl-C does."""

    def __init__(self, *signals: int) -> None:
        super().__init__()
        self.signals = signals
        self.closed = False

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        if not self.signals:
            return super().finished(timeout)
        for number in self.signals:
            signal.raise_signal(number)
        self.signals = ()
        return []

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("signals", "left"),
    [
        ((signal.SIGINT,), ["merged", "left"]),  # finishes what is in hand
        ((signal.SIGINT, signal.SIGINT), ["left", "left"]),  # drops it
        ((signal.SIGTERM,), ["left", "left"]),
    ],
)
def test_interrupts(plan: Plan, out: Path, signals: tuple[int, ...], left: list[str]) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    pool = Interrupting(*signals)
    summary = run(plan, out, pool)
    assert summary.stopped == "interrupted"
    assert statuses(summary) == left
    assert pool.closed
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == []
    assert (out / "a0/IMG_0-2.exr").exists() == (left[0] == "merged")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert "left" not in statuses(run(plan, out))


def test_leftovers_of_a_killed_run_are_removed(plan: Plan, out: Path) -> None:
    (out / ".hdrmerge-stage/0").mkdir(parents=True)
    (out / ".hdrmerge-stage/0/radiance.exr").write_bytes(b"half")
    run(plan, out)
    assert not (out / ".hdrmerge-stage").exists()


def test_a_killed_run_between_moving_and_noting(
    plan: Plan, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException): ...

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(State, "save", die)
        run(plan, out)
    assert (out / "a0/IMG_0-2.exr").exists()
    assert statuses(run(plan, out)) == ["merged", "merged"]
    other = out.with_name("other")
    run(plan, other)
    assert tree(other) == tree(out)


def test_workers_of_another_version_or_other_weights(plan: Plan, out: Path) -> None:
    def of_another_version(job: Job) -> Outcome:
        return work(replace(job, version="0.0.0"))

    def of_other_weights(job: Job) -> Outcome:
        return work(replace(job, weights="0" * 64))

    for change, code in (
        (of_another_version, ExitCode.USAGE),
        (of_other_weights, ExitCode.WEIGHTS),
    ):
        summary = run(plan, out, InlinePool(change))
        assert {e.failure and e.failure.code for e in summary.entries.values()} == {code}


def test_doubtful_brackets_can_be_left_out(plan: Plan, out: Path) -> None:
    doubtful = replace(plan.brackets[0], doubt="two of its frames are alike")
    plan = replace(plan, brackets=(doubtful, plan.brackets[1]))
    assert statuses(run(plan, out, skip_doubtful=True)) == ["skipped", "merged"]
    assert statuses(run(plan, out)) == ["merged", "unchanged"]


class Slow(InlinePool):
    """Ends a job only when it is asked three times; remembers what ran together."""

    def __init__(self, peak: int = 0) -> None:
        super().__init__()
        self.peak = peak
        self.together: list[int] = []
        self._running: list[Job] = []

    @property
    def room(self) -> int:
        return 4 - len(self._running)

    def submit(self, job: Job) -> None:
        self._running.append(job)
        self.together.append(len(self._running))

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        job = self._running.pop(0)
        failure = Failure(int(ExitCode.INPUT), "It is not read here.")
        return [(job, Outcome(failure=None if self.peak else failure, peak=self.peak))]


@pytest.mark.parametrize(("memory", "most"), [("100G", 4), ("1900M", 2), ("50M", 1)])
def test_memory_is_kept_to(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch, memory: str, most: int
) -> None:
    monkeypatch.setattr("hdrmerge.batch.limits.own_memory", lambda: 0)
    plan = write_brackets(tmp_path / "many", 6)  # 165 MiB each, beside 8 of 185
    pool = Slow()
    run(plan, out, pool, jobs=8, memory=parse_bytes(memory, "--memory"))
    assert max(pool.together) == most


def test_memory_here_does_not_limit_other_machines(tmp_path: Path, out: Path) -> None:
    plan = write_brackets(tmp_path / "many", 6)
    pool = Slow()
    run(plan, out, pool, memory=50 << 20, remote=True)
    assert max(pool.together) == 4


def test_what_needs_more_than_thought_runs_with_fewer(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hdrmerge.batch.limits.own_memory", lambda: 0)
    plan = write_brackets(tmp_path / "many", 6)
    pool = Slow(peak=1 << 30)
    run(plan, out, pool, jobs=4, memory=2 << 30)
    assert pool.together[:4] == [1, 2, 3, 4]
    assert pool.together[-1] == 1


def test_limits() -> None:
    machine = cores()
    assert choose_limits(None, 64 << 30, [1 << 30] * 99).jobs == machine
    small = choose_limits(None, 2 << 30, [1200 << 20] * 99)
    assert (small.jobs, small.threads) == (1, machine)
    assert choose_limits(None, 64 << 30, [1 << 20]).jobs == 1
    given = choose_limits(3, None, [1 << 30] * 9)
    assert (given.jobs, given.threads) == (3, 1)
    assert given.memory <= free_memory() * 1.2


@pytest.mark.parametrize(
    ("text", "count"), [("4G", 4 << 30), ("1500M", 1500 << 20), ("2.5 GiB", 5 << 29)]
)
def test_amounts(text: str, count: int) -> None:
    assert parse_bytes(text, "--memory") == count


@pytest.mark.parametrize("text", ["", "G", "-4G", "4X", "1", "1e9", "4G4"])
def test_amounts_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        parse_bytes(text, "--memory")


def test_two_batches_do_not_share_a_folder(plan: Plan, out: Path) -> None:
    out.mkdir()
    with State(out), pytest.raises(OutputError, match="Another batch"):
        run(plan, out)
    assert statuses(run(plan, out)) == ["merged", "merged"]


@pytest.mark.parametrize(
    "damage", [b"not a database at all" * 99, b"SQLite format 3\0" + b"\7" * 99]
)
def test_a_damaged_state_is_said(plan: Plan, out: Path, damage: bytes) -> None:
    out.mkdir()
    (out / "hdrmerge-batch.sqlite").write_bytes(damage)
    with pytest.raises(InputError, match="damaged"):
        run(plan, out)
    assert (out / "hdrmerge-batch.sqlite").read_bytes() == damage


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"x": 1}', "null", "7"])
@pytest.mark.parametrize("column", ["inputs", "files", "report", "card", "failure"])
def test_a_row_that_makes_no_sense_is_done_again(
    plan: Plan, out: Path, column: str, text: str
) -> None:
    import sqlite3

    def quick(job: Job) -> Outcome:
        return Outcome(failure=Failure(int(ExitCode.INPUT), "It is not read here."))

    run(plan, out, InlinePool(quick))
    with sqlite3.connect(out / "hdrmerge-batch.sqlite") as database:
        database.execute(f"UPDATE brackets SET status = 'done', {column} = ?", (text,))
    database.close()
    pool = InlinePool(quick)
    run(plan, out, pool)
    assert len(pool.jobs) == 2


def test_time_is_not_lost_on_what_is_done(plan: Plan, out: Path) -> None:
    """Nothing but sizes and times is looked at where all is done."""
    run(plan, out)
    for path in plan.paths(plan.brackets[0]):
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(time.time_ns(), status.st_mtime_ns))
    assert statuses(run(plan, out, InlinePool(never))) == ["unchanged", "unchanged"]
