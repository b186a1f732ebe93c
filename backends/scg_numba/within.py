"""Users' functions as parts of kernels: straight ones are compiled anew, so that a loop over lanes goes through them.

A function is straight that is made of numbers and of elements of arrays, with branches, loops of a known length, and
calls of elementary functions and of other straight ones. It gives the same values; but

- exponentials, sines and the like are the kernel's own, where Numba calls libm for every lane;
- what divides by zero goes on, as NumPy's numbers do, and says so beside the result, so that no lane leaves the loop:
  the kernel raises what Python would have raised, at its end;
- a number that is written in Python takes the type of the graph's number that it meets, as in NumPy (NEP 50), where
  Numba computes in float64.

Any other function is called as Numba has compiled it. The file's text is pasted into exported modules.
"""

import contextlib
import functools
import math
import operator
from types import ModuleType

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.core import ir as numba_ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder, run_frontend
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.dispatcher import Dispatcher
from numba.core.errors import ConstantInferenceError, NumbaError, TypingError
from numba.core.ir_utils import build_definitions, compute_cfg_from_blocks
from numba.core.untyped_passes import InlineInlinables
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from scg_numba.vector_math import cos, exp, expm1, log, log1p, sin, tanh

OWN = {getattr(module, f.__name__): f for module in (math, np) for f in (cos, exp, expm1, log, log1p, sin, tanh)}
MEETING = {min, max, *(getattr(module, name) for module, names in (
    (math, ("atan2", "copysign", "fmod", "hypot", "pow")),
    (np, ("arctan2", "copysign", "fmax", "fmin", "fmod", "hypot", "maximum", "minimum", "power"))) for name in names)}
ALIKE = {abs, bool, float, int, *(getattr(module, name) for module, names in (
    (math, ("acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cosh", "degrees", "erf", "erfc", "fabs",
            "floor", "gamma", "isfinite", "isinf", "isnan", "lgamma", "log10", "log2", "radians", "sinh", "sqrt", "tan",
            "trunc")),
    (np, ("abs", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctanh", "bool_", "ceil", "cosh", "exp2", "fabs",
          "float32", "floor", "int32", "int64", "isfinite", "isinf", "isnan", "log10", "log2", "rint", "sign", "sinh",
          "sqrt", "square", "tan", "trunc"))) for name in names)}
DIVISIONS = {operator.truediv, operator.floordiv, operator.mod, operator.itruediv, operator.ifloordiv, operator.imod}
# What else functions may be made of; indices that are computed are no matter where nothing divides
STATEMENTS = (numba_ir.Assign, numba_ir.Branch, numba_ir.Del, numba_ir.Jump, numba_ir.Return)
EXPRESSIONS = {"binop", "build_tuple", "call", "cast", "exhaust_iter", "getattr", "getitem", "getiter", "inplace_binop",
               "iternext", "pair_first", "pair_second", "static_getitem", "unary"}
NUMBERS = (bool, int, float, np.floating, np.integer, np.bool_)
KNOWN = {"nopython", "nogil", "error_model", "fastmath", "forceinline"}  # options of users' that are kept


class NotStraight(Exception):
    """A function that is called as it is."""


def within(function, shapes):
    """A function as kernels call it: it returns what the user's does, and whether that divides by zero.

    Parameters
    ----------
    function : Dispatcher
        What ``numba.njit`` made of the user's.
    shapes : tuple
        Of its arguments: None of one that is given as it is, else the shape of an array of which all elements are
        given, one after another. It lies on the stack, where LLVM sees what is in it.

    What comes back is for use inside ``@njit`` code.
    """
    straight = straightened(function)

    def called(typingctx, *given):
        kinds, starts = _arguments(given, shapes)
        (of, signature), found = _resolved_best(typingctx, function, straight, kinds)
        returned = signature.return_type if found else types.Tuple((signature.return_type, types.boolean))

        def codegen(context, builder, mine, args):
            gathered = [args[i] if shape is None else _on_stack(context, builder, kind, shape, args[i:])
                        for i, kind, shape in zip(starts, kinds, shapes)]
            value = _invoked(context, builder, of, signature, kinds, gathered)
            if found:
                return value
            return context.make_tuple(builder, returned, (value, context.get_constant(types.boolean, False)))

        return returned(*given), codegen

    return _intrinsic(called, _count(shapes))


def skipping(function, shapes):
    """Whether a function must not be called where a loop is over: the number before its arguments is not 0 there.

    A straight one may be: it has no effect, unless it looks where it likes in an array.
    """
    straight = straightened(function)

    def skipped(typingctx, over, *given):
        found = _resolved_best(typingctx, function, straight, _arguments(given, shapes)[0])[1]
        harmless = found and not looks_anywhere(function)
        return types.boolean(over, *given), lambda context, builder, mine, args: (
            context.get_constant(types.boolean, False) if harmless
            else builder.fcmp_unordered("!=", args[0], args[0].type(0.0)))

    return _intrinsic(skipped, 1 + _count(shapes))


