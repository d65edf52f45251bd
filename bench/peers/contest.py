"""A contender's side of the race: what it is given, and how it takes its turns.

A contender trains one epoch with the examples in order and keeps the outputs before and after,
does whatever it needs to be warm, and from then on trains shuffled epochs, all that it does for
an epoch (the shuffle, the gathering of rows) being timed::

    contest = Contest()
    ...
    contest.ready("name 1.0", outputs_before, outputs_after)
    while contest.another_epoch():
        ...
"""

import json
import os
import sys
from time import perf_counter

import numpy as np


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Contest:
    """The problem in the file that the command line names, and the turns.

    Attributes
    ----------
    widths : list of int
        Of the input, the hidden layers and the output.
    activation : {"relu", "tanh"}
        Of the hidden layers; the output has none.
    loss : {"squared_error", "cross_entropy"}
        Summed over the outputs, averaged over a batch.
    batch_size : int
        The number of examples is a multiple of it.
    lr : float
        Of Adam with beta1 0.9, beta2 0.999 and eps 1e-8.
    theta : ndarray, shape (P,), float32
        The initial parameters.
    weights : list of pair of ndarray
        The same by layers: the weight (inputs, outputs) and the bias (outputs,) of each.
    X : ndarray, shape (N, inputs), float32
    y : ndarray, shape (N, K) of float32, or (N,) of int64 labels
    """

    def __init__(self):
        # What libraries print goes where errors go; standard output belongs to the race.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        with np.load(sys.argv[1]) as file:
            self.theta, self.X, self.y = file["theta"], file["X"], file["y"]
            problem = json.loads(str(file["problem"]))
        self.widths = problem["widths"]
        self.activation = problem["activation"]
        self.loss = problem["loss"]
        self.batch_size = problem["batch_size"]
        self.lr = problem["lr"]
        self.weights = list(self._layers())
        self._least_seconds = problem["seconds"]

    def _layers(self):
        start = 0
        for inputs, outputs in zip(self.widths[:-1], self.widths[1:], strict=True):
            end = start + inputs * outputs
            yield self.theta[start:end].reshape(inputs, outputs), self.theta[end : end + outputs]
            start = end + outputs

    def ready(self, version, before, after):
        """Report the outputs (N, K) before and after an epoch in order, and wait for a turn."""
        self._answer(version=version, before=self._mean_loss(before), after=self._mean_loss(after))
        self._wait()

    def another_epoch(self):
        """Whether to train another epoch; if this turn is over, the answer comes in the next."""
        seconds = perf_counter() - self._start
        if seconds >= self._least_seconds:
            self._answer(epochs=self._epochs, seconds=seconds)
            self._wait()
        self._epochs += 1
        return self._go

    def _wait(self):
        self._go = sys.stdin.readline() == "go\n"
        self._epochs, self._start = 0, perf_counter()

    def _answer(self, **answer):
        print(json.dumps(answer), file=self._answers, flush=True)

    def _mean_loss(self, outputs):
        p = np.asarray(outputs, np.float64)
        if self.loss == "squared_error":
            return float(np.square(p - self.y).sum(axis=1).mean())
        p = p - p.max(axis=1, keepdims=True)
        return float((np.log(np.exp(p).sum(axis=1)) - p[np.arange(len(p)), self.y]).mean())
