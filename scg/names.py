"""What the package is asked for and does not have."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import NoReturn

from scg import functions
from scg.baselines import BASELINES
from scg.distributions.distribution import FAMILIES
from scg.estimators import ESTIMATORS
from scg.ir.signed import no_such_public

_FAMILY = "Another family is one file: see docs/adding-a-distribution.md."


def refuse(name: str) -> NoReturn:
    """Refuse a name, and say which there are: of its kind, as far as it shows that."""
    classes: Mapping[str, Iterable[str]] = {"families": FAMILIES, "estimators": ESTIMATORS, "baselines": BASELINES}
    if name[:1].isupper():
        no_such_public("scg", name, classes, _FAMILY)
    no_such_public("scg", name, {"functions": functions.FUNCTIONS})


# said here and not in the package's own text, where type checkers would take every name for one that is there
sys.modules["scg"].__dict__["__getattr__"] = refuse
