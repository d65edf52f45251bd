"""A network is a function of one flat vector."""

import pickle

import numpy as np
import pytest
from scipy.optimize import minimize

import fastbatch as fb
from fastbatch import arrays
from fastbatch.losses import LOSSES


def linear(backend, dtype="float64"):
    """Predicts 2 a + 3 b + 1 with theta = (2, 3, 1)."""
    return fb.Network([fb.Dense(1)], 2, "squared_error", dtype, backend)


THETA = np.array([2.0, 3.0, 1.0])
X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
Y = np.array([4.0, 4.0, 3.0])  # predictions are 3, 4, 6; losses 1, 0, 9


def test_unflatten_names_views_in_the_order_of_theta(classifier):
    theta = np.arange(classifier.n_parameters, dtype=np.float32)
    named = classifier.unflatten(theta)
    assert list(named) == [f"{i}.{part}" for i in range(3) for part in ("weight", "bias")]
    assert named["1.weight"].shape == (9, 5)
    np.testing.assert_array_equal(np.concatenate([part.ravel() for part in named.values()]), theta)
    named["2.bias"][:] = -1
    assert (theta[-3:] == -1).all()


def test_unflatten_gives_views_of_strided_and_read_only_vectors(classifier):
    vector = np.zeros(2 * classifier.n_parameters)[::2]
    vector.flags.writeable = False
    for part in classifier.unflatten(vector).values():
        assert np.shares_memory(part, vector)


def test_flatten_is_the_way_back_in_any_order(classifier):
    theta = classifier.init(seed=3)
    named = dict(reversed(classifier.unflatten(theta).items()))
    np.testing.assert_array_equal(classifier.flatten(named), theta)
    assert classifier.flatten(named).dtype == np.float32


def test_init_bounds_weights_by_he_for_rectifiers_and_by_glorot_for_others(backend):
    net = fb.Network([fb.Dense(300, "relu"), fb.Dense(200)], 100, "huber", backend=backend)
    named = net.unflatten(net.init(seed=0))
    for name, bound in ("0.weight", np.sqrt(6 / 100)), ("1.weight", np.sqrt(6 / 500)):
        assert np.abs(named[name]).max() <= np.float32(bound)
        assert np.abs(named[name]).max() > 0.999 * bound
        assert abs(named[name].mean()) < 0.01 * bound
    assert not named["0.bias"].any() and not named["1.bias"].any()


def test_init_depends_on_the_seed_alone(classifier):
    np.testing.assert_array_equal(classifier.init(seed=7), classifier.init(seed=7))
    assert (classifier.init(seed=7) != classifier.init(seed=8)).any()
    wide = fb.Network(classifier.layers, 4, "cross_entropy", "float64", "reference")
    np.testing.assert_array_equal(wide.init(seed=7).astype(np.float32), classifier.init(seed=7))


def test_with_dropout_and_without_a_network_begins_the_same(backend):
    sample, layers = fb.GaussianSample(2), [fb.Dense(8, "relu"), fb.Dense(4), fb.Dense(3)]
    plain = fb.Network([*layers[:2], sample, layers[2]], 4, "huber", backend=backend)
    drop = fb.Dropout(0.5)
    thinned = fb.Network(
        [drop, layers[0], drop, layers[1], sample, drop, layers[2]], 4, "huber", backend=backend
    )
    np.testing.assert_array_equal(thinned.init(seed=7), plain.init(seed=7))
    np.testing.assert_array_equal(thinned.with_dropout(1).init(seed=7), plain.init(seed=7))


def test_predictions_and_losses_of_a_hand_worked_case(backend):
    net = linear(backend)
    np.testing.assert_array_equal(net.predict(THETA, X), [[3.0], [4.0], [6.0]])
    np.testing.assert_array_equal(net.losses(THETA, X, Y), [1.0, 0.0, 9.0])
    np.testing.assert_array_equal(net.losses(THETA, X, Y.reshape(-1, 1)), [1.0, 0.0, 9.0])


def test_no_examples_give_empty_results(backend):
    net, nothing = linear(backend, "float32"), np.empty((0, 2))
    assert net.predict(THETA, nothing).shape == (0, 1)
    assert net.losses(THETA, nothing, []).shape == (0,)
    assert net.per_example_gradients(THETA, nothing, []).shape == (0, 3)


def test_reductions_of_a_hand_worked_case(backend):
    net = linear(backend)
    gradients = np.array([[-2.0, 0, -2], [0, 0, 0], [6, 6, 6]])
    np.testing.assert_array_equal(net.per_example_gradients(THETA, X, Y), gradients)
    for reduction, scale in ("mean", 1 / 3), ("sum", 1.0):
        value, gradient = net.value_and_grad(THETA, X, Y, reduction=reduction)
        assert isinstance(value, float)
        np.testing.assert_allclose(value, 10 * scale, rtol=1e-15)
        np.testing.assert_allclose(gradient, gradients.sum(axis=0) * scale, rtol=1e-15)
    values, each = net.value_and_grad(THETA, X, Y, reduction="none")
    np.testing.assert_array_equal(values, [1, 0, 9])
    np.testing.assert_array_equal(each, gradients)


