"""A trained optimizer as one readable file: in NumPy, in Python's standard library, in C99 or in JavaScript."""
