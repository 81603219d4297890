"""One minus sign in one entry of a Jacobian.

Reported as dqrobotics/matlab#62. The pose of a mobile robot is a dual quaternion; these are its four entries that
are not always 0, as functions of the position (x, y) and the heading phi.
"""

import numpy as np

import l2l_ref as l2l


def pose(q):
    x, y, phi = q
    c, s = np.cos(phi / 2), np.sin(phi / 2)
    return np.array([c, s, 0.5 * (x * c + y * s), 0.5 * (-x * s + y * c)])


def wrong(q):
    x, y, phi = q
    c, s = np.cos(phi / 2), np.sin(phi / 2)
    return np.array([
        [0, 0, -0.5 * s],
        [0, 0, 0.5 * c],
        [0.5 * c, 0.5 * s, 0.25 * (-x * s + y * c)],
        [-0.5 * s, 0.5 * c, 0.25 * (x * c - y * s)],
    ])


def right(q):
    x, y, phi = q
    c, s = np.cos(phi / 2), np.sin(phi / 2)
    return np.array([
        [0, 0, -0.5 * s],
        [0, 0, 0.5 * c],
        [0.5 * c, 0.5 * s, 0.25 * (-x * s + y * c)],
        [-0.5 * s, 0.5 * c, 0.25 * (-x * c - y * s)],
    ])


q = np.array([0.7, -0.4, 1.1])
print(l2l.gradcheck(pose, wrong, q, kind="jacobian"), end="\n\n")
print(l2l.gradcheck(pose, right, q, kind="jacobian"))
