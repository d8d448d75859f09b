"""The Muon optimiser: what its steps are, and that a saved one goes on as if never stopped."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from hdrmerge.training.muon import SCALE, Muon, orthogonalise  # noqa: E402


@pytest.mark.parametrize("shape", [(16, 144), (64, 9), (12, 12)])
def test_orthogonalised_matrices_keep_their_directions(shape: tuple[int, int]) -> None:
    """Singular vectors stay, singular values that differ by a factor of 100 all become about 1."""
    torch.manual_seed(1)
    rank = min(shape)
    left, _ = torch.linalg.qr(torch.randn(shape[0], rank))
    right, _ = torch.linalg.qr(torch.randn(shape[1], rank))
    values = torch.logspace(0, -2, rank)
    found = left.T @ orthogonalise(left @ torch.diag(values) @ right.T) @ right
    diagonal = found.diagonal()
    assert diagonal.min() > 0.5 and diagonal.max() < 1.3
    assert (found - torch.diag(diagonal)).abs().max() < 1e-3


def test_a_step_is_as_long_as_one_of_adam() -> None:
    """Root mean square of a convolution's step: about 0.2 of the rate, whatever the gradient."""
    for size in (1e-4, 1e3):
        torch.manual_seed(2)
        weight = torch.nn.Parameter(torch.zeros(16, 8, 3, 3))
        optimizer = Muon([weight], lr=0.01)
        weight.grad = size * torch.randn_like(weight)
        optimizer.step()
        rms = float(weight.detach().square().mean().sqrt())
        assert rms == pytest.approx(0.01 * SCALE, rel=0.2)
        assert float((weight.detach() * weight.grad).sum()) < 0


def test_biases_are_stepped_as_adamw_does() -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    pair = Muon([ours], 0.01, 0.1), torch.optim.AdamW([theirs], 0.01, weight_decay=0.1)
    rng = torch.Generator().manual_seed(3)
    for _ in range(20):
        gradient = torch.randn(5, generator=rng)
        for parameter, optimizer in zip((ours, theirs), pair, strict=True):
            parameter.grad = gradient.clone()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


def test_a_badly_scaled_problem_is_solved_in_few_steps() -> None:
    """Least squares whose curvatures differ by 1,000: gradient descent would need thousands."""
    torch.manual_seed(4)
    target = torch.randn(6, 10)
    scale = torch.logspace(0, -1.5, 10)

    def loss_after(optimizer: Any, weight: Any) -> float:
        for step in range(200):
            for group in optimizer.param_groups:
                group["lr"] = 0.3 * (1 - step / 200)
            optimizer.zero_grad()
            loss = ((weight - target) * scale).square().sum()
            loss.backward()
            optimizer.step()
        return math.sqrt(float((weight.detach() - target).square().mean()))

    weight = torch.nn.Parameter(torch.zeros(6, 10))
    assert loss_after(Muon([weight], lr=0.3), weight) < 0.05
    plain = torch.nn.Parameter(torch.zeros(6, 10))
    assert loss_after(torch.optim.SGD([plain], lr=0.3), plain) > 0.3


def test_a_saved_state_goes_on_bit_for_bit() -> None:
    def start() -> tuple[Any, Any]:
        torch.manual_seed(5)
        layer = torch.nn.Conv2d(3, 4, 3)
        return layer, Muon(layer.parameters(), lr=0.02, weight_decay=0.01)

    def run(layer: Any, optimizer: Any, first: int, last: int) -> None:
        for step in range(first, last):
            x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
            optimizer.zero_grad()
            layer(x).square().mean().backward()
            optimizer.step()

    whole, optimizer = start()
    run(whole, optimizer, 0, 6)
    part, first = start()
    run(part, first, 0, 3)
    resumed, second = start()
    resumed.load_state_dict(part.state_dict())
    second.load_state_dict(first.state_dict())
    run(resumed, second, 3, 6)
    assert torch.equal(whole.weight, resumed.weight) and torch.equal(whole.bias, resumed.bias)
