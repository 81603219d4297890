import json
import shlex
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import l2l_ref
from l2l_ref import files, pretrained
from l2l_ref.baselines.random_search import RandomSearch
from l2l_ref.black_boxes import GPFunctions
from l2l_ref.learned.adjusted import Adjusted
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.learned.proposer import Proposer
from l2l_ref.search.batch import BatchSearch
from l2l_ref.search.scale import given_scale
from l2l_ref.trees import leaves

SHIPPED = sorted(path.stem for path in pretrained.FOLDER.glob("*.npz"))
NEEDED = {"quadratic-lstm", "quadratic-normal-lstm", "mnist-lstm", "digits-lstm", "cifar-lstm", "art-lstm",
          "quadratic-sharing-lstm", "general"}
COMMANDS = {"mixture": "zoo", "convnet": "cifar"}  # of a problem whose name is not the command's


@pytest.fixture
def path(tmp_path):
    return tmp_path / "mine.npz"


@pytest.fixture
def model():
    return CoordinatewiseLSTM(hidden=(3, 2), preprocess=10.0, output_scale=0.1, rng=5, backend="numpy")


def updates(model, gradients):
    state, out = model.init(gradients[0]), []
    for gradient in gradients:
        update, state = model.update(gradient, state)
        out.append(update)
    return np.stack(out)


# What is saved comes back.


@given(st.lists(st.integers(1, 5), max_size=3), st.none() | st.floats(0.1, 79), st.integers(0, 2**32),
       st.floats(-1e3, 1e3).filter(bool))
def test_round_trip(tmp_path_factory, hidden, preprocess, seed, scale):
    path = tmp_path_factory.mktemp("weights") / "any.npz"
    model = CoordinatewiseLSTM(tuple(hidden), preprocess, scale, rng=seed, backend="numpy")
    pretrained.save(model, path)
    loaded = pretrained.load(path, backend="numpy")
    assert loaded.config == model.config
    gradients = np.random.default_rng(seed).standard_normal((4, 6)).astype(np.float32)
    came, wanted = updates(loaded, gradients), updates(model, gradients)
    assert came.dtype == wanted.dtype == np.float32
    assert came.tobytes() == wanted.tobytes()


def test_float32_weights_and_the_settings_of_the_caller(path, model):
    pretrained.save(model, path)
    loaded = pretrained.load(str(path), backend="numpy", threads=1)
    assert {a.dtype for a in leaves(loaded.params)} == {np.dtype(np.float32)}
    assert (loaded.backend, loaded.threads) == ("numpy", 1)


def test_the_card_comes_along(path, tmp_path, model):
    pretrained.save(model, path, {"seed": 5, "problem": {"problem": "mine"}})
    loaded = pretrained.load(path)
    assert (loaded.card["name"], loaded.card["seed"], loaded.card["model"]) == ("mine", 5, model.config)
    pretrained.save(loaded, tmp_path / "again.npz")
    assert pretrained.load(tmp_path / "again.npz").card == loaded.card
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_the_card_given_is_not_changed(path, model):
    card = {"seed": 5}
    pretrained.save(model, path, card)
    assert card == {"seed": 5} and model.card is None


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_weights_that_are_not_finite_in_float32_are_not_saved(path, model, bad):
    model.params = model.params._replace(b=np.array([bad]))
    with pytest.raises(ValueError, match="mine.npz: b holds values that are not finite"):
        pretrained.save(model, path)
    assert not path.exists()


# What is not a model is refused.


@pytest.mark.parametrize("changes, name", [
    ({"dim": 0}, "dim"), ({"dim": 2.0}, "dim"), ({"dim": True}, "dim"), ({"dim": 10**9}, "dim"), ({"dim": None}, "dim"),
    ({"hidden": [4]}, "hidden"), ({"hidden": 0}, "hidden"), ({"hidden": 10**400}, "hidden"),
    ({"cell": "gru"}, "cell"), ({"cell": None}, "cell"), ({"cell": []}, "cell"), ({"output": "tanh"}, "output"),
    ({"dim": 3}, "W_x: expected shape"), ({"hidden": 5}, "W_x: expected shape"),
])
def test_a_hostile_card_of_a_proposer_is_refused(path, changes, name):
    proposer = Proposer(2, 4)
    write_with(path, proposer, proposer.config | changes)
    assert f"{name}" in refusal(path)
    write_with(path, proposer, proposer.config)
    assert pretrained.load(path).config == proposer.config


