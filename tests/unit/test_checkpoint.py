"""Files of weights: what is saved comes back, and nothing unsound is believed."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hdrmerge.errors import UsageError, WeightsError
from hdrmerge.models.ahdrnet import AHDRNetConfig
from hdrmerge.models.checkpoint import (
    checkpoint_bytes,
    load_checkpoint,
    load_network,
    network_from,
)
from hdrmerge.models.header import LARGEST_HEADER, check_content, file_sha256, read_header
from hdrmerge.models.manifest import (
    Manifest,
    WeightsEntry,
    read_manifest,
    shipped,
    weights_folder,
)
from hdrmerge.models.registry import build
from hdrmerge.models.resolve import check_entry, resolve_weights

SMALL = {"width": 4, "growth": 2, "layers": 2, "blocks": 2}


def save_small(path: Path, model: str = "ahdrnet", **values: Any) -> torch.nn.Module:
    torch.manual_seed(3)
    network = build(model, {**SMALL, **values}).eval()
    about = {"recipe": "none"}
    path.write_bytes(checkpoint_bytes(model, network.config, network.state_dict(), about))
    return network


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_small(path)
    return path


def header_bytes(table: Any, data: bytes = b"") -> bytes:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network = save_small(path, "sk-ahdrnet", attention="spatial")
    checkpoint = load_checkpoint(path)
    assert checkpoint.model == "sk-ahdrnet"
    assert checkpoint.config == {**SMALL, "attention": "spatial"}
    assert checkpoint.about == {"recipe": "none"}
    again = load_network(path)
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    frames = torch.rand(1, 3, 6, 20, 20)
    torch.testing.assert_close(again(frames), network(frames))


def test_half_precision_weights_are_run_in_float32(tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    network = build("ahdrnet", SMALL)
    half = {name: tensor.half() for name, tensor in network.state_dict().items()}
    path.write_bytes(checkpoint_bytes("ahdrnet", AHDRNetConfig(**SMALL), half))
    assert all(p.dtype == torch.float32 for p in load_network(path).parameters())


def test_saving_the_same_weights_gives_the_same_file(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_small(first)
    save_small(second)
    assert first.read_bytes() == second.read_bytes()


def test_a_network_is_read_once_and_again_when_its_file_changes(weights: Path) -> None:
    first = load_network(weights)
    assert load_network(weights) is first
    save_small(weights, width=8)
    assert load_network(weights) is not first
    with pytest.raises(WeightsError, match="no file of weights"):
        load_network(weights.with_name("absent.safetensors"))


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, LARGEST_HEADER + 1, 10_000])
def test_a_hostile_header_length_allocates_nothing(tmp_path: Path, length: int) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b"{}" + b"\0" * 100)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="longer than it can be") as caught:
            load_network(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.hint


def entry(**changes: Any) -> dict[str, Any]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (b"\x02\0\0\0\0\0\0", "too short"),
        (header_bytes(b"[" * 50_000), "not JSON"),
        (header_bytes(b"\xff\xfe"), "decode"),
        (header_bytes([1]), "not a JSON object"),
        (header_bytes({"__metadata__": {"model": 3}}), "not text"),
        (header_bytes({"__metadata__": []}), "not text"),
        (header_bytes(entry(dtype="F12"), b"\0" * 8), "entry of 'w'"),
        (header_bytes(entry(shape=[10**30]), b"\0" * 8), "entry of 'w'"),
        (header_bytes(entry(shape=[-2]), b"\0" * 8), "entry of 'w'"),
        (header_bytes(entry(shape=[True, 2]), b"\0" * 8), "entry of 'w'"),
        (header_bytes(entry(shape=[3]), b"\0" * 8), "size of 'w'"),
        (header_bytes(entry(data_offsets=[8, 0]), b"\0" * 8), "size of 'w'"),
        (header_bytes(entry(data_offsets=[0, 8, 9]), b"\0" * 8), "entry of 'w'"),
        (header_bytes({"w": 5}, b"\0" * 8), "entry of 'w'"),
        (header_bytes(entry(data_offsets=[4, 12]), b"\0" * 12), "overlap or leave gaps"),
        (header_bytes(entry(), b"\0" * 9), "do not fill"),
        (header_bytes(entry(), b"\0" * 7), "entry of 'w'"),
    ],
)
def test_unsound_headers(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(path)


def test_a_folder_or_a_photograph_is_no_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read"):
        read_header(tmp_path)
    photograph = tmp_path / "p.jpg"
    photograph.write_bytes(b"\xff\xd8\xff\xe0" + b"x" * 500)
    with pytest.raises(WeightsError, match="not a sound file"):
        load_checkpoint(photograph)


def test_damaged_tensors_are_noticed(weights: Path) -> None:
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged"):
        load_checkpoint(weights)


def test_a_file_cut_short_is_noticed(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-5])
    with pytest.raises(WeightsError, match="not a sound file"):
        load_checkpoint(weights)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_file_escapes_as_another_error(weights: Path, data: st.DataObject) -> None:
    content = bytearray(weights.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 3000) - 1))] = data.draw(
            st.integers(0, 255)
        )
    changed = weights.with_name("changed.safetensors")
    changed.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        network_from(load_checkpoint(changed), changed.name)
    except (WeightsError, UsageError) as error:
        assert error.message.endswith((".", "!", "?")) or error.message


def test_loading_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    network = build("ahdrnet", SMALL)
    tensors = network.state_dict()
    del tensors["merge.enter.bias"]
    path.write_bytes(checkpoint_bytes("ahdrnet", network.config, tensors))
    with pytest.raises(WeightsError, match=r"merge\.enter\.bias is missing"):
        load_network(path)
    path.write_bytes(
        checkpoint_bytes("ahdrnet", network.config, {**network.state_dict(), "more": torch.ones(1)})
    )
    with pytest.raises(WeightsError, match="more does not belong there"):
        load_network(path)
    path.write_bytes(checkpoint_bytes("ahdrnet", AHDRNetConfig(width=8), network.state_dict()))
    with pytest.raises(WeightsError, match=r"is \(.*\), not \("):
        load_network(path)


def test_a_configuration_too_large_for_its_tensors_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    huge = AHDRNetConfig(width=1024, growth=1024, layers=32, blocks=32)
    path.write_bytes(checkpoint_bytes("ahdrnet", huge, {"encoder.bias": torch.zeros(4)}))
    with pytest.raises(WeightsError, match="does not hold the weights of ahdrnet"):
        load_network(path)


def make_manifest(folder: Path, *models: str, default: str = "") -> Manifest:
    lines = [f'default = "{default}"']
    for model in models:
        path = folder / f"{model}.safetensors"
        save_small(path, model)
        lines += [
            "[[weights]]",
            f'name = "{model}-small"',
            f'model = "{model}"',
            f'file = "{path.name}"',
            f'sha256 = "{file_sha256(path)}"',
            'data = ["rendered"]',
            "steps = 7",
            "[weights.config]",
            "width = 4",
            "[weights.scores]",
            "mask = 30.5",
        ]
    (folder / "manifest.toml").write_text("\n".join(lines), encoding="utf-8")
    return read_manifest(folder)


def test_shipped_weights_are_found_by_name_by_model_and_unasked(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "ahdrnet", "sk-ahdrnet", default="sk-ahdrnet-small")
    item = manifest.entries["ahdrnet-small"]
    assert (item.steps, item.data, item.scores) == (7, ("rendered",), {"mask": 30.5})
    found = resolve_weights("ahdrnet-small", manifest=manifest)
    assert (found.model, found.sha256) == ("ahdrnet", item.sha256)
    assert resolve_weights(None, "ahdrnet", manifest) == found
    assert resolve_weights(None, None, manifest).name == "sk-ahdrnet-small"
    with pytest.raises(WeightsError, match="holds weights of ahdrnet, not of sk-ahdrnet"):
        resolve_weights("ahdrnet-small", "sk-ahdrnet", manifest)


def test_damaged_or_missing_shipped_weights(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, "ahdrnet")
    item = manifest.entries["ahdrnet-small"]
    with manifest.path(item).open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="not the file that was shipped"):
        resolve_weights(None, "ahdrnet", manifest)
    manifest.path(item).unlink()
    with pytest.raises(WeightsError, match="not installed"):
        check_entry(manifest, item)


def test_without_weights_there_is_an_error_and_no_random_network(tmp_path: Path) -> None:
    empty = read_manifest(tmp_path)
    for model in ("ahdrnet", "sk-ahdrnet", "decider", None):
        with pytest.raises(WeightsError) as caught:
            resolve_weights(None, model, empty)
        assert "--weights" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="no network 'unet'"):
        resolve_weights(None, "unet", empty)
    with pytest.raises(WeightsError, match="no weights 'nothing'"):
        resolve_weights("nothing", None, empty)


def test_a_file_is_resolved_and_its_network_checked(weights: Path) -> None:
    found = resolve_weights(str(weights))
    assert (found.path, found.model) == (weights, "ahdrnet")
    assert resolve_weights(str(weights), "ahdrnet").sha256 == file_sha256(weights)
    with pytest.raises(WeightsError, match="not of rdb-net"):
        resolve_weights(str(weights), "rdb-net")
    save_small(weights, dilated=False, attention=False)
    assert resolve_weights(str(weights), "rdb-net").model == "ahdrnet"


def test_weights_of_another_program_name_no_network(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": torch.zeros(2, 2)}, path)
    for call in (lambda: load_checkpoint(path), lambda: resolve_weights(str(path))):
        with pytest.raises(WeightsError, match="does not say which network") as caught:
            call()
        assert "convert" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    [
        "default = 3",
        'default = "absent"',
        "weights = 5",
        "[[weights]]\nname = 'a'",
        "[[weights]]\nname='a'\nmodel='ahdrnet'\nfile='../x'\nsha256='" + "0" * 64 + "'",
        "[[weights]]\nname='a'\nmodel='ahdrnet'\nfile='x'\nsha256='zz'",
        "[[weights]]\nname='a'\nmodel='unet'\nfile='x'\nsha256='" + "0" * 64 + "'",
        "[[weights]]\nnonsense = 1",
        "= not toml",
    ],
)
def test_unsound_manifests(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.toml").write_text(text, encoding="utf-8")
    with pytest.raises(WeightsError, match="not valid"):
        read_manifest(tmp_path)


def test_what_ships_is_sound() -> None:
    assert (weights_folder() / "manifest.toml").is_file()
    manifest = shipped()
    for item in manifest.entries.values():
        assert isinstance(item, WeightsEntry)
        header = check_content(check_entry(manifest, item))
        assert header.model == item.model
        load_network(manifest.path(item))
