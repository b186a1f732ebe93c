"""What must hold of the sites' parameters at a call: constraints that cannot be proved when the graph is compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from scg.analysis.bounds import holds
from scg.analysis.influence import SiteNode
from scg.analysis.magnitudes import certainly_finite
from scg.distributions.distribution import Distribution
from scg.errors import Problem
from scg.ir.check import Check
from scg.ir.constraints import is_finite, log_weights
from scg.ir.node import Node, as_real, constant
from scg.ir.traverse import topological
from scg.ops.arithmetic import index_op, not_op, real_op
from scg.ops.randomness import distribution_of
from scg.ops.reduce import sum_op, total
from scg.ops.structure import reshape
from scg.ops.termination import ended
from scg.surrogate.draft import Draft
from scg.surrogate.site import Site
from scg.surrogate.site_in_scan import view

_GUARD = "Guard logarithms, roots and quotients, as in scg.where(x > 0, np.log(x), 0.0)."
_GUARD_INDICES = "Keep indices within their tables. "


def domain_checks(costs: Mapping[str, Node], site_nodes: Sequence[SiteNode]) -> tuple[Check, ...]:
    """A check for every parameter that might leave its constraint, and for every condition on several of them."""
    nothing = Draft(costs)
    return tuple(check for site_node in site_nodes for check in _of_site(view(site_node, nothing, lambda node: False)))


def mask_checks(site: Site, asked: str, advice: str) -> tuple[Check, ...]:
    """A check that no value is excluded: for who needs a relaxation, where a call only can exclude one."""
    if not site.masks:
        return ()
    over = ended(site.node)

    def masked(dist: Distribution, x: Node) -> Node:
        found = dist.certain(site.fixed)
        return constant(0.0) if found is None else as_real(_unless(over if over is None else ended(x), found))

    problem = Problem(site.where, asked, "In at least one replicate its distribution excludes a value (by a logit of "
                      "−∞, or a probability that stays 0), which has no relaxation.", advice)
    return (Check(problem, total(site.of_group(masked)), drawn=True),)


def checked_to_be_finite(checks: Iterable[Check]) -> list[Node]:
    """The parameters that are finite wherever these checks hold.

    They are those that the checks are still made of as they were written: of what is looked at in some worlds only,
    because others have probability 0, nothing is known.
    """
    return [node for check in checks if (node := looked_at(check)) is not None]


def looked_at(check: Check) -> Node | None:
    """What a check asks to be finite everywhere; None of other checks."""
    count = check.node.args[0] if check.finite and check.node.op is sum_op else check.node
    if not (check.finite and count.op is real_op and count.args[0].op is not_op):
        return None
    condition = count.args[0].args[0]
    node = condition.args[0].args[0] if condition.args[:1] and condition.args[0].args else None
    return node if node is not None and condition is is_finite(node) else None


def _of_site(site: Site) -> Iterator[Check]:
    dist = distribution_of(site.node)
    family = type(dist).__name__
    over = ended(site.node)
    for name, node in dist.params.items():
        constraint = dist.parameters[name]
        known = certainly_finite(node) or certainly_finite(site.parameter(name))

        def refused(rule: Callable[[Node], Node], text: str, advice: str, name: str = name, **options) -> Check:
            problem = Problem(site.where, f"{family} was given {name} = {site.spelled(name)}.",
                              f"It must be {text}, and in at least one replicate it is not.", advice)
            wrong = as_real(~rule(site.parameter(name))) if over is None else site.of_group(
                lambda dist, x: as_real(_unless(ended(x), ~rule(dist.params[name]))))
            return Check(problem, total(wrong), drawn=True, **options)

        if constraint.finite and not known:
            yield refused(is_finite, "a finite number", f"{_guard(node)} {constraint.infinite}".strip(), finite=True,
                          meant=bool(constraint.infinite))
        if constraint.node is not None and not (holds(constraint, node) or (constraint is log_weights and known)):
            yield refused(constraint.node, constraint.text, constraint.advice)
    for i, (text, condition) in enumerate(dist.conditions()):
        if not _certain(condition):
            bad = site.of(lambda dist, x, i=i: as_real(_unless(ended(x), ~dist.conditions()[i][1])))
            problem = Problem(site.where, f"{family} was given {site.given}.",
                              f"It needs {text}, and in at least one replicate that does not hold.",
                              "Give values for which it does.")
            yield Check(problem, total(bad), drawn=True)


def _guard(node: Node) -> str:
    """What keeps a node finite."""
    return (_GUARD_INDICES if any(n.op is index_op for n in topological([node])) else "") + _GUARD


def _certain(condition: Node) -> bool:
    """Whether the condition is between literals: the declaration has looked at it."""
    return all(a.is_const for a in condition.args)


def _unless(over: Node | None, wrong: Node) -> Node:
    """What is wrong, but for what is drawn after the end of a loop: on that nothing depends."""
    if over is None:
        return wrong
    over = over if over.kind == "bool" else over != 0.0
    return wrong & ~reshape(over, (*over.shape, *(1,) * (wrong.ndim - over.ndim)))
