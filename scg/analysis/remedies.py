"""What to do about a jump that is in a derivative's way, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scg.analysis.obstacles import at_pole, obstacle_text
from scg.ir.node import Node
from scg.ir.traverse import topological
from scg.ops.arithmetic import stop_gradient_op
from scg.ops.density import Said, log_density_op
from scg.ops.randomness import sample_op
from scg.ops.scan import scan_op, stacked
from scg.ops.termination import test_of

_MISSED = "as the parameters move, the derivative misses part of the gradient (Condition 1 of Schulman et al. 2015)."
_SITE = ("Put a stochastic site in the way, which the parameters move and which jumps: in place of x < s with x from "
         "Normal(loc=p, scale=1), draw d from Normal(loc=p - s, scale=1) and ask d < 0")
_APART = ("Let its argument keep away from there for certain: of a free m give scg.exp(m), which is positive, or "
          "scg.sigmoid(m), which is between 0 and 1")
_LEFT_OUT = "leave out of wrt= what is to count as constant."


def of_jump(jump: Node, roots: Sequence[Node], beginnings: bool) -> tuple[str, str]:
    """Why a jump misses part of the gradient of roots, and what works.

    Parameters
    ----------
    jump : Node
    roots : sequence of Node
    beginnings : bool
        Whether what reaches it is what loops begin with, and nothing that their steps make.
    """
    if beginnings:
        return (f"It {obstacle_text(jump)}, and is asked of what a loop begins with: {_MISSED}",
                "Ask it of what a step has made, and not of what the step was handed, or kept; or begin the loop with "
                f"a draw; or {_LEFT_OUT}")
    density = density_that_ends(jump, roots)
    if density is not None:
        stay = ("of a free m give scg.softmax(m), and of shares p that are positive and sum to 1, made in another way, "
                "scg.softmax(np.log(p))") if density.vectors else (
                "of a free m give scg.exp(m), which is positive, scg.sigmoid(m), which is between 0 and 1, or "
                "scg.maximum(m, 1e-9)")
        return (f"It is -inf but for {density.values}, which the value is not known to be: {_MISSED}",
                f"Let the value stay there for certain: {stay}; or write scg.assume_continuous(d.log_prob(m)) if you "
                f"know that m stays there (of m alone it does not help); or {_LEFT_OUT}")
    loop = next((scan for scan in _loops(roots) if _asks(scan, jump)), None)
    in_the_way = _APART if at_pole(jump) else _SITE
    ways = [in_the_way] if loop is None or _draws(loop) else ["Give the loop a length= alone"]
    ways += [vouch] if (vouch := vouching(jump, roots)) else []
    return f"It {obstacle_text(jump)}: {_MISSED}", "; or ".join([*ways, _LEFT_OUT])


def density_that_ends(jump: Node, roots: Sequence[Node]) -> Said | None:
    """What is said of the density that a jump is the end of: whether a value can be drawn is asked by it."""
    return next((n.attrs for n in topological(roots) if n.op is log_density_op and any(
        asked is jump for asked in topological(n.args[:1]))), None)


def vouching(op: Node, roots: Sequence[Node]) -> str:
    """How the user may answer for a node, if that helps.

    Not for a stopped gradient; nor, within the loop, for what ends one: what may be answered for is made of its result.
    """
    if op.op is stop_gradient_op:
        return ""
    if not any(_asks(scan, op) for scan in _loops(roots)):
        return "scg.assume_continuous(node) if you know the node to be continuous"
    if any(stacked(root) for root in roots):
        return ""
    return "scg.assume_continuous(last) of the carry that the scan returns, if you know that to be continuous"


def _loops(roots: Sequence[Node]) -> Iterator[Node]:
    """The loops that roots are made of, those in loops too."""
    for node in topological(roots):
        if node.op is scan_op:
            yield node
            yield from _loops(node.attrs.outputs)


def _asks(scan: Node, jump: Node) -> bool:
    """Whether a loop ends early by a test that is made of the jump."""
    test = test_of(scan)
    return test is not None and any(n is jump for n in topological([test]))


def _draws(scan: Node) -> bool:
    """Whether something is drawn in the steps of a loop, or before it."""
    return any(n.op is sample_op for roots in ([scan], scan.attrs.outputs) for n in topological(roots))
