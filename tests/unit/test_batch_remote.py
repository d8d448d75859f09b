"""The same batch on a cluster: two workers, one of which is killed under way."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from batch_tools import run, statuses, tree, write_brackets

from hdrmerge.batch import remote
from hdrmerge.errors import ResourceError, UsageError


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match="distributed"):
        remote.connect("tcp://127.0.0.1:1")


@pytest.mark.slow
def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the cluster tests need the package distributed")
    monkeypatch.setattr(remote, "_PATIENCE", 1.0)
    with pytest.raises(ResourceError, match="no Dask scheduler"):
        remote.connect("tcp://127.0.0.1:1")()


@pytest.mark.slow
def test_a_worker_is_killed_and_the_batch_ends_complete(tmp_path: Path) -> None:
    distributed = pytest.importorskip(
        "distributed", reason="the cluster tests need the package distributed"
    )
    count = 12
    plan = write_brackets(tmp_path / "in", count, height=256)
    local = tmp_path / "local"
    run(plan, local)
    out = tmp_path / "out"
    killed = threading.Event()
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        (victim, _) = (worker.pid for worker in cluster.workers.values())

        def kill() -> None:
            while len(list(out.rglob("*.exr"))) < 2:
                time.sleep(0.01)
            children = Path(f"/proc/{victim}/task/{victim}/children")
            for pid in [*map(int, children.read_text().split()), victim]:
                os.kill(pid, signal.SIGKILL)
            killed.set()

        threading.Thread(target=kill, daemon=True).start()
        summary = run(plan, out, pool=remote.connect(cluster.scheduler_address))  # type: ignore[arg-type]
    assert killed.is_set()
    assert statuses(summary) == ["merged"] * count
    assert tree(out) == tree(local)
