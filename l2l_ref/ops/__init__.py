"""The math: pairs ``op`` / ``op_backward`` of functions on NumPy arrays, without state, input or output.

``out, cache = op(inputs...)`` and ``d_inputs = op_backward(d_out, cache)``. The cache holds exactly the arrays that
the backward pass reads. It may alias the inputs, so treat it as read-only. Gradients come in the order of the inputs
and have their shapes.
"""
