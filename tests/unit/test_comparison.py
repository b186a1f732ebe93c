"""Estimators side by side: variances of the toy in closed form, biases from the exact gradient, what is refused; and
the strategy that is chosen so."""

import io
import re
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import scg
from scg import comparison, progress
from scg.function import function_of
from scg.shortlist import may_be_best

T, THETA = 0.45, 0.0
STRATEGIES = {"REINFORCE": scg.ScoreFunction(), "RLOO": scg.ScoreFunction(baseline=scg.LeaveOneOut(group=2)),
              "ARM": scg.ARM(), "DisARM": scg.DisARM(), "straight": scg.StraightThrough(), "path": scg.Pathwise(),
              "average": scg.ScoreFunction(baseline=scg.MovingAverage())}
# of (b − t)² at p = ½: Yin & Zhou 2019 and Dong et al. 2020 draw them; of RLOO-2 half of a pair's, in samples
EXACT = {"REINFORCE": 0.0159391, "RLOO": 2 * 6.25e-4, "ARM": 2.08333e-4, "DisARM": 0.0}


def toy(init=None) -> scg.Graph:
    g = scg.Graph("toy")
    theta = g.param("theta", init=init)
    g.cost("loss", (g.sample("b", scg.Bernoulli(logits=theta)) - T) ** 2)
    return g


@pytest.fixture(scope="module")
def found():
    return scg.compare(toy(), STRATEGIES, {"theta": THETA}, samples=20_000, rng=1, backend="numpy")


@pytest.mark.parametrize("label", EXACT)
def test_variances_are_those_in_closed_form(found, label):
    """Within 6 %: of 20,000 squares of numbers that are bounded, 5 standard errors at most."""
    assert found[label].variance["theta"] == pytest.approx(EXACT[label], rel=0.06, abs=1e-12)


def test_biases_are_distances_from_the_exact_gradient(found):
    assert found.reference == "distance from the exact gradient"
    exact = 0.25 * (1.0 - 2.0 * T)
    for label, one in found.items():
        assert one.bias["theta"] == pytest.approx(abs(float(one.estimate.grad["theta"]) - exact), abs=1e-15)
        assert one.unbiased == (label != "straight")
        if one.unbiased:
            assert one.bias["theta"] <= 5.0 * one.bias_stderr["theta"] + 1e-12


def test_noise_is_common():
    """Under one seed the same bits are drawn, so the costs are the same number."""
    found = scg.compare(toy(), {"a": scg.ScoreFunction(), "b": scg.DisARM()}, {"theta": 0.4}, samples=100,
                        backend="numpy")
    assert found["a"].estimate.cost == found["b"].estimate.cost


def test_a_moving_average_has_settled(found):
    """At its first call it is 0, and the variance that of no baseline; the best constant leaves none on this toy."""
    assert found["average"].variance["theta"] < 0.05 * found["REINFORCE"].variance["theta"]


def test_what_is_refused_is_said(found):
    assert list(found.refused) == ["path"]
    assert "path" not in found and "refused: path: test_comparison.py" in str(found)


def test_the_best_is_unbiased(found):
    assert found.best == "DisARM"
    biased = scg.compare(toy(), {"straight": scg.StraightThrough()}, {"theta": 0.0}, samples=10, backend="numpy")
    with pytest.raises(scg.UnknownName, match="None that was compared is unbiased"):
        _ = biased.best


def test_without_an_exact_gradient_the_most_exact_estimate_is_the_reference():
    g = scg.Graph("steps")
    m = g.param("m")
    _, xs = g.scan(lambda x, _: (lambda y: (y, y))(g.sample("x", scg.Normal(m + 0.5 * x, 1.0))), 0.0, length=4)
    g.cost("c", (xs**2).sum())
    found = scg.compare(g, {"path": scg.Pathwise(), "score": scg.ScoreFunction()}, {"m": 0.3}, samples=50,
                        backend="numpy")
    assert found.reference == "distance from the estimate of path"
    assert found["path"].bias["m"] == 0.0 < found["score"].bias["m"]


