"""A network, its data and its parameters laid out in memory, ready for `run`."""

from time import perf_counter

import numpy as np

from ..plan import SparseRows
from . import atomics, cores, dropout, gaussian_sample, gram, loss_functions, optimizers, sweeps
from .activations import NAMES, activate
from .job import GRAM, JOB, LOSSES, NORMS, OUTPUTS, TRAIN, Job
from .layout import GAUSSIAN_SAMPLE, Layout, round_up
from .machine import last_level_cache
from .noise import add_noise
from .per_example import AUTOMATIC, HARD, weigh
from .phases import work
from .product import product
from .run import run
from .simd import VECTOR_BYTES
from .sparse import sparse_gradient, sparse_product
from .team import words_for
from .threads import UPDATE, Pace, granted, workers_for

_TILE_BYTES = 256 * 1024  # activations of rows that go through the layers together
_CHUNK_ELEMENTS = 1 << 22  # activations kept between the two sweeps
_PARTIALS_ELEMENTS = 1 << 20  # gradients of blocks kept between the two sweeps
_RATE_BYTES = 8  # a float64
_PAGE = 4096  # bytes; rows at multiples of it would share the same few cache lines

# A partner compiles from the back, so what is compiled on demand stands first.
SUBROUTINES = {
    "weigh": weigh,
    "add_noise": add_noise,
    "gram_unit": gram.gram_unit,
    "draw_sample": gaussian_sample.draw_sample,
    "add_divergence": gaussian_sample.add_divergence,
    "sample_backward": gaussian_sample.sample_backward,
    "drop": dropout.drop,
    "sparse_product": sparse_product,
    "sparse_gradient": sparse_gradient,
    "work": work,
    "examples_unit": sweeps.examples_unit,
    "parameters_unit": sweeps.parameters_unit,
    "evaluation_unit": sweeps.evaluation_unit,
    "product": product,
    "activate": activate,
    "loss_and_delta": loss_functions.loss_and_delta,
    "update": optimizers.update,
}
# Compiled when somebody asks for what they do.
_SAMPLING = "draw_sample", "add_divergence", "sample_backward"
_SPARSE = "sparse_product", "sparse_gradient"
_ON_DEMAND = "weigh", "add_noise", "gram_unit", "drop", *_SAMPLING, *_SPARSE


def _aligned_zeros(size, dtype):
    raw = np.zeros(size * dtype.itemsize + VECTOR_BYTES, np.uint8)
    start = -raw.ctypes.data % VECTOR_BYTES
    return raw[start : start + size * dtype.itemsize].view(dtype)


