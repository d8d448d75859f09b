"""What the command-line tests share: little photographs with EXIF, and a way to run commands."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hdrmerge.cli.app import run


@dataclass(frozen=True)
class Outcome:
    """Exit code and what was written to the two streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Runs ``hdrmerge`` in this process and captures what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self._capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)


def write_photograph(
    path: Path, codes: np.ndarray, *, time: float | None = None, iso: int = 100
) -> Path:
    """An 8-bit picture with exposure time, f/8 and ISO in its EXIF (none without a time)."""
    exif = Image.Exif()
    if time is not None:
        exif[0x010F], exif[0x0110] = "Maker", "Model 1"
        tags = exif.get_ifd(0x8769)
        tags[0x829A], tags[0x829D], tags[0x8827] = time, 8.0, iso
    Image.fromarray(codes).save(path, exif=exif, quality=95)
    return path


def scene(height: int = 96, width: int = 128) -> np.ndarray:
    """Linear radiance of nine stops: a ramp with soft texture, so that frames can be aligned."""
    rng = np.random.default_rng(7)
    texture = rng.uniform(0.4, 1.0, (height // 8, width // 8, 3))
    texture = texture.repeat(8, 0).repeat(8, 1)
    ramp = np.geomspace(0.02, 8.0, width)[None, :, None]
    return (ramp * texture).astype(np.float64)


def photograph(radiance: np.ndarray, stops: float) -> np.ndarray:
    """8-bit sRGB codes of a radiance exposed by 2^stops."""
    linear = np.clip(radiance * 2.0**stops, 0, 1)
    codes = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(255 * codes).astype(np.uint8)


def write_bracket(folder: Path, stops: tuple[float, ...] = (-2, 0, 2)) -> list[Path]:
    """A bracket of JPEGs at 1/60 s times 2^stops."""
    radiance = scene()
    return [
        write_photograph(
            folder / f"IMG_{k:04}.jpg", photograph(radiance, stop - 1), time=2.0**stop / 60
        )
        for k, stop in enumerate(stops, start=1)
    ]
