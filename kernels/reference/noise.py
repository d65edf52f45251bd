"""Gaussian noise that depends on (seed, step, place) and on nothing else.

Box and Muller, "A note on the generation of random normal deviates", Annals of Mathematical
Statistics 29, 1958: of two independent uniform numbers one gives a radius, the other an angle, and
the point that they mean in the plane has two independent normal coordinates.
"""

import numpy as np

from .philox import LOW, NOISE, philox4x32

_QUARTERS = np.array([1, 1j, -1, -1j])


def gaussian_noise(plan, seed, step):
    """Standard normal numbers, one for each parameter.

    Parameters
    ----------
    plan : Plan
    seed : int
        In [0, 2**64).
    step : int
        Other steps give other numbers; counted modulo 2**32.

    Returns
    -------
    ndarray, shape (P,), in the plan's dtype
        In the flat order.

    Examples
    --------
    >>> from fastbatch.kernels.plan import DenseOp, Plan
    >>> plan = Plan((DenseOp(1, 2, "identity"),), "squared_error", "float64")
    >>> gaussian_noise(plan, seed=0, step=0).round(3)
    array([ 0.091,  1.276, -2.219, -0.951])
    """
    layers, first = [], 0
    for layer in plan.parametric:
        rows = np.arange(first, first + layer.inputs + 1)  # of the weight, and the bias
        layers.append(normal_rows(rows, layer.outputs, seed, step, np.dtype(plan.dtype)).ravel())
        first += len(rows)
    return np.concatenate(layers)


def normal_rows(rows, columns, seed, step, dtype, purpose=NOISE, first_group=0):
    """Normal numbers for the rows with these numbers, (len(rows), columns).

    Columns come in groups, and the first of these has the number `first_group`.

    Examples
    --------
    >>> normal_rows(np.arange(2), 2, seed=0, step=0, dtype=np.dtype("float64")).round(3)
    array([[ 0.091,  1.276],
           [-2.219, -0.951]])
    """
    half = 64 // dtype.itemsize  # of the columns of a group: first coordinates, then second
    groups = first_group + np.arange(-(-columns // (2 * half)))
    pairs = uniform_pairs(rows, groups, seed, step, dtype, purpose)
    u, turn = np.array(pairs, dtype=np.float64)  # so that numbers are right to their last bits
    radius = np.sqrt(-2 * np.log(u))
    quarters = np.round(4 * turn)  # done exactly, so that coordinates near 0 keep their digits
    direction = _QUARTERS[quarters.astype(int) % 4] * np.exp(2j * np.pi * (turn - quarters / 4))
    pair = np.stack([radius * direction.real, radius * direction.imag], axis=1)
    by_group = pair.reshape(len(rows), 2, len(groups), half).swapaxes(1, 2)
    return by_group.reshape(len(rows), 2 * half * len(groups))[:, :columns].astype(dtype)


def uniform_pairs(rows, groups, seed, step, dtype, purpose=NOISE):
    """What the numbers in these groups of columns are made of.

    Returns
    -------
    u : ndarray, shape (len(rows), pairs)
        In (0, 1]. The smallest, 2**-32 or 2**-54, gives the largest number, 6.66 or 8.65.
    turn : ndarray, shape (len(rows), pairs)
        In [-1/2, 1/2].

    Examples
    --------
    >>> u, turn = uniform_pairs(np.arange(3), [0], seed=0, step=0, dtype=np.dtype("float32"))
    >>> u.shape, bool(u.min() > 0), bool(abs(turn).max() <= 0.5)
    ((3, 16), True, True)
    """
    block = np.add.outer(8 * np.asarray(groups, np.uint64), np.arange(8, dtype=np.uint64)).ravel()
    row = rows.astype(np.uint64)[:, None]
    counter = block, row, np.uint64(step & LOW), np.uint64(purpose)
    w0, w1, w2, w3 = philox4x32(counter, key=(seed & LOW, seed >> 32))
    if dtype == np.float32:  # 32 bits each: a block makes two pairs
        shape = len(rows), 2 * len(block)
        a = np.stack([w0, w1], axis=2).reshape(shape)
        b = np.stack([w2, w3], axis=2).reshape(shape).astype(np.uint32).view(np.int32)
        u = ((a >> 1).astype(dtype) + 0.5) * 2.0**-31
        return u, b.astype(dtype) * 2.0**-32
    a, b = w0 | w1 << 32, (w2 | w3 << 32).view(np.int64)
    u = ((a >> 11).astype(dtype) + 0.5) * 2.0**-53  # 53 bits are what float64 holds
    return u, (b >> 11).astype(dtype) * 2.0**-53
