"""Families that have no class here: draws of them, written in those that have one.

Each is a well-known identity in distribution (Devroye 1986, Non-Uniform Random Variate Generation, chapters IX and X).
"""

from __future__ import annotations

_OF_EXPONENTIAL = 'g.sample("x", scg.Transformed(scg.Exponential({0}), lambda e: {1}))'
_WRITTEN = {
    "LogNormal(m, s)": 'g.sample("x", scg.Transformed(scg.Normal(m, s), np.exp))',
    "LogitNormal(m, s)": 'g.sample("x", scg.Transformed(scg.Normal(m, s), scg.sigmoid))',
    "HalfNormal(s)": 'abs(g.sample("x", scg.Normal(0.0, s)))',
    "HalfCauchy(s)": 'abs(g.sample("x", scg.StudentT(1.0, 0.0, s)))',
    "Triangular(m, s)": 'm + s * (g.sample("up", scg.Uniform(0.0, 1.0)) - g.sample("down", scg.Uniform(0.0, 1.0)))',
    "Laplace(m, s)": 'm + s * (g.sample("up", scg.Exponential(1.0)) - g.sample("down", scg.Exponential(1.0)))',
    "Logistic(m, s)": 'g.sample("x", scg.Transformed(scg.Uniform(0.0, 1.0), lambda u: m - s * np.log(1.0 / u - 1.0)))',
    "Gumbel(m, s)": _OF_EXPONENTIAL.format("1.0", "m - s * np.log(e)"),
    "Weibull(k, s)": _OF_EXPONENTIAL.format("1.0", "s * e ** (1.0 / k)"),
    "Rayleigh(s)": _OF_EXPONENTIAL.format("1.0", "s * np.sqrt(2.0 * e)"),
    "Pareto(a, m)": _OF_EXPONENTIAL.format("a", "m * np.exp(e)"),
    "Cauchy(m, s)": 'g.sample("x", scg.StudentT(1.0, m, s))',
    "Erlang(k, rate)": 'g.sample("x", scg.Gamma(k, rate))',
    "ChiSquared(k)": 'g.sample("x", scg.Gamma(k / 2.0, 0.5))',
    "InverseGamma(a, b)": 'g.sample("x", scg.Transformed(scg.Gamma(a, b), lambda y: 1.0 / y))',
    "Binomial(n, p)": 'g.sample("x", scg.Bernoulli(probs=p), shape=n).sum()',
    "Multinomial(n, p)": 'g.sample("x", scg.OneHotCategorical(probs=p), shape=n).sum(0)',
    "Geometric(p)": 'np.floor(g.sample("x", scg.Exponential(-np.log1p(-p))))',
    "NegativeBinomial(r, p)": 'g.sample("x", scg.Poisson(g.sample("rate", scg.Gamma(r, p / (1.0 - p)))))',
    "DiscreteUniform(n)": 'g.sample("x", scg.Categorical(logits=np.zeros(n)))',
    "Rademacher(p)": '2.0 * g.sample("x", scg.Bernoulli(probs=p)) - 1.0',
}  # fmt: skip
_ALSO = {"chisquare": "chisquared", "chi2": "chisquared", "randint": "discreteuniform", "integers": "discreteuniform",
         "gev": "gumbel", "extremevalue": "gumbel"}  # names that they have elsewhere
_MEANT = {"Triangular(m, s)": ", from m - s to m + s with its peak at m,",
          "Geometric(p)": ", the failures before the first success,",
          "NegativeBinomial(r, p)": ", the failures before success number r,",
          "DiscreteUniform(n)": ", from 0 to n - 1,"}
_CALLS = {call.split("(")[0].lower(): call for call in _WRITTEN}


def written(name: str) -> str | None:
    """How a draw of a family is written, in a sentence; None if nothing is known of it."""
    key = name.lower().replace("_", "")
    call = _CALLS.get(_ALSO.get(key, key))
    return None if call is None else f"A draw of {call}{_MEANT.get(call, '')} is {_WRITTEN[call]}."
