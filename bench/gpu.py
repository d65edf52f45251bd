"""A training step on a GPU: what it must at least take, and what it takes: ``python -m bench.gpu``.

The first table needs no GPU. A step of each cell is launched as on an H100, by launches that only
take note of themselves; each kernel's multiply-adds and the bytes of its operands are counted, each
operand read or written once, and divided by what an H100 SXM reaches (3.35 TB/s; 67 TFLOP/s in
float32, 34 in float64, NVIDIA H100 datasheet). The larger of both is the floor. What it leaves out:
launches, the latency of a chain of operations, and that small problems do not fill the device.

With a GPU present, the second table has the times of a step beside those of PyTorch and JAX (where
these are installed for it); all have the data on the device, and the same shuffled rows.
"""

import argparse
import inspect
import os
import statistics
from collections import Counter
from functools import partial
from itertools import pairwise
from time import perf_counter
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bench.cells import CELLS, LR, batches, start
from bench.markdown import number, table

BYTES = 3.35e12  # a second, from and to memory
OPERATIONS = {"float32": 67e12, "float64": 34e12}  # a second, without tensor cores
ROUNDS = 7


class Launch(NamedTuple):
    """A launch of a kernel, with its arguments by name."""

    name: str
    blocks: int
    threads: int
    arguments: dict


class Work(NamedTuple):
    """What a kernel does."""

    multiply_adds: int = 0
    elements: int = 0  # read and written

    def floor(self, dtype):
        """Microseconds that operations and that memory take at least."""
        operations = 2 * self.multiply_adds / OPERATIONS[dtype]
        return 1e6 * operations, 1e6 * self.elements * np.dtype(dtype).itemsize / BYTES


# --- counting -------------------------------------------------------------------------------


class _Array(np.ndarray):
    """An array of the host in place of one on a device."""

    def copy_to_host(self):
        return np.array(self)

    def copy_to_device(self, values):
        self[...] = np.asarray(values).reshape(self.shape)


def launches(cell):
    """The launches of a cell's first step on an H100."""
    from unittest.mock import patch

    from numba.cuda.dispatcher import CUDADispatcher

    from fastbatch.kernels.cuda import toolkit

    found = []

    def configured(dispatcher, configuration):
        def launch(*arguments):
            grid, threads = configuration[:2]
            bound = inspect.signature(dispatcher.py_func).bind(*arguments).arguments
            name = dispatcher.py_func.__name__.removesuffix("_kernel")
            found.append(Launch(name, int(np.prod(grid)), threads, bound))

        return launch

    device = SimpleNamespace(
        to_device=lambda array: np.array(array).view(_Array),
        device_array=lambda shape, dtype: np.zeros(shape, dtype).view(_Array),
    )
    with (
        patch.object(toolkit, "cuda", device),
        patch("fastbatch.kernels.cuda.session.limits", lambda: toolkit.H100),
        patch.object(CUDADispatcher, "__getitem__", configured),
    ):
        training = start(cell, "cuda", sampler="sequential")  # a shuffle is launched, too
        found.clear()
        training.advance(np.full(1, LR))
    return found


