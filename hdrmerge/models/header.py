"""The header of a safetensors file, read and checked without torch and without trust.

Layout: eight bytes little-endian length, so many bytes of JSON, then the tensors' data without
gaps (https://github.com/huggingface/safetensors). Nothing is allocated before it is checked.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from hdrmerge.errors import WeightsError

FORMAT = "hdrmerge.weights.1"
LARGEST_HEADER = 1 << 20
_LENGTH_BYTES = 8
_CHUNK = 1 << 20
_ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """What a file of weights says of itself.

    ``metadata`` as written; ``tensors`` name -> {"dtype", "shape", "data_offsets"}; the data
    begins at byte ``data_start``.
    """

    metadata: dict[str, str]
    tensors: dict[str, dict[str, Any]]
    data_start: int

    @property
    def model(self) -> str | None:
        """The network's name; None in a file that another program wrote."""
        return self.metadata.get("model") if self.metadata.get("format") == FORMAT else None

    @property
    def content_sha256(self) -> str | None:
        """The hash that the file claims for its tensors."""
        return self.metadata.get("content_sha256")

    def config(self) -> dict[str, Any]:
        """The network's configuration."""
        return _json_object(self.metadata.get("config", "{}"), "configuration")


def read_header(path: Path) -> Header:
    """Read and check the header of ``path``; raises WeightsError when it is not sound."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return parse_header(file, size)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WeightsError(f"The weights {path} cannot be read: {reason}.") from error
    except ValueError as error:
        raise WeightsError(
            f"{path} is not a sound file of weights: {error}.",
            "It may be damaged or cut short; fetch or train it again.",
        ) from error


def parse_header(file: BinaryIO, size: int) -> Header:
    """The header at the start of ``file``, which holds ``size`` bytes; raises ValueError."""
    if size < _LENGTH_BYTES:
        raise ValueError("it is too short")
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if length > min(size - _LENGTH_BYTES, LARGEST_HEADER):
        raise ValueError("its header is longer than it can be")
    table = _json_object(file.read(length).decode("utf-8"), "header")
    metadata = table.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError("its metadata are not text")
    data_start = _LENGTH_BYTES + length
    _check_tensors(table, size - data_start)
    return Header(metadata, table, data_start)


def content_sha256(file: BinaryIO, header: Header) -> str:
    """Hash of the tensors alone: of their names, types, shapes and bytes, not of the metadata."""
    table = json.dumps(header.tensors, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(table.encode())
    file.seek(header.data_start)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a whole file; raises WeightsError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise WeightsError(f"The weights {path} cannot be read: {reason}.") from error


def check_content(path: Path) -> Header:
    """Read the header and compare the tensors with the hash it claims; raises WeightsError."""
    header = read_header(path)
    if header.content_sha256 is not None:
        with path.open("rb") as file:
            found = content_sha256(file, header)
        if found != header.content_sha256:
            raise WeightsError(
                f"The weights in {path} are damaged: their hash is not the one written with them.",
                "Fetch or train them again.",
            )
    return header


def _check_tensors(table: Mapping[str, Any], data_bytes: int) -> None:
    """Every tensor's bytes lie in the data, one behind the other; raises ValueError."""
    spans = []
    for name, entry in table.items():
        try:
            item, shape = _ITEM_BYTES[entry["dtype"]], entry["shape"]
            start, stop = entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"the entry of {name!r} is not valid") from error
        if not all(type(n) is int and 0 <= n <= data_bytes for n in (*shape, start, stop)):
            raise ValueError(f"the entry of {name!r} is not valid")
        if len(shape) > 8 or stop - start != math.prod(shape) * item:
            raise ValueError(f"the size of {name!r} is not that of its shape")
        spans.append((start, stop))
    end = 0
    for start, stop in sorted(spans):
        if start != end:
            raise ValueError("its tensors overlap or leave gaps")
        end = stop
    if end != data_bytes:
        raise ValueError("its tensors do not fill it")


def _json_object(text: str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {what} is not JSON") from error
    if not isinstance(value, dict):
        raise ValueError(f"its {what} is not a JSON object")
    return value
