"""The declaration of graphs: `Graph`, its leaves, sites, costs and scans.

Everything the user declares becomes nodes of `scg.ir` and a few tables of names. A declaration that cannot be is
refused at the user's line.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from math import prod
from typing import Any

import numpy as np

from scg.analysis.at_rest import with_own_values
from scg.analysis.integers import Integers, Whole, settled
from scg.chains import Chains
from scg.distributions.distribution import Distribution
from scg.errors import DeclarationError, ShapeError
from scg.estimators.estimator import Estimator
from scg.foreign import Foreign
from scg.initial import checked
from scg.ir.axes import LANE, ROW
from scg.ir.copies import Copied
from scg.ir.location import calling, here
from scg.ir.node import Node, as_real, constant, where, within_bounds
from scg.ir.signed import no_such, signed
from scg.ir.trees import called, flatten, matched
from scg.noise import STEPS
from scg.ops import leaves
from scg.ops.control import named
from scg.ops.randomness import sample, sample_op
from scg.ops.scan import Opened, begin, last_outputs, out
from scg.ops.scan_arguments import by_column, check_step, in_segments, length_of
from scg.ops.termination import ending, scored_until, with_flag
from scg.views import Views

_STEPPED = re.compile(r"(?P<path>.*)\[(?P<step>\d+)\]")

_INSTEAD = {"parameter": "Use g.param(name).", "variable": "Use g.param(name).", "compile": "Use scg.compile(g).",
            "exact": "Use scg.exact(g, values).", "verify": "Use scg.verify(scg.compile(g), values).",
            "backward": "Use scg.compile(g)(values).grad.", "placeholder": "Use g.input(name) or g.data(name).",
            "networkx": "Use g.to_networkx().", "plot": "Use g.draw().", "dot": "Use g.to_dot()."}


@dataclass(frozen=True)
class DeclaredSite:
    """A site by name: its family, its estimator if the declaration gave one, its line."""

    family: Any  # its class, or one with data of its own
    estimator: Estimator | None
    line: str


@dataclass
class _Trace:
    """A scan whose step function is running."""

    step: Node
    carries: tuple[Node, ...]
    length: int
    sites: list[str] = field(default_factory=list)
    costs: dict[str, Node] = field(default_factory=dict)
    nodes: dict[str, Node] = field(default_factory=dict)
    over: Node | None = None  # whether the loop has ended before this step, if it may


class Graph(Copied, Views, Chains, Foreign):
    """A stochastic computation graph: parameters, inputs, data, deterministic nodes, samples and costs.

    The objective is E[Σ costs], averaged over the rows of the data. What was declared is found by name in `params`,
    `inputs`, `rows` (the data), `sites`, `costs` and `nodes` (all but the costs).

    Parameters
    ----------
    name : str
        Appears in errors and in generated code.

    Examples
    --------
    >>> g = Graph("toy")
    >>> theta = g.param("theta")
    >>> b = g.sample("b", scg.Bernoulli(logits=theta))
    >>> _ = g.cost("loss", (b - 0.45) ** 2)
    """

    @signed
    def __init__(self, name: str = "graph"):
        if not isinstance(name, str) or not name.isprintable() or "\\" in name or '""' in name:
            raise DeclarationError(str(here() or ""), f"{name!r} was given as the name of a graph.",
                                   "It is printed, also into the text of kernels.",
                                   'Give a line of text without backslashes and quotes in a row, e.g. "toy".')
        self.name = name
        self.names: dict[int, str] = {}
        self.nodes: dict[str, Node] = {}
        self.params: dict[str, Node] = {}
        self.inits: dict[str, Any] = {}  # of those params that have one
        self.inputs: dict[str, Node] = {}
        self.rows: dict[str, Node] = {}
        self.costs: dict[str, Node] = {}
        self.scales: dict[str, Node] = {}  # of costs outside of scans that have one
        self.sites: dict[str, DeclaredSite] = {}
        self.per_step: set[str] = set()  # nodes named inside a scan's step: in `nodes` they are stacked over its steps
        self.steps: dict[str, tuple[Opened, ...]] = {}  # of a site inside scans: their steps, the outermost first
        self._taken: dict[str, str] = {}
        self._drawn: dict[str, dict[str, range]] = {}  # by path of the noise: which site draws the words of which steps
        self._tracing: list[_Trace] = []

    def __getattr__(self, name: str):
        no_such(self, name, _INSTEAD)

    # --- leaves -----------------------------------------------------------------------------------------------------
    @signed
    def param(self, name: str, shape: int | tuple[int, ...] = (), init: Any = None) -> Node:
        """A leaf that the objective is differentiated with respect to.

        Parameters
        ----------
        name : str
            Under which values are given and gradients come back.
        shape : int or tuple of int
        init : array_like or callable, optional
            The value that ``f.init(rng)`` returns for it, or a function ``init(rng, shape)`` that draws it from a NumPy
            generator.
        """
        start = checked(name, _shape(shape), init)
        node = self._leaf(self.params, leaves.param, name, shape)
        self.inits |= start
        return node

    @signed
    def input(self, name: str, shape: int | tuple[int, ...] = ()) -> Node:
        """A leaf given at each call and shared by all rows; not differentiated."""
        return self._leaf(self.inputs, leaves.input_leaf, name, shape)

    @signed
    def data(self, name: str, shape: int | tuple[int, ...] = ()) -> Node:
        """A leaf given at each call, one value of `shape` per row: the call passes an array ``(rows, *shape)``."""
        return self._leaf(self.rows, leaves.data, name, shape)

    def _leaf(self, table: dict[str, Node], kind: Callable, name: str, shape) -> Node:
        shape = _shape(shape)
        self._claim(name)
        node = kind(self, name, shape)
        table[name] = self.nodes[name] = node
        return node

    @signed
    def node(self, name: str, expr) -> Node:
        """Name a deterministic node: it stays a symbol in the surrogate's mathematics, and can be recorded.

        Inside a scan the name stands for all steps.

        Returns
        -------
        Node
            A node of the same value, whose name tells it from equal expressions: go on with it.
            ``scg.compile(g, wrt="name")`` differentiates with respect to something added to this node.
        """
        node = as_real(self._own(expr))
        self._claim(name)
        if self._tracing:
            self._tracing[-1].nodes[name] = node
            return node
        if node.op.kind != "leaf" and node.op is not sample_op:
            self.names.setdefault(node.id, name)  # once nobody asks which node is meant, the expression has the name
        node = named(node, name, self)
        self.names[node.id] = name
        self.nodes[name] = node
        return node

    # --- sites and costs --------------------------------------------------------------------------------------------
    @signed
    def sample(self, name: str, dist: Distribution, shape: int | tuple[int, ...] | None = None,
               estimator: Estimator | None = None, per_row: bool = False) -> Node:
        """A stochastic node.

        Parameters
        ----------
        name : str
            The site's name. ``"h[3]"`` draws the words of step 3 of a scanned site ``"h"``, and ``"h"`` outside of
            loops those of step 0: two sites of a graph that would draw the same words are refused.
        dist : Distribution
        shape : int or tuple of int, optional
            NumPy's ``size``: independent draws; by default the shape of the broadcast parameters. Where one draw is a
            vector, its dimensions come after these.
        estimator : Estimator, optional
            How the gradient goes through the site, unless the strategy says otherwise.
        per_row : bool
            Draw for each row of the data, even if the parameters do not depend on the row. Otherwise such a site is
            shared by all rows: replicate k of each has its k-th draw.
        """
        if not isinstance(dist, Distribution):
            raise DeclarationError(str(here() or ""), f'Site "{name}" was given {dist!r} as its distribution.',
                                   "That is not a distribution.", "Give it one, e.g. scg.Bernoulli(logits=theta).")
        if not dist.able("sample"):
            raise DeclarationError(str(here() or ""), f'Site "{name}" was given {dist!r:.200} as its distribution.',
                                  "Nothing says how it is drawn: a site is drawn, whatever its estimator.",
                                  "Give the family sample(noise), or use it for its log_prob of values alone.")
        if not isinstance(per_row, (bool, np.bool_)):
            raise DeclarationError(str(here() or ""), f'Site "{name}" was given per_row={per_row!r}.',
                                   "It says whether the site is drawn for each row.", "Give True or False.")
        if estimator is not None and not isinstance(estimator, Estimator):
            raise DeclarationError(str(here() or ""), f'Site "{name}" was given {estimator!r} as its estimator.',
                                   "That is not an estimator.", "Give it one, e.g. scg.ScoreFunction().")
        for p in dist.params.values():
            self._own(p)
        draws = self._draws(name, dist, shape)
        self._claim(name)
        path, steps = self._words(name)
        step = self._step() if self._tracing else constant(float(steps.start))
        stream = leaves.noise(path, draws, (ROW, LANE) if per_row else (LANE,), step, self)
        ends = [trace.over for trace in self._tracing if trace.over is not None]
        carries = [carry for trace in self._tracing for carry in trace.carries]
        node = reduce(lambda x, over: scored_until(over, x, carries), ends, sample(name, dist, stream))
        self.sites[name] = DeclaredSite(dist.family, estimator, str(here() or ""))
        if self._tracing:
            self._tracing[-1].sites.append(name)
        else:
            self.nodes[name] = node
        return node

    def _step(self) -> Node:
        """The step that is being declared, counted through all loops around it."""
        first, *inner = self._tracing
        return reduce(lambda before, trace: before * float(trace.length) + trace.step, inner, first.step)

    def _words(self, name: str) -> tuple[str, range]:
        """The path of a site's noise, and the steps in which it draws; no other site draws these words."""
        stepped = None if self._tracing else _STEPPED.fullmatch(name)
        path = stepped["path"] if stepped else name
        first = int(stepped["step"][:4000]) if stepped else 0  # Python reads no longer numbers
        steps = range(first, first + prod(trace.length for trace in self._tracing))
        problem = None
        if steps.stop > STEPS:
            problem = (f'Site "{name:.60}" would draw in a step too far from 0.',
                       "Noise tells apart the steps from 0 to 2^32 - 1.", "Choose another name.")
        for other, taken in self._drawn.setdefault(path, {}).items():
            if max(taken.start, steps.start) < min(taken.stop, steps.stop):
                problem = (f'Site "{name}" would draw the same words as site "{other}".',
                           'The name "h[3]" stands for step 3 of site "h", and "h" outside of loops for step 0: the '
                           "two would be one random number.", "Choose another name.")
        if problem is not None:
            del self._taken[name]
            raise DeclarationError(str(here() or ""), *problem)
        self._drawn[path][name] = steps
        return path, steps

    def _draws(self, name: str, dist: Distribution, shape) -> tuple[int, ...]:
        batch = dist.batch_shape
        if shape is None:
            return batch
        wanted = _shape(shape)
        try:
            fits = np.broadcast_shapes(batch, wanted) == wanted
        except ValueError:
            fits = False
        if not fits:
            raise ShapeError(str(here() or ""), f'Site "{name}" was given shape={wanted}.',
                             f"Its parameters have shape {batch}, which cannot be broadcast to it.",
                             "Give a shape whose last dimensions are those of the parameters.")
        return wanted

    @signed
    def cost(self, name: str, node, scale: float = 1.0) -> Node:
        """A named node to be minimised in expectation; the objective is the sum of all costs.

        Parameters
        ----------
        name : str
        node : Node
            Of any shape; its elements are summed.
        scale : float
            Multiplies the cost (for bounds estimated on minibatches).
        """
        factor = self._own(scale)
        if factor.is_const and not np.all(np.isfinite(factor.attrs.array)):
            raise DeclarationError(str(here() or ""), f'Cost "{name}" was given scale={scale!r}.',
                                   "It multiplies the cost, and must be finite.", "Give a finite number.")
        node = as_real(self._own(node))
        self._claim(name)
        if not (isinstance(scale, (int, float)) and scale == 1.0):
            node = node * factor
            self.scales |= {} if self._tracing else {name: factor}
        if self._tracing:
            self._tracing[-1].costs[name] = node
        else:
            self.costs[name] = node
        return node

    # --- scans ------------------------------------------------------------------------------------------------------
    @signed
    def scan(self, step: Callable, init: Any, xs: Any = None, length: int | None = None,
             until: Callable | None = None, checkpoint: int | None = None) -> tuple[Any, Any]:
        """A loop over steps as one node: ``step(carry, x) -> (carry, ys)``.

        The step function runs once, to declare one step. A site's name inside it stands for all its steps, and so do a
        cost's and a node's; recorded, they have the steps as their first dimension. Carries, `xs` and `ys` may be
        nodes, or tuples, lists and dicts of them.

        Parameters
        ----------
        step : callable
        init : nodes
            The carry that the first step begins with.
        xs : nodes, optional
            Arrays whose first dimension runs over the steps.
        length : int, optional
            Number of steps; needed where `xs` does not tell.
        until : callable, optional
            ``until(carry)``, asked after each step: where it is true, the loop is over. From there on a replicate keeps
            its carry, its costs and `ys` are 0, and its draws are not scored.
        checkpoint : int, optional
            The loop is made of segments of so many steps. Derivatives keep the carries at the beginnings of segments,
            and run each segment once more, instead of keeping those of all steps; the numbers are the same. What is
            recorded has a dimension for the segments and one for the steps of each.

        Returns
        -------
        carry, ys
            The last carry, and what each step put out, stacked along a new first dimension.
        """
        check_step(step)
        if until is None:
            return self._scanned(step, init, xs, length, checkpoint, called(init))
        step = ending(step, until, lambda: self._tracing[-1], self._own)
        (last, _), ys = self._scanned(step, (init, 0.0), xs, length, checkpoint, with_flag(called(init)))
        return last, ys

    def _scanned(self, step, init, xs, length=None, checkpoint=None, names=()) -> tuple[Any, Any]:
        if checkpoint is not None:
            return in_segments(partial(self._scanned, names=names), step, init, xs, length, checkpoint)
        inits, rebuild_carry = flatten(init)
        arrays, rebuild_x = flatten(xs)
        inits, arrays = [self._own(n) for n in inits], [self._own(n) for n in arrays]
        steps = length_of(arrays, length)
        arrays, joined = by_column(arrays)
        inits = [as_real(n) for n in inits]
        whole = [min(Integers()(n), Whole.IF_GIVEN) for n in inits] + [Integers()(n) for n in arrays]
        opened = begin(steps, inits, arrays, whole=whole, called=names)
        before = dict(self._taken), dict(self.sites), {path: dict(sites) for path, sites in self._drawn.items()}
        self._tracing.append(trace := _Trace(opened.step, opened.carries, steps))
        try:
            result = step(rebuild_carry(list(opened.carries)), rebuild_x(joined(opened.xs)))
        except BaseException:
            self._taken, self.sites, self._drawn = before  # a step that failed has declared nothing
            raise
        finally:
            self._tracing.pop()
        if not (isinstance(result, tuple) and len(result) == 2):
            raise DeclarationError(str(here() or ""), f"A scan's step returned {type(result).__name__}.",
                                   "It must return a pair (carry, ys).", "Return (carry, None) if there is no output.")
        carries = matched(result[0], init)
        ys, rebuild_y = flatten(result[1])
        return self._close(opened, trace, carries, ys, rebuild_carry, rebuild_y)

    def _close(self, opened: Opened, trace: _Trace, carries, ys, rebuild_carry, rebuild_y):
        new = tuple(as_real(self._own(n)) for n in carries)
        outputs = (*(self._own(y) for y in ys), *trace.costs.values(), *trace.nodes.values())
        opened = with_own_values(settled(replace(opened, new_carries=new, ys=outputs)))
        scan = opened.close()
        for site in trace.sites:
            self.steps[site] = (opened, *self.steps.get(site, ()))
        k = len(new)
        stacked = last_outputs(scan, len(outputs) - len(ys))
        costs, nodes = dict(zip(trace.costs, stacked)), dict(zip(trace.nodes, stacked[len(trace.costs):]))
        outer = self._tracing[-1] if self._tracing else self
        outer.costs.update(costs)
        outer.nodes.update(nodes)
        if self._tracing:
            self._tracing[-1].sites += trace.sites
        else:
            self.per_step.update(nodes)
            self.names.update((node.id, name) for name, node in nodes.items())
        return rebuild_carry([out(scan, i) for i in range(k)]), rebuild_y([out(scan, k + i) for i in range(len(ys))])

    # --- bookkeeping ------------------------------------------------------------------------------------------------
    def _claim(self, name: str) -> None:
        if not isinstance(name, str) or not name or not name.isprintable():
            raise DeclarationError(str(here() or ""), f"{name!r} was given as a name.",
                                   "A name is a non-empty string of printable characters.", 'Give one, e.g. "theta".')
        if name in self._taken:
            raise DeclarationError(
                str(here() or ""), f'The name "{name}" was used a second time in graph "{self.name}".',
                f"It was declared at {self._taken[name]}; one namespace holds all names.", "Choose another name.")
        self._taken[name] = str(here() or "")

    def _own(self, value) -> Node:
        node = constant(value)
        if node.owner is not None and node.owner is not self:
            raise DeclarationError(
                str(here() or ""), f'A node of graph "{node.owner.name}" was used in graph "{self.name}".',
                f"Nodes of two graphs do not mix, and this one is from another: {where(node)}.",
                "Declare it in this graph.")
        return node

    def __deepcopy__(self, memo):
        raise DeclarationError(
            calling(self.name), f'A copy of graph "{self.name}" was asked for.',
            "Its nodes belong to it, and nodes of two graphs do not mix.",
            "Declare a second one, e.g. by a function that declares and returns a graph.")  # fmt: skip

    def __copy__(self):
        return self.__deepcopy__({})

    def named_inside(self, node: Node) -> bool:
        """Whether what a named node names has the same name, and can stand for it."""
        return self.names.get(node.args[0].id) == node.attrs[0]

    # --- views ------------------------------------------------------------------------------------------------------
    @signed
    def surrogate(self, strategy=None, form: str = "log", costs=None):
        """The surrogate: the graph whose gradient is the estimator.

        Parameters
        ----------
        strategy : Estimator or dict, optional
            As for `scg.compile`.
        form : str
            ``"log"``, or ``"ratio"`` for importance ratios in place of log-probabilities.
        costs : sequence of str, optional
            As for `scg.compile`.

        Returns
        -------
        Surrogate
        """
        from scg.derive import derive
        from scg.export.surrogate import Surrogate

        return Surrogate(derive(self, strategy, form=form, costs=costs))

    def __str__(self) -> str:
        from scg.export.graph_text import graph_text

        return graph_text(self)

    def __repr__(self) -> str:
        return (f'<Graph "{self.name}": {len(self.params)} params, {len(self.sites)} sites, {len(self.costs)} costs>')


def _shape(shape) -> tuple[int, ...]:
    out = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if any(not isinstance(s, (int, np.integer)) or isinstance(s, bool) or s < 0 for s in out):
        raise ShapeError(str(here() or ""), f"shape={shape!r} was given.", "A shape is whole numbers from 0.",
                         "Give an int or a tuple of ints.")
    return within_bounds(tuple(int(s) for s in out), "shape=")
