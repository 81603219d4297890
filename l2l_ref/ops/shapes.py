"""The one way in which operations complain about a shape."""


def require_shape(name, array, **dims):
    """Raise ValueError unless ``array`` has the shape that the keywords spell out.

    ``require_shape("h", h, N=3, H=None)`` accepts any array of shape (3, anything).
    """
    expected = tuple(dims.values())
    shape = getattr(array, "shape", None)
    if shape is None:
        raise ValueError(f"{name}: expected an array, got {type(array).__name__}")
    if len(shape) != len(expected) or any(e not in (None, s) for s, e in zip(shape, expected)):
        wanted = ", ".join(d if e is None else f"{d}={e}" for d, e in dims.items())
        raise ValueError(f"{name}: expected shape ({wanted}), got {shape}")
