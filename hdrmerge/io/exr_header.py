"""What an OpenEXR file's header says: its parts, which of them is the picture, its attributes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hdrmerge.errors import InputError
from hdrmerge.io.detect import open_input
from hdrmerge.io.encoded import check_size
from hdrmerge.threads import coder_threads

_MAX_RATIO = 20_000  # five times what DWAB makes of an all black picture, half floats to bytes
NAMES = {"none": "no"}  # ours to OpenEXR's
REPORT = "hdrmerge:report"


def library() -> Any:
    """OpenEXR with its threads awake: it starts with none, and compresses at half the speed."""
    import OpenEXR

    OpenEXR.set_global_thread_count(coder_threads())
    return OpenEXR


def headers_of(path: Path) -> list[dict[str, Any]]:
    """The attributes of each part; raises InputError for what is damaged or no EXR."""
    OpenEXR = library()
    open_input(path).close()
    try:
        file = OpenEXR.File(str(path), header_only=True)
        headers = [file.header(k) for k in range(len(file.parts))]
        for header in headers:  # what cannot be decoded or is missing shows here
            _size(header), [c.name for c in header["channels"]]
        return headers
    except Exception as error:
        raise damaged(path, error) from None


def damaged(path: Path, reason: Exception | str) -> InputError:
    """The error to raise where OpenEXR gives up for some ``reason``."""
    said = " ".join(str(reason).split())[:200].rstrip(".")
    return InputError(f"{path} is no EXR that can be read: {said}.", "Copy or write it again.")


def colour_group(parts: list[dict[str, Any]], path: Path) -> tuple[int, str]:
    """(part, channel group) that holds the picture; groups are named as OpenEXR.File does."""
    names: list[str] = []
    for index, header in enumerate(parts):
        if "deep" in _enum_name(header.get("type", "")):
            continue
        width, height = _size(header)
        check_size(width, height, path)
        if width * height * 2 > path.stat().st_size * _MAX_RATIO:
            raise damaged(path, f"it is too small for {width} x {height} pixels")
        channels = {c.name: c for c in header["channels"]}
        names += channels
        if {"RY", "BY"} & set(channels):
            raise InputError(
                f"{path} holds luminance and subsampled chroma.", "Convert it to RGB channels."
            )
        if {"R", "G", "B"} <= set(channels):
            return index, "RGBA" if "A" in channels else "RGB"
        if "Y" in channels:
            return index, "Y"
        for name in channels:
            layer = name.rpartition(".")[0]
            if layer and {f"{layer}.{c}" for c in "RGB"} <= set(channels):
                return index, layer
        if len(channels) == 1:
            return index, next(iter(channels))
    raise InputError(
        f"{path} holds no colour picture (its channels: {', '.join(names[:12]) or 'none'}).",
        "Channels R, G, B or Y are needed.",
    )


def read_exr_header(path: Path) -> dict[str, Any]:
    """The attributes of the part that ``read_exr`` would read, without reading pixels."""
    parts = headers_of(path)
    return parts[colour_group(parts, path)[0]]


def exr_facts(header: dict[str, Any]) -> dict[str, Any]:
    """An EXR header in plain types: size, channels, compression, attributes, report."""
    width, height = _size(header)
    hidden = (
        "channels",
        "compression",
        "dataWindow",
        "displayWindow",
        "lineOrder",
        "type",
        REPORT,
    )
    facts = {
        "format": "OpenEXR",
        "width": width,
        "height": height,
        "channels": ", ".join(sorted(c.name for c in header["channels"])),
        "compression": _compression_name(header["compression"]),
        "attributes": {k: _plain(v) for k, v in sorted(header.items()) if k not in hidden},
    }
    report = parse_report(header.get(REPORT))
    return facts if report is None else {**facts, "report": report}


def _size(header: dict[str, Any]) -> tuple[int, int]:
    """(width, height) of the data window."""
    first, last = header["dataWindow"]
    return int(last[0]) - int(first[0]) + 1, int(last[1]) - int(first[1]) + 1


def exr_primaries(header: dict[str, Any]) -> tuple[float, ...] | None:
    """The eight chromaticities, red, green, blue and white; None where the file has none."""
    value = header.get("chromaticities")
    if not isinstance(value, tuple) or len(value) != 8:
        return None
    return tuple(float(v) for v in value) if all(isinstance(v, float) for v in value) else None


def parse_report(text: Any) -> dict[str, Any] | None:
    """A report from its JSON; None where that is damaged or absent."""
    try:
        report = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return report if isinstance(report, dict) else None


def _compression_name(value: Any) -> str:
    name = _enum_name(value).removesuffix("_COMPRESSION").lower()
    return "none" if name == NAMES["none"] else name


def _enum_name(value: Any) -> str:
    return str(getattr(value, "name", value))


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_plain(v) for v in value.tolist()]
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, int | str | bool):
        return value
    try:
        return str(value)
    except UnicodeDecodeError:  # OpenEXR's own types hold whatever bytes the file holds
        return type(value).__name__
