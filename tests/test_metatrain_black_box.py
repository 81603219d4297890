"""Meta-training of the black-box optimizer: what an update is, the curriculum, best kept, resumed bit for bit."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref as l2l
from l2l_ref.black_boxes import GPDistribution, SupportDistribution
from l2l_ref.learned import propose, trajectory
from l2l_ref.learned.proposer import Proposer
from l2l_ref.metatrain import black_box
from l2l_ref.metatrain.black_box import (
    Recipe,
    best_so_far,
    evaluate_held_out,
    meta_train_black_box,
    trajectory_gradient,
)
from l2l_ref.ops.covariance import squared_exponential
from l2l_ref.ops.gp import JITTER
from l2l_ref.pretrained import load, save
from l2l_ref.search import batch
from l2l_ref.search.batch import BatchSearch
from l2l_ref.search.scale import given_scale
from l2l_ref.trees import flatten, leaves, unflatten

TINY = {"epochs": 3, "updates": 2, "functions": 4, "steps": 6, "first_steps": 2, "validation_functions": 5,
        "workers": 3}


def tiny(dim=2, **settings):
    return Proposer(dim, 3, rng=0, **settings)


def train(proposer=None, distribution=None, seed=0, **changes):
    return meta_train_black_box(proposer or tiny(), distribution or GPDistribution(dim=2), seed,
                                **TINY | {"backend": "numpy"} | changes)


def same(a, b):
    return flatten(a.params).tobytes() == flatten(b.params).tobytes()


@pytest.mark.parametrize("loss", trajectory.LOSSES)
@pytest.mark.parametrize("output", propose.OUTPUTS)
def test_the_gradient_of_an_update_is_that_of_its_loss(loss, output):
    """Along random directions in the weights, in float64."""
    rng = np.random.default_rng(1)
    proposer, distribution = tiny(output=output), GPDistribution(dim=2, length_scale=0.6, noise=0.1)
    proposer.params = unflatten(5 * flatten(proposer.params), proposer.params)
    recipe = Recipe(**TINY | {"loss": loss, "functions": 20, "penalty": 0.5})
    fed = trajectory.arrivals(6, 2, rng)

    def at(phi, dtype=np.float64):
        proposer.params = unflatten(phi, proposer.params)
        return trajectory_gradient(proposer, distribution, recipe, 6, fed, 3, "numpy", dtype)

    phi = flatten(proposer.params).copy()
    _, d_phi = at(phi)
    for _ in range(3):
        v = rng.standard_normal(len(phi))
        wide, slope = ((at(phi + h * v)[0] - at(phi - h * v)[0]) / (2 * h) for h in (2e-6, 1e-6))
        truncation, rounding = abs(wide - slope), 1e-13 * np.abs(d_phi).max() / 1e-6  # a third of it is left in slope
        assert d_phi @ v == pytest.approx(slope, abs=truncation + rounding, rel=0)


def test_training_finds_lower_values():
    before = best_so_far(Proposer(1, 8), GPDistribution(dim=1), 200, 5, 9, "numpy")[:, -1].mean()
    trained, log = meta_train_black_box(
        Proposer(1, 8), GPDistribution(dim=1), backend="numpy", epochs=4, updates=30, functions=32, steps=5,
        first_steps=5, learning_rate=1e-2, final_learning_rate=1e-2, workers=1, validation_functions=200)
    after = best_so_far(trained, GPDistribution(dim=1), 200, 5, 9, "numpy")[:, -1].mean()
    assert after < before - 0.2
    assert log[-1]["loss"] < log[0]["loss"]


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 80), st.sampled_from([0.0, 0.3, 1.0]))
def test_the_horizon_grows_to_its_end(epochs, first, more, curriculum):
    recipe = Recipe(epochs=epochs, first_steps=first, steps=first + more, curriculum=curriculum)
    horizons = [recipe.horizon(epoch) for epoch in range(epochs + 1)]
    assert horizons == sorted(horizons)
    assert horizons[0] == (first if curriculum else first + more)
    assert all(h == first + more for h in horizons[int(np.ceil(curriculum * epochs)):])


def test_the_horizon_of_an_update_is_drawn(monkeypatch):
    """From the first to the longest of the epoch."""
    seen = []
    monkeypatch.setattr(black_box, "trajectory_gradient",
                        lambda proposer, distribution, recipe, steps, fed, *rest, **options: (
                            seen.append((steps, len(fed))), 0.0, np.zeros(flatten(proposer.params).size))[1:])
    train(epochs=2, updates=200, first_steps=2, steps=6, curriculum=0.5)
    assert {steps for steps, _ in seen[:200]} == {2} and {steps for steps, _ in seen[200:]} == {2, 3, 4, 5, 6}
    assert all(steps == length for steps, length in seen)


@pytest.mark.parametrize("judge", ["final", "sum"])
def test_what_is_judged(judge):
    _, log = train(judge=judge)
    assert [entry["judged"] for entry in log] == [entry[f"validation_{judge}"] for entry in log]


def test_resumed_is_uninterrupted(tmp_path):
    whole, log = train()
    path = tmp_path / "run.ckpt"

    def stop(progress, recipe):
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path, report=stop)
    resumed, again = train(checkpoint=path, resume=True)
    assert same(whole, resumed)
    assert [entry["validation_final"] for entry in log] == [entry["validation_final"] for entry in again]
    with pytest.raises(ValueError, match="belongs to another run: its recipe, loss"):
        train(checkpoint=path, resume=True, loss="sum")
    with pytest.raises(ValueError, match="belongs to another run: its problem, noise"):
        train(distribution=GPDistribution(dim=2, noise=0.1), checkpoint=path, resume=True)


class Stop(Exception):
    pass


def stop(progress, recipe):
    raise Stop


@pytest.mark.parametrize("before, after", [("numpy", "numba"), ("numba", "numpy"), ("numba", "auto")])
def test_a_checkpoint_of_another_backend_is_refused(tmp_path, before, after):
    pytest.importorskip("numba")
    path = tmp_path / "run.ckpt"
    with pytest.raises(Stop):
        train(backend=before, checkpoint=path, report=stop)
    with pytest.raises(ValueError, match=f"belongs to another run: its backend is {before!r}, not {after!r}$"):
        train(backend=after, checkpoint=path, resume=True)
    train(backend=before, checkpoint=path, resume=True)


def test_the_backend_is_that_of_the_proposer_unless_given(tmp_path):
    pytest.importorskip("numba")
    path = tmp_path / "run.ckpt"
    with pytest.raises(Stop):
        train(tiny(backend="numba"), backend=None, checkpoint=path, report=stop)
    trained, _ = train(backend="numba", checkpoint=path, resume=True)
    assert trained.backend == "auto"
    assert train(tiny(backend="numpy"), backend=None)[0].backend == "numpy"


class Bumps:
    """A distribution without a config."""

    dim = 2

    def __init__(self, length_scale=0.5, factor=1):
        self.gp_arguments = {"length_scale": length_scale, "variance": 1.0}
        self.factor = factor

    def sample(self, functions, steps, seed, dtype=np.float32):
        z = self.factor * np.random.default_rng(seed).standard_normal((functions, steps)).astype(dtype)
        return z, np.zeros_like(z), None


@pytest.mark.parametrize("changes", [{"length_scale": 0.4}, {"factor": 2}])
def test_another_distribution_without_config_is_recognised(tmp_path, changes):
    path = tmp_path / "run.ckpt"
    with pytest.raises(Stop):
        train(distribution=Bumps(), checkpoint=path, report=stop)
    with pytest.raises(ValueError, match="belongs to another run: its problem, sample is"):
        train(distribution=Bumps(**changes), checkpoint=path, resume=True)
    train(distribution=Bumps(), checkpoint=path, resume=True)


@pytest.mark.parametrize("cell", ["lstm", "dnc"])
def test_threads_reach_every_twin_and_change_nothing(monkeypatch, cell):
    threads = pytest.importorskip("l2l_ref.compiled.threads")
    heard = set()

    def run_rows(kernel, rows, size, work, count, *arguments):
        heard.add((kernel.__name__, count))
        return run(kernel, rows, size, work, count, *arguments)

    run = threads.run_rows
    for twin in ("gp", "heads", "lstm"):
        monkeypatch.setattr(f"l2l_ref.compiled.{twin}.run_rows", run_rows)
    results = [train(tiny(cell=cell), backend="numba", threads=count)[0] for count in (1, 2)]
    assert same(*results)
    kernels = {name for name, _ in heard}
    assert len(kernels) == (6 if cell == "dnc" else 4)
    assert heard == {(name, count) for name in kernels for count in (1, 2)}


def test_same_seed_same_weights_and_the_first_weights_stay():
    first = tiny()
    kept = flatten(first.params).copy()
    one, other, third = train(first)[0], train()[0], train(seed=1)[0]
    assert same(one, other) and not same(one, third)
    assert (flatten(first.params) == kept).all()


def test_workers_and_their_order_are_in_the_training():
    assert not same(train(parallel=0.0)[0], train(parallel=1.0)[0])
    assert not same(train(parallel=1.0, workers=2)[0], train(parallel=1.0, workers=3)[0])
    assert same(train(parallel=1.0, workers=1)[0], train(parallel=0.0)[0])


def test_the_best_weights_come_out():
    seen = []
    trained, log = train(epochs=6, learning_rate=0.3, final_learning_rate=0.3,
                         report=lambda progress, recipe: seen.append(progress.average.astype(np.float32)))
    best = int(np.argmin([entry["judged"] for entry in log]))
    assert flatten(trained.params).tobytes() == seen[best].tobytes()


@pytest.mark.parametrize("changes, message", [
    ({"loss": "regret"}, "loss: expected one of sum, ei, oi, final, best, noisy-ei, got 'regret'"),
    ({"curriculum": 1.5}, r"curriculum: expected a number in \[0, 1\], got 1.5"),
    ({"parallel": np.nan}, r"parallel: expected a number in \[0, 1\], got nan"),
    ({"first_steps": 7}, "first_steps: expected at most steps=6, got 7"),
    ({"penalty": -1.0}, "penalty: expected a finite number >= 0, got -1.0"),
    ({"judge": "first"}, "judge: expected one of final, sum, got 'first'"),
    ({"updates": 0}, "updates: expected a whole number >= 1, got 0"),
    ({"threads": 0}, "threads: expected None or a whole number >= 1, got 0"),
    ({"backend": "jax"}, "backend: expected one of auto, numpy, numba, got 'jax'"),
    ({"seed": -1}, "seed: expected a whole number >= 0, got -1"),
    ({"distribution": GPDistribution(dim=3)}, "distribution: expected functions of 2 dimensions, got 3"),
])
def test_bad_input_is_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        train(**changes)


@pytest.mark.parametrize("changes, name", [
    ({"dim": 0}, "dim"), ({"dim": 1.5}, "dim"), ({"dim": 2, "length_scale": 0.0}, "length_scale"),
    ({"dim": 2, "noise": -0.1}, "noise"), ({"dim": 2, "variance": np.inf}, "variance"),
    ({"dim": 2, "covariance": "cubic"}, "covariance"),
])
def test_a_bad_distribution_is_refused(changes, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        GPDistribution(**changes)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_functions_through_given_values(dim):
    """Six values in [-1, 1], and between them the mean of the process, scaled to the range [-1, 1]."""
    distribution = SupportDistribution(dim=dim)
    z, epsilon, given = distribution.sample(50, 4, 0, np.float64)
    assert not z.any() and not epsilon.any()
    known = given.known
    x = known.x[:, :6]
    values = np.einsum("bts,bs->bt", known.L[:, :6, :6], known.z[:, :6])
    assert (np.abs(values) <= 1).all() and values.std() > 0.4
    probes = np.random.default_rng(1).random((50, 2000, dim))
    scale = float(distribution.gp_arguments["length_scale"])
    assert scale == pytest.approx(dim**0.5 / (6 * 2**0.5), rel=1e-6)
    K, _ = squared_exponential(x, x, scale, 1.0)
    k, _ = squared_exponential(probes, x, scale, 1.0)
    g = (k @ np.linalg.solve(K + JITTER["float32"] * np.eye(6), values[:, :, None]))[:, :, 0]
    f = given.shift[:, None] + given.scale[:, None] * g
    assert np.abs(f.min(axis=1) + 1).max() < 0.2 and np.abs(f.max(axis=1) - 1).max() < 0.2
    # What a trajectory sees is this function.
    out, _ = trajectory.trajectory(
        propose.proposer_init(np.random.default_rng(0), dim, 3), z, epsilon, trajectory.arrivals(4), given=given,
        **distribution.gp_arguments, jitter=JITTER["float32"])
    k, _ = squared_exponential(out.x, x, scale, 1.0)
    g = (k @ np.linalg.solve(K + JITTER["float32"] * np.eye(6), values[:, :, None]))[:, :, 0]
    np.testing.assert_allclose(out.f, given.shift[:, None] + given.scale[:, None] * g, atol=2e-3)


def test_moments_and_the_best_value_on_held_out_functions():
    seed = np.random.SeedSequence(5)
    proposer, distribution = tiny(), GPDistribution(dim=2)
    best, moments = evaluate_held_out(proposer, distribution, 30, 6, seed, "numpy")
    assert best.shape == (6,) and (np.diff(best) <= 0).all()
    z, epsilon, _ = distribution.sample(30, 6, np.random.SeedSequence(5).spawn(1)[0])
    out, _ = trajectory.trajectory(proposer.params_as(np.float32), z, epsilon, trajectory.arrivals(6),
                                   **distribution.gp_arguments)
    assert len(moments) == 3  # of 1, 2 and 4 values
    np.testing.assert_allclose(moments[2], [out.y[:, :4].mean(), out.y[:, :4].std(axis=1).mean()], atol=1e-4)
    assert moments[0][1] == 0


def test_saved_and_loaded(tmp_path):
    proposer = Proposer(3, 5, "linear", rng=4)
    save(proposer, tmp_path / "p.npz")
    again = load(tmp_path / "p.npz")
    assert again.config == proposer.config
    assert (flatten(again.params) == flatten(proposer.params).astype(np.float32)).all()
    json.dumps(again.card)


def test_a_search_is_the_trajectory(monkeypatch):
    """The optimizer step by step, in whatever orientation, proposes what the unrolled trajectory does.

    An untrained network proposes points that are close together, which a search would replace.
    """
    monkeypatch.setattr(batch, "radius", lambda d: 0.0)
    proposer, distribution = tiny(), GPDistribution(dim=2)
    z, epsilon, _ = distribution.sample(4, 5, 0)
    out, _ = trajectory.trajectory(proposer.params_as(np.float32), z, epsilon, trajectory.arrivals(5),
                                   **distribution.gp_arguments)
    search = BatchSearch(proposer, 4, 5, 0, given_scale((0, 1)))
    for t in range(5):
        x = search.ask()
        np.testing.assert_allclose(search._symmetry.to_network(x), out.x[:, t], rtol=1e-5)
        search.tell(x, out.y[:, t])


def test_training_on_several_dimensions_and_a_file(tmp_path):
    model = Proposer(None, 6, "linear", cell="shared", rng=0)
    recipe = {"epochs": 2, "updates": 6, "functions": 8, "steps": 6, "first_steps": 4, "validation_functions": 8}
    several = [GPDistribution(dim=d) for d in (1, 2, 5)]
    trained, log = l2l.meta_train_black_box(model, several, **recipe)
    again, same = l2l.meta_train_black_box(model, several, **recipe)
    for a, b in zip(leaves(trained.params), leaves(again.params)):
        np.testing.assert_array_equal(a, b)
    other, _ = l2l.meta_train_black_box(model, several[:1], **recipe)
    assert any((a != b).any() for a, b in zip(leaves(trained.params), leaves(other.params)))
    l2l.save(trained, tmp_path / "any.npz", {"name": "any"})
    loaded = l2l.load(tmp_path / "any.npz")
    assert repr(loaded) == repr(trained) and loaded.dim is None and loaded.of(4).dim == 4
    assert loaded.of(4).card == loaded.card
    one = l2l.minimize(lambda x: float(x.sum()), [(0, 1)] * 4, 5, model=tmp_path / "any.npz", finish=None)
    two = l2l.minimize(lambda x: float(x.sum()), [(0, 1)] * 4, 5, model=trained, finish=None)
    assert one.log == two.log


def test_noisy_ei_needs_functions_that_are_drawn_as_they_are_queried():
    class Minimal:
        dim, gp_arguments, config = 2, {"length_scale": 0.3}, {"problem": "minimal"}
        sample = GPDistribution(dim=2).sample

    recipe = TINY | {"loss": "noisy-ei", "epochs": 1}
    trained, _ = meta_train_black_box(tiny(), Minimal(), **recipe)
    assert np.isfinite(flatten(trained.params)).all()
    with pytest.raises(ValueError, match="^loss: expected functions without given values for noisy-ei, got Support"):
        meta_train_black_box(tiny(), SupportDistribution(dim=2), **recipe)


def test_a_training_on_several_dimensions_is_resumed(tmp_path):
    model, several = Proposer(None, 4, cell="shared"), [GPDistribution(dim=d) for d in (1, 3)]
    recipe = TINY | {"checkpoint": tmp_path / "ck"}
    whole, _ = meta_train_black_box(model, several, **TINY)

    def stop(progress, settings):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        meta_train_black_box(model, several, report=stop, **recipe)
    with pytest.raises(ValueError, match="problem"):
        meta_train_black_box(model, several[:1], resume=True, **recipe)
    resumed, _ = meta_train_black_box(model, several, resume=True, **recipe)
    np.testing.assert_array_equal(flatten(resumed.params), flatten(whole.params))
