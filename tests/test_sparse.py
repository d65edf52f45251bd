"""Sparse matrices as examples: everything takes them, and nothing trusts them."""

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse import csr_array, csr_matrix

import fastbatch as fb
from fastbatch import arrays, sparse

RNG = np.random.default_rng(0)
X = np.where(RNG.random((60, 30)) < 0.15, RNG.normal(size=(60, 30)), 0).astype(np.float32)
X[7] = X[:, 3] = 0  # an example and a feature of zeros only
Y = RNG.integers(3, size=60)
WEIGHTS = RNG.integers(0, 3, size=60)

FORMATS = [
    getattr(scipy.sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    for kind in ("array", "matrix")
]


def network(backend="cpu", **options):
    return fb.Network(
        [fb.Dense(8, "tanh"), fb.Dense(3)], 30, "cross_entropy", backend=backend, **options
    )


def damaged(**parts):
    """A matrix that SciPy would not have made: its arrays were changed afterwards."""
    matrix = csr_array(X)
    for name, (place, value) in parts.items():
        getattr(matrix, name)[place] = value
    return matrix


def in_pairs():
    matrix = csr_array(X)
    matrix.data = np.column_stack([matrix.data, matrix.data])
    return matrix


def answers(net, X):
    """What all methods of a network say of the examples."""
    theta = net.init(seed=0)
    yield net.predict(theta, X)
    yield net.losses(theta, X, Y)
    yield from net.value_and_grad(theta, X, Y, WEIGHTS)
    yield from net.value_and_grad(theta, X, Y, reduction="none")
    yield net.gradient_norms(theta, X, Y, per_layer=True)
    yield from net.clipped_gradient(theta, X, Y, 0.5, sample_weight=WEIGHTS)
    statistics = net.gradient_statistics(theta, X, Y, WEIGHTS)
    yield from (statistics.mean, statistics.variance, statistics.norms, statistics.cosines)
    yield net.directional_derivatives(theta, X, Y, theta)
    yield net.gradient_gram(theta, X, Y)
    yield net.tangent_kernel(theta, X[:5], X)
    yield net.output_jacobian(theta, X)
    yield net.per_example_gradients(theta, X, Y)
    for _, block in net.iterate_per_example_gradients(theta, X, Y, 7):
        yield block.copy()  # the next one overwrites it


def trained(X, sampler="shuffle", backend="cpu"):
    """What training says: with clipping, monitors, validation, and a look back."""
    clip, monitor = fb.PerExampleClip(0.5), ("losses", "gradient_norms", "noise_scale")
    trainer = fb.Trainer(
        network(backend), batch_size=13, sampler=sampler, clip=clip, monitor=monitor
    )
    for record in trainer.fit(X, Y, epochs=2, sample_weight=WEIGHTS, validation=(X[:20], Y[:20])):
        yield record.loss
        yield record.validation_loss
        yield record.validation_metric
        yield record.noise_scale
    yield from (trainer.theta, trainer.example_losses, trainer.example_norms, trainer.predict(X))


def test_every_method_gives_the_bits_of_the_dense_examples():
    for found, expected in zip(
        answers(network(), csr_array(X)), answers(network(), X), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_as_much_is_dropped_of_them_as_of_the_dense_examples(backend):
    layers = [fb.Dropout(0.3), fb.Dense(8, "tanh"), fb.Dropout(0.5), fb.Dense(3)]
    net = fb.Network(layers, 30, "cross_entropy", backend=backend)

    def found(X):
        yield from answers(net, X)
        yield from answers(net.with_dropout(1), X)
        trainer = fb.Trainer(net, batch_size=13)
        trainer.fit(X, Y, epochs=2, validation=(X, Y))
        yield trainer.theta

    for ours, expected in zip(found(csr_array(X)), found(X), strict=True):
        if backend == "cpu":
            np.testing.assert_array_equal(ours, expected)
        else:
            np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sampler", ["shuffle", "sequential", "replacement", "poisson"])
def test_training_gives_the_bits_of_the_dense_examples(sampler):
    for found, expected in zip(trained(csr_array(X), sampler), trained(X, sampler), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_function_as_sampler_gives_the_bits_of_the_dense_examples():
    def prefer(losses, norms):
        return np.nan_to_num(losses, nan=1.0) + 0.1

    for found, expected in zip(trained(csr_array(X), prefer), trained(X, prefer), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("what", ["network", "trainer"])
def test_the_reference_takes_them_too(what):
    def found(X):
        if what == "network":
            return answers(network("reference"), X)
        return trained(X, backend="reference")

    for ours, expected in zip(found(csr_array(X)), found(X), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-5)


def test_batches_of_them_give_the_bits_of_dense_batches(backend):
    def trained(some):
        trainer = fb.Trainer(network(backend), batch_size=20)
        batches = [
            (some[:20], Y[:20]),
            (some[20:37], Y[20:37], WEIGHTS[20:37]),
            (X[37:50], Y[37:50]),
        ]
        trainer.fit(batches=batches, epochs=2)
        return trainer.theta

    expected = trained(X)
    found = trained(csr_array(X))
    if backend == "cpu":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_chains_take_them_too(backend):
    found = []
    for examples in (csr_array(X), X):
        trainer = fb.Trainer(network(backend, dtype="float64"), fb.SGLD(1e-4), batch_size=20)
        samples = trainer.sample(examples, Y, 3)
        found.append(samples.predict(examples).mean())
    np.testing.assert_allclose(*found, rtol=1e-9)


def test_an_interrupted_epoch_goes_on_with_other_examples_of_the_same_numbers(tmp_path):
    whole = fb.Trainer(network(), batch_size=7)
    whole.fit(csr_array(X), Y, epochs=2)
    half = fb.Trainer(network(), batch_size=7)
    half.sample(csr_array(X), Y, 1, burn_in=3)  # four steps
    half.save(tmp_path / "model")
    half = fb.Trainer.load(tmp_path / "model")
    half.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(half.theta, whole.theta)


@pytest.mark.parametrize("make", FORMATS)
def test_every_format_is_taken(make):
    net, theta = network(), network().init(seed=0)
    np.testing.assert_array_equal(net.predict(theta, make(X)), net.predict(theta, X))


@pytest.mark.parametrize("dtype", ["int8", "bool", "uint16", "float64", ">f4", "longdouble"])
def test_every_real_dtype_is_taken(dtype):
    net, theta = network(), network().init(seed=0)
    matrix = csr_array(X)
    matrix.data = (10 * matrix.data).astype(dtype)
    expected = net.predict(theta, matrix.toarray())
    np.testing.assert_array_equal(net.predict(theta, matrix), expected)


@pytest.mark.parametrize("columns", ["int32", "int64", "uint8", ">i4", "int16"])
def test_every_dtype_of_indices_is_taken(columns):
    net, theta = network(), network().init(seed=0)
    matrix = csr_array(X)
    matrix.indices, matrix.indptr = matrix.indices.astype(columns), matrix.indptr.astype(">i8")
    np.testing.assert_array_equal(net.predict(theta, matrix), net.predict(theta, X))


def test_no_examples_have_no_outputs(backend):
    net = network(backend)
    theta = net.init(seed=0)
    assert net.predict(theta, csr_array((0, 30))).shape == (0, 3)
    assert net.losses(theta, csr_array((0, 30)), []).shape == (0,)
    with pytest.raises(ValueError, match="X has no examples"):
        net.value_and_grad(theta, csr_array((0, 30)), [])


@pytest.mark.parametrize("columns", [np.int32, np.int64])
def test_arrays_that_fit_are_used_in_place(columns):
    matrix = csr_array(X)
    matrix.indices = matrix.indices.astype(columns)
    matrix.indptr = matrix.indptr.astype(np.int64)
    rows = arrays.matrix("X", matrix, 30, "float32", finite=True)
    for name in "data", "indices", "indptr":
        assert np.shares_memory(getattr(rows, name), getattr(matrix, name))


@pytest.mark.parametrize("kind", [csr_array, csr_matrix])
def test_what_is_out_of_order_or_twice_there_is_sorted_and_summed_in_a_copy(kind):
    data = np.array([1, 2, 4, 8, 16], np.float32)
    indices, indptr = np.array([5, 0, 5, 2, 2], np.int32), np.array([0, 3, 3, 5], np.int32)
    parts = data, indices, indptr
    copies = [part.copy() for part in parts]
    for part in parts:
        part.flags.writeable = False
    rows = arrays.matrix("X", kind(parts, shape=(3, 30)), 30, "float32", finite=True)
    assert rows.data.tolist() == [2, 5, 24]
    assert rows.indices.tolist() == [0, 5, 2]
    assert rows.indptr.tolist() == [0, 2, 2, 3]
    for part, copy in zip(parts, copies, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_order_is_looked_at_and_not_believed():
    matrix = csr_array(([1.0, 2.0], [1, 0], [0, 2]), shape=(1, 2))
    matrix.has_sorted_indices = matrix.has_canonical_format = True
    assert sparse.rows("X", matrix).indices.tolist() == [0, 1]


def test_room_for_more_numbers_is_left_alone():
    matrix = csr_array(X)
    matrix.data = np.append(matrix.data, np.float32(np.nan))
    matrix.indices = np.append(matrix.indices, np.int32(99))
    theta = network().init(seed=0)
    found = network().predict(theta, matrix)
    np.testing.assert_array_equal(found, network().predict(theta, X))


LAST = csr_array(X).nnz
DAMAGED = {
    "a column too far": (damaged(indices=(4, 30)), r"X\.indices\[4\] is 30, .* in \[0, 30\)"),
    "a negative column": (damaged(indices=(4, -1)), r"X\.indices\[4\] is -1, .* in \[0, 30\)"),
    "an end too far": (damaged(indptr=(-1, LAST + 1)), rf"goes from 0 to {LAST + 1}, .* {LAST}"),
    "a negative start": (damaged(indptr=(0, -1)), rf"goes from -1 to {LAST}"),
    "a row that falls": (damaged(indptr=(5, 10**6)), r"falls from 1000000 to \d+ in row 5"),
    "numbers in pairs": (in_pairs(), r"X\.data must be a vector, found 2 dimensions"),
    "not a number": (damaged(data=(LAST - 1, np.nan)), r"X\[59, \d+\] is nan, expected finite"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_matrices_are_refused(name, backend):
    matrix, message = DAMAGED[name]
    net, trainer = network(backend), fb.Trainer(network(backend))
    theta = net.init(seed=0)
    uses = (
        lambda: net.predict(theta, matrix),
        lambda: net.losses(theta, matrix, Y),
        lambda: net.output_jacobian(theta, matrix),
        lambda: trainer.fit(matrix, Y),
        lambda: trainer.fit(X, Y, validation=(matrix, Y)),
    )
    for use in uses:
        with pytest.raises(ValueError, match=message):
            use()
    assert trainer.step == 0


def test_indices_that_are_no_integers_are_refused():
    matrix = csr_array(X)
    matrix.indices = matrix.indices.astype(float)
    with pytest.raises(TypeError, match=r"X\.indices must be a vector of integers, found 1 .*64"):
        network().predict(network().init(seed=0), matrix)


def test_starts_of_another_number_of_rows_are_refused():
    matrix = csr_array(X)
    matrix.indptr = matrix.indptr[:-1]
    with pytest.raises(ValueError, match=r"X\.indptr must have 61 entries, .* found 60"):
        network().predict(network().init(seed=0), matrix)
