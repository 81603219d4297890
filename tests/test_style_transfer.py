"""Neural art: what is read from files, the loss by plain loops, its gradient, and what a seed fixes.

Most tests use pictures and a SqueezeNet that are made up.
"""

import importlib.util
import json
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from l2l_ref import backends
from l2l_ref.checking import gradcheck
from l2l_ref.cli import main
from l2l_ref.cli import train as train_command
from l2l_ref.compare.gradient_based import comparison_tasks, lbfgs
from l2l_ref.compare.tuning import tune
from l2l_ref.datasets import networks, pictures
from l2l_ref.datasets.networks import MEAN, NETWORKS, Convolution, read_network
from l2l_ref.metatrain import presets
from l2l_ref.metatrain.gradient_based import meta_train
from l2l_ref.optimizees import StyleTransfer
from l2l_ref.optimizees.convnet import pairs_of
from l2l_ref.optimizees.rollout import optimize, rollout
from l2l_ref.optimizees.style_transfer import (
    LAYERS,
    Targets,
    content_targets,
    features,
    style_targets,
    style_transfer_loss,
    style_transfer_loss_backward,
)

NUMPY = pairs_of("numpy", 0, None)
BACKENDS = ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not backends.available("numba"), reason="numba"))]
TINY = {"network": "squeezenet", "size": 16}
SHORT = {"network": "squeezenet", "size": 8, "content_layers": ["squeeze2"], "style_layers": ["conv1", "fire2"]}


def made_up_pictures(seed=0):
    rng = np.random.default_rng(seed)
    names = [f"photo_{name}" for split in pictures.PHOTOGRAPHS.values() for name in split]
    names += [f"style_{name}" for name in (pictures.STYLE, pictures.UNSEEN_STYLE)]
    return {name: rng.integers(0, 256, (*rng.integers(20, 31, 2), 3), np.uint8) for name in names}


def made_up_network(name, seed=0, dtype=np.float16):
    rng, arrays = np.random.default_rng(seed), {}
    for layer in NETWORKS[name].layers:
        for key, shape in layer.kernels.items():
            scale = math.sqrt(2 / math.prod(shape[1:]))
            arrays[f"{key}_w"] = (scale * rng.standard_normal(shape)).astype(dtype)
            arrays[f"{key}_b"] = (0.1 * rng.standard_normal(shape[0])).astype(dtype)
    return arrays


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("images", "networks"):
        (folder / name).mkdir()
    np.savez(folder / "images" / "images.npz", **made_up_pictures())
    np.savez(folder / "networks" / "squeezenet11.npz", **made_up_network("squeezenet"))
    return folder


# Pictures


def test_no_photograph_is_in_two_splits(folder):
    names = [name for split in pictures.PHOTOGRAPHS.values() for name in split]
    assert len(set(names)) == len(names) == 11 and pictures.STYLE != pictures.UNSEEN_STYLE
    there = made_up_pictures()
    for split, members in pictures.PHOTOGRAPHS.items():
        for found, name in zip(pictures.photographs(split, folder), members, strict=True):
            np.testing.assert_array_equal(found, there[f"photo_{name}"])
            assert not found.flags.writeable
    np.testing.assert_array_equal(pictures.painting("great_wave", folder), there["style_great_wave"])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"photo_coffee": None}, "expected a picture photo_coffee, got none"),
        ({"photo_coffee": np.zeros((4, 4, 3))}, "photo_coffee: expected uint8 of shape .* got float64"),
        ({"other": np.zeros((4, 4), np.uint8)}, r"other: expected uint8 of shape .* got uint8 of shape \(4, 4\)"),
        ({"other": np.zeros((1, 4, 3), np.uint8)}, r"got uint8 of shape \(1, 4, 3\)"),
        ({"other": np.zeros(pictures.MOST, np.uint8)}, "promises"),
        ({"other": np.array([None])}, "other: expected plain numbers"),
    ],
)
def test_what_is_wrong_with_the_pictures_is_said(tmp_path, change, message):
    content = {name: array for name, array in (made_up_pictures() | change).items() if array is not None}
    np.savez_compressed(tmp_path / "images.npz", **content)
    with pytest.raises(ValueError, match=message) as error:
        pictures.photographs("train", tmp_path)
    assert str(tmp_path / "images.npz") in str(error.value) and "\n" not in str(error.value)


