"""``hdrmerge weights``: what it prints, where, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from hdrmerge.cli.app import run
from hdrmerge.errors import ExitCode
from hdrmerge.models import manifest
from hdrmerge.models.checkpoint import load_network
from tests.unit.test_checkpoint import make_manifest, save_small
from tests.unit.test_hub import Hub, served, small  # noqa: F401
from tests.unit.test_models import published_tensors


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> manifest.Manifest:
    made = make_manifest(tmp_path, "ahdrnet", "sk-ahdrnet", default="ahdrnet-small")
    monkeypatch.setattr(manifest, "shipped", lambda: made)
    return made


def test_list(shipped: manifest.Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "list"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "ahdrnet-small (default)" in out and "sk-ahdrnet-small" in out
    assert run(["weights", "list", "--json"]) == ExitCode.OK
    listed = json.loads(capsys.readouterr().out)
    assert [(w["name"], w["default"]) for w in listed] == [
        ("ahdrnet-small", True),
        ("sk-ahdrnet-small", False),
    ]


def test_verify(shipped: manifest.Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "verify"]) == ExitCode.OK
    path = shipped.path(shipped.entries["ahdrnet-small"])
    path.write_bytes(path.read_bytes()[:-1])
    assert run(["weights", "verify", "sk-ahdrnet-small"]) == ExitCode.OK
    assert run(["weights", "verify", str(path)]) == ExitCode.WEIGHTS
    capsys.readouterr()
    assert run(["weights", "verify", "--json"]) == ExitCode.WEIGHTS
    results = json.loads(capsys.readouterr().out)
    assert results["sk-ahdrnet-small"] == "sound"
    assert "damaged" in results["ahdrnet-small"]


def test_verify_says_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["weights", "verify", "absent.safetensors"]) == ExitCode.WEIGHTS
    assert "cannot be read" in capsys.readouterr().err


def test_download(served: Hub, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    assert run(["weights", "download", "hf:me/net"]) == ExitCode.OK
    captured = capsys.readouterr()
    path = Path(captured.out.strip())
    assert path.name == "net.safetensors" and path.is_file()
    assert "ahdrnet" in captured.err
    assert run(["weights", "download", "hf:me/absent"]) == ExitCode.WEIGHTS
    assert run(["weights", "download", "me/net"]) == ExitCode.USAGE


@pytest.mark.parametrize("wrapped", [False, True])
def test_convert(tmp_path: Path, wrapped: bool) -> None:
    network = save_small(tmp_path / "unused.safetensors", layers=6, blocks=3)
    tensors = published_tensors(network)  # type: ignore[arg-type]
    source, output = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    torch.save({"state_dict": tensors, "epoch": 3} if wrapped else tensors, source)
    assert run(["weights", "convert", str(source), "-o", str(output)]) == ExitCode.OK
    frames = torch.rand(1, 3, 6, 16, 16)
    torch.testing.assert_close(load_network(output)(frames), network(frames))
    assert run(["weights", "convert", str(source), "-o", "ours.pth"]) == ExitCode.USAGE


def test_convert_refuses_what_is_no_table_of_tensors(tmp_path: Path) -> None:
    for name, content in (("a.pth", b"no"), ("b.safetensors", b"no"), ("c.pth", b"")):
        source = tmp_path / name
        source.write_bytes(content)
        arguments = ["weights", "convert", str(source), "-o", str(tmp_path / "o.safetensors")]
        assert run(arguments) == ExitCode.WEIGHTS
