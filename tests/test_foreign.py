"""The checker takes arrays of other libraries, lists, complex numbers and objects that hold arrays.

Small stand-ins show what each library asks for. Where the library itself is installed, it is tested as well.
"""

import dataclasses
import sys
from collections import OrderedDict, defaultdict
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from l2l_ref.checking import gradcheck, trees
from l2l_ref.checking.foreign import as_given, as_numpy

X = np.array([[0.3, -1.2, 0.7], [2.0, 0.5, -0.4]])


# --- arrays of other libraries


class Foreign:
    """An array of a library that has its own functions: NumPy's are refused."""

    __array_ufunc__ = None

    def __init__(self, values):
        self._values = np.array(values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)

    @property
    def shape(self):
        return self._values.shape

    @property
    def dtype(self):
        return self._values.dtype

    def like(self, values):
        return type(self)(values)

    def __mul__(self, other):
        return self.like(self._values * (other._values if isinstance(other, Foreign) else other))

    __rmul__ = __mul__

    def sum(self):
        return self.like(self._values.sum())


class Labelled(Foreign):
    """Like pandas: the constructor takes the labels."""

    def __init__(self, values, index, **names):
        super().__init__(values)
        self.index, self.names = index, names
        assert len(index) == len(self._values)
        for name, value in names.items():
            setattr(self, name, value)

    def like(self, values):
        return type(self)(values, self.index, **self.names) if np.ndim(values) else values


class Frame(Labelled):
    @property
    def dtypes(self):
        return [self.dtype] * self.shape[1]


class Tensor(Foreign):
    """Like PyTorch: NumPy may only read it after it is detached, and a function of the library makes it."""

    __module__ = "torch"
    device = "cpu"  # where the library makes it

    def detach(self):
        raise AssertionError("numpy(force=True) does that")

    def to_dense(self):
        return self

    def numpy(self, force=False):
        assert force
        return self._values

    def to(self, device):
        self.device = device
        return self

    def like(self, values):
        return Tensor(values).to(self.device)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad.")


class Namespaced(Foreign):
    """Like JAX: the constructor is private, and the array names its library."""

    def __init__(self, values, key=None):
        assert key == "private"
        super().__init__(values)

    def like(self, values):
        return type(self)(values, "private")

    def __array_namespace__(self):
        return SimpleNamespace(asarray=self.like)


class Subclass(np.ndarray):
    """An array with a unit, which a copy keeps."""

    unit = None

    def __array_finalize__(self, other):
        self.unit = getattr(other, "unit", None)


def with_unit(values):
    array = np.array(values).view(Subclass)
    array.unit = "metre"
    return array


def torch_tensor(values):
    return pytest.importorskip("torch").as_tensor(np.array(values))


def torch_parameter(values):
    return pytest.importorskip("torch").nn.Parameter(torch_tensor(values))


def jax_array(values):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        return jax.numpy.asarray(values)


MAKERS = {
    "constructor": Foreign,
    "series": lambda values: Labelled(values, "ab", name="x"),
    "frame": lambda values: Frame(values, "ab", columns="xyz"),
    "tensor": lambda values: Tensor(values).to("gpu"),
    "namespace": lambda values: Namespaced(values, "private"),
    "subclass": with_unit,
    "matrix": lambda values: np.asmatrix(np.array(values)),
    "masked, without masked entries": lambda values: np.ma.array(values, mask=np.zeros(np.shape(values))),
    "pandas.DataFrame": lambda values: pytest.importorskip("pandas").DataFrame(values, list("ab"), list("xyz")),
    "torch.Tensor": torch_tensor,
    "torch.nn.Parameter": torch_parameter,
    "jax.Array": jax_array,
    "xarray.DataArray": lambda values: pytest.importorskip("xarray").DataArray(values, dims=["row", "column"]),
}


pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")


@pytest.fixture(params=MAKERS)
def make(request, monkeypatch):
    if request.param == "tensor":
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(as_tensor=Tensor))
    if request.param == "jax.Array":
        jax = pytest.importorskip("jax")
        with jax.enable_x64(True):
            yield MAKERS[request.param]
        return
    yield MAKERS[request.param]


def elementwise(x):
    """x * x whatever x is; for a matrix as well."""
    return np.multiply(x, x) if isinstance(x, np.ndarray) else x * x


def labels(array):
    """What an array knows besides its numbers."""
    found = [getattr(array, name, None) for name in ("unit", "index", "name", "columns", "dims", "device")]
    return [None if label is None or callable(label) else list(str(label)) for label in found]


def test_an_array_of_another_library_is_handed_over_in_its_own_type(make):
    """As input, as output and so as cotangent, and as gradient."""
    given, seen = make(X), []
    plain = as_numpy(given)
    assert type(plain) is np.ndarray and plain.dtype == np.float64 and np.array_equal(plain, X)

    def f(x):
        seen.append(type(x))
        assert labels(x) == labels(given)
        assert not getattr(x, "requires_grad", False)
        return elementwise(x)

    def f_backward(d, x):
        assert type(d) is type(elementwise(x))
        return 2.0 * (np.multiply(d, x) if isinstance(x, np.ndarray) else d * x)

    right = gradcheck(f, f_backward, given)
    assert right.ok, right
    assert [entry.path for entry in right.entries] == ["x"] and right.entries[0].count == 6
    assert len({*seen}) == 1 and (seen[0] is type(given) or seen[0].__name__ == "Tensor")
    wrong = gradcheck(f, lambda d, x: 1.0001 * f_backward(d, x), given)
    assert wrong.verdict == "FAIL" and wrong.worst.path == "x" and len(wrong.worst.index) == 2
    assert np.array_equal(as_numpy(given), X)


