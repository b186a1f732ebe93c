"""Kernels go to LLVM without most of Numba's passes, which take ten milliseconds a line.

A kernel's text is a small part of Python: every variable has one type, indices are not negative, loops count. So its
statements are written down as LLVM's instructions in one walk, in the place of a function that Numba calls: nests that
are alike as calls of one function, layers that are alike as a loop. What they call, how arguments come in and what
becomes of the machine code is Numba's. A text with something else in it is compiled by Numba alone. The file's text is
pasted into exported modules: it needs Numba only.
"""

import ast
import contextlib
import linecache

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import Dispatcher
from numba.core.errors import TypingError, UnsupportedError
from numba.extending import intrinsic

from scg_numba.called import WRONG
from scg_numba.hints import ADD_WIDELY, STAY_LOOPS, around_lanes, tell
from scg_numba.lowered_values import BUILTINS, COMPARED, INTP, OPERATORS, WIDER, Expressions, Value
from scg_numba.outlined import Nest, NotAlone, begun_in, known_where_read, reads_of, worth_a_call
from scg_numba.pipeline import Pipeline
from scg_numba.repeated import READ_ONLY, parsed
from scg_numba.trees import Repeated, Varying, in_python, lines_of, nodes_of

OK = ir.IntType(32)(0)  # what a function returns that raises nothing


class Library(JITCodeLibrary):
    """A module that goes through LLVM's passes once, as a whole: Numba does it three times."""

    def _optimize_functions(self, ll_module):
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self):
        manager, builder = self._codegen._module_pass_manager()
        manager.run(self._final_module, builder)


