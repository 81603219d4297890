"""CoordinatewiseLSTM as a user meets it: init and update, dicts of arrays, precision, backends, SciPy."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from l2l_ref import backends
from l2l_ref.learned import coordinatewise
from l2l_ref.learned.optimizer import CoordinatewiseLSTM

WORKING = [backend for backend in ("numpy", "numba") if backends.available(backend)]
SHAPES = st.dictionaries(
    st.sampled_from("WbVc"), st.lists(st.integers(0, 4), max_size=3).map(tuple), min_size=1, max_size=4
)


def small(**settings):
    return CoordinatewiseLSTM(hidden=(4, 3), preprocess=10.0, rng=1, **settings)


@given(SHAPES, st.sampled_from([np.float32, np.float64]), st.sampled_from(WORKING), st.integers(0, 99))
def test_a_dict_of_arrays_is_the_arrays_side_by_side(shapes, dtype, backend, seed):
    rng = np.random.default_rng(seed)
    opt = small(backend=backend)
    theta = {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
    flat = np.concatenate([theta[key].ravel() for key in sorted(theta)])
    state, flat_state = opt.init(theta), opt.init(flat)
    for _ in range(3):
        gradient = {key: rng.standard_normal(shape).astype(dtype) for key, shape in reversed(shapes.items())}
        update, state = opt.update(gradient, state)
        flat_update, flat_state = opt.update(
            np.concatenate([gradient[key].ravel() for key in sorted(gradient)]), flat_state
        )
        assert {key: (u.shape, u.dtype) for key, u in update.items()} == {k: (s, dtype) for k, s in shapes.items()}
        np.testing.assert_array_equal(np.concatenate([update[key].ravel() for key in sorted(update)]), flat_update)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_update_is_pure(backend):
    opt = small(backend=backend)
    theta = np.linspace(-1, 1, 50)
    state = opt.init(theta)
    _, state = opt.update(theta, state)
    again = [opt.update(theta, state) for _ in range(2)]
    np.testing.assert_array_equal(again[0][0], again[1][0])
    for a, b in zip(again[0][1].layers, again[1][1].layers):
        np.testing.assert_array_equal(a.h, b.h)
        np.testing.assert_array_equal(a.c, b.c)


def test_update_is_the_step_of_the_original():
    opt = small(backend="numpy", output_scale=0.3)
    gradient = np.linspace(-2, 2, 7)
    update, _ = opt.update(gradient, opt.init(gradient))
    (expected, _), _ = coordinatewise.step(gradient, coordinatewise.init_state(7, opt.params), opt.params, 10.0, 0.3)
    np.testing.assert_array_equal(update, expected)


def test_float32_and_float64_agree_to_float32():
    opt = small()
    gradient = np.linspace(-2, 2, 100)
    wide, _ = opt.update(gradient, opt.init(gradient))
    narrow, _ = opt.update(gradient.astype(np.float32), opt.init(gradient.astype(np.float32)))
    np.testing.assert_allclose(narrow, wide, atol=1e-5)


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        (np.ones(4), ValueError, r"gradient: expected shape \(3,\), as in theta, got \(4,\)"),
        ({"W": np.ones(3)}, ValueError, "gradient: expected one array, as theta is, got W"),
        (np.ones(3, int), TypeError, "gradient: expected a float32 or float64 array, got int64"),
        ({"a": [np.ones(3), np.ones(3, int)]}, TypeError, r"gradient\.a\.1: expected .* got int64"),
        ([np.ones(3), "b"], TypeError, r"gradient\.1: expected a float32 or float64 array, got <U1"),
        (np.ones(3, np.float16), TypeError, "float16"),
        (np.ones(3, complex), TypeError, "complex128"),
        ({}, TypeError, "nothing"),
        ({"a": np.ones(1, np.float32), "b": np.ones(1)}, TypeError, "all of one dtype"),
    ],
)
def test_a_bad_gradient_is_named(gradient, error, message):
    opt = small()
    with pytest.raises(error, match=message):
        opt.update(gradient, opt.init(np.ones(3)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("hidden", [(4,), (4, 3, 2), (4, 300), (2, 3)])
def test_a_state_of_another_optimizer_is_refused(backend, hidden):
    theirs = CoordinatewiseLSTM(hidden=hidden, preprocess=10.0)
    with pytest.raises(ValueError, match="state: expected the layers of this optimizer"):
        small(backend=backend).update(np.ones(3), theirs.init(np.ones(3)))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("theta", [np.linspace(-1, 1, 300), {"w": np.linspace(-1, 1, 300)}], ids=["array", "dict"])
def test_the_third_argument_is_optaxs(backend, theta):
    opt = small(backend=backend)
    _, state = opt.update(theta, opt.init(theta))
    before = [a.copy() for layer in state.layers for a in layer]
    first, _ = opt.update(theta, state, theta)
    second, _ = opt.update(theta, state, params=theta)
    for ours, theirs in zip(before, (a for layer in state.layers for a in layer)):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(first["w"] if isinstance(theta, dict) else first,
                                  second["w"] if isinstance(theta, dict) else second)
    with pytest.raises(TypeError, match="positional"):
        opt.update(theta, state, theta, True)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_other_weights_are_used_at_once(backend):
    opt, gradient = small(backend=backend), np.linspace(-1, 1, 5)
    before, _ = opt.update(gradient, opt.init(gradient))
    opt.params = coordinatewise.init_params(np.random.default_rng(7), (4, 3), 2)
    after, _ = opt.update(gradient, opt.init(gradient))
    fresh = CoordinatewiseLSTM((4, 3), 10.0, params=opt.params, backend=backend)
    np.testing.assert_array_equal(after, fresh.update(gradient, fresh.init(gradient))[0])
    assert (after != before).any()


def test_weights_of_other_shapes_are_refused():
    opt = small()
    with pytest.raises(ValueError, match=r"params\.W: expected shape \(3, 1\), as in this model, got \(1, 3\)"):
        opt.params = opt.params._replace(W=opt.params.W.T)
    with pytest.raises(ValueError, match="params: expected float32 or float64 arrays, got float16"):
        opt.params = opt.params._replace(b=opt.params.b.astype(np.float16))


def test_weights_are_a_copy_of_their_own():
    params = coordinatewise.init_params(np.random.default_rng(0), (3,), 1)
    opt = CoordinatewiseLSTM(hidden=(3,), params=params)
    params.W[:] = 77
    assert not (opt.params.W == 77).any()
    with pytest.raises(ValueError, match="read-only"):
        opt.params.W[:] = 77
    opt.params = params
    assert (opt.params.W == 77).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": (0,)}, "hidden"), ({"hidden": (2.5,)}, "hidden"), ({"preprocess": 0}, "preprocess"),
        ({"preprocess": np.nan}, "preprocess"), ({"output_scale": np.inf}, "output_scale"),
        ({"hidden": 20}, "hidden"), ({"hidden": (5000,)}, "hidden"), ({"hidden": (1,) * 65}, "hidden"),
        ({"threads": 0}, "threads"), ({"threads": 1.5}, "threads"), ({"output_scale": 0.0}, "output_scale"),
        ({"backend": "cuda"}, "backend"),
        ({"params": coordinatewise.init_params(np.random.default_rng(0), (3,), 1)},
         r"params: expected the arrays of this model, got them without layers\.1\.W_x, "),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        CoordinatewiseLSTM(**settings)


def test_without_numba_auto_takes_numpy_and_numba_says_so(monkeypatch):
    monkeypatch.setattr(backends, "_twin", lambda name: "numba cannot be found")
    assert backends.choose("coordinatewise", "auto", 10**6) is coordinatewise
    with pytest.raises(ImportError, match="does not work here: numba cannot be found. Use 'numpy'"):
        backends.choose("coordinatewise", "numba", 10**6)


WITHOUT_JIT = """
import numpy as np
from l2l_ref import CoordinatewiseLSTM, backends

