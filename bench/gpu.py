"""A training step on a GPU: what it must at least take, and what it takes: ``python -m bench.gpu``.

The first table needs no GPU. A step of each cell is launched as on an H100, by launches that only
take note of themselves; each kernel's multiply-adds and the bytes of its operands are counted, each
operand read or written once, and divided by what an H100 SXM reaches (3.35 TB/s; 67 TFLOP/s in
float32, 34 in float64, NVIDIA H100 datasheet). The larger of both is the floor. What it leaves out:
launches, the latency of a chain of operations, and that small problems do not fill the device.

With a GPU present, the second table has the times of a step beside those of PyTorch and JAX (where
these are installed for it, which a line tells where they are not); all have the data on the device
and shuffle the rows of each epoch there. Before anything is timed, three steps must have the bits
of the CPU; where they have not, a line tells by how much they differ, and the exit status is 1.
"""

import argparse
import inspect
import os
import sys
from collections import Counter
from contextlib import nullcontext
from functools import cache, partial
from importlib.util import find_spec
from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from bench.cells import CELLS, LR, batches, start
from bench.markdown import number, spread, table
from bench.ways import by_turns

BYTES = 3.35e12  # a second, from and to memory
OPERATIONS = {"float32": 67e12, "float64": 34e12}  # a second, without tensor cores
ROUNDS = 7  # turns that count
SECONDS, SETTLING = 0.15, 1.0  # the least length of a turn, and of the first one


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
        patch("fastbatch.backends.why_no_cuda", lambda: None),
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
    from fastbatch.kernels.cuda.layout import round_up

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
            blocks = -(-rows // a["block_rows"])
            return Work(rows * plan.size, rows * entering + blocks * parameters)
        case "parameters":
            updated = 2 * (1 + cell.optimizer.slots) * parameters
            if a["blocks"]:
                return Work(0, a["blocks"] * parameters + updated)
            return Work(rows * plan.size, rows * entering + updated)
        case "batch_sums":
            return Work(0, rows)
    raise ValueError(f"no count for kernel {launch.name}")


def floor_of(found, cell):
    """Microseconds that these launches take at least, one after the other."""
    return sum(max(work_of(launch, cell).floor(cell.dtype)) for launch in found)


def counted(cells):
    """The table of floors: a row for each kernel of each cell, and one for the step."""
    rows = [["cell", "kernel", "launches", "blocks", "MFLOP", "MB", "floor, us", "by"]]
    for cell in cells:
        found = launches(cell)
        times, size = Counter(launch.name for launch in found), cell.dtype
        for name, count in times.items():
            own = [launch for launch in found if launch.name == name]
            works = [work_of(launch, cell) for launch in own]
            floors = [work.floor(size) for work in works]
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
                    number(floor_of(own, cell)),
                    "operations" if by_operations else "memory",
                ]
            )
        total = number(floor_of(found, cell))
        rows.append(["", "**step**", str(len(found)), "", "", "", f"**{total}**", ""])
    return table(rows)


# --- measuring ------------------------------------------------------------------------------
#
# Every contender is a function that does an epoch, waits for the device, and returns the number of
# its steps. So the clock of the host tells it all, the time that launches take there included.


def measured(cells):
    """The table of microseconds a step, median and quartiles; and the cells with other bits.

    Contenders take turns. The first turn, in which all is compiled and the clocks of the device
    rise, does not count.
    """
    rows, wrong = [["cell", "floor of an H100", *CONTENDERS]], []
    for cell in cells:
        if differing := differences(cell):
            wrong.append(f"{cell.label}: {differing}")
            continue
        epochs = {name: make(cell) for name, make in CONTENDERS.items() if not absences()[name]}
        turns = {name: (nullcontext, epoch) for name, epoch in epochs.items()}
        times = by_turns(turns, ROUNDS, SECONDS, settle=SETTLING)
        rows.append([cell.label, number(floor_of(launches(cell), cell))])
        rows[-1] += [spread(times.get(name)) for name in CONTENDERS]
    return table(rows), wrong


def differences(cell):
    """In what three steps on the GPU differ from the CPU's, "" if in no bit."""
    gpu, cpu = start(cell, "cuda"), start(cell, "cpu")
    for training in gpu, cpu:
        training.advance(np.full(min(3, batches(cell)), LR))
    different = gpu.theta != cpu.theta
    if not different.any():
        return ""
    largest = np.abs(gpu.theta - cpu.theta).max()
    return f"{different.sum():,} of {different.size:,} parameters differ, by {largest:.2g} at most"


def ours(cell):
    """The kernels' own loop, which looks at the losses at its end, and so waits."""
    training, rates = start(cell, "cuda"), np.full(batches(cell), LR)

    def epoch():
        steps = training.advance(rates)
        training.next_epoch()
        return steps

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
    import torch

    from bench.peers.torch_network import build, losses

    torch.set_float32_matmul_precision("highest")  # no TF32
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
        return batches(cell)

    return epoch


def jax(cell):
    """The same with JAX, a jitted call for each epoch."""
    from bench.peers.jax_network import Model, jnp
    from bench.peers.jax_network import jax as library

    library.config.update("jax_default_matmul_precision", "highest")  # no TF32
    problem = _problem(cell)
    model = Model(problem)  # which says whether there is float64
    X, y = jnp.array(problem.X), jnp.array(problem.y)

    @partial(library.jit, donate_argnames="state")
    def trained(key, state):
        rows = library.random.permutation(key, len(X)).reshape(-1, cell.batch_size)
        return library.lax.scan(lambda state, r: model.step(state, X, y, r), state, rows)

    state, key = model.initial(problem.weights), library.random.key(0)

    def epoch():
        nonlocal state, key
        key, own = library.random.split(key)
        state, found = trained(own, state)
        library.block_until_ready((state, found))
        return batches(cell)

    return epoch


CONTENDERS = {"fastbatch": ours, "PyTorch, eager": pytorch, "JAX, jitted": jax}


@cache
def absences():
    """Why a contender cannot be timed here, by its name; "" if it can."""
    return {"fastbatch": "", "PyTorch, eager": _why_no_pytorch(), "JAX, jitted": _why_no_jax()}


def _why_no_pytorch():
    if find_spec("torch") is None:
        return "PyTorch is not installed"
    import torch

    return "" if torch.cuda.is_available() else f"PyTorch {torch.__version__} finds no CUDA device"


def _why_no_jax():
    if find_spec("jax") is None or find_spec("optax") is None:
        return "JAX and Optax are not both installed"
    os.environ.setdefault("JAX_PLATFORMS", "cuda")
    # Three quarters of the device's memory, else, before the others have any.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    try:
        jax.devices("gpu")
    except RuntimeError:
        return f"JAX {jax.__version__} finds no CUDA device: pip install 'jax[cuda13]'"
    return ""


def main():
    known = [name for name, cell in CELLS.items() if cell.sample is None and not cell.memmap]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=known, default=known)
    cells = [CELLS[name] for name in parser.parse_args().cells]
    from fastbatch.backends import load, why_no_cuda
    from fastbatch.kernels.cuda.toolkit import SIMULATED

    if SIMULATED:
        parser.error("there is nothing to count or to measure in the simulator")
    print(counted(cells), flush=True)
    if reason := why_no_cuda():
        print(f"\nnothing was measured: {reason}")
        return 0
    print(f"\nmicroseconds a step on {load('cuda').describe()['devices'][0]}:\n", flush=True)
    found, wrong = measured(cells)
    print(f"{found}\n")
    for line in [*filter(None, absences().values()), *wrong]:
        print(f"* {line}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
