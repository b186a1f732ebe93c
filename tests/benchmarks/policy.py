"""A policy that is learned by its gradient: a leaky state is pushed up or not, for 100 steps, and should stay near 0.

A push is a Bernoulli draw with logits ``weight * x + bias``; the next state is 0.95 x + 0.2 push - 0.1, and costs its
square. Every draw is weighed by the costs that follow, less the mean of those of other trajectories (scg: those of its
group of 64). All compute the mean cost of a trajectory and both derivatives, in float32. Numbers only: interpreters of
peers import it too.
"""

STEPS, START = 100, 1.0
WEIGHT, BIAS = -0.5, 0.1
SAMPLES = {"9,984 trajectories": 9_984, "64": 64}
DIRECTION = 0.6, 0.8  # along which gradients are compared
