"""CartPole by hand in PyTorch, float32: a loop over steps of all episodes at once. One variant."""

import math

import cartpole
import torch
import torch.nn.functional as F
from nets_with_torch import others_less, setup  # noqa: F401


def make(variant: str, problem: str, samples: int, threads: int):
    """A step: all episodes, and one backward pass."""
    policy, ends = cartpole.PROBLEMS[problem]
    p = torch.tensor(policy, requires_grad=True)

    def step(seed):
        p.grad = None
        state = tuple(torch.empty(4, samples).uniform_(-cartpole.START, cartpole.START))
        standing, scores, costs = torch.ones(samples), [], []
        for _ in range(cartpole.STEPS):
            logits = cartpole.logits(p, state)
            push = torch.bernoulli(torch.sigmoid(logits.detach()))
            score = push * logits - F.softplus(logits)
            scores.append(score * standing if ends else score)
            costs.append(-standing)
            state = cartpole.moved(state, push, torch.cos, torch.sin)
            standing = standing * (state[0].abs() <= cartpole.TRACK) * (state[2].abs() <= cartpole.LEAN)
        costs = torch.stack(costs)
        to_come = costs.flip(0).cumsum(0).flip(0) - costs
        (others_less(to_come.T).T * torch.stack(scores)).sum(0).mean().backward()
        return costs.sum(0).mean().item(), cartpole.along(p.grad), math.nan

    return step
