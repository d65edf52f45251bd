"""JAX with a whole epoch in one jitted call: permutation, and a scan of gather and step."""

from functools import partial

import numpy as np

from bench.peers.contest import Contest
from bench.peers.jax_network import Model, jax, jnp, ravel_pytree


def main(host_shuffles=False):
    """Race; the permutation made in the call, or by NumPy and handed to it."""
    contest = Contest()
    model = Model(contest)
    X, y = jnp.array(contest.X), jnp.array(contest.y)
    count = len(X)

    @partial(jax.jit, donate_argnames="state")
    def epoch_in(order, state, X, y):
        rows = order.reshape(-1, contest.batch_size)
        state, losses = jax.lax.scan(lambda state, r: model.step(state, X, y, r), state, rows)
        return state, losses.mean()

    @partial(jax.jit, donate_argnames="state")
    def shuffled_epoch(number, state, X, y):
        order = jax.random.permutation(jax.random.key(number), count)
        return epoch_in(order, state, X, y)

    def epoch(number, state, X, y):
        if not host_shuffles:
            return shuffled_epoch(number, state, X, y)
        order = np.random.default_rng(number).permutation(np.arange(count, dtype=np.int32))
        return epoch_in(order, state, X, y)

    outputs = jax.jit(model.outputs)
    params, _ = state = model.initial(contest.weights)
    before = np.asarray(outputs(params, X))  # now: the epoch takes over the memory of params
    moved = None
    if contest.sgld:
        (warm, _), _ = epoch_in(jnp.arange(count), state, X, y)
        state = model.initial(contest.weights, temperature=0.0)
    (params, _), _ = epoch_in(jnp.arange(count), state, X, y)
    after = outputs(params, X)
    if contest.sgld:
        moved = ravel_pytree(warm)[0] - ravel_pytree(params)[0]

    number = 0
    state, _ = epoch(number, model.initial(contest.weights), X, y)
    params, _ = model.initial(contest.weights)
    gram = jax.jit(model.gram)
    first = np.asarray(gram(params, X, y)) if contest.gram else None
    contest.ready(f"jax {jax.__version__}", before, after, first, moved)
    while contest.again("train"):
        number += 1
        state, loss = epoch(number, state, X, y)
        loss.block_until_ready()
    while contest.again("forward"):
        outputs(params, X).block_until_ready()
    while contest.again("gram"):
        gram(params, X, y).block_until_ready()


if __name__ == "__main__":
    main()
