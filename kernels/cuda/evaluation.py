"""What can be asked about a batch: the functions of `kernels.reference`, on a device."""

import threading
from functools import wraps

import numpy as np

from . import per_example
from .examples import ONLY_LOSSES, ONLY_OUTPUTS, WITH_DELTAS
from .finite import all_finite
from .gram import TILE, gram_kernel
from .lanes import lanes_of
from .layout import GROUP, LEAVING, STRIDE, round_up
from .per_example import example_gradients_kernel, inner_products_kernel
from .session import Session, Sums
from .toolkit import device_number, empty, to_device

_RESULT_ELEMENTS = 1 << 27  # of a result that is made on the device at once
_KEPT_ELEMENTS = 1 << 26  # activations and deltas of a block of examples, for a Gram matrix
_KEPT_ROWS = 1 << 14  # of such a block, whose part of the matrix is then at most 2 GiB

_kept = threading.local()


def _session(plan):
    """A session, that of this thread's last question if it fits: it has its memory already."""
    key = plan, plan.dropping, device_number()  # whether a plan drops makes it no other plan
    if getattr(_kept, "key", None) != key:
        _kept.key = _kept.session = None  # its memory is free before the next one takes some
        _kept.session, _kept.key = Session(plan), key
    _kept.session.take_masks_of(plan)
    return _kept.session


def _releasing(function):
    """Let go of the data that a question was about, however it ends: the session is kept."""

    @wraps(function)
    def ask(*args, **options):
        try:
            return function(*args, **options)
        finally:
            if getattr(_kept, "session", None) is not None:
                _kept.session.release()

    return ask


def _bound(plan, theta, X, y, order=None, rows=None):
    """A session with these data and parameters, and room for all examples or so many rows."""
    session = _session(plan)
    session.bind(X, y, order=order)
    examples = len(X if order is None else order)
    session.reserve(examples if rows is None else min(rows, examples))
    session.set_theta(theta)
    return session


def _parts(session, examples, rows=None):
    """Cut so many examples into parts that a session has room for: (first, rows)."""
    most = session.capacity if rows is None else min(rows, session.capacity)
    for first in range(0, examples, most):
        yield first, min(most, examples - first)


@_releasing
def outputs(plan, theta, X, check=False):
    """Outputs of the network, (N, K); FloatingPointError if `check` finds NaN or infinities."""
    out = np.empty((len(X), plan.outputs), plan.dtype)
    if not len(X):
        return out
    session = _bound(plan, theta, X, None)
    if check and not all_finite(session.X):
        raise FloatingPointError("X is not finite")
    last = session.layout.layers[-1]
    for first, rows in _parts(session, len(X)):
        session.sweep_examples(ONLY_OUTPUTS, first, rows)
        start, size = last[LEAVING] * session.capacity, rows * last[STRIDE]
        padded = session.activations[start : start + size].copy_to_host()
        out[first : first + rows] = padded.reshape(rows, last[STRIDE])[:, : plan.outputs]
    return out


@_releasing
def losses(plan, theta, X, y):
    """Loss of each example, (N,)."""
    out = np.empty(len(X), plan.dtype)
    if len(X):
        session = _bound(plan, theta, X, y)
        for first, rows in _parts(session, len(X)):
            session.sweep_examples(ONLY_LOSSES, first, rows)
            out[first : first + rows] = session.losses[:rows].copy_to_host()
    return out


@_releasing
def gradient_norms(plan, theta, X, y, per_layer=False):
    """Norm of each example's gradient, (N,), or of its part in each layer, (N, L)."""
    columns = len(plan.parametric) if per_layer else 1
    out = np.empty((len(X), columns), plan.dtype)
    if len(X):
        session = _bound(plan, theta, X, y)
        norms = empty(out.size, plan.dtype)
        session.record(norms=norms)
        for first, rows in _parts(session, len(X)):
            session.sweep_examples(WITH_DELTAS, first, rows)
            session.weigh(first, rows, only_norms=True)
        out[...] = norms.copy_to_host().reshape(out.shape)
    return out if per_layer else out[:, 0]


