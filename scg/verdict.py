"""What the compiler says about each site's estimator, and about costs that a stopped gradient of the user's biases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.signed import no_such
from scg.markup import Markup, alarming, in_code, page_in_html, table_in_html


@dataclass(frozen=True)
class SiteVerdict:
    """What the compiler says of a site.

    Attributes
    ----------
    status : str
        ``"unbiased"`` or ``"biased"``; what is invalid never compiles.
    reason : str
        Why.
    estimator : Estimator or None
        None where nothing was asked for and nothing is needed.
    origin : str
        Who chose the estimator: ``"strategy"``, ``"site"`` or ``"policy"``.
    influenced : tuple of str
        The costs that the site influences.
    differentiated : bool
        Whether a derivative flows into the site's parameters.
    credit : dict of str to str
        Of a site of several draws or steps, how each of these costs weighs them: ``"by step"``, each step by what
        follows it; ``"by element"``, each draw by the parts that are made of it; ``"whole"``; and what is in the way.
    """

    status: str
    reason: str
    estimator: Any  # in words, where the graph has gone
    origin: str
    influenced: tuple[str, ...]
    differentiated: bool
    credit: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CostVerdict:
    """What the compiler says of a cost that a stopped gradient of the user's stands in the way of.

    Attributes
    ----------
    status : str
        ``"biased"``, or ``"unbiased"`` where what is hidden is proved to cancel.
    reason : str
        Why, with the line of the ⊥ and what it hides.
    noted : bool
        Whether a call repeats it though nothing is biased.
    """

    status: str
    reason: str
    noted: bool = False


class Verdict(Mapping[str, SiteVerdict | CostVerdict]):
    """Verdicts by name: on every site, and on every cost in whose way a stopped gradient of the user's stands.

    Of the other costs there is nothing to say: their gradient is right if the sites' estimators are.
    """

    def __init__(self, sites: Mapping[str, SiteVerdict], costs: Mapping[str, CostVerdict] | None = None,
                 idle: Sequence[str] = (), narrow: Sequence[str] = ()):
        self._sites, self._costs, self._idle = dict(sites), dict(costs or {}), tuple(idle)
        self._narrow = tuple(narrow)
        self._all: dict[str, SiteVerdict | CostVerdict] = {**self._sites, **self._costs}

    @property
    def unbiased(self) -> bool:
        """Whether the whole estimator is unbiased."""
        return all(v.status == "unbiased" for v in self._all.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a call's notes repeat: the costs whose gradient is biased or may not be what is expected, the params
        that no cost depends on, and poles that paths are kept from by little."""
        told = (f'cost "{name}"{" is biased" if v.status == "biased" else ""}: {v.reason}'
                for name, v in self._costs.items() if v.status == "biased" or v.noted)
        idle = (f'no cost depends on "{name}": its gradient is 0' for name in self._idle)
        return (*told, *idle, *self._narrow)

    def plain(self) -> Verdict:
        """The same in words only, without references to the graph."""
        return Verdict({name: v if v.estimator is None else replace(v, estimator=str(v.estimator))
                        for name, v in self._sites.items()}, self._costs, self._idle, self._narrow)

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

    def _repr_html_(self) -> str:
        rows = [("site", name, v.estimator or "none", v.origin, v.status, v.reason) for name, v in self._sites.items()]
        rows += [("cost", name, "", "", v.status, v.reason) for name, v in self._costs.items()]
        cells = [(Markup(f"{kind} {in_code(name)}"), estimator, origin,
                  alarming(status) if status == "biased" else status, why)
                 for kind, name, estimator, origin, status, why in rows]
        whole = "The estimator is unbiased." if self.unbiased else alarming("The estimator is biased.")
        return page_in_html(whole, table_in_html(("", "estimator", "chosen by", "verdict", "why"), cells))
