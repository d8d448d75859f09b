"""What a batch has done, in one SQLite file in the output folder.

Only the coordinator opens it, and locks it for as long as it runs, so that two batches never work
in one folder. The journal is a rollback journal and not a write-ahead log: a log needs memory that
all users of the file share, which network folders do not have, and one writer gains nothing by it.
Each change is on the disk before the next step is taken (``synchronous=FULL``).
"""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hdrmerge.batch.job import Failure, Input, Product
from hdrmerge.errors import InputError, OutputError, ResourceError, sentence

FILE = "hdrmerge-batch.sqlite"
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS brackets (
    name TEXT PRIMARY KEY, status TEXT NOT NULL, inputs TEXT, files TEXT, report TEXT, card TEXT,
    failure TEXT, seconds REAL, peak INTEGER
);
CREATE TABLE IF NOT EXISTS claims (path TEXT PRIMARY KEY) WITHOUT ROWID;
"""
Status = Literal["planned", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Written:
    """One output: ``path`` below the output folder, what it depends on, and its size and time."""

    path: str
    digest: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one bracket: ``inputs`` and ``files`` count only where it is done."""

    status: Status = "planned"
    inputs: tuple[Input, ...] = ()
    files: dict[Product, Written] = field(default_factory=dict)
    report: dict[str, Any] | None = None
    card: dict[str, Any] | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    peak: int = 0


class State:
    """The records by name; use as a context manager. Raises OutputError where another batch works
    in the folder, InputError for a damaged file, ResourceError for a full disk."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        with self._explained():
            self._db = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            try:
                for command in (
                    "PRAGMA locking_mode=EXCLUSIVE",
                    "PRAGMA journal_mode=DELETE",
                    "PRAGMA synchronous=FULL",
                    "BEGIN EXCLUSIVE",
                ):
                    self._db.execute(command)
                (version,) = self._db.execute("PRAGMA user_version").fetchone()
                if version not in (0, _VERSION):
                    raise InputError(
                        f"{self._path} is of another version of hdrmerge.",
                        "Use that version, or another output folder.",
                    )
                for command in _SCHEMA.split(";"):
                    self._db.execute(command)
                self._db.execute(f"PRAGMA user_version={_VERSION}")
                self._db.execute("COMMIT")
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> State:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def get(self, name: str) -> Record | None:
        """The record of a bracket; None where it was never planned."""
        with self._explained():
            row = self._db.execute(
                "SELECT status, inputs, files, report, card, failure, seconds, peak "
                "FROM brackets WHERE name = ?",
                (name,),
            ).fetchone()
        return None if row is None else _record(row)

    def claims(self) -> set[str]:
        """All paths below the folder that batches have ever written or been about to."""
        with self._explained():
            return {path for (path,) in self._db.execute("SELECT path FROM claims")}

    def claim(self, paths: Iterable[str]) -> None:
        """Files of these paths are the batch's own from now on."""
        with self._explained(), self._change():
            self._db.executemany(
                "INSERT OR IGNORE INTO claims VALUES (?)", [(path,) for path in paths]
            )

    def reopen(self, names: Iterable[str]) -> None:
        """These brackets are about to change: until they are done, their files do not count."""
        with self._explained(), self._change():
            self._db.executemany(
                "UPDATE brackets SET status = 'planned' WHERE name = ?", [(n,) for n in names]
            )

    def save(self, name: str, record: Record) -> None:
        """Replace what is known of a bracket."""
        values = (
            record.status,
            _dump([asdict(i) for i in record.inputs]),
            _dump({k: asdict(v) for k, v in record.files.items()}),
            _dump(record.report),
            _dump(record.card),
            _dump(asdict(record.failure) if record.failure else None),
            record.seconds,
            record.peak,
        )
        with self._explained():
            self._db.execute(
                "INSERT OR REPLACE INTO brackets VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, *values),
            )

    @contextlib.contextmanager
    def _change(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # the latter of damaged names
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise OutputError(
                    f"Another batch is working in {self._path.parent}.",
                    "Wait for it, or choose another output folder.",
                ) from None
            if code == sqlite3.SQLITE_FULL:
                raise ResourceError(
                    f"{self._path} does not fit on the disk.", "Free some space there."
                ) from None
            if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR):
                raise OutputError(f"{self._path} cannot be written: {error}.") from None
            raise InputError(
                sentence(f"{self._path} is damaged: {error}"),
                "Move it away; with --overwrite the batch then makes everything again.",
            ) from None


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _record(row: tuple[Any, ...]) -> Record:
    """What a row says; one that makes no sense is as if nothing had been done."""
    status, inputs, files, report, card, failure, seconds, peak = row
    try:
        return Record(
            status=status if status in ("done", "failed") else "planned",
            inputs=tuple(Input(**i) for i in json.loads(inputs or "[]")),
            files={k: Written(**v) for k, v in json.loads(files or "{}").items()},
            report=_object(report),
            card=_object(card),
            failure=Failure(**found) if (found := _object(failure)) else None,
            seconds=_finite(seconds),
            peak=int(peak or 0),
        )
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return Record()


def _finite(value: Any) -> float:
    number = float(value or 0)
    if not math.isfinite(number):
        raise ValueError("no number")
    return number


def _object(text: str | None) -> dict[str, Any] | None:
    found = json.loads(text or "null")
    if found is not None and not isinstance(found, dict):
        raise ValueError("no object")
    return found
