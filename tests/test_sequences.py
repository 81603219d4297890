"""Tasks that ask for a memory, and training on them."""

from collections import Counter

import numpy as np
import pytest

from l2l_ref.learned.cells import LSTM, dnc_with
from l2l_ref.learned.sequence import sequence, sequence_init
from l2l_ref.metatrain.sequences import (
    Copy,
    Recall,
    Recipe,
    ShortestPath,
    right_sequences,
    train_on_sequences,
    wrong_bits,
)
from l2l_ref.trees import flatten, leaves

TINY = Copy(bits=2, longest=3)
CELL = dnc_with(slots=4, word=4, heads=1)


def start(task=TINY, cell=CELL, hidden=8):
    return sequence_init(np.random.default_rng(0), task.inputs, task.bits, hidden, cell)


def test_what_is_asked_for_is_what_was_shown():
    x, y, asked = Copy(bits=3).sample(4, 5, np.random.default_rng(0))
    assert x.shape == (5, 9, 4) and asked.tolist() == [False] * 5 + [True] * 4
    np.testing.assert_array_equal(x[:, :4, :3], y[:, asked])
    np.testing.assert_array_equal(x[:, 4], [[0, 0, 0, 1]] * 5)
    assert not x[:, 5:].any()


def test_the_item_after_the_one_that_is_shown_again_is_asked_for():
    task = Recall(bits=5, words=2)
    x, y, asked = task.sample(4, 20, np.random.default_rng(0))
    items = x[:, :12].reshape(20, 4, 3, 7)
    np.testing.assert_array_equal(items[:, :, 0], np.broadcast_to(np.eye(7)[5], (20, 4, 7)))
    shown_again = x[:, 13:15, :5]
    np.testing.assert_array_equal(x[:, 12], np.broadcast_to(np.eye(7)[6], (20, 7)))
    for b in range(20):
        [k] = [k for k in range(3) if (items[b, k, 1:, :5] == shown_again[b]).all()]
        np.testing.assert_array_equal(y[b, asked], items[b, k + 1, 1:, :5])
    assert asked.tolist() == [False] * 15 + [True] * 2


def graph_and_query(x, task):
    """What a sequence shows, read back from its bits: a list of edges, and (start, goal)."""
    shown = x[: task.edges + 1, : 2 * task.nodes].reshape(-1, 2, task.nodes)
    np.testing.assert_array_equal(shown.sum(axis=-1), 1)
    *edges, query = [tuple(pair) for pair in shown.argmax(axis=-1).tolist()]
    return edges, query


def shortest_paths(edges, start, goal):
    """All of them, by breadth-first search over whole paths."""
    paths = [[start]]
    while paths and not any(path[-1] == goal for path in paths):
        paths = [path + [b] for path in paths for a, b in edges if a == path[-1] and b not in path]
    return [path for path in paths if path[-1] == goal]


@pytest.mark.parametrize("task", [ShortestPath(), ShortestPath(nodes=8, edges=12, longest=4),
                                  ShortestPath(nodes=4, edges=6), ShortestPath(nodes=2, edges=1, longest=1)])
def test_the_only_shortest_path_is_asked_for(task):
    n = task.nodes
    for length in range(task.shortest, task.longest + 1):
        x, y, asked = task.sample(length, 50, np.random.default_rng(length))
        assert x.shape == (50, task.edges + 2 + length, task.inputs) and y.shape == (*x.shape[:2], task.bits)
        assert asked.tolist() == [False] * (task.edges + 2) + [True] * length
        marks = np.zeros((x.shape[1], 2))
        marks[task.edges, 0] = marks[task.edges + 1, 1] = 1
        np.testing.assert_array_equal(x[:, :, 2 * n :], np.broadcast_to(marks, (50, *marks.shape)))
        assert not x[:, task.edges + 1 :, : 2 * n].any() and not y[:, ~asked].any()
        for shown, answer in zip(x, y[:, asked]):
            edges, (start, goal) = graph_and_query(shown, task)
            assert len(set(edges)) == task.edges and all(a != b for a, b in edges)
            np.testing.assert_array_equal(answer.sum(axis=-1), 1)
            assert shortest_paths(edges, start, goal) == [[start, *answer.argmax(axis=-1).tolist()]]


def test_graphs_with_a_query_are_equally_likely_and_their_edges_come_in_any_order():
    """3 nodes have 6 paths of 2 edges, and a third edge may be any but the one that cuts the path short: 18 cases."""
    task = ShortestPath(nodes=3, edges=3, longest=2)
    x, _, _ = task.sample(2, 10800, np.random.default_rng(0))
    drawn = [graph_and_query(row, task) for row in x]
    cases = Counter((frozenset(edges), query) for edges, query in drawn)
    orders = Counter((tuple(edges), query) for edges, query in drawn)
    assert len(cases) == 18 and len(orders) == 18 * 6
    assert all(abs(count - 600) < 5 * 600**0.5 for count in cases.values())
    assert all(abs(count - 100) < 50 for count in orders.values())


