"""What notebooks show: tables in which every name stands as it is, and nothing runs."""

from __future__ import annotations

import pickle
from html.parser import HTMLParser

import numpy as np
import pytest
from pictured import DRAWN

import scg
from scg.export import drawing
from scg.export.credit_table import MEANING

NAMES = ["</code><script>alert(1)</script>", "$\\alpha$", "<img src=x onerror=alert(2)>", "a & b"]
VALUES = {"loc": np.zeros(3), "log_scale": np.zeros(3), "x": np.ones((4, 3)), "y": np.ones(4)}


class Read(HTMLParser):
    """Tags and texts of HTML; what is opened is closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        """Remember it."""
        self.tags.add(tag)
        self.open.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        """Close the last one."""
        assert self.open.pop() == tag

    def handle_data(self, data):
        """Remember it."""
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)


def hostile(strategy=None):
    g = scg.Graph(NAMES[0].replace("code", "pre"))
    t, x = g.param(NAMES[1]), g.data("x")
    b = g.sample(NAMES[2], scg.Bernoulli(logits=t * x))
    g.cost(NAMES[0], (b - 0.4) ** 2)
    g.cost(NAMES[3], t)
    return scg.compile(g, strategy=strategy, backend="numpy")


@pytest.mark.parametrize("show", [
    lambda f: f, lambda f: f.verdict, lambda f: f.credit, lambda f: f({NAMES[1]: 0.2, "x": [1.0, 2.0]}, rng=0),
    lambda f: scg.exact(f.surrogate.derivation.graph, {NAMES[1]: 0.2, "x": [1.0, 2.0]}),
    lambda f: pickle.loads(pickle.dumps(f)),
])  # fmt: skip
def test_names_in_tables_neither_break_nor_run(show):
    html = show(hostile(scg.StraightThrough()))._repr_html_()
    read = Read(html)
    assert read.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td", "code", "span", "b"}
    assert {name for name, _ in read.attributes} <= {"class", "style"}
    assert html.startswith('<div class="tex2jax_ignore mathjax_ignore">'), "or $…$ in a name would be a formula"
    assert sum(name in read.text for name in NAMES) >= 1


def test_an_estimate_says_samples_and_rows_in_words():
    f = scg.compile(DRAWN["shared_site"](), backend="numpy")
    r = f(VALUES, samples=1000, rng=7)
    text = Read(r._repr_html_()).text
    assert "Estimate from 1,000 replicates of each of 4 rows, 4,000 in all; seed 7" in text
    assert f"{r.cost:.6g} ± {r.cost_stderr:.2g}" in text
    for name in ("loc", "log_scale"):
        numbers, errors = (" ".join(f"{v:.{d}g}" for v in of[name]) for of, d in ((r.grad, 6), (r.stderr, 2)))
        assert f"[{numbers}] ± [{errors}]" in text
    assert f"{r.costs['nll']:.6g}" in text and f"{r.costs['kl']:.6g}" in text
    alone = f({**VALUES, "x": np.ones((1, 3)), "y": np.ones(1)}, rng=7)
    text = Read(alone._repr_html_()).text
    assert "Estimate from one replicate; seed 7" in text and all(note in text for note in alone.notes)


def test_a_verdict_and_an_estimator_say_what_is_biased():
    f = hostile(scg.StraightThrough())
    for shown in (f, f.verdict):
        read = Read(shown._repr_html_())
        assert "biased" in read.text and f.verdict[NAMES[2]].reason in read.text
    told = Read(hostile()._repr_html_()).text
    assert "unbiased" in told and "Bernoulli" in told and "(rows,)" in told and "numpy, float64" in told


def test_a_graph_shows_a_picture_or_its_text(monkeypatch):
    g = DRAWN["paper_1"]()
    data, about = g._repr_png_()
    assert data.startswith(b"\x89PNG") and about["width"] > 100 and g._repr_html_() is None
    assert scg.Graph("empty")._repr_png_() is None
    monkeypatch.setattr(drawing.importlib.util, "find_spec", lambda name: None)
    assert g._repr_png_() is None and "theta" in Read(g._repr_html_()).text


# --- credit ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, strategy, expected", [
    ("paper_5", scg.ScoreFunction(), {"x_1": ["whole", "whole"], "x_2": ["", "whole"]}),
    ("paper_5", None, {"x_1": ["by path", "by path"], "x_2": ["", "by path"]}),
    ("paper_4", scg.Enumerate(), {"x": ["summed out"]}), ("paper_4", scg.LocalExpectation(), {"x": ["whole"]}),
    ("paper_4", scg.SPSA(), {"x": ["whole graph"]}), ("paper_3", scg.ScoreFunction(), {"x": ["whole"],
                                                                                       "y": ["no derivative"]}),
    ("loop", None, {"move": ["by step", "whole"]}),
    ("belief_net", scg.ScoreFunction(credit="elements"), {"h1": ["whole", "whole"], "h2": ["whole", "whole"],
                                                          "h3": ["whole", "by element"]}),
])  # fmt: skip
def test_credit(name, strategy, expected):
    f = scg.compile(DRAWN[name](), strategy=strategy, backend="numpy")
    credit = f.credit
    assert {site: [*row.values()] for site, row in credit.items()} == expected
    for site, costs in f.surrogate.incidence.items():  # what weighs is what the surrogate says
        weighing = {c for c, word in credit[site].items() if word in ("whole", "by step", "by element")}
        assert weighing == set(costs)
        assert {c for c, word in credit[site].items() if word} == set(f.verdict[site].influenced)
    lines, shown = str(credit).splitlines(), Read(credit._repr_html_()).text
    for site, row in expected.items():
        assert any(line.split() == " ".join([site, *(word or "·" for word in row)]).split() for line in lines)
        assert all(MEANING[word] in shown and f"  {word}: {MEANING[word]}" in lines for word in row if word)


def test_credit_says_what_is_in_the_way():
    credit = scg.compile(DRAWN["belief_net"](), strategy=scg.ScoreFunction(credit="elements"), backend="numpy").credit
    assert credit.notes["h1", "nll"] == "the matrix product mixes the elements of h1"
    assert ("h3", "sparsity") not in credit.notes
    assert "  h1, for nll and sparsity: the matrix product mixes the elements of h1" in str(credit)
    with pytest.raises(scg.SCGError, match=r"'nosite'.*h1, h2, h3"):
        credit["nosite"]


def test_credit_is_drawn():
    from test_pictures import texts_are_whole

    p = scg.compile(DRAWN["thirty_nodes"](), backend="numpy").credit.draw()
    texts_are_whole(p)
    assert len(p.patches) == 16 and ("z", "kl") not in p.patches
    weighs, none = p.patches["gate", "policy_cost"], p.patches["z", "recon_loss"]
    assert weighs.get_facecolor() != none.get_facecolor()
    rows = {site: {round(patch.get_y(), 6) for (s, _), patch in p.patches.items() if s == site}
            for site in ("z", "gate", "action")}
    assert all(len(ys) == 1 for ys in rows.values()) and len(set.union(*rows.values())) == 3