def test_a_gradient_may_be_an_array_of_another_library(make):
    """Where f and its input are NumPy's."""
    def gradient(x):
        return make(2 * x)

    assert gradcheck(lambda x: np.sum(x**2), gradient, X, kind="gradient").ok
    assert gradcheck(lambda x: x**2, lambda d, x: make(2 * d * x), X).ok
    assert gradcheck(lambda x: x**2, lambda d, x: make(2.001 * d * x), X).verdict == "FAIL"
    misshapen = gradcheck(lambda x: np.sum(x[:1] ** 2), lambda x: gradient(X), X[:1], kind="gradient")
    assert "gradient of x has shape (2, 3), expected (1, 3)" in str(misshapen)


def test_an_array_may_have_nothing_but_its_numbers():
    class Bare:
        def __init__(self, values):
            self.values = values

        def __array__(self, dtype=None, copy=None):
            return np.array(self.values, dtype)

    def f(x):
        return Bare(np.asarray(x) ** 2)

    for factor, verdict in ((2.0, "PASS"), (2.001, "FAIL")):
        def f_backward(d, x):
            return Bare(factor * np.asarray(d) * np.asarray(x))  # noqa: B023

        assert gradcheck(f, f_backward, Bare(X)).verdict == verdict


def test_a_value_may_be_an_array_of_another_library():
    value = gradcheck(lambda x: Foreign(np.sum(x**2)), lambda x: 2 * x, X, kind="gradient")
    assert value.ok and value.method == "complex"
    with pytest.raises(TypeError, match=r"f: with kind='gradient' expected one number, got shape \(2, 3\)"):
        gradcheck(lambda x: Foreign(x), lambda x: 2 * x, X, kind="gradient")


def test_what_another_librarys_array_knows_besides_its_numbers_is_kept_in_every_dtype():
    for leaf in (with_unit(X), Labelled(X, "ab", name="x"), Frame(X, "ab", columns="xyz")):
        for dtype in (np.float32, np.float64, np.complex128):
            given = as_given(X.astype(dtype), leaf)
            assert type(given) is type(leaf) and as_numpy(given).dtype == dtype
            assert labels(given) == labels(leaf) and any(labels(leaf))


class Labels(list):
    """Like pandas.Index."""

    @property
    def is_unique(self):
        return len({*self}) == len(self)

    def isin(self, other):
        return np.isin(self, other)


class Aligned(Labelled):
    ndim = 1

    def like(self, values):
        return Aligned(values, self.index, name="s")

    def reindex_like(self, other):
        return Aligned([self._values[self.index.index(label)] for label in other.index], other.index, name="s")


@pytest.mark.parametrize("labels, factors, ok", [
    ("abc", (2, 2, 2), True), ("cab", (2, 2, 2), True), ("cab", (2, 2, 2.01), False),
    # If the labels are not the same, the order counts.
    ("abd", (2, 2, 2), True), ("bad", (2, 2, 2), False), ("aac", (2, 2, 2), True),
])
def test_labels_in_another_order_are_put_into_that_of_the_input(labels, factors, ok):
    x = Aligned([1.0, 2.0, 3.0], Labels("abc"), name="s")

    def f_backward(d, x):
        gradient = np.asarray(d) * np.asarray(x) * factors
        places = {"a": 0, "b": 1, "c": 2, "d": 2}
        ordered = gradient if labels == "aac" else gradient[[places[label] for label in labels]]
        return Aligned(ordered, Labels(labels), name="s")

    assert gradcheck(lambda x: x * x, f_backward, x).ok is ok


def test_pandas_series_keep_their_labels_and_alignment():
    pandas = pytest.importorskip("pandas")
    series = pandas.Series([1.0, 2.0, 3.0], index=["a", "b", "c"], name="s")

    def f(s):
        return s["a"] * s["c"] ** 2 + 3 * s["b"]

    def gradient(s, labels="abc"):
        assert s.name == "s"
        return pandas.Series({"a": s["c"] ** 2, "b": 3.0, "c": 2 * s["a"] * s["c"]})[list(labels)]

    for labels in ("abc", "cab"):
        assert gradcheck(f, lambda s: gradient(s, labels), series, kind="gradient").ok  # noqa: B023
        assert gradcheck(f, lambda s: 1.01 * gradient(s, labels), series, kind="gradient").verdict == "FAIL"  # noqa: B023
    # Without labels, or with others, the order counts.
    assert gradcheck(f, lambda s: gradient(s).to_numpy(), series, kind="gradient").ok
    assert gradcheck(f, lambda s: gradient(s).reset_index(drop=True), series, kind="gradient").ok
    assert gradcheck(f, lambda s: gradient(s, "cab").to_numpy(), series, kind="gradient").verdict == "FAIL"
    frame = pandas.DataFrame(X, list("ab"), list("xyz"))
    assert gradcheck(lambda F: F**2, lambda d, F: (2 * d * F).loc[["b", "a"], ["z", "x", "y"]], frame).ok
    inputs = (pandas.DataFrame(X), np.ones(3))
    assert gradcheck(lambda X, w: X @ w, lambda d, X, w: (None, X.T @ d), inputs, wrt="w").ok


