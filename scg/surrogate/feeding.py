"""Sites replaced by leaves that are fed, and the probability of what is fed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from scg.analysis.bounds import Ranges
from scg.analysis.influence import SiteNode, sites
from scg.analysis.smoothness import Flow
from scg.errors import ExactError
from scg.functions import exp
from scg.ir.axes import LANE
from scg.ir.node import LARGEST, Node, as_real, make
from scg.ir.traverse import downstream, rebuild, substitute, topological
from scg.ops.control import stop_gradient
from scg.ops.indices import take_op
from scg.ops.leaves import feed, noise_op
from scg.ops.randomness import below_op, category_op, coarsely, distribution_of, sample_op, uniform_op
from scg.ops.reduce import product, total
from scg.ops.scan import open_scan, scan_op
from scg.surrogate.draft import Draft
from scg.surrogate.in_loops import leaf_along
from scg.surrogate.site import Site
from scg.surrogate.site_in_scan import view

Fed = Callable[[SiteNode], Node]


def leaf_of(site_node: SiteNode) -> Node:
    """The leaf that stands for a site: ``(*steps, *shape)`` per lane."""
    return feed(site_node.name, site_node.steps + site_node.node.shape, (LANE,))


def densities(costs: Sequence[Node], site_nodes: Sequence[SiteNode], flow: Flow) -> list[Node]:
    """The probability of each site's draws as a function of the sites' values; for a continuous family p/⊥p.

    A continuous site is integrated with weights that hold the density; what is counted is not. `flow` is that of what
    is differentiated: it tells which values are masked.
    """
    draft = Draft({str(i): c for i, c in enumerate(costs)})
    return [_density(_seen(site_node, draft, flow)) for site_node in site_nodes]


def _seen(site_node: SiteNode, draft: Draft, flow: Flow) -> Site:
    site = view(site_node, draft, lambda node: False)
    site.flow = flow
    return site


def _density(site: Site) -> Node:
    if site.family.support.integral:
        p = product(site.of(lambda dist, x: dist.probability(x)))
        # where a masked value is fed, another is looked at
        return p * product(as_real(site.value == leaf_of(site.site_node))) if site.masks else p
    log_p = total(site.log_prob)
    return exp(log_p - stop_gradient(log_p))


def feed_sites(roots: Sequence[Node], fed: Fed, flow: Flow) -> list[Node]:
    """The roots with every site replaced by ``fed(site)``, in scans too.

    `flow` is that of what is differentiated.
    """
    return _fed(roots, topological(roots), fed, flow)


def _fed(roots: Sequence[Node], nodes: Sequence[Node], fed: Fed, flow: Flow) -> list[Node]:
    mapping: dict[Node, Node] = {}
    for node in nodes:
        if node.op is sample_op:
            site_node = SiteNode(node.attrs.site, node, None)
            mapping[node] = _possible(site_node, mapping, fed(site_node), flow)
        elif node.op is scan_op and sites(node.attrs.outputs):
            mapping[node] = _fed_scan(node, substitute([*node.args], mapping), fed, flow)
    return substitute(list(roots), mapping)


def _possible(site_node: SiteNode, upstream: Mapping[Node, Node], leaf: Node, flow: Flow) -> Node:
    """What is fed to a sample node; for a masked value, one that is not."""
    site = _seen(site_node, Draft({}), flow)
    if not site.masks:
        return leaf
    new = site.dist.possible(leaf, site.dist.unmasked(site.fixed), site.fixed)
    return substitute([new], upstream)[0]


def _fed_scan(node: Node, args: Sequence[Node], fed: Fed, flow: Flow) -> Node:
    opened = open_scan(rebuild(node, tuple(args)))
    flow.learn(opened)
    arrays: list[tuple[Node, Node]] = []

    def of_step(found: SiteNode) -> Node:
        deeper = () if found.scan is None else (found.scan, *found.inner)
        leaf, array = leaf_along(opened, fed(SiteNode(found.name, found.node, node, deeper)), f"fed {found.name}",
                                 found.name)
        arrays.append((leaf, array))
        return leaf

    # what stands outside of the step has been fed by now, by draws of other params, it may be
    within = downstream((opened.step, *opened.carries, *opened.xs), opened.outputs)
    new = _fed(opened.outputs, [n for n in topological(opened.outputs) if n.id in within], of_step, flow)
    k = len(opened.carries)
    return replace(opened, xs=(*opened.xs, *(leaf for leaf, _ in arrays)),
                   arrays=(*opened.arrays, *(array for _, array in arrays)), new_carries=tuple(new[:k]),
                   ys=tuple(new[k:])).close()


def distributions(roots: Sequence[Node]):
    """Distributions of all sample nodes below the roots, replays and bodies of scans included."""
    for node in topological(roots):
        if node.op is sample_op:
            yield node, distribution_of(node)
        elif node.op is scan_op:
            yield from distributions(node.attrs.outputs)


def parameters(site_node: SiteNode) -> dict[str, Node]:
    """The parameters of a site's distribution, of shape ``(*steps, *shape)``."""
    site = view(site_node, Draft({}), lambda node: False)
    return {name: site.parameter(name) for name in site.dist.params}


def feed_noise(roots: Sequence[Node]) -> list[Node]:
    """The roots (with samplers written out) with every uniform read from a leaf ``(steps, *shape)`` per lane.

    The leaf has the name `Stream.fed`. Only the first uniform of a stream can be fed.
    """
    return _fed_uniforms(roots, {n.attrs.fed: steps for n, steps in streams(roots)})


def streams(roots: Sequence[Node]) -> list[tuple[Node, int]]:
    """Noise leaves, and the number of steps that theirs are among; of equal `Stream.fed` each has that of all."""
    found: list[tuple[Node, int]] = []
    _add_streams(roots, Ranges(), found)
    most: dict[str, int] = {}
    for n, steps in found:
        most[n.attrs.fed] = max(most.get(n.attrs.fed, 1), steps)
    return [(n, most[n.attrs.fed]) for n, _ in found]


def _add_streams(roots: Sequence[Node], ranges: Ranges, found: list[tuple[Node, int]]) -> None:
    for n in topological(roots):
        if n.op is noise_op:
            found.append((n, int(ranges(n.args[0]).high) + 1))
        elif n.op is scan_op:
            _add_streams(n.attrs.outputs, ranges.inside(n), found)


def _fed_uniforms(roots: Sequence[Node], steps: dict[str, int]) -> list[Node]:
    mapping: dict[Node, Node] = {}
    for n in topological(roots):
        if n.op is uniform_op:
            if n.attrs.number:
                raise ExactError("", "Noise was to be fed.", "A site takes more than one uniform.", "")
            stream = n.args[0].attrs
            if steps[stream.fed] * math.prod(stream.shape) > LARGEST:
                raise ExactError("", "Noise was to be fed.", f'Site "{stream.fed}" is drawn in steps as far apart as '
                                 f"{steps[stream.fed]:,}.", "")
            leaf = feed(stream.fed, (steps[stream.fed], *stream.shape), (LANE,))
            mapping[n] = make(take_op, (leaf, n.args[0].args[0]))
        elif n.op in (below_op, category_op):
            mapping[n] = coarsely(n, *substitute(n.args[1:3], mapping))
        elif n.op is scan_op:
            opened = open_scan(rebuild(n, tuple(substitute(n.args, mapping))))
            k = len(opened.carries)
            new = _fed_uniforms(opened.new_carries + opened.ys, steps)
            mapping[n] = replace(opened, new_carries=tuple(new[:k]), ys=tuple(new[k:])).close()
    return substitute(list(roots), mapping)
