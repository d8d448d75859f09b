"""Merges of simulated brackets against the truth: scores, and a page with pictures."""

from hdrmerge.evaluate.scoring import Result, evaluate, find_brackets, summarise

__all__ = ["Result", "evaluate", "find_brackets", "summarise"]
