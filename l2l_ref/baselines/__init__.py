"""Hand-designed rivals of the learned optimizers."""

from l2l_ref.baselines.bayesian import ExpectedImprovement, IntegratedExpectedImprovement
from l2l_ref.baselines.gradient import OPTIMIZERS, SGD, NAG, Adagrad, Adam, Momentum, RMSprop, Rprop
from l2l_ref.baselines.search import Sobol, Uniform

__all__ = ["OPTIMIZERS", "SGD", "NAG", "Adagrad", "Adam", "ExpectedImprovement", "IntegratedExpectedImprovement",
           "Momentum", "RMSprop", "Rprop", "Sobol", "Uniform"]
