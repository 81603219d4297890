"""Trees: one walker for lists, tuples, NamedTuples and dicts; what optimizers do with them; the names in messages."""

from collections import OrderedDict, defaultdict, namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2l_ref.baselines.gradient import OPTIMIZERS
from l2l_ref.learned.optimizer import CoordinatewiseLSTM
from l2l_ref.trees import add, build, flatten, layout, leaves, paths, require_layout, tree_map, unflatten

Layer = namedtuple("Layer", "W b")
SHAPE = st.lists(st.integers(0, 3), max_size=2).map(tuple)


def trees(leaf):
    """Nested structures of every kind, empty ones and None among them."""
    return st.recursive(leaf | st.none(), lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.builds(Layer, inner, inner),
        st.dictionaries(st.sampled_from(["b", "W", "a.b", 0, 1, (2, 3)]), inner, max_size=3),
        st.dictionaries(st.text(max_size=2), inner, max_size=2).map(OrderedDict),
    ), max_leaves=8)


def structure(tree):
    """All of a tree but its arrays: types, keys in their order, shapes."""
    if isinstance(tree, dict):
        return type(tree), [(key, structure(part)) for key, part in tree.items()]
    if isinstance(tree, (tuple, list)):
        return type(tree), [structure(part) for part in tree]
    return None if tree is None else np.shape(tree)


SHAPES = trees(st.builds(lambda shape: np.zeros(shape), SHAPE))


@given(SHAPES, st.randoms(use_true_random=False))
def test_a_tree_is_taken_apart_and_put_together(tree, random):
    numbered = build(tree, range(len(leaves(tree))))
    assert leaves(numbered) == list(range(len(leaves(tree))))
    assert structure(tree_map(np.zeros_like, tree)) == structure(tree)
    assert len(paths(tree)) == len(leaves(tree)) == len(layout(tree))

    def shuffled(part):
        """The same entries, those of dicts in another order."""
        if isinstance(part, dict):
            items = list(part.items())
            random.shuffle(items)
            return type(part)((key, shuffled(value)) for key, value in items)
        if isinstance(part, (tuple, list)):
            parts = [shuffled(value) for value in part]
            return type(part)(*parts) if hasattr(part, "_fields") else type(part)(parts)
        return part

    assert leaves(shuffled(numbered)) == leaves(numbered) and paths(shuffled(tree)) == paths(tree)


@given(SHAPES.filter(lambda tree: len(leaves(tree)) > 0), st.sampled_from(["numpy", "numba", *OPTIMIZERS]),
       st.integers(0, 99))
def test_optimizers_treat_a_tree_as_its_arrays_side_by_side(tree, name, seed):
    rng = np.random.default_rng(seed)
    if name in OPTIMIZERS:
        opt = OPTIMIZERS[name](0.1)
    else:
        opt = CoordinatewiseLSTM(hidden=(4, 3), preprocess=10.0, rng=1, backend=name)
    state, flat_state = opt.init(tree), opt.init(flatten(tree))
    for _ in range(3):
        gradient = tree_map(lambda leaf: rng.standard_normal(leaf.shape), tree)
        kept = flatten(gradient)
        update, state = opt.update(gradient, state, tree)
        flat_update, flat_state = opt.update(kept, flat_state)
        assert structure(update) == structure(gradient)
        np.testing.assert_array_equal(flatten(update), flat_update)
        np.testing.assert_array_equal(flatten(gradient), kept)
    np.testing.assert_array_equal(flatten(add(tree, update)), flatten(tree) + flat_update)


@given(SHAPES.filter(lambda tree: len(leaves(tree)) > 0))
def test_a_vector_becomes_a_tree_again(tree):
    vector = np.arange(flatten(tree).size, dtype=np.float32)
    again = unflatten(vector, tree)
    assert structure(again) == structure(tree)
    np.testing.assert_array_equal(flatten(again), vector)
    assert all(leaf.base is not None or leaf.size == 0 for leaf in leaves(again))  # views


def test_the_type_of_a_dict_and_the_order_of_its_keys_are_kept():
    tree = {"w": np.zeros(1), "b": OrderedDict(z=np.zeros(2), y=None), "c": defaultdict(list, x=np.zeros(3))}
    again = tree_map(np.ones_like, tree)
    assert list(again) == ["w", "b", "c"] and list(again["b"]) == ["z", "y"]
    assert type(again["b"]) is OrderedDict and type(again["c"]) is defaultdict and again["c"].default_factory is list
    assert not tree["w"].any() and not tree["b"]["z"].any()  # the first tree is as it was


def test_paths():
    tree = {"dense": [Layer(0, 1), (2, None)], "a": 3}
    assert paths(tree) == ["a", "dense.0.W", "dense.0.b", "dense.1.0"]
    assert paths(tree, "theta")[0] == "theta.a" and paths(1.0) == [""] and paths(1.0, "theta") == ["theta"]


THETA = {"dense": [Layer(np.zeros((3, 2)), np.zeros(2)), None], "out": np.zeros(4)}


@pytest.mark.parametrize("tree, message", [
    ({"dense": [Layer(np.zeros((2, 3)), np.zeros(2))], "out": np.zeros(4)},
     r"gradient\.dense\.0\.W: expected shape \(3, 2\), as in theta, got \(2, 3\)"),
    ({"dense": [Layer(np.zeros((3, 2)), np.zeros(2))]}, "gradient: expected the arrays of theta, got them without out"),
    ({**THETA, "more": [np.zeros(2)] * 9}, r"with more\.0, more\.1, more\.2, more\.3, more\.4 and 4 more"),
    ({"dense": [{"b": np.zeros((3, 2)), "W": np.zeros(2)}], "out": [np.zeros(4)]}, r"without out and with out\.0"),
    (np.zeros(4), r"which are dense\.0\.W, dense\.0\.b, out, got one array"),
    ([], r"without dense\.0\.W, dense\.0\.b, out"),
])
def test_a_difference_is_named(tree, message):
    with pytest.raises(ValueError, match=message):
        require_layout("gradient", tree, layout(THETA), "theta")


def test_a_list_may_stand_for_a_tuple():
    require_layout("gradient", {"out": np.ones(4), "dense": ((np.ones((3, 2)), np.ones(2)),)},
                   tuple((path.replace("W", "0").replace("b", "1"), shape) for path, shape in layout(THETA)), "theta")


def test_sums_need_the_same_number_of_arrays():
    assert add([1, (2, None)], [10, (20, None)]) == [11, (22, None)]
    with pytest.raises(ValueError):
        add([np.zeros(2), np.zeros(2)], [np.zeros(2)])
