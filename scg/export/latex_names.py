r"""Names in LaTeX, as mathematicians set them: Greek letters, numbers as subscripts, words upright.

This module imports sympy; import it inside functions only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sympy.printing.latex import greek_letters_set, translate

_FUNCTIONS = {"log", "exp", "ln", "lg", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min", "sup", "inf", "lim",
              "det", "dim", "arg", "gcd", "sqrt"}
_ACCENTS = {"\u0300": "grave", "\u0301": "acute", "\u0302": "hat", "\u0303": "tilde", "\u0304": "bar",
            "\u0306": "breve", "\u0307": "dot", "\u0308": "ddot", "\u030a": "mathring", "\u030c": "check"}
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
    """Characters that are commands of LaTeX as characters, and none that not every LaTeX takes."""
    return "".join(map(_character, unicodedata.normalize("NFC", text)))


def _character(c: str) -> str:
    if c.isascii():
        return _SPECIAL.get(c, c)
    greek = unicodedata.name(c, "").removeprefix("GREEK ").replace("LETTER ", "").split()
    if len(greek) == 2 and greek[0] in ("SMALL", "CAPITAL"):
        letter = {"LAMDA": "LAMBDA"}.get(greek[1], greek[1])
        letter = letter.capitalize() if greek[0] == "CAPITAL" else letter.lower()
        if letter.lower() in greek_letters_set:
            return translate(letter)
    base, *marks = list(unicodedata.normalize("NFD", c))
    if base.isascii() and marks and all(m in _ACCENTS for m in marks):
        for m in marks:
            base = rf"\{_ACCENTS[m]}{{{base}}}"
        return base
    return f"U{ord(c):X}"


# --- with accents and indices ----------------------------------------------------------------------------------------
def accented(name: str, accent: str) -> str:
    """A name in LaTeX with an accent over its head."""
    head, *below = re.split(r"(?<!\\)(?=_)", name, maxsplit=1)  # at its subscript
    return rf"\{accent}{{{head}}}{''.join(below)}"


def primed(name: str, prime: str) -> str:
    """A name in LaTeX with a prime, before its subscript."""
    head, *below = re.split(r"(?<!\\)(?=_)", name, maxsplit=1)
    return head + prime + "".join(below)


def indexed(name: str, index: Sequence[str]) -> str:
    """A name in LaTeX with more indices: h_{1} and i are h_{1,i}."""
    below = ",".join(index)
    if not index:
        return name
    return f"{name[:-1]},{below}}}" if _ends_with_subscript(name) else f"{name}_{{{below}}}"


def _ends_with_subscript(name: str) -> bool:
    depth = 0
    for i in range(len(name) - 1, -1, -1):
        depth += (name[i] == "}") - (name[i] == "{")
        if depth == 0:
            return name.endswith("}") and name[i - 1: i] == "_" and name[i - 2: i - 1] != "\\"
    return False


def _word(word: str) -> str:
    if word == "epsilon":
        return r"\varepsilon"
    if word.lower() in greek_letters_set:
        return translate(word)
    return escaped(word) if len(word) == 1 or word.isdigit() else rf"\mathrm{{{escaped(word)}}}"
