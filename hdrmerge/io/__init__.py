"""The edge to files: photographs in, radiance maps and pictures out; the only codecs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hdrmerge.errors import InputError
from hdrmerge.frames import Frame
from hdrmerge.io.atomic import write_bytes, write_text
from hdrmerge.io.avif import write_avif
from hdrmerge.io.detect import detect, enough_memory, open_input
from hdrmerge.io.display import write_display
from hdrmerge.io.exr import read_exr, write_exr
from hdrmerge.io.gainmap import write_ultra_hdr
from hdrmerge.io.jxl import write_jxl
from hdrmerge.io.metadata import settings_of
from hdrmerge.io.pq import light_levels, pq_codes, write_pq_png
from hdrmerge.io.radiance_hdr import (
    read_header,
    read_radiance,
    read_stored_radiance,
    write_hdr,
)
from hdrmerge.threads import threads

__all__ = [
    "light_levels",
    "pq_codes",
    "read_exr",
    "read_frame",
    "read_frames",
    "read_header",
    "read_radiance",
    "read_stored_radiance",
    "settings_of",
    "write_avif",
    "write_bytes",
    "write_display",
    "write_exr",
    "write_hdr",
    "write_jxl",
    "write_pq_png",
    "write_text",
    "write_ultra_hdr",
]


def read_frame(path: Path) -> Frame:
    """One photograph (JPEG, PNG, TIFF or camera RAW) as its file holds it, upright, RGB.

    What the file is, its content decides. Raises InputError with a sentence and a hint for
    anything that cannot be read as a photograph, ResourceError for one that is too large.
    """
    path = Path(path)
    with enough_memory(path), open_input(path) as file:
        kind = detect(file, path)
        if kind in ("exr", "hdr", "pfm"):
            raise InputError(
                f"{path} is an HDR picture already, not a photograph of a bracket.",
                "Use `hdrmerge tonemap` or `hdrmerge info` on it.",
            )
        if kind == "raw":
            from hdrmerge.io.raw import read_raw

            return read_raw(file, path)
        from hdrmerge.io.encoded import read_encoded

        return read_encoded(file, path, kind)


def read_frames(
    paths: Sequence[Path], *, progress: Callable[[str, float], None] | None = None
) -> list[Frame]:
    """Frames of all ``paths`` in their order, decoded side by side.

    ``progress`` is called with ("read", fraction done). The first file that fails raises.
    """
    frames: list[Frame] = []
    with ThreadPoolExecutor(threads()) as pool:
        pending = [pool.submit(read_frame, path) for path in paths]
        try:
            for future in pending:
                frames.append(future.result())
                if progress is not None:
                    progress("read", len(frames) / len(pending))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return frames
