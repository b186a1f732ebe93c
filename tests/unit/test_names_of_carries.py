"""What loops carry is called as the user calls it: by the keys of dicts, and the fields of named tuples."""

import pickle
import re
from typing import NamedTuple

import numpy as np
import pytest

import scg
from scg import kept
from scg.ir.traverse import topological
from scg.ir.trees import called
from scg.ops.scan import scan_op
from tests.unit.test_kept_functions import OPTIONS


class Place(NamedTuple):
    pos: object
    speed: object


def parts(state) -> tuple:
    return tuple(state.values()) if isinstance(state, dict) else tuple(state)


def walk(state=lambda x, v: {"pos": x, "speed": v}, until=None, **options) -> scg.Graph:
    """A walk whose state has two parts, put together by `state`."""
    g = scg.Graph("walk")
    theta = g.param("theta")

    def step(carry, _):
        x, v = parts(carry)
        b = g.sample("b", scg.Bernoulli(logits=theta * x + v))
        g.cost("c", (x - v) ** 2)
        return state(x + b, 0.5 * v + b), None

    last, _ = g.scan(step, state(0.0, 1.0), length=4, until=until, **options)
    g.cost("end", parts(last)[0] * theta)
    return g


def views(g) -> dict[str, str]:
    s, f = g.surrogate(scg.ScoreFunction()), scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
    return {"graph": str(g), "surrogate": str(s), "explain": f.explain(), "sympy": str(s.sympy()), "latex": s.latex(),
            "definitions": str(s.definitions)}


@pytest.mark.parametrize("state", [lambda x, v: {"pos": x, "speed": v}, Place], ids=["dict", "named tuple"])
def test_every_view_calls_carries_as_the_user_does(state):
    for view, text in views(walk(state)).items():
        assert "carry_" not in text and "pos" in text, (view, text)
        assert view == "explain" or "speed" in text, (view, text)


def test_the_flag_of_a_loop_that_ends_early_says_what_it_is():
    for text in views(walk(until=lambda s: s["pos"] > 2)).values():
        assert "carry_" not in text and "over" in text, text
    lines = str(walk(until=lambda s: s["pos"] > 2)).splitlines()
    assert "  carry   over[t+1] = (over[t] != 0) | (pos[t] + b[t] > 2), in 4 steps" in lines


@pytest.mark.parametrize(("tree", "names"), [
    ({"a": 0.0, "b": (1.0, 2.0)}, ["a", "b_0", "b_1"]),
    ((0.0, {"a": 1.0}), ["", "a"]),
    (({"a": 0.0}, {"a": 1.0, "b": 2.0}), ["", "", "b"]),  # which of the two is meant nobody could tell
    ({"s": {"x": 0.0}, "t": {"x": 1.0}}, ["s_x", "t_x"]),
    ({0: 0.0, "": 1.0, "a[0]": 2.0, "a\n": 3.0, "1": 4.0, None: 5.0, "log σ": 6.0}, ["", "", "", "", "", "", "log σ"]),
    (Place(0.0, [1.0, 2.0]), ["pos", "speed_0", "speed_1"]), (0.0, [""]), (None, [])])
def test_names_are_the_keys_that_lead_to_a_leaf(tree, names):
    assert called(tree) == names


@pytest.mark.parametrize(("keys", "shown"), [
    (("b", "theta"), ("carry_b", "carry_theta")), (("c", "end"), ("carry_c", "carry_end")),
    (("over", "pos"), ("over", "pos", "over_")), (("carry_1", "carry_0"), ("carry_1", "carry_0")),
    (("t", "L"), ("t", "L")), (("v1", "i"), ("v1", "i")), ((0, "carry_0"), ("carry_0_", "carry_0"))])
def test_no_two_things_have_one_name(keys, shown):
    g = walk(lambda x, v: dict(zip(keys, (x, v))), until=(lambda s: s["pos"] > 2) if "pos" in keys else None)
    lines = [line.split() for line in str(g).splitlines()]
    begins = [line[1].partition("[")[0] for line in lines if line[0] == "carry" and line[1].endswith("[0]")]
    assert begins == [*shown]
    names = [line[1].partition("[")[0] for line in lines if line[0] in ("param", "sample", "cost")]
    assert not {*names} & {*shown}
    s = g.surrogate(scg.ScoreFunction())
    steps = re.findall(r"\n  (\w+): a step of the loop", str(s))
    assert steps and not {*steps, *re.findall(r"∇(\w+)\]", str(s))} & {*names, *shown}, str(s)
    symbols = {x.name for x in s.sympy().free_symbols}
    assert len({str(x) for x in symbols}) == len(symbols)


def test_what_is_compiled_knows_nothing_of_names():
    by_key, by_place = walk(), walk(lambda x, v: (x, v))
    named, plain = (kept._structure(g, OPTIONS) for g in (by_key, by_place))
    assert named is not None and plain is not None and named.structure.data == plain.structure.data
    assert (named.keys, plain.keys) == (("pos", "speed"), ()) and kept._names(named)[1:] != kept._names(plain)[1:]
    f, h = (scg.compile(g, strategy=scg.ScoreFunction()) for g in (by_key, by_place))
    assert f._kernel.text.code() == h._kernel.text.code()


@pytest.mark.parametrize("asked", ["pos", "carry_0", "speed", "carry_1"])
def test_what_is_carried_is_recorded_by_key_and_by_place(asked):
    f = scg.compile(walk(), strategy=scg.ScoreFunction(), backend="numpy")
    found = f({"theta": 0.3}, samples=7, rng=1, record=("b", asked)).record
    pos = np.concatenate([np.zeros((1, 7, 1)), found["b"].cumsum(2)], axis=2)
    speed = np.ones_like(pos)
    for t in range(4):
        speed[..., t + 1] = 0.5 * speed[..., t] + found["b"][..., t]
    assert np.array_equal(found[asked], {"pos": pos, "carry_0": pos}.get(asked, speed))


