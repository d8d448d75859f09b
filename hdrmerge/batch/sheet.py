"""The contact sheet: one HTML page with all brackets, which needs nothing beside itself.

Each bracket is a section that the browser lays out when it comes into view (``content-visibility``
with a size known beforehand), so that a page of thousands opens at once. The pictures are small
and lie in the page. Nothing is loaded from anywhere; a policy in the head sees to that.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hdrmerge.batch.card import CURVE_HEIGHT, CURVE_WIDTH, FRAME_HEIGHT, PICTURE_HEIGHT
from hdrmerge.batch.job import Product
from hdrmerge.batch.report import Entry, Summary
from hdrmerge.batch.state import State

_URI = re.compile(r"data:image/webp;base64,[A-Za-z0-9+/=]*")
_POINTS = re.compile(r"[0-9, -]*")
_LABELS = {"radiance": "HDR", "preview": "preview", "ghost_map": "ghost map", "report": "report"}
_HEAD = """<!doctype html>
<html lang=en><head><meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; img-src data:; style-src \
'unsafe-inline'; script-src 'unsafe-inline'">
<meta name=viewport content="width=device-width,initial-scale=1">
<title>Contact sheet</title><style>
body{font:14px/1.4 system-ui,sans-serif;margin:0 1rem 3rem;color:#222;background:#f6f6f6}
header{position:sticky;top:0;background:#f6f6f6ee;padding:.6rem 0;z-index:1;display:flex;gap:1rem;
align-items:center;flex-wrap:wrap}
h1{font-size:1.1rem;margin:0}h2{font-size:1rem;margin:0 0 .4rem;overflow-wrap:anywhere}
section{background:#fff;border-radius:6px;padding:.7rem .9rem;margin:.6rem 0;
content-visibility:auto;contain-intrinsic-size:auto 17rem}
.row{display:flex;gap:.8rem 1.4rem;flex-wrap:wrap;align-items:start;margin:.4rem 0}
figure{margin:0}figcaption,.files{font-size:12px;color:#555}
.files span{display:inline-block;overflow:hidden;vertical-align:top;overflow-wrap:anywhere}
.failed{border-left:5px solid #c22}.doubt{border-left:5px solid #d90}
.bad{color:#a11}.warn{color:#850}p{margin:.2rem 0;overflow-wrap:anywhere}
svg{background:#fafafa;border:1px solid #ddd}polyline{fill:none;stroke:#222}
.r{stroke:#c33}.g{stroke:#293}.b{stroke:#34c}[hidden]{display:none}
input{font:inherit;padding:.2rem .4rem;min-width:14rem}
</style></head><body>
"""
_FILTER = """<script>
const find=document.getElementById('find'),only=document.getElementById('only');
const all=[...document.querySelectorAll('section')];
function show(){const t=find.value.toLowerCase();for(const s of all)
s.hidden=!(s.id.toLowerCase().includes(t)&&(!only.checked||s.className))}
find.oninput=show;only.onchange=show;
</script></body></html>
"""


def sheet(summary: Summary, state: State, out: Path) -> Iterator[str]:
    """The page piece by piece; the same state gives the same page.

    Links lead to the outputs and the photographs, relative to ``out``.
    """
    entries = list(summary.entries.values())
    merged = sum(entry.status in ("merged", "unchanged") for entry in entries)
    failed = len(summary.failures)
    yield _HEAD
    yield (
        f"<header><h1>{merged} of {len(entries)} brackets merged"
        f"{f', {failed} failed' if failed else ''}</h1>"
        "<input id=find type=search placeholder='Find a name' aria-label='Find a name'>"
        "<label><input id=only type=checkbox style='min-width:0'> failed or doubtful</label>"
        "</header><main>\n"
    )
    for entry in entries:
        yield "".join(_section(entry, state, out))
    yield f"</main>\n{_FILTER}"


def _section(entry: Entry, state: State, out: Path) -> Iterator[str]:
    record = state.get(entry.name) if entry.status in ("merged", "unchanged") else None
    report: dict[str, Any] = (record.report if record else None) or {}
    card: dict[str, Any] = (record.card if record else None) or {}
    mark = "failed" if entry.failure else "doubt" if entry.doubt else ""
    yield f"<section id={_attribute(entry.name)} class={_attribute(mark)}>"
    yield f"<h2>{html.escape(_shown(entry.name))}</h2>"
    if entry.failure:
        hint = f" {entry.failure.hint}" if entry.failure.hint else ""
        yield f"<p class=bad>{html.escape(_shown(entry.failure.message + hint))}</p>"
    if entry.doubt:
        yield f"<p class=warn>Doubtful: {html.escape(_shown(entry.doubt))}</p>"
    for warning in entry.warnings:
        yield f"<p class=warn>{html.escape(_shown(warning))}</p>"
    if card:
        yield from _pictures(entry, card, report, out)
    else:
        links = (
            f"<a href={_link(f, out)}>{html.escape(_shown(Path(f).name))}</a>" for f in entry.files
        )
        yield f"<p class=files>{', '.join(links)}</p>"
    if entry.outputs and record:
        links = (
            f"<a href={_quoted(path)}>{_LABELS[product]}</a>"
            for product, path in entry.outputs.items()
        )
        yield f"<p>{' · '.join(links)}</p>"
    if entry.edited:
        names = html.escape(_shown(", ".join(entry.edited)))
        yield f"<p class=warn>Changed by another program, and left so: {names}</p>"
    yield "</section>\n"


def _pictures(
    entry: Entry, card: dict[str, Any], report: dict[str, Any], out: Path
) -> Iterator[str]:
    """The strip of frames with a caption below each, then preview, ghost map and response."""
    where = {Path(file).name: file for file in entry.files}
    yield f"<div class=row><div>{_image(card.get('frames'), FRAME_HEIGHT)}<div class=files>"
    rows = [row for row in _list(report.get("frames")) if isinstance(row, dict)]
    widths = [width for width in _list(card.get("widths")) if isinstance(width, int)]
    for row, width in zip(rows, widths, strict=False):
        name = str(row.get("file", ""))
        note = " (reference)" if name == report.get("reference") else ""
        link = _link(where.get(name, name), out)
        yield (
            f"<span style=width:{max(width, 40)}px><a href={link}>"
            f"{html.escape(_shown(name))}</a><br>{_exposure(row)}{note}</span>"
        )
    yield "</div></div>"
    figures: tuple[tuple[str, Product, str], ...] = (
        ("preview", "preview", "preview"),
        ("ghosts", "ghost_map", "ghost map: black, the reference alone"),
    )
    for key, product, caption in figures:
        if card.get(key):
            image = _image(card[key], PICTURE_HEIGHT)
            if product in entry.outputs:
                image = f"<a href={_quoted(entry.outputs[product])}>{image}</a>"
            yield f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
    lines = [p for p in _list(card.get("curve")) if isinstance(p, str) and _POINTS.fullmatch(p)]
    colours = ("r", "g", "b") if len(lines) == 3 else ("",)
    drawn = "".join(
        f"<polyline class='{colour}' points='{points}'/>"
        for colour, points in zip(colours, lines, strict=False)
    )
    response = html.escape(_shown(str(report.get("response", ""))))
    yield (
        f"<figure><svg width={CURVE_WIDTH} height={CURVE_HEIGHT}>{drawn}</svg>"
        f"<figcaption>response: {response}</figcaption></figure></div>"
    )


def _exposure(row: dict[str, Any]) -> str:
    """``1/60 s, −2.0 EV``."""
    parts = []
    time, stops = row.get("exposure_time"), row.get("used_stops")
    if isinstance(time, int | float) and 1e-6 < time < 1e6:
        parts.append(f"1/{1 / time:.0f} s" if time < 0.3 else f"{time:g} s")
    if isinstance(stops, int | float) and abs(stops) < 100:
        parts.append(f"{stops:+.1f} EV")
    return ", ".join(parts)


def _image(uri: Any, height: int) -> str:
    """A picture from its data URI; what else a damaged state holds is left out."""
    if not isinstance(uri, str) or not _URI.fullmatch(uri):
        return ""
    return f'<img alt="" loading=lazy decoding=async height={height} src="{uri}">'


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _link(file: str, out: Path) -> str:
    try:
        relative = os.path.relpath(file, out).replace(os.sep, "/")
    except ValueError:  # another drive
        return _attribute(Path(file).absolute().as_uri())
    return _quoted(relative)


def _quoted(path: str) -> str:
    """A relative path as an attribute that is a link."""
    return _attribute(quote(path, errors="surrogateescape"))


def _attribute(text: str) -> str:
    return f'"{html.escape(_shown(text))}"'


def _shown(text: str) -> str:
    """Text as UTF-8 can hold it."""
    return text.encode("utf-8", "replace").decode()
