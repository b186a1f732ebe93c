"""Pictures: where things stand, how they are drawn, and that every text is whole and in its place."""

from __future__ import annotations

import itertools
import re
from functools import cache
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest
from pictured import DRAWN
from problems import PROBLEMS

import scg
from scg.export import drawing
from scg.export.boxes import Box
from scg.export.crossings import Group, Order
from scg.export.layout import Layout, Rectangle, Size, laid_out
from scg.export.painter import LATER
from scg.export.picture import Picture
from scg.export.routes import routed, struck
from scg.export.shapes import Shape

HOSTILE = ['<script>alert("1")</script>', "$x_{$", r"\input{/etc/passwd}", '"]; evil [label="', "a -> b", "&lt;b&gt;",
           "%d", "ends with \\", "名前", "long " * 12 + "name", "x" * 50, "</svg>", "'"]


@cache
def picture(name: str, judged: bool = False) -> Picture:
    return DRAWN[name]().draw(strategy={} if judged else None)


# --- layout ----------------------------------------------------------------------------------------------------------
def check_layout(layout, network_edges, layers, whole: Box) -> None:
    """Columns are generations; nothing overlaps but what is nested; boxes hold their own nodes and no others."""
    for v, w in network_edges:
        if layers[v] < layers[w]:
            assert layout.rooms[v].right < layout.rooms[w].left
    for (a, r), (b, s) in itertools.combinations(layout.rooms.items(), 2):
        assert not r.meets(s), f"{a} overlaps {b}"
    for box, r in layout.boxes:
        inside = set(box.everything())
        for name, room in layout.rooms.items():
            assert r.holds(room) if name in inside else not r.meets(room), f"{name} and the box of {box.label}"
    for (a, r), (b, s) in itertools.combinations(layout.boxes, 2):
        if any(b is inner for inner in a.all_boxes()):
            assert r.holds(s)
        else:
            assert not r.meets(s)


@pytest.mark.parametrize("name", DRAWN)
def test_layout(name):
    check_picture(picture(name, judged=name != "nested_loops"))  # no site may stand inside two


@pytest.mark.full
@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_is_drawn(name):
    p = PROBLEMS[name]().graph.draw(strategy={})
    check_picture(p)
    check_texts(p)


def check_picture(p: Picture) -> None:
    """Its layout, and that no edge runs through a node."""
    layers = dict(p.network.nodes(data="layer"))
    now = [(v, w) for v, w, carried in p.network.edges(data="carried") if not carried]
    assert all(layers[v] < layers[w] for v, w in now)
    assert sorted(set(layers.values())) == [*range(max(layers.values()) + 1)]
    check_layout(p.layout, now, layers, Box())
    for (v, w), route in p.routes.items():
        assert not struck(p.layout, route, v, w), f"{v} → {w} runs through another node"
        (x, y), (dx, dy) = route.tip  # arrows point at what they lead to
        cx, cy = p.layout.centres[w]
        assert dx * (cx - x) + dy * (cy - y) > 0.3 * np.hypot(cx - x, cy - y), f"the head of {v} → {w} is turned away"
    assert len({p.layout.centres[n] for n in p.nodes}) == len(p.nodes)


@pytest.mark.parametrize("seed", range(12))
def test_layout_of_any_graph(seed):
    rng = np.random.default_rng(seed)
    names = [f"n{i}" for i in range(int(rng.integers(2, 28)))]
    edges = [(v, w) for v, w in itertools.combinations(names, 2) if rng.random() < 2.0 / len(names)]
    graph = networkx.DiGraph(edges)
    graph.add_nodes_from(names)
    layers = {n: i for i, generation in enumerate(networkx.topological_generations(graph)) for n in generation}
    whole = Box(names=names[::3], boxes=[Box("rows", names[1::3], [Box("3 steps", names[2::6])]),
                                         Box("10 steps", names[5::6])])
    whole.boxes = [b for b in whole.boxes if [*b.everything()]]
    for box in whole.all_boxes():
        box.boxes = [b for b in box.boxes if b.names]
    sizes = {n: Size(float(w), 0.2, float(h)) for n, (w, h) in zip(names, rng.uniform(0.2, 0.8, (len(names), 2)))}
    layout = laid_out(sizes, layers, edges, whole, {box.label: 0.5 for box in whole.all_boxes()})
    check_layout(layout, edges, layers, whole)
    shapes = {n: Shape("circle", size.half, 0.2) for n, size in sizes.items()}
    for v, w in edges:
        assert not struck(layout, routed(layout, shapes, v, w, False), v, w)


