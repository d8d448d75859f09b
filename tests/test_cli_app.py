"""The edge: help, version, exit codes, sentences, hints; whatever goes wrong below it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hdrmerge import __version__
from hdrmerge.cli import app, console, options
from hdrmerge.errors import ExitCode, HdrMergeError, InputError, UsageError
from tests.cli_tools import Command

ROOT = Path(__file__).parents[1]


@pytest.fixture
def hdrmerge(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, hdrmerge: Command, tmp_path: Path):
    """Runs ``info`` with an inside that raises what it is given."""
    picture = tmp_path / "picture.exr"
    picture.touch()

    def run(error: BaseException, *arguments: str):
        def fail(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("hdrmerge.cli.info.holds_radiance", fail)
        return hdrmerge("info", picture, *arguments)

    return run


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(hdrmerge: Command, arguments: list[str]) -> None:
    outcome = hdrmerge(*arguments)
    assert outcome.code == ExitCode.OK
    assert all(name in outcome.out for name in app.COMMANDS)
    assert outcome.err == ""


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_has_help(hdrmerge: Command, name: str) -> None:
    outcome = hdrmerge(name, "--help")
    assert outcome.code == ExitCode.OK
    assert f"hdrmerge {name}" in outcome.out


def test_version(hdrmerge: Command) -> None:
    assert hdrmerge("--version").out == f"hdrmerge {__version__}\n"


def test_the_module_runs() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hdrmerge", "--version"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode, done.stdout) == (0, f"hdrmerge {__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["nonsense"],
        ["fuse"],
        ["fuse", "a.jpg"],
        ["tonemap", "-o"],
        ["fuse", "a.jpg", "-o", "o.exr", "--deghost", "wrongly"],
    ],
)
def test_wrong_arguments_are_usage_errors(hdrmerge: Command, arguments: list[str]) -> None:
    outcome = hdrmerge(*arguments)
    assert outcome.code == ExitCode.USAGE
    error, hint = outcome.err.splitlines()
    assert error.startswith("error: ") and "Value error" not in error
    assert hint.startswith("hint: Try: hdrmerge")
    assert outcome.out == ""


@pytest.mark.parametrize("kind", [HdrMergeError, *HdrMergeError.__subclasses__()])
def test_expected_errors_are_a_sentence_and_a_hint(failing, kind: type[HdrMergeError]) -> None:
    outcome = failing(kind("It is so.", "Do that."))
    assert outcome.code == kind.exit_code
    assert outcome.err == "error: It is so.\nhint: Do that.\n"
    assert outcome.out == ""


def test_every_class_of_error_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in HdrMergeError.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert ExitCode.OK not in codes


def test_memory_error(failing) -> None:
    outcome = failing(MemoryError())
    assert outcome.code == ExitCode.RESOURCES
    assert "not enough memory" in outcome.err


def test_full_disk(failing) -> None:
    outcome = failing(OSError(28, "No space left on device", "out.exr"))
    assert outcome.code == ExitCode.RESOURCES
    assert outcome.err == "error: out.exr: No space left on device.\n"


def test_a_defect_asks_to_be_reported(failing) -> None:
    outcome = failing(ZeroDivisionError("division by zero"))
    assert outcome.code == ExitCode.FAILURE
    assert "ZeroDivisionError" in outcome.err
    assert "--traceback" in outcome.err
    assert "Traceback" not in outcome.err


def test_traceback_for_developers(failing) -> None:
    with pytest.raises(InputError):
        failing(InputError("It is so."), "--traceback")


def test_interrupt(failing) -> None:
    outcome = failing(KeyboardInterrupt())
    assert outcome.code == ExitCode.INTERRUPTED
    assert "Traceback" not in outcome.err


def test_a_reader_that_went_away_is_no_error() -> None:
    script = f"{sys.executable} -m hdrmerge --help | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr


def test_numbers() -> None:
    assert options.parse_numbers("-2,0,+2", "--ev") == (-2, 0, 2)
    assert options.parse_numbers("1/60 1/4, 2", "--times") == (1 / 60, 0.25, 2)


@pytest.mark.parametrize("text", ["1,x", "1/0", "nan", "inf", "1//2"])
def test_no_numbers(text: str) -> None:
    with pytest.raises(UsageError):
        options.parse_numbers(text, "--ev")


def test_patterns_are_expanded_in_order(tmp_path: Path) -> None:
    for name in ("b 2.jpg", "a 1.jpg", "[x].jpg"):
        (tmp_path / name).touch()
    found = options.expand_paths([str(tmp_path / "*.jpg")])
    assert [path.name for path in found] == ["[x].jpg", "a 1.jpg", "b 2.jpg"]
    assert options.expand_paths([str(tmp_path / "[x].jpg")]) == [tmp_path / "[x].jpg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jpg"], "does not exist"),
        (["*.cr9"], "No file matches"),
        (["."], "is a folder"),
    ],
)
def test_inputs_that_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=words) as caught:
        options.expand_paths(arguments)
    assert caught.value.hint


def test_reference_by_name_and_by_place() -> None:
    paths = [Path("x/a.jpg"), Path("x/2"), Path("x/b.jpg")]
    assert options.choose_reference(None, paths) is None
    assert options.choose_reference("b.jpg", paths) == 2
    assert options.choose_reference("x/a.jpg", paths) == 0
    assert options.choose_reference("3", paths) == 2
    assert options.choose_reference("2", paths) == 1  # a file's name goes first
    for wrong in ("c.jpg", "0", "4", "-1"):
        with pytest.raises(UsageError):
            options.choose_reference(wrong, paths)


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.Console().product_json({"a": [float("nan"), 1.5], "b": (float("inf"), "x")})
    assert "NaN" not in (text := capsys.readouterr().out)
    assert text.count("null") == 2


def test_table_is_aligned() -> None:
    lines = console.format_table(("name", "x"), [("a", "1.0"), ("longer", "-10.0")])
    assert lines == ["name        x", "a         1.0", "longer  -10.0"]


def test_quiet_says_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    voice = console.Console(quiet=True)
    voice.say("hello")
    voice.table(("a",), [("b",)])
    voice.warn("look")
    assert capsys.readouterr().err == "warning: look\n"


def test_a_stream_that_cannot_show_a_character(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    console.write_line("café", error=True)
    assert stream.buffer.getvalue() == b"caf?\n"
