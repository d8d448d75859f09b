"""Refining: noise leaves where frames were rejected, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from hdrmerge.config import MergeConfig
from hdrmerge.errors import UsageError, WeightsError
from hdrmerge.frames import CaptureSettings, Decisions, FloatArray, Frame
from hdrmerge.fusion import refine, refine_inputs
from hdrmerge.fusion.noise import NoiseModel, estimate_noise
from hdrmerge.fusion.radiometric import fuse
from hdrmerge.models.checkpoint import load_network
from hdrmerge.models.manifest import shipped
from hdrmerge.models.portable import load_portable
from hdrmerge.models.refiner import INPUTS, OUTPUTS, Refiner, RefinerConfig, limited
from hdrmerge.response import Response
from hdrmerge.stack import ExposureStack

HEIGHT, WIDTH = 150, 220
STOPS = (-3.0, 0.0, 3.0)


def scene() -> FloatArray:
    """A smooth dark gradient with an edge in it, (H, W, 3)."""
    x = np.linspace(0, 1, WIDTH)[None, :, None]
    y = np.linspace(0, 1, HEIGHT)[:, None, None]
    base = 0.01 + 0.04 * x * (1 + 0.3 * np.sin(9 * y)) * np.array([0.9, 1.0, 1.1])
    base[:, WIDTH // 2 :] *= 1.8
    return base.astype(np.float32)


def bracket() -> tuple[ExposureStack, NoiseModel]:
    rng = np.random.default_rng(3)
    frames = []
    for stop in STOPS:
        exposure = scene() * np.float32(2.0**stop)
        noisy = (rng.poisson(exposure * 1500) + rng.normal(0, 4, exposure.shape)) / 1500
        codes = np.rint(Response.srgb().encode(np.clip(noisy, 0, 1).astype(np.float32)) * 255)
        frame = Frame(codes.astype(np.uint8), "display", CaptureSettings(), Path(f"{stop}.png"))
        frames.append(frame)
    eye = np.repeat(np.eye(3)[None], len(frames), axis=0)
    stack = ExposureStack(tuple(frames), 2.0 ** np.array(STOPS), Response.srgb(), 1, eye)
    return stack, estimate_noise(stack)


def rejecting(rows: slice, columns: slice) -> Decisions:
    trust = np.ones((3, HEIGHT, WIDTH), np.float32)
    trust[0, rows, columns] = trust[2, rows, columns] = 0
    return Decisions(trust)


def portable() -> Callable[[FloatArray], FloatArray]:
    manifest = shipped()
    entry = manifest.for_model("refiner")
    path = manifest.portable(entry) if entry is not None else None
    assert path is not None
    return load_portable(path)


def drawn() -> Callable[[FloatArray], FloatArray]:
    """A refiner of random weights that does something."""
    torch.manual_seed(0)
    network = Refiner(RefinerConfig((8, 8, 8))).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.12)

    def run(x: FloatArray) -> FloatArray:
        with torch.inference_mode():
            return np.asarray(network.within(torch.from_numpy(x)[None])[0].numpy())

    return run


def test_what_every_frame_agrees_on_is_not_touched() -> None:
    stack, noise = bracket()
    decisions = rejecting(slice(40, 90), slice(50, 130))
    merged = fuse(stack, decisions, noise).radiance.pixels
    refined = merged.copy()
    share = refine.refine(refined, decisions, stack, noise, drawn())
    changed = (refined != merged).any(axis=2)
    assert 0.9 * 4000 < changed.sum() < 1.1 * 4000
    assert share == pytest.approx(4000 / merged[..., 0].size, rel=0.1)
    outside = np.ones((HEIGHT, WIDTH), bool)
    outside[38:92, 48:132] = False
    assert not changed[outside].any()


def test_all_trusted_means_no_work() -> None:
    stack, noise = bracket()
    decisions = Decisions(np.ones((3, HEIGHT, WIDTH), np.float32))

    def never(_: Any) -> Any:
        raise AssertionError("nothing is to be refined")

    merged = fuse(stack, decisions, noise).radiance.pixels
    assert refine.refine(merged.copy(), decisions, stack, noise, never) == 0


def test_the_shipped_network_takes_noise_out() -> None:
    stack, noise = bracket()
    place = (slice(30, 120), slice(40, 180))
    decisions = rejecting(*place)
    merged = fuse(stack, decisions, noise).radiance.pixels
    refined = merged.copy()
    refine.refine(refined, decisions, stack, noise, portable())
    before, after = (float(np.square((x - scene())[place]).mean()) for x in (merged, refined))
    assert after < before / 4  # 6 dB on a smooth scene
    mean = refined[place].mean(axis=(0, 1)) / merged[place].mean(axis=(0, 1))
    np.testing.assert_allclose(mean, 1, atol=0.02)


def test_no_value_moves_further_than_its_noise_allows() -> None:
    stack, noise = bracket()
    decisions = rejecting(slice(0, HEIGHT), slice(0, WIDTH))
    merged = fuse(stack, decisions, noise).radiance.pixels
    refined = merged.copy()
    refine.refine(refined, decisions, stack, noise, lambda x: np.full_like(x[:48, 33:, 33:], 9))
    model = float(noise.read[1]), float(noise.gain[1]), noise.curve
    most = 4 * refine_inputs.reference_noise(merged, *model)
    assert np.all(np.abs(refined - merged) <= most * 1.0001)


@pytest.mark.parametrize("tile", [64, 96, 200])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    stack, noise = bracket()
    decisions = rejecting(slice(5, 140), slice(0, 200))
    merged = fuse(stack, decisions, noise).radiance.pixels
    results = []
    for side in (tile, 400):
        monkeypatch.setattr(refine, "TILE", side)
        refined = merged.copy()
        refine.refine(refined, decisions, stack, noise, drawn())
        results.append(refined)
    assert np.abs(results[1] - merged).max() > 1e-3
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_half_floats_are_refined_like_floats() -> None:
    stack, noise = bracket()
    decisions = rejecting(slice(30, 120), slice(40, 180))
    merged = fuse(stack, decisions, noise).radiance.pixels
    whole, half = merged.copy(), merged.astype(np.float16)
    for picture in (whole, half):
        refine.refine(picture, decisions, stack, noise, drawn())
    np.testing.assert_allclose(half, whole, rtol=5e-3, atol=1e-4)


def test_sensor_colours_are_refined_as_the_sensor_saw_them() -> None:
    """White balance and matrix, undone and redone, change nothing but rounding."""
    stack, noise = bracket()
    decisions = rejecting(slice(30, 120), slice(40, 180))
    plain = fuse(stack, decisions, noise).radiance.pixels
    matrix = np.array([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]])
    balance = (2.0, 1.0, 1.5)
    coloured = SimpleNamespace(
        shape=stack.shape,
        reference=stack.reference,
        exposures=stack.exposures,
        frames=[SimpleNamespace(white_balance=balance, to_rec709=matrix)] * 3,
    )
    seen = ((plain * np.float32(balance)) @ matrix.T).astype(np.float32)
    refine.refine(seen, decisions, coloured, noise, drawn())  # type: ignore[arg-type]
    refine.refine(plain, decisions, stack, noise, drawn())
    expected = np.maximum((plain * np.float32(balance)) @ matrix.T, 0)
    np.testing.assert_allclose(seen, expected, atol=2e-3)


MODELS = [(4e-6, 1 / 1500, 1e-5), (1e-6, 1 / 8000, 0.0), (1e-5, 1 / 500, 2e-3)]


def in_doubles(x: FloatArray, model: tuple[float, float, float]) -> list[Any]:
    """What the network is shown of ``x`` (H, W, 3), plainly: planes, level last."""
    import cv2

    read, gain, curve = model
    c = max(curve, 0.01 * gain)
    known = np.clip(x.astype(np.float64), 0, 1)
    sigma = np.sqrt(read + gain * known + c * known**2)
    start = 2 * np.sqrt(c * read) + gain
    z = np.log((2 * np.sqrt(c) * sigma + 2 * c * known + gain) / start) / np.sqrt(c)
    planes: list[Any] = []
    for size in (3, 5, 13):
        smooth = cv2.blur(z, (size, size))
        planes += [np.arcsinh((z - smooth)[..., i] / 2) for i in range(3)]
        z = smooth
    level = np.maximum(cv2.blur(known, (17, 17)), 0) ** (1 / 2.2)
    return planes + [level[..., i] for i in range(3)]


@pytest.mark.parametrize("model", MODELS)
def test_inputs_are_what_the_network_has_learned_from(model: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(5)
    x = (1.3 * rng.random((64, 90, 3)) ** 4 - 0.02).astype(np.float32)
    x[10:20, 10:20] = 0
    left = rng.random((64, 90)).astype(np.float32)
    got = refine_inputs.inputs(x, left, model)
    np.testing.assert_allclose(got[:12], in_doubles(x, model), atol=1e-4)
    np.testing.assert_array_equal(got[12], left)


def test_the_detail_that_is_kept_is_what_is_shown() -> None:
    rng = np.random.default_rng(6)
    planes = rng.random((3, 18 + 60, 18 + 80)).astype(np.float32)
    left = np.ones((78, 98), np.float32)
    seen, bands = refine_inputs.shown(planes, left, MODELS[0], (8, 12, 40, 48))
    expected = np.arcsinh(refine_inputs.unfold(bands) / 2)
    np.testing.assert_allclose(
        refine_inputs.unfold(seen)[:9, 8:48, 12:60], expected, rtol=1e-6, atol=1e-6
    )


def test_detail_of_noise_has_a_deviation_of_one() -> None:
    read, gain, curve = 4e-6, 1 / 1500, 1e-5
    rng = np.random.default_rng(1)
    for level in (0.02, 0.1, 0.5):
        sigma = float(np.sqrt(read + gain * level + curve * level**2))
        x = (level + sigma * rng.standard_normal((120, 120, 3))).astype(np.float32)
        shown = refine_inputs.inputs(x, np.ones(x.shape[:2], np.float32), (read, gain, curve))
        detail = 2 * np.sinh(shown[:9])
        # what one of nine pixels is more than their mean has 8/9 of the variance
        assert detail[:3].std() == pytest.approx((8 / 9) ** 0.5, abs=0.05)
        assert detail[:9].reshape(3, 3, *x.shape[:2]).sum(axis=0).std() == pytest.approx(
            1, abs=0.05
        )


def test_logarithms_and_powers_are_exact_enough() -> None:
    from hdrmerge.fusion.refine_inputs_loops import encoded
    from hdrmerge.fusion.refine_loops import sigmoid
    from hdrmerge.powers_loops import log2

    x = np.float32(10) ** np.linspace(-20, 20, 4001, dtype=np.float32)
    got = np.array([log2(value) for value in x])
    expected = np.log2(x.astype(np.float64))
    np.testing.assert_allclose(got, expected, rtol=2e-7, atol=3e-7)
    x = np.concatenate([[0], np.float32(10) ** np.linspace(-7, 0, 2001)]).astype(np.float32)
    got = np.array([encoded(value) for value in x])
    np.testing.assert_allclose(got, x.astype(np.float64) ** (1 / 2.2), atol=1e-6)
    x = np.linspace(-200, 200, 4001, dtype=np.float32)
    got = np.array([sigmoid(value) for value in x])
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-x.astype(np.float64))), atol=1e-6)


def test_noise_is_taken_out_where_cells_are_chosen() -> None:
    from hdrmerge.fusion import refine_loops

    rng = np.random.default_rng(8)
    found = (4 * rng.standard_normal((48, 12, 16))).astype(np.float32)
    bands = rng.standard_normal((36, 12, 16)).astype(np.float32)
    planes = rng.random((3, 30, 40)).astype(np.float32)
    share = (rng.random((30, 40)) - 0.3).clip(0).astype(np.float32)
    cells = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]], np.uint8)
    model = [np.float32(value) for value in MODELS[0]]
    clean, used = np.zeros((21, 30, 3), np.float32), np.zeros((21, 30), np.uint8)  # cut by a border
    start = np.array([4, 5])
    count = refine_loops.take_out(
        found, bands, planes, share, start, cells, 8, model[0], model[1], model[2], clean, used
    )
    limits = limited(torch.from_numpy(found)[None])[0].numpy()
    noise = refine_inputs.noise_in(refine_inputs.unfold(bands), refine_inputs.unfold(limits))
    own = planes[:, 4:25, 5:35]
    part = share[4:25, 5:35] * np.kron(cells, np.ones((8, 8)))[:21, :30]
    sigma = refine_inputs.reference_noise(own, *MODELS[0])
    expected = own - np.clip(noise, -4, 4)[:, :21, :30] * sigma * part
    np.testing.assert_allclose(clean, expected.transpose(1, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(used, part > 0)
    assert count == (part > 0).sum()


def test_what_is_left_of_noise_follows_trust_and_clipping() -> None:
    """Weights are worked out in doubles, trust is the picture's own size."""
    stack, noise = bracket()
    rng = np.random.default_rng(7)
    trust = (rng.random((3, HEIGHT, WIDTH)) ** 4).astype(np.float32)
    trust[1] = 1
    x = (1.2 * rng.random((3, HEIGHT, WIDTH)) ** 3).astype(np.float32)
    merge = refine._Merge(x.transpose(1, 2, 0), Decisions(trust), stack, noise)
    left, share = merge.weigh(x, np.arange(HEIGHT), np.arange(WIDTH))
    peak, mean = x.max(axis=0).astype(np.float64), x.mean(axis=0, dtype=np.float64)
    weights = []
    for k, t in enumerate(stack.exposures):
        linear = np.clip(np.clip(mean, 0, 1) * t, 0, 1)
        variance = noise.read[k] + noise.gain[k] * linear + noise.curve * linear**2
        weights.append(np.clip((0.97 - peak * t) / 0.07, 1e-4, 1) * t**2 / variance)
    some = sum(w * np.where(t < 0.05, 0, t) for w, t in zip(weights, trust, strict=True))
    expected = np.minimum(np.sqrt(weights[1] / some), 1)
    np.testing.assert_allclose(left, expected, atol=1e-3)  # nearly clipped: what singles resolve
    assert np.abs(left - expected).mean() < 1e-6
    noisier = np.sqrt(sum(weights) / some).astype(np.float32)
    expected = refine_inputs.amount(np.ascontiguousarray(x.transpose(1, 2, 0)), noisier)
    assert 0.05 < expected.mean() < 0.9  # some are, some are not, some partly
    np.testing.assert_allclose(share, expected, atol=1e-3)