def test_missing_files_and_names_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file images.npz"):
        pictures.photographs("train", tmp_path)
    with pytest.raises(FileNotFoundError, match="no file squeezenet11.npz or squeezenet.npz"):
        read_network("squeezenet", tmp_path)
    with pytest.raises(ValueError, match="style: expected one of great_wave, kandinsky_viii, got 'mona_lisa'"):
        pictures.painting("mona_lisa", folder)
    with pytest.raises(ValueError, match="split: expected one of train, validation, test, got 'all'"):
        pictures.photographs("all", folder)


def area_by_loops(picture, size):
    """Each new pixel is the mean over the old ones, weighted by the area that it covers of them."""
    rows, columns, C = picture.shape
    new = np.zeros((size, size, C))
    for i, j in np.ndindex(size, size):
        for p, q in np.ndindex(rows, columns):
            down = max(0.0, min((i + 1) * rows / size, p + 1) - max(i * rows / size, p))
            across = max(0.0, min((j + 1) * columns / size, q + 1) - max(j * columns / size, q))
            new[i, j] += down * across * picture[p, q]
    return new / (rows / size * columns / size)


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.integers(1, 7))
def test_scaling_takes_means_over_areas(seed, rows, columns, size):
    picture = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)
    found = pictures.scaled(picture, size)
    np.testing.assert_allclose(found, area_by_loops(picture, size), atol=1e-10)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), picture.mean(axis=(0, 1)), atol=1e-10)


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9))
def test_squares_are_parts_of_the_picture(seed, rows, columns):
    picture = np.arange(rows * columns * 3).reshape(rows, columns, 3)
    square = pictures.random_square(picture, np.random.default_rng(seed))
    shorter, side = min(rows, columns), len(square)
    assert square.shape == (side, side, 3) and shorter // 2 <= side <= shorter
    top, left = divmod(square[..., 0].min() // 3, columns)
    part = picture[top : top + side, left : left + side]
    assert (square == part).all() or (square == part[:, ::-1]).all()
    assert pictures.middle(picture).shape == (shorter, shorter, 3)


def test_the_middle_of_a_picture():
    picture = np.arange(7)[None, :, None] * np.ones((3, 1, 3))
    np.testing.assert_array_equal(pictures.middle(picture)[..., 0], [[2, 3, 4]] * 3)


# Networks


def test_a_fire_module_is_two_convolutions_side_by_side(folder):
    """In the order of colours of its file, and with a 1 x 1 kernel."""
    arrays = {key: array.astype(np.float32) for key, array in made_up_network("squeezenet").items()}
    chain = {layer.name: layer for layer in read_network("squeezenet", folder)}
    rng = np.random.default_rng(0)

    def convolved(x, key, stride=1):
        return NUMPY.conv2d(x, arrays[f"{key}_w"].transpose(2, 3, 1, 0), arrays[f"{key}_b"], stride)[0]

    x = rng.standard_normal((1, 5, 6, 16), np.float32)
    layer = chain["fire2"]
    y, _ = NUMPY.conv2d(x, layer.W, layer.b)
    expected = np.concatenate([convolved(x, "fire2_expand1x1"), convolved(x, "fire2_expand3x3")], axis=3)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    x = rng.standard_normal((1, 7, 6, 3), np.float32)
    layer = chain["conv1"]
    y, _ = NUMPY.conv2d(x, layer.W, layer.b, layer.stride)
    np.testing.assert_allclose(y, convolved(x[..., ::-1], "conv1", 2), atol=1e-5)
    assert not layer.W.flags.writeable and layer.W.dtype == np.float32


def test_the_layers_of_the_networks():
    vgg, squeezenet = (NETWORKS[name].layers for name in ("vgg16", "squeezenet"))
    assert [layer.name for layer in vgg if layer.pool] == ["conv2_1", "conv3_1", "conv4_1", "conv5_1"]
    assert [layer.name for layer in squeezenet if layer.pool] == ["squeeze2", "squeeze4", "squeeze6"]
    for layers in (vgg, squeezenet):
        C = 3
        for layer in layers:
            assert {shape[1] for shape in layer.kernels.values()} == {C}
            C = sum(shape[0] for shape in layer.kernels.values())
        assert C == 512
    for name, both in LAYERS.items():
        assert {layer for names in both for layer in names} <= {layer.name for layer in NETWORKS[name].layers}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"conv1_b": None}, "expected an array conv1_b, got none"),
        ({"conv1_b": np.zeros(63, np.float16)}, r"conv1_b: expected .* of shape \(64,\), got .* of shape \(63,\)"),
        ({"conv1_b": np.zeros(64)}, "conv1_b: .* got float64"),
        ({"conv1_b": np.full(64, np.inf, np.float16)}, "conv1_b: holds values that are not finite"),
    ],
)
def test_what_is_wrong_with_a_network_is_said(tmp_path, change, message):
    content = {name: array for name, array in (made_up_network("squeezenet") | change).items() if array is not None}
    np.savez(tmp_path / "squeezenet.npz", **content)
    with pytest.raises(ValueError, match=message) as error:
        read_network("squeezenet", tmp_path)
    assert str(tmp_path / "squeezenet.npz") in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_promises_too_much_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "MOST", 1000)
    np.savez(tmp_path / "vgg16.npz", a=np.zeros(1000))
    with pytest.raises(ValueError, match="promises"):
        read_network("vgg16", tmp_path)


