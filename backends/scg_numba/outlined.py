"""Loop nests of kernels as functions of their own: nests that are alike are one function, compiled once.

Alike are nests that differ in the names of their variables, in the parts of the arena that they work on, in numbers
that are given, and in constants that are added to indices. These become arguments; of many elements of one array, the
first one's place does. What a nest reads and writes of the arena are runs of elements that do not overlap, which its
arguments say: so loops over lanes vectorise as if the offsets stood there. Of a nest that is repeated that must be so
each time. The file's text is pasted into exported modules: it needs Python only.
"""

import ast
import functools
from collections import Counter

from scg_numba.trees import NODES, Repeated, Varying, at, nodes_of

FEWEST = 3  # statements of a nest that is worth a call; one that calls a procedure is
TOGETHER = 8  # elements of an array that are given as the place where they begin, and not one by one
LANES = ("padded", "lanes", "rows")  # no loop over lanes or rows of a tile counts beyond W


def reads_of(tree):
    """How often each name is read."""
    return _reads(nodes_of(tree))


def _reads(nodes):
    return Counter([x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load)])


def begun_in(nodes):
    """Arrays of which only elements are read or written."""
    within = Counter([x.value.id for x in nodes if isinstance(x, ast.Subscript) and isinstance(x.value, ast.Name)
                      and not isinstance(x.slice, ast.Slice | ast.Tuple)])
    reads = _reads(nodes)
    return {name for name in within if within[name] == reads[name]}


def worth_a_call(loop):
    """Whether a nest is so long that it had better be compiled once."""
    found = [x for x in nodes_of(loop) if isinstance(x, ast.stmt)]
    return len(found) > FEWEST or any(isinstance(x, ast.Expr) for x in found)


class NotAlone(Exception):
    """A nest that cannot be a function: it stays where it is."""


