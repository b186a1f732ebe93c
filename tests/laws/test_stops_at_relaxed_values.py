"""A stopped gradient of the user hides nothing from costs differentiated where a value stands for the draw."""

import numpy as np
import pytest

import scg


@pytest.mark.parametrize("estimator", [scg.REBAR(), scg.MuProp(), scg.Delta()], ids=repr)
def test_stops_hide_nothing(estimator):
    """The score has the whole cost as its signal, so what is given back has the slope of the whole."""
    g = scg.Graph("stopped")
    b = g.sample("b", scg.Bernoulli(logits=g.param("t")))
    g.cost("c", (b + 0.3) * scg.stop_gradient(b + 0.2))
    f = scg.compile(g, strategy=estimator, backend="numpy")
    assert scg.verify(f, {**f.init(0), "t": np.array(0.3)}).passed
