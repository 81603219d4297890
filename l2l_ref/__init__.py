"""l2l_ref: learning to learn in NumPy, with hand-written and proved backward passes.

Importing this imports NumPy alone; each name below is loaded when it is first used.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "BlackBoxOptimizer": "search.optimizer",
    "CoordinatewiseLSTM": "learned.optimizer",
    "Proposer": "learned.proposer",
    "assert_gradients": "checking",
    "gradcheck": "checking",
    "load": "pretrained",
    "meta_train": "metatrain.gradient_based",
    "meta_train_black_box": "metatrain.black_box",
    "minimize": "search.minimize",
    "minimize_many": "search.minimize",
    "models": "pretrained",
    "save": "pretrained",
}
_MODULES = ("baselines", "black_boxes", "catalogue", "checking", "datasets", "metatrain", "ops",
            "optimizees")

__all__ = [*_HOME, *_MODULES, "__version__"]


def __getattr__(name):
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
