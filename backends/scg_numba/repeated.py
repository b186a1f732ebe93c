"""Statements of kernels that repeat, as those of a layer do in a deep net, become loops before they are compiled.

The times may differ in names of variables that nobody else reads, in whole numbers, and in which of the arrays that the
kernel is given is read. What is compiled is the first time, with numbers and arrays that depend on a counter; so the
time that it takes grows with what a layer is, and not with how many there are. Each time does what it did, in its
order. The file's text is pasted into exported modules: it needs NumPy only.
"""

import ast
import re
from collections import Counter

import numpy as np

from scg_numba.trees import Repeated, Varying, nodes_of

FEWEST_TIMES = 4  # times that are worth a loop
FEWEST_LINES = 30  # lines that it must save
LONGEST_TIME = 400  # statements of one time
MOST_TRIED = 40  # ways to repeat that are looked at
READ_ONLY = ("leaf", "CONST")  # how arrays are called in which nothing is written

_NUMBER = re.compile(r"(?<!range\()(?<!\d)\d+")  # how far a loop counts is no number that may differ
_TOKEN = re.compile(r"[A-Za-z_]\w*|\d+\.?\d*(?:[eE][-+]?\d+)?")
_GIVEN = re.compile(r"^ *(?:for (\w+) in |((?:\w+(?:, | = ))*\w+),? [-+*/|]?= )", re.MULTILINE)
_JUMP = re.compile(r"\b(?:break|continue)\b")


# --- finding them -----------------------------------------------------------------------------------------------------
def parsed(lines, arrays):
    """A function of these lines, with loops for what repeats; None if nothing does.

    There are no comments in the lines. `arrays` are those of the arguments in which nothing is written, and what they
    hold.
    """
    found = Finder(lines, arrays)
    found.block(1, len(lines), 4)
    if not found.loops:
        return None
    (tree,) = ast.parse("\n".join(found.lines)).body
    _into(tree.body, found.loops)
    return tree


class Finder:
    """Writes a function anew, with what repeats written once.

    Attributes
    ----------
    lines : list of str
    loops : dict of str to dict
        The loops over times, by their counters: what words and numbers are, time by time, if they differ, by their
        lines and columns.
    """

    def __init__(self, lines, arrays):
        self.given, self.arrays = lines, arrays
        self.lines, self.loops = lines[:1], {}
        self.total = Counter(_TOKEN.findall("\n".join(lines)))

    def block(self, first, end, indent):
        """The statements of a block, which begins and ends at these lines."""
        starts = [i for i in range(first, end)
                  if self.given[i][indent] != " " and not self.given[i].startswith(("else:", "elif "), indent)]
        block = Block(self.given, starts, end, indent, self)
        self._split(block, 0, len(starts), indent)

    def _split(self, block, first, end, indent):
        """What repeats most between two statements, and then before it and behind it."""
        times = block.times(first, end)
        if times is not None:
            self._split(block, first, times[0], indent)
            self._write(block, *times, indent)
            self._split(block, times[0] + times[1] * times[2], end, indent)
            return
        for i in range(first, end):
            start, stop = block.lines_of(i, i + 1)
            if self.given[start].startswith("while ", indent):
                self.lines.append(self.given[start])
                self.block(start + 1, stop, indent + 4)
            else:
                self.lines += self.given[start:stop]

    def _write(self, block, start, period, count, indent):
        """The first time, as the body of a loop."""
        counter = f"time{len(self.loops)}"
        self.lines.append(f"{' ' * indent}for {counter} in range({count}):")
        first, stop = block.lines_of(start, start + period)
        each = zip(*(block.words(start + k * period, period) for k in range(count)))
        differing = self.loops[counter] = {}
        for line in self.given[first:stop]:
            self.lines.append("    " + line)
            for found in _TOKEN.finditer(line):
                columns = next(each)
                if len(set(columns)) > 1 and (columns[0].isdigit() or columns[0] in self.arrays):
                    differing[len(self.lines), found.start() + 4] = columns


