"""Hand-designed gradient-based optimizers. Each of them acts on every coordinate separately.

An optimizer turns the gradient g at theta into the update u, and theta' = theta + u. For each coordinate it keeps the
slots named in the table, whose new values are marked by a prime. t counts updates from 1, and r is the learning rate.
All slots begin at 0, except Rprop's step d, which begins at r. A g that is nan or infinite is put into the formulas as
any other is, and concerns its own coordinate alone.

    SGD       u = -r g
    Momentum  v' = mu v + g                             u = -r v'
    NAG       v' = mu v + g                             u = -r (g + mu v')
    Adagrad   s' = s + g^2                              u = -r g / (sqrt(s') + eps)
    RMSprop   s' = alpha s + (1 - alpha) g^2            u = -r g / (sqrt(s') + eps)
    Rprop     d' = clip(d * eta, step_min, step_max)    u = -d' sign(p')
              eta, p' = (eta_plus, g), (1, g), (eta_minus, 0)  for g p >, =, < 0
    Adam      m' = beta1 m + (1 - beta1) g              u = -r (m' / (1 - beta1^t))
              v' = beta2 v + (1 - beta2) g^2                / (sqrt(v' / (1 - beta2^t)) + eps)

The defaults of the constants are those of Torch7's ``optim``, which Andrychowicz et al. 2016 use in their comparisons.
The learning rate has no default, because a fair comparison tunes it.
"""

from __future__ import annotations

import math
from collections import namedtuple
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..trees import build, layout, leaves, paths, require_layout

if TYPE_CHECKING:
    from ..protocols import Array, Tree

SGDState = namedtuple("SGDState", "t")
MomentumState = namedtuple("MomentumState", "t v")
NAGState = namedtuple("NAGState", "t v")
AdagradState = namedtuple("AdagradState", "t s")
RMSpropState = namedtuple("RMSpropState", "t s")
RpropState = namedtuple("RpropState", "t d p")
AdamState = namedtuple("AdamState", "t m v")


@dataclass(frozen=True)
class _Coordinatewise:
    """What the optimizers share: the checks, and the loop over the arrays of a tree.

    A subclass defines ``State``, which has ``t`` and then its slots, and ``_rule``. The rule maps t, g and the slots of
    one array to the update and the new slots, and is written as in the table above.
    """

    learning_rate: float
    State: ClassVar[Any]

    # The constants that weigh the past. With the value 1 a gradient would never have an effect.
    _decays = ("momentum", "alpha", "beta1", "beta2")

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            decay = field.name in self._decays
            if not isinstance(value, Real) or not (0 <= float(value) < 1 if decay else 0 < float(value) < math.inf):
                wanted = "a number in [0, 1)" if decay else "a finite number above 0"
                raise ValueError(f"{field.name}: expected {wanted}, got {value!r}")
            # A Python float adapts to the dtype of the arrays; a NumPy float64 would change it to float64.
            object.__setattr__(self, field.name, float(value))

    def init(self, theta: Any) -> Any:
        """The state before the first update.

        Parameters
        ----------
        theta : array or tree of arrays
            Parameters, real floating-point numbers of any shape; trees are those of `l2l_ref.trees`.

        Returns
        -------
        NamedTuple
            ``t``, the number of updates so far, and the slots, each with the structure of theta.

        Raises
        ------
        ValueError
            When an array does not hold floating-point numbers.
        """
        arrays = [_floats(path, leaf) for path, leaf in zip(paths(theta, "theta"), leaves(theta))]
        slots = (build(theta, [np.full_like(a, first) for a in arrays]) for first in self._first_slots())
        return self.State(0, *slots)

    def update(self, gradient: Tree, state: Any, params: Any = None) -> tuple[Tree, Any]:
        """The update for this gradient, and the state after it. No argument is changed.

        Parameters
        ----------
        gradient : array or tree of arrays
            Its arrays have the paths, shapes and dtypes of the theta that ``init`` was given.
        state : NamedTuple
            From ``init`` or from the last ``update``.
        params : optional
            Ignored. Optax passes theta here; these optimizers do not need it.

        Returns
        -------
        update : array or tree of arrays
            What to add to theta, of the structure and the dtype of the gradient.
        state : NamedTuple

        Raises
        ------
        ValueError
            When the gradient is not of floating-point numbers, or differs from the state in its paths, shapes or
            dtypes, or when the state is another optimizer's.
        """
        if not isinstance(state, self.State):
            raise ValueError(f"state: expected a {self.State.__name__}, got a {type(state).__name__}")
        t, *slots = state
        t += 1
        if slots:
            require_layout("gradient", gradient, layout(slots[0]), "theta")
        stepped = []
        for path, g, *past in zip(paths(gradient, "gradient"), leaves(gradient), *map(leaves, slots)):
            g = _floats(path, g)
            if past and past[0].dtype != g.dtype:
                raise ValueError(f"{path}: expected {past[0].dtype}, as in theta, got {g.dtype}")
            # NumPy turns arrays without axes into scalars; NumPy 1 even turns float32 into float64.
            stepped.append([np.asarray(out, g.dtype) for out in self._rule(t, g, *past)])
        update, *slots = (build(gradient, arrays) for arrays in zip(*stepped)) if stepped else (gradient, *slots)
        return update, self.State(t, *slots)

    def _rule(self, t: int, g: Array, *slots: Any) -> tuple[Array, ...]:
        raise NotImplementedError

    def _first_slots(self) -> tuple[float, ...]:
        return (0.0,) * (len(self.State._fields) - 1)


