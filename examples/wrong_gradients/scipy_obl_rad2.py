"""The oblate radial function of the second kind, and the derivative that is returned with it.

Seen in scipy 1.17.1. The function of the first kind, `obl_rad1`, is right. The Wronskian R1 R2' - R1' R2 of the two is
1 / (c (1 + x^2)), whatever the function of the second kind is to be computed from.
"""

import l2l_ref as l2l

try:
    import scipy
    from scipy import special
except ImportError as missing:
    print(f"{missing.name} is not installed")
    raise SystemExit from None

m, n, c, x = 1, 2, 1.0, 1.0


def first(x):
    return special.obl_rad1(m, n, c, x)[0]


def second(x):
    return special.obl_rad2(m, n, c, x)[0]


print(l2l.gradcheck(second, lambda d_out, x: d_out * special.obl_rad2(m, n, c, x)[1], x))
assert l2l.gradcheck(first, lambda d_out, x: d_out * special.obl_rad1(m, n, c, x)[1], x).ok

# The Wronskian, times what it should be divided by, with the derivative that is returned and with a difference.
r1, d_r1 = special.obl_rad1(m, n, c, x)
r2, d_r2 = special.obl_rad2(m, n, c, x)
difference = (second(x + 1e-5) - second(x - 1e-5)) / 2e-5
print(f"\nscipy {scipy.__version__}")
for name, slope in (("the returned derivative", d_r2), ("a difference of the values", difference)):
    print(f"Wronskian with {name}: {c * (1 + x**2) * (r1 * slope - d_r1 * r2):.6f}, should be 1")
