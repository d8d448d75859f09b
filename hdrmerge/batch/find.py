"""Folders to a plan: which photographs make which bracket."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hdrmerge.batch.doubts import doubt, reason, relative_stops, single_reason
from hdrmerge.batch.group import Group, Stream
from hdrmerge.batch.looks import Look, load_looks
from hdrmerge.batch.names import safe_name
from hdrmerge.batch.order import by_names
from hdrmerge.batch.plan import FindOptions, Plan, PlannedBracket, PlannedFile
from hdrmerge.batch.scan import Photo, Progress, Scan, scan_folders
from hdrmerge.batch.sequence import Pattern
from hdrmerge.batch.twins import drop_twins
from hdrmerge.errors import UsageError

_LONGEST_STEM = 80


def find_brackets(
    folders: Sequence[Path],
    options: FindOptions | None = None,
    *,
    progress: Progress | None = None,
) -> Plan:
    """The plan for all photographs below ``folders``.

    Only headers of files are read, and small versions of the pictures where headers do not
    suffice (``options.measure``). ``progress`` is called with (stage, fraction done). Raises
    InputError for a folder that is none, UsageError for options that make no sense.
    """
    options = options or FindOptions()
    if options.frames is not None and not 2 <= options.frames <= 99:
        raise UsageError(f"A bracket has 2 to 99 frames, not {options.frames}.")
    scan = scan_folders(folders, exclude=options.exclude, progress=progress)
    photos, duplicates = drop_twins(scan.photos, scan.root, options)
    photos, seen = _drop_masks(photos, scan, options, progress)
    streams = [Stream(group, options) for group in _streams(photos)]
    habits: dict[object, Counter[Pattern]] = defaultdict(Counter)
    for stream in streams:
        habits[_camera(stream.photos[0])].update(stream.habits())

    def looks(wanted: Sequence[Photo]) -> dict[Photo, Look]:
        rest = [p for p in wanted if p not in seen]
        found = load_looks(rest, scan.root, progress=progress)
        return found | {p: seen[p] for p in wanted if p in seen}

    naming = _Naming(folders, scan.root)
    brackets: list[PlannedBracket] = []
    singles: list[PlannedFile] = []
    grouped: list[tuple[Stream, list[Photo], list[Group]]] = []
    final: dict[object, Counter[Pattern]] = defaultdict(Counter)
    for stream in streams:
        camera, members = _camera(stream.photos[0]), list(stream.photos)
        groups = stream.groups(habits[camera], looks)
        final[camera].update(g.pattern for g in groups)
        grouped.append((stream, members, groups))
    for stream, members, groups in grouped:
        usual = final[_camera(members[0])]
        taken = {p for g in groups for p in g.photos}
        place = {p: k for k, p in enumerate(members)}
        for group in groups:
            beside = [
                (p, stream.alike(p, _nearest(p, group, place)))
                for p in _neighbours(group, members, place, taken)
            ]
            against = doubt(group, usual, beside, fixed=options.frames is not None)
            brackets.append(_planned(group, against, naming))
        for k, p in enumerate(members):
            if p not in taken:
                others = [o for o in members[max(k - 1, 0) : k + 2] if o is not p]
                alone = [(o, stream.alike(p, o)) for o in others if o not in taken]
                singles.append(PlannedFile(p.file, single_reason(p, alone)))
    return Plan(
        root=str(scan.root),
        brackets=naming.unique(brackets),
        singles=tuple(sorted(singles, key=lambda s: s.file)),
        duplicates=tuple(sorted(duplicates, key=lambda s: s.file)),
        unreadable=tuple(sorted(scan.unreadable, key=lambda s: s.file)),
        warnings=_warnings(brackets, duplicates),
    )


def _drop_masks(
    photos: list[Photo], scan: Scan, options: FindOptions, progress: Progress | None
) -> tuple[list[Photo], dict[Photo, Look]]:
    """The photos without those that are masks, which ``scan`` then lists, and what was looked at.

    Cameras write JPEG and RAW, and tell the exposure: only other files are looked at.
    """
    asked = [p for p in photos if p.stops is None and p.kind in ("png", "tiff")]
    if not asked or not options.measure:
        return photos, {}
    seen = load_looks(asked, scan.root, progress=progress)
    masks = {p for p in asked if p in seen and seen[p].mask}
    why = "is no photograph: it has two values alone"
    scan.unreadable.extend(PlannedFile(p.file, why) for p in masks)
    return [p for p in photos if p not in masks], seen


def _streams(photos: Sequence[Photo]) -> list[list[Photo]]:
    found: dict[object, list[Photo]] = defaultdict(list)
    for photo in photos:
        found[photo.stream, photo.time is None].append(photo)
    return [part for stream in found.values() for part in by_names(stream)]


def _camera(photo: Photo) -> object:
    settings = photo.shot.exif.settings
    return settings.camera_make, settings.camera_model, photo.shot.serial


def _neighbours(
    group: Group, members: list[Photo], place: dict[Photo, int], taken: set[Photo]
) -> list[Photo]:
    """The single shots right before and after a bracket."""
    spots = [place[p] for p in group.photos]
    beside = (k for k in (min(spots) - 1, max(spots) + 1) if 0 <= k < len(members))
    return [members[k] for k in beside if members[k] not in taken]


def _nearest(photo: Photo, group: Group, place: dict[Photo, int]) -> Photo:
    return min(group.photos, key=lambda p: abs(place[p] - place[photo]))


def _planned(group: Group, against: str | None, naming: _Naming) -> PlannedBracket:
    return PlannedBracket(
        name=naming.name(group),
        files=tuple(p.file for p in group.photos),
        reason=reason(group),
        doubt=_sentence(against),
        stops=None if group.measured else relative_stops(group.stops),
    )


def _sentence(text: str | None) -> str | None:
    return None if text is None else f"{text[0].upper()}{text[1:]}."


def _warnings(brackets: list[PlannedBracket], duplicates: list[PlannedFile]) -> tuple[str, ...]:
    copies = sum(d.reason.startswith("a copy") for d in duplicates)
    found = []
    if copies:
        found.append(f"{copies} files are copies of others and count once.")
    doubtful = sum(b.doubt is not None for b in brackets)
    if doubtful:
        found.append(f"{doubtful} of {len(brackets)} brackets are doubtful.")
    return tuple(found)


class _Naming:
    """Output names: the folder below the one given, and the first and last frame's name."""

    def __init__(self, folders: Sequence[Path], root: Path) -> None:
        given = [Path(os.path.relpath(folder, root)).as_posix() for folder in folders]
        self._several = len(set(given)) > 1
        self._given = sorted(set(given), key=len, reverse=True)

    def name(self, group: Group) -> str:
        first, *_, last = sorted(group.photos, key=lambda p: (p.prefix, p.counter or 0, p.file))
        return safe_name(
            "/".join(part for part in (self._folder(first), _stem(first, last)) if part)
        )

    def _folder(self, photo: Photo) -> str:
        """Mirrored below the output folder, with the given folder's own name if there are more."""
        folder = PurePosixPath(photo.folder)
        for given in self._given:
            if folder == PurePosixPath(given) or PurePosixPath(given) in folder.parents:
                below = folder.relative_to(given)
                top = PurePosixPath(given).name if self._several else ""
                return (PurePosixPath(top) / below).as_posix().removeprefix(".").lstrip("/")
        return folder.as_posix().removeprefix(".").lstrip("/")

    @staticmethod
    def unique(brackets: list[PlannedBracket]) -> tuple[PlannedBracket, ...]:
        """In the order of their names; a name that occurs again gets a number."""
        taken: set[str] = set()
        found = []
        for b in sorted(brackets, key=lambda b: (b.name, b.files)):
            name, k = b.name, 2
            while name.casefold() in taken:
                name, k = f"{b.name}_{k}", k + 1
            taken.add(name.casefold())
            found.append(PlannedBracket(name, b.files, b.reason, b.doubt, b.stops))
        return tuple(found)


def _stem(first: Photo, last: Photo) -> str:
    """``IMG_0012-0014``, or the first frame's name where the names have nothing in common."""
    digits = re.search(r"(\d+)\D*$", last.stem)
    if first is not last and first.prefix == last.prefix and digits:
        return f"{first.stem}-{digits[1]}"[-_LONGEST_STEM:]
    return first.stem[:_LONGEST_STEM]