@_releasing
def inner_products(plan, theta, X, y, direction):
    """Inner product of each example's gradient with `direction`, (N,)."""
    out = np.empty(len(X), plan.dtype)
    if not len(X):
        return out
    session = _bound(plan, theta, X, y)
    packed = to_device(session.layout.pack(direction))
    changes = empty(session.capacity * session.layout.width, plan.dtype)
    products = empty(session.capacity, plan.dtype)
    few = per_example.THREADS // lanes_of(session.layout.dtype)
    for first, rows in _parts(session, len(X)):
        session.sweep_examples(WITH_DELTAS, first, rows)
        session.change_along(packed, first, rows, changes)
        inner_products_kernel(session.layout.dtype)[-(-rows // few), per_example.THREADS](
            session.layers, changes, session.deltas, products, session.capacity, rows
        )
        out[first : first + rows] = products[:rows].copy_to_host()
    return out


def per_example_gradients(plan, theta, X, y, out=None):
    """Gradient of each example, (N, P), in `out` if that is given."""
    if out is None:
        out = np.empty((len(X), plan.size), plan.dtype)
    return _each_gradient(plan, theta, X, y, None, out)


def output_jacobian(plan, theta, X):
    """Gradient of each output of each example, (N, K, P)."""
    out = np.empty((len(X), plan.outputs, plan.size), plan.dtype)
    _each_gradient(plan, theta, X, None, _each_output(plan, X), out.reshape(-1, plan.size))
    return out


def _each_output(plan, X):
    """The examples, each as many times as there are outputs: see loss_and_delta.select_output."""
    return np.repeat(np.arange(len(X)), plan.outputs)


@_releasing
def _each_gradient(plan, theta, X, y, order, out):
    """The gradients of the examples as they stand in the order, a row of `out` for each."""
    if not len(out):
        return out
    most = max(_RESULT_ELEMENTS // plan.size, 1)
    session = _bound(plan, theta, X, y, order=order, rows=most)
    gradients = empty(min(most, session.capacity, len(out)) * plan.size, plan.dtype)
    for first, rows in _parts(session, len(out), most):
        session.sweep_examples(WITH_DELTAS, first, rows)
        example_gradients_kernel[(rows, len(plan.parametric)), per_example.THREADS](
            session.layers, session.X, session.order, session.activations, session.deltas,
            gradients, plan.size, session.capacity, first, rows,
        )  # fmt: skip
        part = gradients[: rows * plan.size].copy_to_host()
        out[first : first + rows] = part.reshape(rows, plan.size)
    return out


@_releasing
def _sum(plan, theta, X, y, weights, scale, clip=None, squared=False, norms=None):
    """The sum of the losses and that of the gradients, (P,), of any number of examples."""
    session = _session(plan)
    session.treat_each_as_it_is()
    if clip is not None or squared:
        session.treat_each(clip, squared)
    session.bind(X, y, weights)
    session.record(norms=norms)
    session.reserve(len(X), batch_size=len(X))
    session.set_theta(theta)
    sums = Sums(1)
    session.step(0, len(X), scale, sums)
    return float(sums.losses.copy_to_host()[0]), session.gradient()


def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient, (P,)."""
    loss, gradient = _sum(plan, theta, X, y, weights, scale)
    return scale * loss, gradient


def clipped_gradient(plan, theta, X, y, weights, scale, clip):
    """``scale * sum_i weights_i clip(g_i)``, (P,), and norms before clipping, (N,) or (N, L)."""
    shape = len(X), len(plan.parametric) if clip.per_layer else 1
    norms = to_device(np.zeros(shape[0] * shape[1], plan.dtype))
    _, gradient = _sum(plan, theta, X, y, weights, scale, clip=clip, norms=norms)
    norms = norms.copy_to_host().reshape(shape)
    return gradient, norms if clip.per_layer else norms[:, 0]


def second_moments(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i g_i**2``, element by element, (P,)."""
    _, moments = _sum(plan, theta, X, y, weights, scale, squared=True)
    return moments


def gradient_gram(plan, theta, Xa, ya, Xb, yb):
    """Inner products of the gradients of two sets of examples, (Na, Nb)."""
    return _gram(plan, theta, (Xa, ya), (Xb, yb), np.arange(len(Xa)), np.arange(len(Xb)))


def tangent_kernel(plan, theta, Xa, Xb):
    """Inner products of the gradients of all outputs, (Na, Nb, K, K)."""
    orders = _each_output(plan, Xa), _each_output(plan, Xb)
    K = plan.outputs
    products = _gram(plan, theta, (Xa, None), (Xb, None), *orders)
    return products.reshape(len(Xa), K, len(Xb), K).swapaxes(1, 2)


def _gram(plan, theta, a, b, a_order, b_order):
    """Gram matrix of the examples of `a` and `b` as they stand in the orders, block by block."""
    out = np.empty((len(a_order), len(b_order)), plan.dtype)
    if not out.size:
        return out
    rows = _KEPT_ELEMENTS // (plan.inputs + 2 * sum(op.outputs for op in plan.parametric))
    together = plan.outputs if a[1] is None else 1  # rows that are the outputs of one example
    rows = max(1, min(rows, _KEPT_ROWS) // together) * together
    ours, theirs = _Factors(plan, theta, *a), _Factors(plan, theta, *b)
    for column in range(0, len(b_order), rows):
        theirs.keep(b_order[column : column + rows])
        for row in range(0, len(a_order), rows):
            ours.keep(a_order[row : row + rows])
            out[row : row + rows, column : column + rows] = ours.multiply_with(theirs)
    return out


class _Factors:
    """Activations and deltas of examples: the factors of their gradients."""

    def __init__(self, plan, theta, X, y):
        self.session = Session(plan)
        self.session.bind(X, y)
        self.session.set_theta(theta)

    def keep(self, order):
        """Keep those of the examples in this order."""
        self.rows = len(order)
        self.session.take_order(order)
        self.session.reserve(self.rows)
        self.session.sweep_examples(WITH_DELTAS, 0, self.rows)

    def multiply_with(self, other):
        """The Gram matrix of both."""
        dtype, stride = self.session.layout.dtype, round_up(other.rows, GROUP)
        out = empty(self.rows * stride, dtype)
        grid = -(-self.rows // TILE.rows), -(-other.rows // TILE.columns)
        gram_kernel(dtype, TILE)[grid, TILE.threads](
            self.session.layers, self.session.one, *self._operand(), *other._operand(), out, stride
        )
        return out.copy_to_host().reshape(self.rows, stride)[:, : other.rows]

    def _operand(self):
        s = self.session
        return s.X, s.order, s.activations, s.deltas, s.capacity, self.rows
