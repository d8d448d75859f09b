"""Names of outputs by a template, such as ``{folder}/{first}-{last}``."""

from __future__ import annotations

import dataclasses
import string
from collections import Counter
from pathlib import PurePosixPath

from hdrmerge.batch.names import safe_name
from hdrmerge.batch.plan import Plan, PlannedBracket
from hdrmerge.errors import UsageError

FIELDS = {
    "name": "the name that the plan gives",
    "folder": "the folder, mirrored from the one that was searched",
    "first": "the first photograph's name",
    "last": "the last one's",
    "frames": "how many there are",
    "number": "the bracket's number in the plan, from 1",
}


def rename(plan: Plan, template: str) -> Plan:
    """``plan`` with names made by ``template``; names that would be the same twice get a number.

    Names are made safe: no field leads out of the output folder. Raises UsageError for a template
    that makes no sense.
    """
    _check(template)
    wanted = [_fill(template, bracket, k) for k, bracket in enumerate(plan.brackets, 1)]
    count = Counter(name.casefold() for name in wanted)
    taken: set[str] = {folded for folded, n in count.items() if n == 1}
    brackets = []
    for bracket, name in zip(plan.brackets, wanted, strict=True):
        unique, k = name, 1
        while count[name.casefold()] > 1 and unique.casefold() in taken:
            k += 1
            unique = f"{name}-{k}"
        taken.add(unique.casefold())
        brackets.append(dataclasses.replace(bracket, name=unique))
    return dataclasses.replace(plan, brackets=tuple(brackets))


def _fill(template: str, bracket: PlannedBracket, number: int) -> str:
    first, last = (PurePosixPath(bracket.files[k]) for k in (0, -1))
    folder = bracket.name.rpartition("/")[0]
    values = {
        "name": bracket.name,
        "folder": folder,
        "first": first.stem,
        "last": last.stem,
        "frames": len(bracket.files),
        "number": number,
    }
    return safe_name(template.format(**values))


def _check(template: str) -> None:
    try:
        fields = [field for _, field, *_ in string.Formatter().parse(template) if field is not None]
        unknown = [field for field in fields if field not in FIELDS]
        template.format(**{**dict.fromkeys(FIELDS, "x"), "frames": 3, "number": 1})
    except (ValueError, LookupError, AttributeError):
        unknown, fields = [template], []
    if unknown:
        raise UsageError(
            f"--name does not understand {unknown[0]!r}.",
            f"Fields are {', '.join('{' + name + '}' for name in FIELDS)}.",
        )
    if not fields:
        raise UsageError(
            f"--name {template!r} gives every bracket the same name.",
            "Use a field, such as {folder}/{first}.",
        )
