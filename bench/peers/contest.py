"""A contender's side of the race: what it is given, and how it takes its turns.

A contender trains one epoch with the examples in order and keeps the outputs before and after,
does whatever it needs to be warm, and then works: a time of "train" is a shuffled epoch with all
that it takes (the shuffle, the gathering of rows), a time of "forward" the outputs of all examples
at the initial parameters, in one call, and a time of "gram", which only few problems are about,
the inner products of all pairs of their gradients there::

    contest = Contest()
    ...
    contest.ready("name 1.0", outputs_before, outputs_after)
    while contest.again("train"):
        ...
    while contest.again("forward"):
        ...
"""

import json
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np


def cores():
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Contest:
    """The problem in the folder that the command line names, and the turns.

    Attributes
    ----------
    widths : list of int
        Of the input, the hidden layers and the output.
    activation : {"relu", "tanh", "gelu", "identity"}
        Of the hidden layers ("identity" where there are none); the output has none.
    loss : {"squared_error", "binary_cross_entropy", "cross_entropy"}
        Summed over the outputs, averaged over a batch.
    batch_size : int
        The number of examples is a multiple of it.
    lr : float
        Of Adam with beta1 0.9, beta2 0.999 and eps 1e-8; with `clip`, of gradient descent without
        momentum.
    clip : float, or None
        If given, the longest that the gradient of an example may be: longer ones are scaled down
        to it, before the mean over the batch.
    sgld : dict, or None
        If given, training is Langevin dynamics with this `step_size` and `prior_precision` and a
        `temperature` of 1: ``theta += step_size / 2 * (-prior_precision * theta - N * mean gradient
        of a batch) + sqrt(step_size * temperature) * xi``, xi standard normal.
    sample : int, or None
        If given, the number of a layer that draws a sample (Kingma and Welling 2014, "Auto-encoding
        variational Bayes"): of its inputs, the first half is the means, the other the logarithms of
        the variances. The layer before has no activation, targets are X, and the divergence of
        the distribution from the standard normal one counts for the loss.
    first_noise, noise : ndarray, shape (N, widths[sample + 1]), if there is such a layer
        Standard normal numbers, for the outputs that are to be reported, and for the epoch in
        order. All other noise is to be drawn.
    gram : bool
        Whether the contender must do "gram".
    theta : ndarray, shape (P,)
        The initial parameters; their dtype, float32 or float64, is that of everything.
    weights : list of pair of ndarray
        The same by layers: the weight (inputs, outputs) and the bias (outputs,) of each.
    X : ndarray, shape (N, inputs)
        Perhaps a memory-mapped file, not to be written to.
    y : ndarray, shape (N, K), or (N,) of int64 labels
    """

    def __init__(self):
        # What libraries print goes where errors go; standard output belongs to the race.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        folder = Path(sys.argv[1])
        problem = json.loads((folder / "problem.json").read_text())
        self.theta, self.y = np.load(folder / "theta.npy"), np.load(folder / "y.npy")
        self.X = np.load(folder / "X.npy", mmap_mode="r" if problem["memmap"] else None)
        self.widths = problem["widths"]
        self.activation = problem["activation"]
        self.loss = problem["loss"]
        self.batch_size = problem["batch_size"]
        self.lr = problem["lr"]
        self.clip = problem["clip"]
        self.sgld = problem["sgld"]
        self.sample = problem["sample"]
        if self.sample is not None:
            self.first_noise = np.load(folder / "first_noise.npy")
            self.noise = np.load(folder / "noise.npy")
        self.weights = list(self._layers())
        self._outputs = np.load(folder / "outputs.npy")
        self.gram = (folder / "gram.npy").exists()
        if self.gram:
            self._gram = np.load(folder / "gram.npy")
        self._least_seconds = problem["seconds"]

    def _layers(self):
        start = 0
        widths = zip(self.widths[:-1], self.widths[1:], strict=True)
        for number, (inputs, outputs) in enumerate(widths):
            if number == self.sample:
                continue
            end = start + inputs * outputs
            yield self.theta[start:end].reshape(inputs, outputs), self.theta[end : end + outputs]
            start = end + outputs

    def ready(self, version, before, after, gram=None, moved=None):
        """Report the outputs (N, K) before and after an epoch in order, and wait for a turn.

        `gram` (N, N), if asked for, is that of the initial parameters. Langevin dynamics have the
        temperature 0 in that epoch; `moved` (P,), in any order, is the difference that a
        temperature of 1 would make to the parameters after it.
        """
        errors, spread = {}, 1.0
        if self.sgld:
            steps = len(self.X) // self.batch_size
            spread = float(np.sqrt(np.square(moved).mean() / (steps * self.sgld["step_size"])))
        if self.gram:
            errors["gram"] = _error(gram, self._gram)
        before, truth, after = map(self._comparable, (before, self._outputs, after))
        errors["outputs"] = _error(before, truth)
        self._answer(
            version=version,
            errors=errors,
            spread=spread,
            before=self._mean_loss(before),
            after=self._mean_loss(after),
        )
        self._wait()

    def again(self, task):
        """Whether to do the task once more; if this turn is over, the answer comes in the next."""
        seconds = perf_counter() - self._start
        if self._times and seconds >= self._least_seconds:
            self._answer(times=self._times, seconds=seconds)
            self._wait()
        if task != self._task:
            return False
        self._times += 1
        return True

    def _wait(self):
        self._task = sys.stdin.readline().strip()  # none at the end of the race
        self._times, self._start = 0, perf_counter()

    def _answer(self, **answer):
        print(json.dumps(answer), file=self._answers, flush=True)

    def _comparable(self, outputs):
        """Outputs in float64; for cross-entropy, whose outputs only differ, log-probabilities."""
        p = np.asarray(outputs, np.float64)
        if self.loss != "cross_entropy":
            return p
        p = p - p.max(axis=1, keepdims=True)
        return p - np.log(np.exp(p).sum(axis=1, keepdims=True))

    def _mean_loss(self, p):
        if self.loss == "squared_error":
            return float(np.square(p - self.y).sum(axis=1).mean())
        if self.loss == "binary_cross_entropy":
            return float((np.logaddexp(0, p) - self.y * p).sum(axis=1).mean())
        return float(-p[np.arange(len(p)), self.y].mean())


def _error(found, truth):
    """The largest difference, as a fraction of the largest value."""
    return float(abs(found - truth).max() / abs(truth).max())
