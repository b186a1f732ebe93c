"""Long straight-line code as data: a table of statements, and one loop per form of statement that runs them.

A compiler's time grows faster than the length of a function without branches, and graphs of thousands of nodes make
such functions. Their statements have few *forms* ("a product of two lanes", "the tanh of one"), so where a level of a
nest is long it is written as a table, one row a statement, and as code for each form. The text is then linear in the
number of nodes, the time to compile it in the number of forms. Values pass from statement to statement through the
arena, whose places are used again when their last reader is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scg_numba.scalars import Nest

LONGEST = 1200  # what the statements of a level may weigh that are written out
# functions that are compiled wherever they are used; they weigh 8, and choices 3
_DEAR = re.compile(r"(?<![\w.])(?:cos|exp|expm1|log|log1p|sigmoid|sin|softplus|tanh|digamma|erf|erfc|lgamma|ndtr|ndtri"
                   r"|trigamma|deviance|log_ratio|(?:di|tri|l)gamma_rest)\(|\*\* v")
_LET = re.compile(r"(v\d+) = (.*)")
_STORE = re.compile(r"(?:plain\[(?P<plain>\d+)\]|arena\[(?P<arena>\d+) \* W \+ [lq]\]) = (?P<name>v\d+)")
_NAME = re.compile(r"(?<![\w.])v\d+\b")
# a variable, a constant array, a literal; a power and an integer that a function is given last stay as they are: the
# compiler is to know them
_OPERAND = re.compile(r"(?P<power>(?:\*\*|,) *-?\d+\b(?![.\w]))|(?<![\w.])(?:(?P<name>v\d+)\b|(?P<array>CONST\d+)\["
                      r"|(?P<real>\d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)|(?P<whole>\d+)\b)")
_READ = {"real": "{}", "bool": "({} != 0)", "int": "np.int64({})"}


def long(statements: Sequence[str]) -> bool:
    """Whether a level is to be written as a table."""
    if 8 * len(statements) <= LONGEST:
        return False
    return sum(8 if _DEAR.search(text) else 3 if " if " in text else 1 for text in statements) > LONGEST


_READ_WHOLE = re.compile(_STORE.pattern.removesuffix(" = (?P<name>v\\d+)"))


class Location(NamedTuple):
    """Where a variable's value is kept: by lane in the arena, or in the plain array; and what it is."""

    slot: int
    by_lane: bool
    kind: str


