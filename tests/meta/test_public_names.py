"""What the package shows: its public names, each in its docstring, and no module that stands where one is meant."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

import scg

MODULES = {"extend", "errors", "nn", "optim"}


def test_the_package_shows_its_public_names():
    shown = {name for name in dir(scg) if not name.startswith("_")}
    assert shown == set(scg.__all__)
    assert {name for name in shown if isinstance(getattr(scg, name), ModuleType)} == MODULES


def test_its_docstring_has_each_of_them():
    """And nothing else: words of more than one name are told apart from those of sentences by the groups' indents."""
    groups = re.findall(r"^    (?!g\b|theta|b = |f = |r = )(.*)$", scg.__doc__, re.MULTILINE)
    words = set(re.findall(r"\w+", " ".join(groups)))
    assert set(scg.__all__) - words <= {"errors"}
    assert {w for w in words if w[:1].isupper()} <= set(scg.__all__)


def test_they_stay_when_modules_are_imported_later(tmp_path):
    g = scg.Graph("shown")
    g.cost("c", g.param("t") ** 2)
    f = scg.compile(g, backend="numpy")
    f.surrogate.latex(), g.surrogate().sympy(), f.explain(), scg.exact(g, {"t": 1.0}), scg.verify(f, {"t": 1.0})
    test_the_package_shows_its_public_names()


@pytest.mark.parametrize("name, words", [("export", r"f\.export\(path\)"), ("explain", r"f\.explain\(\)"),
                                         ("surrogate", r"g\.surrogate"), ("noise", "no such name.*functions"),
                                         ("Normaal", "families")])
def test_what_it_does_not_have_is_refused(name, words):
    with pytest.raises(scg.UnknownAttribute, match=words):
        getattr(scg, name)


@pytest.mark.parametrize("asked", [lambda e: e.grad.t, lambda e: e.grad["th"], lambda e: e.costs.c,
                                   lambda e: e.stderr["th"]])
def test_exact_values_are_asked_for_by_name(asked):
    g = scg.Graph("named")
    g.cost("c", g.param("t") ** 2)
    e = scg.exact(g, {"t": 1.0})
    assert e.grad["t"] == 2.0 and e.costs["c"] == 1.0 and e.stderr["t"] == 0.0
    with pytest.raises((scg.UnknownAttribute, scg.UnknownName), match="It has: "):
        asked(e)
