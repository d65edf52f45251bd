"""Derive the coefficients of kernels/coefficients.py: ``python bench/fit_elementary.py``.

Each is the polynomial P of given degree that makes the largest ``|weight * (P - f)|`` on an
interval as small as possible, found by Remez exchange in 50 digits and then rounded to the
element type.  What each f is for, `Constants` says.
"""

from functools import partial

import mpmath as mp

mp.mp.dps = 50


def remez(f, weight, a, b, degree):
    """Coefficients of the best polynomial, the constant first."""
    n = degree + 1

    def nodes(count):  # of Chebyshev, none at the ends
        return [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (i + 0.5) / count) for i in range(count)]

    grid = [(x, weight(x), f(x)) for x in nodes(40 * n + 1)]
    points = [(x, weight(x), f(x)) for x in nodes(n + 1)]
    while True:
        # The polynomial whose error has one size and alternating signs on the points.
        rows = [[w * x**k for k in range(n)] + [(-1) ** i] for i, (x, w, _) in enumerate(points)]
        *c, level = mp.lu_solve(mp.matrix(rows), mp.matrix([w * y for _, w, y in points]))
        error = [w * (mp.polyval(c[::-1], x) - y) for x, w, y in grid]
        if max(map(abs, error)) < abs(level) * mp.mpf("1.001"):
            return c
        # The next points: where the error is largest in each run of one sign.
        extremes = []
        for point, e in zip(grid, error, strict=True):
            if not extremes or extremes[-1][1] * e < 0:
                extremes.append((point, e))
            elif abs(e) > abs(extremes[-1][1]):
                extremes[-1] = point, e
        while len(extremes) > n + 1:
            extremes.pop(0 if abs(extremes[0][1]) < abs(extremes[-1][1]) else -1)
        points = [point for point, _ in extremes]


def rounded(value, bits):
    with mp.workprec(bits):
        return +mp.mpf(value)


def fit(name, f, weight, interval, degree, bits):
    """Print one table and its error, that of rounding included."""
    a, b = map(mp.mpf, interval)
    c = [rounded(x, bits) for x in remez(f, weight, a, b, degree)]
    grid = [a + (b - a) * (i + 0.5) / 1000 for i in range(1000)]
    worst = max(abs(weight(x) * (mp.polyval(c[::-1], x) - f(x))) for x in grid)
    print(f"    {name}=(  # error {mp.nstr(worst * mp.mpf(2) ** bits, 2)} * 2**-{bits}")
    for x in c:
        print(f"        {float(x)!r},")
    print("    ),")


def exp_tail(r):
    return mp.hyp1f1(1, 3, r) / 2  # (exp(r) - 1 - r) / r**2, at 0 as well


def tanh_tail(v):
    u = mp.sqrt(v)
    return (mp.tanh(u) - u) / u**3


def log_tail(z):
    s = mp.sqrt(z)
    return 2 * (mp.atanh(s) - s) / s**3


def erf_tail(v):
    x = mp.sqrt(v)
    return mp.erf(x) / x - 1


def log_erfc(x):
    return mp.log(mp.erfc(x))


def cos_tail(v):
    return (mp.cos(2 * mp.pi * mp.sqrt(v)) - 1) / v


def sin_tail(v, two_pi):
    r = mp.sqrt(v)
    return mp.sin(2 * mp.pi * r) / r - two_pi


def tables(bits, exp, tanh, log, erf, erfc, cos, sin, erf_split, erf_one):
    """Print everything for numbers of `bits` bits; the first seven are degrees."""
    ln2 = rounded(mp.log(2), bits)
    print(f"    log2e={float(rounded(1 / mp.log(2), bits))!r},")
    print(f"    ln2_high={float(ln2)!r},")
    print(f"    ln2_low={float(rounded(mp.log(2) - ln2, bits))!r},")
    two_pi = rounded(2 * mp.pi, bits)
    print(f"    two_pi={float(two_pi)!r},")
    # Weights turn the error of the tail into about the relative error of the whole.
    half = mp.log(2) / 2 * mp.mpf("1.001")  # rounding to an integer may go the other way
    fit("exp", exp_tail, lambda r: r**2 / mp.exp(r), (-half, half), exp, bits)
    fit("tanh", tanh_tail, lambda v: v, (0, "0.3025"), tanh, bits)  # to tanh(0.55)
    fit("log", log_tail, lambda z: z, (0, "0.04"), log, bits)  # to log(1.5): softplus needs that
    fit("erf", erf_tail, lambda v: 1, (0, mp.mpf(erf_split) ** 2), erf, bits)
    fit("erfc", log_erfc, mp.erfc, (erf_split, erf_one), erfc, bits)
    eighth = mp.mpf(1) / 64  # the square of an eighth of a turn
    fit("cos", cos_tail, lambda v: v / (1 + v * cos_tail(v)), (0, eighth), cos, bits)
    tail = partial(sin_tail, two_pi=two_pi)
    fit("sin", tail, lambda v: 1 / (two_pi + tail(v)), (0, eighth), sin, bits)


if __name__ == "__main__":
    print("FLOAT32")
    tables(24, exp=4, tanh=4, log=2, erf=6, erfc=6, cos=3, sin=3, erf_split="0.92", erf_one=4)
    print("FLOAT64")
    tables(53, exp=9, tanh=9, log=7, erf=12, erfc=17, cos=6, sin=6, erf_split=1, erf_one=6)
