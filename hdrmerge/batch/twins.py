"""Several files of one shot: RAW beside JPEG, exact copies, edited versions. One of them counts."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable
from itertools import combinations
from pathlib import Path, PurePosixPath
from typing import TypeVar

from hdrmerge.batch.plan import FindOptions, PlannedFile
from hdrmerge.batch.scan import Photo

_T = TypeVar("_T")

# "IMG_1-edit", "IMG_1 (2)", "IMG_1 copy", "Copy of IMG_1": what programs call a second version.
_VERSION = re.compile(
    r"(?:copy of )?(?P<stem>.+?)"
    r"(?P<mark>[ _-]*(?:edit(?:ed)?|copy|kopie|copie|copia|enhanced|\(\d{1,3}\))\d*)*",
    re.IGNORECASE,
)
_ORDER = {"raw": ("raw", "tiff", "png", "jpeg"), "jpeg": ("jpeg", "png", "tiff", "raw")}
_CHUNK = 1 << 20


def drop_twins(
    photos: list[Photo], root: Path, options: FindOptions
) -> tuple[list[Photo], list[PlannedFile]]:
    """The photos with one file a shot, and the others with what they repeat."""
    dropped: list[PlannedFile] = []
    photos = _drop_copies(photos, root, dropped)
    photos = _drop_versions(photos, dropped)
    rank = _ORDER[options.prefer].index
    for key in (_beside, _across):
        kept = []
        groups = _groups(photos, key)
        strangers = _strangers(groups)
        for group in groups:
            group.sort(key=lambda p: (rank(p.kind), p.file))
            firsts: list[Photo] = []
            for other in group:
                same = (p for p in firsts if p.kind != other.kind and _one_shot(p, other))
                near = (p for p in same if _folders(p, other) not in strangers)
                first = next((p for p in near if not _rivals(p, other, group)), None)
                if first is None:
                    firsts.append(other)
                else:
                    dropped.append(PlannedFile(other.file, f"the same shot as {first.file}"))
            kept += firsts
        photos = kept
    return sorted(photos, key=lambda p: p.file), dropped


def _drop_copies(photos: list[Photo], root: Path, dropped: list[PlannedFile]) -> list[Photo]:
    """Files with the same bytes: read whole only where size and header agree."""
    kept = []
    for group in _groups(photos, lambda p: (p.bytes, p.kind, p.shot.exif, p.shot.size)):
        by_hash: dict[bytes, Photo] = {}
        group.sort(key=lambda p: (len(p.file), p.file))
        for photo in group:
            digest = _digest(root / photo.file) if len(group) > 1 else b""
            first = by_hash.setdefault(digest, photo) if digest or len(group) == 1 else photo
            if first is photo:
                kept.append(photo)
            else:
                dropped.append(PlannedFile(photo.file, f"a copy of {first.file}"))
    return kept


def _drop_versions(photos: list[Photo], dropped: list[PlannedFile]) -> list[Photo]:
    """Edited versions beside their original: the name says so and the metadata agree."""
    stems = {(p.folder, p.stem.lower()): p for p in photos}
    kept = []
    for photo in photos:
        match = _VERSION.fullmatch(photo.stem)
        base = match["stem"].lower() if match else photo.stem.lower()
        first = stems.get((photo.folder, base))
        known = photo.time is not None
        if first not in (None, photo) and known and base != photo.stem.lower():
            assert first is not None
            if first.time == photo.time and first.stops == photo.stops:
                dropped.append(PlannedFile(photo.file, f"a version of {first.file}"))
                continue
        kept.append(photo)
    return kept


def _beside(photo: Photo) -> Hashable:
    return photo.folder, photo.stem.lower()


def _across(photo: Photo) -> Hashable:
    """The same name in sibling folders (``raw/`` and ``jpeg/``), if the clock can confirm it."""
    if photo.time is None:
        return photo.file
    return PurePosixPath(photo.folder).parent, photo.stem.lower()


def _one_shot(a: Photo, b: Photo) -> bool:
    """Whether nothing that both files say speaks against their being one shot."""
    x, y = a.shot.exif.settings, b.shot.exif.settings
    pairs = ((x.exposure_time, y.exposure_time), (x.f_number, y.f_number))
    close = all(p is None or q is None or abs(p / q - 1) < 0.02 for p, q in pairs)
    when = a.time is None or b.time is None or abs(a.time - b.time) <= 1.0
    same_camera = None in (x.camera_model, y.camera_model) or x.camera_model == y.camera_model
    return close and when and same_camera


def _folders(a: Photo, b: Photo) -> frozenset[str]:
    return frozenset((a.folder, b.folder))


def _strangers(groups: list[list[Photo]]) -> set[frozenset[str]]:
    """Pairs of folders of which more files of one name are different shots than are one."""
    votes: dict[frozenset[str], int] = defaultdict(int)
    for group in groups:
        for a, b in combinations(group, 2):
            if a.kind != b.kind and a.folder != b.folder:
                votes[_folders(a, b)] += 1 if _one_shot(a, b) else -1
    return {pair for pair, vote in votes.items() if vote < 0}


def _rivals(first: Photo, other: Photo, group: list[Photo]) -> bool:
    """Whether another file, of another folder, has as much claim to be ``first`` as ``other``."""
    return first.folder != other.folder and any(
        p is not other
        and (p.kind, p.shot.size) == (other.kind, other.shot.size)
        and p.folder != other.folder
        and _one_shot(first, p)
        for p in group
    )


def _groups(items: Iterable[_T], key: Callable[[_T], Hashable]) -> list[list[_T]]:
    found: dict[Hashable, list[_T]] = defaultdict(list)
    for item in items:
        found[key(item)].append(item)
    return list(found.values())


def _digest(path: Path) -> bytes:
    """Hash of a file; empty where it cannot be read now."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return b""
    return digest.digest()