assert not backends.available("numba")
for part in backends.PARTS:
    assert backends.name_of(backends.choose(part, "auto", 10**6)) == "numpy"
theta = np.ones(300)
optimizer = CoordinatewiseLSTM()
optimizer.update(theta, optimizer.init(theta))
try:
    backends.choose("lstm", "numba")
except ImportError as error:
    assert "NUMBA_DISABLE_JIT" in str(error)
else:
    raise AssertionError("numba was taken")
"""


def test_without_a_jit_auto_takes_numpy_and_numba_says_so():
    """As in a run that measures coverage."""
    result = subprocess.run([sys.executable, "-c", WITHOUT_JIT], env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
                            capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_auto_takes_the_twin_where_it_pays():
    if "numba" not in WORKING:
        pytest.skip("numba does not work here")
    assert backends.choose("coordinatewise", "auto", 10**4).__name__.endswith("compiled.coordinatewise")
    assert backends.choose("coordinatewise", "auto", 1) is coordinatewise
    assert CoordinatewiseLSTM(hidden=()).steps_of(10**4) is coordinatewise


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_chosen_module_has_the_name_of_its_backend(name):
    for chosen in (backends.choose("coordinatewise", name), backends.choose("gp", name),
                   backends.choose("propose", name)):
        assert backends.name_of(chosen) == name


# ------------------------------------------------------------------------------------------------- SciPy


def descending():
    """A linear rule: update = -0.1 gradient."""
    params = coordinatewise.Params((), np.full((1, 1), -0.1), np.zeros(1))
    return CoordinatewiseLSTM(hidden=(), params=params)


def bowl(x, shift=1.0):
    return float(((x - shift) ** 2).sum())


def bowl_gradient(x, shift=1.0):
    return 2 * (x - shift)


def minimize(fun=bowl, x0=(0.0, 3.0), jac=bowl_gradient, method=None, **more):
    optimize = pytest.importorskip("scipy.optimize")
    return optimize.minimize(fun, np.array(x0), jac=jac, method=method or descending().scipy_method, **more)


def test_scipy_minimize():
    result = minimize(options={"maxiter": 50})
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)
    assert not result.success and result.status == 1 and "number of steps" in result.message
    assert (result.nit, result.nfev, result.njev) == (50, 51, 51)
    np.testing.assert_allclose(result.jac, bowl_gradient(result.x))
    assert result.fun == bowl(result.x)


def test_scipy_jac_true_args_and_tol():
    result = minimize(lambda x, s: (bowl(x, s), bowl_gradient(x, s)), jac=True, args=(2.0,), tol=1e-3,
                      options={"maxiter": 500})
    np.testing.assert_allclose(result.x, 2.0, atol=1e-3)
    assert result.success and result.nit < 100 and "gtol" in result.message


def test_scipy_callbacks():
    seen = []
    minimize(callback=lambda xk: seen.append(xk), options={"maxiter": 3})
    assert [type(x) for x in seen] == [np.ndarray] * 3

    def stop(intermediate_result):
        if intermediate_result.nit == 2:
            raise StopIteration

    result = minimize(callback=stop, options={"maxiter": 10})
    assert result.nit == 2 and not result.success and result.status == 99


def test_scipy_returns_the_best_point():
    params = coordinatewise.Params((), np.full((1, 1), -0.9), np.full(1, 0.5))  # overshoots
    method = CoordinatewiseLSTM(hidden=(), params=params).scipy_method
    values = []

    def fun(x):
        values.append(bowl(x))
        return values[-1]

    result = minimize(fun, method=method, options={"maxiter": 7})
    assert result.fun == min(values)


def test_scipy_warns_of_options_that_it_does_not_know():
    with pytest.warns(pytest.importorskip("scipy.optimize").OptimizeWarning, match="maxiterr"):
        minimize(options={"maxiterr": 3})


def test_scipy_keeps_its_point_from_functions_that_write_into_it():
    def spoil(x):
        value = bowl(x)
        x[:] = 77
        return value

    def spoil_gradient(x):
        gradient = bowl_gradient(x)
        x[:] = 77
        return gradient

    honest, spoiled = (minimize(*pair, options={"maxiter": 5})
                       for pair in ((bowl, (0.0, 3.0), bowl_gradient), (spoil, (0.0, 3.0), spoil_gradient)))
    np.testing.assert_array_equal(honest.x, spoiled.x)


def test_scipy_stops_at_values_that_are_not_finite():
    result = minimize(lambda x: np.nan if x[0] > 0.3 else bowl(x), options={"maxiter": 50})
    assert not result.success and result.status == 2 and "not finite" in result.message
    assert np.isfinite(result.fun) and np.isfinite(result.x).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"jac": None}, "jac"), ({"bounds": [(0, 1), (0, 1)]}, "bounds"), ({"options": {"maxiter": -1}}, "maxiter"),
        ({"options": {"maxiter": 2.5}}, "maxiter"),
        ({"constraints": {"type": "eq", "fun": lambda x: 0}}, "constraints"),
        ({"jac": lambda x: np.ones(3)}, "jac: expected a gradient of shape"),
    ],
)
def test_scipy_refuses_what_it_cannot_do(more, message):
    with pytest.raises(ValueError, match=message):
        minimize(**more)