def test_an_array_that_cannot_be_used_is_refused_in_one_line_that_says_what_to_do():
    class Closed(Foreign):
        def __init__(self, values, more):
            super().__init__(values)

    def square(x):
        return np.sum(np.asarray(x) ** 2)

    for x, message in (
        (Closed(X, 0), r"x: expected an array, got Closed, which cannot be made from an array; pass np.asarray\(x\)"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), r"x: expected an array without masked entries, got 1 masked; pass"),
        ({"a": np.ma.array([1.0, 2.0], mask=True)}, r"x\['a'\]: expected an array without masked entries, got 2"),
        (Foreign(["a"]), "inputs: expected at least one array of floating dtype, got <U1"),
    ):
        with pytest.raises(TypeError, match=message) as raised:
            gradcheck(square, lambda x: 2 * x, (x,), kind="gradient")
        assert "\n" not in str(raised.value)


def test_a_tensor_in_a_dtype_that_numpy_lacks_is_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="expected at least one array of floating dtype, got torch.bfloat16"):
        gradcheck(lambda x: x * x, lambda d, x: 2 * d * x, torch.ones(3, dtype=torch.bfloat16))


class Mixed(Frame):
    dtypes = ["int64", "float64"]


def test_a_table_with_columns_of_several_dtypes_is_a_constant():
    """Some of them are integers that f counts on."""
    table = Mixed(X, "ab", columns="xyz")

    def f(w, table):
        assert type(table) is Mixed
        return w**2 * np.asarray(table).sum()

    def f_backward(d, w, table):
        return 2 * d * w * np.asarray(table).sum()

    w = np.array([0.5, 2.0])
    assert gradcheck(f, f_backward, (w, table)).ok
    ignored = gradcheck(f, lambda *a: (f_backward(*a), np.ones((2, 3))), (w, table))
    assert ignored.ok and ignored.notes == (
        "the gradient of table is not checked, since the input is a Mixed with columns of float64, int64",)
    with pytest.raises(TypeError, match="of floating dtype, got a Mixed with columns of float64, int64"):
        gradcheck(lambda t: np.asarray(t).sum(), lambda t: t, table, kind="gradient")
    frame = pytest.importorskip("pandas").DataFrame({"a": [1.0, 2.0], "n": [1, 2]})
    assert gradcheck(lambda w, df: w * df["a"].iloc[df["n"].iloc[0]], lambda d, w, df: d * df["a"].iloc[1],
                     (np.ones(2), frame)).ok


def test_a_gradient_of_integers_is_not_checked_and_the_report_says_so():
    inputs = (X, np.array([1, 2, 3]))
    report = gradcheck(lambda x, n: x**n, lambda d, x, n: (d * n * x ** (n - 1.0), np.ones(3)), inputs)
    assert report.ok and report.notes == ("the gradient of n is not checked, since the input is int64",)
    zero = gradcheck(lambda x, n: x**n, lambda d, x, n: (d * n * x ** (n - 1.0), np.zeros(3)), inputs)
    assert zero.ok and zero.notes == ()


def test_masked_outputs_and_gradients_are_refused():
    x = np.array([1.0, 4.0])
    mask = np.array([False, True])
    with pytest.raises(TypeError, match="f: out: expected an array without masked entries, got 1 masked"):
        gradcheck(lambda x: np.ma.array(x, mask=mask), lambda d, x: d, x)
    report = gradcheck(lambda x: x**2, lambda d, x: np.ma.array(2 * d * x, mask=mask), x)
    assert "f_backward: gradient: expected an array without masked entries, got 1 masked" in report.problems[0]
    edge = gradcheck(lambda x: np.ma.sqrt(x), lambda d, x: d / (2 * np.sqrt(x)), x)  # masks nothing here
    assert edge.ok


def test_constants_of_other_libraries_go_to_f_in_their_own_type():
    class Opaque(Foreign):
        def __init__(self, values, more):
            super().__init__(values)

    constants = (Labelled([1, 2, 0], "abc", name="n"), Opaque([True, False], 1), Labelled(["u", "v"], "ab"))

    def f(x, n, flags, words):
        assert (type(n), type(flags), type(words)) == (Labelled, Opaque, Labelled) and n.index == "abc"
        return x * np.asarray(n)

    assert gradcheck(f, lambda d, x, *constants: d * np.asarray(constants[0]), (X, *constants)).ok


def test_integers_are_named_by_their_dtype():
    for f, got in (
        (lambda x: (x > 0).astype(int), "int64"),
        (lambda x: [1, None], "NoneType, int"),
        (lambda x: Foreign([1, 2]), "int64"),
        (lambda x: x > 0, "bool"),
    ):
        with pytest.raises(TypeError, match=f"f: expected at least one output of floating dtype, got {got}$"):
            gradcheck(f, lambda d, x: 0 * d, np.ones(3))
    for x, got in ((np.ones(3, int), "int64"), (Foreign([1, 2]), "int64"), (3, "int"), ({"n": None}, "NoneType")):
        with pytest.raises(TypeError, match=f"inputs: expected at least one array of floating dtype, got {got}$"):
            gradcheck(lambda x: 1.0, lambda d, x: d, (x,))


def test_a_library_without_float64_is_checked_in_what_it_has():
    """JAX makes float32 of float64, unless it is told otherwise."""

    class Single(Namespaced):
        def __init__(self, values, key=None):
            super().__init__(np.asarray(values, np.float32), key)

    x = Single(X, "private")
    assert gradcheck(lambda x: x * x, lambda d, x: 2 * (d * x), x).ok
    assert gradcheck(lambda x: x * x, lambda d, x: 2.1 * (d * x), x).verdict == "FAIL"


def test_real_jax_in_single_precision():
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.asarray(X, dtype=jnp.float32)
    assert gradcheck(lambda x: jnp.sin(x), lambda d, x: d * jnp.cos(x), x).ok
    assert gradcheck(lambda x: jnp.sin(x), lambda d, x: 1.01 * d * jnp.cos(x), x).verdict == "FAIL"


