"""Norms, clipping, statistics and products of each example's gradient, in two backends.

The truth is the matrix of gradients in float64, of the reference: what is computed without it must
agree to the last bit where numbers are small integers, and else within the bounds of rounding.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_networks import EXACT, integer_problem

import fastbatch as fb
from fastbatch import backends
from fastbatch.backends import DenseOp, Plan
from fastbatch.layers import ACTIVATIONS
from fastbatch.losses import LOSSES
from fastbatch.per_example import BLOCK
from fastbatch.rounding import Sweep
from fastbatch.verification import CASES, DTYPES, Case, case_errors, error_in_bounds

REFERENCE = backends.load("reference")

each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def gradients(plan, *data):
    """The gradients of the examples, (N, P), in float64."""
    exact = Plan(plan.layers, plan.loss, "float64")
    return REFERENCE.per_example_gradients(exact, *(in_float64(array) for array in data))


def in_float64(array):
    return array if array.dtype == np.int64 else array.astype(np.float64)


def by_layer(plan, G):
    """The columns of each layer."""
    return np.split(G, np.cumsum([layer.size for layer in plan.layers])[:-1], axis=1)


def norms_of(plan, G, per_layer=False):
    groups = by_layer(plan, G) if per_layer else [G]
    norms = np.stack([np.sqrt((group**2).sum(axis=1)) for group in groups], axis=1)
    return norms if per_layer else norms[:, 0]


def clipped_sum(plan, G, weights, scale, clip):
    """The gradients clipped one by one, and then summed."""
    groups = by_layer(plan, G) if clip.per_layer else [G]
    total = []
    for group, bound in zip(groups, clip.bounds(len(plan.layers)), strict=True):
        norms = norms_of(plan, group)
        c = bound / (norms + clip.gamma if clip.automatic else np.maximum(norms, bound))
        total.append(scale * (weights * c) @ group)
    return np.concatenate(total)


# Without any rounding.


def assert_sums_are_exact(plan, theta, X, y, weights, direction):
    """Where all terms are positive, no sum is larger on its way than at its end."""
    G = gradients(plan, abs(theta), abs(X), -abs(y))
    J = REFERENCE.output_jacobian(plan, abs(theta), abs(X))
    ends = (G**2).sum(axis=1), weights @ G**2, G @ abs(direction), (J**2).sum(axis=2)
    assert max(end.max() for end in ends) < EXACT


@each_dtype
@pytest.mark.parametrize("examples", [1, 5, 33, 70])
@pytest.mark.parametrize(
    "widths", [(1, 1), (16, 3), (17, 65), (5, 64, 2), (65, 18, 63), (15, 17, 16, 1), (130, 7, 130)]
)
def test_sums_of_integers_are_exact(backend, widths, examples, dtype):
    plan, theta, X, y, weights = integer_problem(widths, examples, dtype)
    direction = np.random.default_rng(0).integers(-1, 2, plan.size).astype(dtype)
    assert_sums_are_exact(plan, theta, X, y, weights, direction)
    kernels, G = backends.load(backend), gradients(plan, theta, X, y)
    few = slice(0, 1 + examples // 3)
    for per_layer in (False, True):
        expected = norms_of(plan, G, per_layer).astype(dtype)
        found = kernels.gradient_norms(plan, theta, X, y, per_layer)
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        kernels.second_moments(plan, theta, X, y, weights, 0.5), 0.5 * weights @ G**2
    )
    np.testing.assert_array_equal(
        kernels.inner_products(plan, theta, X, y, direction), G @ direction
    )
    for ours, theirs in ((few, slice(None)), (slice(None), few)):
        gram = kernels.gradient_gram(plan, theta, X[ours], y[ours], X[theirs], y[theirs])
        np.testing.assert_array_equal(gram, G[ours] @ G[theirs].T)
    np.testing.assert_array_equal(kernels.gradient_gram(plan, theta, X, y, X, y), G @ G.T)

    few = slice(0, 1 + examples // 30)
    jacobian = np.stack(  # the derivative of (p - y)**2 is one output's where y is p - 1/2
        [
            gradients(plan, theta, X[few], REFERENCE.outputs(plan, theta, X[few]) - unit / 2)
            for unit in np.eye(plan.outputs)
        ],
        axis=1,
    )
    np.testing.assert_array_equal(kernels.output_jacobian(plan, theta, X[few]), jacobian)
    J = kernels.output_jacobian(plan, theta, X[:3])
    kernel = kernels.tangent_kernel(plan, theta, X[few], X[:3])
    np.testing.assert_array_equal(kernel, np.einsum("ikp,jlp->ijkl", jacobian, J))


def known_norms(width, outputs, ones, sizes, dtype):
    """Examples whose inputs have so many ones, and deltas of these sizes, in all of four layers.

    For weights that permute the units, perhaps change signs, keep the lengths of activations and of
    deltas. The squared norm of a layer's part is ``(ones + 1) * size**2``.
    """
    rng = np.random.default_rng([width, outputs])
    layers = [DenseOp(width, n, "identity") for n in (width, width, width, outputs)]
    theta = []
    for layer in layers:
        signs = rng.choice([-1, 1], (1, layer.outputs))
        theta += [(np.eye(width)[rng.permutation(width)][:, : layer.outputs] * signs).ravel()]
        theta += [np.zeros(layer.outputs)]
    X = np.array([rng.permutation(np.arange(width) < n) for n in ones])
    X = X * rng.choice([-1.0, 1.0], X.shape)
    plan, theta = Plan(tuple(layers), "squared_error", "float64"), np.concatenate(theta)
    delta = np.eye(outputs)[rng.integers(outputs, size=len(X))] * np.array(sizes)[:, None]
    y = REFERENCE.outputs(plan, theta, X) - delta / 2
    return Plan(plan.layers, plan.loss, dtype), *(a.astype(dtype) for a in (theta, X, y))


HARD = {"ones": [0, 3, 15] * 20, "sizes": np.repeat([2, 4, 8, 16], 15)}  # norms 4 to 128
SOFT = {"ones": [0, 8, 48] * 20, "sizes": np.full(60, 4)}  # norms 8, 24 and 56


@each_dtype
@pytest.mark.parametrize(("width", "outputs"), [(48, 1), (63, 17), (64, 10), (65, 65), (130, 64)])
@pytest.mark.parametrize(
    ("problem", "clip"),
    [
        (HARD, fb.PerExampleClip(16.0)),
        (HARD, fb.PerExampleClip(16.0, per_layer=True)),
        (HARD, fb.PerExampleClip((2.0, 4.0, 16.0, 1024.0), per_layer=True)),
        (SOFT, fb.PerExampleClip(16.0, automatic=True, gamma=8.0)),
        (SOFT, fb.PerExampleClip((4.0, 4.0, 16.0, 1.0), True, automatic=True, gamma=4.0)),
    ],
)
def test_clipped_sums_with_powers_of_two_are_exact(backend, problem, clip, width, outputs, dtype):
    plan, theta, X, y = known_norms(width, outputs, **problem, dtype=dtype)
    weights = np.resize([1, 2, 0, 1, 4], len(X)).astype(dtype)
    G = gradients(plan, theta, X, y)
    kernels = backends.load(backend)
    gradient, norms = kernels.clipped_gradient(plan, theta, X, y, weights, 0.5, clip)
    expected = norms_of(plan, G, clip.per_layer)
    expected[weights == 0] = 0
    np.testing.assert_array_equal(norms, expected)
    np.testing.assert_array_equal(gradient, clipped_sum(plan, G, weights, 0.5, clip))


# Within the bounds of rounding.


@st.composite
def cases(draw):
    depth = draw(st.integers(1, 4))
    widths = draw(st.lists(st.integers(1, 70), min_size=depth + 1, max_size=depth + 1))
    activations = draw(st.lists(st.sampled_from(ACTIVATIONS), min_size=depth, max_size=depth))
    loss, examples = draw(st.sampled_from(list(LOSSES))), draw(st.integers(1, 140))
    name = f"{widths} {activations} {loss} x{examples}"
    return Case(name, tuple(widths), tuple(activations), loss, examples, draw(st.booleans()))


def any_weights(examples):
    weight = st.sampled_from([0.0, 1e-3, 0.5, 1.0, 1.7, 300.0])
    return st.lists(weight, min_size=examples, max_size=examples)


quick = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@quick
@given(data=st.data(), case=cases(), dtype=st.sampled_from(DTYPES))
@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_answers_are_those_of_the_gradients(name, data, case, dtype):
    kernels, plan = backends.load(name), case.plan(dtype)
    theta, X, y, _ = case.data(dtype)
    weights = np.array(data.draw(any_weights(case.examples)), dtype)
    sweep, G = Sweep(plan, theta, X, y), gradients(plan, theta, X, y)
    for per_layer in (False, True):
        norms = kernels.gradient_norms(plan, theta, X, y, per_layer)
        _, bound = sweep.gradient_norms(per_layer)
        assert error_in_bounds(norms, norms_of(plan, G, per_layer), bound) <= 1

    quantile = data.draw(st.sampled_from([0.1, 0.5, 0.9, 1.0]))
    clip = fb.PerExampleClip(
        max_norm=float(np.quantile(norms_of(plan, G), quantile)) or 1.0,
        per_layer=data.draw(st.booleans()),
        automatic=data.draw(st.booleans()),
    )
    gradient, norms = kernels.clipped_gradient(plan, theta, X, y, weights, 0.01, clip)
    (_, bound), (_, norm_bound) = sweep.clipped_gradient(weights, 0.01, clip)
    assert error_in_bounds(gradient, clipped_sum(plan, G, weights, 0.01, clip), bound) <= 1
    counted = (norms_of(plan, G, clip.per_layer).T * (weights != 0)).T
    assert error_in_bounds(norms, counted, norm_bound) <= 1

    moments = kernels.second_moments(plan, theta, X, y, weights, 0.01)
    _, bound = sweep.second_moments(weights, 0.01)
    assert error_in_bounds(moments, 0.01 * weights @ G**2, bound) <= 1

    some = np.arange(case.examples)[:: data.draw(st.integers(1, 3))]
    gram = kernels.gradient_gram(plan, theta, X, y, X[some], y[some])
    _, bound = sweep.gradient_gram(Sweep(plan, theta, X[some], y[some]))
    assert error_in_bounds(gram, G @ G[some].T, bound) <= 1


def network(plan, backend):
    layers = [fb.Dense(layer.outputs, layer.activation) for layer in plan.layers]
    return fb.Network(layers, plan.inputs, plan.loss, plan.dtype, backend)


@quick
@given(data=st.data(), case=cases(), dtype=st.sampled_from(DTYPES))
@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_statistics_are_those_of_the_gradients(name, data, case, dtype):
    plan, (theta, X, y, _) = case.plan(dtype), case.data(dtype)
    w = np.array(data.draw(any_weights(case.examples).filter(any)), dtype)
    found = network(plan, name).gradient_statistics(theta, X, y, w)
    sweep, G = Sweep(plan, theta, X, y), gradients(plan, theta, X, y)
    scale = 1 / w.sum(dtype=np.float64)
    p = w * np.float64(scale)
    np.testing.assert_allclose(found.weights, p, rtol=1e-14)
    assert error_in_bounds(found.loss, *sweep.value(w, scale)) <= 1

    mean, eps = p @ G, np.finfo(dtype).eps
    _, mean_bound = sweep.gradient(w, scale)
    assert error_in_bounds(found.mean, mean, mean_bound) <= 1
    rest = 1 - p @ p
    if np.count_nonzero(w) == 1:
        assert np.isnan(found.variance).all()
    else:
        variance = p @ (G - mean) ** 2 / rest
        _, bound = sweep.second_moments(w, scale)
        bound = (bound + (2 * abs(mean) + mean_bound) * mean_bound) / rest + eps * abs(variance)
        assert error_in_bounds(found.variance, variance, bound) <= 1

    norms, (_, norm_bound) = norms_of(plan, G), sweep.gradient_norms()
    assert error_in_bounds(found.norms, np.where(w == 0, 0, norms), norm_bound) <= 1
    # The errors of mean and gradients, however they agree; what cancels entirely has no angle.
    _, each = sweep.per_example_gradients()
    length = np.linalg.norm(mean)
    error = norms * np.linalg.norm(mean_bound) + 2 * np.linalg.norm(each, axis=1) * length
    product = norms * length
    clear = (w != 0) & (error + norm_bound * length < product / 4)
    bound = 4 * error[clear] / product[clear] + 4 * eps * np.sqrt(plan.size)
    assert error_in_bounds(found.cosines[clear], (G @ mean)[clear] / product[clear], bound) <= 1


# The bounds are too narrow for anything but rounding.


def is_off(kernel, case, kernels=REFERENCE, by=100):
    """Whether some error of a function in float32 is so many bounds; it ends with the first."""
    errors = case_errors(kernels, case, "float32")
    return any(name == kernel and error > by for name, error in errors)


def without_bias(function):
    """Of the last input, 1 for the bias, the functions know by themselves."""
    return {
        "squared_norms": lambda a, delta: (a * a).sum(axis=1) * (delta * delta).sum(axis=1),
        "gram": lambda a, delta, b, epsilon: (a @ b.T) * (delta @ epsilon.T),
        "inner_products": lambda a, delta, weight, bias: (delta * (a @ weight)).sum(axis=1),
        "gradient": lambda a, delta, coefficients: np.append(
            (a.T @ (coefficients[:, None] * delta)).ravel(), np.zeros(delta.shape[1])
        ),
    }[function]


HARD_CASES = [  # deep; wide, where a bias counts for little; of many examples
    CASES["65-63-66-64-5 cross_entropy x20"],
    Case("500-20-10 huber x300", (500, 20, 10), ("tanh", "identity"), "huber", 300),
    CASES["4-32-16-4 poisson x1001"],
]
each_case = pytest.mark.parametrize("case", HARD_CASES, ids=lambda case: case.name)
PARTS = {
    "gradient_norms": "squared_norms",
    "gradient_gram": "gram",
    "tangent_kernel": "gram",
    "inner_products": "inner_products",
    "second_moments": "gradient",
    "clipped_gradient": "gradient",
}


@each_case
@pytest.mark.parametrize(("kernel", "part"), PARTS.items())
def test_a_forgotten_bias_is_found(kernel, part, case, monkeypatch):
    monkeypatch.setattr(REFERENCE.dense, part, without_bias(part))
    assert is_off(kernel, case)


@each_case
@pytest.mark.parametrize(("kernel", "part"), PARTS.items())
def test_a_forgotten_layer_is_found(kernel, part, case, monkeypatch):
    whole = getattr(REFERENCE.dense, part)
    for width in case.widths[:-1]:

        def one_forgotten(a, *arguments, width=width):
            return whole(a, *arguments) * (a.shape[1] != width)

        monkeypatch.setattr(REFERENCE.dense, part, one_forgotten)
        assert is_off(kernel, case)


@each_case
@pytest.mark.parametrize("kernel", ["clipped_gradient", "second_moments"])
def test_a_forgotten_example_is_found(kernel, case):
    function = getattr(REFERENCE, kernel)

    def forgetful(plan, theta, X, y, weights, *options):
        weights = weights.copy()
        weights[np.flatnonzero(weights == 0.5)[-1]] = 0
        return function(plan, theta, X, y, weights, *options)

    kernels = SimpleNamespace(**vars(REFERENCE) | {kernel: forgetful})
    assert is_off(kernel, case, kernels, by=10)


@each_case
def test_a_limit_that_is_a_little_wrong_is_found(case):
    def clipped_gradient(*arguments):
        *arguments, clip = arguments
        wrong = fb.PerExampleClip(clip.max_norm * 1.01, clip.per_layer, clip.automatic, clip.gamma)
        return REFERENCE.clipped_gradient(*arguments, wrong)

    kernels = SimpleNamespace(**vars(REFERENCE) | {"clipped_gradient": clipped_gradient})
    assert is_off("clipped_gradient", case, kernels)


# The public methods.


@pytest.fixture
def batch(classifier, classes):
    """A theta in float32, and a few examples."""
    X, y = classes
    return classifier.init(seed=0), X[:20], y[:20]


def test_methods_give_what_the_gradients_give(classifier, batch):
    theta, X, y = batch
    plan, P = classifier.plan, classifier.n_parameters
    G = classifier.per_example_gradients(theta, X, y)
    direction = np.cos(np.arange(P))
    J = classifier.output_jacobian(theta, X)
    assert J.shape == (20, 3, P)
    clip = fb.PerExampleClip(0.5, per_layer=True)
    gradient, norms = classifier.clipped_gradient(theta, X, y, 0.5, 0.1, per_layer=True)
    for found, expected in (
        (classifier.gradient_norms(theta, X, y), norms_of(plan, G)),
        (classifier.gradient_norms(theta, X, y, per_layer=True), norms_of(plan, G, True)),
        (gradient, clipped_sum(plan, G, np.ones(20), 0.1, clip)),
        (norms, norms_of(plan, G, True)),
        (classifier.directional_derivatives(theta, X, y, direction), G @ direction),
        (classifier.gradient_gram(theta, X, y), G @ G.T),
        (classifier.gradient_gram(theta, X[:3], y[:3], X, y), G[:3] @ G.T),
        (classifier.tangent_kernel(theta, X), np.einsum("ikp,jlp->ijkl", J, J)),
        (classifier.tangent_kernel(theta, X[:3], X), np.einsum("ikp,jlp->ijkl", J[:3], J)),
    ):
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_a_clipped_mean_is_over_the_weights(classifier, batch):
    theta, X, y = batch
    weights = np.arange(20) % 3
    for w, scale in ((None, 1 / 20), (weights, 1 / weights.sum())):
        gradient, norms = classifier.clipped_gradient(theta, X, y, 0.5, sample_weight=w)
        scaled, _ = classifier.clipped_gradient(theta, X, y, 0.5, scale, sample_weight=w)
        np.testing.assert_array_equal(gradient, scaled)
        assert np.linalg.norm(gradient) <= 0.5
        assert ((norms == 0) == (weights == 0 if w is not None else False)).all()


def test_a_norm_that_nothing_exceeds_gives_the_gradient(classifier, batch):
    theta, X, y = batch
    _, gradient = classifier.value_and_grad(theta, X, y)
    clipped, norms = classifier.clipped_gradient(theta, X, y, 1e6)
    np.testing.assert_allclose(clipped, gradient, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norms, classifier.gradient_norms(theta, X, y), rtol=1e-6)


def test_results_of_the_size_of_theta_have_its_dtype(classifier, batch):
    theta, X, y = batch
    for given_theta, dtype in (
        (theta, np.float32),
        (theta.astype(float), np.float64),
        (theta.tolist(), np.float32),
        (theta.astype(np.float16), np.float32),
    ):
        gradient, norms = classifier.clipped_gradient(given_theta, X, y, 1.0)
        statistics = classifier.gradient_statistics(given_theta, X, y)
        assert gradient.dtype == statistics.mean.dtype == statistics.variance.dtype == dtype
        assert norms.dtype == statistics.norms.dtype == statistics.cosines.dtype == np.float32


def test_no_examples_give_empty_results(classifier):
    theta, P = classifier.init(seed=0), classifier.n_parameters
    nothing, some = (np.empty((0, 4)), []), (np.ones((2, 4)), [0, 1])
    assert classifier.gradient_norms(theta, *nothing).shape == (0,)
    assert classifier.gradient_norms(theta, *nothing, per_layer=True).shape == (0, 3)
    for per_layer, shape in ((False, (0,)), (True, (0, 3))):
        gradient, norms = classifier.clipped_gradient(
            theta, *nothing, 1.0, 0.1, per_layer=per_layer
        )
        np.testing.assert_array_equal(gradient, np.zeros(P))
        assert norms.shape == shape
    assert classifier.directional_derivatives(theta, *nothing, theta).shape == (0,)
    assert classifier.gradient_gram(theta, *nothing).shape == (0, 0)
    assert classifier.gradient_gram(theta, *nothing, *some).shape == (0, 2)
    assert classifier.gradient_gram(theta, *some, *nothing).shape == (2, 0)
    assert classifier.tangent_kernel(theta, nothing[0], some[0]).shape == (0, 2, 3, 3)
    assert classifier.output_jacobian(theta, nothing[0]).shape == (0, 3, P)
    assert list(classifier.iterate_per_example_gradients(theta, *nothing)) == []


def test_what_an_example_of_weight_zero_holds_does_not_matter(classifier, batch):
    theta, X, y = batch
    X = X.copy()
    weights = np.arange(20) % 3
    results = []
    for filling in (0.0, np.nan, np.inf):
        X[weights == 0] = filling
        options = {"sample_weight": weights, "check_finite": False}
        gradient, norms = classifier.clipped_gradient(theta, X, y, 0.5, **options)
        statistics = classifier.gradient_statistics(theta, X, y, **options)
        results.append((gradient, norms, *vars(statistics).values(), statistics.noise_scale))
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_arguments_are_never_written_to(classifier, batch):
    theta, X, y = (array.copy() for array in batch)
    weights, direction = np.ones(20, np.float32), np.ones_like(theta)
    given_arrays = theta, X, y, weights, direction
    copies = [array.copy() for array in given_arrays]
    for array in given_arrays:
        array.flags.writeable = False
    classifier.gradient_norms(theta, X, y)
    classifier.clipped_gradient(theta, X, y, 0.5, sample_weight=weights)
    classifier.gradient_statistics(theta, X, y, weights)
    classifier.directional_derivatives(theta, X, y, direction)
    classifier.gradient_gram(theta, X, y)
    classifier.tangent_kernel(theta, X)
    list(classifier.iterate_per_example_gradients(theta, X, y, rows=3))
    for array, copy in zip(given_arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("rows", [1, 3, 20, 1000, None])
def test_blocks_are_the_rows_of_the_matrix_in_one_place(classifier, batch, rows):
    G = classifier.per_example_gradients(*batch)
    seen, places = [], set()
    for which, block in classifier.iterate_per_example_gradients(*batch, rows):
        np.testing.assert_allclose(block, G[which], rtol=1e-5, atol=1e-6)
        seen.extend(range(20)[which])
        places.add(block.ctypes.data)
        assert len(block) <= (rows or BLOCK)
    assert seen == list(range(20)) and len(places) == 1


def test_bad_input_is_refused_before_the_first_block(classifier, batch):
    theta, X, y = batch
    with pytest.raises(ValueError, match="rows must be an integer"):
        classifier.iterate_per_example_gradients(theta, X, y, rows=0)
    with pytest.raises(ValueError, match="y must have one entry"):
        classifier.iterate_per_example_gradients(theta, X, y[:3])


# Statistics by hand.


def in_float64_on_the_reference():
    net = fb.Network([fb.Dense(3, "tanh"), fb.Dense(2)], 2, "cross_entropy", "float64", "reference")
    rng = np.random.default_rng(5)
    return net, net.init(seed=2), rng.normal(size=(4, 2)), np.array([0, 1, 1, 0])


@pytest.mark.parametrize("hidden", [True, False])
def test_properties_of_statistics_follow_from_sums_over_the_gradients(hidden):
    net, theta, X, y = in_float64_on_the_reference()
    y = y if hidden else np.zeros_like(y)  # where all want the same, the mean is no noise
    p = np.array([0.1, 0.2, 0.3, 0.4])
    statistics = net.gradient_statistics(theta, X, y, 10 * p)
    G = net.per_example_gradients(theta, X, y)
    q, mean_square, square_mean = p @ p, p @ (G**2).sum(axis=1), ((p @ G) ** 2).sum()
    variance = (mean_square - square_mean) / (1 - q)
    signal = (square_mean - q * mean_square) / (1 - q)
    np.testing.assert_allclose(statistics.mean_squared_norm, mean_square, rtol=1e-12)
    np.testing.assert_allclose(statistics.total_variance, variance, rtol=1e-12)
    np.testing.assert_allclose(statistics.squared_mean_norm, signal, rtol=1e-12)
    assert (signal < 0) == hidden
    expected = np.inf if hidden else variance / signal
    np.testing.assert_allclose(statistics.noise_scale, expected, rtol=1e-12)
    np.testing.assert_allclose(
        statistics.signal_to_noise, abs(statistics.mean) / np.sqrt(statistics.variance), rtol=1e-12
    )


@pytest.mark.parametrize("weights", [None, [1, 1, 1], [1, 3, 2]])
def test_estimates_are_right_on_average(weights):
    """Over all batches of three that can be drawn from four examples."""
    net, theta, X, y = in_float64_on_the_reference()
    G = net.per_example_gradients(theta, X, y)
    batches = np.indices((4, 4, 4)).reshape(3, -1).T
    found = [net.gradient_statistics(theta, X[rows], y[rows], weights) for rows in batches]
    np.testing.assert_allclose(np.mean([s.mean for s in found], axis=0), G.mean(axis=0))
    np.testing.assert_allclose(np.mean([s.variance for s in found], axis=0), G.var(axis=0))
    signal = np.mean([s.squared_mean_norm for s in found])
    np.testing.assert_allclose(signal, (G.mean(axis=0) ** 2).sum())


def test_of_one_example_the_variance_is_unknown(classifier, batch):
    theta, X, y = batch
    for rows, weights in ((1, None), (3, [0, 1.7, 0])):
        statistics = classifier.gradient_statistics(theta, X[:rows], y[:rows], weights)
        assert np.isnan(statistics.variance).all() and np.isnan(statistics.noise_scale)
        assert np.isfinite(statistics.mean).all()
        assert np.isclose(statistics.cosines.max(), 1)


def test_gradients_that_are_all_alike_are_all_signal(backend):
    net = fb.Network([fb.Dense(1)], 2, "squared_error", backend=backend)
    statistics = net.gradient_statistics([1, 1, 1], [[1, 0]] * 4, [1] * 4)  # all (2, 0, 2)
    np.testing.assert_array_equal(statistics.variance, [0, 0, 0])
    np.testing.assert_array_equal(statistics.signal_to_noise, [np.inf, 0, np.inf])
    assert statistics.noise_scale == 0 and statistics.squared_mean_norm == 8


def test_gradients_that_cancel_have_no_angle_and_no_signal(backend):
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend=backend)
    statistics = net.gradient_statistics([1, 0], [[1], [1]], [0, 2])  # (2, 2) and (-2, -2)
    np.testing.assert_array_equal(statistics.cosines, [0, 0])
    np.testing.assert_array_equal(statistics.signal_to_noise, [0, 0])
    assert statistics.total_variance == 16 and statistics.squared_mean_norm == -8


# What clipping is.


def test_one_bound_is_shared_by_the_layers():
    assert fb.PerExampleClip(6.0).bounds(9) == (6.0,)
    assert fb.PerExampleClip(6.0, per_layer=True).bounds(9) == (2.0,) * 9
    assert fb.PerExampleClip([3, 4], per_layer=True) == fb.PerExampleClip((3.0, 4.0), True)
    assert fb.PerExampleClip([3, 4], per_layer=True).sensitivity(2) == 5
    for automatic in (False, True):
        for per_layer in (False, True):
            clip = fb.PerExampleClip(6.0, per_layer, automatic)
            assert clip.sensitivity(9) == pytest.approx(6.0, rel=1e-15)


@pytest.mark.parametrize("automatic", [False, True])
@pytest.mark.parametrize("per_layer", [False, True])
def test_no_clipped_gradient_exceeds_the_sensitivity(classifier, batch, per_layer, automatic):
    theta, X, y = batch
    clip = fb.PerExampleClip(0.25, per_layer, automatic)
    for i in range(5):
        rows = slice(i, i + 1)
        gradient, _ = classifier.clipped_gradient(
            100 * theta, X[rows], y[rows], 0.25, per_layer=per_layer, automatic=automatic
        )
        assert np.linalg.norm(gradient) <= clip.sensitivity(3) * (1 + 1e-6)
