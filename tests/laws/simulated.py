"""Functions that graphs of the tests call, where exported modules find them, and one such graph."""

import math
import sys

import numba
import numpy as np

import scg


@numba.njit
def pendulum(state, push):
    """A step of a pendulum that is pushed: its angle and speed."""
    angle, speed = state[0], state[1]
    speed = speed + 0.4 * push - 0.3 * math.sin(angle)
    return angle + 0.5 * speed, speed


@numba.njit
def pendulum_vjp(g, state, push):
    """The adjoints of its arguments."""
    of_speed = g[1] + 0.5 * g[0]
    return np.array([g[0] - 0.3 * math.cos(state[0]) * of_speed, of_speed]), 0.4 * of_speed


@numba.njit
def bumpy(x, y):
    """A number of two numbers, in a loop of its own."""
    total = 0.0
    for i in range(1, 4):
        total += math.cos(i * x) * y**i
    return total


@numba.njit
def bumpy_vjp(g, x, y):
    """The adjoints of its arguments."""
    of_x, of_y = 0.0, 0.0
    for i in range(1, 4):
        of_x -= i * math.sin(i * x) * y**i
        of_y += math.cos(i * x) * i * y ** (i - 1)
    return g * of_x, g * of_y


@numba.njit
def folded(matrix, v):
    """A matrix of a matrix and a vector, of more elements than are kept in registers."""
    out = np.empty((5, 4), matrix.dtype)
    for i in range(5):
        for j in range(4):
            out[i, j] = matrix[i, j] * v[j] - v[(i + j) % 4]
    return out


@numba.njit
def folded_vjp(g, matrix, v):
    """The adjoints of its arguments."""
    of_matrix, of_v = np.zeros((5, 4)), np.zeros(4)
    for i in range(5):
        for j in range(4):
            of_matrix[i, j] = g[i, j] * v[j]
            of_v[j] += g[i, j] * matrix[i, j]
            of_v[(i + j) % 4] -= g[i, j]
    return of_matrix, of_v


@numba.njit
def polar(mean, u):
    """A normal draw about a mean, of two uniforms."""
    return mean + math.sqrt(-2.0 * math.log(u[0])) * math.cos(2.0 * math.pi * u[1])


@numba.njit
def polar_vjp(g, mean, u):
    """The adjoints of its arguments."""
    return g, np.zeros(2)


def called(g, name, *args):
    """The call of a function of this module, with its derivative."""
    shape = {"pendulum": 2, "bumpy": (), "folded": (5, 4)}[name]
    here = sys.modules[__name__]
    return g.call(getattr(here, name), *args, shape=shape, vjp=getattr(here, f"{name}_vjp"))


def swing(do, estimator=None):
    """A loop: pushes at random, by what the pendulum does."""
    g = scg.Graph("swing")
    a = g.param("a")

    def step(state, _):
        push = g.sample("push", scg.Bernoulli(logits=a + state[0]), estimator=estimator)
        state = do(g, "pendulum", state, push)
        g.cost("c", state[0] ** 2 + state[1])
        return state, None

    g.scan(step, np.array([0.3, -0.2]), length=3)
    return g, {"a": 0.4}
