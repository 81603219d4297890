"""Meta-training on a dask cluster: the same weights as in this process.

Here the cluster is two processes of this machine. For another one, give ``Client`` the address of its scheduler.
"""

from distributed import Client, LocalCluster

import l2l_ref as l2l
from l2l_ref.optimizees import Quadratic

model = l2l.CoordinatewiseLSTM((10,), rng=0)
recipe = {"epochs": 2, "tasks": 4, "functions": 32, "pieces": 4, "validation_functions": 64, "seed": 0}

if __name__ == "__main__":  # workers that are processes import this file
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as client:
        there, log = l2l.meta_train(model, Quadratic(10), 20, 10, executor=client, piece_seconds=60, **recipe)
    here, _ = l2l.meta_train(model, Quadratic(10), 20, 10, **recipe)
    assert (there.params.W == here.params.W).all()
    print(f"validation after {len(log)} epochs: {log[-1]['validation_final']:.4g}, the same weights as in one process")
