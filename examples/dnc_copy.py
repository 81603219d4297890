"""A differentiable neural computer learns the copy task: `python dnc_copy.py [epochs]`, about half a minute.

The network reads 1 to 10 random words of 8 bits and then a mark, after which it has to write the same words. The figure
shows for one sequence where the network writes and reads at each step. Each word gets a slot, and the slots are read in
the order in which they were written.
"""

import sys

import numpy as np

from l2l_ref.learned.cells import dnc_with, with_backend
from l2l_ref.learned.sequence import sequence, sequence_init
from l2l_ref.metatrain.sequences import Copy, train_on_sequences, wrong_bits

EPOCHS = 40
task, cell = Copy(), dnc_with(slots=16, word=12, heads=1)
params = sequence_init(np.random.default_rng(0), task.inputs, task.bits, hidden=32, cell=cell)


def report(progress, recipe):
    entry = progress.log[-1]
    print(f"epoch {entry['epoch']}/{recipe.epochs}  up to {entry['steps']} words  loss {entry['loss']:.4f}  "
          f"wrong bits per sequence: {entry['validation_sum']:.3f}", flush=True)


epochs = int(sys.argv[1]) if len(sys.argv) > 1 else EPOCHS
params, _ = train_on_sequences(params, cell, task, epochs=epochs, report=report)

for slots in (16, 32):  # the weights do not depend on the number of slots
    larger = with_backend(dnc_with(slots, word=12, heads=1), "auto", 200)
    for length in (1, 5, 10, 15, 20):
        batch = task.sample(length, 200, np.random.default_rng(length))
        print(f"{slots} slots, {length} words: {wrong_bits(params, larger, *batch):.3f} of {8 * length} bits wrong")

x, y, asked = task.sample(10, 1, np.random.default_rng(0))
(_, v, states), _ = sequence(x, y, asked, params, cell)
panels = {
    "input": x[0], "output": np.where(asked[:, None], 1 / (1 + np.exp(-v[0])), 0),
    "write weighting": np.array([state.memory.w[0] for state in states]),
    "read weighting": np.array([state.memory.w_r[0, 0] for state in states]),
}
try:
    from matplotlib.figure import Figure
except ImportError:
    print("matplotlib is not installed: no figure")
else:
    figure = Figure(figsize=(6, 7), layout="constrained")
    for axes, (title, rows) in zip(figure.subplots(4, 1, sharex=True), panels.items()):
        axes.imshow(rows.T, cmap="Greys", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_ylabel(title + ("" if "put" in title else "\nslot"))
        axes.set_xticks(range(0, len(rows), 5))
        axes.set_yticks([])
    axes.set_xlabel("step")
    figure.savefig("dnc-copy.png", dpi=150)
    print("figure: dnc-copy.png")
