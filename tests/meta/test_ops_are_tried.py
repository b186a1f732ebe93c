"""An op from outside the package is tried when it is declared: a wrong record is refused, with what is wrong in it."""

from __future__ import annotations

import re

import numpy as np
import pytest

import scg
from scg.extend import BLOCK, JUMP, KINK, SMOOTH, Pole, elementwise
from scg.ir.op import OPS
from scg.ops import trial

SIDES = ((0.7,), (-0.7,))
STEP = "(1.0 if {0} > 0.0 else 0.0)"


def declared(value, source, derivative, samples=SIDES, **fields):
    """The op, which is forgotten afterwards."""
    elementwise("tried", value, source, derivative=derivative, sympy=lambda m, x: x, samples=samples, **fields)
    del OPS["tried"]


def step(x):
    return (x > 0.0) * 1.0


@pytest.mark.parametrize("words, record", {
    "a jump without derivative": (r"smooth there.*smoothness=JUMP", (step, STEP, lambda g, y, x: (None,), ((0.7,),))),
    "a jump with slope 0": (r"its value jumps.*smoothness=JUMP", (step, STEP, lambda g, y, x: (0.0 * g,))),
    "a sawtooth": ("its value jumps", (lambda x: x - np.floor(x), "({0} - np.floor({0}))", lambda g, y, x: (g,))),
    "a pole": ("grows without bound", (lambda x: 1.0 / x, "(1.0 / {0})", lambda g, y, x: (-g * y * y,),
                                       ((0.7,), (-1.0,)))),
    "a source of its own": (r"source that is 2.7.*value there is 1.7",
                            (lambda x: x + 1.0, "({0} + 2.0)", lambda g, y, x: (g,))),
    "a wrong derivative": (r"derivative that is 3.*changes there by 1",
                           (lambda x: x + 1.0, "({0} + 1.0)", lambda g, y, x: (3.0 * g,))),
    "no tuple": ("no tuple of 1", (np.exp, "exp({0})", lambda g, y, x: g * y)),
    "an unknown function": ("Kernels know no arctan", (np.arctan, "arctan({0})", lambda g, y, x: (g / (1.0 + x * x),))),
    "no expression": ("no expression", (np.exp, "exp({0}", lambda g, y, x: (g * y,)))}.values())
def test_a_wrong_record_is_refused(words, record):
    with pytest.raises(scg.DeclarationError, match=words):
        declared(*record)
    assert "tried" not in OPS, "what is refused is not registered"


@pytest.mark.parametrize("record, fields", [
    ((step, STEP, lambda g, y, x: (None,)), {"smoothness": JUMP}),
    ((step, STEP, lambda g, y, x: (None,)), {"smoothness": BLOCK}),
    ((np.abs, "abs({0})", lambda g, y, x: (g * scg.where(x > 0.0, 1.0, -1.0),), (*SIDES, (0.0,))),
     {"smoothness": KINK}),
    ((lambda x: 1.0 / x, "(1.0 / {0})", lambda g, y, x: (-g * y * y,)),
     {"poles": Pole("at 0", lambda n, x: x.clear_of_zero)}),
    ((np.log, "log({0})", lambda g, y, x: (g / x,), ((1e-3,), (700.0,))), {}),
    ((np.exp, "exp({0})", lambda g, y, x: (g * y,), ((-300.0,), (300.0,))), {}),
    ((lambda x: np.tanh(1e6 * x), "tanh(1000000.0 * {0})", lambda g, y, x: (g * 1e6 * (1.0 - y * y),)), {})],
    ids=["jump", "block", "kink", "pole", "log", "exp", "steep"])
def test_a_right_record_is_taken(record, fields):
    declared(*record, **fields)


def test_an_op_without_derivative_is_told_where_it_is_differentiated():
    elementwise("underived", np.exp, "exp({0})", sympy=lambda m, x: m.exp(x), samples=SIDES)
    try:
        g = scg.Graph("underived")
        g.cost("c", scg.extend.apply("underived", g.param("w")))
        with pytest.raises(scg.ConditionError, match=r"test_ops_are_tried.*underived.*no derivative"):
            scg.compile(g, backend="numpy")
    finally:
        del OPS["underived"]


def test_an_unknown_op_is_told():
    with pytest.raises(scg.DeclarationError, match="No op has that name"):
        scg.extend.apply("nope", 1.0)


def test_the_ops_of_the_package_would_be_taken():
    """The trial is no stricter than what is right: all records of the package pass it."""
    known = {n for op in OPS.values() for n in trial._names(op.source or "")}
    ops = [op for op in OPS.values() if op.kind == "elementwise" and op.samples and op.value is not None]
    assert len(ops) > 30
    for op in ops:
        trial._try(op, known)


def test_an_op_of_attributes_and_conditions_is_tried():
    with pytest.raises(scg.DeclarationError, match="derivative that is"):
        elementwise("unless_wrong", lambda c, a, b: np.where(c, b, a), "({2} if {0} else {1})",
                    smoothness=(JUMP, SMOOTH, SMOOTH),
                    derivative=lambda g, y, c, a, b: (None, scg.where(c, g, 0.0), scg.where(c, g, 0.0)),
                    sympy=lambda m, c, a, b: m.Piecewise((b, c), (a, True)),
                    samples=((True, 0.7, 0.4), (False, 0.7, 0.4)))
    assert "unless_wrong" not in OPS


def test_what_kernels_can_call_a_source_may_call():
    """A function that is added to the kernels' must be known where a source is tried."""
    from scg_numba import text

    from scg.ops.trial import known_functions

    blocks = dict(re.findall(r"from scg_numba\.(\w+) import \(?([^)]*?)\)?(?=\nfrom|\n*$)", text.IMPORTS + "\n"))
    not_of_elements = "products", "lowering", "called", "element_noise"
    rare = {name for name, module in text.RARE.items() if module not in not_of_elements}
    offered = {n.strip() for module in ("special", "vector_math") for n in blocks[module].split(",")} | rare
    assert len(offered) > 15 and offered <= known_functions()
