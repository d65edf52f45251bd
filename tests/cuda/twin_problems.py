"""Small networks and batches for the CUDA backend, which computes slowly in the simulator."""

import numpy as np

from fastbatch.clipping import PerExampleClip
from fastbatch.layers import ACTIVATIONS
from fastbatch.verification import DROPOUT, Case

SIZES = (
    ((1, 1), 1),
    ((3, 15, 2), 5),
    ((17, 9, 4, 1), 7),
    ((6, 33, 17), 4),  # more columns than lanes
    ((33, 66, 3), 3),  # and than a panel
)
LOSSES = (
    ("squared_error", True),
    ("absolute_error", True),
    ("huber", True),
    ("cross_entropy", True),
    ("cross_entropy", False),
    ("binary_cross_entropy", True),
    ("poisson", True),
)


DROPPING = (
    ((5, 5, 37, 37, 3), (DROPOUT, "tanh", DROPOUT, "identity"), 6),
    ((4, 33, 33, 3), ("relu", DROPOUT, "identity"), 5),
    ((35, 35, 2), (DROPOUT, "identity"), 3),
)


def _cases():
    """Losses and activations take turns, so that each is met with some sizes."""
    turn = 0
    for number, (loss, labels) in enumerate(LOSSES):
        for widths, examples in (SIZES[number % 5], SIZES[(number + 2) % 5]):
            depth = len(widths) - 2
            hidden = tuple(ACTIVATIONS[(turn + i) % len(ACTIVATIONS)] for i in range(depth))
            turn += depth
            kind = loss if labels else f"{loss} of probabilities"
            name = f"{'-'.join(map(str, widths))} {kind} x{examples}"
            yield name, Case(name, widths, (*hidden, "identity"), loss, examples, labels)
    for widths, activations, examples in DROPPING:
        name = f"dropout {'-'.join(map(str, widths))} x{examples}"
        yield name, Case(name, widths, activations, "cross_entropy", examples)
    name = "64-32-2 huber x3"  # panels of either dtype that are just full
    yield name, Case(name, (64, 32, 2), ("silu", "identity"), "huber", 3)


CASES = dict(_cases())


def answers(kernels, plan, theta, X, y, weights):
    """What all functions make of a batch, by name."""
    few = slice(0, 3)
    bounds = [0.3 + 0.2 * number for number in range(len(plan.parametric))]
    clips = {
        "clipped": PerExampleClip(0.5),
        "clipped by layers": PerExampleClip(bounds, per_layer=True, automatic=True),
    }
    found = {}
    for name, clip in clips.items():  # first: it would show if anything else were clipped, too
        parts = kernels.clipped_gradient(plan, theta, X, y, weights, 0.7, clip)
        found[f"{name} gradient"], found[f"norms of {name}"] = parts
    value, gradient = kernels.value_and_gradient(plan, theta, X, y, weights, 0.7)
    return found | {
        "outputs": kernels.outputs(plan, theta, X, True),
        "losses": kernels.losses(plan, theta, X, y),
        "value": np.array(value),
        "gradient": gradient,
        "norms": kernels.gradient_norms(plan, theta, X, y),
        "norms by layers": kernels.gradient_norms(plan, theta, X, y, per_layer=True),
        "second moments": kernels.second_moments(plan, theta, X, y, weights, 0.7),
        "inner products": kernels.inner_products(plan, theta, X, y, theta[::-1].copy()),
        "gradients": kernels.per_example_gradients(plan, theta, X, y),
        "jacobian": kernels.output_jacobian(plan, theta, X[few]),
        "gram": kernels.gradient_gram(plan, theta, X, y, X[few], y[few]),
        "tangent kernel": kernels.tangent_kernel(plan, theta, X[:2], X[few]),
    }


def assert_same(found, expected):
    """The same bits, but for the sign of a zero."""
    assert found.keys() == expected.keys()
    for name in expected:
        assert found[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