def test_trust_is_looked_up_between_the_pixels_of_the_proxy() -> None:
    """A proxy that rises evenly is looked up as a plane, whatever its size; beside it, its edge."""
    at = np.arange(300)
    before, on = refine._between(at, 100, 300)
    expected = np.clip((at + 0.5) / 3 - 0.5, 0, 99)
    np.testing.assert_allclose(before + on, expected, atol=1e-5)
    assert before.min() == 0 and before.max() <= 99 and on.min() >= 0


def test_portable_equals_torch() -> None:
    manifest = shipped()
    entry = manifest.for_model("refiner")
    assert entry is not None
    network = load_network(manifest.path(entry))
    assert isinstance(network, Refiner)
    x = np.random.default_rng(2).standard_normal((4 * INPUTS, 65, 97)).astype(np.float32)
    with torch.inference_mode():
        expected = network.within(torch.from_numpy(x)[None])[0].numpy()
    assert expected.shape == (4 * OUTPUTS, 32, 64)
    np.testing.assert_allclose(portable()(x), expected, atol=1e-4)


def test_within_is_the_part_that_sees_no_border() -> None:
    """The network was trained with borders padded; cells lie on its coarsest grid."""
    network = Refiner(RefinerConfig((8, 8, 8))).eval()
    whole = torch.from_numpy(
        np.random.default_rng(3).standard_normal((1, INPUTS, 160, 192)).astype(np.float32)
    )
    before, after = refine.BEFORE, refine.AFTER
    first, last = 48, 160  # a place
    part = whole[..., first - before : 112 + after, first - before : last + after]
    with torch.inference_mode():
        expected = network(whole)[..., first:112, first:last]
        folded = limited(network.within(torch.nn.functional.pixel_unshuffle(part, 2)))
        got = torch.nn.functional.pixel_shuffle(folded, 2)
    np.testing.assert_allclose(got.numpy(), expected.numpy(), atol=1e-6)


