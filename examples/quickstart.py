"""The toy of every paper on discrete gradients: a coin that should land on 0.45.

    minimise over theta   E[(b - 0.45)^2],   b ~ Bernoulli(logits=theta)

Declares the graph, shows the estimator that the compiler derives as mathematics, what it says about its bias, compiles
it, calls it, and compares the estimate with the exact gradient.
"""

from __future__ import annotations

import scg


def declare() -> scg.Graph:
    """The graph: one parameter, one sample, one cost."""
    g = scg.Graph("toy")
    theta = g.param("theta")
    b = g.sample("b", scg.Bernoulli(logits=theta))
    g.cost("loss", (b - 0.45) ** 2)
    return g


def main() -> None:
    """Print the whole way from the graph to a verified estimate."""
    g, values = declare(), {"theta": 0.3}

    print("The estimator is the gradient of this surrogate, L:")
    surrogate = g.surrogate()
    print(surrogate)

    print("\nL and its derivative as SymPy has them, where ⊥ is stop_gradient:")
    print(" ", surrogate.sympy())
    print("  d/dtheta:", surrogate.gradient("theta"))

    f = scg.compile(g)
    print(f"\nVerdict: {f.verdict['b'].status}, because {f.verdict['b'].reason}.")

    r = f(values, samples=100_000, rng=1)
    print(f"\nEstimate from {r.samples} samples:")
    print(f"  cost     {r.cost:.6f} ± {r.cost_stderr:.6f}")
    print(f"  gradient {r.grad['theta']:.6f} ± {r.stderr['theta']:.6f}")

    exact = scg.exact(g, values)
    print("\nExact, by enumeration:")
    print(f"  cost     {exact.cost:.6f}")
    print(f"  gradient {exact.grad['theta']:.6f}")

    proof = scg.verify(f, values)
    print(f"\nExpectation of the estimator less the exact gradient, by {proof.method}: {proof.max_error:.0e}"
          f" ({'passed' if proof.passed else 'FAILED'})")

    print("\nWeak derivatives instead of scores:")
    weak = scg.compile(g, strategy=scg.WeakDerivative())
    r = weak(values, samples=100, rng=1)
    print(f"  gradient {r.grad['theta']:.6f} ± {r.stderr['theta']:.6f}")


if __name__ == "__main__":
    main()
