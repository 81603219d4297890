"""The math: pairs ``op`` / ``op_backward`` on NumPy arrays, no state, no input or output.

``out, cache = op(inputs...)`` and ``d_inputs = op_backward(d_out, cache)``. The cache holds
exactly the arrays that the backward reads; it may alias the inputs, so it is read only.
Gradients come in the order of the inputs and with their shapes.
"""
