"""The tables of docs/estimators.md: which estimator there is, at which families it can be used, on which graphs.

They are made by asking the compiler. `tests/golden/test_estimator_tables.py` holds the page to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import scg
from scg.derive import derive
from scg.distributions.distribution import FAMILIES
from scg.errors import SCGError
from scg.estimators.estimator import ESTIMATORS, Estimator
from tests.laws.checks import shipped
from tests.problems import PROBLEMS

GRAPHS = {
    "bernoulli_toy": "one binary site", "two_layer_net": "two layers, costs at both",
    "chain": "three sites in a row", "categorical_toy": "a categorical site", "one_hot_pair": "one-hot vectors",
    "rows": "a vector for each row", "shared_weights": "a site that rows share",
    "bernoulli_to_normal": "binary, then normal", "normal_to_bernoulli": "normal, then binary",
    "scan_3_steps": "a loop", "normal_quadratic_below": "a normal site", "normal_scan": "a loop of normals",
    "gamma_square": "a Gamma site", "poisson_square": "a Poisson site", "uniform_square": "ends that move"}  # fmt: skip
FAMILY_GRAPHS = {
    "Bernoulli": lambda t: scg.Bernoulli(logits=t),
    "Categorical": lambda t: scg.Categorical(logits=scg.stack([t, 0.3, 1.0])),
    "OneHotCategorical": lambda t: scg.OneHotCategorical(logits=scg.stack([t, 0.3, 1.0])),
    "Poisson": lambda t: scg.Poisson(scg.exp(t)),
    "Normal": lambda t: scg.Normal(t, scg.exp(t)),
    "MultivariateNormal": lambda t: scg.MultivariateNormal(scg.stack([t, 0.3]), scale_tril=[[1.0, 0.0], [0.5, 1.0]]),
    "Exponential": lambda t: scg.Exponential(scg.exp(t)),
    "Gamma": lambda t: scg.Gamma(scg.exp(t), 1.0),
    "Beta": lambda t: scg.Beta(scg.exp(t), 2.0),
    "Dirichlet": lambda t: scg.Dirichlet(scg.stack([scg.exp(t), 1.0, 2.0])),
    "StudentT": lambda t: scg.StudentT(5.0, t, 1.0),
    "Uniform": lambda t: scg.Uniform(0.0, scg.exp(t)),
    "Mixture": lambda t: scg.Mixture([scg.Normal(t, 1.0), scg.Normal(0.0, 2.0)], logits=scg.stack([t, 0.0])),
    "Transformed": lambda t: scg.Transformed(scg.Normal(t, 1.0), scg.exp),
}
ARGUMENTS: Mapping[str, str] = {
    "GumbelSoftmax": "temperature=0.5", "GumbelRao": "temperature=0.5", "WithoutReplacement": "k=2",
    "SumAndSample": "k=2"}  # fmt: skip
SAID = (  # what differs between families only is said once
    (r" at \w+\.py:\d+", ""), (r"^(Custom|Mixture|\w+) (has no|takes)", r"It \2"), (r" takes infinitely many values.*",
    " takes infinitely many values."), (r"^Its samples are .*?, so", "Its values stand apart, so"),
    (r"^No weak derivative of (\w+) in (\w+) is known.*", r"No weak derivative of \1 in \2 is known."),
    (r"the sample \"\w+\"", "a later sample"), (r"\n", " "))  # fmt: skip
UNBIASED, BIASED = "✓", "≈"


def instance(name: str) -> Estimator:
    """An estimator as the tables try it."""
    return eval(f"scg.{name}({ARGUMENTS.get(name, '')})", {"scg": scg})


class Reasons:
    """What is refused, and why: reasons are numbered as they come."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def cell(self, graph, estimator: Estimator) -> str:
        """✓ where it is unbiased, ≈ where it is biased, else the number of a reason."""
        fits = [name for name, site in graph.sites.items() if type(estimator).offer(site.family) is not None]
        some = 0 < len(fits) < len(graph.sites) and estimator.scope != "graph"
        try:
            verdicts = derive(graph, dict.fromkeys(fits, estimator) if some else estimator).verdicts
        except SCGError as error:
            reason = _short(error.problems[0].why)
            return f"[{self.numbers.setdefault(reason, len(self.numbers) + 1)}]"
        return BIASED if any(v.status == "biased" for v in verdicts.values()) else UNBIASED

    def lines(self) -> Iterator[str]:
        """What the numbers mean."""
        for reason, number in self.numbers.items():
            yield f"{number}. {reason}"


def _short(why: str) -> str:
    """A reason without places in files, which move, and in the same words for all families."""
    for pattern, text in SAID:
        why = re.sub(pattern, text, why)
    return why


def graph_of(family: str) -> scg.Graph:
    """One site of a family, and a cost that is smooth."""
    g = scg.Graph(family)
    x = g.sample("x", FAMILY_GRAPHS[family](g.param("t")))
    g.cost("c", (x * x).sum() * 0.5)
    return g


def catalogue() -> Iterator[str]:
    """All estimators: a row for each."""
    yield "| estimator | | evaluations | asks of the family | after |"
    yield "|---|---|---|---|---|"
    for name, cls in sorted(shipped(ESTIMATORS).items()):
        file = cls.__module__.replace(".", "/")
        bias = "unbiased" if cls.unbiased else "biased"
        asked = ", ".join(f"`{c}`" for c in cls.requires) or "nothing"
        yield f"| [`{name}`](../{file}.py) | {bias} | {cls.evaluations} | {asked} | {cls.reference} |"


def matrix(graphs: Mapping[str, scg.Graph]) -> Iterator[str]:
    """A row for each estimator, a column for each graph, and the reasons."""
    reasons = Reasons()
    yield f"| | {' | '.join(graphs)} |"
    yield f"|---|{'---|' * len(graphs)}"
    for name in sorted(shipped(ESTIMATORS)):
        yield f"| `{name}` | {' | '.join(reasons.cell(graph, instance(name)) for graph in graphs.values())} |"
    yield ""
    yield from reasons.lines()


def by_family() -> Iterator[str]:
    """At which families each can be used."""
    return matrix({name: graph_of(name) for name in FAMILY_GRAPHS if name in FAMILIES})


def by_graph() -> Iterator[str]:
    """On which graphs each can be used at all sites."""
    return matrix({title: PROBLEMS[name]().graph for name, title in GRAPHS.items()})


TABLES = {"catalogue": catalogue, "by family": by_family, "by graph": by_graph}


def filled(page: str) -> str:
    """The page, with its tables made anew: each stands between two comments that name it."""
    for title, table in TABLES.items():
        begin, end = f"<!-- table: {title} -->", "<!-- end -->"
        head, _, rest = page.partition(begin)
        _, _, tail = rest.partition(end)
        page = "\n".join([head + begin, *table(), end]) + tail
    return page
