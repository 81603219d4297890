"""l2l_ref: learned optimizers in NumPy. Every backward pass is written by hand and checked against finite differences.

Importing this imports nothing else, not even NumPy. Each name below is loaded when it is first used.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # what editors and type checkers see; tests keep it equal to `_HOME` and `_MODULES`
    from . import baselines as baselines
    from . import black_boxes as black_boxes
    from . import catalogue as catalogue
    from . import checking as checking
    from . import datasets as datasets
    from . import metatrain as metatrain
    from . import ops as ops
    from . import optimizees as optimizees
    from .checking import assert_gradients as assert_gradients
    from .checking import gradcheck as gradcheck
    from .checking.layers import of_layer as of_layer
    from .checking.second_order import gradgradcheck as gradgradcheck
    from .exporting.export import export as export
    from .exporting.play import play as play
    from .guard import guarded as guarded
    from .learned.adjusted import Adjusted as Adjusted
    from .learned.moments_optimizer import MomentsMLP as MomentsMLP
    from .learned.optimizer import CoordinatewiseLSTM as CoordinatewiseLSTM
    from .learned.optimizer import CoordinatewiseRNN as CoordinatewiseRNN
    from .learned.partitioned import PartitionedLSTM as PartitionedLSTM
    from .learned.proposer import Proposer as Proposer
    from .learned.sharing_optimizer import SharingLSTM as SharingLSTM
    from .metatrain.black_box import meta_train_black_box as meta_train_black_box
    from .metatrain.gradient_based import meta_train as meta_train
    from .pretrained import load as load
    from .pretrained import models as models
    from .pretrained import save as save
    from .search.minimize import minimize as minimize
    from .search.minimize import minimize_many as minimize_many
    from .search.optimizer import BlackBoxOptimizer as BlackBoxOptimizer
    from .search.space import Categorical as Categorical
    from .search.space import Float as Float
    from .search.space import Int as Int

__version__ = "0.1.0"

_HOME = {
    "Adjusted": "learned.adjusted",
    "BlackBoxOptimizer": "search.optimizer",
    "Categorical": "search.space",
    "CoordinatewiseLSTM": "learned.optimizer",
    "CoordinatewiseRNN": "learned.optimizer",
    "Float": "search.space",
    "Int": "search.space",
    "MomentsMLP": "learned.moments_optimizer",
    "PartitionedLSTM": "learned.partitioned",
    "Proposer": "learned.proposer",
    "SharingLSTM": "learned.sharing_optimizer",
    "assert_gradients": "checking",
    "export": "exporting.export",
    "gradcheck": "checking",
    "gradgradcheck": "checking.second_order",
    "guarded": "guard",
    "load": "pretrained",
    "meta_train": "metatrain.gradient_based",
    "meta_train_black_box": "metatrain.black_box",
    "minimize": "search.minimize",
    "minimize_many": "search.minimize",
    "models": "pretrained",
    "of_layer": "checking.layers",
    "play": "exporting.play",
    "save": "pretrained",
}
_MODULES = ("baselines", "black_boxes", "catalogue", "checking", "datasets", "metatrain", "ops",
            "optimizees")

__all__ = [*_HOME, *_MODULES, "__version__"]

if not TYPE_CHECKING:  # with it, a type checker would take any name for one of the package's

    def __getattr__(name):
        if name in _HOME:
            value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        elif name in _MODULES:
            value = importlib.import_module(f".{name}", __name__)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
