"""What the compiler says about each site's estimator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.passes.surrogate import SiteVerdict


class Verdict(Mapping[str, SiteVerdict]):
    """Verdicts by site name; `unbiased` says whether all are unbiased."""

    def __init__(self, sites: Mapping[str, SiteVerdict]):
        self._sites = dict(sites)

    @property
    def unbiased(self) -> bool:
        """Whether the whole estimator is unbiased."""
        return all(v.status == "unbiased" for v in self._sites.values())

    def plain(self) -> Verdict:
        """The same in words only, without references to the graph."""
        return Verdict({name: v if v.estimator is None else replace(v, estimator=str(v.estimator))
                        for name, v in self._sites.items()})

    def __getitem__(self, name: str) -> SiteVerdict:
        try:
            return self._sites[name]
        except KeyError:
            raise DeclarationError(str(here() or ""), f'The verdict on site "{name}" was asked for.',
                                   "The graph has no site of that name.",
                                   f"The sites are: {', '.join(self._sites) or 'none'}.") from None

    def __contains__(self, name: object) -> bool:
        return name in self._sites

    def get(self, name: str, default=None):
        """The verdict on a site, or the default."""
        return self._sites.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sites)

    def __len__(self) -> int:
        return len(self._sites)

    def __str__(self) -> str:
        return "\n".join(f'site "{name}": {v.estimator or "no estimator"}, {v.status}: {v.reason}'
                         for name, v in self._sites.items())

    __repr__ = __str__
