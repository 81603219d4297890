"""Hand-designed baselines for the learned optimizers, and adapters for third-party optimizers."""

from .bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from .gradient import NAG, OPTIMIZERS, SGD, Adagrad, Adam, Momentum, RMSprop, Rprop
from .random_search import RandomSearch, Sobol

__all__ = ["Adagrad", "Adam", "ExpectedImprovement", "IntegratedExpectedImprovement", "Momentum", "NAG", "OPTIMIZERS",
           "RMSprop", "RandomSearch", "Rprop", "SGD", "Sobol"]
