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


def memory_step(xi, memory, N, W, R, epsilon):
    """One step of one memory of a differentiable neural computer, from the equations of Graves et al. 2016.

    ``memory`` is (M, u, L, p, w, w_r) in lists, None before the first step -> (what is read, memory').
    """
    M, u, L, p, w, w_r = memory or (
        [[0.0] * W for _ in range(N)], [0.0] * N, [[0.0] * N for _ in range(N)], [0.0] * N, [0.0] * N,
        [[0.0] * N for _ in range(R)])
    numbers = iter(xi)

    def take(count):
        return [next(numbers) for _ in range(count)]

    def gate(x):
        return 1 / (1 + exp(-x))

    def softmax(x):
        e = [exp(v - max(x)) for v in x]
        return [v / sum(e) for v in e]

    def size(a):
        return (sum(v * v for v in a) + epsilon) ** 0.5

    def content(key, beta):
        return softmax([beta * sum(a * b for a, b in zip(key, row)) / (size(key) * size(row)) for row in M])

    read_key = [take(W) for _ in range(R)]
    read_strength = [1 + log(1 + exp(x)) for x in take(R)]
    mode = [softmax(take(3)) for _ in range(R)]
    write_key, [write_strength] = take(W), [1 + log(1 + exp(x)) for x in take(1)]
    erase, write, free = [gate(x) for x in take(W)], take(W), [gate(x) for x in take(R)]
    g_a, g_w = (gate(x) for x in take(2))

    new_u = []
    for i in range(N):
        kept = u[i] + w[i] - u[i] * w[i]
        for r in range(R):
            kept *= 1 - free[r] * w_r[r][i]
        new_u.append(kept)
    order = sorted(range(N), key=lambda i: new_u[i])
    a = [0.0] * N
    for k, i in enumerate(order):
        a[i] = 1 - new_u[i]
        for j in order[:k]:
            a[i] *= new_u[j]
    c = content(write_key, write_strength)
    w = [g_w * (g_a * a[i] + (1 - g_a) * c[i]) for i in range(N)]
    M = [[M[i][j] * (1 - w[i] * erase[j]) + w[i] * write[j] for j in range(W)] for i in range(N)]
    L = [[0.0 if i == j else (1 - w[i] - w[j]) * L[i][j] + w[i] * p[j] for j in range(N)] for i in range(N)]
    p = [(1 - sum(w)) * p[i] + w[i] for i in range(N)]
    new_w_r = []
    for r in range(R):
        c = content(read_key[r], read_strength[r])
        forward = [sum(L[i][j] * w_r[r][j] for j in range(N)) for i in range(N)]
        backward = [sum(L[j][i] * w_r[r][j] for j in range(N)) for i in range(N)]
        new_w_r.append([mode[r][0] * backward[i] + mode[r][1] * c[i] + mode[r][2] * forward[i] for i in range(N)])
    read = [[sum(M[i][j] * new_w_r[r][i] for i in range(N)) for j in range(W)] for r in range(R)]
    return read, (M, new_u, L, p, w, new_w_r)
