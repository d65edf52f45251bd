"""What is said about each example's gradient, against those gradients themselves."""

import numpy as np
import pytest

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import reference
from fastbatch.kernels.plan import DenseOp, Plan
from fastbatch.kernels.reference.activations import ACTIVATIONS
from fastbatch.kernels.reference.loss_functions import LOSSES

from .problems import SHAPES, problem

every_shape = pytest.mark.parametrize(("examples", "widths"), SHAPES)
every_loss = pytest.mark.parametrize("loss", LOSSES)

CLIPS = {
    "whole": PerExampleClip(1.5),
    "per layer": PerExampleClip(1.5, per_layer=True),
    "automatic": PerExampleClip(1.5, automatic=True, gamma=0.1),
    "automatic, per layer": PerExampleClip(1.5, per_layer=True, automatic=True, gamma=0.1),
}
every_clip = pytest.mark.parametrize("clip", CLIPS.values(), ids=CLIPS)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def parts(plan, gradients):
    """Each layer's columns of a matrix of gradients."""
    ends = np.cumsum([layer.size for layer in plan.layers])
    return np.split(gradients, ends[:-1], axis=1)


def layer_norms(plan, gradients):
    return np.stack([np.linalg.norm(part, axis=1) for part in parts(plan, gradients)], axis=1)


def clip_by_hand(g, clip, bound):
    norm = np.linalg.norm(g)
    return g * bound / (norm + clip.gamma) if clip.automatic else g / max(1, norm / bound)


# Two gradients by hand: (x, 1) times 2 (p - y) with p = 2 x + 1.
PLAN = Plan((DenseOp(1, 1, "identity"),), "squared_error", "float64")
THETA, X, Y = np.array([2.0, 1.0]), np.array([[0.0], [0.75]]), np.array([[0.5], [-1.5]])
GRADIENTS = np.array([[0, 1], [6, 8]])


def test_two_gradients_by_hand():
    np.testing.assert_array_equal(reference.per_example_gradients(PLAN, THETA, X, Y), GRADIENTS)
    np.testing.assert_array_equal(reference.gradient_norms(PLAN, THETA, X, Y), [1, 10])
    np.testing.assert_array_equal(
        reference.gradient_gram(PLAN, THETA, X, Y, X[1:], Y[1:]), [[8], [100]]
    )
    np.testing.assert_array_equal(
        reference.inner_products(PLAN, THETA, X, Y, np.array([2.0, -1.0])), [-1, 4]
    )
    np.testing.assert_array_equal(
        reference.second_moments(PLAN, THETA, X, Y, np.array([2.0, 1.0]), 0.5), [18, 33]
    )


@pytest.mark.parametrize(
    ("clip", "gradient"),
    [
        (PerExampleClip(5.0), [3, 5]),
        (PerExampleClip(10.0), [6, 9]),
        (PerExampleClip(0.5), [0.3, 0.9]),
        (PerExampleClip(2.0, automatic=True, gamma=6.0), [0.75, 1 + 2 / 7]),
        (PerExampleClip([5.0], per_layer=True), [3, 5]),
    ],
)
def test_clipping_by_hand(clip, gradient):
    found, norms = reference.clipped_gradient(PLAN, THETA, X, Y, None, 1.0, clip)
    np.testing.assert_allclose(found, gradient, rtol=1e-15)
    np.testing.assert_array_equal(norms, [[1], [10]] if clip.per_layer else [1, 10])


@every_loss
@every_shape
def test_norms_are_those_of_the_gradients(examples, widths, loss):
    arguments = problem(widths, examples, "silu", loss)
    gradients = reference.per_example_gradients(*arguments)
    close(reference.gradient_norms(*arguments), np.linalg.norm(gradients, axis=1))
    close(reference.gradient_norms(*arguments, True), layer_norms(arguments[0], gradients))