def _resolved_best(typingctx, function, straight, kinds):
    """What is called, with its signature, and whether that is the straight one, if there is any."""
    if straight is not None:
        with contextlib.suppress(NumbaError):  # it does something with whole arrays, for instance
            return _resolved(typingctx, straight, kinds), True
    return _resolved(typingctx, function, kinds), False


def _arguments(given, shapes):
    """The types of arguments, and where the first element of each stands."""
    kinds, starts, at = [], [], 0
    for shape in shapes:
        starts.append(at)
        kinds.append(given[at] if shape is None else types.Array(given[at], len(shape), "C", readonly=True))
        at += 1 if shape is None else math.prod(shape)
    return kinds, starts


def _on_stack(context, builder, kind, shape, values):
    """An array of numbers that are known one by one."""
    element, size = context.get_data_type(kind.dtype), math.prod(shape)
    first = cgutils.alloca_once(builder, element, size)
    for i, value in enumerate(values[:size]):
        context.pack_value(builder, kind.dtype, value, cgutils.gep_inbounds(builder, first, i))
    word = functools.partial(context.get_constant, types.intp)
    each = context.get_abi_sizeof(element)
    steps = [word(each * math.prod(shape[i + 1 :])) for i in range(len(shape))]
    array = context.make_array(kind)(context, builder)
    populate_array(array, first, [word(n) for n in shape], steps, word(each), None)
    return array._getvalue()


def _count(shapes):
    return sum(1 if shape is None else math.prod(shape) for shape in shapes)


def _intrinsic(typed, count):
    """An intrinsic of so many arguments, which Numba finds by their names."""
    names = ", ".join(f"x{i}" for i in range(count))
    space = {"typed": typed, "intrinsic": intrinsic, "__name__": __name__}
    exec(f"@intrinsic\ndef called(typingctx, {names}):\n    return typed(typingctx, {names})\n", space)
    return space["called"]


def _resolved(typingctx, function, kinds):
    """A function's type, and its signature at these types."""
    of = typingctx.resolve_value_type(function)
    return of, of.get_call_type(typingctx, tuple(kinds), {})


def _invoked(context, builder, of, signature, kinds, args):
    """The value of a call; some functions take all that they are given as one tuple."""
    together = signature.args[0] if isinstance(signature.args[0], types.StarArgTuple | types.StarArgUniTuple) else None
    wanted = signature.args if together is None else tuple(together)
    fitted = [context.cast(builder, x, kind, to) for x, kind, to in zip(args, kinds, wanted)]
    fitted += [context.get_constant_generic(builder, to, to.value) for to in wanted[len(args):]]  # those with defaults
    if together is not None:
        fitted = [context.make_tuple(builder, together, fitted)]
    return context.get_function(of, signature)(builder, fitted)


# --- which functions are straight -------------------------------------------------------------------------------------
def straightened(function, around=()):
    """A straight function compiled anew: it returns its result, and whether it divided by zero; None of any other.

    `around` are the functions that call it.
    """
    options = {name: value for name, value in function.targetoptions.items() if value}
    if function in around or options.keys() - KNOWN:
        return None
    try:
        check(run_frontend(function.py_func), (*around, function))
    except (NotStraight, NumbaError, NotImplementedError):
        return None
    raises = options.get("error_model", "python") == "python"
    given = {"nogil": True, "error_model": "numpy", "forceinline": True, "fastmath": options.get("fastmath", False)}
    return njit(**given, pipeline_class=Raising if raises else Straightened)(function.py_func)


def looks_anywhere(function):
    """Whether a straight function reads an element whose index is computed, or one that it calls does."""
    func_ir = run_frontend(function.py_func)
    names = Names(func_ir)
    found = [s.value for block in func_ir.blocks.values() for s in block.body if isinstance(s, numba_ir.Assign)]
    expressions = [x for x in found if isinstance(x, numba_ir.Expr)]
    return any(x.op == "getitem" and not names.is_counted(x.index) for x in expressions) or any(
        looks_anywhere(f) for f in map(names.called, expressions) if isinstance(f, Dispatcher))


