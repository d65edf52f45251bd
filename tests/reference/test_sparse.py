"""The reference computes the same of a sparse X, exactly so where no sum is rounded."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import reference
from fastbatch.kernels.plan import DenseOp, Plan, SparseRows
from fastbatch.optimizers import SGD

PLAN = Plan((DenseOp(6, 4, "relu"), DenseOp(4, 2, "identity")), "squared_error", "float64")
RNG = np.random.default_rng(0)
THETA = RNG.integers(-3, 4, PLAN.size).astype(float)
X = RNG.integers(-3, 4, (9, 6)) * (RNG.random((9, 6)) < 0.4).astype(float)
X[3] = X[:, 2] = 0
Y = RNG.integers(-3, 4, (9, 2)).astype(float)
WEIGHTS = RNG.integers(0, 3, 9).astype(float)
LOOSE = PerExampleClip(1e9)  # clips nothing, and so rounds nothing


def sparse(X):
    rows = csr_array(X)
    return SparseRows(rows.data, rows.indices, rows.indptr.astype(np.int64), X.shape[1])


FUNCTIONS = {
    "outputs": lambda X: reference.outputs(PLAN, THETA, X, check=True),
    "losses": lambda X: reference.losses(PLAN, THETA, X, Y),
    "value": lambda X: reference.value_and_gradient(PLAN, THETA, X, Y, WEIGHTS, 2.0)[0],
    "gradient": lambda X: reference.value_and_gradient(PLAN, THETA, X, Y, WEIGHTS, 2.0)[1],
    "norms": lambda X: reference.gradient_norms(PLAN, THETA, X, Y),
    "clipped": lambda X: reference.clipped_gradient(PLAN, THETA, X, Y, None, 1.0, LOOSE)[0],
    "moments": lambda X: reference.second_moments(PLAN, THETA, X, Y, WEIGHTS, 2.0),
    "products": lambda X: reference.inner_products(PLAN, THETA, X, Y, THETA),
    "gram": lambda X: reference.gradient_gram(PLAN, THETA, X, Y, X[:4], Y[:4]),
    "each": lambda X: reference.per_example_gradients(PLAN, THETA, X, Y),
    "jacobian": lambda X: reference.output_jacobian(PLAN, THETA, X),
    "kernel": lambda X: reference.tangent_kernel(PLAN, THETA, X[2:5], X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_sparse_examples_give_what_dense_ones_give(name):
    np.testing.assert_array_equal(FUNCTIONS[name](sparse(X)), FUNCTIONS[name](X))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_training_takes_the_same_steps(weights):
    after = []
    for examples in (X, sparse(X)):
        training = reference.Training(PLAN, SGD(), examples, Y, weights, batch_size=4)
        training.theta = THETA
        assert training.advance(np.full(3, 0.125)) == 3
        after.append((training.theta, training.loss_sum))
    np.testing.assert_allclose(after[1][0], after[0][0], rtol=1e-12)
    np.testing.assert_allclose(after[1][1], after[0][1], rtol=1e-12)


def test_what_is_not_finite_is_found():
    rows = sparse(X)
    rows.data[5] = np.nan
    with pytest.raises(FloatingPointError):
        reference.outputs(PLAN, THETA, rows, check=True)