# --- lists


def product(x):
    return x[0] ** 2 * x[1] + 3 * x[2]


def of_product(x):
    return [2 * x[0] * x[1], x[0] ** 2, 3]


LISTS = {
    "list": of_product,
    "tuple": lambda x: tuple(of_product(x)),
    "numbers of Python": lambda x: np.real(of_product(x)).tolist()[:2] + [3],
    "arrays of one number": lambda x: [np.array(g) for g in of_product(x)],
}


@pytest.mark.parametrize("name", LISTS)
def test_a_gradient_may_be_a_list_of_numbers(name):
    x, gradient = np.array([0.5, -1.5, 2.0]), LISTS[name]
    right = gradcheck(product, gradient, x, kind="gradient")
    assert right.ok and right.method == "complex"
    assert gradcheck(lambda x: (product(x), gradient(x)), True, x, kind="gradient").ok
    wrong = gradcheck(product, lambda x: [g * 1.01 for g in gradient(x)], x, kind="gradient")
    assert wrong.verdict == "FAIL" and not wrong.problems
    short = gradcheck(product, lambda x: gradient(x)[:2], x, kind="gradient")
    assert "gradient of x has shape (2,), expected (3,)" in str(short)
    assert gradcheck(lambda x: x**2 * [1, 2, 3], lambda d, x: list(2 * d * x * [1, 2, 3]), x).ok


def test_a_list_of_numbers_of_python_has_the_precision_of_its_input():
    x = np.array([0.5, -1.5, 2.0], np.float32)
    assert gradcheck(product, LISTS["numbers of Python"], x, kind="gradient").ok
    assert gradcheck(lambda x: x**2, lambda d, x: (2 * d * x).tolist(), x).ok
    assert gradcheck(lambda x: 3 * x, lambda x: 3, np.float32(1.5), kind="gradient").ok
    assert gradcheck(lambda x: 3 * x, lambda d, x: float(3 * d), np.float32(1.5)).ok
    assert gradcheck(lambda x: 3 * x, lambda x: 3, 1.5, kind="gradient").ok
    assert gradcheck(lambda x: 3 * x, lambda x: 4, 1.5, kind="gradient").verdict == "FAIL"
    of_integers = gradcheck(lambda x: 3.0 * x.sum(), lambda x: np.full(3, 3), x, kind="gradient")
    assert "dtype int64, expected float32" in str(of_integers)


def test_as_many_numbers_as_there_are_inputs_are_still_one_gradient():
    """[a, b] may be the gradient of x, which has two entries, or one gradient for x and one for n."""
    x = np.array([0.5, -1.5])
    for n in (3, 3.0):
        report = gradcheck(lambda x, n: np.sum(x**2) * n, lambda x, n: [2 * n * x[0], 2 * n * x[1]], (x, n),
                           kind="gradient", wrt="x")
        assert report.ok, report
    assert gradcheck(lambda x: x[0] ** 2, lambda x: (2 * x[0],), np.array([1.5]), kind="gradient").ok
    assert gradcheck(lambda x: x[0] ** 2, lambda x: [2 * x[0]], np.array([1.5]), kind="gradient").ok
    both = gradcheck(lambda x, y: np.sum(x**2) * y[0], lambda x, y: [list(2 * x * y[0]), [np.sum(x**2)]],
                     (x, np.array([2.0])), kind="gradient")
    assert both.ok, both


def test_a_sparse_gradient_and_a_matrix_stand_for_a_vector():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    x = np.array([0.5, -1.5, 0.0])
    for make in (scipy_sparse.csr_array, scipy_sparse.csc_matrix, lambda g: scipy_sparse.csr_matrix(g).T, np.matrix):
        for factor in (1.0, 1.01):
            def gradient(x):
                return make(factor * 2 * x)  # noqa: B023

            assert gradcheck(lambda x: x @ x, gradient, x, kind="gradient").ok is (factor == 1.0)
        assert gradcheck(lambda x: (x**2).sum(), lambda d, x: make(2 * d * x.ravel()), x).ok  # noqa: B023
    assert gradcheck(lambda W: (W**2).sum(), lambda W: scipy_sparse.csr_array(2 * W), X, kind="gradient").ok
    transposed = gradcheck(lambda W: (W**2).sum(), lambda W: scipy_sparse.csr_array(2 * W.T), X, kind="gradient")
    assert "gradient of W has shape (3, 2), expected (2, 3)" in str(transposed)


@pytest.mark.parametrize("gradient, sentence", [
    ("2x", "is a str, expected an array of float64"),
    ((g for g in [1.0, 2.0]), "is a generator, expected an array of float64"),
    (np.array([1.0, 2.0], object), "has dtype object, expected an array of float64"),
    ({0: 1.0, 1: 2.0}, "is a dict, expected one array"),
])
def test_what_is_no_gradient_is_named(gradient, sentence):
    report = gradcheck(lambda x: x @ x, lambda x: gradient, np.ones(2), kind="gradient")
    assert report.verdict == "FAIL" and f"gradient of x {sentence}" in str(report)


