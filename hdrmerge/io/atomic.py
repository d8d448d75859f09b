"""Files that appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from hdrmerge.errors import HdrMergeError, OutputError, ResourceError


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary file in the folder of ``path`` to write to; it becomes ``path`` at the end.

    It is flushed to disk before it takes the name, and removed on any failure. Raises OutputError
    where the folder is absent or not writable, or ``path`` is no plain file; ResourceError for a
    full disk.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        kind = "a directory" if target.is_dir() else "not a plain file"
        raise OutputError(f"{path} is {kind}.", "Give the name of a file to write.")
    temporary = target.parent / f".hdrmerge-{secrets.token_hex(6)}.tmp"
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_bytes(path: Path, *parts: bytes | memoryview) -> None:
    """Write a file of these parts, one after the other, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for part in parts:
            file.write(part)


def write_text(path: Path, text: str) -> None:
    """Write a text file (UTF-8) atomically."""
    write_bytes(path, text.encode())


def _explain(error: OSError, path: Path) -> HdrMergeError:
    folder = path.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError(f"{path} does not fit on the disk.", "Free some space there.")
    if error.errno == errno.ENOENT:
        return OutputError(f"{path} cannot be written: {folder} does not exist.", "Create it.")
    if error.errno == errno.ENOTDIR:
        return OutputError(f"{path} cannot be written: {folder} is not a directory.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            f"{path} cannot be written: {folder} is not writable.", "Choose another folder."
        )
    return OutputError(f"{path} cannot be written: {error.strerror or error}.")
