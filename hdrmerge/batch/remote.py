"""Merging on other machines: the same jobs, on the workers of a Dask scheduler.

Dask tells which workers live, gives a lost worker's jobs to others, and is what clusters already
run; nothing but ``worker.work`` travels. Every worker must see the folders under the same paths.
Results are moved to their places by the coordinator alone, so that a worker that was thought lost
and comes back changes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from hdrmerge.batch.job import Failure, Job, Outcome
from hdrmerge.batch.worker import work
from hdrmerge.errors import ExitCode, ResourceError, UsageError

_PATIENCE = 20.0  # seconds to reach the scheduler, at first and when it has gone


def connect(address: str) -> Callable[[], DaskPool]:
    """What makes the pool of a scheduler at ``address``; raises UsageError where Dask is absent."""
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise UsageError(
            "--dask needs the package distributed.", "Install it: pip install 'hdrmerge[dask]'"
        ) from None
    return lambda: DaskPool(address)


class DaskPool:
    """Jobs on the workers of a scheduler, one a thread that they have. Raises ResourceError where
    it cannot be reached, or is lost."""

    def __init__(self, address: str) -> None:
        import distributed

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters, we say
        self._address = address
        try:
            client: Any = distributed.Client
            self._client = client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ResourceError(
                f"There is no Dask scheduler at {address}: {error}.",
                "Start one with: dask scheduler",
            ) from error
        self._jobs: dict[Any, Job] = {}
        self._counted = self._reached = time.monotonic()
        self._threads = self._count()

    @property
    def room(self) -> int:
        """Twice the threads of all workers: each has its next job at hand."""
        if time.monotonic() - self._counted > 1:
            self._threads = self._count()
            self._counted = time.monotonic()
        return 2 * self._threads - len(self._jobs)

    def submit(self, job: Job) -> None:
        future = self._client.submit(_work_alone, job, pure=False, retries=0)
        self._jobs[future] = job

    def finished(self, timeout: float) -> list[tuple[Job, Outcome]]:
        deadline = time.monotonic() + timeout
        while not any(future.done() for future in self._jobs):
            now = time.monotonic()
            if self._client.status == "running":
                self._reached = now
            elif now - self._reached > _PATIENCE:
                raise ResourceError(
                    f"The Dask scheduler at {self._address} is lost.",
                    "The same command goes on where this one stopped.",
                )
            if now > deadline:
                return []
            time.sleep(0.02)
        done = [future for future in self._jobs if future.done()]
        return [(self._jobs.pop(future), self._outcome(future)) for future in done]

    def close(self) -> None:
        self._client.cancel(list(self._jobs), force=True)
        self._client.close()

    def _count(self) -> int:
        return max(1, int(sum(self._client.nthreads().values())))

    def _outcome(self, future: Any) -> Outcome:
        error = future.exception()
        if error is None:
            found: Outcome = future.result()
            return found
        return Outcome(
            failure=Failure(
                int(ExitCode.RESOURCES),
                f"Its workers were lost: {type(error).__name__}.",
                "They may lack memory; see the logs of the Dask workers.",
                died=True,
            )
        )


def _work_alone(job: Job) -> Outcome:
    """One thread a job: Dask has as many jobs at once as its workers have threads."""
    from hdrmerge.threads import limit_threads

    limit_threads(1)
    return work(job)
