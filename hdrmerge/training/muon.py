"""Muon: steps along the orthogonalised momentum of each weight matrix (Jordan et al. 2024).

A network learns a photograph in a fraction of the steps that AdamW takes, for no direction of a
layer is drowned by its few steep ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
BETAS, EPSILON = (0.9, 0.999), 1e-8  # of Adam, for what is no matrix
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: singular values to about 1 in 5 steps
SCALE = 0.2  # root mean square of a step, Adam's: one rate fits both (Liu et al. 2025, eq. 4)


class Muon(torch.optim.Optimizer):
    """For parameters with two axes and more, taken as (outputs, everything else); the others
    (biases) are stepped by Adam. Weight decay is decoupled, as in AdamW."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                move = _orthogonal_step if p.ndim > 1 else _adam_step
                p.mul_(1.0 - group["lr"] * group["weight_decay"])
                p.add_(move(p.grad, self.state[p]), alpha=-group["lr"])


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix to (m, n), roughly: singular values in 0.7 to 1.2."""
    a, b, c = NEWTON_SCHULZ
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x: Tensor = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x if wide is matrix else x.T


def _orthogonal_step(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    """Nesterov's momentum, orthogonalised."""
    if not state:
        state["momentum"] = torch.zeros_like(gradient)
    momentum: Tensor = state["momentum"]
    momentum.lerp_(gradient, 1.0 - MOMENTUM)
    matrix = gradient.lerp(momentum, MOMENTUM).flatten(1)
    matrix = orthogonalise(matrix).mul_(SCALE * math.sqrt(max(matrix.shape)))
    return matrix.reshape(gradient.shape)


def _adam_step(gradient: Tensor, state: dict[str, Any]) -> Tensor:
    if not state:
        state.update(steps=0, mean=torch.zeros_like(gradient), square=torch.zeros_like(gradient))
    state["steps"] += 1
    mean: Tensor = state["mean"].lerp_(gradient, 1.0 - BETAS[0])
    square: Tensor = state["square"].lerp_(gradient.square(), 1.0 - BETAS[1])
    first, second = (1.0 - beta ** state["steps"] for beta in BETAS)
    step: Tensor = (mean / first) / ((square / second).sqrt() + EPSILON)
    return step
