"""A mixture: which problem a task is of, its scale, random rescaling, and meta-training on it."""

import json

import numpy as np
import pytest
from conftest import run_command
from hypothesis import given, settings
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.metatrain import loop
from l2l_ref.metatrain.gradient_based import DIVERGED, Recipe, mean_curve
from l2l_ref.metatrain.loop import Schedule, best_of, run
from l2l_ref.optimizees import MLP, Mixture, Quadratic, Rosenbrock, zoo
from l2l_ref.optimizees.mixture import SCALE_FUNCTIONS
from l2l_ref.optimizees.rollout import begin
from l2l_ref.trees import flatten

PROBLEMS = [Quadratic(3), Rosenbrock(4), MLP("digits", (2,), "tanh", batch=4, start="glorot")]
SIZES = [3, 4, 64 * 2 + 2 + 2 * 10 + 10]


def mixture(**arguments):
    return Mixture(PROBLEMS, **arguments)


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_a_task_is_of_one_of_the_problems_which_the_seed_draws(seed):
    one, two = mixture().sample(2, seed), mixture().sample(2, seed)
    np.testing.assert_array_equal(one.theta0, two.theta0)
    assert one.theta0.shape in [(2, n) for n in SIZES]
    for a, b in zip(one.loss_and_gradient(one.theta0), two.loss_and_gradient(two.theta0)):
        np.testing.assert_array_equal(a, b)


def test_problems_are_drawn_by_their_weights():
    """Of 400 tasks, 3/4 are of the second problem and 1/4 of the first, within five standard errors."""
    mix = mixture(weights=[1, 3, 0])
    sizes = np.array([mix.sample(1, seed).theta0.shape[1] for seed in range(400)])
    assert abs((sizes == 4).mean() - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 400) and set(sizes) == {3, 4}


def test_losses_are_those_of_the_problem_over_its_scale():
    mix = mixture()
    for k, (task, problem) in enumerate(zip(mix.sample_each(6, 0), PROBLEMS)):
        assert task.shapes == problem.shapes
        f, gradient = task.loss_and_gradient(task.theta0)
        inner = task.problem_task
        again = Mixture(PROBLEMS).sample_each(6, 0)[k].problem_task
        expected, expected_gradient = again.loss_and_gradient(inner.theta0)
        np.testing.assert_allclose(f, expected / mix.scales[k], rtol=1e-6)
        np.testing.assert_allclose(gradient, expected_gradient / mix.scales[k], rtol=1e-6)
        start = Mixture([problem]).sample(SCALE_FUNCTIONS * 8, 1)
        losses = start.loss_and_gradient(start.theta0)[0]
        assert abs(losses.mean() - 1) < 5 * losses.std() / np.sqrt(SCALE_FUNCTIONS)
    assert mix.chance == 1.0


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_rescaling_changes_the_units_and_not_the_function(seed):
    """The same values at the same points, and the gradient is the derivative in the new units."""
    plain, scaled = mixture().sample(3, seed, np.float64), mixture(rescale=4.0).sample(3, seed, np.float64)
    with np.errstate(invalid="ignore"):  # biases begin at 0
        factors = plain.theta0 / scaled.theta0
    given = factors[np.isfinite(factors)]
    assert given.min() >= 1 / 4 - 1e-9 and given.max() <= 4 + 1e-9
    (f, gradient), (f_scaled, gradient_scaled) = (t.loss_and_gradient(t.theta0) for t in (plain, scaled))
    np.testing.assert_allclose(f_scaled, f, rtol=1e-10)
    started = np.isfinite(factors)
    np.testing.assert_allclose(gradient_scaled[started], (gradient * factors)[started], rtol=1e-9)
    at = 0
    for shape in plain.shapes.values():  # one factor for each array of each function
        part, at = factors[:, at : at + np.prod(shape)], at + np.prod(shape)
        for row in part:
            row = row[np.isfinite(row)]
            np.testing.assert_allclose(row, row[:1].repeat(len(row)), rtol=1e-9)


