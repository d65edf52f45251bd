"""JAX with a jitted call for each step, gather included; NumPy shuffles."""

from functools import partial

import numpy as np

from bench.peers.contest import Contest
from bench.peers.jax_network import Model, jax, jnp


def main():
    contest = Contest()
    model = Model(contest)
    X, y = jnp.array(contest.X), jnp.array(contest.y)
    step = partial(jax.jit, donate_argnames="state")(model.step)

    def epoch(state, order):
        for rows in order.reshape(-1, contest.batch_size):
            state, loss = step(state, X, y, rows)
        return state, loss

    in_order = np.arange(len(contest.X), dtype=np.int32)
    state = model.initial(contest.weights)
    before = model.outputs(state[0], X)
    state, _ = epoch(state, in_order)
    after = model.outputs(state[0], X)

    rng = np.random.default_rng(0)
    state = model.initial(contest.weights)
    contest.ready(f"jax {jax.__version__}", before, after)
    while contest.again("train"):
        state, loss = epoch(state, rng.permutation(in_order))
        loss.block_until_ready()


if __name__ == "__main__":
    main()
