"""Jacobians that are no arrays: lists, sparse matrices with their pattern, linear operators."""

from types import SimpleNamespace

import numpy as np
import pytest

from l2l_ref.checking import gradcheck
from l2l_ref.checking.foreign import dense_jacobian, entry_not_stored, stored_entries, vector_times_jacobian

sparse = pytest.importorskip("scipy.sparse")
linalg = pytest.importorskip("scipy.sparse.linalg")
pytestmark = pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")

X = np.array([[0.3, -1.2, 0.7], [2.0, 0.5, -0.4]])
J = np.array([[1.0, 0.0, -2.0, 0.0], [0.0, 0.0, 3.0, 0.0], [0.0, -1.0, 0.0, 0.0]])
FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]


class Foreign:
    """An array of another library."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class Frame(Foreign):
    columns, dtypes = list("wxyz"), [np.dtype(float)]


def operator(matvec, rmatvec=None):
    return linalg.LinearOperator(J.shape, matvec=matvec, rmatvec=rmatvec, dtype=float)


def duck(**methods):
    return SimpleNamespace(shape=J.shape, **methods)


READABLE = {
    **{f"sparse {name}": (lambda name=name: sparse.csr_array(J).asformat(name)) for name in FORMATS},
    "sparse matrix": lambda: sparse.csr_matrix(J),
    "operator": lambda: operator(lambda u: J @ u, lambda v: J.T @ v),
    "operator without rmatvec": lambda: operator(lambda u: J @ u),
    "operator of a matrix": lambda: linalg.aslinearoperator(J),
    "another operator": lambda: duck(matvec=lambda u: J @ u, rmatvec=lambda v: J.T @ v),
    "another operator without rmatvec": lambda: duck(matvec=lambda u: J @ u),
    "lists": lambda: J.tolist(),
    "tuples": lambda: tuple(map(tuple, J.tolist())),
    "rows": lambda: list(J),
    "matrix": lambda: np.matrix(J),
    "foreign": lambda: Foreign(J),
    "frame": lambda: Frame(J),
    "masked, without masked entries": lambda: np.ma.array(J),
    "integers": lambda: J.astype(int),
}


@pytest.mark.parametrize("name", READABLE)
def test_a_jacobian_is_read_in_every_form(name):
    jacobian = READABLE[name]()
    dense, problems = dense_jacobian(jacobian, (3,), (4,))
    assert problems == [] and type(dense) is np.ndarray and np.array_equal(dense, J)
    v = np.array([0.5, -1.0, 2.0])
    product, problems = vector_times_jacobian(v, jacobian, (4,))
    assert problems == [] and type(product) is np.ndarray and np.allclose(product, v @ J)
    assert gradcheck(lambda x: J @ x, lambda x: READABLE[name](), np.arange(4.0), kind="jacobian").ok
    report = gradcheck(lambda x: J @ x + x[0] * np.eye(3)[2], lambda x: READABLE[name](), np.ones(4), kind="jacobian")
    assert report.verdict == "FAIL" and report.worst.name == "d out[2] / d x[0]"


def test_rows_and_columns_are_the_entries_of_outputs_and_inputs_in_c_order():
    """A sparse Jacobian of arrays with more axes, or of a scalar."""
    A = np.arange(24.0).reshape(2, 3, 4)
    for make in (sparse.csr_array, linalg.aslinearoperator, np.matrix):
        flat = make(A.reshape(6, 4))
        dense, problems = dense_jacobian(flat, (2, 3), (4,))
        assert problems == [] and np.array_equal(dense, A)
        assert np.allclose(vector_times_jacobian(X, flat, (4,))[0], np.tensordot(X, A, 2))
    dense, problems = dense_jacobian(sparse.csr_array(J[:1]), (), (2, 2))
    assert problems == [] and np.array_equal(dense, J[0].reshape(2, 2))
    assert dense_jacobian(2.5, (), ()) == (np.array(2.5), [])
    assert dense_jacobian(sparse.csr_array((0, 4)), (0,), (4,))[0].shape == (0, 4)


@pytest.mark.parametrize("jacobian, problem", [
    (J.T, r"has shape (4, 3), expected (3, 4): that of the output, then that of the input"),
    (J.ravel(), r"has shape (12,), expected (3, 4)"),
    (sparse.csr_array(J.T), r"has shape (4, 3), expected (3, 4)"),
    (linalg.aslinearoperator(J.T), r"has shape (4, 3), expected (3, 4)"),
    ([[1.0, 2.0], [3.0]], "is a list, expected an array, a sparse matrix or a LinearOperator"),
    ("J", "is a str, expected an array, a sparse matrix or a LinearOperator"),
    (np.ma.array(J, mask=J == 0), "has 8 masked entries"),
    (J + 0j, "has dtype complex128, expected real numbers"),
    (sparse.csr_array(J + 0j), "has dtype complex128, expected real numbers"),
    (operator(lambda u: J @ u, lambda v: -J.T @ v), "has an rmatvec that is not the adjoint of its matvec: <v, J u>"),
    (operator(lambda u: J @ u, lambda v: 1.0001 * J.T @ v), "has an rmatvec that is not the adjoint of its matvec"),
    (duck(matvec=lambda u: J @ u, rmatvec=lambda v: J @ J.T @ v), "has a matvec that returns 3 numbers and an rmatvec"),
])
def test_a_jacobian_that_cannot_be_used_is_described(jacobian, problem):
    for array, problems in (dense_jacobian(jacobian, (3,), (4,)), vector_times_jacobian(np.ones(3), jacobian, (4,))):
        assert array is None and len(problems) == 1 and problem in problems[0] and "\n" not in problems[0]
    report = gradcheck(lambda x: J @ x, lambda x: jacobian, np.ones(4), kind="jacobian")
    assert report.verdict == "FAIL" and f"the Jacobian of x {problem}" in report.problems[0]


def test_large_sparse_jacobians_and_operators_are_never_made_dense():
    n = 200_000
    x = np.linspace(-1.0, 1.0, n)
    diagonal = gradcheck(lambda x: x**2, lambda x: sparse.diags_array(2 * x), x, kind="jacobian")
    assert diagonal.ok
    by_operator = gradcheck(lambda x: x**2, lambda x: linalg.LinearOperator((n, n), matvec=lambda u: 2 * x * u,
                            rmatvec=lambda v: 2 * x * v), x, kind="jacobian")
    assert by_operator.ok
    without = gradcheck(lambda x: x**2, lambda x: linalg.LinearOperator((n, n), matvec=lambda u: 2 * x * u), x,
                        kind="jacobian")
    assert "the Jacobian of x has shape (200000, 200000), too large for an array: an operator needs" in str(without)
    assert dense_jacobian(sparse.eye_array(n), (n,), (n,))[0] is None


@pytest.mark.parametrize("name", FORMATS)
def test_the_stored_entries_of_a_sparse_matrix_include_its_zeros(name):
    rows, columns = np.array([0, 1, 2, 0]), np.array([0, 1, 2, 0])
    values = np.array([1.0, 0.0, np.nan, 1.0])  # a zero, a nan, and an entry that is there twice
    matrix = sparse.coo_array((values, (rows, columns)), (3, 3))
    if name in ("lil", "dok"):  # these drop zeros, or sum them
        matrix = sparse.csr_array(np.diag([1.0, 2.0, 3.0]))
    stored = stored_entries(matrix.asformat(name))
    if name == "bsr":
        assert stored[np.arange(3), np.arange(3)].all()
    else:
        assert np.array_equal(stored, np.eye(3, dtype=bool))
    assert stored_entries(J) is None and stored_entries(linalg.aslinearoperator(J)) is None


def test_a_derivative_that_the_sparsity_pattern_lacks_is_named():
    stored = J != 0
    assert entry_not_stored("x", stored, J, 1e-10) is None
    assert entry_not_stored("x", stored, 2 * J, 1e-10) is None  # the numbers are wrong, not the pattern
    numeric = J.copy()
    numeric[1, 3] = 0.25
    assert entry_not_stored("x", stored, numeric, 1e-10) == (
        "the sparsity pattern of the Jacobian of x lacks row 1, column 3, where the derivative is 0.25")
    assert entry_not_stored("x", stored, numeric, 0.3) is None  # which may be rounding
    numeric[2, 0], numeric[0, 1] = -4.0, np.nan
    assert entry_not_stored("x", stored, numeric, np.full(J.shape, 1e-10)) == (
        "the sparsity pattern of the Jacobian of x lacks row 2, column 0, where the derivative is -4, and 1 more that "
        "is not 0")
