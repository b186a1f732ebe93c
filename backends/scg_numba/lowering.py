"""Long kernels go to LLVM without most of Numba's passes, which take ten milliseconds a line.

A kernel's text is a small part of Python: every variable has one type, indices are not negative, loops count. So its
statements are written down as LLVM's instructions in one walk, in the place of a function that Numba calls, and nests
that are alike as calls of one function. What they call, how arguments come in and what becomes of the machine code is
Numba's. A text with something else in it is compiled by Numba alone. The file's text is pasted into exported modules:
it needs Numba only.
"""

import ast
import contextlib
import linecache
import operator

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.dispatcher import Dispatcher
from numba.core.errors import UnsupportedError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from scg_numba.outlined import FEWEST, Nest, NotAlone, reads_of

CASTS = {"float32": types.float32, "float64": types.float64, "int64": types.int64, "uint64": types.uint64}
REAL = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
WHOLE = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
BITS = {ast.BitAnd: "and_", ast.BitOr: "or_"}
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
             ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow,
             ast.BitAnd: operator.and_, ast.BitOr: operator.or_, ast.BitXor: operator.xor}
BUILTINS = {"abs": abs, "min": min, "max": max, "float": float}
COMPARED = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def lowered(**options):
    """The decorator of a long kernel, with Numba's options for what calls it."""
    return lambda function: _lowered(function, options)


def _lowered(function, options):
    """The compiled function; its text must be where Python finds it."""
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    found = [node for node in ast.parse("".join(lines)).body
             if isinstance(node, ast.FunctionDef) and node.name == function.__name__]
    if not found or not understood(found[0], function.__globals__):
        return njit(**options)(function)  # Numba reads it: it is nowhere as text, or has something of an op of a user's
    names = [arg.arg for arg in found[0].args.args]
    function.__globals__["_TREE"] = found[0]  # Numba holds what is here for ever, but a module's names are cleared

    def typed(*given):
        def codegen(context, builder, signature, args):
            tree = function.__globals__["_TREE"]
            variables = {name: Value(value, kind) for name, value, kind in zip(names, args, signature.args)}
            walk = Walk(context, builder, function.__globals__, variables, known_where_read(tree.body))
            walk.reads = reads_of(tree)
            walk.block(tree.body)
            return context.get_dummy_value()

        return types.none(*given), codegen

    listed = ", ".join(names)
    namespace = {"typed": typed, "intrinsic": intrinsic, "__name__": function.__module__}
    exec(f"@intrinsic\ndef body(typingctx, {listed}):\n    return typed({listed})\n\n\n"
         f"def {function.__name__}({listed}):\n    body({listed})\n", namespace)
    return njit(**options)(namespace[function.__name__])


def understood(tree, namespace):
    """Whether all of a function is known here."""
    for x in (x for statement in tree.body for x in ast.walk(statement)):
        match x:
            case ast.Compare(_, ops, _) if len(ops) > 1 or type(ops[0]) not in COMPARED:
                return False
            case ast.BinOp(_, ast.Pow(), ast.Constant(int()) | ast.UnaryOp(_, ast.Constant(int()))):
                return False
            case ast.BinOp(_, op, _) if type(op) not in OPERATORS:
                return False
            case ast.UnaryOp(op, _) if not isinstance(op, ast.USub | ast.Not):
                return False
            case ast.Call(ast.Name(name), _, keywords) if keywords or name not in (*namespace, *BUILTINS, "range"):
                return False
            case ast.Call(ast.Attribute(ast.Name("np"), _), _, []) | ast.Call(ast.Name(), _, _):
                pass
            case ast.Call():
                return False
            case ast.For(_, ast.Call(ast.Name("range"), _, _), _, []) | ast.While(_, _, []):
                pass
            case ast.For() | ast.While():
                return False
            case ast.stmt() if type(x) not in Walk._STATEMENTS:
                return False
            case ast.expr() if type(x) not in (*Walk._VALUES, ast.Slice):
                return False
    return True


class Value:
    """A value: LLVM's, and its type for Numba."""

    __slots__ = ("data", "kind", "llvm", "number")

    def __init__(self, llvm, kind, number=None):
        self.llvm, self.kind, self.number = llvm, types.unliteral(kind), number
        self.data = None  # of an array: where its elements begin


