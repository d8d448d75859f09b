"""What the tests of batches share: brackets, a plan, and a pool without processes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hdrmerge.batch.job import Job, Outcome, Products, file_sha256
from hdrmerge.batch.plan import Plan, PlannedBracket
from hdrmerge.batch.report import Summary
from hdrmerge.batch.run import BatchOptions, Watcher, run_batch
from hdrmerge.batch.state import State
from hdrmerge.batch.worker import work

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.cli_tools import photograph, write_photograph


def write_brackets(root: Path, count: int, height: int = 64) -> Plan:
    """Brackets ``a0`` ... of three small photographs, each of another scene."""
    width = height * 4 // 3 // 8 * 8
    brackets = []
    for b in range(count):
        rng = np.random.default_rng(b)
        texture = rng.uniform(0.4, 1.0, (height // 8, width // 8, 3)).repeat(8, 0).repeat(8, 1)
        scene = np.geomspace(0.02, 8.0, width)[None, :, None] * texture
        (root / f"a{b}").mkdir(parents=True, exist_ok=True)
        files = []
        for k, stops in enumerate((-2, 0, 2)):
            path = root / f"a{b}" / f"IMG_{k}.jpg"
            write_photograph(path, photograph(scene, stops - 1), time=2.0**stops / 60)
            files.append(f"a{b}/IMG_{k}.jpg")
        brackets.append(PlannedBracket(f"a{b}/IMG_0-2", tuple(files), "given"))
    return Plan(str(root), tuple(brackets))


_REMEMBERED: dict[str, tuple[Outcome, dict[str, bytes]]] = {}


def remembered(job: Job) -> Outcome:
    """``work``, but what has been merged once in these tests is not merged again.

    A merge depends on the photographs' content and the options alone (tests of ``work`` itself, and
    those that break it, give it to the pool instead).
    """
    sources = [Path(f) for f in (*job.files, *([job.radiance] if job.make == ("preview",) else []))]
    if not all(path.is_file() for path in sources):
        return work(job)
    content = [(path.name, file_sha256(path)) for path in sources if path]
    saved = Path(job.config.response)
    response = file_sha256(saved) if saved.is_file() else ""
    key = repr((content, job.config, job.products, job.make, job.weights, response))
    if key not in _REMEMBERED:
        outcome = work(job)
        if outcome.failure is None:
            files = {name: Path(job.stage, name).read_bytes() for name in outcome.staged.values()}
            _REMEMBERED[key] = outcome, files
        return outcome
    outcome, files = _REMEMBERED[key]
    Path(job.stage).mkdir()
    for name, data in files.items():
        Path(job.stage, name).write_bytes(data)
    states = [(path, path.stat()) for path in map(Path, job.files)]
    inputs = tuple(
        replace(seen, path=str(path), size=status.st_size, mtime_ns=status.st_mtime_ns)
        for seen, (path, status) in zip(outcome.inputs, states, strict=False)
    )
    return replace(outcome, inputs=inputs)


class InlinePool:
    """Does each job when it is submitted, in this process."""

    def __init__(self, work: Callable[[Job], Outcome] = remembered) -> None:
        self.work = work
        self.jobs: list[Job] = []
        self._done: list[tuple[Job, Outcome]] = []

    def __call__(self) -> InlinePool:
        return self

    @property
    def room(self) -> int:
        return 1 - len(self._done)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        self._done.append((job, self.work(job)))

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        done, self._done = self._done, []
        return done

    def close(self) -> None: ...


ALL = Products(preview="jpg", ghost_map=True, report=True)


def run(
    plan: Plan,
    out: Path,
    pool: InlinePool | None = None,
    watcher: Watcher | None = None,
    **options: object,
) -> Summary:
    """A run with an inline pool, and all products unless others are named."""
    out.mkdir(exist_ok=True)
    given = {"products": ALL, "pool": pool or InlinePool(), **options}
    with State(out) as state:
        return run_batch(plan, out, state, BatchOptions(**given), watcher)  # type: ignore[arg-type]


def tree(out: Path) -> dict[str, bytes]:
    """All files below ``out`` but the state's."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "hdrmerge-batch.sqlite"
    }


def statuses(summary: Summary) -> list[str]:
    return [entry.status for entry in summary.entries.values()]


# Work for pools of processes, which find it by its name:


def killed_at_a1(job: Job) -> Outcome:
    """As the kernel does where memory runs out."""
    if job.name.startswith("a1"):
        os.kill(os.getpid(), signal.SIGKILL)
    return work(job)


def killed_once_at_a1(job: Job) -> Outcome:
    mark = Path(job.stage).parents[1] / "killed"
    if job.name.startswith("a1") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(job)
