"""Tasks that ask for a memory, and training on them."""

import numpy as np
import pytest

from l2l_ref.learned.cells import LSTM, dnc_with
from l2l_ref.learned.sequence import sequence, sequence_init
from l2l_ref.metatrain.sequences import Copy, Recall, Recipe, train_on_sequences, wrong_bits
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
