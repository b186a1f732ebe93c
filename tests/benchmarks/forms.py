"""What contenders step by estimators as their authors wrote them: problems, and values of what is learned. NumPy alone.

``"toy"`` is that of `toy.py` with 9,984 samples, ``"belief net"`` that of `nets.py`: 100 rows with 10 samples each.
REBAR learns the weight and the temperature of its control variate, and RELAX a net of 10 hidden units besides; on the
belief net these two are fixed. What is learned minimises the square of a replicate's gradient in the log-odds of the
draws (eq. 9 of the RELAX paper), and its gradient belongs to the step.
"""

import nets
import numpy as np
import toy

ESTIMATORS = ("ARM", "DisARM", "REBAR", "RELAX")
MODELS = {"toy": 9_984, "belief net": 10}  # samples, of each row
ETA, TEMPERATURE, UNITS = 1.0, 0.5, 10
SITES = {"toy": {"b": 1}, "belief net": {"h1": nets.HIDDEN, "h2": nets.TOP}}  # and how many draws each has


def learned(model: str, estimator: str) -> dict[str, np.ndarray]:
    """Params of the control variates, by site."""
    rng, out = np.random.default_rng(7), {}
    for site, draws in SITES[model].items():
        if model == "toy" and estimator in ("REBAR", "RELAX"):
            out |= {f"{site} eta": np.array(ETA), f"{site} log temperature": np.array(np.log(TEMPERATURE))}
        if estimator == "RELAX":
            shape = (draws, UNITS) if model != "toy" else (1, UNITS)
            out |= {f"{site} W_surrogate_1": 0.3 * rng.standard_normal(shape) / np.sqrt(draws),
                    f"{site} b_surrogate_1": 0.3 * rng.standard_normal(UNITS),
                    f"{site} W_surrogate_2": 0.3 * rng.standard_normal(UNITS),
                    f"{site} b_surrogate_2": np.array(0.1)}
    return {name: value.astype(np.float32) for name, value in out.items()}


def params(model: str, estimator: str) -> dict[str, np.ndarray]:
    """All params."""
    own = nets.params(model) if model in nets.MODELS else {"theta": np.array(toy.THETA, np.float32)}
    return {**own, **learned(model, estimator)}


def along(model: str, estimator: str, grads) -> float:
    """The gradient's projection: one number says whether all of it is right."""
    rng = np.random.default_rng(2)
    directions = {n: rng.standard_normal(v.shape) / np.sqrt(v.size) for n, v in params(model, estimator).items()}
    return float(sum(np.vdot(d, np.asarray(grads[name])) for name, d in directions.items()))
