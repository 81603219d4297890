"""A noisy simulator of a stock: when to order and how much, for the lowest cost a day, on four workers."""

import sys

import numpy as np

import l2l_ref as l2l

TITLE, NEEDS = "inventory, 3 parameters, noisy, 4 workers", None
SPACE = {"reorder_at": l2l.Int(0, 150), "order": l2l.Int(10, 300), "review_days": l2l.Int(1, 10)}
EVALUATIONS, WORKERS, NOISE = 60, 4, True


def daily_cost(x, rng, runs, days=120):
    """The mean cost a day of ``runs`` shops: storage, orders, reviews, and demand that is not met."""
    stock, cost = np.full(runs, 100.0), np.zeros(runs)
    arriving = np.zeros((days + 10, runs))  # what comes on each day
    for day in range(days):
        stock += arriving[day]
        demand = rng.poisson(rng.gamma(4.0, 4.0, runs))  # 16 a day, with good and bad days
        sold = np.minimum(demand, stock)
        stock -= sold
        cost += 0.1 * stock + 4.0 * (demand - sold)
        if day % x["review_days"] == 0:
            short = stock + arriving[day + 1:].sum(axis=0) <= x["reorder_at"]
            lead = rng.integers(2, 8, runs)
            arriving[day + lead, np.arange(runs)] += x["order"] * short
            cost += 3.0 + 50.0 * short
    return cost.mean() / days


def objective(seed):
    """The cost of one shop; and the mean cost of 500 others, which are the same for all optimizers."""
    rng = np.random.default_rng([seed, 2])
    return (lambda x: daily_cost(x, rng, 1)), (lambda x: daily_cost(x, np.random.default_rng(0), 500))


if __name__ == "__main__":
    from beside_peers import main

    main(sys.modules[__name__])
