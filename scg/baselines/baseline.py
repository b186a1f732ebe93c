"""The contract of a baseline, the check that it does not depend on its own sample, and the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from scg.analysis.facts import InsideAStep
from scg.errors import BaselineError
from scg.ir.node import Node, where
from scg.ir.printer import title
from scg.ir.registry import Registry
from scg.ir.signed import check_arguments
from scg.ops.scan import OUTSIDE

if TYPE_CHECKING:
    from scg.draft import StateUpdate
    from scg.site import Site

BASELINES: Registry[type[Baseline]] = Registry("baseline")


class Baseline:
    """Something independent of a replicate's own sample at the site. Subclasses are registered by being defined.

    Class attributes
    ----------------
    couples : bool
        Whether it makes the replicates of a group depend on each other.
    """

    couples: ClassVar[bool] = False

    def __new__(cls, *args, **kwargs):
        if args or kwargs:  # none are given where one is unpickled
            check_arguments(cls, args, kwargs)
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        BASELINES.add(cls.__name__, cls)

    def value(self, site: Site, signal: Node) -> tuple[Node, tuple[StateUpdate, ...]]:
        """The baseline of the signal Q̂ (of shape `site.steps`), and what it carries to the next call."""
        raise NotImplementedError

    def reason(self) -> str:
        """Why it leaves the expectation as it is."""
        return "its baseline does not depend on the site's own sample"

    def checked(self, site: Site, signal: Node) -> tuple[Node, tuple[StateUpdate, ...]]:
        """`value`, held to Theorem 2 of Schulman et al. 2015.

        Raises
        ------
        BaselineError
            If the value depends on the replicate's own sample (the message names the path), or has no one value in a
            replicate.
        """
        b, states = self.value(site, signal)
        if b.owner is not None and b.owner is not site.place.anchor.owner:
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"It is a node of another graph: {where(b)}.", "Use nodes of the site's graph.")
        if InsideAStep()(b):
            b = self._put_out(site, b)
        if b.shape not in ((), signal.shape):
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"Its shape is {b.shape}, and the signal that it is subtracted from has shape {signal.shape}.",
                "Use a scalar node: one number is subtracted from the sum of the costs" +
                (", or one for each step." if site.steps else "."))  # fmt: skip
        path = site.own_sample_path(b)
        if path is not None:
            along = " → ".join(title(n) for n in path)
            loop = "what the step has before it draws: the carry, xs, sites drawn earlier; " if site.steps else ""
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"It depends on the site's own sample{' of the same step' if b.shape else ''}, along {along}; then the "
                "score no longer averages to zero against it, and the gradient is biased.",
                f"Use nodes that the site does not influence: {loop}its parents, other sites, other costs; or "
                "LeaveOneOut().")
        return b, states

    def _put_out(self, site: Site, node: Node) -> Node:
        """The value per step of a node from inside the step in which the site is drawn."""
        found = site.put_out(node)
        if found is None:
            inside = "another scan's step" if site.steps else "a scan's step"
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"It uses a node from inside {inside}. " + OUTSIDE[0], OUTSIDE[1])
        return found
