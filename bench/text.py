"""Training on a sparse X, with its zeros, and by scikit-learn: ``python -m bench.text``.

The cell "text" has the size of a classification of texts by their words: 20,000 examples of 20,000
features, of which each has 100, anywhere (words that are frequent would be kinder to the caches),
through 20000-100-20 with ReLU and cross-entropy, by Adam in batches of 200, in float32.

First all show that they compute the same. Then they take turns, an epoch each. With its zeros X
takes 1.6 GB.
"""

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import numpy as np
import sklearn
from scipy.sparse import csr_array
from sklearn.neural_network import MLPClassifier

import fastbatch as fb
from bench.cells import LR
from bench.machine import machine
from bench.markdown import number, spread, table
from bench.race import TOLERANCE
from bench.ways import by_turns

EXAMPLES, FEATURES, WORDS = 20_000, 20_000, 100
BATCH = 200
REST = 0.15  # seconds after which the threads of the others sleep
NETWORK = fb.Network([fb.Dense(100, "relu"), fb.Dense(20)], FEATURES, "cross_entropy")


def texts(examples=EXAMPLES):
    """Examples, and the classes that a linear rule gives them."""
    rng = np.random.default_rng(0)
    # Ascending numbers below FEATURES - WORDS, some equal, become different ones.
    words = np.sort(rng.integers(FEATURES - WORDS + 1, size=(examples, WORDS)), axis=1)
    words += np.arange(WORDS)
    values = rng.standard_normal(words.size, dtype=np.float32)
    starts = np.arange(0, words.size + 1, WORDS)
    X = csr_array((values, words.ravel().astype(np.int32), starts), (examples, FEATURES))
    return X, (X @ rng.standard_normal((FEATURES, 20))).argmax(axis=1)


def ours(X, y, theta, **options):
    """A function that trains for an epoch and returns the number of its steps; and the trainer."""
    trainer = fb.Trainer(NETWORK, fb.Adam(LR), batch_size=BATCH, theta=theta, **options)

    def train():
        before = trainer.step
        trainer.fit(X, y)
        return trainer.step - before

    return train, trainer


def theirs(X, y, theta, **options):
    """The same of scikit-learn; it too has trained an epoch before its first turn."""
    named = iter(NETWORK.unflatten(theta).values())

    class Estimator(MLPClassifier):
        def _init_coef(self, fan_in, fan_out, dtype):
            # There is no public way to begin with given parameters.
            return next(named).copy(), next(named).copy()

    model = Estimator(
        (100,), alpha=0.0, batch_size=BATCH, learning_rate_init=LR, random_state=0, **options
    )
    model.partial_fit(X, y, classes=np.arange(20))

    def train():
        model.partial_fit(X, y)
        return -(-len(y) // BATCH)

    return train, model


def check(X, y, theta):
    """Raise AssertionError unless all are at the same place after an epoch in order."""
    few = slice(0, 10 * BATCH)
    X, y = X[few], y[few]
    before = NETWORK.losses(theta, X, y).mean()
    parameters = []
    for examples in (X, X.toarray()):
        train, trainer = ours(examples, y, theta, sampler="sequential")
        train()
        parameters.append(trainer.theta)
    assert (parameters[0] == parameters[1]).all(), "the zeros have changed something"
    after = NETWORK.losses(parameters[0], X, y).mean()
    _, model = theirs(X, y, theta, shuffle=False)
    their_loss = -np.log(model.predict_proba(X)[np.arange(len(y)), y]).mean()
    error = abs(their_loss - after) / (before - after)
    assert error < TOLERANCE, f"scikit-learn computes something else: {their_loss}, not {after}"


def measure(rounds, examples=EXAMPLES):
    """Microseconds a step of each way, one for each turn."""
    X, y = texts(examples)
    theta = NETWORK.init(seed=0)
    check(X, y, theta)
    contenders = {
        "fastbatch, sparse": ours(X, y, theta),
        "fastbatch, with zeros": ours(X.toarray(), y, theta),
        "scikit-learn, sparse": theirs(X, y, theta),
    }
    work = {name: (nullcontext, train) for name, (train, _) in contenders.items()}
    return by_turns(work, rounds, 0.0, rest=REST)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="turns that count (default: 9)")
    parser.add_argument("--json", metavar="FILE", help="where to write all times")
    arguments = parser.parse_args()
    times, facts = measure(arguments.rounds), machine()
    print(f"{facts['cores']} cores of {facts['processor']}, {facts['date']}; ", end="")
    print(f"fastbatch {fb.__version__}, scikit-learn {sklearn.__version__}\n")
    best = median(times["fastbatch, sparse"])
    head = ("", "microseconds a step", "of fastbatch, sparse")
    rows = ((name, spread(t), number(median(t) / best)) for name, t in times.items())
    print(table([head, *rows]))
    if arguments.json:
        document = {"machine": facts, "microseconds": times}
        Path(arguments.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