def test_few_edges_cross():
    """What can be drawn without crossings is: a ladder whose rungs are given in disorder."""
    rungs = [3, 0, 5, 1, 4, 2]
    names = [f"{side}{i}" for side in "ab" for i in range(6)]
    edges = [(f"a{i}", f"b{j}") for i, j in enumerate(rungs)]
    layers = {n: "ab".index(n[0]) for n in names}
    layout = laid_out({n: Size(0.2, 0.2, 0.2) for n in names}, layers, edges, Box(names=names), {})
    assert all(layout.centres[v][1] == pytest.approx(layout.centres[w][1]) for v, w in edges)


@pytest.mark.parametrize("seed", range(3))
def test_no_two_neighbours_are_better_exchanged(seed):
    rng = np.random.default_rng(seed)
    layers = np.repeat(range(4), 6)
    ends = [(i, j) for i in range(24) for j in range(24) if layers[j] == layers[i] + 1 and rng.random() < 0.3]
    order = Order(layers, ends)
    found = order.best(Group([*rng.permutation(24)]))
    least, items = order.badness(found), [*found.items()]
    for layer in range(4):
        for a, b in itertools.pairwise(i for i in items if layers[i] == layer):
            swapped = [{a: b, b: a}.get(i, i) for i in items]
            assert order.badness(Group(swapped)) >= least - 1e-9


def test_generations_of_the_paper():
    got = {name: dict(picture(name).network.nodes(data="layer")) for name in ("paper_4", "paper_5")}
    assert got["paper_4"] == {"theta": 0, "x": 1, "y": 1, "f": 2}
    assert got["paper_5"] == {"theta": 0, "x_0": 0, "x_1": 1, "x_2": 2, "f_1": 2, "f_2": 3}


@pytest.mark.parametrize("name, expected", [
    ("loop", {"rows": {"x", "effort", "move", "memory", "distance"}, "10 steps": {"effort", "move", "memory"}}),
    ("loop_around_rows", {"rows": {"own", "fit"}, "4 steps": {"shared", "own", "fit"}}),
    ("shared_site", {"rows": {"x", "y", "logit", "b", "nll"}}),
    ("nested_loops", {"3 steps": {"b", "hit"}, "2 steps": {"b", "hit"}}),
])  # fmt: skip
def test_boxes(name, expected):
    inner = {box.label: set(box.everything()) for box, _ in picture(name).layout.boxes if box.label != "rows"}
    rows = [set(box.everything()) for box, _ in picture(name).layout.boxes if box.label == "rows"]
    assert inner == {label: names for label, names in expected.items() if label != "rows"}
    assert "rows" not in expected or expected["rows"] in rows


# --- looks -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["paper_4", "loop", "shared_site"])
def test_shapes_by_kind_and_dashes(name):
    p = picture(name, judged=True)
    outlines = {"sample": "circle", "node": "square", "cost": "diamond"}
    patches = {"sample": "Ellipse", "node": "Rectangle", "cost": "Polygon"}
    for node, about in p.network.nodes(data=True):
        assert p.nodes[node].shape.outline == outlines.get(about["kind"], "bare")
        if about["kind"] in patches:
            assert type(p.patches[node]).__name__ == patches[about["kind"]]
    for v, w, edge in p.network.edges(data=True):
        assert (p.patches[v, w].get_linestyle() != "solid") == edge["blocked"]
    assert any(b for *_, b in p.network.edges(data="blocked"))
    assert {t.get_text() for t in p.figure.axes[0].texts} >= {"no derivative"}