class Tapes:
    """Writes one nest, its long levels as tables.

    Parameters
    ----------
    emitter : object
        With `write`, `indent`, `allocate`, `constant_array(numbers) -> name`, and `pooled(name of an array) -> offset`.
    nest : Nest
    headers : sequence of str
        Of the nest's loops.
    by_lane : bool
        Whether the innermost loop is over lanes or rows.
    """

    def __init__(self, emitter, nest: Nest, headers: Sequence[str], by_lane: bool):
        self.e, self.nest, self.headers, self.by_lane = emitter, nest, headers, by_lane
        self.locations: dict[str, Location] = {}
        self.homes: dict[str, int] = {}  # variables that stand in a buffer from the start, which is theirs
        self.lets, self.others = self._sorted_out()
        self.readers = self._readers()

    def _sorted_out(self) -> tuple[list[list[tuple[str, str]]], list[list[str]]]:
        """For each level, what goes into its table, and what stays as it is."""
        lets: list[list[tuple[str, str]]] = []
        others: list[list[str]] = []
        kept: set[str] = set()  # variables that are of another type than the arrays, or made of such
        for statements in self.nest.levels:
            lets.append([])
            others.append([])
            table = long(statements)
            innermost = self.by_lane and statements is self.nest.levels[-1]
            own: set[str] = set()
            for text in statements:
                store = _STORE.fullmatch(text)
                if store and store["name"] in own and store["name"] not in self.homes \
                        and (store["arena"] is not None) == innermost:
                    self.homes[store["name"]] = int(store["arena"] or store["plain"])
                    continue
                found = _LET.fullmatch(text)
                read = _READ_WHOLE.fullmatch(found[2]) if found and table else None
                if found and read and (read["arena"] is not None) == innermost:
                    self.locations[found[1]] = Location(int(read["arena"] or read["plain"]), innermost, "real")
                    continue
                wide = self.nest.dtype == "float32" and "np.float64(" in text
                if found and table and not wide and kept.isdisjoint(_NAME.findall(found[2])):
                    lets[-1].append((found[1], found[2]))
                    own.add(found[1])
                    continue
                others[-1].append(text)
                if found and (table or wide):
                    kept.add(found[1])
        others[-1].extend(self.nest.last)
        return lets, others

    def _readers(self) -> dict[str, int]:
        """The level whose table alone reads a variable; −1 for those that others read too."""
        readers: dict[str, int] = {}
        for depth, lets in enumerate(self.lets):
            for _, text in lets:
                for name in _NAME.findall(text):
                    readers[name] = depth if readers.get(name, depth) == depth else -1
        for others in self.others:
            for text in others:
                readers.update((name, -1) for name in _NAME.findall(text))
        return readers

    def write(self) -> None:
        """The whole nest."""
        e, depth = self.e, len(self.headers)
        for level in range(depth + 1):
            innermost = self.by_lane and level == depth
            if innermost:
                self._table(level, True)
            if level:
                e.write(self.headers[level - 1])
                e.indent += 1
            if not innermost:
                self._table(level, False)
            self._ordinary(level, innermost)
        e.indent -= depth

    def _ordinary(self, level: int, by_lane: bool) -> None:
        """What stays as it is, with what it reads of tables before it, and what tables further in read of it after."""
        e, own = self.e, set()
        for text in self.others[level]:
            for name in _NAME.findall(text):
                if name in self.locations and name not in own:
                    own.add(name)
                    e.write(f"{name} = {self._element(name)}")
            found = _LET.fullmatch(text)
            own.update([found[1]] if found else [])
            e.write(text)
        if level == len(self.headers) and level and not self.others[level]:
            e.write("pass")
        inner = {n for lets in self.lets[level + 1:] for _, text in lets for n in _NAME.findall(text)}
        for text in self.others[level]:
            found = _LET.fullmatch(text)
            if found and found[1] in inner:
                location = self._keep(found[1], False)
                e.write(f"plain[{location.slot}] = {found[1]}")

    def _keep(self, name: str, by_lane: bool, slot: int | None = None) -> Location:
        if slot is None:
            slot = self.e.allocate(1, "lane" if by_lane else None).offset
        self.locations[name] = location = Location(slot, by_lane, self.nest.kind_of(name))
        return location

    def _element(self, name: str) -> str:
        location = self.locations[name]
        at = re.match(r"for (\w+) in", self.headers[-1])[1] if location.by_lane else ""  # type: ignore[index]
        element = f"arena[{location.slot} * W + {at}]" if location.by_lane else f"plain[{location.slot}]"
        return _READ[location.kind].format(element)

    # --- tables -----------------------------------------------------------------------------------------------------
    def _table(self, level: int, by_lane: bool) -> None:
        lets = self.lets[level]
        if not lets:
            return
        last = {name: i for i, (_, text) in enumerate(lets) for name in _NAME.findall(text)}
        forms: dict[str, int] = {}
        rows: list[list[int]] = []
        numbers: dict[float, int] = {}
        free: list[int] = []
        here = {name for name, _ in lets}
        for i, (name, text) in enumerate(lets):
            form, operands = self._form(text, numbers)
            slot = self.homes[name] if name in self.homes else free.pop() if free else None
            location = self._keep(name, by_lane, slot)
            rows.append([forms.setdefault(form, len(forms)), location.slot, *operands])
            for n in dict.fromkeys((*_NAME.findall(text), name)):  # not a set: the text is the same in every process
                if n in here and n not in self.homes and last.get(n, i) == i and self.readers.get(n, level) == level:
                    free.append(self.locations[n].slot)
        width = max(map(len, rows))
        table = self.e.constant_array(np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64))
        reals = self.e.constant_array(np.array(list(numbers) or [0.0], dtype=self.nest.dtype))
        self._loop(table, len(rows), {k: form.replace("REALS", reals) for form, k in forms.items()}, level, by_lane)

    def _form(self, text: str, numbers: dict[float, int]) -> tuple[str, list[int]]:
        """A statement with places for its operands, by what these are, and the operands."""
        operands: list[int] = []

        def location_of(m: re.Match) -> str:
            if m["power"]:
                return m[0]
            at = len(operands) + 2
            if m["name"]:
                if m["name"] not in self.locations:
                    return m[0]
                location = self.locations[m["name"]]
                operands.append(location.slot)
                return _READ[location.kind].format(f"a_{at}[LANE]" if location.by_lane else f"plain[TABLE[s_, {at}]]")
            if m["array"]:
                offset = self.e.pooled(m["array"])
                if offset is None:
                    return m[0]
                operands.append(offset)
                return f"POOL[TABLE[s_, {at}] + "
            if m["real"]:
                operands.append(numbers.setdefault(float(m["real"]), len(numbers)))
                return f"REALS[TABLE[s_, {at}]]"
            operands.append(int(m["whole"]))
            return f"TABLE[s_, {at}]"

        return _OPERAND.sub(location_of, text), operands

    def _loop(self, table: str, rows: int, forms: dict[int, str], level: int, by_lane: bool) -> None:
        e = self.e
        e.write(f"for s_ in range({rows}):")
        e.indent += 1
        for k, form in forms.items():
            e.write(f"if {table}[s_, 0] == {k}:")
            e.indent += 1
            self._run(form, table, level, by_lane)
            e.indent -= 1
        e.indent -= 1

    def _run(self, form: str, table: str, level: int, by_lane: bool) -> None:
        e, form = self.e, form.replace("TABLE", table)
        if not by_lane:
            e.write(f"plain[{table}[s_, 1]] = {form}")
            return
        lane, count = re.fullmatch(r"for (\w+) in range\((\w+)\):", self.headers[level - 1]).groups()  # type: ignore
        for at in sorted({int(n) for n in re.findall(r"a_(\d+)\[LANE\]", form)}):
            e.write(f"a_{at} = arena[{table}[s_, {at}] * W : {table}[s_, {at}] * W + {count}]")
        e.write(f"to_ = arena[{table}[s_, 1] * W : {table}[s_, 1] * W + {count}]")
        # what is no lane's own is read once
        shared = dict.fromkeys(re.findall(rf"(?:plain|CONST\d+)\[{table}\[s_, \d+\]\]", form))
        for text in shared:
            name = "b_" + re.findall(r"s_, (\d+)", text)[0]
            e.write(f"{name} = {text}")
            form = form.replace(text, name)
        e.write(f"for {lane} in range({count}):")
        e.write(f"    to_[{lane}] = {form.replace('LANE', lane)}")
