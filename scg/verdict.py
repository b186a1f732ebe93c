"""What the compiler says about each site's estimator, and about costs that a stopped gradient of the user's biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.signed import no_such
from scg.passes.surrogate import SiteVerdict
from scg.stopped import CostVerdict


class Verdict(Mapping[str, SiteVerdict | CostVerdict]):
    """Verdicts by name: on every site, and on every cost in whose way a stopped gradient of the user's stands.

    Of the other costs there is nothing to say: their gradient is right if the sites' estimators are.
    """

    def __init__(self, sites: Mapping[str, SiteVerdict], costs: Mapping[str, CostVerdict] | None = None):
        self._sites, self._costs = dict(sites), dict(costs or {})
        self._all: dict[str, SiteVerdict | CostVerdict] = {**self._sites, **self._costs}

    @property
    def unbiased(self) -> bool:
        """Whether the whole estimator is unbiased."""
        return all(v.status == "unbiased" for v in self._all.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a call's notes repeat: the costs whose gradient is biased."""
        return tuple(f'cost "{name}" is biased: {v.reason}' for name, v in self._costs.items() if v.status == "biased")

    def plain(self) -> Verdict:
        """The same in words only, without references to the graph."""
        return Verdict({name: v if v.estimator is None else replace(v, estimator=str(v.estimator))
                        for name, v in self._sites.items()}, self._costs)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._all[name]
        except KeyError:
            raise DeclarationError(str(here() or ""), f'The verdict on site "{name}" was asked for.',
                                   "The graph has no site of that name.",
                                   f"The sites are: {', '.join(self._sites) or 'none'}.") from None

    def __getattr__(self, name: str):
        no_such(self, name, {})

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def get(self, name: str, default=None):
        """The verdict on a site or cost, or the default."""
        return self._all.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __str__(self) -> str:
        return "\n".join([*(f'site "{name}": {v.estimator or "no estimator"}, {v.status}: {v.reason}'
                            for name, v in self._sites.items()),
                          *(f'cost "{name}": {v.status}: {v.reason}' for name, v in self._costs.items())])

    __repr__ = __str__
