"""SciPy's two forms of callback."""




def call_back(callback, intermediate_result):
    """SciPy's two forms of callback, told apart as SciPy does: by the argument's name."""
    import inspect

    if set(inspect.signature(callback).parameters) == {"intermediate_result"}:
        callback(intermediate_result=intermediate_result)
    else:
        callback(intermediate_result.x)
