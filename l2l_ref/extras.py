"""Optional packages, and the extra of this project that installs each of them."""

import importlib.util

EXTRAS = {"scipy": "fast", "numba": "fast", "matplotlib": "plot", "ioh": "bbob", "optuna": "optuna",
          "sklearn": "sklearn", "distributed": "cluster"}
# Where the project spells itself in another way than its package.
TITLES = {"scipy": "SciPy", "optuna": "Optuna", "sklearn": "scikit-learn",
          "distributed": "dask"}


def installed(*packages: str) -> bool:
    """Whether all these packages can be found. None of them is imported, which may take a second."""
    return all(importlib.util.find_spec(package) is not None for package in packages)


def require(package: str, purpose: str) -> None:
    """Do nothing if the package is installed. Call this before long work that ends with the package.

    Parameters
    ----------
    package : str
        A key of `EXTRAS`.
    purpose : str
        What needs the package; the message begins with it.

    Raises
    ------
    ImportError
        The package is missing. The message names the extra: "a figure needs matplotlib: pip install 'l2l-ref[plot]'".
    """
    if not installed(package):
        name = TITLES.get(package, package)
        raise ImportError(f"{purpose} needs {name}: pip install 'l2l-ref[{EXTRAS[package]}]'")
