"""Wrong arguments and unknown attributes of what users call: this package's errors, at the user's line."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from scg.errors import DeclarationError, UnknownAttribute, UnknownName
from scg.ir.location import here

F = TypeVar("F", bound=Callable[..., Any])


def signed(function: F, home: str = "scg") -> F:
    """A function whose refusal of its arguments is an error of this package, with its signature.

    `home` is the public module in which users find it.
    """
    signature = inspect.signature(function)
    name = _name(function, home)

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except TypeError:
            misfit = _misfit(signature, args, kwargs)
            if misfit is None:
                raise
        given = _given(args[1:] if "self" in signature.parameters else args, kwargs)
        raise DeclarationError(str(here() or ""), f"{name}({given}) was called.",
                               f"Its arguments do not fit: {misfit}.",
                               f"Call it as {_shown(name.removeprefix('Graph.'), signature)}.")

    return call  # type: ignore[return-value]


def signed_in(home: str) -> Callable[[F], F]:
    """`signed`, for functions of that public module."""
    return functools.partial(signed, home=home)


def check_arguments(cls: type, args: tuple, kwargs: Mapping[str, Any], signature: inspect.Signature | None = None,
                    call: str | None = None) -> None:
    """Refuse arguments that a class's initialiser does not take; `call` says how it is called."""
    signature = signature or inspect.signature(cls)
    misfit = _misfit(signature, args, kwargs)
    if misfit is not None:
        raise DeclarationError(str(here() or ""), f"{cls.__name__}({_given(args, kwargs)}) was called.",
                               f"Its arguments do not fit: {misfit}.",
                               f"Call it as {call or _shown(cls.__name__, signature)}.")


class Checked:
    """A class whose arguments are checked: others than its initialiser takes are errors of this package."""

    def __new__(cls, *args, **kwargs):
        if args or kwargs:  # none are given where one is unpickled
            check_arguments(cls, args, kwargs)
        return super().__new__(cls)


def no_such(thing: Any, name: str, instead: Mapping[str, str]) -> NoReturn:
    """Refuse an attribute; `instead` says what was meant by some."""
    if name.startswith("_"):  # protocols ask
        raise AttributeError(name)
    able = ", ".join(n for n in dir(thing) if not n.startswith("_"))
    kind = type(thing).__name__
    article = "an" if kind[0] in "AEIO" else "a"
    raise UnknownAttribute(str(here() or ""), f".{name} of {article} {kind} was asked for.",
                           "It has no such attribute.", instead.get(name, f"It has: {able}."))


def no_item(text: str, name: Any, why: str, fix: str) -> NoReturn:
    """Refuse an index of what has none: ``f["theta"]``, as `text` calls it."""
    raise UnknownName(str(here() or ""), f"{text}[{name!r}] was asked for.", why, fix)


def no_such_public(module: str, name: str, groups: Mapping[str, Iterable[str]], more: str = "") -> NoReturn:
    """Refuse a name of a package; `groups` are its names by what they are, in words."""
    if name.startswith("_"):  # protocols ask
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    has = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in groups.items())
    raise UnknownAttribute(str(here() or ""), f"{module}.{name} was asked for.", f"{module} has no such name.",
                           f"It has {has}. {more}".rstrip())


def _given(args: tuple, kwargs: Mapping[str, Any]) -> str:
    """The arguments of a call, as an error shows them."""
    return ", ".join(["…"] * len(args) + [f"{name}=…" for name in kwargs])


def _misfit(signature: inspect.Signature, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
    try:
        signature.bind(*args, **kwargs)
    except TypeError as why:
        return str(why)
    return None


def _name(function: Callable, home: str) -> str:
    name = function.__qualname__.removesuffix(".__init__")
    return name if "." in name else f"{home}.{name}"


def _shown(name: str, signature: inspect.Signature) -> str:
    words: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in words:
            words.append("*")
        if parameter.name != "self":
            default = "" if parameter.default is parameter.empty else f"={parameter.default!r}"
            words.append(f"{parameter.name}{default}")
    return f"{name}({', '.join(words)})"
