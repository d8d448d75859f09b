"""The decision network: what it promises whatever its weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from hdrmerge.frames import CaptureSettings, Decisions, Frame  # noqa: E402
from hdrmerge.fusion.noise import NoiseModel  # noqa: E402
from hdrmerge.fusion.radiometric import fuse, unclipped  # noqa: E402
from hdrmerge.models import decider, fill  # noqa: E402
from hdrmerge.models.bracket import Bracket, bracket_of, evidence  # noqa: E402
from hdrmerge.models.decider import Decider, DeciderConfig  # noqa: E402
from hdrmerge.response import Response  # noqa: E402
from hdrmerge.stack import ExposureStack  # noqa: E402

SMALL = DeciderConfig(widths=(8, 8, 8, 8), search=2, descriptor=8, fill=8)


def stack_of(stops: list[float], shape: tuple[int, int] = (37, 52), seed: int = 3) -> ExposureStack:
    """A noisy bracket of a soft scene of several stops, aligned, as linear float frames."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-5, 1.5, (6, 8, 3)).astype(np.float32)
    rows = np.linspace(0, 5, shape[0]).astype(int)
    columns = np.linspace(0, 7, shape[1]).astype(int)
    radiance = np.exp2(coarse[rows][:, columns])
    frames = []
    for k, stop in enumerate(stops):
        x = radiance * np.float32(2.0**stop)
        x = x + 0.01 * rng.standard_normal(x.shape).astype(np.float32)
        frame = Frame(np.clip(x, 0, 1), "linear", CaptureSettings(), Path(f"{k}.tif"))
        frames.append(frame)
    return ExposureStack(
        frames=tuple(frames),
        exposures=np.exp2(np.asarray(stops)),
        response=Response.linear(),
        reference=stops.index(0.0),
        homographies=np.repeat(np.eye(3)[None], len(stops), axis=0),
    )


def noise_of(stack: ExposureStack) -> NoiseModel:
    n = len(stack)
    return NoiseModel(
        read=np.full(n, 1e-5),
        gain=np.full(n, 1e-4),
        curve=1e-6,
        step=1e-6,
        pixels=stack.shape[0] * stack.shape[1],
    )


def bracket(stops: list[float], shape: tuple[int, int] = (37, 52)) -> Bracket:
    stack = stack_of(stops, shape)
    return bracket_of(stack, noise_of(stack), unclipped)


def network(config: DeciderConfig = SMALL) -> Decider:
    torch.manual_seed(0)
    net = Decider(config).eval().requires_grad_(False)
    for parameter in net.parameters():  # the last layers start at nothing; here they must matter
        parameter.add_(0.05 * torch.randn_like(parameter))
    return net


def test_the_default_is_small() -> None:
    count = sum(p.numel() for p in Decider().parameters())
    assert 300_000 < count < 450_000


@pytest.mark.parametrize(
    "stops", [[0.0, 3.0], [-5.0, 0.0, 1.0], [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0], [-4.0, 0.0]]
)
def test_any_number_of_frames_any_spacing_any_size(stops: list[float]) -> None:
    given = bracket(stops)
    decision = network()(given)
    n, reference = len(stops), stops.index(0.0)
    assert decision.trust.shape == (1, n, 37, 52)
    assert decision.fill.shape == (1, 3, 37, 52)
    assert decision.fill_weight.shape == (1, 37, 52)
    assert bool((decision.trust[:, reference] == 1).all())
    for values in (decision.trust, decision.fill_weight):
        assert float(values.min()) >= 0 and float(values.max()) <= 1
    own = given.linear[:, reference]
    assert bool((decision.fill >= own - 1e-6).all())
    assert bool(torch.isfinite(decision.fill).all())


def test_the_order_of_the_frames_changes_nothing() -> None:
    given = bracket([-3.0, -1.0, 0.0, 2.0])
    order = [2, 0, 3, 1]
    shuffled = given._replace(
        **{
            name: getattr(given, name)[:, order]
            for name in ("linear", "valid", "usable", "exposures", "read", "gain")
        },
        reference=torch.tensor([order.index(2)]),
    )
    net = network()
    straight, mixed = net(given), net(shuffled)
    torch.testing.assert_close(mixed.trust, straight.trust[:, order], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mixed.fill, straight.fill, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        decider.compose(shuffled, mixed), decider.compose(given, straight), atol=1e-4, rtol=1e-4
    )


def test_what_a_prior_rejects_is_rejected() -> None:
    given = bracket([-3.0, 0.0, 3.0])
    prior = torch.rand(1, 3, 37, 52)
    prior[:, 1] = 1.0
    net = network()
    alone, together = net(given), net(given, prior)
    torch.testing.assert_close(together.trust, alone.trust * prior)