def test_other_starts_and_other_inputs():
    """An eighth of the functions each: the start times one r; the first array in other units, from the same start."""
    problem = PROBLEMS[2]
    plain = Mixture([problem]).sample(400, 0, np.float64)
    for option in ("starts", "inputs"):
        task = Mixture([problem], **{option: 50.0}).sample(400, 0, np.float64)
        with np.errstate(invalid="ignore"):
            r = task.theta0 / plain.theta0
        changed = ((np.abs(r - 1) > 1e-9) & np.isfinite(r)).any(axis=1)
        if option == "starts":
            assert 20 < changed.sum() < 90
            r = np.where(np.isfinite(r), r, np.nanmax(r, axis=1, keepdims=True))
            np.testing.assert_allclose(r, r[:, :1].repeat(r.shape[1], axis=1), rtol=1e-9)
            assert 1 / 50 <= r.min() < 0.5 and 2 < r.max() <= 50
        else:
            assert not changed.any()
            f, wanted = (t.loss_and_gradient(t.theta0)[0] for t in (task, plain))
            assert 20 < (f != wanted).sum() < 90
            first = np.prod(next(iter(plain.shapes.values())))
            back = plain.theta0.copy()
            s = task._factors[:, :1]
            back[:, :first] *= s
            np.testing.assert_allclose(plain.loss_and_gradient(back)[0], task.loss_and_gradient(task.theta0)[0],
                                       rtol=1e-9)


def test_second_derivatives_in_the_new_units():
    mix = Mixture([Quadratic(3)], rescale=5.0)
    task = mix.sample(2, 3, np.float64)
    v = np.random.default_rng(0).standard_normal(task.theta0.shape)
    losses, gradients, product = task.second_order(task.theta0)
    (_, up), (_, down) = (task.loss_and_gradient(task.theta0 + h * v) for h in (1e-4, -1e-4))
    np.testing.assert_allclose(product(v), (up - down) / 2e-4, rtol=1e-7)
    np.testing.assert_allclose(gradients, task.loss_and_gradient(task.theta0)[1])


def test_other_data_with_the_same_scales():
    mix = mixture(rescale=2.0)
    other = mix.on("validation")
    assert other.scales == mix.scales and other.config == mix.config and other.problems[2].split == "validation"
    assert mix.problems[2].split == "train" and other.problems[0] is PROBLEMS[0]
    assert json.loads(json.dumps(mix.config)) == mix.config


class Own:
    """A problem with no more than the protocol asks for."""

    def sample(self, functions, seed):
        return Nameless(PROBLEMS[0].sample(functions, seed))


class Nameless:
    def __init__(self, task):
        self.theta0, self.loss_and_gradient = task.theta0, task.loss_and_gradient


def test_a_problem_of_ones_own():
    mix = Mixture([Own(), Quadratic(2)])
    assert mix.config is None and [task.shapes for task in mix.sample_each(2, 0)] == [None, {"theta": (2,)}]
    model = l2l.CoordinatewiseLSTM(hidden=(2,))
    recipe = {"epochs": 1, "tasks": 2, "functions": 2, "validation_functions": 4}
    l2l.meta_train(model, mix, 4, 2, **recipe)
    with pytest.raises(ValueError, match="rescale, starts, inputs: expected problems whose tasks have sh"):
        Mixture([Own()], rescale=2.0).sample(1, 0)


@pytest.mark.parametrize("make, error, message", [
    (lambda: Mixture([]), ValueError, "problems"), (lambda: Mixture([3]), TypeError, r"problems\[0\]"),
    (lambda: mixture(weights=[1, 2]), ValueError, "weights"),
    (lambda: mixture(weights=[0, 0, 0]), ValueError, "weights"),
    (lambda: mixture(weights=[1, -1, 1]), ValueError, "weights"),
    (lambda: mixture(weights=[1, np.nan, 1]), ValueError, "weights"),
    (lambda: mixture(starts=0.5), ValueError, "starts"), (lambda: mixture(inputs=np.nan), ValueError, "inputs"),
    (lambda: mixture(rescale=0.5), ValueError, "rescale"), (lambda: mixture(rescale=np.inf), ValueError, "rescale"),
    (lambda: Mixture([Rosenbrock(2, theta0_scale=1e30)]), ValueError, r"problems\[0\]: expected a mean loss"),
])
def test_a_bad_mixture_is_named(make, error, message):
    with pytest.raises(error, match=message), np.errstate(all="ignore"):
        make()


