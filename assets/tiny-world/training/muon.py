"""Muon (https://kellerjordan.github.io/posts/muon/): momentum whose every matrix is made orthogonal before it is applied.

Kernels count as matrices `[out, in * taps]`. Biases and normalisations take AdamW. Updates are scaled to the size of
AdamW's (https://arxiv.org/abs/2502.16982), so that both share one learning rate.
"""

import torch

# Of the quintic that drives singular values towards 1 (Keller Jordan's).
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonal(matrices, steps=5):
    """`[n, rows, columns]` with rows <= columns, each with its singular values near 1."""
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = A * x + (B * square + C * square @ square) @ x
    return x


class Muon(torch.optim.Optimizer):
    def __init__(self, parameters, lr, momentum=0.95, betas=(0.9, 0.98), eps=1e-8, weight_decay=0.01):
        parameters = list(parameters)
        matrices = [p for p in parameters if p.ndim > 1]
        vectors = [p for p in parameters if p.ndim <= 1]
        shared = {"lr": lr, "weight_decay": weight_decay}
        super().__init__(
            [
                {"params": matrices, "matrix": True, "momentum": momentum, **shared},
                {"params": vectors, "matrix": False, "betas": betas, "eps": eps, **shared},
            ],
            {},
        )

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            (self.matrix_step if group["matrix"] else self.vector_step)(group, parameters)

    def matrix_step(self, group, parameters):
        by_shape = {}
        for p in parameters:
            gradient = p.grad.flatten(1)
            state = self.state[p]
            if not state:
                state["momentum"] = torch.zeros_like(gradient)
            state["momentum"].lerp_(gradient, 1 - group["momentum"])
            ahead = gradient.lerp(state["momentum"], group["momentum"])
            ahead = ahead if ahead.shape[0] <= ahead.shape[1] else ahead.T
            by_shape.setdefault(ahead.shape, []).append((p, ahead))
        for (rows, columns), members in by_shape.items():
            updates = orthogonal(torch.stack([ahead for _, ahead in members]))
            rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5
            for (p, _), update in zip(members, updates):
                p.mul_(1 - group["lr"] * group["weight_decay"])
                update = update if p.flatten(1).shape == update.shape else update.T
                p.sub_(update.reshape(p.shape), alpha=rate)

    def vector_step(self, group, parameters):
        first, second = group["betas"]
        for p in parameters:
            state = self.state[p]
            if not state:
                state.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
            state["step"] += 1
            state["mean"].lerp_(p.grad, 1 - first)
            state["square"].lerp_(p.grad.square(), 1 - second)
            mean = state["mean"] / (1 - first ** state["step"])
            square = state["square"] / (1 - second ** state["step"])
            p.sub_(mean / (square.sqrt() + group["eps"]), alpha=group["lr"])