def test_lists_of_lists_and_lists_for_arrays():
    assert gradcheck(lambda W: np.sum(W**3), lambda W: (3 * W**2).tolist(), X, kind="gradient").ok
    rows = gradcheck(lambda W: np.sum(W**3), lambda W: [3 * row**2 for row in W], X, kind="gradient")
    assert rows.ok, rows
    for bad in ([[1.0, 2.0], [3.0]], ["a"], [None, 1.0], [{}, 2.0]):
        report = gradcheck(lambda W: np.sum(W**3), lambda W: bad, X, kind="gradient")  # noqa: B023
        assert "gradient of W is a list, expected one array" in str(report)
    # The other way round: the input is a list of numbers, and the gradient an array.
    x = [0.5, -1.5, 2.0]
    assert gradcheck(lambda x: product(x), lambda x: np.array(of_product(x)), (x,), kind="gradient").ok
    nested = gradcheck(lambda x: x[0][0] * x[1][0], lambda x: np.array([[x[1][0]], [x[0][0]]]), ([[2.0], [3.0]],),
                       kind="gradient")
    assert nested.ok, nested


def test_outputs_may_be_lists():
    def f(x):
        return [x[0] * x[1], x[1] ** 2]

    def jacobian(x):
        return [[x[1], x[0]], [0, 2 * x[1]]]

    x = np.array([0.5, -1.5])
    assert gradcheck(f, jacobian, x, kind="jacobian").ok
    assert gradcheck(f, lambda x: tuple(map(tuple, jacobian(x))), x, kind="jacobian").ok
    assert gradcheck(f, lambda x: (jacobian(x),), x, kind="jacobian").ok
    assert gradcheck(f, lambda x: np.transpose(jacobian(x)).tolist(), x, kind="jacobian").verdict == "FAIL"
    assert gradcheck(lambda x: [2 * x[0] * x[1], x[0] ** 2], lambda x, v: np.array([[2 * x[1], 2 * x[0]],
                     [2 * x[0], 0]]) @ v, x, kind="hvp").ok
    assert gradcheck(f, lambda d, x: [d[0] * x[1], d[0] * x[0] + 2 * d[1] * x[1]], x, cache=False).ok


# --- memory order


def test_inputs_and_cotangents_keep_their_memory_order():
    orders = {
        "Fortran": np.asfortranarray(X),
        "permuted": np.arange(1.0, 25.0).reshape(2, 3, 4).transpose(2, 0, 1),
        "complex, Fortran": np.asfortranarray(X + 1j * X[::-1]),
    }

    def layout(array):
        """The axes in the order of their strides."""
        return np.argsort([-stride for stride in array.strides]).tolist()

    for name, array in orders.items():
        def f(x):
            assert layout(x) == layout(array), name  # noqa: B023
            return x * x

        def f_backward(d, x):
            assert layout(d) == layout(x) == layout(array), name  # noqa: B023
            return 2 * np.conj(x) * d

        for thorough in (True, False):
            report = gradcheck(f, f_backward, array, thorough=thorough)
            assert report.ok, report


# --- complex numbers: g = dS / d Re z + i dS / d Im z

Z = np.array([[1.0 + 2.0j, 0.3 - 1.0j, -0.5 + 0.2j]])
COMPLEX = {
    "power": (lambda z: z**3, lambda d, z: d * np.conj(3 * z**2)),
    "conjugate": (lambda z: np.conj(z), lambda d, z: np.conj(d)),
    "modulus": (lambda z: np.abs(z) ** 2, lambda d, z: 2 * d * z),
    "real part": (lambda z: z.real, lambda d, z: d + 0j),
    "imaginary part": (lambda z: z.imag, lambda d, z: 1j * d),
    "matrix product": (lambda z: z @ np.array([[1j], [2.0], [1 - 1j]]),
                       lambda d, z: d @ np.conj(np.array([[1j], [2.0], [1 - 1j]])).T),
    "exponential beside a real output": (lambda z: {"e": np.exp(z), "r": z.real**2},
                                         lambda d, z: d["e"] * np.conj(np.exp(z)) + 2 * d["r"] * z.real),
}


@pytest.mark.parametrize("name", COMPLEX)
@pytest.mark.parametrize("dtype", [np.complex128, np.complex64])
def test_a_complex_gradient_is_checked_in_its_real_and_imaginary_part(name, dtype):
    f, f_backward = COMPLEX[name]

    def cast(d, z):
        return np.asarray(f_backward(d, z)).astype(z.dtype)

    right = gradcheck(f, cast, Z.astype(dtype))
    assert right.ok, right
    assert [entry.path for entry in right.entries] == ["z.real", "z.imag"]
    for wrong in (lambda d, z: cast(d, z) * z.dtype.type(1j), lambda d, z: cast(d, z) * z.dtype.type(0.99)):
        report = gradcheck(f, wrong, Z.astype(dtype))
        assert report.verdict == "FAIL" and report.worst.path.startswith("z."), report


def test_a_complex_gradient_without_its_conjugate_is_seen():
    report = gradcheck(lambda z: z**3, lambda d, z: d * 3 * z**2, Z)
    assert report.verdict == "FAIL" and {entry.wrong for entry in report.entries} == {3}
    conjugate = gradcheck(lambda z: np.abs(z) ** 2, lambda d, z: 2 * d * np.conj(z), Z)
    assert [guess.text for guess in conjugate.guesses] == ["the sign of the gradient of z.imag is flipped"]


def test_a_complex_step_is_for_real_inputs_and_outputs():
    x = np.array([0.3, 0.7, -0.2])

    def fft_backward(d, x):
        return (np.fft.ifft(d) * len(x)).real

    to_complex = gradcheck(np.fft.fft, fft_backward, x, method="complex")
    assert to_complex.ok and to_complex.method == "central" and "needs real outputs" in str(to_complex)
    assert gradcheck(np.fft.fft, lambda d, x: 1.001 * fft_backward(d, x), x).verdict == "FAIL"
    from_complex = gradcheck(lambda z: z * np.conj(z), lambda d, z: 2 * d.real * z, Z, method="complex")
    assert from_complex.ok and from_complex.method == "central" and "needs real inputs" in str(from_complex)


