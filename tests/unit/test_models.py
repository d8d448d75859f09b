"""The published networks: their size, their reach, their input convention, their ablations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hdrmerge.errors import ResourceError, UsageError, WeightsError
from hdrmerge.models.ahdrnet import AHDRNet, AHDRNetConfig
from hdrmerge.models.convert import from_published
from hdrmerge.models.cost import multiply_adds, parameters
from hdrmerge.models.device import select_device
from hdrmerge.models.encoding import decode_radiance, encode_pairs
from hdrmerge.models.registry import MODELS, VARIANTS, build, find_model, is_direct, make_config
from hdrmerge.models.sk_ahdrnet import SelectiveKernel, SKAHDRNetConfig

SMALL = {"width": 4, "growth": 2}
DIRECT = [name for name in (*MODELS, *VARIANTS) if is_direct(name)]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small images lose more by threads than they gain, above all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(name: str, seed: int = 0, **values: Any) -> Any:
    """A narrow network of a kind, with weights that let no path die out."""
    torch.manual_seed(seed)
    values = {**SMALL, **values}
    if name == "kalantari":
        values = {"width": values["width"]}
    network = build(name, values).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize(
    ("name", "count", "radius", "work"),
    [
        ("ahdrnet", 1_441_283, 43, 1_446_720),
        ("drdb-net", 998_531, 41, 1_004_352),
        ("a-rdb-net", 1_441_283, 25, 1_446_720),
        ("rdb-net", 998_531, 23, 1_004_352),
        ("rb-net", 423_683, 11, 429_888),
        ("deep-rb-net", 1_088_387, 29, 1_093_440),
        ("sk-ahdrnet", 1_511_561, 48, 1_504_260),
        ("sk-ahdrnet-channel", 1_511_363, 45, 1_504_064),
        ("sk-ahdrnet-spatial", 1_220_169, 46, 1_225_732),
        ("kalantari", 383_909, 6, 383_650),
    ],
)
def test_size_reach_and_work_of_the_published_widths(
    name: str, count: int, radius: int, work: int
) -> None:
    with torch.device("meta"):
        network = build(name)
        frames = torch.empty(1, 3, 6, 32, 32)
    assert parameters(network) == count
    assert network.receptive_radius == radius
    assert multiply_adds(network, lambda: network(frames), 32 * 32) == work


def test_parameters_of_ahdrnet_layer_by_layer() -> None:
    w, g = 64, 32
    conv = lambda i, o, k=3: i * o * k * k + o  # noqa: E731
    attention = 2 * (conv(2 * w, 2 * w) + conv(2 * w, w))
    block = sum(conv(w + i * g, g) for i in range(6)) + conv(w + 6 * g, w, 1)
    tail = conv(3 * w, w, 1) + 2 * conv(w, w) + conv(w, 3)
    with torch.device("meta"):
        network = AHDRNet()
    assert parameters(network) == conv(6, w) + attention + conv(3 * w, w) + 3 * block + tail


@pytest.mark.parametrize("name", DIRECT)
def test_receptive_radius_is_exact(name: str) -> None:
    """A value that is no number spoils every output it reaches, and no other."""
    network = small(name, width=2).double()
    radius = network.receptive_radius
    size = 2 * radius + 5
    centre = size // 2
    frames = torch.rand(1, 3, 6, size, size, dtype=torch.float64)
    averages = _own_averages(network, frames)
    frames[..., centre, centre] = torch.nan
    spoilt = network(frames, **averages)[0].isnan()
    assert torch.equal(spoilt[0], spoilt[2])
    reached = spoilt[0].nonzero()
    assert reached.amin(dim=0).tolist() == [centre - radius] * 2
    assert reached.amax(dim=0).tolist() == [centre + radius] * 2


def test_the_gradient_reaches_as_far_as_the_receptive_radius() -> None:
    network = small("ahdrnet", width=2).double()
    for parameter in network.parameters():  # positive, so that no path dies in a ReLU
        parameter.data = torch.full_like(parameter.data, 1.0 / parameter[0].numel() / 2)
    frames = torch.rand(1, 3, 6, 91, 91, dtype=torch.float64, requires_grad=True)
    network(frames)[0, :, 45, 45].sum().backward()
    assert frames.grad is not None
    reached = frames.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    assert reached.amin(dim=0).tolist() == [45 - 43] * 2
    assert reached.amax(dim=0).tolist() == [45 + 43] * 2


def _own_averages(network: nn.Module, frames: Tensor) -> dict[str, Tensor]:
    if not network.averaged_channels:
        return {}
    return {"averages": network.averaged(frames).mean(dim=(-2, -1)).detach()}  # type: ignore[operator]


@pytest.mark.parametrize("name", DIRECT)
def test_output_lies_in_the_unit_interval_and_training_reaches_every_weight(name: str) -> None:
    network = small(name)
    output = network(torch.rand(2, 3, 6, 20, 24))
    assert output.shape == (2, 3, 20, 24)
    assert output.min() > 0 and output.max() < 1
    output.mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", ["ahdrnet", "sk-ahdrnet"])
def test_attention_maps_gate_the_other_frames(name: str) -> None:
    network = small(name)
    maps = network.attention_maps(torch.rand(1, 3, 6, 16, 16))
    assert list(maps) == ["short", "long"]
    assert all(m.shape == (1, 4, 16, 16) and m.min() > 0 and m.max() < 1 for m in maps.values())
    assert not torch.equal(maps["short"], maps["long"])
    assert small("drdb-net").attention_maps(torch.rand(1, 3, 6, 16, 16)) == {}


def test_the_weight_estimator_blends_what_the_frames_say() -> None:
    """Kalantari and Ramamoorthi 2017, eq. 6: the mean of the H, by weights of frame and colour."""
    network = small("kalantari")
    frames = torch.rand(1, 3, 6, 12, 12)
    output, h = network(frames), frames[:, :, 3:]
    assert (output >= h.amin(dim=1) - 1e-6).all() and (output <= h.amax(dim=1) + 1e-6).all()
    assert network.attention_maps(frames)["long"].shape == (1, 3, 12, 12)
    last = network.layers[-1]
    nn.init.zeros_(last.weight)
    with torch.no_grad():  # three colours of the reference alone are wanted
        last.bias.copy_(torch.tensor([-60.0] * 3 + [60.0] * 3 + [-60.0] * 3))
    torch.testing.assert_close(network(frames), h[:, 1], atol=3e-4, rtol=0)
    frames[:, :, 3:] = 0.25
    torch.testing.assert_close(network(frames), frames[:, 0, 3:])


def test_with_closed_gates_the_other_frames_do_not_count() -> None:
    network = small("ahdrnet")
    for gate in network.attention:
        nn.init.zeros_(gate.gate.weight)
        nn.init.constant_(gate.gate.bias, -1e4)
    frames = torch.rand(1, 3, 6, 16, 16)
    others = frames.clone()
    others[:, [0, 2]] = torch.rand(1, 2, 6, 16, 16)
    assert torch.equal(network(frames), network(others))


def test_handed_in_averages_replace_the_images_own() -> None:
    network = small("sk-ahdrnet")
    frames = torch.rand(1, 3, 6, 16, 16)
    own = network.averaged(frames).mean(dim=(-2, -1))
    assert own.shape == (1, network.averaged_channels)
    torch.testing.assert_close(network(frames, own), network(frames))
    assert not torch.allclose(network(frames, own + 3.0), network(frames), atol=1e-4)


def test_selective_kernel_weighs_its_branches_by_softmax() -> None:
    """With equal scores for both branches the result is their mean (Li et al. 2019, eq. 5)."""
    kernel = SelectiveKernel(8)
    for select in kernel.select:
        nn.init.zeros_(select.weight)
        nn.init.zeros_(select.bias)
    x = torch.rand(1, 8, 9, 9)
    first, second = kernel.branch_features(x)
    torch.testing.assert_close(kernel(x), (first + second) / 2)
    nn.init.constant_(kernel.select[1].bias, 50.0)
    torch.testing.assert_close(kernel(x), second)


def test_three_frames_are_needed() -> None:
    with pytest.raises(ValueError, match="three frames"):
        small("ahdrnet")(torch.rand(1, 2, 6, 8, 8))


def test_encoding_puts_the_shortest_frames_saturation_at_one() -> None:
    exposures = torch.tensor([[0.25, 1.0, 4.0]])
    linear = torch.full((1, 3, 3, 2, 2), 0.5)
    linear[0, 0] = 1.5  # beyond saturation, as a fine-scaled RAW may be
    pairs = encode_pairs(linear, exposures)
    assert pairs.shape == (1, 3, 6, 2, 2)
    torch.testing.assert_close(pairs[0, :, 0, 0, 0], torch.tensor([1.0, 0.5, 0.5]) ** (1 / 2.2))
    torch.testing.assert_close(pairs[0, :, 3, 0, 0], torch.tensor([1.0, 0.125, 0.03125]))


def test_encoding_and_decoding_give_the_scene_back() -> None:
    """Each unclipped frame's H, undone, is the radiance: reference saturation = 1."""
    radiance = torch.rand(1, 3, 5, 5) * 0.2
    exposures = torch.tensor([[2.0**-3, 1.0, 2.0**2]])
    linear = radiance[:, None] * exposures[..., None, None, None]
    pairs = encode_pairs(linear, exposures)
    for k in range(3):
        torch.testing.assert_close(decode_radiance(pairs[:, k, 3:], exposures), radiance)


