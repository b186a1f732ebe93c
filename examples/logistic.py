"""Variational Bayesian logistic regression on the breast-cancer data: pathwise and score function side by side.

569 tumours, each with 30 standardised features and an intercept x and a label y. The weights w have a standard normal
prior and a factorised normal approximation q(w) = N(loc, exp(log_scale)^2). Minimised is the negative evidence bound

    F = sum over n of E_q[-log p(y_n | x_n, w)] + KL(q || prior)

on minibatches B drawn at random. The objective of a graph is the mean over the rows that a call is given, and a cost
without rows counts once. So the negative log-likelihood of one row has ``scale=N``: over B it contributes

    N * (1/|B|) * sum over n in B of E_q[-log p(y_n | x_n, w)],

whose mean over random B is the sum over all N rows, while the divergence is counted once, as in F. The weights do not
depend on the rows: each sample index draws them once, and all rows of the minibatch share them.

Run it with ``python examples/logistic.py [--steps 600] [--samples 16] [--batch 64] [--seed 0]``.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import load_breast_cancer

import scg

STRATEGIES = {"pathwise": scg.Pathwise(), "score": scg.ScoreFunction(baseline=scg.LeaveOneOut())}


@dataclass(frozen=True)
class Data:
    """Features (rows, 31) with the intercept last, and labels 0 or 1."""

    x: np.ndarray
    y: np.ndarray

    def __len__(self) -> int:
        return len(self.y)

    def rows(self, index) -> Data:
        """Some of the rows."""
        return Data(self.x[index], self.y[index])


def load(seed: int = 0, held_out: int = 114) -> tuple[Data, Data]:
    """The data in random order, as a set to learn from and one to test on; standardised by the former."""
    raw = load_breast_cancer()
    order = np.random.default_rng(seed).permutation(len(raw.target))
    features, labels = raw.data[order], raw.target[order].astype(float)
    learnt = features[held_out:]
    x = (features - learnt.mean(axis=0)) / learnt.std(axis=0)
    data = Data(np.concatenate([x, np.ones((len(x), 1))], axis=1), labels)
    return data.rows(slice(held_out, None)), data.rows(slice(0, held_out))


def declare(n: int, width: int) -> scg.Graph:
    """The negative evidence bound of `n` rows of `width` features, to be called with any minibatch of them."""
    g = scg.Graph("logistic")
    loc, log_scale = g.param("loc", width, init=0.0), g.param("log_scale", width, init=-1.0)
    x, y = g.data("x", width), g.data("y")
    q = scg.Normal(loc, np.exp(log_scale))
    w = g.sample("w", q)
    g.cost("nll", -scg.Bernoulli(logits=x @ w).log_prob(y), scale=n)
    g.cost("kl", scg.kl_divergence(q, scg.Normal(0.0, 1.0)))
    return g


def accuracy(values: dict, data: Data) -> float:
    """Share of the labels that the weights' mean predicts."""
    return float(np.mean((data.x @ values["loc"] > 0.0) == (data.y > 0.5)))


def variance(r: scg.Estimate) -> float:
    """Variance of one sample's gradient, averaged over all its elements."""
    return r.samples * float(np.mean(np.concatenate([e.ravel() for e in r.stderr.values()]) ** 2))


def train(data: Data, strategy: scg.Estimator, *, steps: int, samples: int, batch: int, seed: int, watch=None) -> dict:
    """Parameters after `steps` minibatches; `watch(step, values, estimate)` sees every one of them."""
    f = scg.compile(declare(len(data), data.x.shape[1]), strategy=strategy)
    return scg.optim.fit(f, {"x": data.x, "y": data.y}, scg.optim.adam(0.02), steps=steps, samples=samples, batch=batch,
                         rng=seed, watch=watch).values


def main(argv=None) -> dict[str, float]:
    """Train with both estimators, print a table, and return the accuracies on the data held out."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("steps", 600), ("samples", 16), ("batch", 64), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    given = vars(options.parse_args(argv))
    learn, test = load(given["seed"])
    print(f"{len(learn)} rows to learn from, {len(test)} to test on, {learn.x.shape[1]} weights")

    rows: dict[int, list[str]] = {}
    final = {}
    for name, strategy in STRATEGIES.items():
        def watch(step, values, r):
            if step % max(1, given["steps"] // 10) == 0 or step == given["steps"] - 1:
                rows.setdefault(step, []).append(f"{r.cost:9.1f} {accuracy(values, test):8.3f} {variance(r):10.2e}")

        final[name] = accuracy(train(learn, strategy, **given, watch=watch), test)

    print(f"{'':6} " + " | ".join(f"{name:^29}" for name in STRATEGIES))
    print(f"{'step':>6} " + " | ".join(f"{'bound':>9} {'accuracy':>8} {'variance':>10}" for _ in STRATEGIES))
    for step, cells in rows.items():
        print(f"{step:6} " + " | ".join(cells))
    print("accuracy on the data held out: " + ", ".join(f"{name} {a:.3f}" for name, a in final.items()))
    return final


if __name__ == "__main__":
    main()