def check(func_ir, around):
    """Raise `NotStraight` where a function is not."""
    names = Names(func_ir)
    if func_ir.func_id.func.__code__.co_exceptiontable:
        raise NotStraight
    found = [s for block in func_ir.blocks.values() for s in block.body]
    if not all(isinstance(s, STATEMENTS) for s in found):
        raise NotStraight
    values = [s.value for s in found if isinstance(s, numba_ir.Assign)]
    for value in values:
        if isinstance(value, numba_ir.Expr):
            _check_expression(value, names, around)
        elif not isinstance(value, numba_ir.Arg | numba_ir.Var | numba_ir.Const | numba_ir.Global | numba_ir.FreeVar):
            raise NotStraight
    expressions = [value for value in values if isinstance(value, numba_ir.Expr)]
    divides = any(names.may_divide_by_zero(x) or isinstance(names.called(x), Dispatcher) for x in expressions)
    if divides and not all(names.is_counted(x.index) for x in expressions if x.op == "getitem"):
        raise NotStraight  # an index may be made of what was divided
    for loop in compute_cfg_from_blocks(func_ir.blocks).loops().values():
        if not any(isinstance(s, numba_ir.Assign) and isinstance(s.value, numba_ir.Expr) and s.value.op == "iternext"
                   for s in func_ir.blocks[loop.header].body):
            raise NotStraight


def _check_expression(x, names, around):
    if x.op not in EXPRESSIONS:
        raise NotStraight
    if x.op == "getattr" and names.value(x.value) not in (math, np):
        raise NotStraight
    if x.op == "getiter" and not names.is_known_range(x.value):
        raise NotStraight
    if x.op == "call":
        function = names.called(x)
        if x.kws or x.vararg is not None or x.varkwarg is not None:
            raise NotStraight
        if isinstance(function, Dispatcher):
            if straightened(function, around) is None:
                raise NotStraight
        elif function is range:
            if not names.is_range_of_numbers(x):
                raise NotStraight
        elif not any(function is f for f in (*OWN, *MEETING, *ALIKE)):
            raise NotStraight


class Names:
    """What the variables of a function stand for."""

    def __init__(self, func_ir):
        self.ir = func_ir

    def value(self, name):
        """What a name from outside, or an attribute of a module, is; None of anything else."""
        found = self._definition(name)
        if isinstance(found, numba_ir.Global | numba_ir.FreeVar):
            return found.value
        if isinstance(found, numba_ir.Expr) and found.op == "getattr":
            module = self.value(found.value)
            return getattr(module, found.attr, None) if isinstance(module, ModuleType) else None
        return None

    def called(self, x):
        """The function that an expression calls; None of one that calls none."""
        return self.value(x.func) if x.op == "call" else None

    def number(self, name):
        """The number that a variable is; None if it may be others."""
        try:
            found = self.ir.infer_constant(name)
        except ConstantInferenceError:
            return None
        return found if isinstance(found, NUMBERS) else None

    def may_divide_by_zero(self, x):
        """Whether an expression divides by what is not a number other than 0."""
        return x.op in ("binop", "inplace_binop") and x.fn in DIVISIONS and not self.number(x.rhs)

    def is_range_of_numbers(self, x):
        """Whether an expression is a range of known ends."""
        return self.called(x) is range and all(self.number(a) is not None for a in x.args)

    def is_known_range(self, name):
        """Whether a variable is one."""
        found = self._definition(name)
        return isinstance(found, numba_ir.Expr) and self.is_range_of_numbers(found)

    def is_counted(self, name):
        """Whether a variable is made of counters of loops and of numbers alone."""
        found = self._definition(name)
        if isinstance(found, numba_ir.Expr) and found.op in ("binop", "cast", "iternext", "pair_first"):
            whole = found.op != "binop" or found.fn not in DIVISIONS
            return found.op == "iternext" or (whole and all(self.is_counted(v) for v in found.list_vars()))
        return self.number(name) is not None

    def _definition(self, name):
        try:
            return self.ir.get_definition(name)
        except KeyError:  # one that is given several values
            return None