def test_complex_numbers_alone_and_in_trees():
    for z in (1.5 - 0.5j, np.complex128(1.5 - 0.5j), np.complex64(1.5 - 0.5j)):
        report = gradcheck(lambda z: abs(z) ** 2, lambda z: 2 * z, z, kind="gradient")
        assert report.ok and [entry.name for entry in report.entries] == ["z.real", "z.imag"]
    tree = {"z": Z, "x": np.ones(3)}
    report = gradcheck(lambda t: t["z"] * t["x"],
                       lambda d, t: {"z": d * t["x"], "x": (d * np.conj(t["z"])).real.sum(axis=0)}, (tree,))
    assert report.ok and [entry.path for entry in report.entries] == ["t['z'].real", "t['z'].imag", "t['x']"]


def test_a_gradient_is_complex_where_its_input_is():
    real = gradcheck(lambda z: np.abs(z) ** 2, lambda d, z: (2 * d * z).real, Z)
    assert "gradient of z has dtype float64, expected complex128" in str(real)
    imaginary = gradcheck(lambda x: np.abs(x * 1j) ** 2, lambda d, x: 2 * d * x + 0j, X)
    assert "gradient of x has dtype complex128, expected float64" in str(imaginary)
    none = gradcheck(lambda z: np.abs(z) ** 2, lambda d, z: None, Z)
    assert "gradient of z.real is missing" in str(none)
    with pytest.raises(TypeError, match="f: with kind='gradient' expected one real number, got complex128"):
        gradcheck(lambda z: np.sum(z**2), lambda z: 2 * z, Z, kind="gradient")


def test_a_jacobian_is_one_of_real_numbers():
    wanted = "with kind='jacobian' expected one array of real numbers, got"
    with pytest.raises(TypeError, match=f"z: {wanted} complex128; view complex numbers as pairs of real ones"):
        gradcheck(lambda z: z**2, lambda z: np.diag(2 * z[0]), Z, kind="jacobian")
    for kind in ("jacobian", None):
        with pytest.raises(TypeError, match=f"f: {wanted} complex128; view"):
            gradcheck(lambda x: x**2 + 1j * x, lambda x: np.diag(2 * x + 1j), X[0], kind=kind)
    with pytest.raises(TypeError, match=f"f: {wanted} dict"):
        gradcheck(lambda x: {"a": x, "b": 2 * x}, lambda x: np.eye(3), X[0], kind="jacobian")


# --- what f_backward is, where that is not said

OTHER_READINGS = {
    "a gradient of any number of arguments": (
        lambda *a: np.sum(a[0] ** 2), lambda *a: 2 * a[0], "did you mean kind='gradient'?"),
    "a Jacobian of any number of arguments": (
        lambda *a: a[0] ** 2, lambda *a: np.diag(2 * a[0]), "did you mean kind='jacobian'?"),
    "d_out comes last": (lambda x: x**3, lambda x, d: 3 * x**2 * d, "expected d_out first"),
    "the product with a Hessian": (lambda x: x**3, lambda x, v: 3 * x**2 * v, "pass kind='hvp'"),
}


@pytest.mark.parametrize("name", OTHER_READINGS)
def test_what_f_backward_may_be_instead(name):
    f, backward, hint = OTHER_READINGS[name]
    x = np.array([1.0, 2.0, 3.5])
    report = gradcheck(f, backward, x)
    assert report.verdict == "FAIL" and hint in str(report), report
    # A wrong one is not called right. What may be meant is said for what takes any number of arguments.
    wrong = gradcheck(f, lambda *a: 1.5 * backward(*a), x)
    assert wrong.verdict == "FAIL" and hint not in str(wrong), wrong
    assert ("any number of arguments" in name) <= ("pass kind='gradient' or 'jacobian'" in str(wrong))
    few = gradcheck(f, backward, x, max_evaluations=20)
    assert few.verdict == "FAIL" and few.evaluations <= 20, few  # it is no less wrong where no call is left


def test_two_inputs_in_the_wrong_order():
    x, y = np.array([1.0, 2.0]), np.array([0.3, -0.5])
    report = gradcheck(lambda x, y: np.sin(x) * y, lambda x, y, d: (np.cos(x) * y * d, np.sin(x) * d), (x, y))
    assert report.verdict == "FAIL" and "as a function of (x, y, d_out), f_backward is right" in str(report)
    W = np.array([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]])
    with pytest.raises(ValueError) as raised:  # that of NumPy, with what may be meant
        gradcheck(lambda x: W @ x**2, lambda x, d: 2 * x * (W.T @ d), np.ones(3))
    assert "expected d_out first" in raised.value.__notes__[0]


def test_a_value_and_its_gradient_beside_another_gradient():
    x = np.array([1.0, 2.0, 3.5])
    for kind in (None, "gradient"):
        with pytest.raises(TypeError, match=r"expected one number, got a tuple; if that is \(value, gradient\), pass"):
            gradcheck(lambda x: (np.sum(x**2), 2 * x), lambda x: 2 * x, x, kind=kind)


def test_a_function_that_becomes_complex_is_not_defined_there():
    x = np.array([0.1, 2.0])
    right = gradcheck(np.emath.sqrt, lambda d, x: d / (2 * np.sqrt(x)), x)
    assert right.ok, right
    assert gradcheck(np.emath.sqrt, lambda d, x: d / (2.02 * np.sqrt(x)), x).verdict == "FAIL"


