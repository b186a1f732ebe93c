"""The declaration of chains: a Markov transition, of whose costs the stationary mean is the objective."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scg.errors import DeclarationError
from scg.ir.location import here
from scg.ir.node import Node
from scg.ir.signed import signed
from scg.ir.trees import flatten
from scg.noise import STEPS
from scg.ops.reduce import total
from scg.ops.scan import open_scan
from scg.surrogate.transition import Transition


class Chains:
    """What can be declared of a graph whose objective is a stationary mean.

    Attributes
    ----------
    transition : Transition or None
        The step of the chain, if one was declared.
    """

    transition: Transition | None = None
    costs: dict[str, Node]
    scan: Callable

    @signed
    def chain(self, step: Callable, init: Any, burn_in: int = 100, horizon: int = 1000) -> None:
        """A Markov chain: ``step(state) -> state``, with sites and costs inside.

        The objective is the mean of the costs under the chain's stationary law. It is estimated by the mean over
        `horizon` steps, after `burn_in` steps that are not counted; its gradient by `SPWD`, `WeakDerivative`
        (that is `Phantoms`), `LikelihoodRatio`, `Regenerative`, `SPSA` or `FiniteDifferences`; where the costs are
        smooth in all draws and in the state, by `Pathwise`, which follows the derivative of the state along the run.
        Each replicate of a call is a chain of its own.

        Parameters
        ----------
        step : callable
            One transition. It runs once, to declare a step, as that of a scan.
        init : nodes
            The state that every chain starts from: a node, or a tuple, list or dict of them.
        burn_in : int
            Steps before the first that counts. The law after them is that much nearer to the stationary one.
        horizon : int
            Steps that count.

        Raises
        ------
        DeclarationError
            If the graph has a chain, or costs, already; if the step declares no cost; if a number is out of range.
        """
        line = str(here() or "")
        self._check_chain(step, burn_in, horizon, line)
        self.scan(lambda state, _: (step(state), None), init, length=int(burn_in) + int(horizon))
        if not self.costs:
            raise DeclarationError(line, "The step of a chain declared no cost.",
                                   "The objective is the stationary mean of the costs inside.",
                                   'Declare one in the step: g.cost("e", …).')
        scan = next(iter(self.costs.values())).args[0]
        opened, stacked = open_scan(scan), {name: node.attrs for name, node in self.costs.items()}
        k = len(opened.carries)
        costs = {name: total(opened.ys[i - k]) for name, i in stacked.items()}
        self.transition = Transition(opened.step, opened.carries, opened.new_carries, costs, opened.inits,
                                     int(burn_in), int(horizon), line, flatten(init)[1](list(range(k))))
        self.costs.update(self.transition.means())

    def _check_chain(self, step: Callable, burn_in: Any, horizon: Any, line: str) -> None:
        if not callable(step) or isinstance(step, Node):
            raise DeclarationError(line, f"A chain was given {step!r:.200} as its step.",
                                   "It must be a function of the state.", "Define one: step(state) -> state.")
        if self.transition is not None or self.costs or self.__dict__.get("_tracing"):
            what = ("a chain" if self.transition is not None else "costs outside of it" if self.costs
                    else "a scan around it")
            raise DeclarationError(line, f"A chain was declared in a graph that has {what}.",
                                   "The objective is the stationary mean of one chain's costs.",
                                   "Declare it in a graph of its own, with all costs inside its step.")
        for name, number, least in (("burn_in", burn_in, 0), ("horizon", horizon, 1)):
            if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
                raise DeclarationError(line, f"A chain was given {name}={number!r}.",
                                       "It is a number of steps.", f"Give a whole number from {least}.")
        if burn_in + horizon > STEPS:
            raise DeclarationError(line, "A chain of more than 2^32 steps was declared.",
                                   "Steps are counted from 0 to 2^32 - 1.", "Use a smaller horizon, and more chains.")
