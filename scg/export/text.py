"""A surrogate as lines of text: every cost, then every term, with costs and scores by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from scg.export.shown import views
from scg.ir.node import Node
from scg.ir.printer import expression, name_of
from scg.ir.traverse import Substitution, rebuild, substitute, topological
from scg.ops.leaves import feed
from scg.ops.randomness import sample_op, uniform_op
from scg.ops.scan import out_op, split
from scg.ops.special import ndtri_op
from scg.surrogate.derivation import Derivation
from scg.surrogate.draft import Term
from scg.surrogate.site import Site


def text_of(derivation: Derivation, terms: Iterable[Term]) -> str:
    """All lines."""
    names = _names(derivation)
    written = _with_leaves(derivation.roots(), names)
    lines = [f"{name}: {_in_scan(c) or expression(_opened(c, written) if c in names else written(c))}"
             for name, c in derivation.draft.costs.items()]
    lines += [f"term of {t.site}: {expression(written(t.node))}" for t in terms]
    return "\n".join(lines + _where(derivation, names))


def term_text(derivation: Derivation, node: Node) -> str:
    """One term."""
    return expression(_with_leaves([node], _names(derivation))(node))


def _names(derivation: Derivation) -> dict[Node, str]:
    """What is shown by a name of its own: costs, and scores that a scan puts out."""
    names = {c: name for name, c in derivation.draft.costs.items() if name_of(c) is None and not c.is_const}
    known = views(derivation)
    for site in known.values():
        if site.site_node.scan is not None:
            names.setdefault(site.log_prob, f"log p({site.name})")
    return names | _replayed(derivation, known)


def _replayed(derivation: Derivation, known: Mapping[str, Site]) -> dict[Node, str]:
    """Draws of a site in other worlds than the graph's own, with primes."""
    found: dict[Node, str] = {}
    seen: dict[str, int] = {}
    for n in topological([t.node for t in derivation.draft.terms]):
        name = n.attrs.site if n.op is sample_op else ""
        if name in known and known[name].node is not n:
            seen[name] = seen.get(name, 0) + 1
            found[n] = name + "'" * seen[name]
    return found


def _with_leaves(roots: Sequence[Node], names: dict[Node, str]) -> Substitution:
    """What writes nodes below the roots with leaves in place of what has a name; all of them are walked once."""
    named = {n: name for n in topological(roots) if (name := _noise(n) or _last(n)) is not None} | names
    return Substitution({n: feed(name, n.shape, n.axes) for n, name in named.items()})


def _opened(node: Node, written: Substitution) -> Node:
    """A node that has a name, as what it is computed from."""
    return rebuild(node, tuple(map(written, node.args))) if node.args else node


def _noise(n: Node) -> str | None:
    """The noise behind a site: ε, standard normal, or u, uniform."""
    kind, u = ("ε", n.args[0]) if n.op is ndtri_op else ("u", n)
    return f"{kind}({u.args[0].attrs.title})" if u.op is uniform_op and u.attrs.number == 0 else None


def _last(n: Node) -> str | None:
    if n.op is out_op and n.attrs < len(n.args[0].attrs.carries):
        return f"carry {n.attrs} after the loop"
    return None


def _in_scan(node: Node) -> str | None:
    """What a stacked output of a scan is in one step, as an expression of the body."""
    if node.op is not out_op or node.attrs < len(node.args[0].attrs.carries):
        return None
    (scan,) = node.args
    body = scan.attrs
    outer = dict(zip(body.consts, split(scan)[1]))
    return f"in each step {expression(substitute([body.ys[node.attrs - len(body.carries)]], outer)[0])}"


def _where(derivation: Derivation, names: dict[Node, str]) -> list[str]:
    used = {n.id for n in topological([t.node for t in derivation.draft.terms])}
    costs = {c.id for c in derivation.draft.costs.values()}
    return [f"{name}: {inside}" for n, name in names.items()
            if n.id in used and n.id not in costs and (inside := _in_scan(n)) is not None]