# --- how they are compiled --------------------------------------------------------------------------------------------
@register_pass(mutates_CFG=False, analysis_only=False)
class AsKernels(FunctionPass):
    """Puts what kernels call in the place of what is called, and has a division by zero told beside the result."""

    _name = "as_kernels"

    def __init__(self):
        FunctionPass.__init__(self)

    def run_pass(self, state):
        """One walk over the statements, before types are known."""
        func_ir, self.raises = state.func_ir, state.pipeline.raises
        self.names, self.count = Names(func_ir), 0
        first = min(func_ir.blocks)
        scope = func_ir.blocks[first].scope
        self.failed = scope.redefine("divided_by_zero", func_ir.loc)
        for label, block in func_ir.blocks.items():
            self.body, self.scope = [], block.scope
            if label == first:
                self.body.append(numba_ir.Assign(numba_ir.Const(False, func_ir.loc), self.failed, func_ir.loc))
            for s in block.body:
                if isinstance(s, numba_ir.Return):
                    self.give_back(s)
                elif isinstance(s, numba_ir.Assign) and isinstance(s.value, numba_ir.Expr):
                    self.put(s)
                else:
                    self.body.append(s)
            block.body = self.body
        func_ir._definitions = build_definitions(func_ir.blocks)
        state.typingctx.refresh()  # what is called now was not known before
        return True

    def new(self, value):
        """A variable of its own for a value."""
        self.count += 1
        name = self.scope.redefine(f"within_{self.count}", value.loc)
        self.body.append(numba_ir.Assign(value, name, value.loc))
        return name

    def call(self, function, args, loc):
        """The call of a function."""
        return numba_ir.Expr.call(self.new(numba_ir.Global(function.__name__, function, loc)), args, (), loc)

    def tell(self, function, args, loc):
        """What a function makes of whether something was divided by zero, and of more."""
        self.body.append(numba_ir.Assign(self.call(function, [self.failed, *args], loc), self.failed, loc))

    def put(self, s):
        """A statement, with what kernels call in it."""
        x, loc = s.value, s.loc
        if x.op in ("binop", "inplace_binop"):
            if self.raises and self.names.may_divide_by_zero(x):
                self.tell(or_zero, [x.rhs], loc)
            fn = x.fn if x.op == "binop" else x.immutable_fn
            if not (fn is operator.pow and isinstance(self.names.number(x.rhs), int)):
                s = numba_ir.Assign(self.call(meeting(fn, 2), [x.lhs, x.rhs], loc), s.target, loc)
        elif x.op == "call":
            s = self.called(s, x, self.names.called(x))
        if s is not None:
            self.body.append(s)

    def called(self, s, x, function):
        """A call, as kernels make it."""
        if isinstance(function, Dispatcher):
            both = self.new(self.call(straightened(function), x.args, s.loc))
            for i, target in enumerate((s.target, failed := self.scope.redefine(f"{both.name}_raises", s.loc))):
                at = self.new(numba_ir.Const(i, s.loc))
                self.body.append(numba_ir.Assign(numba_ir.Expr.static_getitem(both, i, at, s.loc), target, s.loc))
            self.tell(either, [failed], s.loc)
            return None
        if function in OWN:
            return numba_ir.Assign(self.call(own(function), x.args, s.loc), s.target, s.loc)
        if function in MEETING:
            return numba_ir.Assign(self.call(meeting(function, len(x.args)), x.args, s.loc), s.target, s.loc)
        return s

    def give_back(self, s):
        """What is returned, and whether that was divided by zero."""
        both = self.new(numba_ir.Expr.build_tuple([s.value, self.failed], s.loc))
        self.body.append(numba_ir.Return(self.new(numba_ir.Expr.cast(both, s.loc)), s.loc))


class Straightened(CompilerBase):
    """How straight functions are compiled: `raises` says whether a division by zero is told."""

    raises = False

    def define_pipelines(self):
        """Numba's, with a pass of our own before types are found."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(AsKernels, InlineInlinables)
        passes.finalize()
        return [passes]


class Raising(Straightened):
    """How those are that raise where they divide by zero."""

    raises = True


# --- what they call ---------------------------------------------------------------------------------------------------
@njit(forceinline=True)
def or_zero(failed, x):
    """Whether something was divided by zero before, or is now, by x."""
    return failed | (x == 0)


@njit(forceinline=True)
def either(failed, more):
    """Whether something was divided by zero before, or in a call."""
    return failed | more


@functools.cache
def own(function):
    """An elementary function: the kernel's, of real numbers."""
    def typed(typingctx, x):
        of, signature = _resolved(typingctx, OWN[function] if x in PRECISIONS else function, [scalar(x)])
        return signature.return_type(x), lambda context, builder, mine, args: _invoked(
            context, builder, of, signature, mine.args, args)

    return _intrinsic(typed, 1)


@functools.cache
def meeting(function, count):
    """A function of several numbers: those that are written in Python take the type of the graph's."""
    def typed(typingctx, *given):
        kinds = [scalar(x) for x in given]
        if types.float32 in kinds:
            whole = function is operator.pow and isinstance(kinds[1], types.Integer)  # a power's number of factors
            kinds = [types.float32, kinds[1]] if whole else [types.float32] * count
        of, signature = _resolved(typingctx, function, kinds)
        return signature.return_type(*given), lambda context, builder, mine, args: _invoked(
            context, builder, of, signature, mine.args, args)

    return _intrinsic(typed, count)


PRECISIONS = (types.float32, types.float64)


def scalar(kind):
    """The type of a number."""
    kind = types.unliteral(kind)
    if kind not in PRECISIONS and not isinstance(kind, types.Integer | types.Boolean):
        raise TypingError(f"not a number: {kind}")
    return kind