class Whole(Pipeline):
    """How the function that is a kernel is compiled."""

    def define_pipelines(self):
        """Numba's passes, with a library of our own."""
        self.state.library = Library(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        return super().define_pipelines()


def lowered(**options):
    """The decorator of a kernel, with Numba's options for what calls it."""
    return lambda function: _lowered(function, options)


def _lowered(function, options):
    """The compiled function; its text must be where Python finds it now, and is read when it is compiled."""
    names, namespace = function.__code__.co_varnames[: function.__code__.co_argcount], function.__globals__
    lines = linecache.getlines(function.__code__.co_filename, namespace)
    if not lines:
        return njit(**options)(function)
    namespace["_TEXT"] = "".join(lines)  # Numba holds what is here for ever, but a module's names are cleared

    def typed(*given):
        def codegen(context, builder, signature, args):
            values = [Value(value, kind) for value, kind in zip(args, signature.args)]
            tree = tree_of(namespace, function.__name__, dict(zip(names, signature.args)))
            if tree is None:
                whole = njit(**options)(in_python(namespace, function.__name__))
                Expressions(context, builder, namespace, {}).call(whole, *values)
            else:
                walk = Walk(context, builder, namespace, dict(zip(names, values)), known_where_read(tree.body))
                walk.reads = reads_of(tree)
                walk.block(tree.body)
            return context.get_dummy_value()

        return types.none(*given), codegen

    listed = ", ".join(names)
    stub = {"typed": typed, "intrinsic": intrinsic, "__name__": function.__module__}
    exec(f"@intrinsic\ndef body(typingctx, {listed}):\n    return typed({listed})\n\n\n"
         f"def {function.__name__}({listed}):\n    body({listed})\n", stub)
    # Numba's memory is for functions of the user's, which are compiled as what calls them is; without it no references
    # to arrays are counted. Ours say themselves what they need.
    options = {**options, "pipeline_class": Whole, "no_cfunc_wrapper": True, "_nrt": "within" in namespace}
    return njit(**options)(stub[function.__name__])


def tree_of(namespace, name, kinds=()):
    """A module's function, if all of it is known here; else Numba must read it, as where an op of a user's is in it.

    What repeats in it is a loop, as far as that can be told from its text and from what its arguments are.
    """
    lines = lines_of(namespace["_TEXT"], name)
    read_only = {x: kinds[x] for x in kinds if x.startswith(READ_ONLY) and getattr(kinds[x], "ndim", 0) == 1}
    tree = parsed(lines, read_only)
    if tree is None or not sound(tree, namespace):
        (tree,) = ast.parse("\n".join(lines)).body
    return tree if understood(tree, namespace) else None


def sound(tree, namespace):
    """Whether numbers that differ from time to time are no more to any function than numbers."""
    for x in nodes_of(tree):
        if isinstance(x, ast.Call) and any(isinstance(y, ast.Constant) and type(y.value) is Varying for y in x.args):
            if not (isinstance(x.func, ast.Name) and isinstance(namespace.get(x.func.id), Dispatcher)):
                return False
    return True


def understood(tree, namespace):
    """Whether all of a function is known here."""
    for x in (x for statement in tree.body for x in nodes_of(statement)):
        match x:
            case ast.Name() | ast.Constant():
                pass
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


class Walk(Expressions):
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
        super().__init__(context, builder, namespace, variables)
        self.direct = direct
        self.loops = []  # where `continue` and `break` go
        self.reads = None  # how often a name is read, where nests become functions
        self.elements = {}  # variables that are elements of a call's values: of which, and where they are read
        self.points = {}
        self.functions = {}  # of nests
        self.exit = None
        self.repeated = 0  # loops over times around this, in which runs of the arena stand nowhere for certain
        self.beginning = builder.block, builder.block.instructions[-1:]
        self.real = variables["arena"].kind.dtype if "arena" in variables else None

    # --- statements -------------------------------------------------------------------------------------------------
    def block(self, statements):
        """One statement after the other; what follows a jump is not there."""
        for statement in statements:
            self._STATEMENTS[type(statement)](self, statement)
            if self.builder.block.is_terminated:
                return

    def assign(self, node):
        match node:
            case ast.Assign([ast.Name(name)], ast.Subscript(ast.Name(array), ast.Constant(int() as number))) if (
                    name in self.direct and array.startswith("leaf")):  # in which nothing is written
                self.values.pop(name, None)
                self.elements[name] = array, number
                self.points[name] = node.value, self.builder.block, self.builder.block.instructions[-1:]
                return
        value = self.value(node.value)
        for target in node.targets:
            self.store(target, value)

    def store(self, target, value):
        """Give a variable, an element or several variables their value."""
        if isinstance(target, ast.Name):
            self.set(target.id, value)
        elif isinstance(target, ast.Tuple):
            if isinstance(value, Value) and getattr(value.kind, "count", 0) != len(target.elts):
                raise TypingError(WRONG)
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
            self.elements.pop(name, None)
            return
        if name not in self.places:
            place = cgutils.alloca_once(self.builder, self.context.get_value_type(value.kind), name=name)
            self.places[name] = Value(place, value.kind)
        place = self.places[name]
        known = (value.kind, place.kind)
        if known[0] != known[1] and known not in WIDER:
            raise UnsupportedError(f"{name} is {place.kind}, and becomes {value.kind}")
        self.builder.store(self.cast(value, place.kind), place.llvm)

    def name(self, node):
        if node.id in self.elements and node.id not in self.values:
            self.values[node.id] = self.back_then(*self.points[node.id])
        return super().name(node)

    def back_then(self, node, block, before):
        """The value of an expression, read at an earlier point: behind the last of some instructions of a block."""
        here = self.builder.block
        self.go_back(block, before)
        value = self.value(node)
        self.builder.position_at_end(here)
        return value

    def go_back(self, block, before):
        """Write behind the last of some instructions of a block."""
        if before:
            self.builder.position_after(before[0])
        else:
            self.builder.position_at_start(block)

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

    def times(self, node):
        """A loop over times, with the arrays of each of them."""
        b, tables, begun = self.builder, {}, begun_in(nodes_of(node))
        for name, arrays in node.arrays.items():
            given = [self.values[array] for array in arrays]
            tables[name] = given[0].kind, self.table([self.begin(x) if name in begun else x.llvm for x in given])

        def begin():
            for name, (kind, table) in tables.items():
                place = b.gep(table, [INTP(0), self.values[node.target.id].llvm], inbounds=True)
                array = self.values[name] = Value(b.load(place), kind)
                array.data = array.llvm if name in begun else self.begin(array)

        self.repeated += 1
        self.count(node, begin)
        self.repeated -= 1

    def table(self, values):
        """A place with values that stand side by side; they are put there when the function begins."""
        place, here = cgutils.alloca_once(self.builder, ir.ArrayType(values[0].type, len(values))), self.builder.block
        self.go_back(*self.beginning)
        for i, value in enumerate(values):
            self.builder.store(value, self.builder.gep(place, [INTP(0), INTP(i)], inbounds=True))
        self.builder.position_at_end(here)
        return place

    def loop(self, node):
        """A loop nest: a function, or where it stands."""
        if self.reads is not None and (self.repeated or worth_a_call(node)):
            with contextlib.suppress(NotAlone):
                self.outlined(Nest(node, self.reads, self.known, self.direct, self.elements))
                return
        self.count(node)

    def known(self, name):
        """What a name of the function is."""
        if name in self.places:
            return "place"
        if name in self.elements:
            return "value"
        value = self.values.get(name)
        return None if value is None else "array" if isinstance(value.kind, types.Array) else "value"

    def outlined(self, nest):
        """A call of the function of a nest, which is written if it is the first of its kind."""
        arena, context = self.values.get("arena"), self.context
        given = [Value(self.builder.gep(self.begin(arena), [self.run(first)], inbounds=True),
                       types.CPointer(arena.kind.dtype)) for first in nest.runs]
        given += [Value(self.places[name].llvm, types.CPointer(self.places[name].kind)) for name in nest.places]
        alone = len(given)
        given += map(self.value, nest.given)
        given += [Value(self.begin(x), types.CPointer(x.kind.dtype)) if name in nest.begun else x
                  for name in nest.arrays for x in [self.values[name]]]
        given += [self.part(self.values[name], first) for name, (first, _) in nest.parts.items()]
        kinds = tuple(value.kind for value in given)
        key = nest.key, kinds
        if key not in self.functions:
            self.functions[key] = self.function(nest, kinds, alone)
        b, packer = self.builder, context.get_arg_packer(kinds)
        code = b.call(self.functions[key], [*b.function.args[:2], *packer.as_arguments(b, [x.llvm for x in given])])
        after = b.append_basic_block("after")
        b.cbranch(b.icmp_signed("==", code, OK), after, self.failed(code))
        b.position_at_end(after)

    def run(self, first):
        """Where a run of the arena begins."""
        width = self.name(ast.Name("W", ast.Load()))
        if width.number is not None:
            return self.literal(first * width.number).llvm
        return self.builder.mul(self.literal(first).llvm, width.llvm)

    def part(self, array, first):
        """Where elements of an array begin."""
        return Value(self.builder.gep(self.begin(array), [self.literal(first).llvm], inbounds=True),
                     types.CPointer(array.kind.dtype))

    def failed(self, code):
        """Where the function gives up, with what was raised below it: one block for all nests."""
        b = self.builder
        if self.exit is None:
            self.exit = b.append_basic_block("failed")
            with b.goto_block(self.exit):
                b.ret(b.phi(OK.type))
        self.exit.instructions[0].add_incoming(code, b.block)
        return self.exit

    def function(self, nest, kinds, alone):
        """The function of a nest. The first arguments, so many, point at what nothing else does."""
        convention = self.context.call_conv
        parts = [name for _, name in nest.parts.values()]
        names = [*nest.runs.values(), *nest.places.values(), *nest.values.values(), *nest.arrays.values(), *parts]
        made = ir.Function(self.builder.module, convention.get_function_type(types.none, kinds),
                           f"nest{len(self.functions)}")
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
        for outside in nest.begun:
            given = variables[nest.arrays[outside]]
            given.data, given.kind = given.llvm, self.values[outside].kind
        for outside, name in nest.places.items():
            inside[name] = Value(variables.pop(name).llvm, self.places[outside].kind)
        given = {name: variables.pop(name) for name in parts}
        for name, (part, number) in nest.loaded.items():
            pointer, kind = given[part].llvm, given[part].kind.dtype
            value = self.context.unpack_value(builder, kind, builder.gep(pointer, [INTP(number)], inbounds=True))
            variables[name] = Value(value, kind)
        walk = Walk(self.context, builder, self.names, variables, known_where_read([nest.body]) - inside.keys())
        walk.places, walk.called, walk.real = inside, self.called, self.real
        walk.count(nest.body)
        builder.ret(OK)
        return made

    def count(self, node, begin=None):
        """A loop over a range; whose body begins with something."""
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
        if begin is not None:
            begin()
        self.loops.append((end, after))
        self.block(node.body)
        self.loops.pop()
        if not b.block.is_terminated:
            b.branch(end)
        b.position_at_end(end)
        i.add_incoming(b.add(i, step, flags=("nsw",)), end)
        again = b.branch(head)
        if self.adds_widely(node):
            tell(b.module, again, ADD_WIDELY)
        elif around_lanes(node):
            tell(b.module, again, STAY_LOOPS)
        b.position_at_end(after)

    def adds_widely(self, loop):
        """Whether a loop of a kernel in float32 adds to sums in float64."""
        sums = [x.target.value.id for x in loop.body
                if isinstance(x, ast.AugAssign) and isinstance(x.target, ast.Subscript)]
        return self.real == types.float32 and any(self.values[name].kind.dtype == types.float64 for name in sums)

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

    _STATEMENTS = {
        ast.Assign: assign, ast.AugAssign: change, ast.If: choose, ast.For: loop, Repeated: times, ast.While: repeat,
        ast.Expr: lambda w, node: w.value(node.value), ast.Pass: lambda w, node: None,
        ast.Continue: lambda w, node: w.builder.branch(w.loops[-1][0]),
        ast.Break: lambda w, node: w.builder.branch(w.loops[-1][1]),
    }
    _VALUES = {**Expressions._VALUES, ast.Name: name}
