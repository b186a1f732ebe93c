"""What graphs and compiled estimators show in a notebook."""

from __future__ import annotations

from scg.export.drawing import available
from scg.markup import Markup, alarming, in_code, page_in_html, pale, table_in_html


def graph_in_html(graph) -> str | None:
    """A graph's text, where there is no picture of it."""
    if available() and graph.nodes:
        return None
    return page_in_html(Markup(f"<pre>{in_code(graph)}</pre>"))


def function_in_html(f) -> str:
    """What a compiled estimator estimates, how, and how it is called."""
    word = "unbiased" if f.verdict.unbiased else alarming("biased")
    title = Markup(f"Estimator of graph <b>{in_code(f._layout.name)}</b>: {word}")
    families = f._derivation.graph.sites if f._derivation is not None else {}
    sites = [(Markup(f"{in_code(name)}{_family(families, name)}"), *_told(v)) for name, v in f.verdict.items()]
    leaves = [(in_code(leaf.name), leaf.role, in_code(_given(leaf))) for leaf in f._layout.leaves
              if leaf.role != "state"]
    found = [title]
    if sites:
        found.append(table_in_html(("site", "estimator", "chosen by", "verdict", "why"), sites))
    found.append(table_in_html(("value", "kind", "shape"), leaves))
    call = in_code("f(values, samples=1000, rng=0)")
    found.append(Markup(f"Call it: {call}, with the values above by name. {_more(f)}"))
    return page_in_html(*found)


def _family(families, name: str) -> Markup:
    return pale(f" ~ {families[name].family.__name__}") if name in families else Markup("")


def _told(v) -> tuple:
    status = alarming(v.status) if v.status == "biased" else v.status
    return getattr(v, "estimator", "") or "none", getattr(v, "origin", ""), status, v.reason


def _given(leaf) -> str:
    shape = ", ".join(map(str, leaf.shape))
    if leaf.role == "data":
        return f"(rows, {shape})" if shape else "(rows,)"
    return str(tuple(leaf.shape))


def _more(f) -> Markup:
    options = f"{f._options['backend']}, {f._options['dtype']}"
    if f._derivation is None:
        return Markup(f"({options})")
    asks = ", ".join(in_code(f"f.{name}") for name in ("surrogate", "draw()", "credit", "explain()"))
    return Markup(f"({options}) Look at it: {asks}.")
