"""A network, its data and its parameters laid out in memory, ready for `run`."""

import numpy as np

from . import loss_functions, optimizers
from .activations import NAMES, activate
from .job import JOB
from .layout import BLOCK, BLOCKED_PARAMETERS, Layout, round_up
from .product import product
from .run import run
from .simd import VECTOR_BYTES
from .sweeps import work
from .threads import get_threads, workers_for

_TILE_BYTES = 256 * 1024  # activations of rows that go through the layers together
_CHUNK_ELEMENTS = 1 << 22  # activations kept between the two sweeps
_PARTIALS_ELEMENTS = 1 << 20  # gradients of blocks kept between the two sweeps

_SUBROUTINES = {
    "work": work,
    "product": product,
    "activate": activate,
    "loss_and_delta": loss_functions.loss_and_delta,
    "update": optimizers.update,
}


def _aligned_zeros(size, dtype):
    raw = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    start = -raw.ctypes.data % VECTOR_BYTES
    return raw[start : start + size * dtype.itemsize].view(dtype)


def _address(array):
    return 0 if array is None else array.__array_interface__["data"][0]


class Session:
    """Memory and tables for `plan` on data `X`, `y`, `weights` (the last two may be None).

    `mode` says what `run` will do; training takes an `optimizer` (None leaves the gradient where it
    is) and sums over batches of `batch_size`.
    """

    def __init__(self, plan, X, y, weights, *, mode, optimizer=None, batch_size=1, training=False):
        self.layout = layout = Layout(plan, NAMES)
        self.data = X, y, weights  # kept alive: the kernels know their addresses only
        self.jobs = np.zeros(1, JOB)
        self.max_workers = get_threads()
        job = self.job = self.jobs[0]
        job["mode"], job["examples"], job["batch_size"] = mode, len(X), batch_size
        self.slots = 0 if optimizer is None else optimizer.slots
        self._size(training, batch_size)
        self._place()
        for name, subroutine in _SUBROUTINES.items():
            job[name] = subroutine.address(layout.dtype)
        for name, array in (
            ("arena", self.arena),
            ("address", self.jobs),
            ("layers", layout.layers),
        ):
            job[name] = _address(array)
        job["n_layers"] = len(layout.layers)
        for name, array in (("X", X), ("targets", y), ("weights", weights)):
            job[name] = _address(array)
        if weights is None:
            job["weights"] = _address(self.arena[job["one"] :])
        job["weight_step"] = weights is not None
        if y is not None:
            job["loss"] = loss_functions.number_of(plan.loss, y)
        job["rule"] = -1 if optimizer is None else optimizers.rule_of(optimizer)
        for name in JOB.names[JOB.names.index("momentum") :]:
            job[name] = getattr(optimizer, name, 0.0)
        sweeps = 3 if training else 1
        self._shares = {}  # units and bounds by number of workers
        self._work = sweeps * (batch_size if training else len(X)) * plan.size

    def _size(self, training, batch_size):
        """Choose the form of the reduction and how many rows are worked on at once.

        Only `blocked` shows in the bits; it depends on the plan and the batch size alone.
        """
        job, layout = self.job, self.layout
        tile = round_up(_TILE_BYTES // (layout.width * layout.dtype.itemsize), 24)
        job["blocked"] = training and batch_size > BLOCK and layout.plan.size <= BLOCKED_PARAMETERS
        if job["blocked"]:
            blocks = max(_PARTIALS_ELEMENTS // layout.parameters, self.max_workers)
            job["chunk"] = min(blocks * BLOCK, round_up(batch_size, BLOCK))
            job["capacity"] = BLOCK
        elif training:
            job["chunk"] = job["capacity"] = min(
                max(_CHUNK_ELEMENTS // layout.width, 512), batch_size
            )
        else:
            job["chunk"], job["capacity"] = job["examples"], min(tile, 256)
        job["tile"] = min(tile, 256, job["capacity"])
        self.workspaces = 1 if training and not job["blocked"] else self.max_workers

    def _place(self):
        """Give everything its place in the arena."""
        job, layout = self.job, self.layout
        n, panel = layout.lanes, layout.panel
        end = 0

        def take(name, size):
            nonlocal end
            job[name], end = end, end + round_up(size, n)

        size = job["parameters"] = layout.parameters
        job["flat_parameters"] = layout.plan.size
        take("zeros", panel)
        take("one", 1)
        take("constants", optimizers.N_CONSTANTS)
        take("theta", size)
        end = layout.place_transposed(end)
        take("slots", size * self.slots)
        take("gradient", size)
        take("partials", size * -(-job["chunk"] // BLOCK) if job["blocked"] else 0)
        take("losses", job["chunk"])
        workspace = layout.place_workspace(job["capacity"])
        job["workspace_size"] = workspace if self.workspaces > 1 else 0
        take("workspace", workspace * self.workspaces)
        job["scratch_size"] = round_up(max((panel + 1) * panel, 3 * job["tile"]), n)
        take("scratch", job["scratch_size"] * self.max_workers)
        self.arena = _aligned_zeros(end, layout.dtype)
        self.arena[job["one"]] = 1.0

    def region(self, name, number=0):
        """View of packed parameters: "theta", "gradient", or slot `number`."""
        start = self.job[name] + number * self.layout.parameters
        return self.arena[start : start + self.layout.parameters]

    def flat(self, name, number=0):
        """Copy of a region in the flat order, (P,)."""
        flat = np.empty(self.layout.plan.size, self.layout.dtype)
        self.layout.unpack(self.region(name, number), flat)
        return flat

    def set_theta(self, theta):
        """Take over flat parameters."""
        self.layout.pack(theta, self.region("theta"))
        self.layout.pack_transposed(theta, self.arena)

    @property
    def state(self):
        """View of all that a step changes: parameters, their transposed copies, slots."""
        return self.arena[self.job["theta"] : self.job["gradient"]]

    def run(self, steps=0):
        """Let the kernels work; return the number of steps done."""
        with workers_for(self._work) as workers:
            workers = min(workers, self.max_workers)
            self.job["workers"] = workers
            if workers not in self._shares:
                self._shares[workers] = self.layout.units(workers)
            units, bounds = self._shares[workers]
            self.job["units"], self.job["n_units"] = _address(units), len(units)
            self.job["bounds"] = _address(bounds)
            return run(self.jobs, self.arena, steps)
