"""A differentiable neural computer learns associative recall: `python dnc_recall.py [epochs]`, about a minute.

The network reads 2 to 5 items, each of two random words of 6 bits behind a mark. Then one of the items is shown again
behind another mark, and the network has to write the item that followed it.
"""

import sys

import numpy as np

from l2l_ref.learned.cells import dnc_with, with_backend
from l2l_ref.learned.sequence import sequence_init
from l2l_ref.metatrain.sequences import Recall, train_on_sequences, wrong_bits

EPOCHS = 80
task, cell = Recall(), dnc_with(slots=16, word=12, heads=1)
params = sequence_init(np.random.default_rng(0), task.inputs, task.bits, hidden=32, cell=cell)


def report(progress, recipe):
    entry = progress.log[-1]
    print(f"epoch {entry['epoch']}/{recipe.epochs}  loss {entry['loss']:.4f}  "
          f"wrong bits per sequence: {entry['validation_sum']:.3f}", flush=True)


epochs = int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS
params, _ = train_on_sequences(params, cell, task, epochs=epochs, report=report)

for slots in (16, 32):  # the weights do not depend on the number of slots
    larger = with_backend(dnc_with(slots, word=12, heads=1), "auto", 500)
    for length in (2, 3, 4, 5, 7, 10):
        batch = task.sample(length, 500, np.random.default_rng(length))
        wrong = wrong_bits(params, larger, *batch)
        print(f"{slots} slots, {length} items: {wrong:.3f} of {task.words * task.bits} bits wrong")