@every_clip
@every_loss
@every_shape
def test_the_clipped_sum_is_the_sum_of_clipped_gradients(examples, widths, loss, clip):
    plan, *data = problem(widths, examples, "silu", loss)
    weights = np.linspace(0.3, 2, examples)
    gradients = reference.per_example_gradients(plan, *data)
    groups = parts(plan, gradients) if clip.per_layer else [gradients]
    bounds = clip.bounds(len(plan.layers))
    expected = [
        0.25 * sum(w * clip_by_hand(g, clip, bound) for w, g in zip(weights, group, strict=True))
        for group, bound in zip(groups, bounds, strict=True)
    ]
    found, norms = reference.clipped_gradient(plan, *data, weights, 0.25, clip)
    close(found, np.concatenate(expected))
    np.testing.assert_array_equal(norms, reference.gradient_norms(plan, *data, clip.per_layer))


@every_loss
@every_shape
def test_products_and_squares_are_those_of_the_gradients(examples, widths, loss):
    plan, theta, X, y = problem(widths, examples, "gelu", loss)
    _, _, Xb, yb = problem(widths, 3, "gelu", loss, seed=1)
    G, H = (reference.per_example_gradients(plan, theta, *data) for data in ((X, y), (Xb, yb)))
    weights, direction = np.linspace(0.3, 2, examples), np.sin(np.arange(plan.size))
    close(reference.inner_products(plan, theta, X, y, direction), G @ direction)
    close(reference.gradient_gram(plan, theta, X, y, Xb, yb), G @ H.T)
    close(reference.second_moments(plan, theta, X, y, weights, 0.3), 0.3 * weights @ G**2)


@every_loss
def test_the_diagonal_of_the_gram_matrix_holds_the_squared_norms(loss):
    plan, theta, X, y = problem((3, 5, 2), 6, "tanh", loss)
    gram = reference.gradient_gram(plan, theta, X, y, X, y)
    close(np.diag(gram), reference.gradient_norms(plan, theta, X, y) ** 2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_shape
def test_the_jacobian_equals_the_complex_step(examples, widths, activation):
    plan, theta, X, _ = problem(widths, examples, activation)
    steps = 1e-30j * np.eye(plan.size)
    columns = [reference.outputs(plan, theta + step, X).imag / 1e-30 for step in steps]
    np.testing.assert_allclose(
        reference.output_jacobian(plan, theta, X), np.stack(columns, axis=2), rtol=1e-11, atol=1e-13
    )


@every_shape
def test_the_tangent_kernel_is_the_product_of_two_jacobians(examples, widths):
    plan, theta, X, _ = problem(widths, examples, "silu")
    _, _, Xb, _ = problem(widths, 3, seed=1)
    ours, theirs = (reference.output_jacobian(plan, theta, data) for data in (X, Xb))
    expected = np.einsum("ikp,jlp->ijkl", ours, theirs)
    close(reference.tangent_kernel(plan, theta, X, Xb), expected)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@every_loss
def test_inner_products_equal_the_complex_step(activation, loss):
    plan, theta, X, y = problem((3, 5, 2), 4, activation, loss)
    direction = np.cos(np.arange(plan.size))
    stepped = reference.losses(plan, theta + 1e-30j * direction, X, y).imag / 1e-30
    found = reference.inner_products(plan, theta, X, y, direction)
    np.testing.assert_allclose(found, stepped, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "function",
    [
        lambda *a: reference.gradient_norms(*a),
        lambda *a: reference.gradient_norms(*a, per_layer=True),
        *(
            lambda *a, clip=clip: reference.clipped_gradient(*a, None, 0.3, clip)[0]
            for clip in CLIPS.values()
        ),
        lambda *a: reference.second_moments(*a, None, 0.3),
        lambda *a: reference.inner_products(*a, np.cos(np.arange(a[0].size))),
        lambda *a: reference.gradient_gram(*a, *a[2:]),
        lambda *a: reference.per_example_gradients(*a),
        lambda *a: reference.output_jacobian(*a[:3]),
        lambda *a: reference.tangent_kernel(*a[:3], a[2]),
    ],
)
def test_derivatives_by_complex_step_and_by_differences_agree(function):
    plan, theta, X, y = problem((3, 5, 2), 4, "tanh", "cross_entropy")
    direction = np.cos(np.arange(plan.size))
    stepped = function(plan, theta + 1e-30j * direction, X, y).imag / 1e-30
    forth, back = (function(plan, theta + h * direction, X, y) for h in (1e-6, -1e-6))
    assert abs(stepped).max() > 1e-3
    np.testing.assert_allclose(stepped, (forth - back) / 2e-6, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e308])