class Nest:
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
    elements : dict of str to (str, int)
        Variables that are elements of arrays in which nothing is written: of which, and the element's number.

    Attributes
    ----------
    body : ast.For
    key : tuple of str
        What is equal for nests that are alike: the body's nodes in order.
    values : dict
        Expressions for arguments, each as text and what it is for, and the name that it has in the body.
    given : list
        The same expressions as they stand in the tree.
    parts : dict of str to (int, str)
        Arrays of which the body has many elements, side by side: the first one's number, and the part's name there.
    loaded : dict of str to (str, int)
        The names of these elements in the body, the part's name, and the place in it.
    arrays, places : dict of str to str
        Arrays, and variables that change, and their names in the body.
    begun : set of str
        Arrays of which nothing is needed but where they begin.
    runs : dict of int to str
        Where runs of the arena begin, in elements, and the names of their arrays in the body.
    """

    def __init__(self, loop, reads, known, direct, elements=None):
        self.known, self.sizes = known, {}
        self.parts, self.loaded, self._elements = {}, {}, elements or {}
        self.values, self.given, self.arrays, self.places, self.runs = {}, [], {}, {}, {}
        self._own, self._spans, self._given, self._stored, self._direct = {}, [], {}, set(), direct
        nodes = nodes_of(loop)
        own_reads = _reads(nodes)
        given = [x.id for x in nodes if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)]
        self._stores = Counter(given)
        counters = {x.target.id for x in nodes if isinstance(x, ast.For)}
        for name in self._stores:
            if name not in counters and name not in direct and reads[name] > own_reads[name]:
                self._place(name)
            else:
                self._own[name] = f"x{len(self._own)}"
        if any(isinstance(x, ast.While | ast.Break | ast.Continue | Repeated) for x in nodes):
            raise NotAlone
        self._measure(nodes)
        self._gather(own_reads)
        self._key = []
        self.body = self.made(loop)
        self.key = tuple(self._key)
        self.begun = begun_in(nodes) & self.arrays.keys()

    def _place(self, name):
        if self.known(name) != "place":
            raise NotAlone
        self.places[name] = f"s{len(self.places)}"

    # --- runs of the arena ------------------------------------------------------------------------------------------
    def _measure(self, nodes):
        """Which runs there are: those that overlap are one."""
        spans = []
        for x in nodes:
            if isinstance(x, ast.For):
                self._count(x)
            elif isinstance(x, ast.Assign) and isinstance(x.targets[0], ast.Name):
                self._given[x.targets[0].id] = x.value
        for x in nodes:
            if isinstance(x, ast.Subscript) and isinstance(x.value, ast.Name):
                if x.value.id == "arena":
                    first, size = self._span(self._element(x)[0])
                    if isinstance(size, Varying):
                        raise NotAlone
                    spans.append((first, first + size))
                elif isinstance(x.ctx, ast.Store):
                    self._stored.add(x.value.id)
        self._spans = _merged(spans)
        for time in range(max([len(x.numbers) for x, _ in spans if isinstance(x, Varying)], default=0)):
            now = [tuple(at(x, time) for x in span) for span in spans]
            runs = _merged(now)
            if len(runs) != len(self._spans) or any(
                    at(self._run(x), time) != _begin(runs, y) for (x, _), (y, _) in zip(spans, now)):
                raise NotAlone

    def _run(self, element):
        """Where the run of an element begins."""
        return _begin(self._spans, element)

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
        """Of ``arena[element * W + lane]`` the element and the lane; of a part, the element and where lanes begin."""
        if isinstance(node.slice, ast.Slice):
            (element, lane), (same, _) = map(_apart, (node.slice.lower, node.slice.upper))
            if ast.dump(element) != ast.dump(same):
                raise NotAlone
            return element, lane
        element, lane = _apart(node.slice)
        match lane:
            case [ast.Name(name)] | [ast.Subscript(ast.Name("row_of"), ast.Name(name))] if name in self.sizes:
                if self.sizes[name] is None:
                    return element, lane
        raise NotAlone

    def _span(self, node):
        """The first element that an index may be, and how many."""
        match node:
            case ast.Constant(value):
                return value, 1
            case ast.Name(name) if self.sizes.get(name) is not None:
                return 0, self.sizes[name]
            case ast.Name(name) if self._once(name):
                return 0, self._chosen(self._given[name])
            case ast.BinOp(a, ast.Add(), b):
                (first, size), (other, more) = self._span(a), self._span(b)
                return first + other, size + more - 1
            case ast.BinOp(ast.Constant(factor), ast.Mult(), b):
                first, size = self._span(b)
                return factor * first, factor * (size - 1) + 1
        raise NotAlone

    def _chosen(self, value):
        """How many values an index has that is computed: ``int(x) if (x >= 0) & (x < n) else 0`` has n."""
        match value:
            case ast.IfExp(ast.Name(test), ast.Call(_, [ast.Name(x)]), ast.Constant(0)) if self._once(test):
                value = self._given[test]
            case _:
                raise NotAlone
        match value:
            case ast.BinOp(ast.Compare(ast.Name(low), [ast.GtE()], [ast.Constant(0)]), ast.BitAnd(),
                           ast.Compare(ast.Name(high), [ast.Lt()], [ast.Constant(int() as n)])) if low == high == x:
                if x not in self._own or self._once(x):
                    return n
        raise NotAlone

    def _once(self, name):
        """Whether a variable is always what the only assignment to it in the nest gave it."""
        return name in self._given and name in self._direct and self._stores[name] == 1

    def _gather(self, names):
        """Which arrays have many elements in the body: all those between the first and the last."""
        of = {}
        for name in names:
            if name in self._elements and name not in self._own:
                array, number = self._elements[name]
                of.setdefault(array, set()).add(number)
        for array, numbers in of.items():
            apart = [number - min(numbers) for number in numbers]
            if any(isinstance(x, Varying) for x in apart):
                raise NotAlone
            if TOGETHER <= len(numbers) == max(apart) + 1:
                self.parts[array] = min(numbers), f"c{len(self.parts)}"

    # --- the body ---------------------------------------------------------------------------------------------------
    def made(self, node):
        """A node in terms of arguments; what it was made of stays as it is."""
        special = self._MADE.get(type(node))
        return self._copy(node) if special is None else special(self, node)

    def _copy(self, node):
        """A node whose parts are made anew."""
        self._key.append(type(node).__name__)
        fields = {}
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, NODES):
                value = self.made(value)
            elif type(value) is list:
                self._key.append(str(len(value)))
                value = [self.made(x) if isinstance(x, ast.AST) else x for x in value]
            elif isinstance(value, Varying):
                raise NotAlone
            else:  # an operator, or what a constant is
                self._key.append(type(value).__name__ if isinstance(value, ast.AST) else repr(value))
            fields[name] = value
        return type(node)(**fields)

    def _name(self, node):
        name = node.id
        if name in self._own:
            return self._named(self._own[name], node.ctx)
        if name in self.places:
            return self._named(self.places[name], node.ctx)
        kind = self.known(name)
        if kind is None:
            return self._named(name, node.ctx)
        if kind == "array":
            if name == "arena" and self._spans:
                raise NotAlone
            return self._named(self.arrays.setdefault(name, f"a{len(self.arrays)}"), node.ctx)
        array, number = self._elements.get(name, (None, 0))
        if array in self.parts:
            first, part = self.parts[array]
            name = f"{part}_{number - first}"
            self.loaded[name] = part, number - first
            return self._named(name, node.ctx)
        return self._value(node)

    def _named(self, name, ctx):
        self._key.append(name)
        return ast.Name(name, ctx)

    def _value(self, node, role=""):
        key = (node.id if isinstance(node, ast.Name) else ast.unparse(node)), role
        if key not in self.values:
            self.values[key] = f"p{len(self.values)}"
            self.given.append(node)
        return self._named(self.values[key], ast.Load())

    def _loop(self, node):
        """A loop; how far it counts is an argument, where lanes are not counted inside it but by what it calls."""
        elements = any(isinstance(x, ast.Subscript) and not isinstance(x.slice, ast.Slice | ast.Constant)
                       for x in nodes_of(node))
        if elements or not isinstance(node.iter.args[0], ast.Constant):
            return self._copy(node)
        self._key += ["times", str(len(node.body))]
        often = ast.Call(node.iter.func, [self._value(node.iter.args[0], "times")], [])
        body = [self.made(x) for x in node.body]
        return ast.For(self.made(node.target), often, body, [])

    def _call(self, node):
        """A call; whole numbers that are added to what it is given are arguments."""
        self._key += ["call", ast.unparse(node.func), str(len(node.args))]
        return ast.Call(node.func, [self._shifted(x) for x in node.args], node.keywords)

    def _shifted(self, node):
        """An index, of which a constant part is an argument."""
        match node:
            case ast.BinOp(ast.Constant(int()) as a, ast.Add() as op, b) | ast.BinOp(
                    b, ast.Add() as op, ast.Constant(int()) as a):
                self._key.append("shifted")
                return ast.BinOp(self._value(a, "shift"), op, self.made(b))
            case ast.BinOp(a, ast.Mult() as op, ast.Name("W") as width):
                self._key.append("by width")
                return ast.BinOp(self._shifted(a), op, self.made(width))
        return self.made(node)

    def _subscript(self, node):
        if isinstance(node.value, ast.Name) and node.value.id == "arena":
            return self._of_run(node)
        match node:
            case ast.Subscript(ast.Name(name), ast.Constant(), ast.Load()) if name not in self._stored and self.known(
                    name) == "array":
                return self._value(node)
            case ast.Subscript(ast.Name() as array, ast.BinOp() as index):
                self._key.append("element")
                return ast.Subscript(self.made(array), self._shifted(index), node.ctx)
        return self._copy(node)

    def _of_run(self, node):
        """An element, or a part, of the arena, as one of a run."""
        element, _ = self._element(node)
        first = self._run(self._span(element)[0])
        self._key.append("part" if isinstance(node.slice, ast.Slice) else "of run")
        run = self._named(self.runs.setdefault(first, f"b{len(self.runs)}"), ast.Load())

        def after(index):
            element, rest = _apart(index)
            self._key.append(str(len(rest)))
            start = ast.BinOp(self._after(element, first), ast.Mult(), self.made(ast.Name("W", ast.Load())))
            return functools.reduce(lambda a, b: ast.BinOp(a, ast.Add(), self.made(b)), rest, start)

        index = node.slice
        index = ast.Slice(after(index.lower), after(index.upper)) if isinstance(index, ast.Slice) else after(index)
        return ast.Subscript(run, index, node.ctx)

    def _after(self, element, first):
        """An element, counted from the first of its run."""
        match element:
            case ast.Constant(value):
                return self.made(ast.Constant(value - first))
            case ast.BinOp(ast.Constant(value), ast.Add(), rest):
                return self.made(ast.BinOp(ast.Constant(value - first), ast.Add(), rest))
        return self.made(ast.BinOp(element, ast.Sub(), ast.Constant(first)) if first else element)

    _MADE = {ast.Name: _name, ast.For: _loop, ast.Call: _call, ast.Subscript: _subscript}


def _merged(spans):
    """Runs, those that overlap as one."""
    found = []
    for first, end in sorted(spans):
        if found and first < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((first, end))
    return found


def _begin(runs, element):
    """Where the run of an element begins."""
    return next(first for first, end in runs if first <= element < end)


def _apart(index):
    """Of a sum, what is multiplied by W, and the other terms."""
    elements, rest, waiting = [], [], [index]
    while waiting:
        x = waiting.pop()
        match x:
            case ast.BinOp(a, ast.Add(), b):
                waiting += [b, a]
            case ast.BinOp(element, ast.Mult(), ast.Name("W")):
                elements.append(element)
            case _:
                rest.append(x)
    if not elements:
        raise NotAlone
    return functools.reduce(lambda a, b: ast.BinOp(a, ast.Add(), b), elements), rest


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
                assigned = {x.id for x in nodes_of(s) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
                if isinstance(s, ast.While):  # the test is in the loop
                    self.reads(s.test, scope, (*loops, assigned))
                self.walk(s.body, (*scope, k), (*loops, assigned))
            elif isinstance(s, ast.If):
                self.reads(s.test, scope, loops)
                self.walk(s.body, (*scope, k, 0), loops)
                self.walk(s.orelse, (*scope, k, 1), loops)
            else:
                self.reads(s, scope, loops)
                for x in nodes_of(s):
                    if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store):
                        self.given[x.id] = scope, len(loops)
                if isinstance(s, ast.AugAssign) and isinstance(s.target, ast.Name):
                    self.kept.add(s.target.id)

    def reads(self, node, scope, loops):
        """What is read here; counters of loops, and arguments, are given by nobody."""
        for x in nodes_of(node):
            if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Load):
                known, depth = self.given.get(x.id, ((), 0))
                anew = x.id in self.given or any(x.id in assigned for assigned in loops)
                if anew and (scope[: len(known)] != known or any(x.id in assigned for assigned in loops[depth:])):
                    self.kept.add(x.id)
