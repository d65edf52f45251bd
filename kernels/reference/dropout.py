"""Dropout: elements that are left out at random, the others enlarged so that means stay.

Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov 2014, "Dropout: a simple way to prevent
neural networks from overfitting", with the scaling done while training (their section 10). With the
mask held fixed, a network is a function like any other, and has a gradient.
"""

import numpy as np

from .philox import LOW, MASKS, philox4x32

GROUPS = 1 << 16  # of columns, that the masks of a layer may have: other layers take others


def mask(plan, number, rows, step):
    """What layer `number` multiplies by: 0 or its scale, (len(rows), columns); 1 if none drops."""
    layer, dtype = plan.layers[number], np.dtype(plan.dtype)
    if not plan.dropping:
        return np.ones((len(rows), layer.inputs), dtype)
    words = mask_words(plan.first_row + rows, layer.inputs, plan.draw, step, dtype, number * GROUPS)
    return np.where(words < layer.dropped, 0, layer.scale).astype(dtype)


def mask_words(rows, columns, draw, step, dtype, first_group=0):
    """A random number below 2**32 for each element, (len(rows), columns).

    Columns come in groups of 32, made from 8 blocks of four words each. So as to suit vectors of
    64 bytes, a float32 group has two words of each block and then the two others; a float64 group
    has the first word of each block, then the second of each, and so on.

    Examples
    --------
    >>> mask_words(np.arange(2), 2, draw=0, step=0, dtype=np.dtype("float32"))
    array([[ 709459553, 3852855944],
           [3442785825,  514782996]], dtype=uint64)
    """
    groups = first_group + np.arange(-(-columns // 32), dtype=np.uint64)
    block = np.add.outer(8 * groups, np.arange(8, dtype=np.uint64))
    row = rows.astype(np.uint64)[:, None, None]
    counter = block, row, np.uint64(step & LOW), np.uint64(MASKS)
    words = np.stack(philox4x32(counter, key=(draw & LOW, draw >> 32)))  # (4, rows, groups, 8)
    if dtype == np.float32:
        by_half = words.reshape(2, 2, len(rows), len(groups), 8)
        words = by_half.transpose(2, 3, 0, 4, 1)
    else:
        words = words.transpose(1, 2, 0, 3)
    return words.reshape(len(rows), 32 * len(groups))[:, :columns]


def forward(
    a,  # (B, columns)
    mask,  # (B, columns)
):
    """What leaves the layer, (B, columns): of what is dropped 0, whatever it was."""
    return np.where(mask, a * mask, 0)


def backward(
    by_output,  # (B, columns), the derivative of each example's loss by what left the layer
    mask,  # (B, columns)
):
    """The derivative of each example's loss by what entered the layer, (B, columns)."""
    return by_output * mask
