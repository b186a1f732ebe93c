"""Values and differentials of graphs, element by element and step by step, as polynomials (`scg.analysis.polynomials`).

A value is that of the node whatever gradients the user stopped. It has two differentials in the sources: *held*, where
what is stopped does not move, and *whole*, where it does. Draws are numbers in both. What is not taken apart has a
differential of its own, a symbol; so has the log-probability of each draw, its *score*, wherever it occurs.

Loops are unrolled. Of an array of many elements, and of what an op makes of it that is not linear, only the whole is
known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import or_
from typing import Any, NamedTuple

import numpy as np

from scg.analysis.formulas import Formulas, Score
from scg.analysis.polynomial_arrays import (
    MOST_ELEMENTS,
    NOTHING,
    Elements,
    Known,
    Unproved,
    each,
    filled,
    is_large,
    is_number,
    number_of,
    one,
    plus,
    times,
)
from scg.analysis.polynomials import ONE, Polynomial, add_to, added, scaled
from scg.ir.node import Node, constant
from scg.ir.op import Op, Smoothness
from scg.ir.traverse import topological
from scg.ops.arithmetic import (
    div_op,
    maximum_op,
    minimum_op,
    mul_op,
    real_op,
    stop_gradient_op,
    whole_power_op,
)
from scg.ops.contract import contract_op
from scg.ops.control import is_stop
from scg.ops.density import in_ranges_op, log_density_op
from scg.ops.elementary import exp_op, log_op
from scg.ops.leaves import const_op
from scg.ops.log_space import log_of_sum_op
from scg.ops.randomness import distribution_of, sample_op
from scg.ops.reduce import sum_op
from scg.ops.scan import out_op, scan_op
from scg.ops.special import xmuly_op
from scg.ops.structure import broadcast_to_op
from scg.ops.termination import held_by

MOST_NODES = 10_000  # that are looked at, with a loop's body as often as it has steps
MOST_FACTORS = 4  # of a power that is multiplied out
MOST_CARRIED = 8  # terms of a carry that is made by choices
FORMULA = {log_density_op: 2, in_ranges_op: 1}  # what an op is wherever it has a value


class Differentials(Formulas):
    """Values and differentials of one graph's nodes.

    Parameters
    ----------
    sources : iterable of Node
        In which they are differentials.
    """

    def __init__(self, sources: Iterable[Node]):
        super().__init__()
        self._sources = {node.id for node in sources}
        self.met: dict[Any, int] = {}  # the number of the bit of each draw, by its site and steps and its index
        self._logs: dict[frozenset, tuple[int, int]] = {}  # log-probabilities by their polynomials: value and score
        self._lengths: set[int] = set()
        self._densities: dict[tuple[int, ...], Node] = {}
        self._seen = 0

    def __call__(self, root: Node) -> Known:
        """What is known of a node.

        Raises
        ------
        Unproved
        """
        env: dict[int, Any] = {}
        self._run([root], env, ())
        return env[root.id]

    def balanced(self, cost: Known) -> bool | None:
        """Whether what is hidden of the mean of a scalar cost's gradient is 0.

        Returns
        -------
        bool or None
            True if it is 0 in every replicate; False if every score that is left is weighed by what its draw does not
            move; None if that is not known.
        """
        value = cost.value.flat[0]
        left: dict[int, Polynomial] = {number: {} for number, score in self.scores.items() if score.hidden}
        for d, sign in ((cost.held, 1.0), (cost.whole, -1.0)):
            for term, c in d.flat[0].items() if d is not None else ():
                slope = next(a for a in term if a in self.scores or a in self.slopes)
                rest = tuple(a for a in term if a != slope)
                add_to(left.setdefault(slope, {}), rest, sign * c)
        drawn = [(term, c, self.atoms.drawn({term: c})) for term, c in value.items()]
        exact = True
        for slope, weight in left.items():
            score = self.scores.get(slope)
            if score is None:
                if weight:
                    return None
                continue
            moved = {term: -c for term, c, draws in drawn if draws & score.draws}
            own = {term: c for term, c in weight.items() if self.atoms.drawn({term: c}) & score.draws}
            if added(own, self.atoms.product(score.hidden, moved)):
                return None
            others = added(weight, scaled(own, -1.0))
            if added(others, scaled(self.atoms.product(others, score.goes_on), -1.0)):
                return None
            exact = exact and not added(weight, self.atoms.product(score.hidden, scaled(value, -1.0)))
        return exact

    # --- nodes -------------------------------------------------------------------------------------------------------
    def _run(self, roots: Sequence[Node], env: dict[int, Any], steps: tuple[int, ...]) -> None:
        order = topological(roots)
        for node in order:
            read = _read(node, order) if node.op is scan_op else set()
            if node.id in env and (node.op is not scan_op or read <= env[node.id].keys()):
                continue
            self._seen += 1
            if self._seen > MOST_NODES or any(not ax.statistical for ax in node.axes):
                raise Unproved
            if node.op is scan_op:
                env[node.id] = {**env.get(node.id, {}), **self._scan(node, env, steps, read)}
            elif node.op is out_op:
                env[node.id] = env[node.args[0].id][node.attrs]
            elif node.kind == "noise":
                env[node.id] = None
            elif node.op is sample_op:
                self._sample(node, env, steps)
            else:
                env[node.id] = self._as_source(node, self._named(self._made(node, env, steps).settled))

    def _as_source(self, node: Node, known: Known) -> Known:
        if node.id not in self._sources:
            return known
        own = self.symbols(known.value if is_large(node) else np.broadcast_to(known.value, node.shape))
        return known._replace(held=plus(known.held, own), whole=plus(known.whole, own))

    def _made(self, node: Node, env: dict[int, Any], steps: tuple[int, ...]) -> Known:
        """What is known of a node by what is known of its arguments."""
        op = node.op
        if op.kind == "leaf":
            return Known(self.literal(node) if op is const_op else self.apart(node, node.id, 0))
        args = [env[a.id] for a in node.args]
        if op is stop_gradient_op:
            return args[0]._replace(held=None, whole=args[0].whole if is_stop(node) else None)
        if op.stands_for is not None:
            return args[op.stands_for]
        if op in FORMULA and self.is_formula(op, args[0]):
            return args[FORMULA[op]]
        if op is real_op or (op.transparent and op.smooth_in(0) is Smoothness.SMOOTH):
            return args[0]
        if op.kind == "elementwise":
            return self._elementwise(node, [self.fitted(k, a, node) for k, a in zip(args, node.args)], env, steps)
        return self._structural(node, args)

    def is_formula(self, op: Op, condition: Known) -> bool:
        """Whether what has a value where a condition holds is the formula of it."""
        return not condition.moves

    def truth(self, node: Node, args: Sequence[Known], steps: tuple[int, ...]) -> Known:
        """A truth value."""
        return self.condition(node, args)

    def _structural(self, node: Node, args: Sequence[Known]) -> Known:
        op, large = node.op, is_large(node)
        if op is contract_op:
            return self.contracted(node, args)
        if op is broadcast_to_op and large:
            return self.fitted(args[0], node.args[0], node)
        apart = not large and not any(map(is_large, node.args))
        if op.moves and apart:
            found = self.rearranged(node, args)
            return self.opaque(node, args) if found is None else found
        if op.value is not None and op.is_linear(node) and len(args) == 1:  # a mean over replicates has none
            return self.linear(node, args[0]) if apart else args[0].mapped(
                lambda x: self.of_terms(x, node.args[0], op, node.attrs, node.shape, large))
        return self.opaque(node, args)

    # --- elementwise -------------------------------------------------------------------------------------------------
    def _elementwise(self, node: Node, args: Sequence[Known], env: dict[int, Any], steps: tuple[int, ...]) -> Known:
        op = node.op
        if op.linear:
            parts = [k.mapped(partial(times, float(op.value(*unit)))) for k, unit in zip(args, np.eye(len(args)))]
            return reduce(lambda a, b: Known(*map(plus, a, b)), parts)
        if op in (mul_op, xmuly_op):
            return self.product(*args)
        if op is div_op:
            return self.product(args[0], self.inverse(args[1]))
        if op is whole_power_op and 0 < node.attrs[0] <= MOST_FACTORS:
            return reduce(self.product, [args[0]] * node.attrs[0])
        if op.chooses and node.args[0].kind == "bool" and len(args) == 3:
            blocked = op.smooth_in(0) is Smoothness.BLOCKING
            return self.chosen(Known(args[0].value) if blocked else args[0], *args[1:])
        if node.kind == "bool":
            return self.truth(node, args, steps)
        decided = self.decided(node, args) if op in (maximum_op, minimum_op) else None
        return self._function(node, args, env, steps) if decided is None else decided

    def _function(self, node: Node, args: Sequence[Known], env: dict[int, Any], steps: tuple[int, ...]) -> Known:
        """An op that is not taken apart; its differential is where something is hidden, or a score is in it."""
        op, values = node.op, [k.value for k in args]
        numbers = node.attrs if isinstance(node.attrs, tuple) else ()

        def atom(*of: Polynomial) -> Polynomial:
            if all(map(is_number, of)):
                with np.errstate(all="ignore"):
                    found = float(op.value(*map(number_of, of), *numbers))  # type: ignore[misc]
                if np.isfinite(found):
                    return scaled({ONE: 1.0}, found)
            if op is exp_op:
                return self.exponential(*of)
            if op in (log_op, log_of_sum_op):
                return self.logarithm(*of)
            key = (op, node.attrs, *map(self.atoms.whole, of))
            return self.atoms.one(key, self.atoms.drawn(*of), node.shape if is_large(node) else ())

        value = each(atom, *values)
        if op is exp_op:
            return Known(value, self.weighed(value, args[0].held), self.weighed(value, args[0].whole))
        moving = self.moving(node, args)
        hidden = any(args[i].hidden and args[i].held is not None for i in moving)
        if not hidden and not any(self.has_scores(args[i].whole) for i in moving):
            return self.as_one(node, args, value)
        if is_large(node) or any(op.smooth_in(i) is Smoothness.DISCONTINUOUS for i in moving):
            raise Unproved
        return Known(value, *self._by_parts(node, value, args, moving, env, steps))

    def _by_parts(self, node: Node, value: Elements, args: Sequence[Known], moving: Sequence[int],
                  env: dict[int, Any], steps: tuple[int, ...]) -> tuple[Elements | None, Elements | None]:
        """The differentials by the op's own derivative."""
        if node.op.derivative is None:
            raise Unproved
        slopes = node.op.derivative(constant(1.0), node, *node.args)
        env = {**env, node.id: Known(value), **{a.id: Known(known.value) for a, known in zip(node.args, args)}}
        held = whole = None
        for i in moving:
            if slopes[i] is not None:
                slope = constant(slopes[i])
                self._run([slope], env, steps)
                held = plus(held, self.weighed(env[slope.id].value, args[i].held))
                whole = plus(whole, self.weighed(env[slope.id].value, args[i].whole))
        return held, whole

    # --- draws -------------------------------------------------------------------------------------------------------
    def _sample(self, node: Node, env: dict[int, Any], steps: tuple[int, ...]) -> None:
        """Each draw is an atom, made of itself and of what its parameters are made of; and it has a score."""
        family, key = node.attrs.family, ("draw", node.attrs.site, steps)
        shape = node.shape[: node.ndim - family.support.event_ndim]
        given = {name: _Parameter.of(a, env) for name, a in zip(node.attrs.names, node.args)}
        large = is_large(node)
        bits = filled((1,) * len(shape) if large else shape,
                      lambda index: 1 << self.met.setdefault((key, index), len(self.met)))
        if large:
            below = self.atoms.drawn(*(p for of in given.values() for p in of.drawn_from.flat))
            env[node.id] = Known(one(self.atoms.one(key, int(bits.flat[0]) | below, node.shape), node.ndim))
        else:
            made_of = each(lambda *of: reduce(or_, of), bits, *(
                self._drawn(p, family.parameters[name].event_ndim, shape) for name, p in given.items()))
            env[node.id] = Known(filled(node.shape, lambda index: self.atoms.one(
                (key, index), int(made_of[index[: len(shape)]]))))
        if any(p.known.moves for p in given.values()):
            self._score(node, given, bits, env, steps)

    def _drawn(self, given: _Parameter, event_ndim: int, shape: tuple[int, ...]) -> Elements:
        """Which draws a parameter of each draw of an array is made of."""
        own = np.broadcast_to(each(self.atoms.drawn, given.drawn_from), given.node.shape)
        for _ in range(event_ndim):
            own = np.asarray(np.bitwise_or.reduce(own, axis=-1), dtype=object)
        return np.broadcast_to(own, shape)

    def _score(self, node: Node, given: Mapping[str, _Parameter], bits: Elements, env: dict[int, Any],
               steps: tuple[int, ...]) -> None:
        """Name the log-probability of each draw and its differential, whose mean is 0 if the support does not move.

        Where a loop is over, nothing is hidden in that of its draws; and the mean is 0 only if they are drawn from the
        same parameters there.
        """
        family = node.attrs.family
        moving = {name: p for name, p in given.items() if p.known.moves}
        hidden = any(p.known.hidden for p in moving.values())
        together = len({p.overs for p in given.values() if p.known.moves or p.elsewhere}) == 1
        scored = together and family.can("log_prob") and set(moving).isdisjoint(family.support.moving)
        if hidden and (not scored or any(p.known.held is not None for p in moving.values())):
            raise Unproved
        if not scored:
            return
        log_p = self._log_prob(node, given)
        self._run([log_p], env, steps)
        goes_on: Polynomial = {ONE: 1.0}
        for over in next(p.overs for p in moving.values()):
            goes_on = self.atoms.product(goes_on, added({ONE: 1.0}, scaled(env[over].value.flat[0], -1.0)))
        of_mean_0 = goes_on if any(p.elsewhere for p in given.values()) else {ONE: 1.0}
        weight = goes_on if hidden else NOTHING
        value: Elements = env[log_p.id].value
        value = value if is_large(log_p) else np.broadcast_to(value, log_p.shape)
        if value.shape != bits.shape:
            raise Unproved
        for index in np.ndindex(value.shape):
            if self.atoms.drawn(value[index]) & int(bits[index]):
                self._name(value[index], Score(int(bits[index]), weight, of_mean_0), log_p)
            elif hidden:
                raise Unproved
        env[log_p.id] = self._named(env[log_p.id])

    def _log_prob(self, node: Node, given: Mapping[str, _Parameter]) -> Node:
        """log p of a draw, at the parameters that it has where no loop is over."""
        key = (node.id, *(p.node.id for p in given.values()))
        if key not in self._densities:
            args = (*(p.node for p in given.values()), node.args[-1])
            self._densities[key] = distribution_of(node, args).log_prob(node)
        return self._densities[key]

    def _name(self, p: Polynomial, score: Score, log_p: Node) -> None:
        key, draws, shape = frozenset(p.items()), self.atoms.drawn(p), log_p.shape if is_large(log_p) else ()
        own = self.atoms.number(("log p", key), draws, shape)
        slope = self.atoms.number(("d", own), draws, shape)
        self._logs[key] = own, slope
        self._lengths.add(len(p))
        if shape:  # the sum of all is a score
            self.slopes.add(slope)
            slope = self.part(sum_op, tuple(range(log_p.ndim)), shape, (slope,), ())
            self.slopes.discard(slope)
        self.scores[slope] = score

    def _named(self, known: Known) -> Known:
        """With log-probabilities of draws by their names, where it is one."""
        if known.whole is None or not any(len(p) in self._lengths for p in known.value.flat):
            return known
        shape = np.broadcast_shapes(*(x.shape for x in known if x is not None))
        found = known.mapped(lambda x: np.array(np.broadcast_to(x, shape)))
        for index in np.ndindex(shape):
            value, held, whole = (NOTHING if x is None else x[index] for x in found)
            name = self._logs.get(frozenset(value.items())) if len(value) in self._lengths else None
            if name is not None and (not held or held == whole):
                found.value[index], slope = {(name[0],): 1.0}, {(name[1],): 1.0}
                for part, before in ((found.held, held), (found.whole, whole)):
                    if before and part is not None:
                        part[index] = slope
        return found

    # --- loops -------------------------------------------------------------------------------------------------------
    def _scan(self, node: Node, env: Mapping[int, Any], steps: tuple[int, ...], read: set[int]) -> dict[int, Known]:
        """What is known of those of a loop's results that are read."""
        body = node.attrs
        k, m = len(body.carries), len(body.carries) + len(body.consts)
        given = [env[a.id] for a in node.args]
        made = body.upstream(read)
        if body.length * len(topological([body.outputs[i] for i in made])) > MOST_NODES - self._seen:
            raise Unproved
        carries, put_out = given[:k], []
        for t in reversed(range(body.length)) if body.reverse else range(body.length):
            arrays = [self._step_of(known, array, t) for known, array in zip(given[m:], node.args[m:])]
            inner: dict[int, Any] = {leaf.id: known for leaf, known in zip(
                (*body.carries, *body.consts, *body.xs), (*carries, *given[k:m], *arrays))}
            inner[body.step.id] = Known(one(scaled({ONE: 1.0}, float(t))))
            self._run([body.outputs[i] for i in made], inner, (*steps, node.id, t))
            carries = [self._carried(inner[n.id]) if i in made else c
                       for i, (n, c) in enumerate(zip(body.new_carries, carries))]
            put_out.append(inner)
        if body.reverse:
            put_out.reverse()
        return {i: carries[i] if i < k else self._stacked([inner[n.id] for inner in put_out], n)
                for i, n in enumerate(body.outputs) if i in made}

    def _carried(self, known: Known) -> Known:
        """A carry, which is one thing if choices would make it longer in every step."""
        def short(p: Polynomial) -> Polynomial:
            chosen = len(p) > MOST_CARRIED and any(a in self.atoms.flags for term in p for a in term)
            return self.shortened(p) if chosen else p

        return known if known.moves else known.mapped(lambda x: each(short, x))

    def _step_of(self, known: Known, array: Node, t: int) -> Known:
        """What a step is given of an array."""
        if not is_large(array):
            return known.mapped(lambda x: filled(array.shape[1:], lambda i: np.broadcast_to(x, array.shape)[(t, *i)]))
        shape, large = array.shape[1:], array.size > MOST_ELEMENTS * array.shape[0]
        return known.mapped(lambda x: self.of_terms(x, array, out_op, t, shape, large))

    def _stacked(self, parts: Sequence[Known], y: Node) -> Known:
        """What the steps put out."""
        shape = (len(parts), *y.shape)
        if int(np.prod(shape, dtype=int)) > MOST_ELEMENTS:
            raise Unproved

        def stacked(arrays: Sequence[Elements | None]) -> Elements | None:
            if all(x is None for x in arrays):
                return None
            each_step = [np.broadcast_to(one(NOTHING) if x is None else x, y.shape) for x in arrays]
            return filled(shape, lambda index: each_step[index[0]][index[1:]])

        return Known(*map(stacked, zip(*parts)))


def _read(scan: Node, order: Sequence[Node]) -> set[int]:
    """Which results of a loop some nodes read."""
    return {n.attrs for n in order if n.op is out_op and n.args[0] is scan}


class _Parameter(NamedTuple):
    """A parameter of a draw.

    Attributes
    ----------
    node : Node
        Without what holds it where loops are over.
    known : Known
        Of that.
    overs : tuple of int
        The conditions that these loops are over.
    elsewhere : bool
        Whether it is held at other numbers there.
    drawn_from : array of polynomials
        Its values, where the loops are over too.
    """

    node: Node
    known: Known
    overs: tuple[int, ...]
    elsewhere: bool
    drawn_from: Elements

    @classmethod
    def of(cls, node: Node, env: Mapping[int, Any]) -> _Parameter:
        """Of a parameter as it was declared."""
        overs, elsewhere, own = held_by(node)
        known = env[own.id]
        drawn_from = env[node.id] if elsewhere else known
        return cls(own, known, tuple(over.id for over in overs), elsewhere, drawn_from.value)
