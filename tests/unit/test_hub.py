"""Weights from a hub, served on localhost; nothing else is ever asked for anything."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hdrmerge.errors import UsageError, WeightsError
from hdrmerge.models import hub
from hdrmerge.models.resolve import resolve_weights
from tests.unit.test_checkpoint import save_small

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """A hub with one repository, as much of its API as a download needs."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[str] = []
        self.lies: dict[str, bytes] = {}  # contents served under another file's hash
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(send_body=False)

            def do_GET(self) -> None:
                self.answer(send_body=True)

            def answer(self, send_body: bool) -> None:
                this.requests.append(f"{self.command} {self.path}")
                status, headers, body = this.respond(self.path.split("?")[0])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if send_body:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def respond(self, path: str) -> tuple[int, dict[str, str], bytes]:
        missing = (404, {"X-Error-Code": "RepoNotFound"}, b"")
        for revision in ("main", "v1", COMMIT):
            if path == f"/api/models/me/net/revision/{revision}" or path == "/api/models/me/net":
                siblings = [{"rfilename": name} for name in self.files]
                info = {"id": "me/net", "sha": COMMIT, "siblings": siblings}
                return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
            if path == f"/api/models/me/net/tree/{revision}":
                tree = [{"type": "file", "path": n, "size": len(d)} for n, d in self.files.items()]
                for item in tree:
                    item["oid"] = hashlib.sha1(self.files[str(item["path"])]).hexdigest()
                return 200, {"Content-Type": "application/json"}, json.dumps(tree).encode()
            start = f"/me/net/resolve/{revision}/"
            if path.startswith(start):
                name = path.removeprefix(start)
                if name not in self.files:
                    return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
                sha256 = hashlib.sha256(self.files[name]).hexdigest()
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{sha256}"',
                    "ETag": f'"{sha256}"',
                    "X-Linked-Size": str(len(self.files[name])),
                }
                return 200, headers, self.lies.get(name, self.files[name])
        return missing


@pytest.fixture
def small(tmp_path: Path) -> bytes:
    path = tmp_path / "small.safetensors"
    save_small(path)
    return path.read_bytes()


@pytest.fixture
def served(small: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants as constants

    service = Hub({"net.safetensors": small, "README.md": b"# net"})
    thread = threading.Thread(target=service.server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", service.url)
    # read once when the client is imported, perhaps by another test
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield service
    service.server.shutdown()
    service.server.server_close()


@pytest.mark.parametrize("spec", ["hf:me/net", "hf:me/net@v1", "hf:me/net@v1:net.safetensors"])
def test_weights_are_downloaded_checked_and_kept(served: Hub, small: bytes, spec: str) -> None:
    found = resolve_weights(spec, "ahdrnet")
    assert found.path.read_bytes() == small
    assert (found.model, found.sha256) == ("ahdrnet", hashlib.sha256(small).hexdigest())
    transfers = [r for r in served.requests if r.startswith("GET") and "resolve" in r]
    resolve_weights(spec)
    again = [r for r in served.requests if r.startswith("GET") and "resolve" in r]
    assert len(transfers) == len(again) == 1


def test_one_of_several_files_must_be_named(served: Hub, small: bytes) -> None:
    served.files["other.safetensors"] = small
    with pytest.raises(WeightsError, match="2 files of weights") as caught:
        resolve_weights("hf:me/net")
    assert "hf:me/net:net.safetensors" in (caught.value.hint or "")
    assert resolve_weights("hf:me/net:other.safetensors").path.name == "other.safetensors"
    served.files.clear()
    with pytest.raises(WeightsError, match=r"no \.safetensors file"):
        resolve_weights("hf:me/net")


@pytest.mark.parametrize("spec", ["hf:me/absent", "hf:me/net:absent.safetensors", "hf:me/net@v9"])
def test_what_the_hub_does_not_have(served: Hub, spec: str) -> None:
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        resolve_weights(spec)


def test_contents_that_are_not_what_the_hub_announced(served: Hub, small: bytes) -> None:
    served.lies["net.safetensors"] = small[:-1] + bytes([small[-1] ^ 1])
    with pytest.raises(WeightsError, match="damaged"):
        resolve_weights("hf:me/net")


def test_offline_mode_uses_what_was_downloaded(
    served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants as constants

    spec = "hf:me/net:net.safetensors"
    found = resolve_weights(spec)
    count = len(served.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert resolve_weights(spec) == found
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        resolve_weights("hf:me/net:other.safetensors")
    assert len(served.requests) == count


@pytest.mark.slow  # the client tries several times
def test_a_hub_that_is_not_there(
    served: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        resolve_weights("hf:me/net:net.safetensors")
    assert "--weights FILE" in (caught.value.hint or "")


def test_nothing_is_downloaded_unless_named(served: Hub) -> None:
    for spec, model in ((None, "kalantari"), ("me/net", None), ("net.safetensors", None)):
        with pytest.raises(WeightsError):
            resolve_weights(spec, model)
    assert resolve_weights(None, "ahdrnet").name == "ahdrnet-half"  # shipped
    assert served.requests == []


def test_specs() -> None:
    assert hub.parse_spec("hf:a/b") == hub.HubSpec("a/b")
    assert hub.parse_spec("hf:a/b@v1.0:sub/f.safetensors") == hub.HubSpec(
        "a/b", "v1.0", "sub/f.safetensors"
    )
    for text in ("hf:", "hf:a", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b:", "hf:a/b c"):
        with pytest.raises(UsageError):
            hub.parse_spec(text)
