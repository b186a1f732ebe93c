"""The contract of a baseline, the check that it does not depend on its own sample, and the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from scg.analysis.facts import InsideAStep
from scg.errors import BaselineError, brief
from scg.ir.location import here
from scg.ir.node import Node, NodeLike, as_real, constant, where
from scg.ir.printer import title
from scg.ir.registry import Registry
from scg.ir.signed import Checked
from scg.ops.scan import OUTSIDE
from scg.ops.structure import broadcast_to, reshape
from scg.surrogate.credited_site import Weighing

if TYPE_CHECKING:
    from scg.surrogate.draft import Draft, Objective, StateUpdate
    from scg.surrogate.site import Site

BASELINES: Registry[type[Baseline]] = Registry("baseline")


class Subtracted(NamedTuple):
    """What a baseline gives.

    Attributes
    ----------
    value : Node
        What is subtracted from the signal.
    states : tuple of StateUpdate
        What it carries to the next call.
    objectives : tuple of Objective
        What its own params minimise.
    divisor : Node or None
        What the difference is divided by. The estimate is then no longer that of the gradient (`Baseline.unbiased`).
    """

    value: Node
    states: tuple[StateUpdate, ...] = ()
    objectives: tuple[Objective, ...] = ()
    divisor: Node | None = None


class Baseline(Checked):
    """Something independent of a replicate's own sample at the site. Subclasses are registered by being defined.

    Class attributes
    ----------------
    couples : bool
        Whether it makes the replicates of a group depend on each other.
    """

    couples: ClassVar[bool] = False

    @property
    def unbiased(self) -> bool:
        """Whether it leaves the expectation as it is."""
        return True

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        BASELINES.add(cls.__name__, cls)

    def value(self, site: Site, signal: Node) -> Subtracted:
        """The baseline of the signal Q̂ (of shape `site.signal_shape`)."""
        raise NotImplementedError

    def along(self, site: Site) -> tuple[int, ...] | None:
        """The dimensions of the draws along which it has a number for each: then each draw is weighed on its own there.

        None, which is the default, if it takes a signal as it comes, in whichever shape. A baseline that is one number
        (along no dimension) is one for the costs as a whole: then draws are told apart only if that is asked for.
        """
        return None

    def weighing(self, site: Site, by_default: Weighing) -> Weighing:
        """Along which dimensions draws are weighed by signals of their own, for an estimator that subtracts it."""
        along = self.along(site)
        if along is None:
            return by_default
        if not along and by_default.credit == "aligned":  # one number, for the costs as a whole
            return Weighing()
        return by_default._replace(along=along)

    def taken_from(self, signal: Node, site: Site) -> tuple[Node, Draft]:
        """The signal without the baseline, and the site's draft with all that it carries and learns.

        Raises
        ------
        BaselineError
            See `checked`.
        """
        found, draft = Subtracted(*self.checked(site, signal)), site.draft
        signal = signal - found.value
        signal = signal if found.divisor is None else signal / found.divisor
        for state in found.states:
            draft = draft.with_state(state)
        for objective in found.objectives:
            draft = draft.with_objective(objective.name, objective.node, objective.otherwise, objective.said)
        return signal, draft

    def reason(self) -> str:
        """Why it leaves the expectation as it is."""
        return "its baseline does not depend on the site's own draw"

    def checked(self, site: Site, signal: Node) -> Subtracted:
        """`value`, held to Theorem 2 of Schulman et al. 2015.

        Raises
        ------
        BaselineError
            If the value depends on the replicate's own sample (the message names the path), or has no one value in a
            replicate.
        """
        returned = self.value(site, signal)
        if not isinstance(returned, tuple) or not 0 < len(returned) <= len(Subtracted._fields):
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"Its value returned {brief(returned)}.", "Return Subtracted(value).")
        found = Subtracted(*returned)  # of a pair too: a value and states
        found = found._replace(value=_of_signal(site, found.value),
                               divisor=None if found.divisor is None else _of_signal(site, found.divisor))
        for node in (found.value, *(() if found.divisor is None else (found.divisor,))):
            self._check(site, signal, node)
        return found

    def _check(self, site: Site, signal: Node, b: Node) -> None:
        if b.shape not in ((), signal.shape):
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"Its shape is {b.shape}, and the signal that it is subtracted from has shape {signal.shape}.",
                "Use a scalar node: one number is subtracted from the sum of the costs" +
                (", or one for each step." if site.steps else ".") +
                (" Or one of the shape of the draws, a number for each." if site.draws else ""))  # fmt: skip
        path = site.own_sample_path(b)
        if path is not None:
            along = " → ".join(title(n) for n in path)
            at = "of the same step" if site.steps else "of the same element"
            loop = "what the step has before it draws: the carry, xs, sites drawn earlier; " if site.steps else ""
            raise BaselineError(
                site.where, f"{self!r} was asked for as a baseline.",
                f"It depends on the site's own sample{f' {at}' if b.shape else ''}, along {along}; then the "
                "score no longer averages to zero against it, and the gradient is biased.",
                f"Use nodes that the site does not influence: {loop}its parents, other sites, other costs; or "
                "LeaveOneOut().")

    def of_site(self, site: Site, node) -> Node:
        """A node of the user's as a baseline sees it: one from inside the site's step is a value per step.

        Raises
        ------
        BaselineError
            If it is from another graph, or from inside another loop.
        """
        node = as_real(constant(node))
        if node.owner is not None and node.owner is not site.site_node.anchor.owner:
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"It is a node of another graph: {where(node)}.", "Use nodes of the site's graph.")
        if not InsideAStep()(node):
            return site.by_step(node)
        found = site.put_out(node)
        if found is None:
            inside = "another scan's step" if site.steps else "a scan's step"
            raise BaselineError(site.where, f"{self!r} was asked for as a baseline.",
                                f"It uses a node from inside {inside}. " + OUTSIDE[0], OUTSIDE[1])
        return found


def _of_signal(site: Site, given: NodeLike) -> Node:
    """One number a step as numbers that are subtracted from the signals of all of its draws."""
    node = as_real(constant(given))
    if not site.steps or node.shape != site.steps or not site.credit:
        return node
    wide = reshape(node, (*node.shape, *(1,) * len(site.credit)))
    return broadcast_to(wide, site.signal_shape)


def check_baseline(given: Any) -> None:
    """Refuse what is no baseline, and not None either.

    Raises
    ------
    BaselineError
    """
    if given is not None and not isinstance(given, Baseline):
        raise BaselineError(str(here() or ""), f"{given!r} was given as a baseline.", "That is not a baseline.",
                            "Give one, e.g. scg.LeaveOneOut() or scg.Constant(0.5).")


def of_each_draw(site: Site, node) -> tuple[int, ...] | None:
    """Along which dimensions a node of the user's has a number for each draw: all if it has the shape of the draws."""
    shape = constant(node).shape
    if not shape or shape == site.steps:
        return ()
    return tuple(range(len(site.draws))) if shape in (site.draws, (*site.steps, *site.draws)) else None


def along_axis(baseline: Baseline, site: Site, axis: int) -> int:
    """A dimension of the draws along which there are at least two, counted from the end if it is negative.

    Raises
    ------
    BaselineError
        If there is none of that number.
    """
    sizes = site.draws
    if not -len(sizes) <= axis < len(sizes) or sizes[axis] < 2:
        shape = f"{sizes}{' in each step' if site.steps else ''}"
        raise BaselineError(site.where, f"{baseline!r} was asked for as a baseline.",
                            f"The draws of the site have shape {shape}: there are no others along axis {axis}.",
                            "Give the axis along which the site has several draws, as those of shape=.")
    return axis % len(sizes)
