"""Kernels on memory between pages that must not be touched: a script that lives or dies.

    python guarded.py all        every kernel, many shapes; silent unless it dies
    python guarded.py before     touches the byte before a guarded array, and dies
    python guarded.py behind     likewise behind it

Where it dies, the last line printed names the network and the kernel.
"""

import ctypes
import faulthandler
import mmap
import sys
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from training_runs import ALL, answers, sparse, use_all_threads

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu
from fastbatch.kernels.cpu import evaluation, session, training
from fastbatch.kernels.cpu.activations import NAMES
from fastbatch.kernels.plan import SparseRows
from fastbatch.samplers import sampling
from fastbatch.verification import CASES, DROPOUT, DTYPES, OPTIMIZERS, SAMPLE, Case

NO_ACCESS, READ_ONLY = 0, 1
TREATED = {"clip": PerExampleClip(0.5), "noise": (0.1, 5), "monitor": ALL}
PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None, use_errno=True)
RUN, UNITS = session.Session.run, session.Layout.units  # before anything is patched


def protect(address, size, access):
    if LIBC.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), access):
        raise OSError(ctypes.get_errno(), "mprotect")


class Guard:
    """Places arrays in pages of their own, at their very start or end, with a guard either side."""

    def __init__(self, at_end):
        self.at_end = at_end

    def place(self, array, read_only=False):
        """A copy between guards."""
        pages = -(-array.nbytes // PAGE) * PAGE
        memory = mmap.mmap(-1, pages + 2 * PAGE)
        start = PAGE + (pages - array.nbytes if self.at_end else 0)
        copy = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
        copy[...] = array
        first = copy.__array_interface__["data"][0] - start
        protect(first, PAGE, NO_ACCESS)
        protect(first + PAGE + pages, PAGE, NO_ACCESS)
        if read_only:
            protect(first + PAGE, pages, READ_ONLY)
        return copy

    def place_sparse(self, X, columns):
        """The same without zeros."""
        rows = sparse(X, columns)
        arrays = (self.place(a, read_only=True) for a in (rows.data, rows.indices, rows.indptr))
        return SparseRows(*arrays, rows.columns)

    def empty(self, shape, dtype=np.float64):
        """Like `numpy.empty`; what is not written stays NaN."""
        fill = np.nan if np.dtype(dtype).kind == "f" else -1
        return self.place(np.full(shape, fill, dtype))

    def install(self):
        """Let the kernels' own memory come from here: arena, tables, orders and results."""
        numpy = SimpleNamespace(**vars(np) | {"empty": self.empty})
        cpu.np = evaluation.np = training.np = numpy
        evaluation._kept = threading.local()
        session._aligned_zeros = lambda size, dtype: self.place(np.zeros(size, dtype))
        session.Layout.units = lambda layout, workers: tuple(
            self.place(np.asarray(table)) for table in UNITS(layout, workers)
        )


def shapes(count):
    """Networks and batches of any size, the same at every call."""
    rng = np.random.default_rng(0)
    plain = [case for case in CASES.values() if not {SAMPLE, DROPOUT} & set(case.activations)]
    losses = [(case.loss, case.labels) for case in plain]
    for number in range(count):
        depth = int(rng.integers(1, 5))
        widths = tuple(int(2 ** rng.uniform(0, 7.2)) for _ in range(depth + 1))
        activations = tuple(rng.choice(NAMES, depth).tolist())
        loss, labels = losses[rng.integers(len(losses))]
        examples = int(2 ** rng.uniform(0, 8.3))
        name = f"{number}: {widths} {activations} {loss} x{examples}"
        yield Case(name, widths, activations, loss, examples, labels)
        if number % 3 == 0:  # and the same behind a layer that draws a sample
            latent = int(2 ** np.random.default_rng(number).uniform(0, 7.2))
            widths = widths[0], 2 * latent, latent, *widths[1:]
            drawing = ("identity", SAMPLE, *activations)
            yield Case(f"{name}, sampled", widths, drawing, loss, examples, labels)
        if number % 3 == 1:  # and with dropout before each layer
            widths = tuple(width for width in widths for _ in range(2))[:-1]
            dropping = tuple(name for activation in activations for name in (DROPOUT, activation))
            yield Case(f"{name}, dropping", widths, dropping, loss, examples, labels)


def run_all(case, dtype, guard, optimizer, batch_size, columns=None):
    """Every kernel on a case; the results must be there, so none of them may be NaN.

    With `columns`, most of X is 0, and it is sparse.
    """
    plan = case.plan(dtype)
    theta, X, y, weights = (guard.place(a, read_only=True) for a in case.data(dtype))
    if columns:
        X = guard.place_sparse(np.where(abs(X) > 1.5, X, 0), columns)
    print(case.name, dtype)
    for w in (None, weights):
        assert all(np.isfinite(answer).all() for answer in answers(plan, theta, X, y, w))
    for sampler, w, treated in (
        ("shuffle", None, {}), ("sequential", weights, {}), ("poisson", weights, TREATED),
    ):  # fmt: skip
        if w is not None and not w.any():
            continue  # there is nothing to draw from
        print(case.name, dtype, optimizer, batch_size, sampler)
        options = sampling(sampler, cpu, X, w, batch_size=batch_size, seed=0)
        train(cpu.Training(plan, optimizer, X, y, w, **options, **treated), theta, guard)


def train(run, theta, guard):
    """Two epochs."""
    run.theta = theta
    rates = guard.place(np.full(run.batches, 1e-9), read_only=True)
    for _ in range(2):
        assert run.advance(rates) == run.batches
        run.next_epoch()
    assert np.isfinite(run.theta).all()


def everything():
    """All shapes at either end of their pages, in either dtype, on one thread or on all."""
    optimizers = list(OPTIMIZERS.values())
    for number, case in enumerate(shapes(50)):
        # Every other shape has the dtypes at the other ends.
        for at_end, dtype in zip((True, False), DTYPES[:: (-1) ** (number // 2)], strict=True):
            guard = Guard(at_end)
            guard.install()
            if number % 2:
                use_all_threads()
            else:
                session.Session.run = RUN  # such small work is done by one thread
            batch_size = case.examples // (1 + number % 3) or 1
            options = guard, optimizers[number % len(optimizers)], batch_size
            run_all(case, dtype, *options)
            if number % 3 == 1:
                columns = (np.int32, np.int64)[number % 2]
                run_all(replace(case, name=f"{case.name}, sparse"), dtype, *options, columns)


def touch(side):
    """Read one byte from a guard page."""
    array = Guard(at_end=side == "behind").place(np.zeros(100))
    address = array.__array_interface__["data"][0]
    ctypes.string_at(address + (array.nbytes if side == "behind" else -1), 1)


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    everything() if sys.argv[1] == "all" else touch(sys.argv[1])
