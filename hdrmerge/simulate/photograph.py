"""From clean light to what a reader of the file gets: noise, response, compression, turning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from hdrmerge.frames import CaptureSettings, Codes, FloatArray, Frame
from hdrmerge.io.encoded import upright
from hdrmerge.simulate import camera
from hdrmerge.simulate.dng import mosaic

if TYPE_CHECKING:
    from hdrmerge.simulate.bracket import SimulationConfig

RAW_BLACK, RAW_WHITE = 512, 16383  # a 14-bit sensor


def photograph(
    clean: FloatArray,
    full_well: float,
    table: FloatArray,
    config: SimulationConfig,
    rng: np.random.Generator,
) -> tuple[Codes, bytes | None, NDArray[np.uint16] | None]:
    """Codes as a reader sees them, the JPEG file's bytes, the mosaic of a RAW."""
    if config.format == "dng":
        # The sensor's channels differ in sensitivity: white balance makes up for it later.
        raw = mosaic(clean / np.array(config.raw_white_balance, np.float32))
        exposed = camera.expose(raw, full_well, config.read_noise, rng)
        span = np.float32(RAW_WHITE - RAW_BLACK)
        cfa = np.clip(exposed * span + np.float32(RAW_BLACK + 0.5), 0, RAW_WHITE).astype(np.uint16)
        return camera.demosaic(cfa), None, cfa
    exposed = camera.expose(clean, full_well, config.read_noise, rng)
    bits: Literal[8, 16] = 8 if config.format in ("jpg", "png8") else 16
    codes = camera.develop(exposed, table, bits)
    if config.format != "jpg":
        return codes, None, None
    stored = upright(codes, undo_turn(config.orientation))
    data = camera.compress_jpeg(stored, config.jpeg_quality, config.chroma)
    return upright(camera.decompress_jpeg(data), config.orientation), data, None


def undo_turn(orientation: int) -> int:
    """The EXIF orientation whose turn undoes another's."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def as_frame(codes: Codes, settings: CaptureSettings, k: int, config: SimulationConfig) -> Frame:
    """The frame that a reader of the file returns, under the name it would have."""
    extension = {"png8": "png", "png16": "png", "tif16": "tif"}.get(config.format, config.format)
    path = Path(f"frame_{k}.{extension}")
    if config.format != "dng":
        return Frame(codes, "display", settings, path)
    return Frame(
        codes,
        "linear",
        settings,
        path,
        black=RAW_BLACK,
        white=RAW_WHITE,
        white_balance=config.raw_white_balance,
    )
