"""Tiles change no answer, and memory that runs out makes them smaller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdrmerge.errors import ResourceError
from hdrmerge.models.checkpoint import load_network
from hdrmerge.models.encoding import encode_pairs
from hdrmerge.models.manifest import shipped
from hdrmerge.models.registry import VARIANTS, build, is_direct
from hdrmerge.models.tiling import Tile, is_out_of_memory, run_tiled

DIRECT = ["ahdrnet", "sk-ahdrnet", *(name for name in VARIANTS if is_direct(name))]


# two layers in two blocks: a reach of 14 to 20 pixels, so that small images have inner tiles
SMALL = {"width": 8, "growth": 8, "layers": 2, "blocks": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small images lose more by threads than they gain, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network_of(name: str, **values: Any) -> Any:
    torch.manual_seed(1)
    network = build(name, {**SMALL, **values}).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("name", DIRECT)
@pytest.mark.parametrize("tile", [40, 23])
def test_tiled_is_untiled(name: str, tile: int) -> None:
    """At every pixel, the image's borders included, also with averages over the whole image."""
    network = network_of(name)
    frames = torch.rand(1, 3, 6, 91, 80)
    frames[..., 50:] *= 0.1  # so that a tile's own averages would be far off
    with torch.inference_mode():
        expected = network(frames)
    assert expected.std() > 0.01
    found = run_tiled(network, frames, tile)["output"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["ahdrnet-half", "sk-ahdrnet-half"])
def test_the_shipped_weights_tile_like_one_piece(name: str) -> None:
    manifest = shipped()
    network: Any = load_network(manifest.path(manifest.entries[name]))
    halo = network.receptive_radius
    assert halo == {"ahdrnet-half": 43, "sk-ahdrnet-half": 48}[name]
    frames = torch.rand(1, 3, 6, 96, 2 * halo + 40)
    frames[..., halo:] *= 0.2
    with torch.inference_mode():
        expected = network(frames)
    found = run_tiled(network, frames, 48)["output"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_tiles_own_averages_would_make_seams() -> None:
    """What the first pass is for: a part that takes its own averages is off even far inside."""
    network = network_of("sk-ahdrnet")
    halo = network.receptive_radius
    frames = torch.rand(1, 3, 6, 30, 2 * halo + 40)
    frames[..., halo + 20 :] *= 0.1
    with torch.inference_mode():
        whole = network(frames)[..., :20]
        part = network(frames[..., : 20 + halo])[..., :20]
        told = network(frames[..., : 20 + halo], network.averaged(frames).mean(dim=(-2, -1)))
    assert (part - whole).abs().amax() > 1e-4
    torch.testing.assert_close(told[..., :20], whole, atol=1e-5, rtol=0)


def test_a_halo_too_small_shows() -> None:
    network = network_of("ahdrnet")
    frames = torch.rand(1, 3, 6, 100, 100)
    with torch.inference_mode():
        expected = network(frames)
    found = run_tiled(network, frames, 50, halo=4)["output"]
    assert (found - expected).abs().max() > 1e-5


def test_attention_maps_and_prepared_inputs_are_tiled_alike() -> None:
    network = network_of("sk-ahdrnet")
    linear, exposures = torch.rand(1, 3, 3, 70, 90), torch.tensor([[0.25, 1.0, 4.0]])
    frames = encode_pairs(linear, exposures)
    with torch.inference_mode():
        expected = network.attention_maps(frames)
    found = run_tiled(
        network,
        linear,
        40,
        function=network.attention_maps,
        prepare=lambda crop: encode_pairs(crop, exposures),
    )
    assert found.keys() == expected.keys()
    for slot, values in expected.items():
        torch.testing.assert_close(found[slot], values, atol=1e-5, rtol=0)


class Strided(nn.Module):
    """A network that only gives the same answer when a tile begins at a multiple of four."""

    tile_multiple = 4
    receptive_radius = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, image: Tensor, other: Tensor) -> Tensor:
        pooled = nn.functional.avg_pool2d(image + other, 4, ceil_mode=True)
        up = pooled.repeat_interleave(4, -2).repeat_interleave(4, -1)
        return self.scale * up[..., : image.shape[-2], : image.shape[-1]]


def test_strided_networks_and_several_inputs() -> None:
    network = Strided()
    image, other = torch.rand(1, 2, 61, 47), torch.rand(1, 1, 61, 47)
    found = run_tiled(network, [image, other], 18)["output"]
    torch.testing.assert_close(found, network(image, other).detach())


class Hungry(nn.Module):
    """Fails on anything larger than ``room`` pixels a side, as a GPU does when it is full."""

    receptive_radius = 2

    def __init__(self, room: int, error: Exception | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.room = room
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory.")
        self.sizes: list[int] = []

    def forward(self, image: Tensor) -> Tensor:
        self.sizes.append(max(image.shape[-2:]))
        if self.sizes[-1] > self.room:
            raise self.error
        return nn.functional.avg_pool2d(image, 5, 1, 2) * self.weight


@pytest.mark.parametrize(
    "error",
    [
        None,
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_out_of_memory_halves_the_tile_and_goes_on(error: Exception | None) -> None:
    if isinstance(error, RuntimeError) and "DefaultCPU" in str(error):
        error = RuntimeError(f"{error} memory: you tried to allocate 1 byte")
    network = Hungry(40, error)
    image = torch.rand(1, 1, 200, 150)
    told: list[float] = []
    found = run_tiled(network, image, 128, progress=told.append)["output"]
    expected = nn.functional.avg_pool2d(image, 5, 1, 2)
    torch.testing.assert_close(found, expected)
    failures = [size for size in network.sizes if size > 40]
    assert failures == sorted(failures, reverse=True) and 1 < len(failures) < 5
    assert told == sorted(told) and told[-1] == 1.0


def test_memory_too_small_for_any_tile_is_an_error_with_a_hint() -> None:
    with pytest.raises(ResourceError, match="not enough memory") as caught:
        run_tiled(Hungry(8), torch.rand(1, 1, 64, 64), 64)
    assert "--device cpu" in (caught.value.hint or "")


def test_other_errors_pass_through() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes"):
        run_tiled(Hungry(8, RuntimeError("shapes do not fit")), torch.rand(1, 1, 64, 64), 64)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (97, 1), (64, 65), (500, 333)])
@pytest.mark.parametrize("multiple", [1, 8])
def test_tiles_cover_the_image_once(height: int, width: int, multiple: int) -> None:
    seen = torch.zeros(height, width, dtype=torch.int64)
    for tile in Tile(0, height, 0, width).split(64, multiple):
        assert tile.size <= 64
        assert tile.top % multiple == 0 and tile.left % multiple == 0
        tile.of(seen).add_(1)
    assert torch.all(seen == 1)


def test_bfloat16_stays_near_float32() -> None:
    network = network_of("ahdrnet", width=16)
    frames = torch.rand(1, 3, 6, 64, 64)
    exact = run_tiled(network, frames)["output"]
    rough = run_tiled(network, frames, precision="bfloat16")["output"]
    assert rough.dtype == torch.float32
    assert 0 < (rough - exact).abs().max() < 0.05


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["ahdrnet", "sk-ahdrnet"])
def test_tiled_on_a_gpu_is_untiled_on_the_cpu(name: str) -> None:
    network = network_of(name, width=64, growth=32)
    frames = torch.rand(1, 3, 6, 300, 280)
    with torch.inference_mode():
        expected = network(frames)
    network.to("cuda", memory_format=torch.channels_last)
    found = run_tiled(network, frames, 128)["output"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