# The loss


def small_chain(rng):
    return (
        Convolution("one", rng.standard_normal((3, 3, 3, 2)), rng.standard_normal(2), 1, 0),
        Convolution("two", rng.standard_normal((1, 1, 2, 3)), rng.standard_normal(3), 1, 2),
        Convolution("three", rng.standard_normal((3, 2, 3, 2)), rng.standard_normal(2), 2, 3),
    )


def window(x, i, j, size, stride, fill):
    """The window of pixel i, j of the result, with a border as "same" padding has it: the odd row at the end."""
    found = np.full((*size, x.shape[2]), fill)
    before = [max((-(-length // stride) - 1) * stride + extent - length, 0) // 2
              for length, extent in zip(x.shape, size)]
    for a, b in np.ndindex(*size):
        p, q = i * stride - before[0] + a, j * stride - before[1] + b
        if 0 <= p < x.shape[0] and 0 <= q < x.shape[1]:
            found[a, b] = x[p, q]
    return found


def features_by_loops(image, chain):
    x, found = 255 * image - np.array(MEAN), []
    for layer in chain:
        for pooled in (True, False):
            stride = 2 if pooled else layer.stride
            size = (layer.pool, layer.pool) if pooled else layer.W.shape[:2]
            if pooled and not layer.pool:
                continue
            rows, columns = (-(-length // stride) for length in x.shape[:2])
            y = np.empty((rows, columns, x.shape[2] if pooled else len(layer.b)))
            for i, j in np.ndindex(rows, columns):
                part = window(x, i, j, size, stride, -np.inf if pooled else 0.0)
                y[i, j] = (part.max(axis=(0, 1)) if pooled else
                           np.maximum(0, part.reshape(-1) @ layer.W.reshape(-1, len(layer.b)) + layer.b))
            x = y
        found.append(x)
    return found


def loss_by_loops(image, photo, painting, chain, content, style, alpha, beta, gamma):
    F, T, S = (features_by_loops(picture, chain) for picture in (image, photo, painting))
    f = 0.0
    for k in content:
        f += alpha / len(content) * np.sum((F[k] - T[k]) ** 2) / np.sum(T[k] ** 2)
    for k in style:
        C = F[k].shape[2]
        G, A = (np.array([[np.mean(x[..., a] * x[..., b]) for b in range(C)] for a in range(C)]) for x in (F[k], S[k]))
        f += beta / len(style) * np.sum((G - A) ** 2) / np.sum(A**2)
    rough = sum(np.sum(np.diff(image, axis=axis) ** 2) for axis in (0, 1))
    return f + gamma * rough / image.size


@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 3), st.tuples(st.integers(1, 6), st.integers(1, 6)),
       st.sampled_from([((0,), (2,)), ((0, 2), (1,)), ((1,), (0, 1, 2))]))
def test_the_loss_by_loops(backend, seed, N, shape, layers):
    rng = np.random.default_rng(seed)
    chain, pairs = small_chain(rng), pairs_of(backend, 0, None)
    images, photos, paintings = rng.random((3, N, *shape, 3))
    targets = Targets(content_targets(photos, chain, layers[0], 0.7, pairs),
                      style_targets(paintings, chain, layers[1], 1.3, pairs), 0.4)
    f, _ = style_transfer_loss(images.reshape(N, -1), shape, chain, targets, pairs)
    for n in range(N):
        shown = [x for k, x in enumerate(features_by_loops(photos[n], chain)) if k in layers[0]]
        painted = [x for k, x in enumerate(features_by_loops(paintings[n], chain)) if k in layers[1]]
        if all(x.any() for x in (*shown, *painted)):  # otherwise the loss has no relative form
            expected = loss_by_loops(images[n], photos[n], paintings[n], chain, *layers, 0.7, 1.3, 0.4)
            np.testing.assert_allclose(f[n], expected, rtol=1e-9)


def test_features_that_are_zero_are_not_compared():
    chain = (Convolution("dead", np.zeros((1, 1, 3, 2)), -np.ones(2), 1, 0),)
    photos = np.random.default_rng(0).random((2, 3, 3, 3))
    targets = Targets(content_targets(photos, chain, (0,), 1.0, NUMPY), style_targets(photos, chain, (0,), 1.0, NUMPY),
                      0.0)
    f, cache = style_transfer_loss(photos.reshape(2, -1), (3, 3), chain, targets, NUMPY)
    assert not f.any() and not style_transfer_loss_backward(np.ones(2), cache).any()


def test_layers_after_the_last_wanted_one_are_not_computed(folder):
    chain = read_network("squeezenet", folder)
    x = np.zeros((1, 8, 8, 3), np.float32)
    found, cache = features(x, chain, (0, 2), NUMPY)
    assert len(found) == 2 and len(cache.layers) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_whole_gradient_along_directions(folder, backend):
    task = StyleTransfer(**SHORT, data_dir=folder, backend=backend).sample(1, 0, np.float64)

    def loss(theta):
        return style_transfer_loss(theta, (8, 8), task._chain, task._targets[0], task._pairs)

    def wrong(d_f, cache):
        d_theta = style_transfer_loss_backward(d_f, cache)
        d_theta[:, ::3] *= 1.01
        return d_theta

    gradcheck(loss, style_transfer_loss_backward, (task.theta0,), thorough=False).raise_if_failed()
    assert gradcheck(loss, wrong, (task.theta0,), thorough=False).verdict == "FAIL"


def test_other_shapes_are_refused(folder):
    task = StyleTransfer(**TINY, data_dir=folder).sample(1, 0)
    with pytest.raises(ValueError, match="theta: expected shape"):
        task.loss_and_gradient(task.theta0[:, 1:])


# The problem


def problem(folder, **changes):
    return StyleTransfer(**TINY | {"data_dir": folder} | changes)


def test_a_seed_fixes_photographs_and_starting_points(folder):
    one, two = (problem(folder).sample(3, 5) for _ in range(2))
    assert one.theta0.shape == (3, 768) and one.theta0.dtype == np.float32
    np.testing.assert_array_equal(one.theta0, two.theta0)
    np.testing.assert_array_equal(one.photos, two.photos)
    for a, b in zip(one.loss_and_gradient(one.theta0), two.loss_and_gradient(two.theta0)):
        np.testing.assert_array_equal(a, b)
    single = problem(folder).sample(1, 5)  # each function by itself
    np.testing.assert_array_equal(single.photos[0], one.photos[0])
    f, gradient = one.function(1, one.theta0[1])
    losses, gradients = one.loss_and_gradient(one.theta0)
    assert f == losses[1] and len(set(losses)) == 3
    np.testing.assert_array_equal(gradient, gradients[1])


def test_each_term_is_0_where_it_should_be(folder):
    """Content at the photograph, style at the painting, smoothness at one colour."""
    off = {"alpha": 0, "beta": 0, "gamma": 0}
    task = problem(folder, **off | {"alpha": 2}, noise=0).sample(2, 0)
    np.testing.assert_array_equal(task.theta0.reshape(task.photos.shape), task.photos)
    assert not task.loss_and_gradient(task.theta0)[0].any()
    task = problem(folder, **off | {"beta": 2}).sample(1, 0)
    painting = task.problem.painting.reshape(1, -1).astype(np.float32)
    assert task.loss_and_gradient(painting)[0] == 0 < task.loss_and_gradient(task.theta0)[0]
    task = problem(folder, **off | {"gamma": 2}).sample(1, 0)
    assert task.loss_and_gradient(np.full_like(task.theta0, 0.3))[0] == 0 < task.loss_and_gradient(task.theta0)[0]


def test_config_splits_and_data(folder):
    one = problem(folder, style="kandinsky_viii", noise=0.5, content_layers=["fire3", "conv1"])
    other = one.on("test")
    assert other.split == "test" and other.config == one.config and len(other.photographs) == 3
    assert json.loads(json.dumps(one.config)) == one.config and one.content_layers == ("conv1", "fire3")
    assert one.config["style"] == "kandinsky_viii" and one.chain[-1].name == "fire6"
    assert all(array.flags.c_contiguous for array in one.data) and len(one.data) == 7 + 1 + 2 * len(one.chain)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"style": "mona_lisa"}, "style"), ({"size": 1}, "size"), ({"network": "alexnet"}, "network"),
        ({"content_layers": ("conv9",)}, "content_layers"), ({"style_layers": "conv1"}, "style_layers"),
        ({"style_layers": ()}, "style_layers"), ({"alpha": -1}, "alpha"), ({"beta": math.nan}, "beta"),
        ({"gamma": math.inf}, "gamma"), ({"noise": 1.5}, "noise"), ({"alpha": True}, "alpha"),
        ({"split": "all"}, "split"), ({"backend": "cuda"}, "backend"), ({"threads": 0}, "threads"),
    ],
)
def test_a_bad_problem_is_named(folder, changes, message):
    with pytest.raises(ValueError, match=f"{message}: expected"):
        problem(folder, **changes)


