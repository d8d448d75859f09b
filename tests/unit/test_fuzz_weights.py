"""Damaged files of weights are refused with a sentence, or hold other numbers."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from test_checkpoint import save_small
from test_fuzz_plan import mutated

from hdrmerge.errors import HdrMergeError
from hdrmerge.models.checkpoint import load_checkpoint, network_from


@pytest.mark.slow
@pytest.mark.parametrize("start", [0, 3000])
def test_many_mutated_weights(start: int, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_small(path)
    data = path.read_bytes()
    head = 8 + int.from_bytes(data[:8], "little")
    for seed in range(start, start + 3000):
        chance = random.Random(seed)
        front = mutated(data[:head], chance) if chance.random() < 0.9 else data[:head]
        back = data[head:] if front != data[:head] else mutated(data[head:], chance)
        path.write_bytes(front + back)
        try:
            network_from(load_checkpoint(path), path.name)
        except HdrMergeError as error:
            assert error.message
