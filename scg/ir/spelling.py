"""How ops are spelled: templates, and the parentheses that Python's grammar asks for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_LEVELS = {sign: level for level, signs in enumerate(
    (("==", "!=", "<", "<=", ">", ">="), ("|",), ("^",), ("&",), ("+", "-"), ("*", "/", "//", "%", "@")), 1)
    for sign in signs}
_UNARY, _POWER, ATOM = 7, 8, 9
_BINARY = re.compile(r"\0 ?(\*\*|//|==|!=|<=|>=|[-+*/%@<>&|^]) ?(?=[\0\w(\[-])")
_HOLE = re.compile(r"\{(\d+)\}")
_JOINED = re.compile(r" (//|==|!=|<=|>=|[-+*/%@<>&|^]) ")
_ASSOCIATIVE = {"+": "+-", "*": "*/", "&": "&", "|": "|"}  # what needs no parentheses on the right of these


class Hole(NamedTuple):
    """A place for an argument; `side` is where in the template: left, right, alone, base, or inner, in brackets."""

    position: int
    side: str


class Template(NamedTuple):
    """A template taken apart; `sign` is its outermost operator, "" if it needs no parentheses anywhere."""

    parts: tuple[str | Hole, ...]
    sign: str

    @property
    def through(self) -> int | None:
        """The argument that it is spelled as, if it is spelled as that alone."""
        first = self.parts[0]
        return first.position if len(self.parts) == 1 and isinstance(first, Hole) else None


@lru_cache(4096)
def template(text: str) -> Template:
    """A template such as ``"{0} + {1}"``, ``"{0}[3]"`` or ``"where({0}, {1}, {2})"``."""
    pieces = _HOLE.split(text)
    outer, depth, depths = "", 0, []
    for i, piece in enumerate(pieces):
        if i % 2:
            depths.append(depth)
            outer += "\0" if depth == 0 else ""
            continue
        for c in piece:
            depth -= c in ")]"
            outer += c if depth == 0 else ""
            depth += c in "(["
    sign = _outermost(outer)
    sides = iter(_sides(outer, sign, depths))
    parts = [Hole(int(piece), next(sides)) if i % 2 else piece for i, piece in enumerate(pieces)]
    return Template(tuple(p for p in parts if p != ""), sign)


def _outermost(outer: str) -> str:
    if outer[:1] in ("-", "~") and outer[1:2] == "\0":
        return f"unary {outer[0]}"
    found = _BINARY.match(outer)
    return found[1] if found else ""


def _sides(outer: str, sign: str, depths: list[int]) -> list[str]:
    top = ["alone"]
    if outer != "\0":
        top = ["operand"] if sign.startswith("unary") else ["left", "right"] if sign else ["base"] * outer.count("\0")
    left = iter(top)
    return ["inner" if depth else next(left) for depth in depths]


def moved(text: str, by: int) -> str:
    """A template whose places are counted from a later one."""
    return _HOLE.sub(lambda hole: f"{{{int(hole[1]) + by}}}", text)


def level(sign: str) -> int:
    """How tightly an operator binds."""
    return ATOM if not sign else _UNARY if sign.startswith("unary") else _POWER if sign == "**" else _LEVELS[sign]


def bracketed(sign: str, side: str, outer: str) -> bool:
    """Whether what has this outermost operator needs parentheses on that side of another operator."""
    if side in ("inner", "alone") or not sign:
        return False
    own, around = level(sign), level(outer)
    if side == "base" or own < around:
        return side == "base" or not (outer == "**" and side == "right" and sign.startswith("unary"))
    if "@" in (sign, outer) and own == around:
        return sign != outer or side == "right"
    if own > around or side == "operand":
        return False
    if outer == "**":
        return side == "left"
    if side == "left":
        return own == level("==")
    return sign not in _ASSOCIATIVE.get(outer, "")


def sign_of(text: str) -> str:
    """The outermost operator of a text that is written out already."""
    depth, outer = 0, ""
    for c in text:
        depth -= c in ")]"
        outer += c if depth == 0 else ""
        depth += c in "(["
    signs = _JOINED.findall(outer)
    if not signs:
        return "unary -" if text.startswith("-") else "**" if "**" in outer else ""
    return min(signs, key=level)