class Session:
    """Memory and tables for `plan`, for as many as `max_workers` workers.

    With a `batch_size` it is made to train, by `optimizer` or, without one, for the gradient;
    with `keeps`, to keep the activations and deltas of such a batch; else to evaluate.  Batches
    may have `more` examples than that.  If `sparse`, the first layer reads the rows of a sparse X
    where they lie; else those are given their zeros, a tile at a time.  `bind` gives it data, `run`
    does the work.
    """

    def __init__(
        self,
        plan,
        max_workers,
        batch_size=None,
        optimizer=None,
        *,
        more=0,
        keeps=False,
        sparse=False,
    ):
        self.layout = layout = Layout(plan, NAMES, sparse)
        self.max_workers = max_workers
        job = self.job = Job()
        self.jobs = np.frombuffer(job, JOB)  # the same memory
        self.slots = 0 if optimizer is None else optimizer.slots
        self._keeps = keeps
        self._size(batch_size, more)
        self._place(batch_size is None)
        draws = GAUSSIAN_SAMPLE in layout.layers["kind"]
        drops = bool(layout.layers["dropped"].any())
        demanded = _SAMPLING * draws + ("drop",) * drops + _SPARSE * layout.sparse
        for name in SUBROUTINES:
            if name not in _ON_DEMAND or name in demanded:
                self._compile(name)
        self._team = _aligned_zeros(words_for(max_workers), np.dtype(np.int64))
        job["team"], job["give_way"] = self._team.ctypes.data, atomics.YIELD
        for name, address in cores.ADDRESSES.items():
            job[name] = address
        self._one = self.arena[job["ones"] :].ctypes.data
        job["address"], job["arena"] = self.jobs.ctypes.data, self.arena.ctypes.data
        self._parametric = layout.parametric()
        job["layers"], job["n_layers"] = layout.layers.ctypes.data, len(layout.layers)
        job["parametric"], job["n_parametric"] = self._parametric.ctypes.data, len(self._parametric)
        self.take_noise_of(plan)
        job["rule"] = -1 if optimizer is None else optimizers.rule_of(optimizer)
        for name in JOB.names[JOB.names.index("momentum") :]:
            job[name] = getattr(optimizer, name, 0.0)
        self._shares = {}  # units and bounds, and their addresses, by number of workers
        self._packed, self._transposed = None, False  # the parameters' bits; also transposed?
        self._pace = None
        self._workers = 0  # that the last steps were shared by

    def take_noise_of(self, plan):
        """Let samples in the network and masks be those of `plan`, which may differ in these."""
        self.job["dropping"] = plan.dropping
        self.job["draw"] = plan.draw
        self.job["first_example"] = plan.first_row

    def bind(self, mode, X, y, weights, order=None):
        """Work on these data from now on; each of the last three may be None.

        Without targets the loss is an output, see loss_functions.selected_output.
        """
        job = self.job
        job["mode"] = mode
        masked = job["dropping"] and self.layout.layers["dropped"][0]
        may_stay = mode in (OUTPUTS, LOSSES) and not masked and not isinstance(X, SparseRows)
        job["in_place"] = may_stay and X.strides[0] % _PAGE
        job["per_example"] = mode == NORMS
        for name in (
            "check", "not_finite", "clip", "squared", "example_losses", "example_norms",
        ):  # fmt: skip
            job[name] = 0
        self.rebind(X, y, weights, order)
        job["step"], job["batch"], job["loss_sum"], job["weight_sum"] = 0, 0, 0.0, 0.0
        products = 3 * job["batch_size"] if mode == TRAIN else int(job["examples"])
        if self.layout.sparse:
            products *= self.layout.plan.products(X) / self.layout.plan.size
        self._work = int((products + UPDATE * (mode == TRAIN)) * self.layout.parameters)
        if mode == NORMS:
            self._compile("weigh")

    def rebind(self, X, y, weights, order=None):
        """Go on with other data, in the same mode and with the same treatment of each example."""
        job = self.job
        self._data = X, y, order  # kept alive: the kernels know their addresses only
        job["examples"] = len(X if order is None else order)
        self._point_to(X)
        self.weigh_by(weights)
        job["order"] = 0 if order is None else order.ctypes.data
        job["loss"] = loss_functions.SELECTED_OUTPUT
        if y is not None:
            job["targets"] = y.ctypes.data
            job["loss"] = loss_functions.number_of(self.layout.plan.loss, y)

    def _point_to(self, X):
        """Tell the kernels where the examples lie."""
        job = self.job
        if isinstance(X, SparseRows):
            job["X"], job["row_starts"] = X.data.ctypes.data, X.indptr.ctypes.data
            job["indices"], job["wide_indices"] = X.indices.ctypes.data, X.indices.itemsize == 8
        else:
            job["X"], job["row_starts"] = X.ctypes.data, 0

    def weigh_by(self, weights):
        """Weigh the examples by these, or all by 1."""
        counted = weights
        if weights is not None and self.job["per_example"]:
            counted = (weights != 0).astype(weights.dtype)
        self._weights = weights, counted
        job = self.job
        job["weight_step"] = weights is not None
        job["weights"] = self._one if weights is None else weights.ctypes.data
        job["loss_weights"] = self._one if weights is None else counted.ctypes.data

    def treat_each(self, clip=None, squared=False):
        """Clip or square the gradient of each example, before they are weighed and summed."""
        job = self.job
        job["per_example"], job["squared"] = True, squared
        if clip is not None:
            layers = job["n_parametric"]
            job["clip"] = AUTOMATIC if clip.automatic else HARD
            job["per_layer"], job["gamma"] = clip.per_layer, clip.gamma
            self.arena[job["max_norms"] :][:layers] = clip.bounds(layers)
        self.weigh_by(self._weights[0])
        self._compile("weigh")

    def leave_norms(self, out):
        """Leave the norms of the gradients, or of each layer's part, in the columns of `out`."""
        self.job["example_norms"], self.job["norm_columns"] = out.ctypes.data, out.shape[1]

    def add_noise(self, level, seed):
        """Add Gaussian noise of that standard deviation, times the scale, to each gradient.

        None as `level`: the noise of SGLD.
        """
        job = self.job
        job["noisy"], job["noise_level"] = True, level or 0.0
        job["noise_seed"] = seed
        self._compile("add_noise")

    def multiply_with(self, other, out):
        """Let the next run leave the Gram matrix of what both sessions keep in `out`."""
        job = self.job
        job["mode"], job["other"] = GRAM, other.jobs.ctypes.data
        job["out"], job["out_stride"] = out.ctypes.data, out.strides[0] // out.itemsize
        self._work = self.layout.width * out.size
        self._compile("gram_unit")

    def _compile(self, name):
        self.job[name] = SUBROUTINES[name].address(self.layout.dtype)

    def release(self):
        """Let go of the data."""
        self._data = self._weights = None

    def _size(self, batch_size, more):
        """Choose the form of the reduction and how many rows are worked on at once.

        Only `block` shows in the bits; it depends on the plan and the batch size alone.
        """
        job, layout = self.job, self.layout
        job["lanes"], job["blocks"] = layout.lanes, layout.blocks
        fitting = _TILE_BYTES // (layout.width * layout.dtype.itemsize)
        tile = min(256, round_up(max(fitting, 72), 24))
        if batch_size is None:
            job["capacity"] = tile
        elif self._keeps:
            job["chunk"] = job["capacity"] = round_up(batch_size, layout.panel)
        elif block := layout.plan.block(batch_size):
            job["block"] = job["capacity"] = block
            blocks = max(_PARTIALS_ELEMENTS // layout.parameters, self.max_workers)
            job["chunk"] = min(blocks * block, round_up(batch_size + more, block))
        else:
            rows = max(_CHUNK_ELEMENTS // layout.width // 4 * 4, 512)  # see phases._add_losses
            job["chunk"] = job["capacity"] = min(rows, round_up(batch_size + more, 4))
        job["batch_size"] = batch_size or 0
        job["tile"] = min(tile, job["capacity"])

    def _place(self, evaluates):
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
        take("ones", panel)
        take("max_norms", len(layout.plan.parametric))
        take("noise_std", 1)
        take("constants", optimizers.N_CONSTANTS)
        take("theta", size)
        end = layout.place_transposed(end)
        take("slots", size * self.slots)
        changing = (end - job["theta"]) * layout.dtype.itemsize
        job["past_caches"] = changing > last_level_cache()
        take("direction", size if evaluates else 0)
        take("gradient", 0 if evaluates else size)
        take("partials", size * job["chunk"] // job["block"] if job["block"] else 0)
        take("losses", job["chunk"])
        take("squares", job["chunk"])
        take("gradient_squares", layout.blocks)
        # Workers share the rows of a chunk, or have a workspace each.
        shared = job["capacity"] == job["chunk"] and not job["block"]
        workspace = layout.place_workspace(job["capacity"])
        job["workspace_size"] = 0 if shared else workspace
        take("workspace", workspace * (1 if shared else self.max_workers))
        needs = (layout.unit_rows + 1) * panel, (2 * len(layout.plan.parametric) + 3) * job["tile"]
        products = gram.scratch_size(panel) if self._keeps else 0
        samples = gaussian_sample.scratch_size(layout)
        job["scratch_size"] = round_up(max(*needs, products, samples), n)
        take("scratch", job["scratch_size"] * self.max_workers)
        self.arena = _aligned_zeros(end, layout.dtype)
        self.arena[job["ones"] :][:panel] = 1.0

    def region(self, name, number=0):
        """View of packed parameters: "theta", "direction", "gradient", or slot `number`."""
        start = self.job[name] + number * self.layout.parameters
        return self.arena[start : start + self.layout.parameters]

    def flat(self, name, number=0):
        """Copy of a region in the flat order, (P,)."""
        flat = np.empty(self.layout.plan.size, self.layout.dtype)
        self.layout.unpack(self.region(name, number), flat)
        return flat

    def set_theta(self, theta):
        """Take over flat parameters."""
        bits = theta.view(f"u{theta.itemsize}")
        # Who predicts again often has the same.
        if self._packed is None or (bits != self._packed).any():
            self.layout.pack(theta, self.region("theta"))
            trains = self.job["rule"] >= 0  # and will change them
            self._packed, self._transposed = None if trains else bits.copy(), False
        if not self._transposed and self.job["mode"] not in (OUTPUTS, LOSSES):
            self.layout.pack_transposed(theta, self.arena)
            self._transposed = True

    @property
    def state(self):
        """View of all that a step changes: parameters, their transposed copies, slots."""
        return self.arena[self.job["theta"] : self.job["gradient"]]

    def run(self, steps=0):
        """Let the kernels work; return the number of steps done."""
        wanted = min(workers_for(self._work, self.layout.parameters, steps), self.max_workers)
        if wanted == 1 or steps == 0:
            done, self._workers = self._run(wanted, steps)
            return done
        if self._pace is None or wanted not in self._pace.seconds:
            self._pace = Pace(wanted)
        done = 0
        while done < steps:
            wanted, count = self._pace.choose()
            # After a change the caches of the other cores are cold and workers may be asleep.
            settled = wanted == self._workers
            count = min(count if settled else 1, steps - done)
            start = perf_counter()
            finished, self._workers = self._run(wanted, count)
            done += finished
            self.job["rates"] += finished * _RATE_BYTES  # where the next call begins
            if finished < count:
                break
            if settled and wanted == self._workers:
                self._pace.record(wanted, perf_counter() - start, count)
        return done

    def _run(self, wanted, steps):
        """One call of the kernels; the steps done, and by how many workers."""
        with granted(wanted) as workers:
            if workers != self.job["workers"]:
                self._share_among(workers)
            return run(self.jobs, steps), workers

    def _share_among(self, workers):
        """Cut phases into queues for so many workers."""
        if workers not in self._shares:
            units, bounds = self.layout.units(workers)
            self._shares[workers] = units, bounds, units.ctypes.data, bounds.ctypes.data
        units, _, *addresses = self._shares[workers]
        job = self.job
        job["workers"], job["n_units"] = workers, len(units)
        job["units"], job["bounds"] = addresses
