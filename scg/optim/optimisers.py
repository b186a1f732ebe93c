"""Optimisers: pure functions from values, gradients and a state to new values and a new state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, NoReturn

import numpy as np

from scg.errors import CallError, NonFiniteError, brief
from scg.ir.location import here
from scg.ir.signed import signed_in

Rate = float | Callable[[int], float]
Decay = float | Mapping[str, float]


@dataclass(frozen=True)
class Optimiser:
    """A rule of descent: ``values, state = optimiser(values, grads, state)``. It holds no state and changes no array.

    Parameters
    ----------
    rate : float or callable
        The step size, or a function of the number of steps made before that returns it.
    weight_decay : float or dict of str to float
        λ, for all values or by name; what a dict does not name does not decay.
    """

    rate: Rate
    weight_decay: Decay

    slots: ClassVar[tuple[str, ...]] = ()  # names of the averages that it keeps of each value

    def __post_init__(self):
        if not callable(self.rate):
            self._check("rate", self.rate, "It is a step size.", "Give a number from 0, or a function of the step.")
        decays = self.weight_decay if isinstance(self.weight_decay, Mapping) else {"": self.weight_decay}
        for name, decay in decays.items():
            self._check("weight_decay", decay, f'It multiplies the value of "{name}".' if name else
                        "It multiplies values.", "Give a number from 0, or a dict of such numbers by name.")

    def __call__(self, values: Mapping[str, Any], grads: Mapping[str, Any],
                 state: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """One step down the gradients.

        Parameters
        ----------
        values : dict of str to array_like
            Those that have no gradient come back as they are. float32 stays, other numbers become float64.
        grads : dict of str to array_like
            In the shapes of their values.
        state : dict, optional
            What the step before returned; None to begin. It has the number of steps, and of each value that has had a
            gradient its averages and their number, so it can be pickled and written as arrays.

        Returns
        -------
        values, state : dict, dict

        Raises
        ------
        CallError
            If names or shapes do not fit, or the state is of another optimiser.
        NonFiniteError
            If a value would not be finite.
        """
        before: Mapping[str, Any] = {"step": 0, "of": {}} if state is None else state
        self._check_call(values, grads, before)
        rate = self._rate_at(before["step"])
        moved, kept = dict(values), dict(before["of"])
        for name, grad in grads.items():
            value = as_float(values[name])
            slope = np.asarray(grad).astype(value.dtype, copy=False)
            if value.shape != slope.shape:
                _refuse(f'A gradient of shape {slope.shape} was given for "{name}".', f"Its value has {value.shape}.",
                        "Give the gradients that r.grad holds, or arrays of the values' shapes.")
            old = kept.get(name) or {"count": 0, **{slot: np.zeros_like(value) for slot in self.slots}}
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                new, averages = self._moved(value, slope, old, rate, self._decay_of(name))
            if not np.isfinite(new).all():
                raise NonFiniteError(str(here() or ""), f'The value of "{name}" after step {before["step"] + 1} of '
                                     f"{self} is not finite.", "The step was too large, or its gradient not finite.",
                                     "Use a smaller rate, or clip the gradients.")
            moved[name], kept[name] = np.asarray(new), {"count": old["count"] + 1, **averages}
        return moved, {"step": before["step"] + 1, "of": kept}

    def owns(self, state: Any) -> bool:
        """Whether a state is one that an optimiser of its kind returned."""
        return isinstance(state, Mapping) and state.keys() == {"step", "of"} and all(
            slots.keys() == {"count", *self.slots} for slots in state["of"].values())

    def _moved(self, value, grad, old: Mapping[str, Any], rate: float, decay: float) -> tuple[Any, dict[str, Any]]:
        """The value after one step, and its new averages."""
        raise NotImplementedError

    def _check(self, what: str, number, why: str, fix: str, below: float = math.inf) -> None:
        """Refuse what is no number from 0 up to a bound."""
        if isinstance(number, bool) or not isinstance(number, Real) or not 0.0 <= float(number) < below:
            _refuse(f"{type(self).__name__.lower()}({what}={brief(number)}) was asked for.", why, fix)

    def _rate_at(self, step: int) -> float:
        if not callable(self.rate):
            return self.rate
        rate = self.rate(step)
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0.0 <= float(rate) < math.inf:
            _refuse(f"The rate at step {step} is {brief(rate)}.", "It is a step size, a number from 0.",
                    "Let the function return one: rate=lambda step: 0.1 / (1 + step).")
        return float(rate)

    def _decay_of(self, name: str) -> float:
        return self.weight_decay.get(name, 0.0) if isinstance(self.weight_decay, Mapping) else self.weight_decay

    def _check_call(self, values, grads, state) -> None:
        for what, given in (("values", values), ("gradients", grads)):
            if not isinstance(given, Mapping):
                _refuse(f"A {type(given).__name__} was given as {what}.", "They are looked up by name.",
                        'Give dicts: optimiser({"theta": 0.3}, r.grad, state).')
        for name in grads:
            if name not in values:
                _refuse(f'A gradient of "{name}" was given.', "There is no value of that name.",
                        f"There are: {', '.join(map(str, values)) or 'none'}.")
        if isinstance(self.weight_decay, Mapping) and (unknown := [n for n in self.weight_decay if n not in values]):
            _refuse(f"weight_decay= names {', '.join(map(str, unknown))}.", "There is no value of that name.",
                    f"There are: {', '.join(map(str, values)) or 'none'}.")
        if not self.owns(state):
            _refuse("A state that is not its own was given to an optimiser.",
                    f"{self} keeps {', '.join(self.slots) or 'no averages'} of each value.",
                    "Give the state that its step before returned, or None to begin.")


@dataclass(frozen=True)
class SGD(Optimiser):
    """See `sgd`."""

    momentum: float = 0.0
    nesterov: bool = False

    slots: ClassVar[tuple[str, ...]] = ("velocity",)

    def __post_init__(self):
        super().__post_init__()
        self._check("momentum", self.momentum, "It is the weight of the past.", "Give a number from 0, below 1.", 1.0)
        if self.nesterov and not self.momentum:
            _refuse("sgd(nesterov=True) was asked for with momentum=0.", "It is a step ahead along the momentum.",
                    "Give momentum=0.9, or leave nesterov= out.")

    def _moved(self, value, grad, old, rate, decay):
        if decay:
            grad = grad + decay * value
        if not self.momentum:
            return value - rate * grad, {"velocity": old["velocity"]}
        velocity = self.momentum * old["velocity"] + grad
        return value - rate * (grad + self.momentum * velocity if self.nesterov else velocity), {"velocity": velocity}


@dataclass(frozen=True)
class Adam(Optimiser):
    """See `adam`."""

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    slots: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.betas, (tuple, list)) or len(self.betas) != 2:
            _refuse(f"adam(betas={brief(self.betas)}) was asked for.",
                    "They are the weights of the past in two averages.", "Give two numbers from 0, below 1.")
        for beta in self.betas:
            self._check("betas", beta, "They are weights of the past.", "Give two numbers from 0, below 1.", 1.0)
        self._check("eps", self.eps, "It keeps a division by 0 away.", "Give a number above 0.")
        if self.eps == 0.0:
            _refuse("adam(eps=0) was asked for.", "It keeps a division by 0 away.", "Give a number above 0.")

    def _moved(self, value, grad, old, rate, decay):
        (first, second), count = self.betas, old["count"] + 1
        mean = first * old["mean"] + (1.0 - first) * grad
        square = second * old["square"] + (1.0 - second) * grad * grad
        step = (mean / (1.0 - first**count)) / (np.sqrt(square / (1.0 - second**count)) + self.eps)
        kept = value - rate * decay * value if decay else value
        return kept - rate * step, {"mean": mean, "square": square}


@signed_in("scg.optim")
def sgd(rate: Rate, *, momentum: float = 0.0, nesterov: bool = False, weight_decay: Decay = 0.0) -> Optimiser:
    """Gradient descent: with g ← g + λθ and the velocity v ← μv + g, θ ← θ − γv; Nesterov's is θ ← θ − γ(g + μv).

    Parameters
    ----------
    rate : float or callable
        γ, or a function of the number of steps made before that returns it.
    momentum : float
        μ, from 0, below 1.
    nesterov : bool
    weight_decay : float or dict of str to float
        λ, for all values or by name. It is that of the penalty λ‖θ‖²/2, whose gradient takes part in the momentum.

    Returns
    -------
    Optimiser

    References
    ----------
    Sutskever, Martens, Dahl & Hinton 2013, *On the importance of initialization and momentum in deep learning*, in the
    form in which PyTorch's SGD has it: the rate multiplies the velocity.
    """
    return SGD(_number(rate), _number(weight_decay), _number(momentum), nesterov)


@signed_in("scg.optim")
def adam(rate: Rate = 0.001, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
         weight_decay: Decay = 0.0) -> Optimiser:
    """Adam: m ← β₁m + (1 − β₁)g, v ← β₂v + (1 − β₂)g², θ ← θ − γ m̂ / (√v̂ + ε), with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).

    Parameters
    ----------
    rate : float or callable
        γ, or a function of the number of steps made before that returns it.
    betas : tuple of float
        β₁ and β₂, from 0, below 1.
    eps : float
        ε, above 0.
    weight_decay : float or dict of str to float
        λ, for all values or by name, decoupled from the averages as in AdamW: θ ← θ − γλθ beside the step.

    Returns
    -------
    Optimiser

    References
    ----------
    Kingma & Ba 2015, *Adam: a method for stochastic optimization*, algorithm 1; the decay is that of Loshchilov &
    Hutter 2019, *Decoupled weight decay regularization*, algorithm 2, with the rate as its schedule.
    """
    return Adam(_number(rate), _number(weight_decay), betas, _number(eps))


def as_float(value) -> np.ndarray:
    """An array of numbers that descent can move."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        _refuse(f"A value of type {type(value).__name__} was given.", "It is no array of real numbers.",
                "Give a number or an array.")
    return array if array.dtype == np.float32 else array.astype(np.float64, copy=False)


def _number(given: Any) -> Any:
    """A number that is given as an array without dimensions; anything else as it is."""
    return given.item() if isinstance(given, np.ndarray) and given.ndim == 0 else given


def _refuse(what: str, why: str, fix: str) -> NoReturn:
    raise CallError(str(here() or ""), what, why, fix)
