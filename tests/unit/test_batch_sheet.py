"""The contact sheet: what it shows, and that names of files cannot break out of it."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np
import pytest
from batch_tools import run, write_brackets

from hdrmerge.batch.card import shown_preview
from hdrmerge.batch.finish import finish
from hdrmerge.batch.job import Failure
from hdrmerge.batch.plan import Plan
from hdrmerge.batch.report import Summary
from hdrmerge.batch.sheet import sheet
from hdrmerge.batch.state import Record, State
from hdrmerge.config import TonemapConfig
from hdrmerge.tonemap import tonemap

TIMES = ("1/240 s", "1/60 s", "1/15 s")


class Page(HTMLParser):
    """Elements by name with their attributes, and the text that people read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path, Summary]:
    """Two brackets, one of which failed."""
    root = tmp_path_factory.mktemp("batch")
    plan = write_brackets(root / "in", 2)
    plan.paths(plan.brackets[1])[0].write_bytes(b"no picture")
    return plan, root / "out", run(plan, root / "out")


def write(batch: tuple[Plan, Path, Summary], **more: object) -> Page:
    plan, out, summary = batch
    with State(out) as state:
        finish(plan, summary, state, out, seconds=1.0)
    assert not list(out.glob(".*"))
    return Page(out / "index.html")


def picture(uri: str) -> np.ndarray:
    data = base64.b64decode(uri.removeprefix("data:image/webp;base64,"), validate=True)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[..., ::-1]


