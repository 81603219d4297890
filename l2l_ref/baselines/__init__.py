"""Hand-designed baselines of the learned optimizers, and adapters for third-party ones."""

from l2l_ref.baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from l2l_ref.baselines.gradient import NAG, OPTIMIZERS, SGD, Adagrad, Adam, Momentum, RMSprop, Rprop
from l2l_ref.baselines.random_search import RandomSearch, Sobol

__all__ = ["OPTIMIZERS", "SGD", "NAG", "Adagrad", "Adam", "ExpectedImprovement", "IntegratedExpectedImprovement",
           "Momentum", "RMSprop", "Rprop", "Sobol", "RandomSearch"]
