"""The story of a compilation, on a page."""

from __future__ import annotations

from scg.analysis.made_of import MadeOf
from scg.ir.printer import expression
from scg.ir.traverse import topological
from scg.program import Program
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Objective
from scg.verdict import SiteVerdict


def story_of(derivation: Derivation, program: Program, options) -> str:
    """Sites, estimators and why, credit, the surrogate, and what is computed."""
    layout = program.layout
    lines = [f'graph "{layout.name}": {len(derivation.verdicts)} sites, {len(derivation.draft.costs)} costs, '
             f"{len(derivation.graph.params)} params", ""]
    for name, v in derivation.verdicts.items():
        lines += [f'site "{name}" ~ {_family(derivation, name)}',
                  f"  estimator   {v.estimator or 'none'} (chosen by the {v.origin})",
                  f"  verdict     {v.status}: {v.reason}",
                  f"  credit      {', '.join(_weighs(v)) or 'no cost depends on it'}",
                  f"  evaluations {getattr(v.estimator, 'evaluations', '1')} of what is downstream"]
    lines += [f'cost "{name}": {v.status}: {v.reason}' for name, v in derivation.of_costs.items()]
    lines += ["", "surrogate = sum of costs and terms (⊥ stops the gradient)"]
    lines += [f'  cost "{name}"' for name in derivation.draft.costs]
    lines += [f'  objective "{o.name}" of {", ".join(_own(derivation, o)) or "no param"}, beside it'
              for o in derivation.draft.objectives]
    lines += [f'  term of "{t.site}": {expression(t.node, most=300)}' for t in derivation.draft.terms]
    order = topological([o.node for o in program.outputs])
    levels = {"once per call": (False, False), "once per row": (True, False), "once per sample": (False, True),
              "per row and sample": (True, True)}
    lines += ["", f"kernel: backend {options['backend']}, {options['dtype']}, {len(order)} nodes"]
    for label, wanted in levels.items():
        count = sum(wanted == tuple(any(ax.name == n for ax in node.axes) for n in ("row", "lane")) for node in order)
        lines.append(f"  {count} {label}")
    lines.append(f"  about {layout.work} elements per replicate, chunks of {layout.chunk_lanes} replicates")
    return "\n".join(lines)


def _weighs(verdict: SiteVerdict) -> list[str]:
    """The costs that a site influences, and how its draws are credited for each."""
    return [f"{name} ({verdict.credit[name]})" if name in verdict.credit else name for name in verdict.influenced]


def _own(derivation: Derivation, objective: Objective) -> list[str]:
    """The auxiliary params of an objective."""
    below = MadeOf()(objective.node)
    return [f'"{name}"' for name, x in derivation.auxiliary.items() if x.id in below]


def _family(derivation: Derivation, name: str) -> str:
    return derivation.graph.sites[name].family.__name__