def test_unfolding_is_torchs() -> None:
    x = np.random.default_rng(0).standard_normal((12, 4, 6)).astype(np.float32)
    expected = torch.nn.functional.pixel_shuffle(torch.from_numpy(x)[None], 2)[0].numpy()
    np.testing.assert_array_equal(refine_inputs.unfold(x), expected)


def test_a_broken_portable_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no network")
    with pytest.raises(WeightsError, match=r"x\.onnx"):
        load_portable(tmp_path / "x.onnx")


def test_config_refines_by_default() -> None:
    assert MergeConfig().refine


def tiny_run(folder: Path) -> Any:
    """A configuration of a training of seconds, on a scene written into ``folder``."""
    from hdrmerge.frames import RadianceMap
    from hdrmerge.io import write_exr
    from hdrmerge.training.noise_patches import NoiseConfig
    from hdrmerge.training.refine import RefineConfig

    rng = np.random.default_rng(4)
    for name in ("a", "b"):
        pixels = np.exp(rng.normal(0, 0.4, (120, 160, 3)) + 2 * scene()[:120, :160] * 20)
        write_exr(folder / f"{name}.exr", RadianceMap(pixels.astype(np.float32)), float32=True)
    return RefineConfig(
        network="refiner",
        scenes=str(folder),
        pool=6,
        steps=4,
        batch=2,
        validate_every=4,
        validation_patches=2,
        precision="fp32",
        data=NoiseConfig(patch=32),
        model=RefinerConfig((8, 8, 8)),
    )


