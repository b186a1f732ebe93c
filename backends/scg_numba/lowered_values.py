"""Expressions of kernels as LLVM's instructions: numbers, elements of arrays, calls of what Numba compiles.

The file's text is pasted into exported modules: it needs Numba only.
"""

import ast
import operator

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.core.errors import UnsupportedError
from numba.np.arrayobj import populate_array

from scg_numba.trees import Varying

CASTS = {"float32": types.float32, "float64": types.float64, "int64": types.int64, "uint64": types.uint64}
REAL = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
WHOLE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
BITS = {ast.BitAnd: "and_", ast.BitOr: "or_"}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
             ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
             ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor}
BUILTINS = {"abs": abs, "min": min, "max": max, "float": float}
COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INTP = ir.IntType(64)
WIDER = {(types.int64, types.float64), (types.float32, types.float64), (types.boolean, types.int64)}


class Value:
    """A value: LLVM's, and its type for Numba."""

    __slots__ = ("data", "kind", "llvm", "number")

    def __init__(self, llvm, kind, number=None):
        self.llvm, self.kind, self.number = llvm, types.unliteral(kind), number
        self.data = None  # of an array: where its elements begin


class Expressions:
    """Writes the expressions of a function.

    Parameters
    ----------
    context, builder
        Numba's and LLVM's.
    namespace : dict
        The module's names.
    variables : dict of str to Value
        The arguments.
    """

    def __init__(self, context, builder, namespace, variables):
        self.context, self.builder, self.names = context, builder, namespace
        self.values = variables
        self.places = {}  # of variables that change
        self.called = {}
        for value in variables.values():
            if isinstance(value.kind, types.Array) and value.data is None:
                value.data = self.field(value, "data")

    # --- numbers ----------------------------------------------------------------------------------------------------
    def value(self, node):
        """The value of an expression."""
        return self._VALUES[type(node)](self, node)

    def truth(self, node):
        """A test, as one bit."""
        return self.cast(self.value(node), types.boolean)

    def whole(self, node):
        """An index."""
        return self.cast(self.value(node), types.int64)

    def cast(self, value, kind):
        """A value in another type."""
        return value.llvm if value.kind == kind else self.context.cast(self.builder, value.llvm, value.kind, kind)

    def common(self, *values):
        """The type of what may be either."""
        kinds = [value.kind for value in values]
        return kinds[0] if kinds[0] == kinds[-1] else self.context.typing_context.unify_types(*kinds)

    def name(self, node):
        if node.id in self.places:
            place = self.places[node.id]
            return Value(self.builder.load(place.llvm), place.kind)
        return self.values[node.id] if node.id in self.values else self.literal(self.names[node.id])

    def literal(self, value):
        if type(value) is Varying:
            return Value(self.varying(value), types.int64)
        kind = {bool: types.boolean, int: types.int64, float: types.float64, np.float64: types.float64,
                np.float32: types.float32}[type(value)]
        return Value(self.context.get_constant(kind, value), kind, value)

    def varying(self, number):
        """A number that differs from time to time."""
        b, i = self.builder, self.values[number.loop].llvm
        if number.step is not None:
            return b.add(INTP(int(number)), b.mul(INTP(number.step), i, flags=("nsw",)), flags=("nsw",))
        table = ir.Constant(ir.ArrayType(INTP, len(number.numbers)), list(number.numbers))
        place = cgutils.global_constant(b, "times", table)
        return b.load(b.gep(place, [INTP(0), i], inbounds=True))

    def attribute(self, node):
        if node.attr == "size":
            array = self.value(node.value)
            return Value(self.struct(array).nitems, types.int64)
        return self.literal(float({"nan": np.nan, "inf": np.inf}[node.attr]))

    def operation(self, node):
        a, b, op = self.value(node.left), self.value(node.right), type(node.op)
        kind = self.common(a, b)
        table = REAL if isinstance(kind, types.Float) else WHOLE if kind == types.int64 else {}
        table = BITS if op in BITS and kind in (types.boolean, types.int64) else table
        if op not in table:
            return self.call(OPERATORS[op], a, b)
        flags = ("nsw",) if table is WHOLE else ()
        args = [self.cast(x, kind) for x in (a, b)]
        build = getattr(self.builder, table[op])
        return Value(build(*args) if table is BITS else build(*args, flags=flags), kind)

    def sign(self, node):
        if isinstance(node.op, ast.Not):
            return Value(self.builder.not_(self.truth(node.operand)), types.boolean)
        if isinstance(node.operand, ast.Constant):
            return self.literal(-node.operand.value)
        return self.call(operator.neg, self.value(node.operand))

    def compare(self, node):
        a, b = self.value(node.left), self.value(node.comparators[0])
        kind, by = self.common(a, b), COMPARED[type(node.ops[0])]
        kind = types.int64 if kind == types.boolean else kind
        x, y = self.cast(a, kind), self.cast(b, kind)
        if not isinstance(kind, types.Float):
            return Value(self.builder.icmp_signed(by, x, y), types.boolean)
        build = self.builder.fcmp_unordered if by == "!=" else self.builder.fcmp_ordered
        return Value(build(by, x, y), types.boolean)

    def both(self, node):
        """``and``, ``or``: the operands of kernels have no effects."""
        found = [self.truth(x) for x in node.values]
        build = self.builder.and_ if isinstance(node.op, ast.And) else self.builder.or_
        total = found[0]
        for other in found[1:]:
            total = build(total, other)
        return Value(total, types.boolean)

    def either(self, node):
        """One or the other, of which only one is computed."""
        b, test = self.builder, self.truth(node.test)
        if all(isinstance(x, ast.Name | ast.Constant) for x in (node.body, node.orelse)):
            values = [self.value(x) for x in (node.body, node.orelse)]
            kind = self.common(*values)
            return Value(b.select(test, *(self.cast(x, kind) for x in values)), kind)
        blocks = [b.append_basic_block(name) for name in ("then", "otherwise", "after")]
        b.cbranch(test, *blocks[:2])
        found = []
        for block, x in zip(blocks, (node.body, node.orelse)):
            b.position_at_end(block)
            value = self.value(x)
            found.append((value, b.block))
        kind = self.common(*(value for value, _ in found))
        ends = []
        for value, block in found:
            b.position_at_end(block)
            ends.append((self.cast(value, kind), b.block))
            b.branch(blocks[2])
        b.position_at_end(blocks[2])
        phi = b.phi(self.context.get_value_type(kind))
        for value, block in ends:
            phi.add_incoming(value, block)
        return Value(phi, kind)

    def invoked(self, node):
        """A call: of a type, or of what Numba compiles."""
        function, args = node.func, [self.value(x) for x in node.args]
        if isinstance(function, ast.Attribute):
            if function.attr in CASTS:
                kind = CASTS[function.attr]
                return Value(self.cast(args[0], kind), kind)
            return self.call(getattr(np, function.attr), *args)
        if function.id in ("min", "max") and all(x.kind == types.int64 for x in args):
            a, b = (x.llvm for x in args)
            first = self.builder.icmp_signed("<" if function.id == "min" else ">", a, b)
            return Value(self.builder.select(first, a, b), types.int64)
        if function.id == "float":
            return Value(self.cast(args[0], types.float64), types.float64)
        found = self.names.get(function.id)
        return self.call(BUILTINS[function.id] if found is None else found, *args)

    def call(self, function, *args):
        """What Numba makes of a function at these types."""
        context, kinds = self.context, tuple(x.kind for x in args)
        if not isinstance(function, Dispatcher):  # which would be compiled for every number that it is called with
            kinds = tuple(types.literal(x.number) if type(x.number) is int else x.kind for x in args)
        if (function, kinds) not in self.called:
            typing = context.typing_context
            of_function = typing.resolve_value_type(function)
            signature = of_function.get_call_type(typing, kinds, {})
            self.called[function, kinds] = signature, context.get_function(of_function, signature)
        signature, build = self.called[function, kinds]
        found = build(self.builder, [self.cast(x, types.unliteral(t)) for x, t in zip(args, signature.args)])
        return Value(found, signature.return_type)

    # --- arrays -----------------------------------------------------------------------------------------------------
    def struct(self, array):
        """What Numba keeps of an array."""
        return self.context.make_array(array.kind)(self.context, self.builder, array.llvm)

    def field(self, array, name, *within):
        """One thing of it."""
        place = self.context.data_model_manager[array.kind].get_field_position(name)
        return self.builder.extract_value(array.llvm, [place, *within])

    def begin(self, array):
        """Where its elements begin."""
        return self.field(array, "data") if array.data is None else array.data

    def element(self, node):
        """An array, and the address of an element."""
        array = self.value(node.value)
        if array.kind.layout != "C":
            raise UnsupportedError(f"an array {array.kind}")
        if isinstance(node.slice, ast.Tuple):
            i, j = map(self.whole, node.slice.elts)
            columns = self.field(array, "shape", 1)
            index = self.builder.add(self.builder.mul(i, columns, flags=("nsw",)), j, flags=("nsw",))
        else:
            index = self.whole(node.slice)
        return array, self.builder.gep(self.begin(array), [index], inbounds=True)

    def read(self, node):
        """An element, or a part."""
        if not isinstance(node.slice, ast.Slice):
            array, pointer = self.element(node)
            return Value(self.context.unpack_value(self.builder, array.kind.dtype, pointer), array.kind.dtype)
        array, b = self.value(node.value), self.builder
        size = self.struct(array).nitems if node.slice.upper is None else None
        start = INTP(0) if node.slice.lower is None else self.whole(node.slice.lower)
        stop = size if node.slice.upper is None else self.whole(node.slice.upper)
        part = self.context.make_array(array.kind)(self.context, b)
        bytes_each = self.context.get_constant(types.intp, array.kind.dtype.bitwidth // 8)
        first = b.gep(self.begin(array), [start], inbounds=True)
        populate_array(part, first, [b.sub(stop, start)], [bytes_each], bytes_each, None)
        found = Value(part._getvalue(), array.kind)
        found.data = first
        return found

    _VALUES = {
        ast.Name: name, ast.Constant: lambda w, node: w.literal(node.value), ast.BinOp: operation, ast.UnaryOp: sign,
        ast.Compare: compare, ast.BoolOp: both, ast.IfExp: either, ast.Call: invoked, ast.Subscript: read,
        ast.Attribute: attribute, ast.Tuple: lambda w, node: [w.value(x) for x in node.elts],
    }