def texts_are_whole(p: drawing.Drawing) -> str:
    """Every text is inside the picture, and no two overlap; all of them."""
    canvas = p.figure.canvas
    renderer = canvas.get_renderer()
    width, height = canvas.get_width_height()
    found = [(t.get_text(), t.get_window_extent(renderer)) for t in p.figure.axes[0].texts]
    for text, box in found:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, f"{text} is cut"
    for (a, r), (b, s) in itertools.combinations(found, 2):
        assert r.x1 <= s.x0 or s.x1 <= r.x0 or r.y1 <= s.y0 + 2 or s.y1 <= r.y0 + 2, f"{a} and {b} overlap"
    return "\n".join(text for text, _ in found)


def check_texts(p: Picture) -> None:
    """And names and captions are there."""
    written = texts_are_whole(p)
    for node in p.nodes.values():
        assert all(line in written for line in (*node.lines, *node.caption))


@pytest.mark.parametrize("name", ["belief_net", "thirty_nodes", "recurrent_net"])
def test_texts_are_whole(name):
    check_texts(picture(name, judged=True))


@pytest.mark.parametrize("lower", [-0.3, 0.0, 0.3])
def test_what_is_carried_back_spares_the_caption(lower):
    """From a node that stands lower or higher to one that has a family and an estimator below it."""
    centres = {"draw": (0.6, 1.0), "state": (1.8, 1.0 + lower)}
    shapes = {"draw": Shape("circle", 0.28, 0.28), "state": Shape("square", 0.25, 0.2)}
    rooms = {"draw": Rectangle(0.3, 0.7, 0.9, 1.7), "state": Rectangle(1.55, 0.8 + lower, 2.05, 1.2 + lower)}
    layout = Layout(centres, rooms, [], [(0.3, 0.9), (1.55, 2.05)], {("state", "draw"): []}, 2.4, 2.0)
    route = routed(layout, shapes, "state", "draw", True)
    assert not any(0.3 < x < 0.9 and 1.28 < y < 1.7 for x, y in route.points(60))


@pytest.mark.parametrize("name", DRAWN)
def test_no_arrow_runs_through_a_text(name):
    p = picture(name, judged=name != "nested_loops")
    axes, renderer = p.figure.axes[0], p.figure.canvas.get_renderer()
    texts = [(t.get_text(), t.get_window_extent(renderer).transformed(axes.transData.inverted())) for t in axes.texts]
    for edge, route in p.routes.items():
        left, top = np.subtract(p.patches[edge].get_path().vertices[0], route.start)
        for text, box in texts:
            for x, y in route.points(60):
                assert not box.contains(x + left, y + top), f"{edge} runs through {text!r}"


@pytest.mark.parametrize("name", DRAWN)
def test_the_key_has_the_signs_that_are_there_and_no_others(name):
    p = picture(name, judged=name != "nested_loops")
    kinds = {kind for _, kind in p.network.nodes(data="kind")}
    captions = {line for node in p.nodes.values() for line in node.caption}
    edges = [edge for *_, edge in p.network.edges(data=True)]
    there = kinds | {sign for sign, found in {
        "size": any(re.fullmatch(r"\d+( × \d+)*", line) for line in captions),
        "box": bool(p.layout.boxes) or any(node.draws for node in p.nodes.values()),
        "blocked": any(edge["blocked"] for edge in edges), "carried": any(edge["carried"] for edge in edges)}.items()
        if found}
    signs = [sign for line in p.key.lines for sign in line]
    assert len(signs) == len(there) and {sign.kind for sign in signs} == there
    assert {sign.text for sign in signs} <= {t.get_text() for t in p.figure.axes[0].texts}


def test_an_estimator_is_written_where_it_estimates():
    """A site that nothing differentiated moves has none, as its verdict says."""
    p = picture("thirty_nodes", judged=True)
    assert p.nodes["outcome"].caption == p.nodes["noise"].caption == ["Normal"]
    assert p.nodes["z"].caption == ["Normal", "Pathwise"]


def test_dot_says_what_the_picture_says():
    p, text = picture("belief_net", judged=True), DRAWN["belief_net"]().to_dot({})
    for name, node in p.nodes.items():
        label = "\\n".join([name, *node.caption])
        assert f'"{name}" [label="{label}", ' in text
    assert re.search(r'"x" \[.*style="filled,rounded", fillcolor="#ebebeb"', text)


