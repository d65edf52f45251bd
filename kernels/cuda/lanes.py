"""Sums over the columns of an example, in the order in which the CPU's vectors make them.

As many threads as a vector has lanes share an example; the thread of a lane goes through every
column in so many, and what the lanes have found is added up as a tree of fixed shape.
"""

from functools import cache

from .toolkit import add, cuda, function, maximum


@cache
def lanes_of(dtype):
    """Elements of `dtype` in a vector of the CPU's kernels: 16 or 8."""
    return 64 // dtype.itemsize


def _tree(operation, step, lanes):
    """A function of an array and the place of the first lane's value, for every `step`-th lane."""
    if step == lanes:

        @function
        def leaf(values, first):
            return values[first]

        return leaf
    part = _tree(operation, 2 * step, lanes)

    @function
    def both(values, first):
        return operation(part(values, first), part(values, first + step))

    return both


@cache
def total(dtype):
    """The sum over the lanes."""
    return _tree(add, 1, lanes_of(dtype))


@cache
def largest(dtype):
    """The largest of the lanes' values."""
    return _tree(maximum, 1, lanes_of(dtype))


@cache
def together(dtype, operation):
    """What `operation`, `total` or `largest`, makes of the values of all lanes of an example."""
    lanes, combine = lanes_of(dtype), operation(dtype)

    @function
    def combined(value, shared):
        thread = cuda.threadIdx.x
        shared[thread] = value
        cuda.syncthreads()  # all lanes have left their values
        result = combine(shared, thread // lanes * lanes)
        cuda.syncthreads()  # and all have read them: the next ones may be left
        return result

    return combined