def test_training_resumes_bit_for_bit(tmp_path: Path) -> None:
    import dataclasses

    from hdrmerge.training.refine import WEIGHTS, train_refiner

    (tmp_path / "scenes").mkdir()
    config = tiny_run(tmp_path / "scenes")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        train_refiner(config, tmp_path / "whole")

        def stop(step: int, parts: dict[str, float]) -> None:
            if step == 2:
                raise KeyboardInterrupt

        often = dataclasses.replace(config, save_minutes=0.0)
        with pytest.raises(KeyboardInterrupt):
            train_refiner(often, tmp_path / "cut", tell=stop)
        train_refiner(often, tmp_path / "cut", resume=True)
    finally:
        torch.set_num_threads(threads)
    files = [(tmp_path / run / WEIGHTS).read_bytes() for run in ("whole", "cut")]
    assert files[0] == files[1]
    assert len((tmp_path / "whole" / "curves.csv").read_text().splitlines()) == 5


@pytest.mark.slow
def test_the_recipe_learns_in_a_hundred_steps(tmp_path: Path) -> None:
    import dataclasses

    from hdrmerge.training.noise_patches import NoiseConfig
    from hdrmerge.training.refine import train_refiner

    (tmp_path / "scenes").mkdir()
    config = dataclasses.replace(
        tiny_run(tmp_path / "scenes"),
        pool=40,
        steps=100,
        batch=4,
        validate_every=100,
        validation_patches=8,
        data=NoiseConfig(patch=64),
    )
    tables: list[dict[str, float]] = []
    train_refiner(config, tmp_path / "run", scored=lambda step, table: tables.append(table))
    assert tables[-1]["gain in mu-law"] > 0.5


def test_an_unknown_optimiser_is_said(tmp_path: Path) -> None:
    from hdrmerge.training.refine import read_refine_config

    path = tmp_path / "refiner.toml"
    path.write_text(f'network = "refiner"\nscenes = "{tmp_path}"\noptimizer = "magic"\n')
    with pytest.raises(UsageError, match=r"refiner\.toml: optimizer must be one of adamw, muon"):
        read_refine_config(path)