def test_estimators_may_bring_params():
    found = scg.compare(toy(), {"REBAR": scg.REBAR(), "fixed": scg.REBAR(eta=0.0, temperature=0.5)},
                        {"theta": 0.1, "b eta": 0.0}, samples=200, backend="numpy")
    np.testing.assert_allclose(found["REBAR"].variance["theta"], found["fixed"].variance["theta"], rtol=1e-12)


@pytest.mark.parametrize(("changes", "error", "said"), [
    ({"strategies": {}}, scg.DeclarationError, "Give a dict"), ({"samples": 1}, scg.DeclarationError, "two samples"),
    ({"values": {"theta": 0.0, "phi": 1.0}}, scg.CallError, "'phi'"), ({"values": {}}, scg.CallError, "theta"),
    ({"dtype": "int8"}, scg.DeclarationError, "int8")])
def test_bad_arguments(changes, error, said):
    given = {"strategies": {"a": scg.ScoreFunction()}, "values": {"theta": 0.0}, "backend": "numpy", **changes}
    with pytest.raises(error, match=f"test_comparison.py:.*{said}"):
        scg.compare(toy(), given.pop("strategies"), given.pop("values"), **given)


def test_what_has_no_variance_is_exact(found):
    """Others are beside the best of those that are sampled; what is biased is never exact."""
    strategies = {"summed": scg.Enumerate(), "REINFORCE": scg.ScoreFunction(), "mean": scg.MeanPropagation()}
    table = scg.compare(toy(), strategies, {"theta": 0.3}, samples=100, backend="numpy")
    last = {line.split()[0]: " ".join(line.split()[-3:-1]) for line in str(table).splitlines()[2:5]}
    assert last["summed"].endswith("exact") and last["REINFORCE"].endswith(" 1") and last["mean"] == "no variance"
    assert table.best == "summed" and "∞" not in str(found)


def test_it_prints_and_draws(found, tmp_path):
    text = str(found)
    assert [line.split()[0] for line in text.splitlines()[2:8]] == list(found)
    assert "<table" in found._repr_html_() and "REINFORCE" in found._repr_html_()
    picture = found.draw(tmp_path / "compared.png")
    assert (tmp_path / "compared.png").stat().st_size > 10_000
    shown = {t.get_text() for t in picture.figure.axes[0].texts}
    assert shown == {label for label, one in found.items() if not one.exact}


# --- chosen so -------------------------------------------------------------------------------------------------------
def test_auto_takes_what_was_best():
    f = scg.compile(toy(), strategy="auto", values={"theta": 0.3}, backend="numpy")
    table = f.measured["b"]
    assert "the policy" in table and table["the policy"].unbiased
    assert all(one.unbiased for one in table.values())
    taken = repr(f.verdict["b"].estimator)
    assert table.best in (taken, "the policy")
    assert table[table.best].total_variance == 0.0  # some sum over both values here
    assert 'measured at site "b"' in f.explain() and "variance theta" in f.explain()
    assert f({"theta": 0.3}).grad["theta"] == pytest.approx(scg.exact(toy(), {"theta": 0.3}).grad["theta"])


def test_auto_starts_where_params_do_and_leaves_what_was_declared():
    g = scg.Graph("two")
    theta = g.param("theta", init=0.2)
    b = g.sample("b", scg.Bernoulli(logits=theta), estimator=scg.ARM())
    c = g.sample("c", scg.Bernoulli(logits=theta + b))
    g.cost("loss", (b + c - T) ** 2)
    f = scg.compile(g, strategy="auto", backend="numpy")
    assert f.verdict["b"].estimator == scg.ARM() and list(f.measured) == ["c"]


def test_auto_compiles_what_stands_once(monkeypatch):
    """What was best at a site is what others are compared with at the next."""
    made = []

    def counted(derivation, options):
        made.append({name: repr(v.estimator) for name, v in derivation.verdicts.items()})
        return function_of(derivation, options)

    monkeypatch.setattr(comparison, "function_of", counted)
    g = scg.Graph("pair")
    theta = g.param("theta", init=0.2)
    b, c = (g.sample(name, scg.Bernoulli(logits=theta)) for name in "bc")
    g.cost("loss", (b + c - T) ** 2)
    f = scg.compile(g, strategy="auto", backend="numpy")
    assert list(f.measured) == ["b", "c"] and len({tuple(m.values()) for m in made}) == len(made)


