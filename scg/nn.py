"""Layers of nets: functions that declare params of layers, or sites of units, and what such params start from.

This is no framework: a net is an expression like any other, and its params are those of the graph, by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scg.distributions import Bernoulli, Normal
from scg.errors import DeclarationError, ShapeError
from scg.functions import relu, sigmoid, sqrt, stop_gradient, tanh
from scg.ir.location import here
from scg.ir.node import Node, constant
from scg.ir.signed import signed_in


def glorot(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform numbers between ±√(6 / (inputs + outputs)), for layers before tanh, sigmoids and none.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        (inputs, outputs), or (inputs,) of a layer with one output.

    References
    ----------
    Glorot & Bengio 2010, *Understanding the difficulty of training deep feedforward neural networks*, eq. 16.
    """
    inputs, outputs = _fans("glorot", shape)
    limit = math.sqrt(6.0 / (inputs + outputs))
    return rng.uniform(-limit, limit, size=shape)


def he(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers of variance 2 / inputs, for layers before relu.

    Parameters
    ----------
    rng : Generator
    shape : tuple of int
        (inputs, outputs), or (inputs,) of a layer with one output.

    References
    ----------
    He, Zhang, Ren & Sun 2015, *Delving deep into rectifiers*, eq. 10.
    """
    inputs, _ = _fans("he", shape)
    return rng.normal(0.0, math.sqrt(2.0 / inputs), size=shape)


@signed_in("scg.nn")
def dense(g, name: str, x, size: int | tuple[()], *, init: Any = glorot, bias: bool = True) -> Node:
    """A layer ``x @ W + b`` along the last dimension of x, whose params are called ``W_name`` and ``b_name``.

    Parameters
    ----------
    g : Graph
        Where the params are declared.
    name : str
    x : node or array_like
        (…, inputs).
    size : int or ()
        Number of outputs; ``()`` for one that has no dimension, as baselines are.
    init : array_like or callable
        What W starts from, as ``g.param(…, init=)`` takes it. b starts from 0.
    bias : bool
        Whether there is a b.

    Returns
    -------
    Node
        (…, size).
    """
    if not callable(getattr(g, "param", None)):
        raise DeclarationError(str(here() or ""), f"A {type(g).__name__} was given as the graph of a layer.",
                               "A layer declares its params in a graph.",
                               'Call it as scg.nn.dense(g, "hidden", x, 200).')
    x = constant(x)
    if not x.shape:
        raise ShapeError(str(here() or ""), f'Layer "{name}" was given a single number.',
                         "A layer is a product along the last dimension of its input.",
                         "Give it an array: scg.stack([x]) has one element.")
    outputs = _outputs(name, size)
    total = x @ g.param(f"W_{name}", (x.shape[-1], *outputs), init=init)
    return total + g.param(f"b_{name}", outputs, init=0.0) if bias else total


@signed_in("scg.nn")
def mlp(g, name: str, x, sizes: Sequence[int | tuple[()]], *, activation: Callable[[Node], Any] = tanh,
        init: Any = glorot) -> Node:
    """Dense layers one after the other, with an activation between them and none after the last.

    Parameters
    ----------
    g : Graph
        Where the params are declared: ``W_name_1``, ``b_name_1`` and so on.
    name : str
    x : node or array_like
        (…, inputs).
    sizes : sequence of int
        Numbers of outputs of the layers; the last may be ``()``.
    activation : callable
        A function of a node, as ``scg.tanh`` and ``scg.relu``.
    init : array_like or callable
        What the weights start from, as of `dense`.

    Returns
    -------
    Node
        (…, sizes[-1]).
    """
    if isinstance(sizes, (str, bytes)) or not isinstance(sizes, Sequence) or not sizes:
        raise ShapeError(str(here() or ""), f'sizes={sizes!r} was given for the net "{name}".',
                         "They are the numbers of outputs of its layers.", "Give a tuple of ints: (200, 20).")
    if not callable(activation):
        raise DeclarationError(str(here() or ""), f'activation={activation!r} was given for the net "{name}".',
                               "It is called with what a layer returns.", "Give a function of a node: scg.tanh.")
    for i, size in enumerate(sizes, start=1):
        x = dense(g, f"{name}_{i}", x if i == 1 else activation(x), size, init=init)
    return x


@signed_in("scg.nn")
def noisy_rectifier(g, name: str, a, scale=1.0) -> Node:
    """A unit that is max(0, a + z), where z is normal noise: it fires at random, and derivatives pass where it does.

    Its gradient is unbiased: that of its own model. It fires with probability Φ(a / scale).

    Parameters
    ----------
    g : Graph
        Where the site is declared: `name` is a + z.
    name : str
    a : node or array_like
    scale : node or array_like
        The standard deviation of the noise.

    Returns
    -------
    Node
        Of the shape of a.

    References
    ----------
    Bengio, Léonard & Courville 2013, Estimating or propagating gradients through stochastic neurons.
    """
    return relu(g.sample(name, Normal(constant(a), scale)))


@signed_in("scg.nn")
def smooth_times_stochastic(g, name: str, a) -> Node:
    """A unit that is b √p, p = σ(a), where b is 1 with probability √p: derivatives pass the smooth factor alone.

    Its mean is p, and it is 0 with probability 1 − √p. What a has by the chance of b is left out (a stopped gradient:
    the verdict calls costs biased by it), which is right to first order where p is small.

    Parameters
    ----------
    g : Graph
        Where the site is declared: `name` is b.
    name : str
    a : node or array_like

    Returns
    -------
    Node
        Of the shape of a.

    References
    ----------
    Bengio, Léonard & Courville 2013.
    """
    root = sqrt(sigmoid(constant(a)))
    return g.sample(name, Bernoulli(probs=stop_gradient(root))) * root


def _outputs(name: str, size) -> tuple[int, ...]:
    """The shape of a layer's outputs."""
    if isinstance(size, tuple) and not size:
        return ()
    if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
        raise ShapeError(str(here() or ""), f'size={size!r} was given for the layer "{name}".',
                         "It is the number of its outputs.",
                         "Give a whole number from 1, or () for one number without a dimension.")
    return (int(size),)


def _fans(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs and outputs a weight of that shape connects."""
    if len(shape) not in (1, 2) or 0 in shape:
        raise ShapeError(str(here() or ""), f"scg.nn.{name} was asked for an array of shape {shape}.",
                         "Its scale is of the inputs and outputs that a matrix connects.",
                         "Use it for a shape (inputs, outputs) or (inputs,), or draw otherwise: init=lambda rng, "
                         "shape: 0.1 * rng.normal(size=shape).")
    return shape[0], shape[1] if len(shape) == 2 else 1