@pytest.mark.parametrize("changes, message", [
    ({"memory": [8, 4]}, "memory: expected 3 whole numbers"), ({"memory": [0, 4, 1]}, "memory: expected 3 whole"),
    ({"memory": [8, 4, 10**12]}, "memory: expected 3 whole"), ({"memory": "8,4,1"}, "memory: expected 3 whole"),
    ({"memory": [8, True, 1]}, "memory: expected 3 whole"), ({"memory": [8, 5, 1]}, "expected shape"),
    ({"cell": "lstm"}, "memory: expected None"),
])
def test_a_hostile_memory_is_refused(path, changes, message):
    proposer = Proposer(2, 4, cell="dnc", memory=(8, 4, 1))
    write_with(path, proposer, proposer.config | changes)
    assert message in refusal(path)
    write_with(path, proposer, proposer.config)
    loaded = pretrained.load(path)
    assert loaded.config == proposer.config
    for ours, theirs in zip(leaves(proposer.params_as(np.float32)), leaves(loaded.params), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", [None, 3, b"general"])
def test_a_name_is_a_string_or_a_path(name):
    with pytest.raises(TypeError, match="^name: expected the name of a shipped optimizer or the path of a file, got "):
        pretrained.load(name)


def test_what_has_no_weights_is_not_saved(path):
    with pytest.raises(TypeError, match="^model: expected an optimizer with weights, got Adjusted"):
        pretrained.save(Adjusted(CoordinatewiseLSTM()), path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["no-such-lstm", "", ".", "no/such/file.npz", "../pretrained"])
def test_an_unknown_name_lists_those_there_are(name):
    with pytest.raises(ValueError) as caught:
        pretrained.load(name)
    assert str(caught.value).startswith("name: ") and repr(name) in str(caught.value)
    assert all(shipped in str(caught.value) for shipped in NEEDED)


HUGE = 10**9
HOSTILE_MODELS = {
    "no object": 7,
    "a list": [],
    "nothing": None,
    "another model": {"model": "gru"},
    "a unit too many": {"hidden": [3, 3]},
    "a unit too few": {"hidden": [2, 2]},
    "a layer too few": {"hidden": [3]},
    "a layer too many": {"hidden": [3, 2, 2]},
    "no layers": {"hidden": []},
    "more units than can be": {"hidden": [HUGE]},
    "more units than are believed": {"hidden": [pretrained.LARGEST_LAYER + 1]},
    "large layers": {"hidden": [pretrained.LARGEST_LAYER] * 64},
    "many layers": {"hidden": [1] * 65},
    "very many layers": {"hidden": [1] * 10**6},
    "a long number": {"hidden": [10**4000]},
    "no units": {"hidden": [0, 2]},
    "negative units": {"hidden": [-3, 2]},
    "half a unit": {"hidden": [3.0, 2]},
    "units in words": {"hidden": ["3", "2"]},
    "a word": {"hidden": "32"},
    "truth": {"hidden": [True, 2]},
    "nested": {"hidden": [[3], [2]]},
    "an object": {"hidden": {"0": 3, "1": 2}},
    "null": {"hidden": None},
    "preprocess nan": {"preprocess": float("nan")},
    "preprocess infinite": {"preprocess": float("inf")},
    "preprocess 0": {"preprocess": 0},
    "preprocess negative": {"preprocess": -10.0},
    "preprocess 80": {"preprocess": 80},
    "preprocess a word": {"preprocess": "10"},
    "preprocess true": {"preprocess": True},
    "preprocess long": {"preprocess": 10**400},
    "preprocess a list": {"preprocess": [10]},
    "no preprocess is another shape": {"preprocess": None},
    "output_scale 0": {"output_scale": 0},
    "output_scale nan": {"output_scale": float("nan")},
    "output_scale infinite": {"output_scale": float("-inf")},
    "output_scale a word": {"output_scale": "1\n2"},
    "output_scale null": {"output_scale": None},
    "output_scale true": {"output_scale": True},
    "output_scale long": {"output_scale": 10**400},
}
MISSING = ["model", "hidden", "preprocess", "output_scale"]


def write_with(path, model, config):
    files.write(path, pretrained._to_arrays(model.params), {"model": config})


def refusal(path):
    with pytest.raises(ValueError) as caught:
        pretrained.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < len(str(path)) + 500
    return message


def test_the_config_that_the_hostile_ones_change_is_good(path, model):
    write_with(path, model, model.config)
    assert pretrained.load(path).config == model.config


@pytest.mark.parametrize("hostile", HOSTILE_MODELS)
def test_a_hostile_card_is_refused(path, model, hostile):
    changes = HOSTILE_MODELS[hostile]
    write_with(path, model, model.config | changes if isinstance(changes, dict) else changes)
    message = refusal(path)
    for name in ("preprocess", "output_scale"):
        assert not hostile.startswith(name) or name in message


@pytest.mark.parametrize("scale", [10**30, 3, 10**308])
def test_a_whole_number_is_an_output_scale(path, model, scale):
    write_with(path, model, model.config | {"output_scale": scale})
    assert pretrained.load(path).output_scale == float(scale)


def test_a_model_has_no_more_weights_than_are_believed(path, model):
    write_with(path, model, model.config | {"hidden": [pretrained.LARGEST_LAYER] * 2})
    assert "hidden: expected a model of at most 16,777,216 weights, got 201,396,225" in refusal(path)
    tracemalloc.start()
    try:
        for make in (lambda: CoordinatewiseLSTM([4096, 4096]), lambda: Proposer(1000, 4096)):
            with pytest.raises(ValueError, match="^hidden: expected a model of at most"):
                make()
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_name_of_a_shipped_optimizer_is_no_path(path, model, monkeypatch):
    """A file of the user is read as such, with its bounds, and by its whole name alone."""
    pretrained.save(model, path)
    assert path.suffix == ".npz"
    with pytest.raises(ValueError, match="^name: expected the path of a file or one of"):
        pretrained.load(path.with_suffix(""))


@pytest.mark.parametrize("one", [True, 1.0, "1", [1]])
def test_what_equals_a_number_is_no_number_of_units(path, one):
    model = CoordinatewiseLSTM(hidden=(1,), backend="numpy")
    write_with(path, model, model.config | {"hidden": [one]})
    assert "hidden: expected" in refusal(path)


@pytest.mark.parametrize("missing", MISSING)
def test_a_card_that_lacks_something_is_refused(path, model, missing):
    write_with(path, model, {name: value for name, value in model.config.items() if name != missing})
    refusal(path)


def test_a_card_without_model_is_refused(path, model):
    files.write(path, pretrained._to_arrays(model.params), {"name": "mine"})
    assert "does not describe" in refusal(path)


def test_other_arrays_are_refused(path, model):
    written = pretrained._to_arrays(model.params)
    for changed in (written | {"layers.2.W_x": np.ones((2, 8), np.float32)},
                    {name: a for name, a in written.items() if name != "layers.1.W_h"},
                    written | {"W": written["W"].astype(np.float64)},
                    written | {"W": written["W"].T.copy()}):
        files.write(path, changed, {"model": model.config})
        refusal(path)


# The optimizers that ship.


def test_what_ships():
    assert NEEDED <= set(SHIPPED)
    cards = l2l_ref.models()
    assert [card["name"] for card in cards] == SHIPPED
    json.dumps(cards, allow_nan=False)


def test_each_shipped_problem_is_the_one_of_its_name():
    problems = {card["name"]: card["problem"] for card in l2l_ref.models()}
    assert problems["quadratic-lstm"]["dist"] == "uniform"
    assert problems["quadratic-normal-lstm"]["dist"] == "normal"
    assert [problems[f"{name}-lstm"]["problem"] for name in ("quadratic", "mnist", "digits")] == [
        "quadratic", "mnist", "digits"]


@pytest.mark.parametrize("name", sorted(NEEDED | set(SHIPPED)))
def test_a_shipped_card_says_how_it_came_about(name):
    card = pretrained.load(name).card
    kinds = {"name": str, "command": str, "seed": int, "minutes": float, "score": dict, "problem": dict,
             "recipe": dict, "model": dict, "version": str, "epochs": int, "best_epoch": int, "validation": dict}
    assert {key: type(card[key]) for key in kinds} == kinds
    assert card["name"] == name
    assert 1 <= card["best_epoch"] <= card["epochs"] <= card["recipe"]["epochs"]
    score = card["score"]
    assert score["functions"] >= 20 and score["steps"] == card["recipe"].get("steps", 100)
    if card["model"]["model"] == "proposer":  # values of mean 0, and the sum is over 100 of them
        assert -np.inf < score["sum"] < score["final"] < 0
        of_each = card["moments"] if isinstance(card["problem"]["dim"], list) else [card["moments"]]
        assert {len(moments) for moments in of_each} == {score["steps"].bit_length()}
    else:
        assert 0 < score["final"] < score["sum"] < np.inf


@pytest.mark.parametrize("name", sorted(NEEDED | set(SHIPPED)))
def test_a_shipped_command_can_be_given_anywhere(name):
    card = pretrained.load(name).card
    words = shlex.split(card["command"])
    problem = card["problem"]["problem"]
    assert words[:3] == ["l2l-ref", "train", COMMANDS.get(problem, problem)]
    assert not set(card["command"]) & {"/", "\\", "~", "\n"}
    assert words[words.index("--seed") + 1] == str(card["seed"])


def steps_of_a_search(model):
    """On functions of the law it was trained on: inside of the cube, and in 20 queries ahead of random search."""
    means, model = [], model.of(3)
    for search in (BatchSearch(model, 300, 20, 0, given_scale((0, 1))), RandomSearch(300, model.dim, 0)):
        functions = GPFunctions(300, model.dim, 20, seed=0)
        for _ in range(20):
            x = search.ask()
            assert ((x >= 0) & (x <= 1)).all()
            search.tell(x, functions(x))
        # The sum of all values asks for low ones from the start, not for one that is lowest.
        of = np.mean if model.card["recipe"]["loss"] == "sum" else np.min
        means.append(of(functions.values, axis=1).mean())
    assert means[0] < means[1] - 0.05, means


@pytest.mark.parametrize("name", sorted(NEEDED | set(SHIPPED)))
def test_a_shipped_optimizer_takes_steps(name):
    model = pretrained.load(name, backend="numpy")
    if isinstance(model, Proposer):
        return steps_of_a_search(model)
    gradients = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    steps = updates(model, gradients)
    assert np.isfinite(steps).all() and (steps != 0).all()