def test_auto_asks_for_values():
    with pytest.raises(scg.DeclarationError, match="theta has none to start from"):
        scg.compile(toy(), strategy="auto", backend="numpy")
    with pytest.raises(scg.DeclarationError, match=r'values= was given\. It is where strategy="auto" measures'):
        scg.compile(toy(), values={"theta": 0.0}, backend="numpy")


def test_auto_says_who_chose_and_what_took_long():
    f = scg.compile(toy(), strategy="auto", values={"theta": 0.3}, backend="numpy")
    text = f.explain()
    assert re.search(r'estimator +\w+\(\): strategy="auto" measured that it is the best', text)
    assert "the strategy says so" not in text and re.search(r"compiled +in .* s choosing estimators", text)


def test_auto_goes_on_where_the_user_hides_something():
    """A cost that a stopped gradient biases is biased under every estimator."""
    g = scg.Graph("hidden")
    theta = g.param("theta", init=0.2)
    b = g.sample("b", scg.Bernoulli(logits=theta))
    s = g.sample("s", scg.Bernoulli(logits=theta), estimator=scg.StraightThrough())
    g.cost("loss", (b - T) ** 2 * scg.stop_gradient(theta) + s)
    f = scg.compile(g, strategy="auto", backend="numpy")
    assert f.verdict["loss"].status == f.verdict["s"].status == "biased" and f.verdict["b"].status == "unbiased"
    assert min(one.total_variance for one in f.measured["b"].values()) < 1e-20  # some sum over both values


def test_every_estimator_that_is_tried_is_accounted_for():
    """In a table of what was compiled, and beside it what was refused, and what was ruled out."""
    g = scg.Graph("jump")
    b = g.sample("b", scg.Bernoulli(logits=g.param("theta", init=0.2)))
    g.cost("loss", (b > 0.5) * 2.0 + b)  # the jump refuses REBAR
    table = scg.compile(g, strategy="auto", backend="numpy").measured["b"]
    assert [*table.refused] == ["MuProp(baseline=LeaveOneOut())", "REBAR()"]
    assert "the policy" in table and "not compiled: ARM(): its samples vary, and those of others do" in str(table)
    assert {*table, *table.refused, *table.ruled_out} == {
        "the policy", "ARM()", "DisARM()", "Enumerate()", "LocalExpectation()", "MuProp(baseline=LeaveOneOut())",
        "REBAR()", "WeakDerivative()"}
    assert "Not compiled: ARM()" in table._repr_html_()


def test_what_may_be_the_best_is_compiled():
    """Whatever the times are between the two guesses, the best is on the list; and what is exact, if something is."""
    rng = np.random.default_rng(0)
    for trial in range(200):
        variance, elements, seconds = rng.lognormal(0.0, 2.0, (3, 6))
        variance[:trial % 3] = 0.0  # these are exact
        share = rng.uniform(size=6)
        guesses = np.array([(1 + elements) / (1 + elements[0]), seconds / seconds[0]])
        true = np.exp(share * np.log(guesses[0]) + (1.0 - share) * np.log(guesses[1]))
        tried = comparison.Comparison("", {str(i): one_of(str(i), v, e, s) for i, (v, e, s) in enumerate(
            zip(variance, elements, seconds))}, {}, "")
        best = min(range(6), key=lambda i: (variance[i] * true[i], true[i]))
        listed = may_be_best(tried, tried["0"])
        assert str(best) in listed
        assert all(variance[int(label)] == 0.0 for label in listed) or not (variance == 0.0).any()