def edges_of(build, strategy, **options) -> set[tuple[str, str]]:
    found = build().to_networkx(strategy, **options)
    return {(v, w) for v, w, blocked in found.edges(data="blocked") if blocked}


SCORED = {"paper_1": {("y", "f")}, "paper_2": {("x", "y"), ("y", "f")}, "paper_3": {("x", "y"), ("y", "f")},
          "paper_4": {("x", "f")}, "paper_5": {("x_1", "x_2"), ("x_1", "f_1"), ("x_2", "f_2")}}  # fmt: skip


@pytest.mark.parametrize("name", SCORED)
def test_paths_of_the_paper_that_are_blocked(name):
    assert edges_of(DRAWN[name], scg.ScoreFunction()) == SCORED[name]
    assert edges_of(DRAWN[name], None) == set()
    if name != "paper_4":
        assert edges_of(DRAWN[name], scg.Pathwise()) == set()


def _stopped() -> scg.Graph:
    g = scg.Graph("stopped")
    theta, x, table = g.param("theta"), g.data("x"), g.param("table", 3)
    n = g.node("n", scg.stop_gradient(theta) + x)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    k = g.sample("k", scg.Bernoulli(logits=scg.stop_gradient(theta) * 0.0))
    g.cost("c", (n + b + k) * theta)
    g.cost("d", table[b])
    return g


@pytest.mark.parametrize("strategy, expected", [
    (scg.ScoreFunction(), {("theta", "n"), ("theta", "k"), ("n", "c"), ("b", "c"), ("k", "c"), ("b", "d")}),
    (scg.SPSA(), {("theta", "n"), ("theta", "k"), ("n", "c"), ("b", "c"), ("k", "c"), ("b", "d"), ("theta", "b"),
                  ("theta", "c"), ("table", "d")}),
])  # fmt: skip
def test_stopped_gradients_and_indices_block(strategy, expected):
    assert edges_of(_stopped, strategy) == expected


def test_what_differentiates_a_site_is_not_blocked():
    assert edges_of(DRAWN["paper_4"], scg.MuProp()) == edges_of(DRAWN["paper_4"], scg.StraightThrough()) == set()
    found = DRAWN["paper_4"]().to_networkx(scg.StraightThrough()).nodes["x"]
    assert found["estimator"] == "StraightThrough()" and found["verdict"] == "biased"
    p = DRAWN["paper_4"]().draw(strategy=scg.StraightThrough())
    assert p.nodes["x"].caption == ["Bernoulli", "StraightThrough", "biased"]


def test_draws_and_their_shapes():
    g = scg.Graph("draws")
    theta = g.param("theta", (2, 3))
    k = g.sample("k", scg.Categorical(logits=theta), shape=(5, 2))
    z = g.sample("z", scg.MultivariateNormal(theta[0], scale_diag=np.ones(3)), shape=4)
    v = g.sample("v", scg.MultivariateNormal(theta[0], scale_diag=np.ones(3)))
    g.cost("c", k.sum() + z + v)
    nodes = g.draw().nodes
    assert {name: (n.caption, n.draws) for name, n in nodes.items()} == {
        "theta": (["2 × 3"], ""), "k": (["Categorical"], "× 5 × 2"), "z": (["MultivariateNormal", "3"], "× 4"),
        "v": (["MultivariateNormal", "3"], ""), "c": ([], "")}


def test_a_compiled_function_draws_what_it_estimates():
    g = DRAWN["paper_4"]()
    f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    assert dict(f.draw().network.nodes) == dict(g.to_networkx(scg.ScoreFunction()).nodes)


# --- names -----------------------------------------------------------------------------------------------------------
def hostile() -> scg.Graph:
    g = scg.Graph('</style>"]};$')
    nodes = [g.param(HOSTILE[0]), g.data(HOSTILE[1]), g.input(HOSTILE[2])]
    for i, name in enumerate(HOSTILE[3:-1]):
        new = g.node(name, nodes[-1] + nodes[-2]) if i % 2 else g.sample(name, scg.Normal(nodes[-1] * nodes[0], 1.0))
        nodes.append(new)
    g.cost(HOSTILE[-1], nodes[-1] ** 2)
    return g


