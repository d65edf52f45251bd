"""Once warm, nothing is compiled for a new network, and no step asks for memory."""

import numpy as np
import pytest
from numba.core import event
from numba.core.runtime import _nrt_python, rtsys
from training_runs import RUNS, bits

from fastbatch.kernels import cpu
from fastbatch.kernels.cpu import jit, philox, run, session
from fastbatch.verification import DTYPES

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
ENTRIES = (run.run, philox.shuffle, philox.fill_uniform)


def compiled():
    """What there is of machine code: versions of entries and subroutines, and files."""
    versions = {entry.__name__: set(entry.signatures) for entry in ENTRIES}
    for name, subroutine in session.SUBROUTINES.items():
        versions[name] = set(subroutine._compiled)
    return versions, {path.name for path in jit.CACHE.rglob("*") if path.suffix != ".tmp"}


@each_dtype
def test_a_network_of_another_shape_compiles_nothing(dtype):
    for name in "thin", "private", "variational", "dropout", "sparse":  # one shuffles, others draw
        bits(RUNS[name], dtype)
    before = compiled()
    with event.install_recorder("numba:compile") as compilations:
        for run_of_another_shape in RUNS.values():
            bits(run_of_another_shape, dtype)
    assert [details for _, details in compilations.buffer] == []
    assert compiled() == before


def test_large_seeds_compile_nothing():
    cpu.permutation(3, 0, 0)
    cpu.uniform(3, 0, 0)
    before = compiled()
    cpu.permutation(3, 2**64 - 1, 2**32 - 1)
    cpu.uniform(3, 2**63, 2**31)
    assert compiled() == before


def allocations(training, steps, workers):
    """How often such a call asks Numba's runtime for memory."""
    job = training._session.job
    rates = np.full(steps, 1e-6)
    job["rates"] = rates.ctypes.data
    training.batch = 0
    before = rtsys.get_allocation_stats()
    assert training._session._run(workers, steps) == (steps, workers)
    after = rtsys.get_allocation_stats()
    return after.alloc - before.alloc, after.mi_alloc - before.mi_alloc


@pytest.fixture
def statistics():
    on = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    yield
    if not on:
        _nrt_python.memsys_disable_stats()


@each_dtype
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["classes", "blocks", "two panels"])
def test_more_steps_ask_for_no_more_memory(name, workers, dtype, statistics):
    training = RUNS[name].start(dtype)
    workers = min(workers, cpu.get_threads())
    training.advance(np.full(1, 1e-6))
    assert allocations(training, training.batches, workers) == allocations(training, 1, workers)


@each_dtype
def test_machine_code_of_the_steps_names_no_allocator(dtype):
    """But Numba's scheduler, which a parallel loop calls, has some bytes allocated for itself."""
    for name in "variational blocks", "dropout", "sparse blocks":
        bits(RUNS[name], dtype)
    files = list(jit.CACHE.rglob("*.nbc"))
    for name in ["run", *session.SUBROUTINES]:
        versions = [path.read_bytes() for path in files if f".{name}-" in path.name]
        assert versions, name
        for code in versions:
            for allocator in (b"NRT_Allocate", b"NRT_MemInfo_alloc", b"malloc", b"calloc"):
                assert allocator not in code, (name, allocator)
            assert name != "run" or b"numba_parallel_for" in code  # names can be found so
