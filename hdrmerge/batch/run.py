"""Merging a plan: what is left to do goes to the pool, what comes back to its place.

A bracket's files are written to a stage in the output folder by the worker, and moved to their
places here, after the state says that they do not count and before it says that they do. Killed
at any moment, the next run finds each bracket either done or to be done; what lies in the stage
belongs to nobody then and is removed.
"""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from hdrmerge.batch.job import Failure, Job, Outcome, Product, Products, estimate
from hdrmerge.batch.limits import Limits, choose_limits
from hdrmerge.batch.plan import Plan
from hdrmerge.batch.pool import LocalPool, Pool
from hdrmerge.batch.report import Entry, Summary
from hdrmerge.batch.state import Record, State, Written
from hdrmerge.batch.stop import Stop
from hdrmerge.batch.todo import (
    STAGE,
    check_foreign,
    check_outputs,
    output_paths,
    standing,
)
from hdrmerge.batch.worker import failure_of
from hdrmerge.config import MergeConfig
from hdrmerge.deghost import choose_method
from hdrmerge.errors import OutputError

_POLL = 0.2  # seconds between two looks at whether to stop


class Watcher(Protocol):
    """Told of what happens. Time is spent on ``pixels``, those of all frames of what is to be done,
    of a bracket that has ended, and of those that are ``running``."""

    def begin(self, summary: Summary, left: int, pixels: int) -> None: ...

    def ended(self, entry: Entry, pixels: int, running: int) -> None: ...

    def stopping(self, running: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """What a batch makes, and with what. ``jobs`` and ``memory`` (bytes) None: what there is.
    ``overwrite``: make everything again and replace what lies there. ``pool``: other workers than
    processes on this machine; ``remote``: they keep to limits of their own."""

    config: MergeConfig = field(default_factory=MergeConfig)
    products: Products = field(default_factory=Products)
    jobs: int | None = None
    memory: int | None = None
    overwrite: bool = False
    skip_doubtful: bool = False
    pool: Callable[[], Pool] | None = None
    remote: bool = False


def run_batch(
    plan: Plan, out: Path, state: State, options: BatchOptions, watcher: Watcher | None = None
) -> Summary:
    """Merge what is not done yet of ``plan`` into the folder ``out``.

    Failures of brackets are in the summary. Raises WeightsError and UsageError for what would make
    every bracket fail, OutputError where nothing can be written.
    """
    method = choose_method(options.config)
    weights = method.weights.sha256 if method.weights else None
    stage = out / STAGE
    clear_stage(out)
    network = method.uses_torch(options.config.device)
    used = [found.sha256 for found in (method.weights, method.refiner) if found]
    digests = options.products.digests(options.config, "+".join(used) or None)
    summary, jobs = _plan_jobs(plan, out, state, options, weights, digests)
    limits = Limits(1, 1, sys.maxsize)
    if not options.remote:
        needs = [job.memory for job in jobs]
        limits = choose_limits(options.jobs, options.memory, needs, network=network)
    if watcher is not None:
        watcher.begin(summary, len(jobs), sum(job.pixels for job in jobs))
    stage.mkdir(exist_ok=True)
    run = _Run(out, state, digests, limits, summary, watcher)
    try:
        if jobs:
            pool = options.pool or (
                lambda: LocalPool(limits.jobs, limits.threads, gpus=_gpus(options, network))
            )
            run.through(pool, jobs)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return summary


def clear_stage(out: Path) -> None:
    """Remove what a killed run has left behind: the state's lock says that nobody works there."""
    stage = out / STAGE
    if stage.is_symlink():
        raise OutputError(f"{stage} is a link.", "Remove it.")
    if stage.exists():
        shutil.rmtree(stage, ignore_errors=True)


def _plan_jobs(
    plan: Plan,
    out: Path,
    state: State,
    options: BatchOptions,
    weights: str | None,
    digests: dict[Product, str],
) -> tuple[Summary, list[Job]]:
    wrong = check_outputs(plan, options.products, out)
    claims = state.claims()
    summary = Summary()
    jobs: list[Job] = []
    claimed: list[str] = []
    for index, bracket in enumerate(plan.brackets):
        entry = summary.add(bracket, plan.paths(bracket))
        outputs = output_paths(bracket, options.products)
        problem = wrong.get(bracket.name)
        if problem is None and not options.overwrite:
            problem = check_foreign(outputs.values(), claims, out)
        if problem is not None:
            entry.fail(failure_of(problem))
            continue
        if bracket.doubt and options.skip_doubtful:
            entry.status = "skipped"
            continue
        record = None if options.overwrite else state.get(bracket.name)
        paths = plan.paths(bracket)
        stand = standing(record, paths, outputs, digests, out)
        entry.edited = stand.edited
        if not stand.make:
            assert record is not None
            entry.done("unchanged", record, outputs)
            continue
        claimed += outputs.values()
        pixels, memory = estimate(tuple(map(str, paths)))
        jobs.append(
            Job(
                name=bracket.name,
                files=tuple(str(path.absolute()) for path in paths),
                stage=str((out / STAGE).absolute() / str(index)),
                config=options.config,
                products=options.products,
                make=stand.make,
                radiance=str((out / outputs["radiance"]).absolute()),
                pixels=pixels,
                memory=memory,
                weights=weights,
            )
        )
    state.claim(claimed)
    if options.overwrite:
        state.reopen(job.name for job in jobs)
    return summary, jobs


def _gpus(options: BatchOptions, network: bool) -> int:
    if not network or options.config.device not in ("auto", "cuda"):
        return 0
    from hdrmerge.models.device import count_gpus

    return count_gpus()


class _Run:
    """One pass through the jobs."""

    def __init__(
        self,
        out: Path,
        state: State,
        digests: dict[Product, str],
        limits: Limits,
        summary: Summary,
        watcher: Watcher | None,
    ) -> None:
        self._out, self._state, self._digests = out, state, digests
        self._limits, self._summary, self._watcher = limits, summary, watcher
        self._running: dict[str, Job] = {}
        self._alone: set[str] = set()  # what has died once: the second attempt is without others
        self._scale = 1.0  # what merges really need, over what was expected

    def through(self, make_pool: Callable[[], Pool], jobs: Sequence[Job]) -> None:
        waiting = deque(jobs)
        with Stop() as stop:
            pool = make_pool()
            try:
                while self._running or (waiting and not self._summary.stopped):
                    if stop.asked and not self._summary.stopped:
                        self._summary.stopped = "interrupted"
                        if self._watcher is not None:
                            self._watcher.stopping(len(self._running))
                    if stop.insisted:
                        return
                    while waiting and not self._summary.stopped and self._fits(pool, waiting[0]):
                        self._start(pool, waiting.popleft())
                    for job, outcome in pool.finished(_POLL):
                        del self._running[job.name]
                        if not self._end(job, outcome):
                            waiting.appendleft(job)
            finally:
                pool.close()

    def _fits(self, pool: Pool, job: Job) -> bool:
        """Whether ``job`` may start beside what runs; alone it always may."""
        if not self._running:
            return True
        if pool.room < 1 or job.name in self._alone or self._alone & set(self._running):
            return False
        needs = sum(j.memory for j in (*self._running.values(), job)) * self._scale
        return needs + self._limits.program * self._limits.jobs <= self._limits.memory

    def _start(self, pool: Pool, job: Job) -> None:
        self._state.reopen([job.name])
        self._running[job.name] = job
        pool.submit(job)

    def _end(self, job: Job, outcome: Outcome) -> bool:
        """Keep what came of a job; False: it is to be tried again."""
        entry = self._summary.entries[job.name]
        failure = outcome.failure
        try:
            if failure is None:
                entry.done("merged", self._publish(job, outcome), self._paths(job))
        except OSError as error:
            failure = failure_of(error)
        finally:
            shutil.rmtree(job.stage, ignore_errors=True)
        if failure is not None:
            failure = self._in_place(job, failure)
            if failure.died and job.name not in self._alone:
                self._alone.add(job.name)
                return False
            entry.fail(failure, outcome.seconds, outcome.peak)
            self._state.save(
                job.name,
                Record(status="failed", failure=failure, seconds=outcome.seconds),
            )
            if failure.full:
                self._summary.stopped = "the disk is full"
        elif outcome.peak and job.make != ("preview",):
            used = max(0, outcome.peak - self._limits.program)
            self._scale = max(self._scale, used / job.memory)
        if self._watcher is not None:
            running = sum(other.pixels for other in self._running.values())
            self._watcher.ended(entry, job.pixels, running)
        return True

    def _in_place(self, job: Job, failure: Failure) -> Failure:
        """The failure with outputs named where they would be, not in the stage."""
        message = failure.message
        for product, path in self._paths(job).items():
            staged = Path(job.stage, f"{product}{job.products.suffixes()[product]}")
            message = message.replace(str(staged), str(self._out / path))
        return replace(failure, message=message)

    def _paths(self, job: Job) -> dict[Product, str]:
        return {p: f"{job.name}{end}" for p, end in job.products.suffixes().items()}

    def _publish(self, job: Job, outcome: Outcome) -> Record:
        """Move the staged files to their places, the radiance last, and say that they count."""
        places = self._paths(job)
        before = self._state.get(job.name)
        kept = before if before is not None and job.make == ("preview",) else Record()
        files = dict(kept.files)
        for product in sorted(outcome.staged, key=lambda p: p == "radiance"):
            target = self._out / places[product]
            target.parent.mkdir(parents=True, exist_ok=True)
            Path(job.stage, outcome.staged[product]).replace(target)
            status = target.stat()
            files[product] = Written(
                places[product], self._digests[product], status.st_size, status.st_mtime_ns
            )
        record = Record(
            status="done",
            inputs=outcome.inputs or kept.inputs,
            files=files,
            report=outcome.report or kept.report,
            card={**(kept.card or {}), **(outcome.card or {})},
            seconds=outcome.seconds,
            peak=outcome.peak,
        )
        self._state.save(job.name, record)
        return record