class Descent:
    def init(self, theta):
        return None

    def update(self, gradient, state):
        return -gradient / np.abs(gradient).max() / 20, state


def test_gradient_descent_paints(folder):
    task = problem(folder).sample(2, 0)
    losses, theta = optimize(Descent(), task, 20)
    assert (losses[-1] < 0.8 * losses[0]).all()
    np.testing.assert_array_equal(losses, rollout(Descent(), task, 20))
    np.testing.assert_array_equal(losses[-1], task.loss_and_gradient(theta)[0])


def test_meta_training_on_art(folder):
    model, art, recipe = presets.build(
        "art", model={"hidden": (2,)}, distribution=SHORT | {"data_dir": folder},
        recipe={"steps": 4, "unroll": 2, "tasks": 2, "epochs": 2, "validation_functions": 1, "coordinates": 100},
    )
    trained, log = meta_train(model, art, **recipe)
    assert len(log) == 2 and np.isfinite(log[-1]["validation_final"])


def test_lbfgs_keeps_to_its_gradients(folder):
    pytest.importorskip("scipy")
    (task,) = comparison_tasks(problem(folder).on("test"), 2, 0)
    count, evaluate = [], task.function
    task.function = lambda b, theta: (count.append(b), evaluate(b, theta))[1]
    losses, theta, seconds = lbfgs(task, 1, 12)
    assert len(count) == 13 and set(count) == {1} and losses.shape == (13,) and seconds > 0
    assert (np.diff(losses) <= 0).all() and losses[-1] < 0.5 * losses[0]
    assert losses[0] == evaluate(1, task.theta0[1])[0] and losses[-1] == evaluate(1, theta)[0]


