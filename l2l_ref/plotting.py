"""matplotlib, which is optional and is imported when a figure is drawn."""




def matplotlib_figure():
    """matplotlib's Figure class; ImportError that names the extra when matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("a figure needs matplotlib: pip install 'l2l-ref[plot]'") from None
    return Figure
