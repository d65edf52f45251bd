"""The same bits for any number of threads and any processor; test_warmup.py has other tiles."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from processes import is_x86, output_of
from training_runs import ALL, RUNS, Run, all_bits, bits, use_all_threads

from fastbatch.clipping import PerExampleClip
from fastbatch.kernels import cpu
from fastbatch.kernels.cpu import activations, evaluation, loss_functions, optimizers, session
from fastbatch.optimizers import Adam
from fastbatch.verification import DROPOUT, DTYPES, SAMPLE, Case

# Settings, and dtypes: one is enough for the least of processors, since test_elementary.py compares
# both there, and the code is the same for both but for elementary functions.
ELSEWHERE = {
    "more threads than cores": ({"NUMBA_NUM_THREADS": "5"}, DTYPES),
    "baseline x86-64": ({"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": ""}, ["float32"]),
}

each_dtype = pytest.mark.parametrize("dtype", DTYPES)
each_run = pytest.mark.parametrize("name", RUNS)


@pytest.fixture
def threads():
    """Set the number of threads for one test."""
    before = cpu.get_threads()
    yield cpu.set_threads
    cpu.set_threads(before)


@pytest.fixture
def all_threads(monkeypatch):
    use_all_threads(monkeypatch.setattr)


@pytest.fixture
def new_sessions(monkeypatch):
    """Forget the sessions kept between calls, so that changed constants count."""
    monkeypatch.setattr(evaluation, "_kept", threading.local())


@pytest.fixture(scope="module")
def serial():
    """The bits of all runs on one thread."""
    before = cpu.get_threads()
    cpu.set_threads(1)
    try:
        return all_bits()
    finally:
        cpu.set_threads(before)


def of_dtypes(dtypes, bits):
    return {key: value for key, value in bits.items() if key.endswith(tuple(dtypes))}


def run_at(environment, dtypes):
    return json.loads(output_of("training_runs.py", *dtypes, **environment))


@pytest.fixture(scope="module")
def elsewhere():
    """What the runs give in processes with other settings, all at once."""
    places = [place for place in ELSEWHERE if "x86" not in place or is_x86()]
    with ThreadPoolExecutor() as pool:
        outputs = pool.map(lambda place: run_at(*ELSEWHERE[place]), places)
        return dict(zip(places, outputs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("place", ELSEWHERE)
def test_bits_do_not_depend_on(place, elsewhere, serial):
    if place not in elsewhere:
        pytest.skip("this is another processor")
    _, dtypes = ELSEWHERE[place]
    assert elsewhere[place]["bits"] == of_dtypes(dtypes, serial)


@pytest.mark.slow
def test_more_threads_than_cores_were_really_used(elsewhere):
    assert elsewhere["more threads than cores"]["threads"] == 5


@pytest.mark.skipif(cpu.get_threads() < 2, reason="one core only")
def test_two_threads_give_the_bits_of_one(serial, threads, all_threads):
    threads(2)
    assert all_bits() == serial


@pytest.mark.skipif(cpu.get_threads() < 2, reason="one core only")
def test_the_number_of_workers_may_change_at_every_step(serial, threads, monkeypatch):
    threads(2)
    turns = itertools.cycle([1, 2, 2])

    def run(self, steps=0):
        if not steps:
            return self._run(next(turns), steps)[0]
        return sum(self._run(next(turns), 1)[0] for _ in range(steps))

    monkeypatch.setattr(session.Session, "run", run)
    assert all_bits() == serial


@pytest.mark.skipif(cpu.get_threads() < 2, reason="one core only")
def test_the_clock_that_chooses_the_workers_does_not_show(serial, threads, monkeypatch):
    threads(2)
    monkeypatch.setattr(session, "workers_for", lambda *costs: 2)
    ticks = np.random.default_rng(0).choice([1e-7, 1e-3, 0.2], 1000).cumsum()
    monkeypatch.setattr(session, "perf_counter", itertools.cycle(ticks.tolist()).__next__)
    assert all_bits() == serial


@pytest.mark.skipif(cpu.get_threads() < 2, reason="one core only")
@each_run
def test_bits_do_not_depend_on_how_many_steps_a_call_does(name, threads, monkeypatch):
    run = RUNS[name]
    one_by_one = run.start("float32")
    rates = np.linspace(0.01, 0.001, one_by_one.batches)  # each step has its own
    for rate in rates:
        assert one_by_one.advance(np.array([rate])) == 1
    threads(2)
    monkeypatch.setattr(session, "workers_for", lambda *costs: 2)
    together = run.start("float32")
    calls = itertools.cycle([(2, 1), (1, 2), (2, 3)])  # workers, and steps at most
    monkeypatch.setattr(session.Pace, "choose", lambda self: next(calls))
    assert together.advance(rates) == len(rates)
    np.testing.assert_array_equal(together.theta, one_by_one.theta)
    np.testing.assert_array_equal(together.slots, one_by_one.slots)


@each_dtype
def test_bits_do_not_depend_on_the_rows_that_go_through_the_layers_together(
    dtype, serial, all_threads, new_sessions, monkeypatch
):
    monkeypatch.setattr(session, "_TILE_BYTES", 1)
    assert all_bits([dtype]) == of_dtypes([dtype], serial)


def test_bits_do_not_depend_on_whether_a_cache_could_hold_the_parameters(
    serial, all_threads, new_sessions, monkeypatch
):
    monkeypatch.setattr(session, "last_level_cache", lambda: 0)
    assert all(run.start("float32")._session.job["past_caches"] for run in RUNS.values())
    assert all_bits() == serial


def chunks(run, dtype):
    training = run.start(dtype)
    return -(-run.batch_size // int(training._session.job["chunk"]))


@each_dtype
@pytest.mark.parametrize(
    "name",
    [
        "blocks",
        "blocks of classes",
        "clipped blocks",
        "variational blocks",
        "dropout by blocks",
        "sparse blocks",
    ],
)
def test_bits_do_not_depend_on_the_blocks_kept_between_the_sweeps(
    name, dtype, serial, all_threads, new_sessions, monkeypatch
):
    assert chunks(RUNS[name], dtype) == 1
    monkeypatch.setattr(session, "_PARTIALS_ELEMENTS", 1)
    assert chunks(RUNS[name], dtype) > 1
    assert bits(RUNS[name], dtype) == serial[f"{name}, {dtype}"]


@each_dtype
@pytest.mark.parametrize("options", [{}, {"clip": PerExampleClip(0.5), "monitor": ALL}])
def test_bits_do_not_depend_on_the_activations_kept_between_the_sweeps(options, dtype, monkeypatch):
    monkeypatch.setattr("fastbatch.kernels.plan.BLOCKED_PARAMETERS", 0)  # no blocks
    case = Case("many", (150, 120, 2), ("tanh", "identity"), "squared_error", 1100)
    run = Run(case, Adam(0.01), batch_size=1050, epochs=1, weighted=True, **options)
    assert chunks(run, dtype) == 1
    whole = bits(run, dtype)
    monkeypatch.setattr(evaluation, "_kept", threading.local())
    monkeypatch.setattr(session, "_CHUNK_ELEMENTS", 1)
    assert chunks(run, dtype) > 1
    assert bits(run, dtype) == whole


def test_the_runs_meet_every_activation_loss_and_update():
    names = {name for run in RUNS.values() for name in run.case.activations}
    assert names == {*activations.NAMES, SAMPLE, DROPOUT}
    data = [(run.case.loss, run.data("float32")[2]) for run in RUNS.values()]
    losses = {loss_functions.number_of(loss, y) for loss, y in data}
    assert losses == set(range(len(loss_functions.NAMES)))
    rules = {optimizers.rule_of(run.optimizer) for run in RUNS.values()}
    assert rules == set(range(len(optimizers.RULES)))