def test_the_real_pictures_and_networks(art_folder):
    """A photograph is nearer to itself than noise is, and the features of one real network see that."""
    for network, size in (("squeezenet", 32), ("vgg16", 16)):
        task = StyleTransfer(network=network, size=size, data_dir=art_folder).sample(1, 0)
        losses, gradients = task.loss_and_gradient(task.theta0)
        assert np.isfinite(losses).all() and np.isfinite(gradients).all() and (gradients != 0).mean() > 0.99
        loss = partial(task.function, 0)
        f, gradient = loss(task.theta0[0])
        step = np.float32(1e-3 * f / (gradient @ gradient))
        assert loss(task.theta0[0] - step * gradient)[0] < f


# The commands


@pytest.fixture(scope="module")
def with_vgg(tmp_path_factory, folder):
    """The made-up pictures, and a VGG-16 whose features are all 0, in a small file."""
    whole = tmp_path_factory.mktemp("data")
    (whole / "images.npz").symlink_to(folder / "images" / "images.npz")
    arrays = {f"{key}_{part}": np.zeros(shape if part == "w" else shape[:1], np.float16)
              for layer in NETWORKS["vgg16"].layers for key, shape in layer.kernels.items() for part in "wb"}
    np.savez_compressed(whole / "vgg16.npz", **arrays)
    return whole


