"""Fast mini-batch training of neural networks on CPUs, with the gradient of each example.

>>> import numpy as np
>>> import fastbatch as fb
>>> net = fb.Network([fb.Dense(16, "relu"), fb.Dense(2)], inputs=2, loss="cross_entropy",
...                  backend="reference")
>>> X = np.random.default_rng(0).normal(size=(200, 2))
>>> y = X[:, 0] * X[:, 1] > 0
>>> trainer = fb.Trainer(net, fb.Adam(0.02), batch_size=20, seed=0)
>>> history = trainer.fit(X, y, epochs=30, validation=(X, y))
>>> history[-1].validation_metric > 0.95
True
"""

from fastbatch.callbacks import (
    Checkpoint,
    CSVLog,
    EarlyStopping,
    JSONLinesLog,
    TensorBoardLog,
    TimeLimit,
    read_log,
)
from fastbatch.checkpoint import CheckpointError
from fastbatch.clipping import PerExampleClip
from fastbatch.gradient_statistics import GradientStatistics
from fastbatch.history import EpochRecord
from fastbatch.layers import Dense, Dropout, GaussianSample
from fastbatch.learning_rate import find_learning_rate
from fastbatch.network import Network
from fastbatch.optimizers import SGD, SGLD, Adagrad, Adam, AdamW, RMSprop
from fastbatch.posterior import PosteriorSamples
from fastbatch.privacy import GaussianNoise, secure_seed
from fastbatch.run import DivergenceError
from fastbatch.samplers import Order
from fastbatch.schedules import Constant, Cosine, Exponential, LinearWarmup, PowerDecay, StepDecay
from fastbatch.threads import get_threads, set_threads
from fastbatch.trainer import Trainer

__all__ = [
    "SGD",
    "SGLD",
    "Adagrad",
    "Adam",
    "AdamW",
    "CSVLog",
    "Checkpoint",
    "CheckpointError",
    "Constant",
    "Cosine",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "EpochRecord",
    "Exponential",
    "GaussianNoise",
    "GaussianSample",
    "GradientStatistics",
    "JSONLinesLog",
    "LinearWarmup",
    "Network",
    "Order",
    "PerExampleClip",
    "PosteriorSamples",
    "PowerDecay",
    "RMSprop",
    "StepDecay",
    "TensorBoardLog",
    "TimeLimit",
    "Trainer",
    "find_learning_rate",
    "get_threads",
    "read_log",
    "secure_seed",
    "set_threads",
]


def __getattr__(name: str) -> str:
    """Look the version up when asked: the import would cost a quarter of fastbatch's own."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fastbatch")
    raise AttributeError(f"module 'fastbatch' has no attribute {name!r}")
