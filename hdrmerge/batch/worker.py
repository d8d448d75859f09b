"""Merging one bracket of a batch: files in, staged files and an outcome out; it never raises.

This runs in a process of its own, here or on another machine. It writes only below the job's stage;
the coordinator moves complete files to their places, so that nothing is ever there by halves.
"""

from __future__ import annotations

import contextlib
import errno
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hdrmerge import __version__
from hdrmerge.batch.job import Failure, Input, Job, Outcome, Product, file_sha256
from hdrmerge.errors import (
    ExitCode,
    InputError,
    StackError,
    UsageError,
    WeightsError,
    describe_error,
)

if TYPE_CHECKING:
    from hdrmerge.frames import CaptureSettings, FloatArray, HalfArray


def work(job: Job) -> Outcome:
    """Do ``job``; whatever goes wrong is in the outcome, as a sentence."""
    start = time.perf_counter()
    _forget_peak()
    try:
        if job.version != __version__:
            raise UsageError(
                f"This worker runs hdrmerge {__version__}, the batch {job.version}.",
                "Install the same version everywhere.",
            )
        Path(job.stage).mkdir(exist_ok=True)  # the coordinator's folder is gone when it has ended
        made = _remake_preview(job) if job.make == ("preview",) else _merge(job)
    except Exception as error:  # of one bracket; the others go on
        made = {"failure": failure_of(error)}
    return Outcome(**made, seconds=round(time.perf_counter() - start, 3), peak=_peak())


def failure_of(error: BaseException) -> Failure:
    """What an error means to a person; a defect keeps its traceback for the report."""
    code, message, hint = describe_error(error)
    defect = code == ExitCode.FAILURE and not isinstance(error, OSError)
    if defect:
        hint = "This is a defect in hdrmerge: report.json holds the traceback; please report it."
    text = "".join(traceback.format_exception(error)) if defect else None
    causes = {type(e) for e in (error, error.__context__)}
    numbers = {getattr(e, "errno", None) for e in (error, error.__cause__)}
    return Failure(
        int(code),
        message,
        hint,
        text,
        died=MemoryError in causes,
        full=bool(numbers & {errno.ENOSPC, errno.EDQUOT}),
    )


def _merge(job: Job) -> dict[str, Any]:
    from hdrmerge import io
    from hdrmerge.batch.card import make_card, thumbnail
    from hdrmerge.memory import keep_freed_blocks
    from hdrmerge.pipeline import merge_stack
    from hdrmerge.results import ghost_picture, without_place, write_radiance

    keep_freed_blocks()

    paths = [Path(file) for file in job.files]
    inputs = tuple(_look(path) for path in paths)
    _check_copies(inputs)
    frames = io.read_frames(paths)
    thumbs = {frame.path.name: thumbnail(frame) for frame in frames}
    result = merge_stack(frames, job.config, half=job.products.half)
    del frames
    if result.report.weights_sha256 != job.weights:
        raise WeightsError("The weights are not those that the batch was started with.")
    if not job.products.gps:
        result = without_place(result)

    staged = _staged(job)
    places = {product: Path(job.stage, name) for product, name in staged.items()}
    report, response, shape = result.report, result.response, result.radiance.stored.shape
    write_radiance(
        places["radiance"],
        result,
        float32=job.products.float32,
        compression=job.products.compression,
    )
    if "ghost_map" in places:
        io.write_display(places["ghost_map"], ghost_picture(result, *shape[:2]))
    trust = result.ghost_map
    ghosts = None if trust is None else ghost_picture(result, *trust.shape[1:])
    del result, trust
    if "report" in places:
        io.write_text(places["report"], report.to_json(indent=2, seconds=False) + "\n")
    pixels, settings = _read_back(places["radiance"])
    if "preview" in places:
        _write_preview(job, pixels, settings)
    for path, seen in zip(paths, inputs, strict=True):
        status = path.stat()
        if (status.st_size, status.st_mtime_ns) != (seen.size, seen.mtime_ns):
            raise InputError(f"{path} was changed while it was merged.", "Run the batch again.")
    unit = settings.saturation_luminance
    card = make_card(thumbs, report, response, pixels, ghosts, job.products.tonemap, unit)
    return {"inputs": inputs, "staged": staged, "report": report.to_dict(), "card": card}


def _remake_preview(job: Job) -> dict[str, Any]:
    """The preview from the radiance that an earlier run wrote: other tone mapping costs little."""
    from hdrmerge.batch.card import shown_preview

    assert job.radiance is not None
    pixels, settings = _read_back(Path(job.radiance))
    _write_preview(job, pixels, settings)
    shown = shown_preview(pixels, job.products.tonemap, settings.saturation_luminance)
    return {"staged": {"preview": _staged(job)["preview"]}, "card": {"preview": shown}}


def _staged(job: Job) -> dict[Product, str]:
    """Names of the products below the stage."""
    return {product: f"{product}{end}" for product, end in job.products.suffixes().items()}


def _read_back(path: Path) -> tuple[FloatArray | HalfArray, CaptureSettings]:
    """What the file holds, which is what previews are made from: whoever makes one later gets the
    same, and a file that cannot be read is found here."""
    from hdrmerge import io

    pixels, facts = io.read_stored_radiance(path)
    return pixels, io.settings_of(facts.get("attributes", {}))


def _write_preview(job: Job, pixels: FloatArray | HalfArray, settings: CaptureSettings) -> None:
    from hdrmerge.picture import write_picture

    path = Path(job.stage, _staged(job)["preview"])
    write_picture(path, pixels, job.products.tonemap, job.products.form, settings)


def _look(path: Path) -> Input:
    """A photograph's size, time and hash; raises InputError where it cannot be read."""
    from hdrmerge.io.detect import open_input

    open_input(path).close()
    status = path.stat()
    return Input(str(path), status.st_size, status.st_mtime_ns, file_sha256(path))


def _check_copies(inputs: tuple[Input, ...]) -> None:
    seen: dict[str, Input] = {}
    for photograph in inputs:
        other = seen.setdefault(photograph.sha256, photograph)
        if other is not photograph:
            raise StackError(
                f"{other.path} and {photograph.path} are the same photograph.",
                "A bracket needs different exposures: leave the copy out.",
            )


def _forget_peak() -> None:
    """Let the kernel count the peak anew, where it can (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most resident memory since ``_forget_peak`` (elsewhere: ever) in bytes; 0 where unknown."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10
    with contextlib.suppress(ImportError):
        import resource
        import sys

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return 0
