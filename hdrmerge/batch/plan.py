"""The plan of a batch: which files make which bracket, and what becomes of all others.

A plan is made by ``find_brackets`` (``batch/find.py``), may be written to a JSON file, edited by a
person and run. Nothing in a plan file is believed: files stay below the plan's root, and output
names below the output folder.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from hdrmerge.batch.names import check_name
from hdrmerge.errors import InputError
from hdrmerge.io.atomic import write_text
from hdrmerge.io.detect import open_input

VERSION = 1
_MAX_BYTES = 1 << 27  # a million files make about half of it

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FindOptions:
    """How ``find_brackets(folders, options)`` of ``batch/find.py`` looks for brackets.

    ``prefer``: which file of a shot counts where there are several. ``frames``: every bracket has
    this many, None to find out. ``measure``: look at small versions of the pictures where the
    metadata do not tell. ``exclude``: a folder that is not looked into (the output's).
    """

    prefer: Literal["raw", "jpeg"] = "raw"
    frames: int | None = None
    measure: bool = True
    exclude: Path | None = None


@dataclass(frozen=True, slots=True)
class PlannedBracket:
    """Files that are merged into one picture.

    ``name``: of the output, without suffix, relative with ``/`` (``villa/IMG_0012-0014``), safe
    and unique within the plan. ``files``: relative to the plan's root with ``/``, in the order in
    which they were taken. ``stops``: log2 of each file's exposure relative to the middle one's,
    None where unknown. ``reason``: how the bracket was recognised. ``doubt``: a sentence where it
    may be wrong.
    """

    name: str
    files: tuple[str, ...]
    reason: str
    doubt: str | None = None
    stops: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that is in no bracket, relative to the plan's root, and why."""

    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Every picture below ``root`` (a folder), each in exactly one place.

    ``singles``: shots that belong to no bracket. ``duplicates``: further files of a shot that has
    been counted (the JPEG of a RAW, a copy). ``unreadable``: what looked like a picture.
    ``warnings``: sentences about the folder as a whole.
    """

    root: str
    brackets: tuple[PlannedBracket, ...] = ()
    singles: tuple[PlannedFile, ...] = ()
    duplicates: tuple[PlannedFile, ...] = ()
    unreadable: tuple[PlannedFile, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def paths(self, bracket: PlannedBracket) -> list[Path]:
        """The files of ``bracket``, ready to open."""
        return [Path(self.root, name) for name in bracket.files]

    @property
    def doubtful(self) -> tuple[PlannedBracket, ...]:
        """The brackets that may be wrong."""
        return tuple(b for b in self.brackets if b.doubt)

    def to_json(self) -> str:
        """The plan as JSON that a person can edit: a line a file, brackets first."""
        files = ("singles", "duplicates", "unreadable")
        parts = [
            f' "hdrmerge_plan": {VERSION}',
            f' "root": {_dump(self.root)}',
            _json_list("brackets", [_bracket_json(b) for b in self.brackets]),
            *(_json_list(k, [_file_json(f) for f in getattr(self, k)]) for k in files),
            _json_list("warnings", [f"  {_dump(w)}" for w in self.warnings]),
        ]
        return "{\n" + ",\n".join(parts) + "\n}\n"

    @staticmethod
    def from_json(text: str, source: str = "the plan") -> Plan:
        """The plan that ``text`` holds; raises InputError naming the place of what is wrong."""
        return _Parser(source).plan(text)


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan`` as JSON, atomically; raises OutputError or ResourceError."""
    write_text(path, plan.to_json())


def read_plan(path: Path) -> Plan:
    """The plan in a file; a relative root is taken from the file's folder. Raises InputError."""
    path = Path(path)
    with open_input(path) as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InputError(f"{path} is larger than any plan.", "Plan the folders one by one.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not a plan: it is not UTF-8 text.") from None
    plan = Plan.from_json(text, str(path))
    if "://" in plan.root:
        return plan
    root = str(path.absolute().parent / plan.root)
    return Plan(root, *(getattr(plan, k) for k in Plan.__slots__[1:]))


def _dump(value: Any) -> str:
    """JSON of one value; characters that are no Unicode (odd file names) become escapes."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text)


def _json_list(key: str, rows: list[str]) -> str:
    return f' "{key}": [' + ("\n" + ",\n".join(rows) + "\n ]" if rows else "]")


def _bracket_json(b: PlannedBracket) -> str:
    files = ",\n".join(f"    {_dump(f)}" for f in b.files)
    stops = None if b.stops is None else [round(s, 3) for s in b.stops]
    return (
        f'  {{"name": {_dump(b.name)},\n   "files": [\n{files}],\n   "stops": {_dump(stops)},\n'
        f'   "reason": {_dump(b.reason)},\n   "doubt": {_dump(b.doubt)}}}'
    )


def _file_json(f: PlannedFile) -> str:
    return f'  {{"file": {_dump(f.file)}, "reason": {_dump(f.reason)}}}'


class _Parser:
    """Reads a plan strictly; every complaint says where."""

    def __init__(self, source: str) -> None:
        self._source = source

    def plan(self, text: str) -> Plan:
        try:
            data = json.loads(
                text, object_pairs_hook=self._object, parse_constant=self._no_constant
            )
        except json.JSONDecodeError as error:
            self._fail(f"line {error.lineno}, column {error.colno}", f"{error.msg}")
        except (ValueError, RecursionError):
            self._fail("", "holds numbers or brackets that no plan has")
        known = ("brackets", "singles", "duplicates", "unreadable", "warnings")
        self._keys(data, "", ("hdrmerge_plan", "root", "brackets"), known[1:])
        version = data["hdrmerge_plan"]
        if isinstance(version, bool) or version != VERSION:
            self._fail("hdrmerge_plan", f"is of version {version!r}, this program reads {VERSION}")
        root = self._text(data["root"], "root", 4096)
        if not root or "\0" in root:
            self._fail("root", "must name a folder")
        plan = Plan(
            root,
            tuple(self._rows(data, "brackets", self._bracket)),
            tuple(self._rows(data, "singles", self._file)),
            tuple(self._rows(data, "duplicates", self._file)),
            tuple(self._rows(data, "unreadable", self._file)),
            tuple(self._rows(data, "warnings", self._text)),
        )
        self._unique(plan)
        return plan

    def _bracket(self, data: Any, place: str) -> PlannedBracket:
        self._keys(data, place, ("name", "files"), ("reason", "doubt", "stops"))
        name = self._text(data["name"], f"{place}.name")
        wrong = check_name(name)
        if wrong:
            self._fail(f"{place}.name", wrong)
        files = tuple(self._rows(data, "files", self._path, place))
        if len(files) < 2:
            self._fail(f"{place}.files", "must name at least two files")
        doubt, stops = data.get("doubt"), data.get("stops")
        if stops is not None:
            stops = tuple(self._rows(data, "stops", self._stop, place))
            if len(stops) != len(files):
                self._fail(f"{place}.stops", f"has {len(stops)} values for {len(files)} files")
        return PlannedBracket(
            name,
            files,
            self._text(data.get("reason", "given by the plan"), f"{place}.reason"),
            None if doubt is None else self._text(doubt, f"{place}.doubt"),
            stops,
        )

    def _file(self, data: Any, place: str) -> PlannedFile:
        self._keys(data, place, ("file",), ("reason",))
        file = self._path(data["file"], f"{place}.file")
        return PlannedFile(file, self._text(data.get("reason", ""), f"{place}.reason"))

    def _path(self, value: Any, place: str) -> str:
        path = self._text(value, place, 4096)
        if "\0" in path:
            self._fail(place, "is not the name of a file")
        strange = {"", ".", ".."} & {*path.split("/"), *Path(path).parts}
        if strange or Path(path).is_absolute() or Path(path).drive:
            self._fail(place, "must be relative to the root and stay below it")
        return path

    def _stop(self, value: Any, place: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._fail(place, "must be a number")
        if not (abs(value) <= 64 and math.isfinite(value)):
            self._fail(place, "must lie between -64 and 64 stops")
        return float(value)

    def _text(self, value: Any, place: str, limit: int = 10_000) -> str:
        if not isinstance(value, str):
            self._fail(place, "must be text")
        if len(value) > limit:
            self._fail(place, f"must have at most {limit} characters")
        return value

    def _rows(
        self, data: Any, key: str, read: Callable[[Any, str], _T], place: str = ""
    ) -> Iterator[_T]:
        place = f"{place}.{key}" if place else key
        rows = data.get(key, [])
        if not isinstance(rows, list):
            self._fail(place, "must be a list")
        for k, row in enumerate(rows):
            yield read(row, f"{place}[{k}]")

    def _keys(
        self, data: Any, place: str, required: tuple[str, ...], more: tuple[str, ...]
    ) -> None:
        if not isinstance(data, dict):
            self._fail(place, "must be an object in braces")
        for key in data:
            if key not in required and key not in more:
                self._fail(place, f"has an unknown key {key[:80]!r}")
        for key in required:
            if key not in data:
                self._fail(place, f"lacks the key {key!r}")

    def _unique(self, plan: Plan) -> None:
        names: dict[str, int] = {}
        files: dict[str, str] = {}
        for k, bracket in enumerate(plan.brackets):
            name = bracket.name.casefold()  # some systems hold A and a to be one
            if name in names:
                self._fail(f"brackets[{k}].name", f"is that of brackets[{names[name]}] again")
            names[name] = k
            for file in bracket.files:
                if file in files:
                    self._fail(f"brackets[{k}].files", f"{file!r} is in {files[file]} already")
                files[file] = f"brackets[{k}]"

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                self._fail("", f"has the key {key[:80]!r} twice in one place")
            found[key] = value
        return found

    def _no_constant(self, name: str) -> NoReturn:
        self._fail("", f"holds {name}, which is no number")

    def _fail(self, place: str, wrong: str) -> NoReturn:
        at = f"{self._source}, {place}," if place else self._source
        sentence = f"{at} {wrong}".encode("utf-8", "replace").decode()
        raise InputError(f"{sentence}.", "Mend the plan, or make it anew with --save-plan.")