def test_what_is_rare_and_was_not_drawn_makes_nothing_exact():
    """At a probability of 1e-6 no 1 is drawn: scores are 0 in all samples, and so is no gradient."""
    g = scg.Graph("rare")
    g.cost("loss", 1000.0 * g.sample("b", scg.Bernoulli(probs=g.param("p"))))
    both = {"score": scg.ScoreFunction(baseline=scg.LeaveOneOut()), "sum": scg.LocalExpectation()}
    found = scg.compare(g, both, {"p": 1e-6}, samples=100, backend="numpy")
    assert found["score"].exact and found["sum"].exact and found["score"].estimate.grad["p"] == 0.0
    assert found.refuted("score") and found.best == "sum"
    f = scg.compile(g, strategy="auto", values={"p": 1e-6}, backend="numpy")
    assert f({"p": 1e-6}).grad["p"] == pytest.approx(1000.0)


def one_of(label: str, variance: float, work: float, seconds: float) -> comparison.Compared:
    """As much of a comparison as the shortlist looks at."""
    derived = SimpleNamespace(program=SimpleNamespace(outputs=()))
    f = SimpleNamespace(_layout=SimpleNamespace(work=work, dtype=np.dtype("float64")), _everything=lambda _: derived)
    r = SimpleNamespace(grad={"theta": np.array(0.1)})
    return comparison.Compared(label, True, {}, {}, {"theta": variance}, seconds, 0.0, r, f)


def test_what_is_wrong_at_these_values_stops_no_other():
    """At probabilities 0 and 1 scores are refused; sums over both values are right."""
    g = scg.Graph("edge")
    g.cost("loss", (g.sample("b", scg.Bernoulli(probs=g.param("p"))) - T) ** 2)
    both = {"score": scg.ScoreFunction(), "sum": scg.Enumerate()}
    found = scg.compare(g, both, {"p": 1.0}, samples=10, backend="numpy")
    assert list(found) == ["sum"] and "score" in found.refused and "probs is 0 or 1" in str(found)
    with pytest.raises(scg.CallError, match="probs is 0 or 1"):
        scg.compare(g, {"score": scg.ScoreFunction()}, {"p": 1.0}, samples=10, backend="numpy")
    f = scg.compile(g, strategy="auto", values={"p": 1.0}, backend="numpy")
    assert f({"p": 1.0}).grad["p"] == pytest.approx((1.0 - T) ** 2 - T**2)


# --- those who wait --------------------------------------------------------------------------------------------------
class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "quiet", "after", "shown"), [
    (Terminal, "", 0.0, True), (io.StringIO, "", 0.0, False), (Terminal, "1", 0.0, False), (Terminal, "", 60.0, False)])
def test_who_waits_sees_what_is_done(monkeypatch, stream, quiet, after, shown):
    """At a terminal, if it takes long; what was shown is gone at the end."""
    out = stream()
    monkeypatch.setenv("SCG_QUIET", quiet)
    monkeypatch.setattr(progress, "SECONDS", after)
    monkeypatch.setattr(sys, "stderr", out)
    scg.compare(toy(), {"plain": scg.ScoreFunction(), "ARM": scg.ARM()}, {"theta": 0.1}, samples=10, backend="numpy")
    scg.compile(toy(), strategy="auto", values={"theta": 0.3}, backend="numpy")
    text = out.getvalue()
    assert bool(text) == shown
    if shown:
        assert 'comparing in graph "toy"' in text and "1/2" in text and "ARM is compiled" in text
        assert 'strategy="auto" for graph "toy"' in text and 'site "b": DisARM() is tried' in text
        assert text.rsplit("\r", 1)[-1].strip() == ""


def test_a_line_leaves_bars_whole(monkeypatch):
    """Above a bar of a fit it has a line of its own; where a bar says what is done it is not said."""
    out = Terminal()
    monkeypatch.setenv("SCG_QUIET", "")
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    monkeypatch.setattr(sys, "stderr", out)
    with progress.bar(2, "fitted", "step") as shown:
        progress.line("compiles")
        shown.update()
    assert "\rcompiles\n" in re.sub(" +(?=\r)", "", out.getvalue()) and "fitted" in out.getvalue()
    with progress.Steps(2, "measured", "site") as steps:
        steps.at("first")
        progress.line("hidden")
    progress.line("shown")
    assert "hidden" not in out.getvalue() and out.getvalue().endswith("shown\n")
