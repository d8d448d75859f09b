"""How long things take and how much memory they need, beside other programs, on this machine."""

from __future__ import annotations

from hdrmerge.bench.run import Bench, Row, run_bench

__all__ = ["Bench", "Row", "run_bench"]
