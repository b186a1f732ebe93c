"""How families are called: the signature that a family's parameters imply, and the refusal of other arguments.

Parameters that every form of a family has are given by position, in the order of `parameters`, or by name; those of
some forms only by name.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from scg.distributions.contract import first_used
from scg.ir.signed import check_arguments


def hold_to_signature(cls: Any) -> None:
    """Give a class the initialiser that its parameters imply, unless it has its own; other arguments are refused."""
    own = vars(cls)
    if "__init__" not in own and ("parameters" in own or "forms" in own):
        cls.__init__ = _initialiser(cls)
    if "__init__" in own:
        cls.__init__ = _checked(own["__init__"])


def _initialiser(cls: Any) -> Callable:
    """The initialiser of a family that has written none."""
    initialise = cls.__init__  # that of the class it is derived from
    given, named = _positional(cls), _named(cls)
    Parameter = inspect.Parameter
    signature = inspect.Signature([
        Parameter("self", Parameter.POSITIONAL_OR_KEYWORD),
        *(Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, annotation="NodeLike") for name in given),
        *(Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation="NodeLike | None") for name in named)])

    def __init__(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs).arguments
        bound.pop("self")
        initialise(self, **bound)

    __init__.__qualname__, __init__.__module__ = f"{cls.__qualname__}.__init__", cls.__module__
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__


def _positional(cls: Any) -> list[str]:
    """The parameters that every form has."""
    return [name for name in cls.parameters if all(name in form for form in cls.forms)]


def _named(cls: Any) -> list[str]:
    """The parameters that some forms have."""
    return [name for name in cls.parameters if any(name not in form for form in cls.forms)]


def ways(cls: Any) -> str:
    """How a family is called, one way for each form: ``Bernoulli(probs=…) or Bernoulli(logits=…)``."""
    named = _named(cls)
    calls = [", ".join(f"{name}=…" if name in named else name for name in form) for form in cls.forms]
    return " or ".join(f"{cls.__name__}({call})" for call in calls)


def _checked(initialise: Callable) -> Callable:
    """An initialiser whose refusal of its arguments is an error of this package."""
    own = inspect.signature(initialise)
    signature = own.replace(parameters=[p for p in own.parameters.values() if p.name != "self"])

    @functools.wraps(initialise)
    def __init__(self, *args, **kwargs):
        cls = type(self)
        first_used(cls)
        plain = [*signature.parameters] == [*cls.parameters]
        check_arguments(cls, args, kwargs, signature, ways(cls) if plain else None)
        initialise(self, *args, **kwargs)

    return __init__
