"""Loop nests of long kernels as functions of their own: nests that are alike are one function, compiled once.

Alike are nests that differ in the names of their variables, in the parts of the arena that they work on, and in numbers
that are given. These become arguments. What a nest reads and writes of the arena are runs of elements that do not
overlap, which its arguments say: so loops over lanes vectorise as if the offsets stood there. The file's text is pasted
into exported modules: it needs Python only.
"""

import ast
from collections import Counter
from copy import deepcopy

FEWEST = 3  # statements of a nest that is worth a call
LANES = ("padded", "lanes")


def reads_of(tree):
    """How often each name is read."""
    return Counter(x.id for x in ast.walk(tree) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load))


class NotAlone(Exception):
    """A nest that cannot be a function: it stays where it is."""


class Nest(ast.NodeTransformer):
    """A nest in terms of arguments.

    Parameters
    ----------
    loop : ast.For
    reads : Counter
        How often each name is read in the whole function.
    known : callable
        ``known(name)``: ``"array"``, ``"value"`` or ``"place"`` of a variable of the function, None of other names.
    direct : set of str
        Variables that are read only where what they are given in the same nest, or around it, is known.

    Attributes
    ----------
    body : ast.For
    values : dict
        Expressions for arguments, each as text and the name that it has in the body.
    arrays, places : dict of str to str
        Arrays, and variables that change, and their names in the body.
    runs : dict of int to str
        Where runs of the arena begin, in elements, and the names of their arrays in the body.
    """

    def __init__(self, loop, reads, known, direct):
        self.known, self.sizes = known, {}
        self.values, self.arrays, self.places, self.runs = {}, {}, {}, {}
        self._own, self._lane, self._spans = {}, None, []
        own_reads = reads_of(loop)
        given = [x.id for x in ast.walk(loop) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)]
        counters = {x.target.id for x in ast.walk(loop) if isinstance(x, ast.For)}
        for name in dict.fromkeys(given):
            if name not in counters and name not in direct and reads[name] > own_reads[name]:
                self._place(name)
            else:
                self._own[name] = f"x{len(self._own)}"
        for statement in ast.walk(loop):
            if isinstance(statement, ast.While | ast.Break | ast.Continue):
                raise NotAlone
        self._measure(loop)
        self.body = self.visit(deepcopy(loop))  # which stays as it is, if it turns out that it cannot be

    def _place(self, name):
        if self.known(name) != "place":
            raise NotAlone
        self.places[name] = f"s{len(self.places)}"

    # --- runs of the arena ------------------------------------------------------------------------------------------
    def _measure(self, loop):
        """Which runs there are: those that overlap are one."""
        spans = []
        for x in ast.walk(loop):
            if isinstance(x, ast.For):
                self._count(x)
        for x in ast.walk(loop):
            if isinstance(x, ast.Subscript) and isinstance(x.value, ast.Name) and x.value.id == "arena":
                first, size = self._span(self._element(x)[0])
                spans.append((first, first + size))
        for first, end in sorted(spans):
            if self._spans and first < self._spans[-1][1]:
                self._spans[-1] = self._spans[-1][0], max(end, self._spans[-1][1])
            else:
                self._spans.append((first, end))

    def _count(self, loop):
        """How far a loop counts."""
        bound = loop.iter.args[0]
        if len(loop.iter.args) != 1 or self.sizes.get(loop.target.id, 1) is None:
            raise NotAlone
        if isinstance(bound, ast.Name) and bound.id in LANES:
            self.sizes[loop.target.id] = None
        elif isinstance(bound, ast.Constant):
            self.sizes[loop.target.id] = max(bound.value, self.sizes.get(loop.target.id, 0))
        else:
            raise NotAlone

    def _element(self, node):
        """Of ``arena[element * W + lane]``, the element, and the lane."""
        match node.slice:
            case ast.BinOp(ast.BinOp(element, ast.Mult(), ast.Name("W")), ast.Add(), ast.Name() as lane):
                pass
            case ast.BinOp(ast.BinOp(ast.Constant() as first, ast.Mult(), ast.Name("W")), ast.Add(), ast.BinOp(
                    ast.BinOp(rest, ast.Mult(), ast.Name("W")), ast.Add(), ast.Name() as lane)):
                element = ast.BinOp(first, ast.Add(), rest)
            case _:
                raise NotAlone
        if self.sizes.get(lane.id, 0) is not None:
            raise NotAlone
        return element, lane

    def _span(self, node):
        """The first element that an index may be, and how many."""
        match node:
            case ast.Constant(value):
                return value, 1
            case ast.Name(name) if self.sizes.get(name) is not None:
                return 0, self.sizes[name]
            case ast.BinOp(a, ast.Add(), b):
                (first, size), (other, more) = self._span(a), self._span(b)
                return first + other, size + more - 1
            case ast.BinOp(ast.Constant(factor), ast.Mult(), b):
                first, size = self._span(b)
                return factor * first, factor * (size - 1) + 1
        raise NotAlone

    # --- the body ---------------------------------------------------------------------------------------------------
    def visit_Name(self, node):
        name = node.id
        if name in self._own:
            return ast.Name(self._own[name], node.ctx)
        if name in self.places:
            return ast.Name(self.places[name], node.ctx)
        kind = self.known(name)
        if kind is None:
            return node
        if kind == "array":
            if name == "arena":
                raise NotAlone
            return ast.Name(self.arrays.setdefault(name, f"a{len(self.arrays)}"), node.ctx)
        return self._value(node)

    def _value(self, node):
        return ast.Name(self.values.setdefault(ast.unparse(node), f"p{len(self.values)}"), ast.Load())

    def visit_Subscript(self, node):
        if isinstance(node.value, ast.Name) and node.value.id == "arena":
            element, lane = self._element(node)
            first = next(start for start, end in self._spans if start <= self._span(element)[0] < end)
            run = self.runs.setdefault(first, f"b{len(self.runs)}")
            index = ast.BinOp(ast.BinOp(self._after(element, first), ast.Mult(), ast.Name("W", ast.Load())), ast.Add(),
                              self.visit(lane))
            return ast.Subscript(ast.Name(run, ast.Load()), index, node.ctx)
        match node:
            case ast.Subscript(ast.Name(name), ast.Constant(), ast.Load()) if name == "keys" or name.startswith("leaf"):
                return self._value(node)
        return self.generic_visit(node)

    def _after(self, element, first):
        """An element, counted from the first of its run."""
        match element:
            case ast.Constant(value):
                return ast.Constant(value - first)
            case ast.BinOp(ast.Constant(value), ast.Add(), rest):
                return ast.BinOp(ast.Constant(value - first), ast.Add(), self.visit(rest))
        return ast.BinOp(self.visit(element), ast.Sub(), ast.Constant(first)) if first else self.visit(element)


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