def test_unknown_networks_and_configurations_are_refused() -> None:
    with pytest.raises(UsageError, match="no network 'unet'"):
        find_model("unet")
    with pytest.raises(WeightsError, match="does not know colour"):
        make_config("ahdrnet", {"colour": 3})
    for values in ({"width": 0}, {"width": 10**9}, {"layers": "six"}):
        with pytest.raises(WeightsError, match="makes no sense"):
            make_config("ahdrnet", values)
    with pytest.raises(WeightsError, match="makes no sense"):
        make_config("sk-ahdrnet", {"attention": "all"})


def test_variants_are_configurations_of_their_network() -> None:
    assert make_config("rdb-net") == AHDRNetConfig(attention=False, dilated=False)
    assert make_config("sk-ahdrnet-spatial", {"width": 8}) == SKAHDRNetConfig(
        width=8, attention="spatial"
    )
    assert is_direct("a-rdb-net") and not is_direct("decider")


def published_tensors(
    network: AHDRNet, *, prefix: str = "", bias: bool = True
) -> dict[str, Tensor]:
    """The network's weights under the published code's names, with the layers nothing uses."""
    ours = network.state_dict()
    names = {
        "encoder": "conv1",
        "attention.0.compare": "att11",
        "attention.0.gate": "att12",
        "attention.1.compare": "att31",
        "attention.1.gate": "att32",
        "merge.enter": "conv2",
        "merge.gather": "GFF_1x1",
        "merge.smooth": "GFF_3x3",
        "merge.leave": "conv_up",
        "merge.radiance": "conv3",
    }
    for block in range(3):
        names[f"merge.blocks.{block}.project"] = f"RDB{block + 1}.conv_1x1"
        for layer in range(6):
            names[f"merge.blocks.{block}.layers.{layer}"] = (
                f"RDB{block + 1}.dense_layers.{layer}.conv"
            )
    theirs = {
        f"{prefix}{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": tensor
        for key, tensor in ours.items()
        if bias or not key.endswith("project.bias")
    }
    width = network.config.width
    for unused in ("attConv1", "attConv3"):
        theirs[f"{prefix}{unused}.weight"] = torch.rand(width, width, 3, 3)
        theirs[f"{prefix}{unused}.bias"] = torch.rand(width)
    return theirs


