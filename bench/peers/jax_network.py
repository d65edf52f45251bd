"""What the two JAX contenders share: the network, its loss, and a step of optax's Adam."""

import os
from functools import partial

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import optax


class Model:
    """Functions of a contest's problem, to be jitted by whoever uses them."""

    def __init__(self, contest):
        jax.config.update("jax_enable_x64", contest.theta.dtype == "float64")
        self._activation = {
            "relu": jax.nn.relu,
            "tanh": jnp.tanh,
            "gelu": partial(jax.nn.gelu, approximate=False),
            "identity": lambda z: z,
        }[contest.activation]
        self._loss = contest.loss
        self._adam = optax.adam(contest.lr)

    def initial(self, weights):
        """Parameters and the state of Adam."""
        params = jax.tree.map(jnp.array, weights)
        return params, self._adam.init(params)

    def outputs(self, params, X):
        """Outputs (B, K)."""
        *hidden, (weight, bias) = params
        for w, b in hidden:
            X = self._activation(X @ w + b)
        return X @ weight + bias

    def loss(self, params, X, y):
        """Mean loss."""
        p = self.outputs(params, X)
        if self._loss == "squared_error":
            return jnp.square(p - y).sum(axis=1).mean()
        return optax.softmax_cross_entropy_with_integer_labels(p, y).mean()

    def step(self, state, X, y, rows):
        """A step on some rows of the data: the new state, and the loss before."""
        params, moments = state
        loss, gradient = jax.value_and_grad(self.loss)(params, X[rows], y[rows])
        updates, moments = self._adam.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), loss
