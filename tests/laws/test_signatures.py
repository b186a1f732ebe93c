"""How families are called: what an editor completes is what they take."""

from __future__ import annotations

import inspect
from inspect import Parameter

import pytest

import scg
from scg.distributions import FAMILIES
from scg.extend import Distribution, positive, real, real_line
from tests.laws.checks import parametric, shipped

PARAMETRIC = parametric(FAMILIES)


def parameters_of(cls) -> list[Parameter]:
    return list(inspect.signature(cls).parameters.values())


@pytest.mark.parametrize("name", shipped(FAMILIES))
def test_every_argument_has_a_name_and_a_type(name):
    given = () if name in PARAMETRIC else (Parameter.VAR_POSITIONAL,)  # what a function of the user's is given
    for parameter in parameters_of(FAMILIES[name]):
        assert parameter.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY, *given)
        assert parameter.annotation is not Parameter.empty


@pytest.mark.parametrize("name", PARAMETRIC)
def test_the_signature_is_that_of_the_parameters(name):
    """In their order; by position too what every form has, by name alone what some forms have."""
    cls = FAMILIES[name]
    found = parameters_of(cls)
    assert [p.name for p in found] == list(cls.parameters)
    for p in found:
        always = all(p.name in form for form in cls.forms)
        assert p.kind is (Parameter.POSITIONAL_OR_KEYWORD if always else Parameter.KEYWORD_ONLY)
        assert p.annotation == ("NodeLike" if always else "NodeLike | None")
        assert always or p.default is None


@pytest.mark.parametrize("name", PARAMETRIC)
def test_by_position_as_by_name(name):
    cls = FAMILIES[name]
    for case in cls.cases:
        order = [p.name for p in parameters_of(cls) if p.kind is Parameter.POSITIONAL_OR_KEYWORD]
        named = {n: v for n, v in case.items() if n not in order}
        assert cls(*(case[n] for n in order), **named).params == cls(**case).params


def _rule(self, value):
    return value * 0.0


def test_a_family_that_writes_no_initialiser_has_the_signature_of_its_parameters(registry):
    class Plain(Distribution):
        parameters = {"loc": real, "scale": positive}
        support = real_line
        log_prob = _rule

    class Several(Distribution):
        parameters = {"loc": real, "scale": positive, "rate": positive}
        forms = (("loc", "scale"), ("loc", "rate"))
        support = real_line
        log_prob = _rule

    assert str(inspect.signature(Plain)) == str(inspect.signature(scg.Normal))
    assert str(inspect.signature(Several)).replace("'", "") == (
        "(loc: NodeLike, *, scale: NodeLike | None = None, rate: NodeLike | None = None)")
    assert inspect.signature(Several) == inspect.signature(Several.__init__).replace(
        parameters=parameters_of(Several))
    assert list(Plain(0.5, 2.0).params) == ["loc", "scale"] and list(Several(0.5, rate=2.0).params) == ["loc", "rate"]
    with pytest.raises(scg.DeclarationError, match=r"^test_signatures.py:\d+: Plain\(…\) was called.*'scale'.*"
                                                   r"Call it as Plain\(loc, scale\)"):
        Plain(0.5)
    with pytest.raises(scg.DeclarationError, match=r"Call it as Several\(loc, scale=…\) or Several\(loc, rate=…\)"):
        Several(0.5, 2.0)
    with pytest.raises(scg.DeclarationError, match=r"given loc, scale, rate.*do not determine.*or Several"):
        Several(0.5, scale=2.0, rate=3.0)


def test_a_family_derived_from_another_may_be_called_otherwise(registry):
    class Centred(scg.Normal):
        cases = [dict(scale=2.0)]

        def __init__(self, scale):
            super().__init__(0.0, scale)

    class Renamed(scg.Normal):
        parameters = {"scale": positive, "loc": real}

    class Same(scg.Normal):
        pass

    assert [p.name for p in parameters_of(Centred)] == ["scale"] and float(Centred(2.0).loc.attrs.array) == 0.0
    with pytest.raises(scg.DeclarationError, match=r"Call it as Centred\(scale\)"):
        Centred(0.0, 2.0)
    assert [p.name for p in parameters_of(Renamed)] == ["scale", "loc"]
    assert float(Renamed(2.0, 0.5).scale.attrs.array) == 2.0
    assert inspect.signature(Same) == inspect.signature(scg.Normal)