def _floats(name: str, x: Any) -> Array:
    x = np.asarray(x)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"{name}: expected floating-point numbers, got {x.dtype}")
    return x


@dataclass(frozen=True)
class SGD(_Coordinatewise):
    """Gradient descent: u = -r g (Robbins and Monro 1951)."""

    State = SGDState

    def _rule(self, t: int, g: Array) -> tuple[Array, ...]:
        return (-self.learning_rate * g,)


@dataclass(frozen=True)
class Momentum(_Coordinatewise):
    """Heavy ball (Polyak 1964): v' = mu v + g, u = -r v'.

    There is no dampening: all of g is added to v. By default Torch7's ``sgd`` adds (1 - mu) g.
    """

    momentum: float = 0.9
    State = MomentumState

    def _rule(self, t: int, g: Array, v: Array) -> tuple[Array, ...]:
        v = self.momentum * v + g
        return -self.learning_rate * v, v


@dataclass(frozen=True)
class NAG(_Coordinatewise):
    """Nesterov's accelerated gradient (Nesterov 1983): v' = mu v + g, u = -r (g + mu v').

    This is the form of Bengio et al. 2013 (arXiv 1212.0901), in which theta is the look-ahead point. The gradient is
    therefore needed only at theta.
    """

    momentum: float = 0.9
    State = NAGState

    def _rule(self, t: int, g: Array, v: Array) -> tuple[Array, ...]:
        v = self.momentum * v + g
        return -self.learning_rate * (g + self.momentum * v), v


@dataclass(frozen=True)
class Adagrad(_Coordinatewise):
    """Duchi et al. 2011, the diagonal version: s' = s + g^2, u = -r g / (sqrt(s') + eps)."""

    epsilon: float = 1e-10
    State = AdagradState

    def _rule(self, t: int, g: Array, s: Array) -> tuple[Array, ...]:
        s = s + g * g
        return -self.learning_rate * g / (np.sqrt(s) + self.epsilon), s


@dataclass(frozen=True)
class RMSprop(_Coordinatewise):
    """Tieleman and Hinton 2012, lecture 6.5: s' = alpha s + (1 - alpha) g^2, u = -r g / (sqrt(s') + eps)."""

    alpha: float = 0.99
    epsilon: float = 1e-8
    State = RMSpropState

    def _rule(self, t: int, g: Array, s: Array) -> tuple[Array, ...]:
        s = self.alpha * s + (1 - self.alpha) * g * g
        return -self.learning_rate * g / (np.sqrt(s) + self.epsilon), s


@dataclass(frozen=True)
class Rprop(_Coordinatewise):
    """Resilient propagation: each coordinate has a step d, and only the sign of g is used.

    d' = clip(d * eta, step_min, step_max), u = -d' sign(p'), where (eta, p') is (eta_plus, g) when g and the last p
    have the same sign, (eta_minus, 0) when their signs differ, and (1, g) when either is 0. Where the sign has changed,
    the step shrinks and theta stays; the next step keeps its length.

    Riedmiller and Braun 1993, in the variant that Igel and Huesken 2003 call iRprop-, as in Torch7. The learning rate
    is the first step.
    """

    eta_plus: float = 1.2
    eta_minus: float = 0.5
    step_min: float = 1e-6
    step_max: float = 50.0
    State = RpropState

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.eta_minus < 1 < self.eta_plus:
            raise ValueError(f"eta_minus: expected eta_minus < 1 < eta_plus, got {self.eta_minus} and {self.eta_plus}")
        if not self.step_min <= self.step_max:
            raise ValueError(f"step_min: expected step_min <= step_max, got {self.step_min} and {self.step_max}")

    def _first_slots(self) -> tuple[float, ...]:
        return self.learning_rate, 0.0

    def _rule(self, t: int, g: Array, d: Array, p: Array) -> tuple[Array, ...]:
        agree = np.sign(g) * np.sign(p)  # the product of the signs, because g p may underflow to 0
        eta = np.where(agree > 0, self.eta_plus, np.where(agree < 0, self.eta_minus, 1.0))
        d = np.clip(d * eta, self.step_min, self.step_max)
        p = np.where(agree < 0, 0.0, g)
        return -d * np.sign(p), d, p


@dataclass(frozen=True)
class Adam(_Coordinatewise):
    """Kingma and Ba 2015, Algorithm 1.

    m' = beta1 m + (1 - beta1) g, v' = beta2 v + (1 - beta2) g^2,
    u = -r (m' / (1 - beta1^t)) / (sqrt(v' / (1 - beta2^t)) + eps).

    Torch7 adds eps to sqrt(v') and then corrects it by sqrt(1 - beta2^t), the cheaper order in section 2 of
    Kingma and Ba. The two orders differ only where sqrt(v') is not much larger than eps.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    State = AdamState

    def _rule(self, t: int, g: Array, m: Array, v: Array) -> tuple[Array, ...]:
        m = self.beta1 * m + (1 - self.beta1) * g
        v = self.beta2 * v + (1 - self.beta2) * g * g
        mean, square = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        return -self.learning_rate * mean / (np.sqrt(square) + self.epsilon), m, v


OPTIMIZERS = {
    "sgd": SGD,
    "momentum": Momentum,
    "nag": NAG,
    "adagrad": Adagrad,
    "rmsprop": RMSprop,
    "rprop": Rprop,
    "adam": Adam,
}
