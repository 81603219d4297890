"""Problems for black-box optimizers: functions of which only values are seen. All of them are minimised.

A `BlackBox` has a name, bounds (d, 2) and what is known of its minimum. It is called with points (..., d) in the units
of its bounds. `GPFunctions` and `GPPaths` are batches of random functions. Those of `GPFunctions` are decided only at
the points that are queried, one query after the other; those of `GPPaths` are decided everywhere.

`NetworkTraining` is a network whose hyperparameters are tuned. It has a space of named parameters instead of bounds.

`GPDistribution` and `SupportDistribution` are distributions of functions to meta-train a black-box optimizer on.
"""

from .benchmarks import BENCHMARKS, BlackBox
from .distributions import DISTRIBUTIONS, GPDistribution, SupportDistribution
from .gp_functions import GPFunctions
from .gp_paths import GPPaths
from .network import NetworkTraining
from .repellers import REPELLERS
from .tables import TABLES, read_table
from .transforms import Transform, draw_transform, transformed

__all__ = ["BENCHMARKS", "BlackBox", "DISTRIBUTIONS", "GPDistribution", "GPFunctions", "GPPaths", "NetworkTraining",
           "REPELLERS", "SupportDistribution", "TABLES", "Transform", "draw_transform", "read_table", "transformed"]
