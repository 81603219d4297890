"""Problems for black-box optimizers: functions of which only values are seen. Everything is minimised.

A `BlackBox` has a name, bounds (d, 2), what is known of its minimum, and is called with points (..., d) in the units
of its bounds. `GPFunctions` is a batch of random functions, evaluated one query after the other.
"""

from .benchmarks import BENCHMARKS, BlackBox
from .gp_functions import GPFunctions
from .repellers import REPELLERS
from .tables import TABLES, read_table
from .transforms import Transform, draw_transform, transformed

__all__ = ["BENCHMARKS", "BlackBox", "GPFunctions", "REPELLERS", "TABLES", "Transform", "draw_transform", "read_table",
           "transformed"]