# Meta-training: validation on all parts, horizons


class Still:
    def init(self, theta):
        return None

    def update(self, gradient, state):
        return 0 * gradient, state


class Wild(Still):
    def update(self, gradient, state):
        return np.full_like(gradient, 1e30), state


def test_the_validation_is_the_mean_over_the_problems():
    mix, seed = Mixture([Quadratic(3), Rosenbrock(4)]), np.random.SeedSequence(1)
    curve = mean_curve(Still(), mix, 6, 3, seed)
    each = [task.loss_and_gradient(task.theta0)[0].mean() for task in mix.sample_each(6, seed)]
    np.testing.assert_allclose(curve, np.mean(each), rtol=1e-6)
    with np.errstate(all="ignore"):
        wild = mean_curve(Wild(), mix, 6, 3, seed)
    np.testing.assert_allclose(wild[1:], DIVERGED, rtol=1e-6)  # however far a function has gone, and nan too


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 30), st.integers(0, 9), st.integers(0, 1000))
def test_horizons_are_multiples_of_the_window_and_grow(unroll, shortest, factor, epoch, seed):
    shortest *= unroll
    recipe = Recipe(steps=unroll, unroll=unroll, epochs=10, horizons=(shortest, shortest * factor), curriculum=0.5)
    T = recipe.horizon(epoch, np.random.default_rng(seed))
    assert T % unroll == 0 and shortest - unroll < T < recipe.longest(epoch) + unroll
    longest = [recipe.longest(e) for e in range(10)]
    assert longest == sorted(longest) and longest[0] == shortest and longest[5:] == 5 * [shortest * factor]
    assert len(recipe.weights(T)) == T


@pytest.mark.parametrize(("validations", "keep", "epoch"), [
    ([0.3, 0.1, 0.2], "best", 2), ([0.3, 0.1, 0.2], "last", 3),
    ([0.3, 0.1, loop.DIVERGED], "last", 2),  # of those that have a validation
])
def test_whose_weights_are_kept(validations, keep, epoch):
    """Weights that grow by 1 in each epoch, with these validations."""
    def train_epoch(progress):
        progress.assign(average=progress.average + 1)
        return {}

    def validate(phi):
        return {"validation_final": 0.0, "validation_sum": 0.0, "judged": validations[int(phi[0]) - 1]}

    progress = run(Schedule(epochs=3, keep=keep), {}, np.zeros(1), train_epoch, validate)
    assert progress.best["epoch"] == epoch == best_of(progress.log)["epoch"]
    np.testing.assert_array_equal(progress.best_phi, [epoch])


def test_horizons_are_log_uniform():
    """Half of them lie below the geometric mean, within five standard errors."""
    recipe = Recipe(steps=1, unroll=1, horizons=(50, 2000))
    drawn = np.array([recipe.horizon(0, np.random.default_rng(seed)) for seed in range(1000)])
    assert abs((drawn < np.sqrt(50 * 2000)).mean() - 0.5) < 5 * 0.5 / np.sqrt(1000)
    assert drawn.min() < 55 and drawn.max() > 1800


@pytest.mark.parametrize("settings, message", [
    ({"horizons": (5, 100)}, "horizons: .* unroll"), ({"horizons": (100, 50)}, "horizons"),
    ({"horizons": (50,)}, "horizons"), ({"horizons": (50, 60.5)}, "horizons"), ({"curriculum": 0.5}, "curriculum"),
    ({"horizons": (50, 100), "curriculum": 2.0}, "curriculum"),
    ({"horizons": (50, 100), "loss_weights": (1.0,) * 100}, "loss_weights"),
])
def test_bad_horizons_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Recipe(steps=100, unroll=20, **settings)


class Told(l2l.CoordinatewiseLSTM):
    """An optimizer that wants to know how long a run will be."""

    wants_steps, told = True, []

    def init(self, theta, *, steps):
        self.told.append(steps)
        return super().init(theta)


