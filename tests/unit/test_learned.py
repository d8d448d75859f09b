"""From a stack to radiance or decisions through a network, with small random weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hdrmerge.config import MergeConfig
from hdrmerge.errors import ResourceError, StackError, UsageError, WeightsError
from hdrmerge.frames import CaptureSettings, Frame
from hdrmerge.fusion import learned
from hdrmerge.fusion.noise import estimate_noise
from hdrmerge.fusion.triple import choose_three, trained_steps
from hdrmerge.models.checkpoint import checkpoint_bytes
from hdrmerge.models.encoding import encode_pairs
from hdrmerge.models.registry import build, find_model
from hdrmerge.models.resolve import resolve_weights
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

SMALL = {"width": 8, "growth": 8, "layers": 2, "blocks": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def stack_of(stops: Sequence[float], reference: int, **frame: Any) -> ExposureStack:
    """A static bracket of one random scene, seen through the sRGB response."""
    rng = np.random.default_rng(0)
    scene = rng.uniform(0.0, 2.0, (40, 56, 3)).astype(np.float32)
    exposures = 2.0 ** (np.asarray(stops, np.float64) - stops[reference])
    response = Response.srgb()
    frames = []
    for k, exposure in enumerate(exposures):
        codes = response.encode(np.clip(scene * np.float32(exposure), 0, 1))
        pixels = np.rint(codes * 255).astype(np.uint8)
        settings = CaptureSettings(exposure_time=float(exposure))
        frames.append(Frame(pixels, "display", settings, Path(f"{k}.jpg"), **frame))
    eye = np.repeat(np.eye(3)[None], len(frames), axis=0)
    return ExposureStack(tuple(frames), exposures, response, reference, eye)


def weights_in(folder: Path, model: str = "ahdrnet", constant: float | None = None) -> Path:
    """Small random weights; with ``constant`` the network returns that value everywhere."""
    torch.manual_seed(5)
    network: Any = build(model, SMALL if find_model(model).direct else {})
    if constant is not None:
        torch.nn.init.zeros_(network.merge.radiance.weight)
        torch.nn.init.constant_(network.merge.radiance.bias, math.log(constant / (1 - constant)))
    path = folder / f"{model}.safetensors"
    path.write_bytes(checkpoint_bytes(model, network.config, network.state_dict()))
    return path


def options(model: str | None, weights: Path | None, **more: Any) -> MergeConfig:
    name = None if weights is None else str(weights)
    return MergeConfig(model=model, weights=name, device="cpu", **more)


@pytest.mark.parametrize("model", ["ahdrnet", "sk-ahdrnet"])
def test_reconstruct_is_the_network_on_the_encoded_frames(model: str, tmp_path: Path) -> None:
    stack = stack_of((-2, 0, 2), 1)
    path = weights_in(tmp_path, model)
    told: list[tuple[str, float]] = []
    radiance = learned.reconstruct(
        stack, options(model, path, tile=24), progress=lambda *step: told.append(step)
    )
    linear = torch.stack([torch.from_numpy(stack.linear(k)[0]).movedim(2, 0) for k in range(3)])
    network = build(model, SMALL)
    from safetensors.torch import load_file

    network.load_state_dict(load_file(path))
    with torch.inference_mode():
        output = network(encode_pairs(linear[None], torch.tensor([[0.25, 1.0, 4.0]])))
    expected = (output[0] * 4).movedim(0, 2).numpy()  # the shortest frame saturates at 4
    assert radiance.pixels.shape == (40, 56, 3) and radiance.pixels.dtype == np.float32
    np.testing.assert_allclose(radiance.pixels, expected, atol=4e-5)
    assert told[-1] == ("fuse", 1.0)


def test_radiance_is_in_units_of_the_references_saturation(tmp_path: Path) -> None:
    """A network that says "half the shortest frame's saturation", three stops below."""
    path = weights_in(tmp_path, constant=0.5)
    radiance = learned.reconstruct(stack_of((-3, 0, 2), 1), options("ahdrnet", path))
    np.testing.assert_allclose(radiance.pixels, 0.5 * 8, rtol=1e-5)


def test_the_network_sees_white_balanced_frames_and_clipped_white(tmp_path: Path) -> None:
    matrix = np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, -0.2, 1.2]])
    stack = stack_of((-2, 0, 2), 1, white_balance=(4.0, 2.0, 3.0), to_rec709=matrix)
    linear, exposures = learned._three_frames(stack, choose_three(stack))
    codes, _ = stack.linear(1)
    np.testing.assert_allclose(linear[0, 1, :, 5, 6], codes[5, 6] * [2.0, 1.0, 1.5], rtol=1e-6)
    clipped = torch.from_numpy(stack.linear(2)[0] == 1).all(dim=2)
    assert clipped.any()
    assert torch.all(encode_pairs(linear, exposures)[0, 2, :3, clipped] == 1)

    path = weights_in(tmp_path, constant=0.5)
    radiance = learned.reconstruct(stack, options("ahdrnet", path))
    expected = matrix @ np.full(3, 0.5 * 4 * 2.0)  # the smallest factor scales everything
    np.testing.assert_allclose(radiance.pixels[3, 4], expected, rtol=1e-5)


def test_beyond_a_frames_border_stands_what_the_reference_shows(tmp_path: Path) -> None:
    stack = stack_of((-2, 0, 2), 1)
    homographies = stack.homographies.copy()
    homographies[0, 0, 2] = 1000.0  # the short frame shows nothing of the reference's view
    away = stack.with_homographies(homographies)
    linear, exposures = learned._three_frames(away, choose_three(away))
    torch.testing.assert_close(linear[0, 0], linear[0, 1] * 0.25)
    assert exposures.tolist() == [[0.25, 1.0, 4.0]]


@pytest.mark.parametrize(
    ("stops", "reference", "chosen", "warned"),
    [
        ((-2, 0, 2), 1, (0, 1, 2), 0),
        ((-4, -2, 0, 2, 4), 2, (1, 2, 3), 0),
        ((-3, -2, -1, 0, 1, 2, 3), 3, (1, 3, 5), 0),
        ((-2.4, 0, 1.6), 1, (0, 1, 2), 0),
        ((-3, 0, 3), 1, (0, 1, 2), 2),
        ((-5, 0, 1), 1, (0, 1, 2), 2),
        ((0, 2, 4), 0, (1, 0, 2), 2),
        ((-4, -2, 0), 2, (0, 2, 1), 2),
    ],
)
def test_three_frames_are_chosen_around_the_reference(
    stops: tuple[float, ...], reference: int, chosen: tuple[int, int, int], warned: int
) -> None:
    triple = choose_three(stack_of(stops, reference))
    assert triple.frames == chosen
    assert len(triple.warnings) == warned


def test_weights_say_what_they_were_trained_on(tmp_path: Path) -> None:
    """Frames at the spacing of the training are chosen, and a narrow network says that it is."""
    network = build("ahdrnet", SMALL)
    path = tmp_path / "three.safetensors"
    about = {"stops": "-3,0,1"}
    path.write_bytes(checkpoint_bytes("ahdrnet", network.config, network.state_dict(), about))
    weights = resolve_weights(str(path), None)
    assert trained_steps(weights) == (3.0, 1.0) and trained_steps(None) == (2.0, 2.0)
    triple = choose_three(stack_of((-3, -2, -1, 0, 1, 2, 3), 3), weights)
    assert triple.frames == (0, 3, 4)
    assert [w for w in triple.warnings if "trained for" in w] == []
    assert "8 of the published 64" in triple.warnings[-1]
    triple = choose_three(stack_of((-2, 0, 2), 1), weights)
    assert [w.split(" is ")[0] for w in triple.warnings[:2]] == ["0.jpg", "2.jpg"]
    path.write_bytes(
        checkpoint_bytes("ahdrnet", network.config, network.state_dict(), {"stops": "some"})
    )
    assert trained_steps(resolve_weights(str(path), None)) == (2.0, 2.0)


def test_two_frames_are_too_few(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="three frames") as caught:
        learned.reconstruct(stack_of((0, 2), 0), options("ahdrnet", weights_in(tmp_path)))
    assert caught.value.hint


def test_a_network_without_weights_is_never_run() -> None:
    stack = stack_of((-2, 0, 2), 1)
    with pytest.raises(WeightsError, match="no weights 'absent'"):
        learned.reconstruct(stack, options("ahdrnet", Path("absent")))
    with pytest.raises(UsageError, match="no network"):
        learned.reconstruct(stack, options("unet", None))


def test_a_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = MergeConfig(model="ahdrnet", weights=str(weights_in(tmp_path)), device="cuda")
    with pytest.raises(ResourceError, match="cuda is not available"):
        learned.reconstruct(stack_of((-2, 0, 2), 1), config)


def test_attention_maps_are_pictures(tmp_path: Path) -> None:
    config = options("sk-ahdrnet", weights_in(tmp_path, "sk-ahdrnet"), tile=24)
    maps = learned.attention_maps(stack_of((-2, 0, 2), 1), config)
    assert list(maps) == ["short", "long"]
    assert all(m.shape == (40, 56) and 0 <= m.min() < m.max() <= 1 for m in maps.values())


@pytest.mark.parametrize(("stops", "reference"), [((0, 3), 0), ((-4, -2, 0, 2, 4), 2)])
def test_decide_takes_any_bracket(stops: tuple[float, ...], reference: int, tmp_path: Path) -> None:
    stack = stack_of(stops, reference)
    config = options(None, weights_in(tmp_path, "decider"))
    decisions = learned.decide(stack, config, estimate_noise(stack))
    assert decisions.trust.shape == (len(stops), 40, 56)
    assert decisions.trust.dtype == np.float32
    assert decisions.trust.min() >= 0 and decisions.trust.max() <= 1
    assert np.all(decisions.trust[reference] == 1)
    assert decisions.fill is not None and decisions.fill.shape == (40, 56, 3)
    assert decisions.fill_weight is not None and decisions.fill_weight.shape == (40, 56)


def test_decide_works_on_the_proxy(tmp_path: Path) -> None:
    stack = stack_of((-2, 0, 2), 1)
    config = options("decider", weights_in(tmp_path, "decider"), proxy_pixels=20 * 28)
    assert learned.decide(stack, config, estimate_noise(stack)).trust.shape == (3, 20, 28)


def test_a_direct_network_decides_nothing(tmp_path: Path) -> None:
    stack = stack_of((-2, 0, 2), 1)
    with pytest.raises(WeightsError, match="decides nothing") as caught:
        learned.decide(stack, options(None, weights_in(tmp_path)), estimate_noise(stack))
    assert "--model ahdrnet" in (caught.value.hint or "")
