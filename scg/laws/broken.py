"""What a law raises."""

from __future__ import annotations


class Broken(AssertionError):
    """A law does not hold; the text says which number is not what it should be."""


class Beside(Exception):
    """A law does not speak of the part: an estimator that does not take the family."""


def require(condition: object, text: str) -> None:
    """Raise `Broken` unless the condition holds; unlike an `assert`, under ``python -O`` too."""
    if not condition:
        raise Broken(text)