def test_a_copy_of_a_graph_keeps_the_names():
    g = walk(until=lambda s: s["pos"] > 2)
    again = pickle.loads(pickle.dumps(g.costs["end"]))
    assert [n.attrs.called for n in topological([again]) if n.op is scan_op] == [("pos", "speed", "over")]


def test_errors_say_them():
    def declared(cost):
        g = scg.Graph("walk")
        theta = g.param("theta")

        def step(s, _):
            b = g.sample("b", scg.Bernoulli(probs=s["pos"] * theta))
            g.cost("c", cost(s["pos"] - b))
            return {"pos": s["pos"] - b / 4}, None

        g.scan(step, {"pos": 0.5}, length=3)
        return scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")

    with pytest.raises(scg.CallError, match=r"probs = pos \* theta\."):
        declared(lambda x: x)({"theta": 3.0}, samples=5, rng=0)
    with pytest.raises(scg.NonFiniteError, match=r"log\(pos - b\) in step 0 of a scan"):
        declared(np.log)({"theta": 1.0}, samples=50, rng=0)


def test_a_chain_calls_its_state_and_the_sums_of_its_costs():
    g = scg.Graph("queue")
    theta = g.param("theta")

    def step(s):
        z = g.sample("z", scg.Normal(theta, 1.0))
        wait = np.maximum(s["wait"] + z - 1.0, 0.0)
        g.cost("w", wait)
        return {"wait": wait}

    g.chain(step, {"wait": 0.0}, burn_in=10, horizon=20)
    for text in (str(g), str(g.surrogate()), g.surrogate().latex()):
        assert "carry_" not in text and "wait" in text and "sum_w" in text.replace(r"\mathrm{sum}_{w", "sum_w"), text


def test_of_two_loops_only_what_both_carry_is_told_apart():
    g = scg.Graph("two")
    theta = g.param("theta")

    def step(s, _):
        b = g.sample(f"b{len(g.sites)}", scg.Bernoulli(logits=theta))
        return {key: x + b for key, x in s.items()}, None

    first, _ = g.scan(step, {"pos": 0.0, "x": 1.0}, length=2)
    second, _ = g.scan(step, {"pos": 0.5, "y": first["x"] * first["pos"]}, length=3)
    g.cost("c", second["pos"] * second["y"])
    assert "\n  cost    c = loop2_pos[3] * y[3], by replicate" in str(g)
    assert "y[0] = x[2] * pos[2]" in str(g)


def nested() -> scg.Graph:
    """A loop in the steps of another, which hands on what it leaves."""
    g = scg.Graph("nest")
    theta = g.param("theta")

    def outer(carry, x):
        z = g.sample("z", scg.Normal(carry["level"], 1.0))

        def inner(c, _):
            b = g.sample("b", scg.Bernoulli(logits=theta * c["rate"] + np.sin(z) * x))
            g.cost("c", (b - 0.3) * c["rate"])
            return {"rate": c["rate"] / 2 + b * carry["level"]}, None

        last, _ = g.scan(inner, {"rate": carry["level"]}, length=3)
        g.cost("e", last["rate"] * z)
        return {"level": last["rate"]}, None

    g.scan(outer, {"level": 0.5}, xs=np.arange(2.0))
    return g


def test_loops_in_loops_are_read_step_by_step():
    text, page = str(nested()), str(nested().surrogate())
    for line in ("carry   rate[t, 0] = level[t]",
                 "carry   rate[t, s+1] = rate[t, s] / 2 + b[t, s] * level[t], in 2 times 3 steps",
                 "carry   level[t+1] = rate[t, 3], in 2 steps",
                 "sample  b[t, s] ~ Bernoulli(logits=theta * rate[t, s] + sin(z[t]) * t), by replicate, "
                 "in 2 times 3 steps",
                 "cost    c[t, s] = (b[t, s] - 0.3) * rate[t, s], by replicate, in 2 times 3 steps",
                 "cost    e[t] = rate[t, 3] * z[t], by replicate, in 2 steps"):
        assert f"  {line}\n" in text, text
    for line in ("sum(log p(b[t, s] | theta, level[t], z[t], b[t, :s]) * ⊥(Q(b[t, s]) - LOO(Q(b[t, s]))))",
                 "  Q(b[t, s]) = sum(c[t, s:]) + sum(e[t:])", "  level[t+1] = rate[t, 3]",
                 "  s: a step of the loop inside, 0 to 2; those before or after it are in other steps t too"):
        assert f"{line}\n" in page, page
    told = scg.compile(nested(), backend="numpy").explain()
    assert 'site "b" ~ Bernoulli(logits=theta * rate[t, s] + sin(z[t]) * t), in each step s of each step t' in told


def test_segments_read_as_loops_in_loops():
    for until in (None, lambda s: s["pos"] > 2):
        g = walk(checkpoint=2, until=until)
        text, page = str(g), str(g.surrogate())
        for words in ("scan(", "out(", "const ", "carry_", "loop2"):
            assert words not in text + page, (words, text, page)
        assert "pos[t, 0] = pos[t]\n" in text and "pos[t+1] = pos[t, 2]" in text and "end = pos[2]" in page


def test_a_loop_inside_that_puts_out_more_is_no_other_loop():
    """Its draws were said to be others of the same site."""
    s = nested().surrogate(scg.ScoreFunction())
    assert {x.name for x in s.sympy().free_symbols if x.name.endswith("'")} == set()
    assert "another draw" not in str(s.definitions)
