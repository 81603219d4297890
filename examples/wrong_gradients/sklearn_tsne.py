"""The gradient of t-SNE for three and more components.

Seen in scikit-learn 1.9.1. In d dimensions it uses a Student distribution with d - 1 degrees of freedom. Its gradient
has the weights (1 + r^2 / dof)^(-(dof + 1) / 2), where -1 is the right exponent: the two agree for one degree of
freedom, which is for one or two components.
"""

import numpy as np

import l2l_ref as l2l

try:
    import sklearn
    from sklearn.manifold._t_sne import _kl_divergence  # what TSNE(method="exact") minimises
except ImportError:
    print("scikit-learn is not installed")
    raise SystemExit from None

points, components = 6, 3
dof = components - 1
rng = np.random.default_rng(0)
P = rng.uniform(size=points * (points - 1) // 2)
P /= 2 * P.sum()
embedding = rng.normal(size=points * components)


def loss(embedding):
    return _kl_divergence(embedding, P, dof, points, components)[0]


def gradient(embedding):
    return _kl_divergence(embedding, P, dof, points, components)[1]


print(l2l.gradcheck(loss, gradient, embedding, kind="gradient"))


def own_loss(embedding):
    """The Kullback-Leibler divergence by its definition, in extended precision."""
    y = embedding.reshape(points, components)
    i, j = np.triu_indices(points, 1)
    q = (1 + ((y[i] - y[j]) ** 2).sum(axis=1) / dof) ** (-np.longdouble(dof + 1) / 2)
    return 2 * np.sum(P * np.log(P / (q / (2 * q.sum()))))


h, exact = np.longdouble(1e-6), embedding.astype(np.longdouble)
assert abs(own_loss(exact) - loss(embedding)) < 1e-14
print(f"\nscikit-learn {sklearn.__version__}")
claim, steps = gradient(embedding), h * np.eye(exact.size, dtype=exact.dtype)
truth = np.array([(own_loss(exact + step) - own_loss(exact - step)) / (2 * h) for step in steps])
for k in range(3):
    print(f"entry {k}: gradient {claim[k]:.10f}, difference in long double {truth[k]:.10f}")
cosine = claim @ truth / np.sqrt((claim @ claim) * (truth @ truth))
print(f"angle between the two: {np.degrees(np.arccos(cosine)):.1f} degrees")