class Block:
    """The statements of a block; of loops that are no part of a time, the head."""

    def __init__(self, lines, starts, end, indent, whole):
        self.bounds, self.whole = [*starts, end], whole
        self.texts = [lines[a] if lines[a].startswith("while ", indent) else "\n".join(lines[a:b])
                      for a, b in zip(self.bounds, self.bounds[1:])]
        forms = {}
        self.forms = np.array([
            forms.setdefault(i if x.startswith("while ", indent) else _NUMBER.sub("#", x), len(forms))
            for i, x in enumerate(self.texts)], np.int64)
        self.nests = np.cumsum([0, *("for " in text for text in self.texts)])
        self.tokens = [_TOKEN.findall(text) for text in self.texts]
        given = given_in("\n".join(self.texts))
        seen = {}  # where a variable is seen first and last
        for i, tokens in enumerate(self.tokens):
            for name in given.intersection(tokens):
                seen[name] = seen.get(name, (i,))[0], i
        self.spans = np.array([*seen.values()], np.int64).reshape(-1, 2)

    def lines_of(self, first, end):
        """Where statements begin and end."""
        return self.bounds[first], self.bounds[end]

    def words(self, first, count):
        """The words and numbers of so many statements."""
        return [x for tokens in self.tokens[first : first + count] for x in tokens]

    def times(self, first, end):
        """What saves most lines between two statements: where it begins, how many statements it is, and how often."""
        found = []
        for period in range(1, min((end - first) // FEWEST_TIMES, LONGEST_TIME) + 1):
            equal = self.forms[first + period : end] == self.forms[first : end - period]
            breaks = np.flatnonzero(~equal)
            starts, stops = np.append(0, breaks + 1), np.append(breaks, len(equal))
            for i in np.flatnonzero(stops - starts >= (FEWEST_TIMES - 1) * period):
                start, length = first + int(starts[i]), int(stops[i] - starts[i]) + period
                saved = self._saved(start, period, length // period)
                if saved >= FEWEST_LINES and self.nests[start] < self.nests[start + period]:
                    found.append((saved, start, period, length))
        for _, start, period, length in sorted(found, reverse=True)[:MOST_TRIED]:
            times = self._sound(start, period, length)
            if times is not None and self._saved(*times) >= FEWEST_LINES:
                return times
        return None

    def _saved(self, start, period, count):
        """How many lines a loop saves."""
        first, stop = self.lines_of(start + period, start + period * count)
        return stop - first

    def _sound(self, start, period, length):
        """The same of a run of statements whose forms repeat, cut where no variable is needed on both sides."""
        first, last = self.spans[(self.spans[:, 0] >= start) & (self.spans[:, 1] - self.spans[:, 0] < period)].T
        last, size = np.minimum(last, start + length), length + 2
        needed = np.cumsum(np.bincount(first - start + 1, minlength=size)[:size]
                           - np.bincount(last - start + 1, minlength=size)[:size])
        for phase in range(period):
            count = (length - phase) // period
            if count < FEWEST_TIMES:
                return None
            if not needed[phase + period : phase + count * period + 1 : period].any():
                return self._alike(start + phase, period, count)
        return None

    def _alike(self, start, period, count):
        """The longest part of it in which each time is as the one before."""
        bodies = [self.texts[start + k * period : start + (k + 1) * period] for k in range(count)]
        if any(not x.startswith(("for ", "while ")) and _JUMP.search(x) for x in map(str.lstrip, bodies[0])):
            return None
        times = [Time(self.words(start + k * period, period), "\n".join(body), self.whole)
                 for k, body in enumerate(bodies)]
        best, began = (0, 0), 0
        for k in range(count):
            if k and not times[k - 1].goes_on(times[k]):
                began = k
            best = max(best, (k + 1 - began, -began))
        return (start - best[1] * period, period, best[0]) if best[0] >= FEWEST_TIMES else None


class Time:
    """What is done once of what is done again and again."""

    def __init__(self, tokens, text, whole):
        self.tokens, self.whole = tokens, whole
        self.given = given_in(text)
        here = Counter(tokens)
        self.own = {name for name in self.given if here[name] == whole.total[name]}

    def goes_on(self, other):
        """Whether another one does the same, with variables of its own, other numbers and other arrays."""
        if len(self.tokens) != len(other.tokens) or self.given - self.own != other.given - other.own:
            return False
        names, arrays = {}, self.whole.arrays
        for a, b in zip(self.tokens, other.tokens):
            if a in self.own or b in other.own:
                if a not in self.own or b not in other.own or names.setdefault(a, b) != b:
                    return False
            elif a != b and not (a.isdigit() and b.isdigit()) and not (
                    a in arrays and b in arrays and arrays[a] == arrays[b]):
                return False
        return len(set(names.values())) == len(names)


def given_in(text):
    """The variables that statements give a value."""
    return {name for counter, names in _GIVEN.findall(text)
            for name in ((counter or names,) if names.isidentifier() or counter else _TOKEN.findall(names))}


def _into(statements, loops):
    """Loops over times, in place of those that were parsed."""
    for i, s in enumerate(statements):
        if isinstance(s, ast.While):
            _into(s.body, loops)
        elif isinstance(s, ast.For) and s.target.id in loops:
            statements[i] = made = Repeated(s.target, s.iter, s.body, [])
            made.arrays, names = {}, {}
            for x in nodes_of(s):
                columns = loops[s.target.id].get((getattr(x, "lineno", 0), getattr(x, "col_offset", 0)))
                if columns is None:
                    continue
                if isinstance(x, ast.Constant):
                    x.value = Varying([*map(int, columns)], s.target.id)
                elif isinstance(x, ast.Name):
                    x.id = names.setdefault(columns, f"{x.id}_{s.target.id}_{len(names)}")
                    made.arrays[x.id] = columns