@pytest.mark.filterwarnings("ignore:Glyph")  # what fonts there are is the machine's matter
def test_hostile_names_are_drawn_as_they_stand():
    p = hostile().draw(strategy={})
    check_texts(p)
    for name, node in p.nodes.items():
        assert "".join("".join(node.lines).split()) == "".join(name.split())
    kinds = {element.tag.rpartition("}")[2] for element in ElementTree.fromstring(p._bytes("svg")).iter()}
    assert "path" in kinds and not kinds & {"script", "text", "foreignObject", "image"}


def test_hostile_names_in_dot():
    """What is not inside quotes is ours, and the quotes hold the names."""
    text = hostile().to_dot({})
    quoted = re.findall(r'"(?:[^"\\]|\\.)*"', text)
    rest = re.sub(r'"(?:[^"\\]|\\.)*"', "Q", text)
    assert re.fullmatch(r"digraph Q \{\n([\w =;\[\]{},.>-]|\n)*\}\n", rest)
    names = {re.sub(r"\\(.)", r"\1", q[1:-1]) for q in quoted}
    assert names >= set(HOSTILE)
    assert len(re.findall(r"^ *Q \[label=Q, .*\];$", rest, re.M)) == len(HOSTILE)
    assert r'label="&amp;lt;b&amp;gt;' in text


@pytest.mark.parametrize("write, read", [(networkx.write_graphml, networkx.read_graphml),
                                         (networkx.write_gexf, networkx.read_gexf)])  # fmt: skip
@pytest.mark.parametrize("build", [hostile, DRAWN["loop"]])
def test_networks_are_written_and_read(write, read, build, tmp_path):
    found = build().to_networkx({})
    write(found, tmp_path / "graph.xml")
    back = read(tmp_path / "graph.xml")
    assert set(back.edges) == set(found.edges)
    for name, about in found.nodes(data=True):
        assert {key: back.nodes[name].get(key, "") for key in about} == about
    for v, w, edge in found.edges(data=True):
        assert {key: back.edges[v, w][key] for key in edge} == edge


# --- errors ----------------------------------------------------------------------------------------------------------
def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(drawing.importlib.util, "find_spec", lambda name: None)
    g = DRAWN["paper_1"]()
    with pytest.raises(scg.SCGError, match=r'test_pictures.py.*not installed.*pip install "scg\[plot\]".*to_dot'):
        g.draw()
    assert g._repr_png_() is None


@pytest.mark.parametrize("path", ["no/such/folder/graph.png", "graph.exe", "graph", 3, "\0.png"])
def test_places_that_are_none(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(scg.SCGError, match=r"test_pictures.py.*was to be written.*graph.png"):
        DRAWN["paper_1"]().draw(path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("end", ["png", "svg", "pdf"])
def test_files(end, tmp_path):
    DRAWN["paper_1"]().draw(tmp_path / f"graph.{end}")
    assert (tmp_path / f"graph.{end}").read_bytes()[:4] in (b"\x89PNG", b"<?xm", b"%PDF")


def test_a_long_chain_stays_level_and_can_be_shown():
    """One with a leaf and a cost at each site does not climb, and what is very wide is shown with fewer points."""
    g = scg.Graph("chain")
    h = 0.0
    for i in range(16):
        t = g.param(f"t{i}")
        h = g.sample(f"h{i}", scg.Bernoulli(logits=t + h))
        g.cost(f"c{i}", h * t)
    p = g.draw()
    assert p.layout.height < 0.3 * p.layout.width
    p.figure.set_size_inches(500.0, 2.0)
    assert 500.0 * p._dpi() <= drawing.MOST_POINTS and drawing.Drawing(picture("paper_1").figure)._dpi() == drawing.DPI


def test_dot_says_what_the_picture_does():
    g = scg.Graph("g")
    w = g.param("w", 3)

    def step(carry, _):
        draw = g.sample("b", scg.Bernoulli(logits=w + carry))
        g.cost("c", draw.sum())
        return draw[0], None

    g.scan(step, 0.0, length=2)
    text = g.to_dot()
    assert "× 3" in text and '"w" [label="w\\n3", shape="plain", fontname="DejaVu Sans Bold"]' in text
    assert f'"b" -> "b" [color="{LATER}"' in text
