"""Where jobs run: worker processes on this machine, each of which may die without harm."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from hdrmerge.batch.job import Failure, Job, Outcome
from hdrmerge.batch.worker import work
from hdrmerge.errors import ExitCode

Work = Callable[[Job], Outcome]
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Pool(Protocol):
    """Runs jobs side by side. ``room`` is how many more may be submitted now."""

    @property
    def room(self) -> int: ...

    def submit(self, job: Job) -> None: ...

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        """Jobs that have ended, waiting for at most ``timeout`` seconds for the first."""
        ...

    def close(self) -> None:
        """End all workers at once, whatever they do."""
        ...


@dataclass(slots=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: Job | None = None


class LocalPool:
    """``jobs`` processes of ``threads`` threads, started as they are needed.

    They are spawned, not forked: a fork of a program with threads may hang. A worker that dies
    (the kernel took its memory back, a codec crashed) is replaced, and its job's outcome says so.
    Workers end by themselves when the coordinator does, however it ends.
    """

    def __init__(self, jobs: int, threads: int, work: Work = work, gpus: int = 0) -> None:
        self._jobs, self._threads, self._work, self._gpus = jobs, threads, work, gpus
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    @property
    def room(self) -> int:
        return self._jobs - sum(worker.job is not None for worker in self._workers)

    def submit(self, job: Job) -> None:
        for worker in [w for w in self._workers if w.job is None]:
            worker.job = job
            try:
                worker.pipe.send(job)
                return
            except OSError:  # it died while it had nothing to do
                self._remove(worker)
        worker = self._start(len(self._workers))
        worker.job = job
        worker.pipe.send(job)

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        done: list[tuple[Job, Outcome]] = []
        for pipe in wait(list(busy), timeout):
            worker = busy[pipe]  # type: ignore[index]
            assert worker.job is not None
            try:
                outcome = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(5)
                outcome = Outcome(failure=_death(worker.process.exitcode))
                done.append((worker.job, outcome))
                self._remove(worker)
                continue
            done.append((worker.job, outcome))
            worker.job = None
        return done

    def close(self) -> None:
        for worker in list(self._workers):
            self._remove(worker)

    def _start(self, index: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=serve, args=(theirs, self._threads, self._work), daemon=True
        )
        gpu = str(index % self._gpus) if self._gpus else None
        with _environment(self._threads, gpu), _no_interrupts():
            process.start()
        theirs.close()  # so that the end of the worker is the end of the pipe
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.kill()
        worker.process.join()


def serve(pipe: Connection, threads: int, work: Work) -> None:
    """The life of a worker: jobs in, outcomes out, until the coordinator ends."""
    from hdrmerge.threads import limit_threads

    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(threads)
    while True:
        try:
            job = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(work(job))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _death(code: int | None) -> Failure:
    if code == -signal.SIGTERM or code == -getattr(signal, "SIGKILL", 9):
        return Failure(
            int(ExitCode.RESOURCES),
            "The worker was killed, most likely because memory ran out.",
            "Give fewer --jobs, or less --memory than the machine has.",
            died=True,
        )
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
    return Failure(
        int(ExitCode.FAILURE),
        f"The worker ended {how}.",
        "A photograph may be damaged in a way that its decoder does not survive.",
        died=True,
    )


@contextmanager
def _environment(threads: int, gpu: str | None) -> Iterator[None]:
    """What libraries read when they are loaded, for the process that is started meanwhile."""
    wanted = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if gpu is not None:
        wanted["CUDA_VISIBLE_DEVICES"] = gpu
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: workers inherit that they ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