def test_scale_overrides_the_reduction(backend):
    net = linear(backend)
    for reduction in "mean", "sum":
        value, gradient = net.value_and_grad(THETA, X, Y, reduction=reduction, scale=0.5)
        assert value == 5.0
        np.testing.assert_array_equal(gradient, [2.0, 3.0, 2.0])
    values, _ = net.value_and_grad(THETA, X, Y, [1, 1, 2], reduction="none", scale=0.5)
    np.testing.assert_array_equal(values, [0.5, 0, 9])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_weight_two_is_the_example_twice_and_weight_zero_is_its_absence(backend, reduction):
    net, rows = linear(backend), [1, 2, 2]
    weighted = net.value_and_grad(THETA, X, Y, [0.0, 1.0, 2.0], reduction)
    repeated = net.value_and_grad(THETA, X[rows], Y[rows], None, reduction)
    np.testing.assert_allclose(weighted[0], repeated[0], rtol=1e-15)
    np.testing.assert_allclose(weighted[1], repeated[1], rtol=1e-15)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_what_an_example_of_weight_zero_holds_does_not_matter(backend, reduction):
    net, broken = linear(backend), X.copy()
    broken[0] = np.nan
    expected = net.value_and_grad(THETA, X, Y, [0, 1, 2], reduction)
    found = net.value_and_grad(THETA, broken, Y, [0, 1, 2], reduction, check_finite=False)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_gradient_has_the_dtype_of_theta(classifier, classes):
    theta = classifier.init(seed=0)
    assert classifier.value_and_grad(theta, *classes)[1].dtype == np.float32
    assert classifier.value_and_grad(theta.astype(float), *classes)[1].dtype == np.float64
    assert classifier.value_and_grad(theta.tolist(), *classes)[1].dtype == np.float32
    assert classifier.value_and_grad(theta.astype(np.float16), *classes)[1].dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scipy_minimises_it_as_written(backend, dtype, classes):
    X, y = classes
    net = fb.Network([fb.Dense(5, "tanh"), fb.Dense(3)], 4, "cross_entropy", dtype, backend)
    theta = net.init(seed=0)
    fit = minimize(
        net.value_and_grad, theta, args=(X, y), jac=True, method="L-BFGS-B", options={"maxiter": 60}
    )
    assert fit.fun < 0.1 * net.value_and_grad(theta, X, y)[0]


def test_labels_come_as_integers_floats_booleans_or_probabilities(backend):
    net = fb.Network([fb.Dense(2)], 2, "cross_entropy", backend=backend)
    theta, y = net.init(seed=0), np.array([0, 1, 1])
    expected = net.losses(theta, X, y)
    for labels in y.astype(np.uint8), y.astype(float), y.astype(bool), y.tolist():
        np.testing.assert_array_equal(net.losses(theta, X, labels), expected)
    np.testing.assert_allclose(net.losses(theta, X, np.eye(2)[y]), expected, rtol=1e-6)


def test_boolean_targets_fit_binary_cross_entropy(backend):
    net = fb.Network([fb.Dense(1)], 2, "binary_cross_entropy", backend=backend)
    np.testing.assert_allclose(net.losses(np.zeros(3), X, [True, False, True]), np.log(2.0))


def test_all_losses_have_a_name_that_the_backend_knows(backend):
    for loss in LOSSES:
        net = fb.Network([fb.Dense(2)], 2, loss, backend=backend)
        y = np.array([[0.5, 0.5]] * 3)
        assert np.isfinite(net.losses(net.init(seed=0), X, y)).all()


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arrays_that_fit_are_used_in_place(dtype, tmp_path):
    net = linear("reference", dtype)
    on_disk = np.memmap(tmp_path / "X", dtype, "w+", shape=(3, 2))
    on_disk[:] = X
    y = read_only(Y.astype(dtype))
    for examples in read_only(X.astype(dtype)), on_disk:
        checked_X, checked_y = net.check_examples(examples, y)
        assert np.shares_memory(checked_X, examples) and type(checked_X) is np.ndarray
        assert np.shares_memory(checked_y, y) and checked_y.shape == (3, 1)
    labels = np.array([0, 1, 0])
    classifier = fb.Network([fb.Dense(2)], 2, "cross_entropy", dtype, "reference")
    assert np.shares_memory(classifier.check_examples(X, labels)[1], labels)


def test_arrays_that_do_not_fit_are_converted(backend):
    net = linear(backend)
    expected = net.predict(THETA, X)
    unaligned = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(float).reshape(3, 2)
    assert not unaligned.flags.aligned
    for other in np.asfortranarray(X), X.astype(">f8"), X.astype(np.int8), X.tolist(), unaligned:
        np.testing.assert_array_equal(net.predict(THETA, other), expected)
    np.testing.assert_array_equal(net.predict(THETA, np.repeat(X, 2, axis=0)[::2]), expected)


def test_data_are_never_written_to(classifier, classes):
    X, y = (read_only(array) for array in classes)
    theta = read_only(classifier.init(seed=0))
    before = [array.copy() for array in (X, y, theta)]
    classifier.value_and_grad(theta, X, y)
    fb.Trainer(classifier, theta=theta).fit(X, y)
    for array, copy in zip((X, y, theta), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_the_last_of_many_numbers_is_looked_at():
    X = np.zeros((arrays.BLOCK // 2 + 1, 2), np.float32)
    X[-1, 1] = np.nan
    with pytest.raises(ValueError, match=rf"X\[{len(X) - 1}, 1\] is nan"):
        linear("reference").check_examples(X, np.zeros(len(X)))


def test_networks_compare_hash_and_pickle_by_value(classifier):
    same = fb.Network(list(classifier.layers), 4, "cross_entropy", np.float32, classifier.backend)
    assert same == classifier and hash(same) == hash(classifier)
    assert classifier.n_parameters == 4 * 9 + 9 + 9 * 5 + 5 + 5 * 3 + 3
    assert pickle.loads(pickle.dumps(classifier)) == classifier
    assert hash(classifier.plan)
    assert "_hash" not in vars(pickle.loads(pickle.dumps(classifier.plan)))