@pytest.mark.parametrize("prefix", ["", "module."])
def test_published_layout_is_converted(prefix: str) -> None:
    network = small("ahdrnet", width=8, growth=4)
    config, tensors = from_published(published_tensors(network, prefix=prefix))
    assert config == network.config
    copy = AHDRNet(config)
    copy.load_state_dict(tensors, strict=True)
    frames = torch.rand(1, 3, 6, 16, 16)
    assert torch.equal(copy(frames), network(frames))


def test_published_layout_without_bias_in_the_projections() -> None:
    network = small("ahdrnet")
    for block in network.merge.blocks:
        nn.init.zeros_(block.project.bias)
    config, tensors = from_published(published_tensors(network, bias=False))
    copy = AHDRNet(config)
    copy.load_state_dict(tensors, strict=True)
    frames = torch.rand(1, 3, 6, 16, 16)
    assert torch.equal(copy(frames), network(frames))


def test_other_layouts_are_refused() -> None:
    tensors = published_tensors(small("ahdrnet"))
    with pytest.raises(WeightsError, match=r"csl1\.weight is unknown"):
        from_published({**tensors, "csl1.weight": torch.rand(3)})
    del tensors["GFF_3x3.weight"]
    with pytest.raises(WeightsError, match=r"merge\.smooth\.weight is missing"):
        from_published(tensors)
    with pytest.raises(WeightsError, match="not weights of AHDRNet"):
        from_published({})


def test_device_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert select_device("auto") == select_device("cpu") == torch.device("cpu")
    for name in ("cuda", "mps"):
        with pytest.raises(ResourceError, match=f"{name} is not available") as caught:
            select_device(name)
        assert caught.value.hint
    with pytest.raises(UsageError):
        select_device("tpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert select_device("auto") == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert select_device("auto") == torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["ahdrnet", "sk-ahdrnet"])
def test_cpu_and_gpu_agree(name: str) -> None:
    network = small(name, width=64, growth=32)
    frames = torch.rand(1, 3, 6, 128, 128)
    with torch.inference_mode():
        expected = network(frames)
        found = network.cuda()(frames.cuda()).cpu()
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)
