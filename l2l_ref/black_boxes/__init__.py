"""Problems for black-box optimizers: functions of which only values are seen. Everything is minimised.

A `BlackBox` has a name, bounds (d, 2), what is known of its minimum, and is called with points (..., d) in the units
of its bounds. `GPFunctions` and `GPPaths` are batches of random functions: decided where they are asked for, one query
after the other, and decided everywhere.
"""

from .benchmarks import BENCHMARKS, BlackBox
from .gp_functions import GPFunctions
from .gp_paths import GPPaths
from .repellers import REPELLERS
from .tables import TABLES, read_table
from .transforms import Transform, draw_transform, transformed

__all__ = ["BENCHMARKS", "BlackBox", "GPFunctions", "GPPaths", "REPELLERS", "TABLES", "Transform", "draw_transform",
           "read_table", "transformed"]