def test_train_and_compare(with_vgg, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(train_command.TEST_FUNCTIONS, "art", 1)
    monkeypatch.setitem(LAYERS, "vgg16", (("conv1_1",), ("conv1_2",)))
    monkeypatch.setattr(StyleTransfer, "learning_rates", ((1.0, 10.0), 1))
    monkeypatch.chdir(tmp_path)
    where = ["--size", "8", "--style", pictures.UNSEEN_STYLE, "--data-dir", str(with_vgg), "--backend", "numpy"]
    assert main(["train", "art", *where, "--hidden", "2", "--epochs", "1", "--tasks", "1", "--steps", "2", "--unroll",
                 "1", "--output", "art.npz", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["problem"]["style"] == pictures.UNSEEN_STYLE and card["problem"]["size"] == 8
    assert f"--style {pictures.UNSEEN_STYLE} --size 8" in card["command"] and "data" not in card["command"]
    words = ["compare", "art", *where, "--model", "art.npz", "--functions", "2", "--steps", "2"]
    drawing = ["--figure", "art.png"] if importlib.util.find_spec("matplotlib") else []
    assert main([*words, *drawing]) == 0
    text = capsys.readouterr().out
    assert f"Neural art, {pictures.UNSEEN_STYLE.replace('_', ' ')}, 8 x 8 pixels: 2 functions" in text
    assert ("l-bfgs" in text) == (importlib.util.find_spec("scipy") is not None)
    assert not drawing or (tmp_path / "art.png").exists() and (tmp_path / "art-pictures.png").exists()
    assert main(["compare", "art", "--style", "mona_lisa", "--data-dir", str(with_vgg), "--model", "art.npz"]) == 2
    assert "style: expected one of" in capsys.readouterr().err


class Valley:
    """Functions (theta - 1)^2 from 0, with learning rates of their own."""

    config = {"problem": "valley"}
    learning_rates = tuple(10 ** (k / 10) for k in range(-20, 5)), 4

    def sample(self, functions, seed):
        self.sampled = getattr(self, "sampled", 0) + 1
        return self

    theta0 = np.zeros((1, 1))

    def loss_and_gradient(self, theta):
        return ((theta - 1) ** 2)[:, 0], 2 * (theta - 1)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
def test_a_stride_finds_the_best_rate_of_a_valley(steps):
    few = Valley()
    tuned = tune("sgd", few, steps, 1, 0, cache=False)
    every = Valley()
    every.learning_rates = (Valley.learning_rates[0], 1)
    all_of_them = tune("sgd", every, steps, 1, 0, cache=False)
    assert tuned.learning_rate == all_of_them.learning_rate
    assert every.sampled == 25 and few.sampled == np.isfinite(tuned.final_losses).sum() <= 7 + 6
    tried = np.isfinite(tuned.final_losses)
    np.testing.assert_array_equal(np.array(tuned.final_losses)[tried], np.array(all_of_them.final_losses)[tried])
