"""The equations once more, in scalars. Imports nothing from l2l_ref: an oracle that shares code with what it
judges shares its mistakes."""

from math import exp, log, tanh


def lstm_step(W_x, W_h, b, x, h, c):
    """One row; lists in, lists out. Gate order i f g o."""
    H = len(h)

    def a(gate, k):
        j = gate * H + k
        return b[j] + sum(x[d] * W_x[d][j] for d in range(len(x))) + sum(h[m] * W_h[m][j] for m in range(H))

    def gate(number, k):
        return 1 / (1 + exp(-a(number, k)))

    c_new = [gate(1, k) * c[k] + gate(0, k) * tanh(a(2, k)) for k in range(H)]
    return [gate(3, k) * tanh(c_new[k]) for k in range(H)], c_new


def features(g, p):
    """Appendix A of Andrychowicz et al. 2016, one number."""
    if p is None:
        return [g]
    if abs(g) >= exp(-p):
        return [log(abs(g)) / p, 1.0 if g > 0 else -1.0]
    return [-1.0, exp(p) * g]


def optimizer_step(layers, W, b, g, state, p, scale):
    """One coordinate. ``layers`` of (W_x, W_h, b), ``state`` of (h, c) per layer -> update, state'."""
    z, new = features(g, p), []
    for (W_x, W_h, b_l), (h, c) in zip(layers, state):
        z, c = lstm_step(W_x, W_h, b_l, z, h, c)
        new.append((z, c))
    return scale * (b[0] + sum(z[k] * W[k][0] for k in range(len(z)))), new
