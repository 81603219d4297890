"""Hand-designed rivals of the learned optimizers."""

from l2l_ref.baselines.gradient import OPTIMIZERS, SGD, NAG, Adagrad, Adam, Momentum, RMSprop, Rprop

__all__ = ["OPTIMIZERS", "SGD", "NAG", "Adagrad", "Adam", "Momentum", "RMSprop", "Rprop"]
