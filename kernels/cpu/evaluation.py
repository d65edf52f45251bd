"""What can be asked about a batch: the functions of `kernels.reference`, compiled."""

import threading
from functools import lru_cache

import numpy as np

from .job import EXAMPLE_GRADIENTS, FACTORS, INNER_PRODUCTS, LOSSES, NORMS, OUTPUTS, TRAIN
from .session import Session
from .threads import get_threads

_KEPT_ELEMENTS = 1 << 22  # activations and deltas of a block of examples, for a Gram matrix

_kept = threading.local()


def _session(plan, X, *arguments):
    """A session, the same one again if this thread has asked before: setting up takes time."""
    if not hasattr(_kept, "session"):
        _kept.session = lru_cache(maxsize=4)(Session)
    session = _kept.session(plan, get_threads(), *arguments, sparse=plan.skips_zeros(X))
    session.take_noise_of(plan)
    return session


def _evaluate(mode, plan, theta, X, y, out, *, order=None, direction=None, check=False):
    """Let the kernels fill `out`, and return it."""
    if len(X):
        session = _session(plan, X)
        session.bind(mode, X, y, None, order)
        session.job["out"], session.job["check"] = out.ctypes.data, bool(check)
        if mode == NORMS:
            session.leave_norms(out)
        if direction is not None:
            session.layout.pack(direction, session.region("direction"))
        session.set_theta(theta)
        session.run()
        session.release()
        if session.job["not_finite"]:
            raise FloatingPointError("X is not finite")
    return out


def outputs(plan, theta, X, check=False):
    """Outputs of the network, (N, K); FloatingPointError if `check` finds NaN or infinities."""
    out = np.empty((len(X), plan.outputs), plan.dtype)
    return _evaluate(OUTPUTS, plan, theta, X, None, out, check=check)


def losses(plan, theta, X, y):
    """Loss of each example, (N,)."""
    return _evaluate(LOSSES, plan, theta, X, y, np.empty(len(X), plan.dtype))


def gradient_norms(plan, theta, X, y, per_layer=False):
    """Norm of each example's gradient, (N,), or of its part in each layer, (N, L)."""
    out = np.empty((len(X), len(plan.parametric) if per_layer else 1), plan.dtype)
    _evaluate(NORMS, plan, theta, X, y, out)
    return out if per_layer else out[:, 0]


def inner_products(plan, theta, X, y, direction):
    """Inner product of each example's gradient with `direction`, (N,)."""
    out = np.empty(len(X), plan.dtype)
    return _evaluate(INNER_PRODUCTS, plan, theta, X, y, out, direction=direction)


def per_example_gradients(plan, theta, X, y, out=None):
    """Gradient of each example, (N, P), in `out` if that is given."""
    if out is None:
        out = np.empty((len(X), plan.size), plan.dtype)
    return _evaluate(EXAMPLE_GRADIENTS, plan, theta, X, y, out)


def output_jacobian(plan, theta, X):
    """Gradient of each output of each example, (N, K, P)."""
    out = np.empty((len(X), plan.outputs, plan.size), plan.dtype)
    return _evaluate(EXAMPLE_GRADIENTS, plan, theta, X, None, out, order=_each_output(plan, X))


def _each_output(plan, X):
    """The examples, each as many times as there are outputs: see loss_functions.selected_output."""
    return np.repeat(np.arange(len(X)), plan.outputs)


def _sum(plan, theta, X, y, weights, scale, clip=None, squared=False, norms=None):
    """A session that has summed the gradients."""
    session = _session(plan, X, len(X))
    session.bind(TRAIN, X, y, weights)
    session.job["scale"] = scale
    if clip is not None or squared:
        session.treat_each(clip, squared)
    if norms is not None:
        session.leave_norms(norms)
    session.set_theta(theta)
    session.run(1)
    session.release()
    return session


def _gradient(plan, *arguments, **options):
    """The sum of the gradients, (P,), of any number of examples."""
    if not len(arguments[1]):
        return np.zeros(plan.size, plan.dtype)
    return _sum(plan, *arguments, **options).flat("gradient")


def value_and_gradient(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i loss_i`` and its gradient, (P,)."""
    session = _sum(plan, theta, X, y, weights, scale)
    return scale * float(session.job["loss_sum"]), session.flat("gradient")


def clipped_gradient(plan, theta, X, y, weights, scale, clip):
    """``scale * sum_i weights_i clip(g_i)``, (P,), and norms before clipping, (N,) or (N, L)."""
    norms = np.zeros((len(X), len(plan.parametric) if clip.per_layer else 1), plan.dtype)
    gradient = _gradient(plan, theta, X, y, weights, scale, clip=clip, norms=norms)
    return gradient, norms if clip.per_layer else norms[:, 0]


def second_moments(plan, theta, X, y, weights, scale):
    """``scale * sum_i weights_i g_i**2``, element by element, (P,)."""
    return _gradient(plan, theta, X, y, weights, scale, squared=True)


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
    rows = _KEPT_ELEMENTS // (plan.inputs + 2 * sum(op.outputs for op in plan.layers))
    rows = max(1, rows // plan.outputs) * plan.outputs  # all outputs of an example stay together
    for column in range(0, len(b_order), rows):
        theirs = _keep(plan, theta, *b, b_order[column : column + rows])
        for row in range(0, len(a_order), rows):
            ours = _keep(plan, theta, *a, a_order[row : row + rows])
            ours.multiply_with(theirs, out[row:, column:])
            ours.run()
    return out


def _keep(plan, theta, X, y, order):
    """A session that keeps the activations and deltas of the examples in `order`."""
    session = Session(plan, get_threads(), len(order), keeps=True)
    session.bind(FACTORS, X, y, None, order)
    session.job["scale"] = 1.0
    session.set_theta(theta)
    session.run(1)
    return session
