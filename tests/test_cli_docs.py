"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from hdrmerge import __version__
from hdrmerge.cli.app import COMMANDS
from hdrmerge.errors import ExitCode
from hdrmerge.tonemap import OPERATORS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


@pytest.fixture(scope="module")
def make_cli() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_cli", DOCS / "make_cli.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_line_page_is_up_to_date(make_cli: ModuleType) -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert page == make_cli.reference(), "run `make docs`"


def test_every_exit_code_is_listed(make_cli: ModuleType) -> None:
    listed = re.findall(r"^\| (\d+) \|", make_cli.EXIT_CODES, re.MULTILINE)
    assert [int(code) for code in listed] == [int(code) for code in ExitCode]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_pages_exist(page: Path, make_cli: ModuleType) -> None:
    reference = make_cli.reference()
    for line in re.findall(r"^ {4}hdrmerge (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        command = line.split()[0]
        assert command in COMMANDS, line
        for option in re.findall(r"(?<= )--[a-z0-9-]+", line):
            assert option in reference, line


def test_every_operator_has_a_chapter() -> None:
    text = (DOCS / "tonemapping.md").read_text(encoding="utf-8")
    for operator in OPERATORS.values():
        aliases = f" ({', '.join(operator.aliases)})" if operator.aliases else ""
        assert f"\n## {operator.name}{aliases}\n" in text
        assert f"](images/tonemap/{operator.name}.jpg)" in text


def test_the_architecture_page_names_every_module() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    for path in (ROOT / "hdrmerge").iterdir():
        if path.suffix == ".py" and path.name != "__main__.py":
            assert path.name in text, path.name
        elif (path / "__init__.py").is_file():
            assert f"{path.name}/" in text, path.name


def test_pictures_are_small() -> None:
    for picture in (DOCS / "images").glob("*.jpg"):
        assert picture.stat().st_size < 200_000, picture.name


def test_version_is_a_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