def test_the_derivative_along_a_direction_of_a_complex_input():
    assert gradcheck(lambda z: z**2, lambda d, z: 2 * np.conj(z) * d, Z, jvp=lambda d, z: 2 * z * d[0]).ok
    assert gradcheck(lambda z: z**2, None, Z, jvp=lambda d, z: 2 * np.conj(z) * d[0]).verdict == "FAIL"


# --- objects that hold arrays


class Params(NamedTuple):
    W: np.ndarray
    b: np.ndarray


@dataclasses.dataclass
class Record:
    W: np.ndarray
    b: np.ndarray
    name: str = "layer"
    made = 0

    def __post_init__(self):
        type(self).made += 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    W: np.ndarray
    b: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Slots:
    W: np.ndarray
    b: np.ndarray


class Plain:
    made = 0

    def __init__(self, W, b):
        self.W, self.b, self.name = W, b, "layer"
        Plain.made += 1

    def __setattr__(self, name, value):
        assert name in ("W", "b", "name")
        super().__setattr__(name, value)


class Nested:
    """W is an array in a list in an object in an attribute, b a property."""

    def __init__(self, W, b):
        self.inner = SimpleNamespace(arrays=[W, {"b": b}])

    W = property(lambda self: self.inner.arrays[0])
    b = property(lambda self: self.inner.arrays[1]["b"])


class PlainSlots:
    __slots__ = ("W", "unset", "b")

    def __init__(self, W, b):
        self.W, self.b = W, b


class OneSlot:
    __slots__ = "W"


class More(OneSlot):
    """One slot above, and an attribute of its own."""

    def __init__(self, W, b):
        self.W, self.b = W, b


W, B = np.random.default_rng(0).normal(size=(3, 2)), np.array([0.5, -1.0])
OBJECTS = {
    Record: [".W", ".b"], Frozen: [".W", ".b"], Slots: [".W", ".b"], Plain: [".W", ".b"], Params: [".W", ".b"],
    PlainSlots: [".W", ".b"], More: [".W", ".b"], Nested: [".inner.arrays[0]", ".inner.arrays[1]['b']"],
}


def affine(x, params):
    return np.tanh(x @ params.W + params.b)


def affine_gradients(d, x, params):
    d = d * (1 - affine(x, params) ** 2)
    return d @ params.W.T, x.T @ d, d.sum(axis=0)


@pytest.mark.parametrize("kind", OBJECTS, ids=lambda kind: kind.__name__)
def test_an_object_is_a_tree_of_its_arrays(kind):
    params = kind(W, B)

    def backward(factor):
        def backward(d, x, params):
            assert type(params) is kind and params.W is not W
            d_x, d_W, d_b = affine_gradients(d, x, params)
            return d_x, kind(factor * d_W, d_b)
        return backward

    report = gradcheck(affine, backward(1.0), (X, params))
    assert report.ok and not report.notes, report
    assert [entry.path for entry in report.entries] == ["x", *(f"params{path}" for path in OBJECTS[kind])]
    wrong = gradcheck(affine, backward(1.01), (X, params))
    assert wrong.verdict == "FAIL" and wrong.worst.name.startswith(f"params{OBJECTS[kind][0]}[")
    assert params.W is W and params.b is B


@pytest.mark.parametrize("kind", [Record, Plain])
def test_objects_are_copied_without_their_init(kind):
    params, before = kind(W, B), kind.made
    assert gradcheck(affine, lambda d, x, p: affine_gradients(d, x, p)[:1] + (None,), (X, params)).ok
    assert gradcheck(affine, lambda d, x, p: dict(zip("Wb", affine_gradients(d, x, p)[1:])), (X, params),
                     wrt="params").ok
    assert kind.made == before


def test_the_gradient_of_an_object_may_be_a_dict_or_another_object():
    for kind in (dict, SimpleNamespace):
        def backward(d, x, params):
            d_x, d_W, d_b = affine_gradients(d, x, params)
            return d_x, kind(W=d_W, b=d_b)  # noqa: B023

        assert gradcheck(affine, backward, (X, Record(W, B))).ok
    extra = gradcheck(affine, lambda *a: (affine_gradients(*a)[0], {"W": W, "b": B, "c": B}), (X, Record(W, B)))
    assert "gradient of params does not have the items of its input, which are .W, .b, .name" in str(extra)
    none = gradcheck(affine, lambda *a: (affine_gradients(*a)[0], {"W": affine_gradients(*a)[1]}), (X, Record(W, B)))
    assert "gradient of params does not have the items of its input" in str(none)
    array = gradcheck(affine, lambda *a: (affine_gradients(*a)[0], B), (X, Record(W, B)))
    assert "gradient of params is a ndarray, expected a Record as its input is" in str(array)


def test_an_object_for_which_there_is_no_gradient_is_a_constant_and_the_report_says_so():
    """It may be anything that f needs; what it holds is not what is to be checked."""
    note = "params is taken as a constant, since f_backward returns no gradient for it"
    bare = gradcheck(affine, lambda *a: affine_gradients(*a)[0], (X, Plain(W, B)))
    none = gradcheck(affine, lambda *a: (affine_gradients(*a)[0], None), (X, Plain(W, B)))
    for report in (bare, none):
        assert report.ok and note in report.notes and [entry.path for entry in report.entries] == ["x"]
    single = gradcheck(affine, lambda d, x, p: affine_gradients(d, x, p)[0].astype(x.dtype),
                       (X.astype(np.float32), Plain(W, B)))
    assert single.ok and note in single.notes
    named = gradcheck(affine, lambda *a: (affine_gradients(*a)[0], None), (X, Plain(W, B)), wrt=["x", "params"])
    assert "gradient of params.W is missing" in str(named)
    alone = gradcheck(lambda params: np.sum(params.W**2), lambda params: None, Plain(W, B), kind="gradient")
    assert "gradient of params.W is missing" in str(alone)
    jacobian = gradcheck(lambda x, c: c.W.T @ x, lambda x, c: c.W.T, (np.ones(3), Plain(W, B)), kind="jacobian")
    assert jacobian.ok
    with pytest.raises(TypeError, match="c: with kind='jacobian' expected one array of real numbers, got Plain"):
        gradcheck(lambda c: c.W @ c.b, lambda c: W, Plain(W, B), kind="jacobian")


