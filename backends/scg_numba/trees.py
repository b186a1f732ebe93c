"""Kernels' texts as Python parses them, and what stands in them of statements that are done again and again.

The file's text is pasted into exported modules: it needs Python only.
"""

import ast
import functools
import re


def in_python(namespace, name):
    """A function of the module's text: that which was decorated may have no body."""
    found = {}
    exec("\n".join(lines_of(namespace["_TEXT"], name)), namespace, found)
    return found[name]


def lines_of(text, name):
    """The lines of a function of a module, without comments."""
    lines = text[re.search(rf"^def {name}\(", text, re.MULTILINE).start() :].split("\n")
    end = next((i for i, line in enumerate(lines) if i and line and line[0] not in " #"), len(lines))
    return [x for x in (line.split("#")[0].rstrip() for line in lines[:end]) if x]


def nodes_of(tree):
    """The statements and expressions of a tree, outer ones first, in half the time that `ast.walk` takes."""
    found = [tree]
    for x in found:
        for field in _fields(type(x)):
            value = getattr(x, field, None)
            if type(value) is list:
                found += [y for y in value if isinstance(y, NODES)]
            elif isinstance(value, NODES):
                found.append(value)
    return found


NODES = (ast.expr, ast.stmt)
_LEAVES = ("ctx", "id", "op", "ops", "attr", "kind", "type_comment")


@functools.cache
def _fields(kind):
    """The names of what may be nodes in one of a kind."""
    return tuple(name for name in kind._fields if name not in _LEAVES)


class Varying(int):
    """A whole number that differs from time to time: the first one, and all of them.

    Parameters
    ----------
    numbers : sequence of int
        One for each time; if they are equal, what is made is that number.
    loop : str
        The counter of times.
    """

    def __new__(cls, numbers, loop):
        if len(set(numbers)) == 1:
            return numbers[0]
        made = super().__new__(cls, numbers[0])
        made.numbers, made.loop = tuple(numbers), loop
        return made

    def __repr__(self):
        return f"{self.loop}{self.numbers}"

    def __add__(self, other):
        return Varying([a + b for a, b in zip(self.numbers, self._each(other))], self.loop)

    def __sub__(self, other):
        return Varying([a - b for a, b in zip(self.numbers, self._each(other))], self.loop)

    def __rsub__(self, other):
        return Varying([b - a for a, b in zip(self.numbers, self._each(other))], self.loop)

    def __mul__(self, other):
        return Varying([a * b for a, b in zip(self.numbers, self._each(other))], self.loop)

    __radd__, __rmul__ = __add__, __mul__

    def _each(self, other):
        return other.numbers if isinstance(other, Varying) else [other] * len(self.numbers)

    @property
    def step(self):
        """How much each is more than the one before; None if that is not always the same."""
        steps = {b - a for a, b in zip(self.numbers, self.numbers[1:])}
        return steps.pop() if len(steps) == 1 else None


def at(number, time):
    """What a number is at one of the times."""
    return number.numbers[time] if isinstance(number, Varying) else number


class Repeated(ast.For):
    """A loop over times.

    Attributes
    ----------
    arrays : dict of str to tuple of str
        Names of arrays in the body, and which one each is, time by time.
    """
