"""Tables of statements in kernels: their operands as an array, and one loop with code for each form of statement."""

from __future__ import annotations

import re

import numpy as np

from scg.schedule import language as lang
from scg_numba.spelling import Spelling

# a variable, a number that is given, a constant array, a literal; a power and an integer that a function is given last
# stay as they are: the compiler is to know them
_OPERAND = re.compile(r"(?P<power>(?:\*\*|,) *-?\d+\b(?![.\w]))|(?<![\w.])(?:(?P<name>v\d+)\b|real(?P<given>\d+)\b"
                      r"|(?P<array>CONST\d+)\[|(?P<real>\d+\.\d*(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)|(?P<whole>\d+)\b)")
_READ = {"real": "{}", "bool": "({} != 0)", "int": "np.int64({})"}


class Forms:
    """Writes the tables of one kernel, and finds their operands.

    Attributes
    ----------
    constants : list of array
        The kernel's, with the tables' in their places.
    pool : dict
        Arrays that tables read as one, and where they begin.
    """

    def __init__(self, kernel: lang.Kernel, spelling: Spelling):
        self.spelling, self.constants = spelling, list(kernel.constants)
        self.pool: dict[str, int] = {}

    def pooled(self) -> np.ndarray:
        """The arrays that tables read as one."""
        return np.concatenate([self._array(name) for name in self.pool])

    def of(self, table: lang.Table) -> list[str]:
        """The lines of a table."""
        forms: dict[str, int] = {}
        rows: list[list[int]] = []
        locations = dict(table.locations)
        for row in table.rows:
            form, operands = self._form(self.spelling.text(row.value), locations)
            rows.append([forms.setdefault(form, len(forms)), row.slot, *operands])
        width = max(map(len, rows))
        self.constants[table.table] = np.array([row + [0] * (width - len(row)) for row in rows], dtype=np.int64)
        name, lines = f"CONST{table.table}", [f"for s_ in range({len(rows)}):"]
        for form, k in forms.items():
            form = form.replace("TABLE", name)
            lines.append(f"    if {name}[s_, 0] == {k}:")
            lines += ["        " + line for line in _run(form, name, table.loop)]
        return lines

    def _form(self, text: str, locations: dict[str, lang.Location]) -> tuple[str, list[int]]:
        """A statement with places for its operands, by what these are, and the operands."""
        operands: list[int] = []

        def location_of(m: re.Match) -> str:
            if m["power"]:
                return m[0]
            at = len(operands) + 2
            if m["name"]:
                if m["name"] not in locations:
                    return m[0]
                location = locations[m["name"]]
                operands.append(location.slot)
                place = f"a_{at}[LANE]" if location.by_lane else f"plain[TABLE[s_, {at}]]"
                return _READ[location.type].format(place)
            if m["array"]:
                offset = self._pooled(m["array"])
                if offset is None:
                    return m[0]
                operands.append(offset)
                return f"POOL[TABLE[s_, {at}] + "
            if m["real"]:
                operands.append(self.spelling.place_of(lang.Num(float(m["real"]), "float64")))
                return f"REALS[TABLE[s_, {at}]]"
            if m["given"]:
                operands.append(int(m["given"]))
                kind = self._types[int(m["given"])]
                return f"np.float32(REALS[TABLE[s_, {at}]])" if kind == "float32" else f"REALS[TABLE[s_, {at}]]"
            operands.append(int(m["whole"]))
            return f"TABLE[s_, {at}]"

        return _OPERAND.sub(location_of, text), operands

    @property
    def _types(self) -> list[str]:
        """The types that the numbers which the kernel is given are used in."""
        return [kind for _, kind in self.spelling.reals]

    def _array(self, name: str) -> np.ndarray:
        return self.constants[int(name.removeprefix("CONST"))]  # type: ignore[return-value]

    def _pooled(self, name: str) -> int | None:
        """Where an array of numbers of the module begins in the array of all that are asked for here."""
        if self._array(name).dtype.kind != "f":
            return None
        if name not in self.pool:
            self.pool[name] = sum(self._array(n).size for n in self.pool)
        return self.pool[name]


def _run(form: str, table: str, loop: tuple[lang.Var, str] | None) -> list[str]:
    """What computes a statement of a form."""
    if loop is None:
        return [f"plain[{table}[s_, 1]] = {form}"]
    lane, count = loop[0].name, {"lanes": "padded", "counted": "lanes", "tile rows": "rows"}[loop[1]]
    lines = [f"a_{at} = arena[{table}[s_, {at}] * W : {table}[s_, {at}] * W + {count}]"
             for at in sorted({int(n) for n in re.findall(r"a_(\d+)\[LANE\]", form)})]
    lines.append(f"to_ = arena[{table}[s_, 1] * W : {table}[s_, 1] * W + {count}]")
    # what is no lane's own is read once
    for text in dict.fromkeys(re.findall(rf"(?:plain|REALS)\[{table}\[s_, \d+\]\]", form)):
        name = "b_" + re.findall(r"s_, (\d+)", text)[0]
        lines.append(f"{name} = {text}")
        form = form.replace(text, name)
    return [*lines, f"for {lane} in range({count}):", f"    to_[{lane}] = {form.replace('LANE', lane)}"]
