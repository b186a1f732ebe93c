"""What is no argument is refused by an error of this package, where it is given, and not by Python's own later on."""

import functools

import numpy as np
import pytest

import scg

ODD = [["t"], ("t",), {"t"}, {"t": 1}, 3, None, b"t", Ellipsis]


def _graph():
    g = scg.Graph()
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b - 0.45) ** 2)
    return g


def _compiled(**options):
    return scg.compile(_graph(), **{"backend": "numpy", **options})


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_wrt(name):
    with pytest.raises(scg.DeclarationError, match="no param or node of that name"):
        _compiled(wrt=[name])


def test_names_of_numpy_are_names():
    names = np.array(["t"])
    assert [type(n) for n in _compiled(wrt=names)({"t": 0.3}, rng=0).grad] == [str]
    r = _compiled()({"t": 0.3}, samples=3, rng=0, record=np.array(["b"]))
    assert [type(n) for n in r.record] == [str] and r.record["b"].shape == (1, 3)


@pytest.mark.parametrize("name", ODD, ids=repr)
def test_gradient_of_a_surrogate(name):
    for asked in (_graph().surrogate().gradient, _graph().surrogate().estimator):
        with pytest.raises(scg.DeclarationError, match="no param of that name"):
            asked(name)


@pytest.mark.parametrize("record", [3, [3], [["b"]], b"b", True, 3.5, Ellipsis], ids=repr)
def test_record(record):
    with pytest.raises(scg.CallError, match="That is no name"):
        _compiled()({"t": 0.3}, record=record)


@pytest.mark.parametrize("thing", [_graph(), None, len])
def test_verify(thing):
    with pytest.raises(scg.DeclarationError, match="That is no compiled estimator"):
        scg.verify(thing, {"t": 0.3})


@pytest.mark.parametrize("stderr", ["no", 1, None, []], ids=repr)
def test_stderr(stderr):
    with pytest.raises(scg.DeclarationError, match="whether standard errors are estimated"):
        _compiled(stderr=stderr)


@pytest.mark.parametrize("dtype", ["x", 3, None, int, np.float16, [], Ellipsis], ids=repr)
def test_dtype(dtype):
    with pytest.raises(scg.DeclarationError, match="two types"):
        _compiled(dtype=dtype)


@pytest.mark.parametrize("backend", ["x", "", "../numpy", "numpy.noise", "a b", 3, None, [], Ellipsis], ids=repr)
def test_backend(backend):
    with pytest.raises(scg.DeclarationError, match="There is no package"):
        _compiled(backend=backend)


@pytest.mark.parametrize("record", [(), ("b",)])
@pytest.mark.parametrize("samples", [10**12, 4 * 10**12])
def test_more_samples_than_the_reference_can_hold(samples, record):
    with pytest.raises(scg.CallError, match="does not fit into memory"):
        _compiled(strategy=scg.ScoreFunction(baseline=None))({"t": 0.3}, samples=samples, rng=0, record=record)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_cannot_be_counted_or_kept_is_refused_at_once(backend):
    """Kernels multiply samples and groups in 64 bits; systems promise more memory than they have."""
    loose, coupled = (_compiled(backend=backend, strategy=scg.ScoreFunction(baseline=b))
                      for b in (None, scg.LeaveOneOut(group=2)))
    for f, samples, record, why in ((loose, 2**43, (), "more than 2\\^42"), (coupled, 2**43, (), "more than 2\\^42"),
                                    (coupled, 2**32, (), "more than can be counted"), (loose, 2**38, "b", "memory")):
        with pytest.raises(scg.CallError, match=why):
            f({"t": 0.3}, samples=samples, rng=0, record=record)


# --- steps of scans --------------------------------------------------------------------------------------------------
def _scan(step):
    g = scg.Graph()
    return g.scan(step, g.param("t"), length=2)


@pytest.mark.parametrize("step", [3, "step", None], ids=repr)
def test_steps_that_are_no_functions(step):
    with pytest.raises(scg.DeclarationError, match="It must be a function"):
        _scan(step)


@pytest.mark.parametrize("step", [lambda c: (c, None), lambda: (0.0, None), lambda c, x, y: (c, None),
                                  lambda c, x, *, k: (c, None)])
def test_steps_of_other_arguments(step):
    with pytest.raises(scg.DeclarationError, match=r"cannot be called with a carry and an x.*Define it as step"):
        _scan(step)


@pytest.mark.parametrize("step", [lambda *args: (args[0], None), lambda c, x, k=3: (c, None),
                                  functools.partial(lambda k, c, x: (c, None), 3)])
def test_steps_of_two_arguments(step):
    assert _scan(step)[0].shape == ()


def test_an_error_of_the_step_is_its_own():
    with pytest.raises(TypeError, match="has no len") as info:
        _scan(lambda c, x: (len(3), None))
    assert not isinstance(info.value, scg.SCGError)


# --- options of estimators and baselines -----------------------------------------------------------------------------
@pytest.mark.parametrize("make, option", [
    (scg.Enumerate, {"upto": True}), (scg.Enumerate, {"upto": 2.5}), (scg.WeakDerivative, {"coupled": "no"}),
    (scg.WeakDerivative, {"noise": []}), (scg.MuProp, {"rollout": "x"}), (scg.LeaveOneOut, {"group": True}),
    (scg.ScoreFunction, {"baseline": scg.LeaveOneOut}), (scg.MovingAverage, {"decay": float("nan")}),
    (scg.MovingAverage, {"decay": True}), (scg.Constant, {"number": True}), (scg.Constant, {"number": "x"}),
])  # fmt: skip
def test_options(make, option):
    with pytest.raises(scg.errors.EstimatorError, match=r"was asked for|was given"):
        make(**option)


def test_arrays_that_must_not_be_written_compile_nothing():
    """As those that JAX gives, or `np.broadcast_to`: a kernel only reads what it is given."""
    read_only = np.broadcast_to(0.3, ())
    assert not read_only.flags.writeable
    f = _compiled(backend="numba", stderr=False)
    found = [f({"t": t}, samples=64, rng=1, executor=executor).cost
             for t in (read_only, 0.3, read_only) for executor in (None, SerialExecutor())]
    assert len(f._kernel.function.overloads) == 1 and len(set(found)) == 1


class SerialExecutor:
    """One whose calls are not prepared."""

    def map(self, function, *arguments):
        return map(function, *arguments)
