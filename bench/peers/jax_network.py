"""What the JAX contenders share: the network, its loss, its gradients, and a step with optax."""

import os
from functools import partial

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # bench/gpu.py wants another

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree


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
        self._clip = contest.clip
        self._sgld = contest.sgld
        self._examples = len(contest.X)
        self._optimizer = optax.sgd(contest.lr) if contest.clip else optax.adam(contest.lr)

    def initial(self, weights, temperature=1.0):
        """Parameters and the state of the optimizer, or of the chain: its key, its temperature."""
        params = jax.tree.map(jnp.array, weights)
        if self._sgld:
            return params, (jax.random.key(0), jnp.array(temperature, params[0][0].dtype))
        return params, self._optimizer.init(params)

    def outputs(self, params, X):
        """Outputs (B, K); of a single example (K,)."""
        *hidden, (weight, bias) = params
        for w, b in hidden:
            X = self._activation(X @ w + b)
        return X @ weight + bias

    def mean_loss(self, p, y):
        """Mean loss of outputs; of those of a single example, its loss."""
        if self._loss == "squared_error":
            return jnp.square(p - y).sum(axis=-1).mean()
        if self._loss == "binary_cross_entropy":
            return optax.sigmoid_binary_cross_entropy(p, y).sum(axis=-1).mean()
        return optax.softmax_cross_entropy_with_integer_labels(p, y).mean()

    def loss(self, params, X, y):
        """The same, of parameters and inputs."""
        return self.mean_loss(self.outputs(params, X), y)

    def example_gradients(self, params, X, y):
        """Losses (B,), and gradients that are parameters with a leading axis of length B."""
        return jax.vmap(jax.value_and_grad(self.loss), (None, 0, 0))(params, X, y)

    def clipped_gradient(self, params, X, y):
        """Mean loss, and the mean of the examples' gradients after clipping."""
        losses, gradients = self.example_gradients(params, X, y)
        norms = jax.vmap(optax.global_norm)(gradients)
        coefficients = jnp.minimum(1, self._clip / norms) / len(X)
        mean = jax.tree.map(lambda g: jnp.tensordot(coefficients, g, axes=1), gradients)
        return losses.mean(), mean

    def gram(self, params, X, y):
        """Inner products (N, N) of the examples' gradients."""
        _, gradients = self.example_gradients(params, X, y)
        rows = [g.reshape(len(X), -1) for g in jax.tree.leaves(gradients)]
        return sum(g @ g.T for g in rows)

    def step(self, state, X, y, rows):
        """A step on some rows of the data: the new state, and the loss before."""
        params, moments = state
        value_and_grad = self.clipped_gradient if self._clip else jax.value_and_grad(self.loss)
        loss, gradient = value_and_grad(params, X[rows], y[rows])
        if self._sgld:
            return self._langevin(params, gradient, *moments), loss
        updates, moments = self._optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), loss

    def _langevin(self, params, gradient, key, temperature):
        """A step of Langevin dynamics with the mean gradient of a batch: the new state."""
        size, precision = self._sgld["step_size"], self._sgld["prior_precision"]
        key, own = jax.random.split(key)
        # All numbers at once: 160 us a step in digits, 210 if drawn array by array, 290 or more by
        # the other generators (rbg, unsafe_rbg).
        flat, unflatten = ravel_pytree(params)
        noise = jnp.sqrt(size * temperature) * jax.random.normal(own, flat.shape, flat.dtype)

        def move(theta, g, xi):
            return theta - size / 2 * (precision * theta + self._examples * g) + xi

        return jax.tree.map(move, params, gradient, unflatten(noise)), (key, temperature)
