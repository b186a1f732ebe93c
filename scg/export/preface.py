"""What stands at the top of an exported module: what it estimates, in formulas, and how it is called."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from scg.export.literals import Literals
from scg.program import Layout, Leaf
from scg.source import in_docstring

WIDTH = 112
_ROLES = {"param": "a param", "input": "an input", "data": "data"}


def preface(f, module: str, beside: str | None) -> str:
    """The text of the module's docstring, escaped.

    Parameters
    ----------
    f : EstimatorFunction
    module : str
        The name under which it can be imported, as long as it keeps that.
    beside : str or None
        The file beside it, if it has one.
    """
    layout = f._layout
    parts = [f'Estimator of graph "{layout.name}": its expected cost and the gradient of that. Exported by scg.',
             _titled("What it estimates", [*_estimated(layout), "", *_indented(f._formulas_in_words())]),
             _titled("Sites", _indented(str(f.verdict.plain()) or "none: nothing is drawn")),
             _titled("How it is called", _calls(layout, module)),
             _titled("How it is kept", _kept(f._kernel.needs, beside))]
    return in_docstring("\n\n".join(parts) + "\n")


def leaves_of(layout: Layout) -> list[Leaf]:
    """What a call gives."""
    return [leaf for leaf in layout.leaves if leaf.role != "state"]


def shape_of(leaf: Leaf) -> str:
    """The shape of a value, in words."""
    if leaf.role == "data":
        return f"({', '.join(['rows', *map(str, leaf.shape)])}{'' if leaf.shape else ','})"
    return str(leaf.shape) if leaf.shape else "a number"


def _titled(title: str, lines: Iterable[str]) -> str:
    return "\n".join([title, "-" * len(title), *lines])


def _indented(text: str) -> list[str]:
    """Lines, each of which goes on below itself where it is long."""
    lines: list[str] = []
    for line in text.split("\n"):
        own = line[: len(line) - len(line.lstrip(" "))]
        lines += textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent=f"    {own}    ",
                               break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _estimated(layout: Layout) -> list[str]:
    rows = ", the mean over the rows of data" if any(leaf.role == "data" for leaf in layout.leaves) else ""
    cost = f"The expected sum of the costs{rows}"
    if not layout.wrt:
        return _wrapped(f"{cost}. It is not differentiated.")
    return _wrapped(f"{cost}, and its gradient with respect to {', '.join(layout.wrt)}: the mean over replicates of "
                    "the gradient of the sum below, in which what ⊥ holds is a constant.")


def _calls(layout: Layout, module: str) -> list[str]:
    leaves = leaves_of(layout)
    given = ", ".join(f"{Literals()(leaf.name)}: {'0.5' if shape_of(leaf) == 'a number' else '…'}" for leaf in leaves)
    of = [f"{Literals()(leaf.name)}: {_ROLES[leaf.role]}, {shape_of(leaf)}" for leaf in leaves]
    costs = [slot.name for slot in layout.means if slot.role == "cost" and slot.name]
    told = [("r.cost, r.cost_stderr", "the estimated objective, and its standard error")]
    if costs:
        told.append((f"r.costs[{Literals()(costs[0])}]", "each cost's part of it"))
    if layout.wrt:
        name = Literals()(layout.wrt[0])
        told.append((f"r.grad[{name}], r.stderr[{name}]", "gradients, and their standard errors"))
    if layout.states:
        told.append(("r.state", "for the next call: estimate(…, state=r.state)"))
    told += [(f"r.record[{Literals()(slot.name)}]", f"{('rows', 'samples', *slot.shape)}".replace("'", "")
              + ", the value in every replicate") for slot in layout.records]
    told.append(("r.notes, r.seed", "what to know about the numbers; what repeats the call as rng=r.seed"))
    width = max(len(asked) for asked, _ in told)
    return [f"    from {module} import estimate", "",
            f"    r = estimate({{{given}}}, samples=1000, rng=0)",
            *(f"    {asked:<{width}}  {what}" for asked, what in told), "",
            *_listed("values", of),
            "What cannot be used is refused in the words of the function that was exported: CallError, NonFiniteError."]


def _listed(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title}:", *(f"    {line}" for line in lines), ""] if lines else [f"{title}: none", ""]


def _kept(needs: str, beside: str | None) -> list[str]:
    file = f"; its large arrays are in the file {beside!r} beside it, and go where it goes" if beside else ""
    return _wrapped(
        f"It needs {needs}, not scg{file}. It may have any name. Every process compiles it at its first call, "
        "which takes seconds. Run as a program, it estimates again what was estimated at export, and compares.") + [
        "", *_wrapped("Below stand the checks and the division of a call, the noise, the mathematics, then the kernel "
                      "with the names and lines of the graph (`def chunk`), and at the end `estimate`.")]
