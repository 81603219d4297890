"""A differentiable neural computer finds shortest paths: `python dnc_path.py [epochs [nodes edges longest]]`.

The network reads the directed edges of a random graph, one per step, then a start and a goal, and after a mark it has
to write the nodes of the shortest path, one per step. An LSTM with as many weights is trained on the same sequences.
With 6 nodes, 8 edges and paths of up to 3 edges it takes about a minute.
"""

import math
import sys

import numpy as np

from l2l_ref.learned.cells import LSTM, dnc_with, with_backend
from l2l_ref.learned.sequence import sequence_init
from l2l_ref.metatrain.sequences import ShortestPath, right_sequences, train_on_sequences
from l2l_ref.trees import flatten

EPOCHS = 60
epochs, *sizes = [int(word) for word in sys.argv[1:]] or [EPOCHS]
task, dnc = ShortestPath(*sizes), dnc_with(slots=16, word=16, heads=2)


def draw(cell, hidden):
    return sequence_init(np.random.default_rng(0), task.inputs, task.bits, hidden, cell)


def report(progress, recipe):
    entry = progress.log[-1]
    print(f"epoch {entry['epoch']}/{recipe.epochs}  loss {entry['loss']:.4f}  "
          f"wrong bits per sequence: {entry['validation_sum']:.3f}", flush=True)


units = min(range(60, 130), key=lambda hidden: abs(len(flatten(draw(LSTM, hidden))) - len(flatten(draw(dnc, 64)))))
for cell, hidden in ((dnc, 64), (LSTM, units)):
    params = draw(cell, hidden)
    print(f"{cell.name}: {hidden} units, {len(flatten(params)):,} weights")
    params, _ = train_on_sequences(params, cell, task, epochs=epochs, report=report)
    for length in range(1, task.longest + 1):
        batch = task.sample(length, 2000, np.random.default_rng(length))
        right = right_sequences(params, with_backend(cell, "auto", 2000), *batch)
        guess = 1 / math.perm(task.nodes - 2, length - 1)  # of one who knows the goal and how far away it is
        print(f"{cell.name}, paths of {length} edges: {right:.1%} of 2,000 are right, of guesses {guess:.1%}")
