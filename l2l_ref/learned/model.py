"""What learned optimizers of all kinds do with their weights, and the sizes that they accept."""

import numpy as np

from ..trees import arrays_of, flatten, unflatten

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))
# What a file may promise before it is believed; so nothing larger is made.
LARGEST_LAYER, MOST_LAYERS = 4096, 64


class LearnedModel:
    """What learned optimizers of all kinds do with their weights, nested NamedTuples of arrays."""

    @property
    def params(self):
        """The weights, in the precision in which they were given: a copy of the optimizer's own, read only.

        Assign a whole tree of them to change them.
        """
        return self._params

    @params.setter
    def params(self, params):
        self._params = _frozen(unflatten(flatten(params), params))
        self._by_dtype = {}

    def params_as(self, dtype):
        """The weights in another precision."""
        dtype = np.dtype(dtype)
        if dtype not in self._by_dtype:
            self._by_dtype[dtype] = _frozen(unflatten(flatten(self._params).astype(dtype), self._params))
        return self._by_dtype[dtype]


def _frozen(params):
    """The same Params, its arrays read only."""
    for a in arrays_of(params):
        a.flags.writeable = False
    return params