def test_each_bracket_is_shown(batch: tuple[Plan, Path, Summary]) -> None:
    page = write(batch)
    assert [s["id"] for s in page.all("section")] == ["a0/IMG_0-2", "a1/IMG_0-2"]
    assert [s["class"] for s in page.all("section")] == ["", "failed"]
    frames, preview, ghosts = (picture(str(image["src"])) for image in page.all("img"))
    assert frames.shape == (64, 240, 3)  # three frames of 80 x 64
    means = [float(frames[:, 80 * k : 80 * k + 80].mean()) for k in range(3)]
    assert means == sorted(means)
    assert means[2] > means[0] + 40
    truth = cv2.imread(str(batch[1] / "a0/IMG_0-2.jpg"))[..., ::-1]
    assert np.abs(preview.astype(int) - truth).mean() < 10
    truth = cv2.imread(str(batch[1] / "a0/IMG_0-2.ghosts.png"))[..., ::-1]
    assert np.abs(ghosts.astype(int) - truth).mean() < 10
    rows = json.loads((batch[1] / "a0/IMG_0-2.json").read_text())["frames"]
    exposures = [f"{t}, {row['used_stops']:+.1f} EV" for t, row in zip(TIMES, rows, strict=True)]
    for text in ("1 of 2 brackets merged, 1 failed", "IMG_1.jpg", "response:", *exposures):
        assert text in page.text
    assert "IMG_0.jpg is not a picture" in page.text
    assert len(page.all("polyline")) == 1


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_previews_of_large_pictures_show_all_of_them(kind: type) -> None:
    """Here an edge and a gradient; the size is no multiple of what is shown."""
    y, x = np.mgrid[:1415, :1611]
    radiance = np.where(x < 700, 0.02, 0.02 + 2.0 * y / 1415)[..., None] * [1.0, 0.8, 0.6]
    shown = picture(shown_preview(radiance.astype(kind), TonemapConfig(), None))
    truth = tonemap(radiance.astype(np.float32))
    truth = cv2.resize(truth, shown.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert shown.shape[0] == 160
    assert np.abs(shown.astype(int) - truth).mean() < 3
    sliver = np.full((3000, 2, 3), 0.2, kind)
    assert picture(shown_preview(sliver, TonemapConfig(), None)).shape == (160, 1, 3)


def test_links_lead_to_files(batch: tuple[Plan, Path, Summary]) -> None:
    plan, out, _ = batch
    links = [unquote(str(a["href"])) for a in write(batch).all("a")]
    assert all((out / link).is_file() for link in links)
    targets = {(out / link).resolve() for link in links}
    outputs = {out / f"a0/IMG_0-2{end}" for end in (".exr", ".jpg", ".json", ".ghosts.png")}
    files = {path for bracket in plan.brackets for path in plan.paths(bracket)}
    assert targets == {path.resolve() for path in outputs | files}


def test_nothing_is_loaded(batch: tuple[Plan, Path, Summary]) -> None:
    page = write(batch)
    for _, attributes in page.elements:
        for name in ("src", "href"):
            assert urlsplit(attributes.get(name) or "").scheme in ("", "data")
    assert not page.all("link")
    assert page.all("meta")[1]["content"].startswith("default-src 'none'; img-src data:;")  # type: ignore[union-attr]


def test_names_are_only_names(tmp_path: Path) -> None:
    evil = "\"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'"
    plan = write_brackets(tmp_path / "in", 1)
    bracket = plan.brackets[0]
    folder = tmp_path / "in" / evil.replace("/", "_")
    shutil.move(tmp_path / "in/a0", folder)
    name = f"x{evil.replace('/', '_')}"  # what no plan's parser would let pass
    files = tuple(f"{folder.name}/IMG_{k}.jpg" for k in range(3))
    plan = replace(plan, brackets=(replace(bracket, name=name, files=files, doubt=evil),))
    out = tmp_path / "out"
    summary = run(plan, out)
    page = write((plan, out, summary))
    assert summary.count() == {"merged": 1}
    assert len(page.all("script")) == 1
    assert len(page.all("img")) == 3
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.all("section")[0]["id"] == name
    assert evil in page.text
    for link in page.all("a"):
        assert (out / unquote(str(link["href"]))).is_file()
    summary.entries[name].fail(Failure(3, evil, evil))
    assert page.text.count(evil) < write((plan, out, summary)).text.count(evil)


def test_a_damaged_state_shows_no_pictures(tmp_path: Path) -> None:
    plan = write_brackets(tmp_path / "in", 1)
    out = tmp_path / "out"
    summary = run(plan, out)
    name = plan.brackets[0].name
    for card in (
        {"frames": 'x" onerror="alert(1)', "preview": 7, "ghosts": ["x"], "curve": ["<b>"]},
        {"frames": None, "widths": 3, "curve": 7},
        {"preview": "data:image/svg+xml,<svg onload=alert(1)>", "widths": ["x"]},
    ):
        with State(out) as state:
            record = state.get(name)
            assert record is not None
            state.save(name, replace(record, card=card, report={"frames": [7, {"file": None}]}))
        page = write((plan, out, summary))
        assert not page.all("img")
        assert not any("onerror" in attributes for _, attributes in page.elements)


def test_the_same_state_gives_the_same_page(tmp_path: Path) -> None:
    plan = write_brackets(tmp_path / "in", 2)
    pages = []
    for name in ("one", "two"):
        out = tmp_path / name
        write((plan, out, run(plan, out)))
        pages.append((out / "index.html").read_bytes())
    write((plan, tmp_path / "one", run(plan, tmp_path / "one")))  # nothing is left to do
    pages.append((tmp_path / "one/index.html").read_bytes())
    assert len(set(pages)) == 1


def test_thousands_come_piece_by_piece(tmp_path: Path) -> None:
    """Memory holds one bracket at a time, and the page stays small enough to open."""
    plan = write_brackets(tmp_path / "in", 1)
    summary = run(plan, tmp_path / "out")
    (entry,) = summary.entries.values()
    many = Summary({f"{k}": replace(entry, name=f"{k}") for k in range(40)})
    with State(tmp_path / "out") as state:
        record = state.get(entry.name)
        assert record is not None
        for name in many.entries:
            state.save(name, Record(status="done", report=record.report, card=record.card))
        pieces = list(sheet(many, state, tmp_path / "out"))
    assert len(pieces) == 40 + 3
    assert max(map(len, pieces)) < 30_000
