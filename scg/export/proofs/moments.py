"""Expectations, means and variances over the paths of the noise, as rational functions.

What a replicate contributes may hold the mean of something over the other n − 1 replicates of its group:
g = A + Σ Bₖ Lₖ, where Lₖ is a mean of xₖ. The replicates are independent, so moments of A, Bₖ and xₖ over one of them
are all it takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scg.export.proofs.factored import Fraction
from scg.export.proofs.limits import Limits, NoFormula
from scg.export.proofs.paths import Path
from scg.export.proofs.rational import ADVICE, NO_POLYNOMIAL, Rational


class Moments:
    """Of quantities that are formulas along each path.

    Parameters
    ----------
    rational : Rational
        Settled.
    paths : list of Path
    limits : Limits
    """

    def __init__(self, rational: Rational, paths: Sequence[Path], limits: Limits):
        self._limits, self._rational, self._paths = limits, rational, paths
        self._field = rational.field
        self._places = {x: self._field.symbols.index(x) for p in paths for x in p.read if x in self._field.symbols}
        self._weights: list[Fraction] = []
        self._ends: list[dict[Any, tuple]] = []
        for path in paths:
            weight = self._field.one
            for length in path.lengths:
                weight *= rational.element(length)
            self._weights.append(weight)
            self._ends.append({x: tuple(map(rational.element, ends)) for x, ends in path.read.items()})

    def mean(self, along: Sequence[Any]):
        """The expectation of something that has an element of the field on each path."""
        total = self._field.zero
        for i, value in enumerate(along):
            self._limits.check(i, "the noise")
            if value:
                total += self._weights[i] * self._integral(value, self._ends[i])
        return total.reduced()

    def _integral(self, value, ends: Mapping[Any, tuple[Any, Any]]):
        """Over the intervals of the uniforms that are read; a value is a polynomial in these."""
        if not ends:
            return value
        places = {x: self._places[x] for x in ends if x in self._places}
        if any(map(value.has, places.values())):
            raise self._limits.refusal(NO_POLYNOMIAL, ADVICE, kind=NoFormula)
        total = self._field.zero
        for monomial, coefficient in value.numer.iterterms():
            part, rest = self._field.one, list(monomial)
            for x, (low, high) in ends.items():
                k = rest[places[x]] if x in places else 0
                part *= (high ** (k + 1) - low ** (k + 1)) / (k + 1)
                if x in places:
                    rest[places[x]] = 0
            total += part * Fraction(self._field, self._field.ring({tuple(rest): coefficient}), value.powers)
        return total

    # --- what other replicates have a part in ---------------------------------------------------------------------
    def parted(self, along: Sequence[Any], means: Sequence[Any]) -> list[list[Any]]:
        """A, and each Bₖ, on each path, where `means` are the variables Lₖ."""
        places = [self._field.symbols.index(x) for x in means if x in self._field.symbols]
        found = [[self._field.zero] * len(along) for _ in range(1 + len(means))]
        at = {self._field.symbols[p]: 1 + means.index(self._field.symbols[p]) for p in places}
        for i, value in enumerate(along):
            if any(map(value.has, places)):
                raise self._not_linear()
            by_mean: list[Any] = [self._field.ring.zero] * (1 + len(means))
            for monomial, coefficient in value.numer.iterterms():
                inside = [p for p in places if monomial[p]]
                if sum(monomial[p] for p in inside) > 1:
                    raise self._not_linear()
                rest = tuple(0 if p in inside else m for p, m in enumerate(monomial))
                k = at[self._field.symbols[inside[0]]] if inside else 0
                by_mean[k] += self._field.ring({rest: coefficient})
            for k, part in enumerate(by_mean):
                found[k][i] = Fraction(self._field, part, value.powers)
        return found

    def _not_linear(self):
        return self._limits.refusal("A term of the estimator is not linear in means over other replicates.",
                                    ADVICE)

    def expectation(self, along: Sequence[Any], means: Sequence[Any], of: Sequence[Sequence[Any]]):
        """E[g], where the Lₖ are means of what `of` has along the paths."""
        a, *bs = self.parted(along, means)
        return self.mean(a) + sum((self.mean(b) * self.mean(x) for b, x in zip(bs, of) if any(b)), self._field.zero)

    def variance(self, along: Sequence[Any], means: Sequence[Any], of: Sequence[Sequence[Any]], n):
        """The variance of the mean of g over a group of n replicates, or of one if n is None."""
        a, *bs = self.parted(along, means)
        used = [k for k, b in enumerate(bs) if any(b)]
        bs, xs = [bs[k] for k in used], [of[k] for k in used]
        mean, zero = self.mean, self._field.zero
        one, pairs = mean(a), range(len(bs))

        def product(x, y):
            return mean([p * q for p, q in zip(x, y)])

        second = product(a, a)
        if not bs:
            return (second - one * one) / (1 if n is None else n)
        b, mu = [mean(x) for x in bs], [mean(x) for x in xs]
        cross = zero + one * one  # of two replicates of a group
        for k in pairs:
            ax = product(a, xs[k])
            second += 2 * product(a, bs[k]) * mu[k]
            cross += 2 * b[k] * (ax + (n - 2) * one * mu[k]) / (n - 1)
        bx = [[product(x, y) for y in xs] for x in bs]
        for k in pairs:
            for m in pairs:
                xx = product(xs[k], xs[m])
                second += product(bs[k], bs[m]) * (xx + (n - 2) * mu[k] * mu[m]) / (n - 1)
                sums = (n - 2) * (xx - mu[k] * mu[m]) + (n - 2) ** 2 * mu[k] * mu[m]
                cross += (bx[k][m] * bx[m][k] + (n - 2) * (bx[k][m] * b[m] * mu[k] + b[k] * bx[m][k] * mu[m])
                          + b[k] * b[m] * sums) / (n - 1) ** 2
        whole = one + sum((p * q for p, q in zip(b, mu)), zero)
        return second / n + cross * (n - 1) / n - whole * whole
