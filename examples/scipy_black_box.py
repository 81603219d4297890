"""A learned black-box optimizer as a method of scipy.optimize.minimize, with bounds and a constraint."""

from scipy.optimize import NonlinearConstraint, minimize

from l2l_ref.integrations.scipy import learned_search


def branin(x):
    return (x[1] - 0.129 * x[0] ** 2 + 1.592 * x[0] - 6) ** 2 + 0.1 * x[0] ** 2


within = NonlinearConstraint(lambda x: x[0] + x[1], 2, 15)
result = minimize(branin, [0, 5], bounds=[(-5, 10), (0, 15)], method=learned_search, constraints=within,
                  options={"maxfev": 60, "seed": 0})
print(f"{result.fun:.4f} at {result.x.round(3)} in {result.nfev} evaluations, of which {len(result.failures)} were not "
      "feasible")

assert 2 <= sum(result.x) <= 15 and result.fun < 1