def test_brackets_of_a_batch_do_not_meet() -> None:
    one, other = bracket([-3.0, 0.0, 3.0]), bracket([0.0, 2.0, 4.0])
    both = Bracket(*(torch.cat(pair) for pair in zip(one, other, strict=True)))
    net = network()
    together = net(both)
    for i, alone in enumerate((one, other)):
        torch.testing.assert_close(together.trust[i], net(alone).trust[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(together.fill[i], net(alone).fill[0], atol=1e-4, rtol=1e-4)


def test_the_merge_is_the_merge() -> None:
    stack = stack_of([-3.0, 0.0, 2.0], (48, 64))
    noise = noise_of(stack)
    given = bracket_of(stack, noise, unclipped)
    torch.manual_seed(1)
    trust = torch.rand(1, 3, 48, 64)
    trust[:, stack.reference] = 1.0
    fill = 4.0 * torch.rand(1, 3, 48, 64)
    weight = torch.rand(1, 48, 64)
    nothing = torch.zeros(0)
    decision = decider.Decision(trust, trust, fill, weight, nothing, nothing)
    expected = fuse(
        stack,
        Decisions(trust[0].numpy(), fill[0].movedim(0, -1).numpy(), weight[0].numpy()),
        noise,
    ).radiance.pixels
    found = decider.compose(given, decision)[0].movedim(0, -1).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_equal_frames_differ_by_nothing() -> None:
    given = bracket([-2.0, 0.0])
    same = given._replace(
        linear=given.linear[:, [1, 1]],
        usable=given.usable[:, [1, 1]],
        exposures=torch.ones(1, 2),
        reference=torch.tensor([1]),
    )
    seen, pooled = evidence(same)
    assert float(seen[:, :, 3:7].abs().max()) == 0
    assert all(float(z.abs().max()) == 0 for z in pooled)


def test_a_clipped_value_says_only_at_least() -> None:
    """The reference clips; a shorter frame may show anything brighter, but nothing darker."""
    given = bracket([-3.0, 0.0])
    linear = torch.ones_like(given.linear)
    for short, differs in ((0.9, False), (0.05, True)):
        linear[:, 0] = short  # radiance 7.2 and 0.4 where the reference says >= 1
        seen, _ = evidence(given._replace(linear=linear))
        assert bool((seen[:, 0, 3:6] < -0.1).all()) == differs
        assert bool((seen[:, 0, 3:6] == 0).all()) == (not differs)


def test_the_search_is_a_correlation() -> None:
    net = network()
    torch.manual_seed(2)
    query, keys = torch.randn(2, 8, 37, 9), torch.randn(2, 8, 37, 9)
    padded = F.pad(keys, (2, 2, 2, 2))
    expected = torch.stack(
        [
            (query * padded[:, :, dy : dy + 37, dx : dx + 9]).sum(1)
            for dy in range(5)
            for dx in range(5)
        ],
        1,
    ) * torch.exp(net.sharpness)
    torch.testing.assert_close(net._search(query, keys), expected, atol=1e-3, rtol=1e-4)


def test_a_displacement_is_found_and_undone() -> None:
    reach, height, width = 3, 6, 8
    side = 2 * reach + 1
    scores = torch.full((1, side * side, height, width), -30.0)
    scores[:, (reach - 1) * side + reach + 2] = 10.0  # two cells right, one up
    flow, sure = fill.displacement(scores, reach)
    assert torch.allclose(flow[:, 0], torch.tensor(2.0), atol=1e-3)
    assert torch.allclose(flow[:, 1], torch.tensor(-1.0), atol=1e-3)
    assert float(sure.min()) > 0.99
    image = torch.rand(1, 3, 8 * height, 8 * width)
    moved = fill.warp(image, flow)
    torch.testing.assert_close(
        moved[..., 8:, : 8 * width - 16], image[..., :-8, 16:], atol=1e-4, rtol=1e-4
    )


def test_holes_are_filled_from_around() -> None:
    """The reference clips everywhere; a shorter frame knows, but for a place it is not trusted."""
    linear = torch.ones(1, 2, 3, 64, 96)
    linear[:, 0] = 0.5  # radiance 4
    linear[:, 0, :, 24:40, 32:64] = 0.001
    trust = torch.ones(1, 2, 64, 96)
    trust[:, 0, 24:40, 32:64] = 0.0
    given = bracket([-3.0, 0.0], (64, 96))._replace(
        linear=linear, usable=(linear[:, :, :1] < 1).float()
    )
    stops = fill.spread(given, trust)
    assert stops.shape == (1, 3, 16, 24)
    assert torch.allclose(stops, torch.tensor(2.0), atol=0.02)


def test_frames_to_borrow_from() -> None:
    def sources(stops: list[float]) -> list[int]:
        return fill.choose_sources(bracket(stops))[0].tolist()

    assert sources([-3.0, 0.0, 3.0]) == [0, 1]  # the one shorter frame; the reference: no other
    assert sources([-4.0, -3.0, -2.0, -1.0, 0.0]) == [0, 2]
    assert sources([0.0, 3.0]) == [0, 0]
