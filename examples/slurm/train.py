"""Meta-training on MPI, which train.sbatch starts: ``python -m mpi4py.futures train.py [EPOCHS UPDATES FUNCTIONS]``.

The checkpoint is in the folder where this is called, which has to be one that outlives the job.
"""

import sys

from mpi4py.futures import MPIPoolExecutor

import l2l_ref as l2l
from l2l_ref.black_boxes import GPDistribution


def report(progress, recipe):
    entry = progress.log[-1]
    print(f"epoch {progress.epoch}/{recipe.epochs}: validation {entry['validation_sum']:.4g}, {entry['seconds']:.1f} s",
          flush=True)


if __name__ == "__main__":  # the other ranks import this file
    epochs, updates, functions = (map(int, sys.argv[1:4]) if len(sys.argv) > 1 else (100, 100, 256))
    proposer = l2l.Proposer(dim=3, hidden=64, rng=0)
    with MPIPoolExecutor() as executor:
        trained, log = l2l.meta_train_black_box(
            proposer, GPDistribution(dim=3), seed=0, epochs=epochs, updates=updates, functions=functions,
            pieces=min(32, functions), executor=executor, checkpoint="train.ckpt", resume=True, report=report)
    l2l.save(trained, "gp-3-lstm.npz")
    print(f"gp-3-lstm.npz: best validation {min(entry['validation_sum'] for entry in log):.4g}")