def test_training_goes_on_bit_for_bit_and_tells_the_number_of_steps(tmp_path):
    recipe = {"epochs": 2, "tasks": 3, "functions": 2, "validation_functions": 3, "horizons": (4, 12),
              "curriculum": 0.5}
    Told.told.clear()
    model = Told(hidden=(3,), preprocess=10.0, output_scale=0.1)
    whole, log = l2l.meta_train(model, mixture(rescale=2.0), 8, 2, 5, **recipe)
    told = list(Told.told)
    assert [entry["steps"] for entry in log] == [4, 12]
    assert told[:3] == [4] * 3 and told[3:6] == [8] * 3 and told[9:] == [8] * 3  # runs, then the three validations
    assert all(4 <= T <= 12 and T % 2 == 0 for T in told[6:9])

    class Stop(Exception):
        pass

    def stop(progress, recipe):
        raise Stop

    with pytest.raises(Stop):
        l2l.meta_train(model, mixture(rescale=2.0), 8, 2, 5, checkpoint=tmp_path / "c.npz", report=stop, **recipe)
    resumed, _ = l2l.meta_train(model, mixture(rescale=2.0), 8, 2, 5, checkpoint=tmp_path / "c.npz", resume=True,
                                **recipe)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))
    with pytest.raises(ValueError, match="another run"):
        l2l.meta_train(model, mixture(rescale=3.0), 8, 2, 5, checkpoint=tmp_path / "c.npz", resume=True, **recipe)


def test_an_optimizer_is_told_what_it_asks_for():
    class Everything:
        by_name = by_function = wants_steps = True

        def init(self, theta, shapes, *, functions, steps):
            return shapes, functions, steps

    task = PROBLEMS[0].sample(5, 0)
    assert begin(Everything(), task.theta0, task, 7) == ({"theta": (3,)}, 5, 7)


# The zoo, and problems on the command line


def test_the_zoo_has_sixteen_problems_of_training_and_eight_held_out():
    assert len(zoo.TRAINING) == 16 and len(zoo.HELD_OUT) == 8 and len(zoo.NEED_FILES) == 4
    assert not set(zoo.TRAINING) & set(zoo.HELD_OUT)
    mix = zoo.training_mixture(2.0)
    assert len(mix.problems) == 16 and mix.rescale == 2.0
    without = [zoo.problem(name) for name in zoo.HELD_OUT if name not in zoo.NEED_FILES]
    configs = [json.dumps(problem.config, sort_keys=True) for problem in (*mix.problems, *without)]
    assert len(set(configs)) == 20
    with pytest.raises(ValueError, match="name: expected one of quadratic, "):
        zoo.problem("nothing")


TINY = ["--epochs", 1, "--tasks", 1, "--functions", 2, "--steps", 4, "--unroll", 2, "--horizons", "2,6", "--hidden", 2]
MODULE = """
from l2l_ref.optimizees import Mixture, Quadratic
mixture = Mixture([Quadratic(2), Quadratic(3)])
number = 3
def make():
    return mixture
def fails():
    raise RuntimeError("no data")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "my_problems.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["mixture", "make"])
def test_train_takes_a_problem_of_ones_own(capsys, module, name):
    code, out, err = run_command(capsys, "train", f"my_problems:{name}", *TINY, "--json")
    assert code == 0, err
    card = json.loads(out)
    assert card["problem"]["problem"] == "mixture" and card["recipe"]["horizons"] == [2, 6]
    assert f"my_problems:{name}" in card["command"] and "--horizons 2,6" in card["command"]
    assert (module / f"{name}-lstm.npz").exists()


@pytest.mark.parametrize("name, message", [
    ("number", "expected a problem, which has sample(functions, seed), or a function that makes one, got int"),
    ("nothing", "module my_problems has no nothing"), ("fails", "calling it raised RuntimeError: no data"),
])
def test_what_is_no_problem_is_refused_in_one_line(capsys, module, name, message):
    code, _, err = run_command(capsys, "train", f"my_problems:{name}", *TINY)
    assert code == 2 and message in err and len(err.splitlines()) == 1
