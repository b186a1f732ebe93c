"""The policy by hand in PyTorch, float32: a loop over steps of all trajectories at once. One variant."""

import math

import policy
import torch
import torch.nn.functional as F
from nets_with_torch import others_less, setup  # noqa: F401


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: the costs of all trajectories, and one backward pass."""
    weight, bias = (torch.tensor(v, requires_grad=True) for v in (policy.WEIGHT, policy.BIAS))
    a, b = policy.DIRECTION

    def step(seed):
        weight.grad = bias.grad = None
        x, scores, costs = torch.full((samples,), policy.START), [], []
        for _ in range(policy.STEPS):
            logits = weight * x + bias
            push = torch.bernoulli(torch.sigmoid(logits.detach()))
            x = 0.95 * x + 0.2 * push - 0.1
            scores.append(push * logits - F.softplus(logits))
            costs.append(x * x)
        costs = torch.stack(costs)
        to_go = costs.flip(0).cumsum(0).flip(0)
        (others_less(to_go.T).T * torch.stack(scores)).sum(0).mean().backward()
        return costs.sum(0).mean().item(), a * weight.grad.item() + b * bias.grad.item(), math.nan

    return step
