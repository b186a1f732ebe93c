"""CartPole by policy gradient: what every contender steps. Numbers only: interpreters of peers import it too.

The cart and the policy of `examples/cartpole.py`: pushes are Bernoulli draws with logits linear in the state, each of
at most 100 steps on which the pole stands is worth 1, and every draw is weighed by what is earned after it, less the
mean of what other episodes earn then (scg: those of its group of 64). All compute the mean cost of an episode, which
is minus the number of these steps, and all five derivatives, in float32.

Where steps go on, an episode takes its 100 steps whatever happens, and those after its end earn nothing. Where
episodes end, draws after the end have no score either: an estimate of the same gradient with a smaller variance, and
steps that need not be made.
"""

import math

STEPS, EPISODES = 100, 9_984
LEAN, TRACK = 12.0 * 2.0 * math.pi / 360.0, 2.4  # at which angle and position an episode is over
START = 0.05  # all four numbers begin within so much of 0
POLICIES = {  # weights of position, speed, angle and turning speed, and the bias
    "pushes at random": (0.0, 0.0, 0.0, 0.0, 0.0),  # about 22 steps an episode
    "a policy that has learned": (-0.1, 0.75, 5.5, 4.5, 0.1),  # about 99
}
ENDINGS = {"steps go on": False, "episodes end": True}
DIRECTION = 0.4, 0.2, -0.6, -0.3, 0.6  # along which gradients are compared


def problem(policy: str, ending: str) -> str:
    """Its name."""
    return f"{policy}, {ending}"


PROBLEMS = {problem(policy, ending): (values, ends)
            for policy, values in POLICIES.items() for ending, ends in ENDINGS.items()}


def logits(values, state):
    """Of a push to the right."""
    return values[0] * state[0] + values[1] * state[1] + values[2] * state[2] + values[3] * state[3] + values[4]


def moved(state, push, cos, sin):
    """The state after 0.02 s, by Euler's rule, of whatever `cos` and `sin` take; `push` is 1 or 0."""
    x, speed, angle, turning = state
    force, cosine, sine = 20.0 * push - 10.0, cos(angle), sin(angle)
    along = (force + 0.05 * turning * turning * sine) / 1.1
    twist = (9.8 * sine - cosine * along) / (0.5 * (4.0 / 3.0 - 0.1 * cosine * cosine / 1.1))
    shift = along - 0.05 * twist * cosine / 1.1
    return x + 0.02 * speed, speed + 0.02 * shift, angle + 0.02 * turning, turning + 0.02 * twist


def along(grad) -> float:
    """The gradient's projection."""
    return sum(d * float(g) for d, g in zip(DIRECTION, grad))