def test_outputs_may_be_objects():
    def f(x):
        return Record(np.sin(x), x**2)

    def backward(d, x):
        assert type(d) is Record
        return d.W * np.cos(x) + 2 * d.b * x

    report = gradcheck(f, backward, X)
    assert report.ok and report.method == "complex"
    assert "comes through out.b is missing" in str(gradcheck(f, lambda d, x: d.W * np.cos(x), X))


def test_a_dataclass_may_hold_numbers():
    @dataclasses.dataclass
    class Normal:
        mean: float
        deviation: float
        count: int = 3

    def f(normal):
        return normal.mean**2 * normal.deviation * normal.count

    def gradient(normal):
        return {"mean": 2 * f(normal) / normal.mean, "deviation": f(normal) / normal.deviation}

    right = gradcheck(f, gradient, Normal(1.5, 0.3), kind="gradient")
    assert right.ok and [entry.name for entry in right.entries] == ["normal.mean", "normal.deviation"]
    wrong = gradcheck(f, lambda normal: {**gradient(normal), "mean": 1.0}, Normal(1.5, 0.3), kind="gradient")
    assert wrong.verdict == "FAIL" and wrong.worst.name == "normal.mean"


def test_what_is_no_tree_stays_one_piece():
    """Functions, classes, other callables, objects without arrays, and objects that refer to themselves."""
    loop = Plain(W, B)
    object.__setattr__(loop, "name", [loop])
    with_array = SimpleNamespace(__call__=0)

    class Callable:
        def __init__(self):
            self.W = W

        def __call__(self):
            return 0.0

    sparse = pytest.importorskip("scipy.sparse")
    for item in (np.sin, Plain, np, Callable(), SimpleNamespace(rate=0.1), loop, sparse.eye_array(3),
                 np.random.default_rng(0), object(), Exception("x"), "text", b"bytes", range(3)):
        assert trees.children(item) is None and trees.rebuild(item, iter([item])) is item
        report = gradcheck(lambda x, c: x**2, lambda d, x, c: 2 * d * x, (X, item))
        assert report.ok and not report.notes, item
    assert trees.children(with_array) is None


def test_dicts_keep_their_type():
    class Result(dict):
        __getattr__ = dict.__getitem__

    for tree in (OrderedDict(a=X, n=2), defaultdict(list, a=X, n=2), Result(a=X, n=2)):
        def f(t):
            assert type(t) is type(tree)  # noqa: B023
            return t["a"] ** t["n"]

        assert gradcheck(f, lambda d, t: {"a": 2 * d * t["a"]}, (tree,)).ok
        assert tree["a"] is X


# --- buffers that are added to


class Accumulating:
    """A layer that adds to its buffer, and returns the buffer itself or a copy of it."""

    def __init__(self, copies, start=0.0, dtype=float):
        self.copies, self.d_W = copies, np.full((3, 2), start, dtype)

    def backward(self, d, x, W):
        self.d_W += x.T @ d
        return d @ W.T, self.d_W.copy() if self.copies else self.d_W


@pytest.mark.parametrize("copies", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_backward_that_adds_to_a_buffer_is_named(copies, dtype):
    inputs = (X.astype(dtype), W.astype(dtype))
    fresh = gradcheck(np.matmul, Accumulating(copies, dtype=dtype).backward, inputs)
    assert fresh.problems == ("f_backward: the second call returned twice what the first returned: it adds to a buffer "
                              "(accumulates), which has to be set to zero before each call",)
    used = gradcheck(np.matmul, Accumulating(copies, 1.0, dtype).backward, inputs)
    assert used.problems == ("f_backward: what one call returns is added to what the next one returns: it adds to a "
                             "buffer (accumulates), which has to be set to zero before each call",)


def test_a_gradient_that_is_added_to_a_buffer_is_named_as_well():
    buffer = np.zeros_like(X)

    def gradient(x):
        np.add(buffer, 2 * x, out=buffer)
        return buffer

    report = gradcheck(lambda x: np.sum(x**2), gradient, X, kind="gradient")
    assert "the second call returned twice what the first returned" in report.problems[0]


def test_other_backwards_that_change_are_not_said_to_accumulate():
    calls = []

    def doubling(d, x):
        calls.append(1)
        return 2.0 ** len(calls) * d * x

    def alternating(d, x):
        calls.append(1)
        return (1 + len(calls) % 2) * d * x

    def used_up(d, x):
        calls.append(1)
        return 2 * d * x if len(calls) == 1 else 0 * d

    def broken(d, x):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("no third time")
        return len(calls) * d * x

    rng = np.random.default_rng(0)
    for backward in (doubling, alternating, used_up, broken, lambda d, x: 2 * d * x * rng.uniform(size=x.shape)):
        calls.clear()
        report = gradcheck(lambda x: x**2, backward, X)
        assert report.problems == (
            "f_backward is not deterministic: two calls with the same cotangent and cache differ",), report
