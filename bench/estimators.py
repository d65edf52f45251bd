"""`fit` of the estimators beside scikit-learn's own: ``python -m bench.estimators``.

Whole calls with default parameters and a `random_state`, by turns in one process, after a first
fit of each that does not count; medians and quartiles of seconds. Both draw the same parameters and
orders from the `random_state`: so they take about as many epochs to about the same loss, which
stand beside the times.
"""

import argparse
import sys
import warnings
from statistics import median
from time import perf_counter, sleep

import numpy as np
from sklearn import neural_network
from sklearn.datasets import load_digits

from bench.machine import machine
from bench.markdown import bullets, spread, table
from fastbatch import sklearn as fastbatch_sklearn

REST = 0.5  # seconds between turns, in which the threads of the last fall asleep


def digits(dtype):
    """1,797 pictures of 8 x 8 pixels in 10 classes."""
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(dtype), y


def pictures(dtype):
    """10,000 examples of 784 features in 10 classes that overlap a little."""
    rng = np.random.default_rng(0)
    y = rng.integers(10, size=10_000)
    centres = 0.15 * rng.normal(size=(10, 784))
    return (centres[y] + rng.normal(size=(10_000, 784))).astype(dtype), y


def reals(dtype):
    """The same examples, with a number to predict."""
    X, _ = pictures(dtype)
    y = np.tanh(X @ np.random.default_rng(1).normal(size=784) / 28)
    return X, y.astype(dtype)


CASES = {
    "digits": ("MLPClassifier", digits),
    "784 features": ("MLPClassifier", pictures),
    "784 features, a number": ("MLPRegressor", reals),
}


def compare(name, make, dtype, rounds):
    """A row of the table: both sides by turns."""
    X, y = make(dtype)
    sides = [getattr(module, name) for module in (fastbatch_sklearn, neural_network)]
    for estimator in sides:
        estimator(max_iter=1).fit(X, y)
    seconds, fitted = ([], []), [None, None]
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 else (1, 0):
            sleep(REST)
            start = perf_counter()
            fitted[side] = sides[side](random_state=turn).fit(X, y)
            seconds[side].append(perf_counter() - start)
    ratio = median(other / own for own, other in zip(*seconds, strict=True))
    epochs = " / ".join(str(estimator.n_iter_) for estimator in fitted)
    losses = " / ".join(f"{estimator.loss_:.4g}" for estimator in fitted)
    return [*map(spread, seconds), f"{ratio:.1f}", epochs, losses]


def main(arguments=None):
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--dtypes", nargs="+", default=["float64", "float32"])
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # that 200 epochs are not enough
    rows = [["case", "fastbatch, s", "scikit-learn, s", "times faster", "epochs", "final losses"]]
    for case in options.cases:
        for dtype in options.dtypes:
            rows.append([f"{case}, {dtype}", *compare(*CASES[case], dtype, options.rounds)])
    print(bullets(f"{key}: {fact}" for key, fact in machine().items()), table(rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
