"""The story of a compilation, on a page: what is estimated, by what, why that is right, and what it costs."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from scg.analysis.influence import SiteNode
from scg.evaluations import Evaluations, evaluations
from scg.export.brought import own_of
from scg.export.credit_table import MEANING, STILL, WHOLE, credit_of
from scg.export.page import Page
from scg.export.shown import with_key
from scg.ir.node import Node
from scg.ir.printer import expression, title
from scg.ir.traverse import topological
from scg.ops.scan import scan_op
from scg.ops.termination import as_declared, going_on
from scg.program import Program
from scg.surrogate.derivation import Derivation
from scg.surrogate.elimination import Eliminated
from scg.verdict import SiteVerdict

_WIDE = 70  # characters of a parameter that is written out
_CHOSEN = {"policy": "the policy chose it", "strategy": "the strategy says so", "site": "its declaration says so"}
_HOW_OFTEN = {"once per call": (False, False), "once per row": (True, False), "once per replicate": (False, True),
              "per row and replicate": (True, True)}


def story_of(derivation: Derivation, program: Program, kernel, options: Mapping[str, Any],
             seconds: Mapping[str, float]) -> str:
    """The whole page."""
    page = Page(derivation, _in_order(derivation))
    lines = [*_head(derivation), "", *page.sum(), "", "The surrogate, printed, says what these names stand for."]
    credit, evaluated = credit_of(derivation), evaluations(derivation, options)
    for name, verdict in derivation.verdicts.items():
        lines += ["", *_site(derivation, page, name, verdict, credit[name], evaluated, options.get("measured", {}))]
    lines += _summed_out(derivation.draft.eliminated)
    for name, v in derivation.of_costs.items():
        lines += ["", f'cost "{name}": {v.status}: {v.reason}']
    lines += [line for note in derivation.narrow for line in ("", note)]
    if derivation.draft.objectives:
        lines += ["", "beside L, in its own params:"]
        lines += [f'  objective "{o.name}" of {", ".join(own_of(derivation, o)) or "no param"}' +
                  (f": {o.said}" if o.said else "") for o in derivation.draft.objectives]
    return "\n".join(with_key([*lines, "", *_kernel(program, kernel, options, seconds), ""]))


def _summed_out(eliminated: Sequence[Eliminated]) -> Iterator[str]:
    """How several sites were summed out together."""
    for done in eliminated:
        if len(done.order) > 1:
            yield ""
            yield f"summed out by elimination, one after another: {', '.join(done.order)}"
            yield f"  largest table    {done.values:,} values, of {' and '.join(done.widest)}"


def _in_order(derivation: Derivation) -> list:
    order = {p.name: i for i, p in enumerate(derivation.site_nodes)}
    return sorted(derivation.draft.terms, key=lambda t: order.get(t.site, -1))


def _head(derivation: Derivation) -> Iterator[str]:
    counts = {"param": len(derivation.graph.params), "site": len(derivation.verdicts),
              "cost": len(derivation.draft.costs)}
    listed = ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in counts.items())
    yield f'graph "{derivation.graph.name}": {listed}'
    biased = [*(f'site "{name}"' for name, v in derivation.verdicts.items() if v.status != "unbiased"),
              *(f'cost "{name}"' for name, v in derivation.of_costs.items() if v.status != "unbiased")]
    yield f"The estimator is biased, by {' and '.join(biased)}." if biased else "The estimator is unbiased."
    if derivation.idle:
        named = [f'"{name}"' for name in derivation.idle]
        gradient = "its gradient is 0" if len(named) == 1 else "their gradients are 0"
        yield f"No cost depends on {' and '.join(named)}: {gradient}."


# --- sites -----------------------------------------------------------------------------------------------------------
def _site(derivation: Derivation, page: Page, name: str, verdict: SiteVerdict, cells: Mapping[str, str],
          evaluated: Mapping[str, Evaluations], measured: Collection[str]) -> Iterator[str]:
    declared = derivation.graph.sites[name]
    found = next((p for p in derivation.site_nodes if p.name == name), None)
    family = declared.family.__name__ if found is None else _family(found, page)
    loops = () if found is None or found.scan is None else (found.scan, *found.inner)
    step = f", in each step {page.loops.of_scans(loops).words}" if loops else ""
    step += "" if found is None or going_on(found.node) is None else " until the loop is over"
    yield f'site "{name}" ~ {family}{step}, at {declared.line}'
    if verdict.estimator is None:
        yield "  estimator    none is needed"
    else:
        used = verdict.differentiated or getattr(verdict.estimator, "always", False)
        chosen = _chosen(name, verdict, measured if used else ())
        yield f"  estimator    {verdict.estimator}: {chosen}{'' if used else ', and it is not used'}"
    yield f"  {verdict.status:<12} {verdict.reason}"
    yield f"  credit       {', '.join(_weighs(verdict, cells)) or 'no cost depends on it'}"
    baseline = None if verdict.estimator is None else verdict.estimator.subtracted
    if baseline is not None and name in page.views and STILL not in cells.values():
        yield f"  baseline     {baseline!r}"
    loop = found is not None and found.scan is not None
    chain = verdict.estimator is not None and verdict.estimator.stationary
    yield "  evaluations  " + (verdict.estimator.evaluations if chain else
                               _evaluated(evaluated.get("", evaluated[name]), loop))


def _chosen(name: str, verdict: SiteVerdict, measured: Collection[str]) -> str:
    """Who chose the estimator of a site."""
    if name not in measured:
        return _CHOSEN[verdict.origin]
    return ('the policy chose it, and strategy="auto" measured none that is better' if verdict.origin == "policy" else
            'strategy="auto" measured that it is the best')


def _family(found: SiteNode, page: Page) -> str:
    """A distribution at its parameters; what is long is called by its op and its line."""
    call, params = as_declared(found.node).as_called()
    names = page.loops.last
    if found.scan is not None:
        params, inside = page.loops.of_scans((found.scan, *found.inner)).inside(params)
        names = {**names, **inside}
    return re.sub(r"\{(\d+)\}", lambda place: _short(params[int(place[1])], names), call)


def _short(node: Node, names: Mapping[int, str]) -> str:
    text = expression(node, names, most=_WIDE + 1, root=False)
    return text if len(text) <= _WIDE else f"{title(node)} of shape {node.shape} at {node.source}"


def _weighs(verdict: SiteVerdict, cells: Mapping[str, str]) -> list[str]:
    """The costs that a site influences, and how its draws are credited for each, or what there is instead."""
    how = {name: verdict.credit.get(name, "") if cells[name] in verdict.credit.get(name, WHOLE) else cells[name]
           for name in verdict.influenced}
    if how and all(said == STILL for said in how.values()):
        return [f"{STILL}: {MEANING[STILL]}"]
    return [f"{name} ({how[name]})" if how[name] else name for name in verdict.influenced]


def _evaluated(found: Evaluations, loop: bool) -> str:
    """How often the costs downstream are computed in a replicate, and besides in a call."""
    if found.values:
        return f"{found.values}: one for each value{'' if found.random else ', the same for all replicates'}"
    count, of = found.replays, " of the whole loop" if loop else ""
    own = "the replicate itself" if found.random else "the same for all replicates"
    said = f"1: {own}" if not count else f"{1 + count}: {own}, and {_replays(count)}{of}"
    if found.once:
        said += f"; besides, in a call, {_replays(found.once)}{of}, the same for all replicates"
    return f"{said}; they are those of {' and '.join(found.common)} too" if found.common else said


def _of_loop(scan: Node) -> str:
    """What a loop needs of each replicate."""
    body = scan.attrs
    carried, kept = (sum(math.prod((n.size, *(ax.size for ax in n.axes if not ax.statistical))) for n in nodes)
                     for nodes in (body.carries, body.ys))
    numbers = f"{body.length * kept:,} numbers are kept" if kept else "none are kept"
    back = ", backwards" if body.reverse else ""
    return (f"  loop of {body.length:,} steps{back}: {carried:,} number{'s are' if carried != 1 else ' is'} carried "
            f"in each replicate, and {numbers} of its steps")


def _replays(count: int) -> str:
    return f"{count} replay{'s' if count > 1 else ''}"


# --- what is computed ------------------------------------------------------------------------------------------------
def _kernel(program: Program, kernel, options: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[str]:
    layout, order = program.layout, topological([o.node for o in program.outputs])
    yield f"kernel: backend {options['backend']}, {options['dtype']}, {len(order)} nodes"
    for label, wanted in _HOW_OFTEN.items():
        count = sum(wanted == tuple(any(ax.name == n for ax in node.axes) for n in ("row", "lane")) for node in order)
        if count:
            yield f"  {count} {label}"
    yield f"  work         about {layout.work:,} elements per replicate, in chunks of {layout.chunk_lanes:,} replicates"
    loops = [node for node in order if node.op is scan_op]
    if len(loops) > 1:
        yield "  loops        the graph's own, those that replay it and those that reverse it, one after another:"
    yield from map(_of_loop, loops)
    memory = getattr(kernel, "memory", None)
    if memory is not None:
        yield f"  memory       {_bytes(memory)} per thread, however many replicates there are"
    if seconds:
        took = sorted(seconds.items(), key=lambda item: -item[1])
        yield (f"  compiled     in {sum(seconds.values()):.2f} s: " +
               ", ".join(f"{t:.2f} s {what}" for what, t in took))
    found = getattr(kernel, "compiled", None)
    if found is not None:
        yield f"               {found}"


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