@every_clip
def test_a_row_of_weight_zero_contributes_nothing_whatever_it_holds(clip, poison):
    plan, theta, X, y = problem((3, 5, 2), 4, "softplus", "poisson")
    weights, rest = np.array([1.0, 0, 0.5, 2]), [0, 2, 3]
    X[1], y[1] = poison, poison
    gradient, norms = reference.clipped_gradient(plan, theta, X, y, weights, 1.0, clip)
    moments = reference.second_moments(plan, theta, X, y, weights, 1.0)
    clean = X[rest], y[rest], weights[rest]
    expected = reference.clipped_gradient(plan, theta, *clean, 1.0, clip)
    np.testing.assert_array_equal(gradient, expected[0])
    np.testing.assert_array_equal(norms[rest], expected[1])
    assert not norms[1].any()
    np.testing.assert_array_equal(moments, reference.second_moments(plan, theta, *clean, 1.0))


@every_loss
def test_no_examples_give_empty_answers(loss):
    plan, theta, X, y = problem((3, 5, 2), 0, loss=loss)
    _, _, Xb, yb = problem((3, 5, 2), 4, loss=loss)
    P = plan.size
    assert reference.gradient_norms(plan, theta, X, y).shape == (0,)
    assert reference.gradient_norms(plan, theta, X, y, True).shape == (0, 2)
    for clip in CLIPS.values():
        gradient, norms = reference.clipped_gradient(plan, theta, X, y, None, 1.0, clip)
        np.testing.assert_array_equal(gradient, np.zeros(P))
        assert norms.shape == ((0, 2) if clip.per_layer else (0,))
    np.testing.assert_array_equal(
        reference.second_moments(plan, theta, X, y, None, 1.0), np.zeros(P)
    )
    assert reference.inner_products(plan, theta, X, y, theta).shape == (0,)
    assert reference.gradient_gram(plan, theta, X, y, Xb, yb).shape == (0, 4)
    assert reference.gradient_gram(plan, theta, Xb, yb, X, y).shape == (4, 0)
    assert reference.output_jacobian(plan, theta, X).shape == (0, 2, P)
    assert reference.tangent_kernel(plan, theta, Xb, X).shape == (4, 0, 2, 2)


def test_gradients_are_put_where_one_wants_them():
    plan, theta, X, y = problem((3, 5, 2), 4)
    out = np.full((4, plan.size), np.nan)
    assert reference.per_example_gradients(plan, theta, X, y, out=out) is out
    np.testing.assert_array_equal(out, reference.per_example_gradients(plan, theta, X, y))


def answers(plan, theta, X, y, weights):
    """All of them, with arrays that may be read only."""
    yield reference.gradient_norms(plan, theta, X, y)
    for clip in CLIPS.values():
        yield from reference.clipped_gradient(plan, theta, X, y, weights, np.float64(0.3), clip)
    yield reference.second_moments(plan, theta, X, y, weights, np.float64(0.3))
    yield reference.inner_products(plan, theta, X, y, theta)
    yield reference.gradient_gram(plan, theta, X, y, X, y)
    yield reference.per_example_gradients(plan, theta, X, y)
    yield reference.output_jacobian(plan, theta, X)
    yield reference.tangent_kernel(plan, theta, X, X)


@every_loss
def test_float32_is_near_float64_and_stays_float32(loss):
    weights = np.array([1.0, 0, 0.5, 2])
    exact = answers(*problem((3, 5, 2), 4, "gelu", loss), weights)
    single = problem((3, 5, 2), 4, "gelu", loss, dtype="float32")
    for found, expected in zip(answers(*single, weights.astype("f4")), exact, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@every_loss
def test_overflow_gives_no_warning_and_arguments_are_left_alone(loss):
    plan, theta, X, y = problem((3, 5, 2), 4, "softplus", loss)
    arrays = theta * 1e200, X * 1e200, y, np.array([1.0, 0, 0.5, 2])
    copies = [array.copy() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    list(answers(plan, *arrays))
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