def work_of(launch, cell):
    """What a launch does in a step of the cell."""
    from fastbatch.kernels.cuda.layout import BLOCK, round_up

    plan, a = cell.plan(cell.dtype), launch.arguments
    products = sum(op.inputs * op.outputs for op in plan.layers)
    strides = [round_up(op.outputs, 4) for op in plan.layers]
    parameters = sum((op.inputs + 1) * s for op, s in zip(plan.layers, strides, strict=True))
    rows, outputs, hidden = a.get("rows", 0), strides[-1], sum(strides[:-1])
    op, stride = plan.layers[a.get("number", 0)], strides[a.get("number", 0)]
    entering = plan.inputs + hidden + hidden + outputs  # with the deltas
    match launch.name:
        case "sweep":
            first = plan.layers[0].inputs * plan.layers[0].outputs
            # Activations are written once; derivatives are written, read and replaced by deltas.
            moved = rows * (plan.inputs + hidden + 3 * (hidden + outputs)) + parameters
            return Work(rows * (2 * products - first), moved)
        case "forward_layer":
            weights = (op.inputs + 1) * stride
            return Work(rows * op.inputs * op.outputs, weights + rows * (op.inputs + 2 * stride))
        case "losses_and_deltas":
            return Work(0, 4 * rows * outputs)
        case "backward_layer":
            moved = op.inputs * stride + rows * (stride + 2 * op.inputs)
            return Work(rows * op.inputs * op.outputs, moved)
        case "block_gradients":
            return Work(rows * plan.size, rows * entering + -(-rows // BLOCK) * parameters)
        case "parameters":
            updated = 2 * (1 + cell.optimizer.slots) * parameters
            if a["blocks"]:
                return Work(0, a["blocks"] * parameters + updated)
            return Work(rows * plan.size, rows * entering + updated)
        case "batch_sums":
            return Work(0, rows)
    raise ValueError(f"no count for kernel {launch.name}")


def counted(cells):
    """The table of floors: a row for each kernel of each cell, and one for the step."""
    rows = [["cell", "kernel", "launches", "blocks", "MFLOP", "MB", "floor, us", "by"]]
    for cell in cells:
        found = launches(cell)
        times, total, size = Counter(launch.name for launch in found), 0.0, cell.dtype
        for name, count in times.items():
            own = [launch for launch in found if launch.name == name]
            works = [work_of(launch, cell) for launch in own]
            floors = [work.floor(size) for work in works]
            floor = sum(map(max, floors))
            by_operations = sum(o for o, _ in floors) > sum(m for _, m in floors)
            moved = sum(w.elements for w in works) * np.dtype(size).itemsize / 1e6
            rows.append(
                [
                    cell.label if name == next(iter(times)) else "",
                    name.replace("_", " "),
                    str(count),
                    f"{max(launch.blocks for launch in own):,}",
                    number(sum(2 * w.multiply_adds for w in works) / 1e6),
                    number(moved),
                    number(floor),
                    "operations" if by_operations else "memory",
                ]
            )
            total += floor
        rows.append(["", "**step**", str(len(found)), "", "", "", f"**{number(total)}**", ""])
    return table(rows)


# --- measuring ------------------------------------------------------------------------------


def measured(cells):
    """The table of times of a step, microseconds, after a look at what the GPU computes."""
    rows = [["cell", "fastbatch", "PyTorch", "JAX"]]
    for cell in cells:
        check(cell)
        times = [median(way(cell)) for way in (ours, pytorch, jax)]
        rows.append([cell.label, *(number(t and 1e6 * t / batches(cell)) for t in times)])
    return table(rows)


def check(cell):
    """Refuse a GPU that computes anything else than the CPU."""
    gpu, cpu = start(cell, "cuda"), start(cell, "cpu")
    for training in gpu, cpu:
        training.advance(np.full(min(3, batches(cell)), LR))
    if not np.array_equal(gpu.theta, cpu.theta):
        raise ArithmeticError(f"{cell.label}: the GPU's parameters have other bits than the CPU's")


def median(epoch):
    """Median seconds of an epoch, the first of which does not count; None if there is none."""
    if epoch is None:
        return None
    epoch()
    times = []
    for _ in range(ROUNDS):
        begin = perf_counter()
        epoch()
        times.append(perf_counter() - begin)
    return statistics.median(times)


def ours(cell):
    """A function that trains an epoch and waits for it."""
    training = start(cell, "cuda")
    rates = np.full(batches(cell), LR)

    def epoch():
        training.advance(rates)  # looks at the losses at its end, and so waits
        training.next_epoch()

    return epoch


def _problem(cell):
    """What the contenders of the race read."""
    theta, X, y, _ = cell.data(cell.dtype)
    weights, place = [], 0
    for inputs, outputs in pairwise(cell.widths):
        end = place + inputs * outputs
        weights.append((theta[place:end].reshape(inputs, outputs), theta[end : end + outputs]))
        place = end + outputs
    return SimpleNamespace(
        theta=theta, X=X, y=y, weights=weights, activation=cell.activations[0], loss=cell.loss,
        batch_size=cell.batch_size, lr=LR, clip=None, sgld=None,
    )  # fmt: skip


def pytorch(cell, device="cuda"):
    """The same with PyTorch, eager, by its fused Adam."""
    try:
        import torch

        from bench.peers.torch_network import build, losses
    except ImportError:
        return None
    if device == "cuda" and not torch.cuda.is_available():
        return None
    torch.set_float32_matmul_precision("highest")
    problem = _problem(cell)
    net = build(problem).to(device)
    optimizer = torch.optim.Adam(net.parameters(), LR, fused=True)
    X, y = (torch.from_numpy(values).to(device) for values in (problem.X, problem.y))

    def epoch():
        for rows in torch.randperm(len(X), device=device).split(cell.batch_size):
            optimizer.zero_grad()
            losses(problem, net(X[rows]), y[rows]).mean().backward()
            optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()

    return epoch


def jax(cell, platform="gpu"):
    """The same with JAX, a jitted call for each epoch."""
    os.environ.setdefault("JAX_PLATFORMS", "cuda" if platform == "gpu" else platform)
    try:
        from bench.peers.jax_network import Model, jnp
        from bench.peers.jax_network import jax as library
    except ImportError:
        return None
    try:
        library.devices(platform)
    except RuntimeError:
        return None
    library.config.update("jax_default_matmul_precision", "highest")
    problem = _problem(cell)
    model, X, y = Model(problem), jnp.array(problem.X), jnp.array(problem.y)

    @partial(library.jit, donate_argnames="state")
    def trained(key, state):
        rows = library.random.permutation(key, len(X)).reshape(-1, cell.batch_size)
        return library.lax.scan(lambda state, r: model.step(state, X, y, r), state, rows)

    state, key = model.initial(problem.weights), library.random.key(0)

    def epoch():
        nonlocal state, key
        key, own = library.random.split(key)
        state, found = trained(own, state)
        found.block_until_ready()

    return epoch


def main():
    known = [name for name, cell in CELLS.items() if cell.sample is None and not cell.memmap]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=known, default=known)
    cells = [CELLS[name] for name in parser.parse_args().cells]
    print(counted(cells))
    from fastbatch.backends import why_no_cuda

    reason = why_no_cuda()
    print(f"\nnothing was measured: {reason}" if reason else f"\n{measured(cells)}")


if __name__ == "__main__":
    main()
