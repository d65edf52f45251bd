"""A training that a process of its own can be asked for."""

import hashlib

import numpy as np

import fastbatch as fb

SEEDS = range(8)


def digest(seed, threads=None):
    """Of all bits that a training leaves, which must be the same wherever it is done."""
    if threads is not None:
        fb.set_threads(threads)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(512, 40)).astype(np.float32), np.arange(512) % 7
    net = fb.Network([fb.Dense(130, "gelu"), fb.Dense(7)], 40, "cross_entropy")
    trainer = fb.Trainer(net, fb.Adam(0.01), batch_size=256, seed=seed, sampler="poisson")
    history = trainer.fit(X, y, epochs=3, validation=(X, y))
    losses = [(record.loss, record.validation_loss) for record in history]
    return hashlib.sha256(trainer.theta.tobytes() + repr(losses).encode()).hexdigest()
