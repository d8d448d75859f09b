"""A damaged state file ends in a sentence, or what it says is not believed and the work is redone.

Each case changes bytes of the SQLite file of a batch that has ended, or of what its rows hold, and
starts the batch again with its contact sheet. Whatever the file says then, the outputs are those
that were there: kept, or made again, or left alone.
"""

from __future__ import annotations

import json
import random
import sqlite3
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from batch_tools import ALL, InlinePool, run, tree, write_brackets
from test_fuzz_plan import mutated

from hdrmerge.batch.finish import finish
from hdrmerge.batch.job import Job, Outcome
from hdrmerge.batch.plan import Plan
from hdrmerge.batch.state import FILE, State
from hdrmerge.errors import HdrMergeError

COLUMNS = ("status", "inputs", "files", "report", "card", "failure", "seconds", "peak")
WILD = (
    *(None, "", 0, -1, 1 << 62, 1e300, float("inf"), b"\xff\xfe", "\0", "{}", "[]", "null", "NaN"),
    *(
        "1e999",
        "[" * 5000,
        '{"a":' * 5000,
        '"\\ud800"',
        str(10**400),
        "[null]",
        '{"radiance":null}',
    ),
)
NUMBERS = ("1e999", "-1", "NaN", str(10**400), '"x"', "null", "1e-320", "true", "[]")


class Batch:
    """One that has ended; each case begins with its state and its outputs."""

    def __init__(self, folder: Path) -> None:
        self.plan: Plan = write_brackets(folder / "in", 2)
        self.out = folder / "out"
        self.done: dict[str, Outcome] = {}
        pool = InlinePool()
        run(self.plan, self.out, pool)
        self.state = (self.out / FILE).read_bytes()
        self.truth = tree(self.out)
        with State(self.out) as state:
            for job in pool.jobs:
                record = state.get(job.name)
                assert record is not None
                staged = {p: f"{p}{end}" for p, end in ALL.suffixes().items()}
                self.done[job.name] = Outcome(
                    inputs=record.inputs, staged=staged, report=record.report, card=record.card
                )

    def work(self, job: Job) -> Outcome:
        """What the first merge wrote, without merging."""
        outcome = self.done[job.name]
        Path(job.stage).mkdir()
        made = {p: name for p, name in outcome.staged.items() if p in job.make}
        for product, name in made.items():
            data = self.truth[f"{job.name}{ALL.suffixes()[product]}"]
            Path(job.stage, name).write_bytes(data)
        return replace(outcome, staged=made)

    def again(self) -> None:
        """Start the batch on the state that lies there."""
        try:
            summary = run(self.plan, self.out, InlinePool(self.work))
            with State(self.out) as state:
                finish(self.plan, summary, state, self.out, seconds=0.0)
        except HdrMergeError as error:
            assert error.message.endswith(".")
        else:
            for entry in summary.entries.values():
                assert entry.failure is None or not entry.failure.traceback, asdict(entry)
            page = (self.out / "index.html").read_text(encoding="utf-8")
            assert page.endswith("</html>\n")
            assert page.count("<script") == 1
            json.loads((self.out / "report.json").read_text())
        for name in ("index.html", "report.json", FILE, f"{FILE}-journal"):
            (self.out / name).unlink(missing_ok=True)
        assert tree(self.out) == self.truth

    def files(self, start: int, count: int) -> None:
        """Bytes of the file are changed."""
        for seed in range(start, start + count):
            (self.out / FILE).write_bytes(mutated(self.state, random.Random(seed)))
            self.again()

    def rows(self, start: int, count: int) -> None:
        """The file is sound, what its rows hold is not."""
        for seed in range(start, start + count):
            chance = random.Random(seed)
            (self.out / FILE).write_bytes(self.state)
            database = sqlite3.connect(self.out / FILE, isolation_level=None)
            database.execute("PRAGMA synchronous=OFF")
            database.text_factory = bytes
            column = chance.choice(COLUMNS)
            (held,) = database.execute(f"SELECT {column} FROM brackets LIMIT 1").fetchone()
            kind = chance.randrange(3)
            if kind == 0 or not isinstance(held, bytes):
                value = chance.choice(WILD[column == "status" :])  # which is never NULL
            elif kind == 1:
                value = mutated(held, chance).decode("utf-8", "replace")
            else:  # another value in its place
                value = _another_value(held.decode(), chance)
            database.execute(f"UPDATE brackets SET {column} = ?", (value,))
            if chance.random() < 0.05:
                one = "(SELECT min(path) FROM claims)"
                wild = (chance.choice(WILD[5:8]),)
                database.execute(f"UPDATE claims SET path = ? WHERE path = {one}", wild)
            database.close()
            self.again()


def _another_value(text: str, chance: random.Random) -> str:
    """JSON with one of its plain values replaced."""
    marks = [k for k in range(len(text) - 1) if text[k] in ":[," and text[k + 1] not in '{["']
    if not marks:
        return text
    start = chance.choice(marks) + 1
    end = min((k for k in range(start, len(text)) if text[k] in ",]}"), default=len(text))
    return text[:start] + chance.choice(NUMBERS) + text[end:]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return Batch(tmp_path_factory.mktemp("batch"))


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hdrmerge.io.atomic.os.fsync", lambda _: None)


def test_damaged_files(batch: Batch) -> None:
    batch.files(0, 40)


def test_rows_that_make_no_sense(batch: Batch) -> None:
    batch.rows(0, 40)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(10_000, 20_000, 2_500))
def test_many_damaged_files_and_rows(batch: Batch, start: int) -> None:
    batch.files(start, 1_250)
    batch.rows(start, 1_250)
