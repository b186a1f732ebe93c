r"""Names in LaTeX, as mathematicians set them: Greek letters, numbers as subscripts, words upright.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re

from sympy.printing.latex import greek_letters_set, translate

_FUNCTIONS = {"log", "exp", "ln", "lg", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min", "sup", "inf", "lim",
              "det", "dim", "arg", "gcd", "sqrt"}
_SPECIAL = {**{c: "\\" + c for c in "{}$&#%_"}, "\\": r"\backslash{}", "^": r"\hat{}", "~": r"\sim{}", " ": r"\ "}


def latex_name(name: str) -> str:
    r"""A name in LaTeX.

    ``theta`` → \theta, ``x1`` and ``x_1`` → x_{1}, ``h[3]`` → h_{3}, ``loss`` → \mathrm{loss}, ``log sigma`` →
    \mathrm{log\ sigma}.
    """
    noise = re.fullmatch(r"(epsilon|u)_(.*[^'])('*)", name)
    if noise:
        return f"{_word(noise[1])}{noise[3]}_{{{latex_name(noise[2])}}}"
    stem = name.rstrip("'")
    head, *below = [part for part in re.split(r"[_\[\],]+", stem) if part.strip()] or [stem]
    if head.lower() in _FUNCTIONS and below:  # an upright name with a subscript would be a function of that base
        return in_words(name)
    digits = re.fullmatch(r"([A-Za-z]|[A-Za-z]+(?<=\D))(\d+)", head)
    if digits and (len(digits[1]) == 1 or digits[1] in greek_letters_set):
        head, below = digits[1], [digits[2], *below]
    text = _word(head) + "'" * (len(name) - len(stem))
    subscript = ",".join(map(_word, below)).replace(r"},\mathrm{", r"\ ")
    return f"{text}_{{{subscript}}}" if below else text


def in_words(name: str) -> str:
    r"""A name letter by letter, upright: ``a_b`` → \mathrm{a\_b}. No two names look alike."""
    stem = name.rstrip("'")
    return rf"\mathrm{{{escaped(stem)}}}" + "'" * (len(name) - len(stem))


def escaped(text: str) -> str:
    """Characters that are commands of LaTeX as characters."""
    return "".join(_SPECIAL.get(c, c) for c in text)


def _word(word: str) -> str:
    if word == "epsilon":
        return r"\varepsilon"
    if word.lower() in greek_letters_set:
        return translate(word)
    return escaped(word) if len(word) == 1 or word.isdigit() else rf"\mathrm{{{escaped(word)}}}"