def test_graphs_are_drawn_by_the_seed_alone():
    one, same, other = (ShortestPath().sample(3, 8, np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b in zip(one, same):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("fields, message", [
    ({"nodes": 1}, "nodes: expected a whole number >= 2, got 1"),
    ({"shortest": 0}, r"shortest: expected a whole number in 1\.\.5, got 0"),
    ({"shortest": 7, "longest": 8}, r"shortest: expected a whole number in 1\.\.5, got 7"),
    ({"shortest": 3, "longest": 2}, r"longest: expected a whole number in 3\.\.5, got 2"),
    ({"longest": 6}, r"longest: expected a whole number in 1\.\.5, got 6"),
    ({"edges": 2}, r"edges: expected a whole number in 3\.\.15, got 2"),
    ({"edges": 16}, r"edges: expected a whole number in 3\.\.15, got 16"),
])
def test_graphs_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ShortestPath(**fields)


def test_paths_that_cannot_be_drawn_are_refused():
    for length in (0, 6):
        with pytest.raises(ValueError, match=rf"length: expected a whole number in 1\.\.5, got {length}"):
            ShortestPath().sample(length, 1, np.random.default_rng(0))
    with pytest.raises(ValueError, match="edges: expected so few that a shortest path of 11 edges .* got 66"):
        ShortestPath(nodes=12, edges=66, longest=11).sample(11, 2, np.random.default_rng(0))


def test_a_sequence_is_right_if_none_of_its_bits_is_wrong():
    params, batch = start(), TINY.sample(2, 50, np.random.default_rng(0))
    (_, v, _), _ = sequence(*batch, params, CELL)
    right = [((row > 0) == y)[batch[2]].all() for row, y in zip(v, batch[1])]
    assert 0 < right_sequences(params, CELL, *batch) == sum(right) / 50 < 1


@pytest.mark.parametrize("cell", [LSTM, CELL], ids=lambda cell: cell.name)
def test_training_learns_and_resumes_to_the_last_bit(tmp_path, cell):
    recipe = {"epochs": 6, "updates": 40, "batch": 16, "validation": 20, "decay_from": 0.0}
    params = start(cell=cell)
    untrained = wrong_bits(params, cell, *TINY.sample(1, 200, np.random.default_rng(9)))
    trained, log = train_on_sequences(params, cell, TINY, seed=3, **recipe)
    assert untrained > 0.5 and wrong_bits(trained, cell, *TINY.sample(1, 200, np.random.default_rng(9))) < 0.1
    assert [entry["steps"] for entry in log] == [3] * 6

    class Stop(Exception):
        pass

    def stop(progress, recipe):
        if progress.epoch == 2:
            raise Stop

    file = tmp_path / "c.npz"
    with pytest.raises(Stop):
        train_on_sequences(params, cell, TINY, seed=3, checkpoint=file, report=stop, **recipe)
    again, _ = train_on_sequences(params, cell, TINY, seed=3, checkpoint=file, resume=True, **recipe)
    np.testing.assert_array_equal(flatten(again), flatten(trained))
    with pytest.raises(ValueError, match="another run: its seed"):
        train_on_sequences(params, cell, TINY, seed=4, checkpoint=file, resume=True, **recipe)


def test_the_curriculum_grows_from_the_shortest_to_the_longest():
    recipe = Recipe(epochs=10, curriculum=0.5)
    assert [recipe.longest(Copy(longest=11), epoch) for epoch in range(10)] == [1, 3, 5, 7, 9] + [11] * 5
    assert Recipe(epochs=10).longest(Copy(longest=11), 0) == 11


def test_other_shapes_are_refused():
    x, y, asked = TINY.sample(2, 3, np.random.default_rng(0))
    for changed, message in (((x[:, 1:], y, asked), "y: expected shape"), ((x, y, asked[1:]), "asked: expected shape"),
                             ((x, y, np.zeros_like(asked)), "asked: expected at least one"),
                             ((x, y + 1, asked), "target: expected integers 0 or 1")):
        with pytest.raises(ValueError, match=message):
            sequence(*changed, start(), CELL)


def test_the_number_of_slots_does_not_show_in_the_weights():
    params, larger = start(), dnc_with(slots=9, word=4, heads=1)
    (L, _, states), _ = sequence(*TINY.sample(3, 2, np.random.default_rng(0)), params, larger)
    assert L.shape == (2,) and states[-1].memory.w.shape == (2, 9)
    assert len(leaves(params)) == 7