class Walk:
    """Writes the statements of a function.

    Parameters
    ----------
    context, builder
        Numba's and LLVM's.
    namespace : dict
        The module's names.
    variables : dict of str to Value
        The arguments.
    direct : set of str
        Variables that need no place in memory.
    """

    def __init__(self, context, builder, namespace, variables, direct):
        self.context, self.builder, self.names = context, builder, namespace
        self.values = variables
        self.places = {}  # of variables that change
        self.direct = direct
        self.called = {}
        self.loops = []  # where `continue` and `break` go
        self.reads = None  # how often a name is read, where nests become functions
        self.functions = {}  # of nests
        for value in variables.values():
            if isinstance(value.kind, types.Array) and value.data is None:
                value.data = self.struct(value).data

    # --- statements -------------------------------------------------------------------------------------------------
    def block(self, statements):
        """One statement after the other; what follows a jump is not there."""
        for statement in statements:
            self._STATEMENTS[type(statement)](self, statement)
            if self.builder.block.is_terminated:
                return

    def assign(self, node):
        value = self.value(node.value)
        for target in node.targets:
            self.store(target, value)

    def store(self, target, value):
        """Give a variable, an element or several variables their value."""
        if isinstance(target, ast.Name):
            self.set(target.id, value)
        elif isinstance(target, ast.Tuple):
            parts = cgutils.unpack_tuple(self.builder, value.llvm) if isinstance(value, Value) else value
            kinds = list(value.kind) if isinstance(value, Value) else None
            for i, (name, part) in enumerate(zip(target.elts, parts)):
                self.store(name, part if kinds is None else Value(part, kinds[i]))
        else:
            array, pointer = self.element(target)
            self.context.pack_value(self.builder, array.kind.dtype, self.cast(value, array.kind.dtype), pointer)

    def set(self, name, value):
        """A variable's value."""
        if name in self.direct:
            self.values[name] = value
            return
        if name not in self.places:
            place = cgutils.alloca_once(self.builder, self.context.get_value_type(value.kind), name=name)
            self.places[name] = Value(place, value.kind)
        place = self.places[name]
        known = (value.kind, place.kind)
        if known[0] != known[1] and known not in WIDER:
            raise UnsupportedError(f"{name} is {place.kind}, and becomes {value.kind}")
        self.builder.store(self.cast(value, place.kind), place.llvm)

    def change(self, node):
        """``x += y`` and its like."""
        found = self.value(ast.BinOp(node.target, node.op, node.value))
        self.store(node.target, found)

    def choose(self, node):
        test = self.truth(node.test)
        if node.orelse:
            with self.builder.if_else(test) as (then, otherwise):
                with then:
                    self.block(node.body)
                with otherwise:
                    self.block(node.orelse)
        else:
            with self.builder.if_then(test):
                self.block(node.body)

    def loop(self, node):
        """A loop nest: a function, or where it stands."""
        if self.reads is not None and sum(isinstance(x, ast.stmt) for x in ast.walk(node)) > FEWEST:
            with contextlib.suppress(NotAlone):
                self.outlined(Nest(node, self.reads, self.known, self.direct))
                return
        self.count(node)

    def known(self, name):
        """What a name of the function is."""
        if name in self.places:
            return "place"
        value = self.values.get(name)
        return None if value is None else "array" if isinstance(value.kind, types.Array) else "value"

    def outlined(self, nest):
        """A call of the function of a nest, which is written if it is the first of its kind."""
        arena, context = self.values.get("arena"), self.context
        given = [Value(self.builder.gep(self.begin(arena), [INTP(first * self.names["W"])], inbounds=True),
                       types.CPointer(arena.kind.dtype)) for first in nest.runs]
        given += [Value(self.places[name].llvm, types.CPointer(self.places[name].kind)) for name in nest.places]
        alone = len(given)
        given += [self.value(ast.parse(text, mode="eval").body) for text in nest.values]
        given += [self.values[name] for name in nest.arrays]
        kinds = tuple(value.kind for value in given)
        key = ast.dump(nest.body), kinds
        if key not in self.functions:
            self.functions[key] = self.function(nest, kinds, alone)
        status, _ = context.call_conv.call_function(self.builder, self.functions[key], types.none, kinds,
                                                    [value.llvm for value in given])
        with cgutils.if_unlikely(self.builder, status.is_error):
            context.call_conv.return_status_propagate(self.builder, status)

    def function(self, nest, kinds, alone):
        """The function of a nest. The first arguments, so many, point at what nothing else does."""
        convention, module = self.context.call_conv, self.builder.module
        names = [*nest.runs.values(), *nest.places.values(), *nest.values.values(), *nest.arrays.values()]
        made = ir.Function(module, convention.get_function_type(types.none, kinds),
                           f"{self.builder.function.name}.nest{len(self.functions)}")
        made.linkage = "internal"
        made.attributes.add("noinline")
        convention.decorate_function(made, names, kinds)
        for argument in convention.get_arguments(made)[:alone]:
            argument.add_attribute("noalias")
        builder = ir.IRBuilder(made.append_basic_block("entry"))
        args = self.context.get_arg_packer(kinds).from_arguments(builder, convention.get_arguments(made))
        arena, inside = self.values.get("arena"), {}
        variables = {name: Value(value, kind) for name, value, kind in zip(names, args, kinds)}
        for name in nest.runs.values():
            variables[name].data, variables[name].kind = variables[name].llvm, arena.kind
        for outside, name in nest.places.items():
            inside[name] = Value(variables.pop(name).llvm, self.places[outside].kind)
        walk = Walk(self.context, builder, self.names, variables, known_where_read([nest.body]) - inside.keys())
        walk.places, walk.called = inside, self.called
        walk.count(nest.body)
        convention.return_value(builder, self.context.get_dummy_value())
        return made

    def count(self, node):
        """A loop over a range."""
        b = self.builder
        bounds = [self.whole(x) for x in node.iter.args]
        start, stop, step = {1: (INTP(0), *bounds, INTP(1)), 2: (*bounds, INTP(1)), 3: tuple(bounds)}[len(bounds)]
        down = isinstance(step, ir.Constant) and step.constant < 0
        before = b.block
        head, body, after = (b.append_basic_block(name) for name in ("head", "body", "after"))
        end = b.append_basic_block("next")
        b.branch(head)
        b.position_at_end(head)
        i = b.phi(INTP)
        i.add_incoming(start, before)
        b.cbranch(b.icmp_signed(">" if down else "<", i, stop), body, after)
        b.position_at_end(body)
        self.values[node.target.id] = Value(i, types.int64)
        self.loops.append((end, after))
        self.block(node.body)
        self.loops.pop()
        if not b.block.is_terminated:
            b.branch(end)
        b.position_at_end(end)
        i.add_incoming(b.add(i, step, flags=("nsw",)), end)
        b.branch(head)
        b.position_at_end(after)

    def repeat(self, node):
        """A loop as long as something holds."""
        b = self.builder
        head, body, after = (b.append_basic_block(name) for name in ("while", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        b.cbranch(self.truth(node.test), body, after)
        b.position_at_end(body)
        self.loops.append((head, after))
        self.block(node.body)
        self.loops.pop()
        if not b.block.is_terminated:
            b.branch(head)
        b.position_at_end(after)

    # --- expressions ------------------------------------------------------------------------------------------------
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
        kind = {bool: types.boolean, int: types.int64, float: types.float64, np.float64: types.float64,
                np.float32: types.float32}[type(value)]
        return Value(self.context.get_constant(kind, value), kind, value)

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

    def begin(self, array):
        """Where its elements begin."""
        return self.struct(array).data if array.data is None else array.data

    def element(self, node):
        """An array, and the address of an element."""
        array = self.value(node.value)
        if array.kind.layout != "C":
            raise UnsupportedError(f"an array {array.kind}")
        if isinstance(node.slice, ast.Tuple):
            i, j = map(self.whole, node.slice.elts)
            columns = cgutils.unpack_tuple(self.builder, self.struct(array).shape, 2)[1]
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

    _STATEMENTS = {
        ast.Assign: assign, ast.AugAssign: change, ast.If: choose, ast.For: loop, ast.While: repeat,
        ast.Expr: lambda w, node: w.value(node.value), ast.Pass: lambda w, node: None,
        ast.Continue: lambda w, node: w.builder.branch(w.loops[-1][0]),
        ast.Break: lambda w, node: w.builder.branch(w.loops[-1][1]),
    }
    _VALUES = {
        ast.Name: name, ast.Constant: lambda w, node: w.literal(node.value), ast.BinOp: operation, ast.UnaryOp: sign,
        ast.Compare: compare, ast.BoolOp: both, ast.IfExp: either, ast.Call: invoked, ast.Subscript: read,
        ast.Attribute: attribute, ast.Tuple: lambda w, node: [w.value(x) for x in node.elts],
    }


INTP = ir.IntType(64)
WIDER = {(types.int64, types.float64), (types.float32, types.float64), (types.boolean, types.int64)}


def known_where_read(statements):
    """Variables that need no place in memory: wherever one is read, it has what the last assignment above gave it.

    That one stands in the same block or around it, and no loop that the read is in and it is not assigns anew.
    """
    scopes = _Scopes()
    scopes.walk(statements, (), ())
    return set(scopes.given) - scopes.kept


class _Scopes:
    """What is assigned where, and `kept`: what needs a place."""

    def __init__(self):
        self.given, self.kept = {}, set()

    def walk(self, block, scope, loops):
        """A block; `loops` are those around it, with what they assign."""
        for k, s in enumerate(block):
            if isinstance(s, ast.For | ast.While):
                self.reads(s.iter if isinstance(s, ast.For) else s.test, scope, loops)
                assigned = {x.id for x in ast.walk(s) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
                if isinstance(s, ast.While):  # the test is in the loop
                    self.reads(s.test, scope, (*loops, assigned))
                self.walk(s.body, (*scope, k), (*loops, assigned))
            elif isinstance(s, ast.If):
                self.reads(s.test, scope, loops)
                self.walk(s.body, (*scope, k, 0), loops)
                self.walk(s.orelse, (*scope, k, 1), loops)
            else:
                self.reads(s, scope, loops)
                for x in ast.walk(s):
                    if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store):
                        self.given[x.id] = scope, len(loops)
                if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
                    self.kept.add(s.target.id)

    def reads(self, node, scope, loops):
        """What is read here; counters of loops, and arguments, are given by nobody."""
        for x in ast.walk(node):
            if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load):
                known, depth = self.given.get(x.id, ((), 0))
                anew = x.id in self.given or any(x.id in assigned for assigned in loops)
                if anew and (scope[: len(known)] != known or any(x.id in assigned for assigned in loops[depth:])):
                    self.kept.add(x.id)
