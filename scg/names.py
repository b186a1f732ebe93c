"""The names of the package: what it shows, and what is said of one that it does not have."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import NoReturn

from scg import functions
from scg.baselines import BASELINES
from scg.distributions.distribution import FAMILIES
from scg.errors import UnknownAttribute
from scg.estimators import ESTIMATORS
from scg.ir.location import here
from scg.ir.signed import no_such_public
from scg.ops.numpy_protocol import of_numpy
from scg.other_families import written

PUBLIC_MODULES = ("errors", "extend", "nn", "optim")
_FAMILY = ('Another family is scg.Custom({"m": m}, log_prob=…, path=…), of functions of yours, or one file: see '
           "docs/adding-a-distribution.md.")
_METHODS = {"export": "f.export(path)", "explain": "f.explain()", "surrogate": "g.surrogate() or f.surrogate",
            "param": 'g.param("theta")', "sample": 'g.sample("x", scg.Normal(0.0, 1.0))', "cost": 'g.cost("c", x)',
            "node": 'g.node("n", x)', "scan": "g.scan(step, init, xs)", "data": 'g.data("y")',
            "input": 'g.input("s")'}  # of a graph g, and of a compiled one f


def refuse(name: str) -> NoReturn:
    """Refuse a name, and say which there are: of its kind, as far as it shows that."""
    if name in _METHODS:
        raise UnknownAttribute(str(here() or ""), f"scg.{name} was asked for.", "scg has no such name.",
                               f"It is asked of a graph g, or of f = scg.compile(g): {_METHODS[name]}.")
    instead = written(name)
    if instead is not None:
        raise UnknownAttribute(str(here() or ""), f"scg.{name} was asked for.", "scg has no such family.", instead)
    classes: Mapping[str, Iterable[str]] = {"families": FAMILIES, "estimators": ESTIMATORS, "baselines": BASELINES}
    known = {_plain(n): f"Use scg.{n}." for kind in (functions.FUNCTIONS, *classes.values()) for n in kind}
    instead = known.get(_plain(name)) or of_numpy(name)
    if instead is not None:
        raise UnknownAttribute(str(here() or ""), f"scg.{name} was asked for.", "scg has no such name.", instead)
    if name[:1].isupper():
        no_such_public("scg", name, classes, _FAMILY)
    no_such_public("scg", name, {"functions": functions.FUNCTIONS})


def _plain(name: str) -> str:
    """A name as it is told from others in any spelling."""
    return name.lower().replace("_", "")


def settle() -> None:
    """Leave the package with its public names: its modules can be imported, and are no attributes, but for these."""
    names = vars(sys.modules["scg"])
    for name in [n for n, value in names.items() if isinstance(value, ModuleType) and n not in PUBLIC_MODULES]:
        del names[name]
    names["__all__"] = sorted(n for n in names if not n.startswith("_"))


# said here and not in the package's own text, where type checkers would take every name for one that is there
sys.modules["scg"].__dict__["__getattr__"] = refuse
