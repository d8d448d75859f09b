"""Folders to photographs: what lies in them, from file headers only.

Unknown kinds of files are passed over, what looks like a photograph and cannot be read is listed.
The order in which a file system lists its files plays no part.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from hdrmerge.batch.plan import PlannedFile
from hdrmerge.errors import InputError
from hdrmerge.io.detect import RAW_SUFFIXES, Kind, detect, open_input
from hdrmerge.io.exif import Shot, read_shot
from hdrmerge.io.makernotes import Drive

Progress = Callable[[str, float], None]

_SUFFIXES = RAW_SUFFIXES | frozenset(
    "." + name for name in ("jpg", "jpeg", "jpe", "jfif", "tif", "tiff", "png")
)
_FOREIGN = frozenset((".heic", ".heif", ".hif", ".avif", ".webp"))  # photographs we cannot read
_DCF_FOLDER = re.compile(r"\d{3}[A-Z0-9_]{5}")  # DCF (JEITA CP-3461): 100CANON, 101CANON
_COUNTER = re.compile(r"(\d{1,15})\D*$")  # the last number of a name
_THREADS = 8
_EPOCH = datetime(1970, 1, 1)


@dataclass(slots=True, eq=False)
class Photo:
    """One shot as its file's header tells it.

    ``file`` relative to the root with ``/``. ``stream``: what all frames of a bracket share.
    ``stops``: log2 of the relative exposure, None where EXIF does not say. ``time``: capture in
    seconds, ``exact`` with sub-seconds. ``duration``: exposure time in s. ``prefix`` and
    ``counter``: the parts of the file's name around its last number.
    """

    file: str
    kind: Kind
    bytes: int
    shot: Shot = field(repr=False)
    stream: tuple[object, ...]
    stops: float | None
    time: float | None
    exact: bool
    duration: float
    prefix: str
    counter: int | None

    @property
    def drive(self) -> Drive:
        return self.shot.drive

    @property
    def folder(self) -> str:
        return self.file.rpartition("/")[0]

    @property
    def stem(self) -> str:
        name = self.file.rpartition("/")[2]
        return name.rpartition(".")[0] or name


@dataclass(frozen=True, slots=True)
class Scan:
    """What ``scan_folders`` found below ``root``."""

    root: Path
    photos: list[Photo]
    unreadable: list[PlannedFile]


def scan_folders(
    folders: Sequence[Path], *, exclude: Path | None = None, progress: Progress | None = None
) -> Scan:
    """All photographs below ``folders``; raises InputError for one that is no folder."""
    root = common_root(folders)
    paths = sorted(set(_walk(folders, exclude)))
    photos: list[Photo] = []
    unreadable: list[PlannedFile] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        names = [path[len(str(root)) :].lstrip(os.sep).replace(os.sep, "/") for path in paths]
        found = pool.map(_read, paths, names, chunksize=64)
        for k, result in enumerate(found):
            if isinstance(result, Photo):
                photos.append(result)
            else:
                unreadable.append(result)
            if progress is not None and k % 256 == 0:
                progress("scan", k / len(paths))
    return Scan(root, photos, unreadable)


def common_root(folders: Sequence[Path]) -> Path:
    """The folder that holds all ``folders``; raises InputError where one is no folder."""
    if not folders:
        raise InputError("There is no folder to look into.", "Give the folder of the photographs.")
    for folder in folders:
        if not folder.is_dir():
            wrong = "is not a folder" if folder.exists() else "does not exist"
            raise InputError(f"{folder} {wrong}.", "Give the folder of the photographs.")
    try:
        return Path(os.path.commonpath([os.path.abspath(folder) for folder in folders]))  # noqa: PTH100
    except ValueError:
        raise InputError(
            "The folders lie on different drives.", "Run one batch for each drive."
        ) from None


def _walk(folders: Sequence[Path], exclude: Path | None) -> Iterator[str]:
    """Absolute paths of all files that may be photographs; links to folders are not followed."""
    avoid = None if exclude is None else os.path.realpath(exclude)
    for folder in folders:
        for where, below, files in os.walk(os.path.abspath(folder)):  # noqa: PTH100
            below[:] = [
                name
                for name in below
                if not name.startswith(".")
                and (avoid is None or os.path.realpath(Path(where, name)) != avoid)
            ]
            for name in files:
                suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122
                if not name.startswith(".") and (suffix in _SUFFIXES or suffix in _FOREIGN):
                    yield os.path.join(where, name)  # noqa: PTH118


def _read(path: str, name: str) -> Photo | PlannedFile:
    try:
        with open_input(Path(path)) as file:
            kind = detect(file, Path(path))
            if kind in ("exr", "hdr", "pfm"):
                return PlannedFile(name, "is an HDR picture already")
            shot = read_shot(file)
            if shot.made_here:
                return PlannedFile(name, "is a picture that hdrmerge made")
            size = os.fstat(file.fileno()).st_size
    except InputError as error:
        return PlannedFile(name, error.message.removeprefix(f"{path} ").rstrip("."))
    except OSError as error:
        return PlannedFile(name, f"cannot be read: {error.strerror}")
    if kind in ("jpeg", "png") and shot.size is None:
        return PlannedFile(name, "holds no picture: its header is damaged")
    return photo(name, kind, size, shot)


def photo(file: str, kind: Kind, size: int, shot: Shot) -> Photo:
    """The photo that a header describes."""
    settings = shot.exif.settings
    folder, _, base = file.rpartition("/")
    if _DCF_FOLDER.fullmatch(folder.rpartition("/")[2]):
        folder = folder.rpartition("/")[0]  # the counter goes on in the next such folder
    turned = shot.exif.orientation >= 5
    dimensions = shot.size[::-1] if shot.size and turned else shot.size
    zoom = settings.focal_length
    stream = (
        folder,
        kind,
        settings.camera_make,
        settings.camera_model,
        shot.serial,
        dimensions,
        None if zoom is None else round(math.log(zoom) / 0.03),
    )
    stem = base.rpartition(".")[0] or base
    match = _COUNTER.search(stem)
    when = settings.captured_at
    exposure = settings.relative_exposure
    return Photo(
        file=file,
        kind=kind,
        bytes=size,
        shot=replace(shot, thumbnail=b""),  # read again where it is needed: memory
        stream=stream,
        stops=None if exposure is None else math.log2(exposure),
        time=None if when is None else (when - _EPOCH).total_seconds(),
        exact=when is not None and when.microsecond != 0,
        duration=settings.exposure_time or 0.0,
        prefix=stem[: match.start(1)] + stem[match.end(1) :] if match else stem,
        counter=int(match[1]) if match else None,
    )
