"""Which names outputs may have: on every file system, and within their folder."""

from __future__ import annotations

import re

_MAX_COMPONENT = 200  # bytes; file systems allow 255, and suffixes follow
_MAX_NAME = 1000
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"|?*\\\ud800-\udfff]')


def check_name(name: str) -> str | None:
    """What is wrong with an output name, or None: it must stay in the folder on every system."""
    if not name or len(name) > _MAX_NAME:
        return "must have 1 to 1000 characters"
    if _UNSAFE.search(name):
        return 'must hold no control characters and none of < > : " | ? * \\'
    for part in name.split("/"):
        if part in ("", ".", ".."):
            return "must be relative and stay in the output folder"
        if part != part.strip(" ") or part.endswith("."):
            return "must not begin or end a part with a space, nor end one with a dot"
        if _RESERVED.fullmatch(part):
            return f"holds {part}, which is reserved on Windows"
        if len(part.encode()) > _MAX_COMPONENT:
            return f"has a part longer than {_MAX_COMPONENT} bytes"
    return None


def safe_name(text: str) -> str:
    """``text`` as an output name that ``check_name`` accepts."""
    parts = []
    for part in _UNSAFE.sub("_", text).split("/"):
        part = part.encode()[:_MAX_COMPONENT].decode("utf-8", "ignore").strip(" ").rstrip(". ")
        if not part:
            continue
        parts.append(f"_{part}"[:_MAX_COMPONENT] if _RESERVED.fullmatch(part) else part)
    while len(parts) > 1 and len("/".join(parts)) > _MAX_NAME:
        del parts[0]
    return "/".join(parts) or "_"
