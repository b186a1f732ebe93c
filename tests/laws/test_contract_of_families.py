"""What a family returns is held to its contract, when it is registered and when it is used; streams are used once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import scg
from scg.distributions.distribution import FAMILIES
from scg.extend import (
    Distribution,
    Triple,
    category,
    normal,
    per_element,
    real,
    real_vector,
    real_vectors,
    split,
    uniform,
)
from scg.ir.axes import LANE, Axis
from scg.ir.node import constant
from scg.laws.families import compute, draws
from scg.ops.leaves import along, derived, noise, site_path
from scg.ops.randomness import antithetic, distribution_of, expand, sample
from tests.laws.checks.exact_law import check_exact_law

pytestmark = pytest.mark.usefixtures("registry")


class Vectors:
    """A right family of vectors to be made wrong in one thing: independent normal elements about `loc`."""

    parameters = {"loc": real_vector}
    support = real_vectors
    cases = [dict(loc=[0.3, -1.0])]

    def log_prob(self, value):
        return -0.5 * ((value - self.loc) ** 2).sum(axis=-1) - np.log(2.0 * np.pi)

    def sample(self, noise):
        return self.loc + normal(per_element(noise, self.event_shape))

    mean = property(lambda self: self.loc)

    def entropy(self):
        return constant(np.log(2.0 * np.pi) + 1.0)


def right(name: str, **changed):
    own = {k: v for k, v in Vectors.__dict__.items() if not k.startswith("__")}
    return type(name, (Distribution,), {**own, **changed})


def test_a_right_family_is_taken():
    family = right("Right")
    g = scg.Graph("right")
    x = g.sample("x", family(loc=g.param("m", 2)), shape=3)
    assert x.shape == (3, 2)
    g.cost("c", (x**2).sum())
    r = scg.compile(g, backend="numpy")({"m": [0.3, -1.0]}, samples=20_000, rng=0)
    assert np.all(np.abs(r.grad["m"] - 6.0 * np.array([0.3, -1.0])) < 5.0 * r.stderr["m"])


@pytest.mark.parametrize("what, changed", [
    ("log_prob", dict(log_prob=lambda self, value: -0.5 * (value - self.loc) ** 2)),
    ("log_prob", dict(log_prob=lambda self, value: -0.5 * ((value - self.loc) ** 2).sum())),
    ("score_form", dict(score_form=lambda self, draw: -0.5 * (draw - self.loc) ** 2)),
    ("sample", dict(sample=lambda self, noise: self.loc[..., 0] + normal(noise))),
    ("mean", dict(mean=property(lambda self: self.loc.sum(axis=-1)))),
    ("entropy", dict(entropy=lambda self: self.loc)),
    ("support_values", dict(support_values=lambda self: np.zeros(3))),
    ("weak_derivative", dict(weak_derivative=lambda self: [Triple(self.loc, 1.0, lambda x, n: x, lambda x, n: x)])),
    ("weak_derivative", dict(weak_derivative=lambda self: [
        Triple(self.loc[..., 0], 1.0, plus=lambda x, n: x[..., 0], minus=lambda x, n: x)])),
    ("draw_derivative", dict(draw_derivative=lambda self, x: {"loc": x}))])
def test_a_wrong_shape_is_refused_where_it_is_registered(what, changed):
    before = dict(FAMILIES)
    with pytest.raises(scg.ShapeError, match=what):
        right("Wrong", **changed)
    assert before == FAMILIES, "it is not known afterwards"


def test_a_wrong_shape_is_refused_where_it_is_used():
    """A family that is right at its cases and wrong elsewhere; and one without cases."""
    def summed(self, value):
        return Vectors.log_prob(self, value) if self.event_shape == (2,) else -0.5 * (value - self.loc) ** 2

    for family in (right("Sometimes", log_prob=summed), right("Never", log_prob=summed, cases=[])):
        g = scg.Graph("used")
        x = g.sample("x", family(loc=g.param("m", 3)), estimator=scg.ScoreFunction())
        g.cost("c", x.sum())
        with pytest.raises(scg.ShapeError, match="log_prob"):
            scg.compile(g, backend="numpy")


def test_values_without_the_dimensions_of_a_draw_are_refused():
    d = scg.MultivariateNormal(loc=[0.0, 1.0], scale_diag=[1.0, 1.0])
    with pytest.raises(scg.ShapeError, match="value of shape"):
        d.log_prob(np.zeros(3))
    with pytest.raises(scg.ShapeError, match="of one size"):
        scg.MultivariateNormal(loc=[0.0, 1.0, 2.0], scale_tril=np.eye(2))
    with pytest.raises(scg.DeclarationError, match="lower triangular"):
        scg.MultivariateNormal(loc=[0.0, 1.0], scale_tril=[[1.0, 0.5], [0.0, 1.0]])


def test_a_helper_below_the_class_is_waited_for():
    """What a module defines further down is not there yet when the class is: it is looked at when first made."""
    namespace = {"Distribution": Distribution, "real": real, "scg": scg}
    exec("class Late(Distribution):\n    parameters = {'a': real}\n    support = scg.Normal.support\n"
         "    cases = [{'a': 0.0}]\n    def log_prob(self, value):\n        return later(value, self.a)\n", namespace)
    namespace["later"] = lambda x, a: (x - a).sum()
    with pytest.raises(scg.ShapeError, match="log_prob"):
        namespace["Late"](a=0.0)


# --- vectors under the exact law -------------------------------------------------------------------------------------
ESTIMATORS = [None, scg.ScoreFunction(), scg.ScoreFunction(scg.LeaveOneOut()), scg.WeakDerivative(),
              scg.WeakDerivative(coupled=False), scg.LocalExpectation(), scg.MuProp(), scg.Enumerate()]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_one_hot_vectors_in_a_scan(estimator):
    g = scg.Graph("steps")
    w = g.param("w", (2, 2))

    def step(x, t):
        new = g.sample("x", scg.OneHotCategorical(logits=x @ w))
        g.cost("each", (new[0] - 0.3) ** 2 + x @ new)
        return new, None

    g.scan(step, np.array([1.0, 0.0]), length=2)
    check_exact_law(g, {"w": [[0.3, -0.5], [0.8, 0.1]]}, estimator)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_masked_places_of_one_hot_vectors(estimator):
    """A place that is masked is never 1, and what would come of it counts for nothing."""
    g = scg.Graph("masked")
    w = g.param("w", 3)
    x = g.sample("x", scg.OneHotCategorical(logits=scg.where(np.array([False, True, False]), -np.inf, w)), shape=(2,))
    g.cost("c", np.log(1.0 - x[:, 1]).sum() + (x @ np.array([0.3, 5.0, -1.0])).sum() ** 2)
    check_exact_law(g, {"w": [0.2, 0.0, -0.4]}, estimator)


@pytest.mark.parametrize("parameter", ["logits", "probs"])
def test_one_hot_vectors_are_the_integers(parameter):
    """The same words, the same choices, the same log-probabilities as a Categorical of one name."""
    found = []
    for family in (scg.Categorical, scg.OneHotCategorical):
        g = scg.Graph("choices")
        w = g.param("w", 3)
        x = g.sample("x", family(**{parameter: w}), shape=2)
        values = np.array([0.4, -1.0, 2.0])
        g.cost("c", (scg.take(values, x) if family is scg.Categorical else x @ values).sum() ** 2)
        f = scg.compile(g, strategy=scg.ScoreFunction(), backend="numpy")
        found.append(f({"w": [0.2, 0.5, 0.3]}, samples=500, rng=1))
    assert found[0].cost == pytest.approx(found[1].cost, rel=1e-12)
    np.testing.assert_allclose(found[0].grad["w"], found[1].grad["w"], rtol=1e-12)


def test_a_batch_of_vectors_with_rows():
    """E |x|² summed over draws, by row: parameters with a batch, a row axis and a shape in front."""
    g = scg.Graph("rows")
    m, row = g.param("m", 2), g.data("row", 2)
    x = g.sample("x", scg.MultivariateNormal(loc=scg.stack([m * row, row]), scale_diag=scg.exp(m)), shape=(3, 2))
    assert x.shape == (3, 2, 2)
    g.cost("c", (x**2).sum())
    rows, at = np.array([[0.5, 1.0], [-2.0, 0.3]]), np.array([0.3, -0.2])
    expected = np.mean([3 * 2 * at * r**2 + 3 * 2 * 2 * np.exp(2 * at) for r in rows], axis=0)
    for strategy in (scg.Pathwise(), scg.ScoreFunction()):
        r = scg.compile(g, strategy=strategy, backend="numpy")({"m": at, "row": rows}, samples=20_000, rng=0)
        assert np.all(np.abs(r.grad["m"] - expected) < 5.0 * r.stderr["m"])


def test_a_value_outside_the_simplex_has_no_density():
    d = scg.Dirichlet(concentration=[1.0, 2.0])
    g = scg.Graph("outside")
    v = g.input("v", (3, 2))
    g.cost("c", d.log_prob(v)[0])
    g.node("all", d.log_prob(v))
    f = scg.compile(g, backend="numpy")
    found = f({"v": [[0.4, 0.6], [0.4, 0.7], [-0.1, 1.1]]}, record=("all",)).record["all"].reshape(-1)
    np.testing.assert_allclose(found, [np.log(2.0 * 0.6), -np.inf, -np.inf])
    with pytest.raises(scg.NonFiniteError, match="vectors of positive numbers that sum to 1"):
        f({"v": [[0.4, 0.7], [0.4, 0.6], [0.4, 0.6]]})
    for dist, values in ((d, [[0.5, 0.6], [-0.5, 1.5]]), (
            scg.OneHotCategorical(logits=[0.2, 0.1]), [[0.0, 0.0], [1.0, 1.0], [0.5, 0.5], [2.0, -1.0]])):
        for value in values:
            with pytest.raises(scg.DeclarationError, match=rf"(?s){type(dist).__name__}.*vectors of"):
                dist.log_prob(value)


# --- streams ---------------------------------------------------------------------------------------------------------
TWICE = {
    "uniforms": lambda noise: uniform(noise) + uniform(noise), "normals": lambda noise: normal(noise) * normal(noise),
    "overlapping": lambda noise: uniform(noise) + uniform(noise, 1),
    "coarse and fine": lambda noise: uniform(noise) + uniform(noise, fine=False),
    "a choice and a uniform": lambda noise: category(noise, constant([0.5, 0.5])) + uniform(noise, 40),
    "a loop": lambda noise: scg.Gamma(concentration=2.0, rate=1.0).sample(noise) + uniform(noise),
    "two families": lambda noise: scg.Normal(loc=0.0, scale=1.0).sample(noise) + scg.Gamma(
        concentration=1.0, rate=1.0).sample(noise),
    "antithetic": lambda noise: uniform(noise) + uniform(antithetic(noise)),
    "another shape": lambda noise: uniform(noise) + uniform(per_element(noise, (2,))).sum(axis=-1),
    "one part of two": lambda noise: uniform(split(noise, 2)[0]) + uniform(split(noise, 3)[0]),
}
ONCE = {
    "parts": lambda noise: sum(uniform(s) for s in split(noise, 3)),
    "words": lambda noise: uniform(noise) + uniform(noise, 2),
    "parts of parts": lambda noise: sum(uniform(s) for p in split(noise, 2) for s in split(p, 2)),
    "twice used": lambda noise: (lambda u: u * scg.log(u))(uniform(noise)),
    "itself and a part": lambda noise: uniform(noise) + uniform(split(noise, 1)[0]),
}


def _family(draw):
    return type("Drawn", (Distribution,), dict(
        parameters={"a": real}, support=scg.Normal.support, cases=[dict(a=0.0)],
        sample=lambda self, noise: self.a + draw(noise)))


@pytest.mark.parametrize("draw", TWICE.values(), ids=TWICE)
def test_two_uses_of_one_stream_are_refused(draw):
    with pytest.raises(scg.DeclarationError, match="draws twice from one stream"):
        _family(draw)


@pytest.mark.parametrize("draw", ONCE.values(), ids=ONCE)
def test_one_use_of_each_stream_is_taken(draw):
    _family(draw)


def test_parts_of_streams_are_independent():
    """Joint moments of what is drawn from a stream and its parts: squares and products, which marginals do not see."""
    stream = noise("parts", (), (LANE,), constant(0.0))
    one, two = split(stream, 2)
    streams = [stream, one, two, *split(one, 2), derived(one, "again"), split(derived(stream, "again"), 2)[0]]
    z = np.stack(compute([normal(s) for s in streams], 20_000))
    for a, b in itertools.combinations(z, 2):
        assert abs(np.mean(a * b)) < 5.0 / np.sqrt(20_000)
        assert abs(np.mean((a * a - 1.0) * (b * b - 1.0))) < 5.0 * 2.0 / np.sqrt(20_000)


CHANGES = {"antithetic": antithetic, "derived": lambda s: derived(s, "tag"), "split": lambda s: split(s, 2)[1],
           "world": lambda s: along(s, (Axis("world", 3),)), "element": lambda s: per_element(s, (2,))}


@pytest.mark.parametrize("order", list(itertools.permutations(CHANGES, 3)), ids="-".join)
def test_what_is_done_to_streams_composes(order):
    """In every order: 1 − u of what the others give, draws of its own in each world, the same site."""
    stream = noise("composed", (), (LANE,), constant(0.0))
    plain = stream
    for name in order:
        stream = CHANGES[name](stream)
        plain = plain if name == "antithetic" else CHANGES[name](plain)
    leaf = stream.args[0] if stream.op.name == "antithetic" else stream
    assert leaf.op.name == "noise" and site_path(leaf.attrs.path) == "composed"
    u, v = compute([uniform(stream), uniform(plain)], 4)
    np.testing.assert_array_equal(u, 1.0 - v if "antithetic" in order else v)
    if "world" in order:
        assert leaf.axes == (Axis("world", 3), LANE)
        worlds = np.asarray(u).reshape(3, 4, -1)
        assert not np.any(worlds[0] == worlds[1])


def test_beta_of_one_stream_would_be_seen():
    """Two gamma draws of one stream: the share is no beta value. The law's test of distributions finds it."""
    from scg.laws import families as law

    class OneStream(scg.Beta):
        """Both draws from the same words."""

        cases = []

        def _log_odds(self, noise, drawn):
            return drawn(noise, self.concentration1)[1] - drawn(noise, self.concentration0)[1]

    case = dict(concentration1=2.5, concentration0=1.5)
    with pytest.raises(AssertionError, match="draws"):
        law.check_sampler(OneStream, case)
    assert draws(scg.Beta, case, n=10).shape == (10,)


def test_antithetic_draws_of_split_streams():
    """The twin of a beta draw is one itself, and goes the other way."""
    g = scg.Graph("twins")
    x = g.sample("x", scg.Beta(concentration1=2.0, concentration0=3.0))
    y = sample("x", distribution_of(x), antithetic(x.args[-1]))
    one, two = compute(expand([x, y]), 4000)
    assert np.corrcoef(one, two)[0, 1] < -0.3 and abs(two.mean() - 0.4) < 5.0 * 0.2 / np.sqrt(4000)


def test_parameters_that_are_vectors_are_held_to_their_constraint():
    with pytest.raises(scg.DeclarationError, match="vector of positive numbers"):
        scg.Dirichlet(concentration=[1.0, -1.0])
    g = scg.Graph("call")
    x = g.sample("x", scg.Dirichlet(concentration=g.param("a", 2)))
    g.cost("c", x[0])
    with pytest.raises(scg.CallError, match="vector of positive numbers"):
        scg.compile(g, backend="numpy")({"a": [1.0, -0.5]})
