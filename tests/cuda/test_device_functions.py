"""Functions of one number have the bits of the CPU's, for numbers of every kind."""

import ctypes
from collections import namedtuple

import numba
import numpy as np
import pytest

from fastbatch import SGD, SGLD, Adagrad, Adam, AdamW, RMSprop
from fastbatch.kernels import coefficients, cpu
from fastbatch.kernels.cpu.memory import load_first, pointer_to, store_first
from fastbatch.kernels.cpu.simd import lanes
from fastbatch.kernels.cuda import activations, elementary, loss_functions, optimizers

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def numbers(dtype, count, seed=0):
    """Special values, thresholds and their neighbours, then `count` of all bits, and usual ones."""
    info, rng = np.finfo(dtype), np.random.default_rng(seed)
    table = coefficients.FLOAT32 if dtype == "float32" else coefficients.FLOAT64
    special = [0.0, 0.5, 0.55, 1.0, 1.5, 2.0, 3.0, 0.25, 0.125, np.inf, np.nan, info.max, info.tiny]
    special += [info.smallest_subnormal, 12345 * info.smallest_subnormal, info.eps]
    special += [value for value in table if isinstance(value, float)]
    special += [np.log(info.max), np.log(info.tiny), np.log(info.smallest_subnormal)]
    positive = np.array(special, dtype)
    with np.errstate(all="ignore"):
        ends = [np.nextafter(positive, np.array(end, dtype)) for end in (-np.inf, np.inf)]
    special = np.concatenate([positive, *ends])
    bits = np.frombuffer(rng.bytes(count * info.bits // 8), dtype)
    usual = np.concatenate([rng.normal(scale=s, size=count) for s in (0.1, 1.0, 10.0)])
    return np.concatenate([special, -special, bits, usual.astype(dtype)])


def on_device(function, *arrays):
    """Its results, (outputs, numbers)."""
    with np.errstate(all="ignore"):
        found = [function(*values) for values in zip(*arrays, strict=True)]
    return np.array(found).T.reshape(-1, len(found))


def assert_same_bits(found, expected, *arguments):
    """Signs of zeros included; NaN is NaN."""
    assert found.dtype == expected.dtype
    integer = {4: np.int32, 8: np.int64}[found.itemsize]
    same = (found.view(integer) == expected.view(integer)) | (np.isnan(found) & np.isnan(expected))
    wrong = np.argwhere(~same)
    if len(wrong):
        row, column = wrong[0]
        at = [argument[column] for argument in arguments]
        pytest.fail(f"{len(wrong)} differ, first output {row} of {at}: "
                    f"{found[row, column]}, not {expected[row, column]}")  # fmt: skip


@numba.njit
def cosine(t):
    return cpu.elementary.cos_sin_of_turns(t)[0]


@numba.njit
def sine(t):
    return cpu.elementary.cos_sin_of_turns(t)[1]


ELEMENTARY = {
    name: (getattr(elementary, name), getattr(cpu.elementary, name))
    for name in ("exp", "expm1", "log", "sigmoid", "softplus", "tanh", "erf")
}
ELEMENTARY["cosine"] = lambda t: elementary.cos_sin_of_turns(t)[0], cosine
ELEMENTARY["sine"] = lambda t: elementary.cos_sin_of_turns(t)[1], sine


@each_dtype
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_have_the_bits_of_the_cpu(name, dtype):
    ours, theirs = ELEMENTARY[name]

    @numba.njit
    def loop(out, x):
        to, source = pointer_to(out), pointer_to(x)
        for i in range(0, x.size, lanes(source)):
            count = min(lanes(source), x.size - i)
            store_first(to + i, theirs(load_first(source + i, count)), count)

    x = numbers(dtype, 1000)
    if name in ("cosine", "sine"):
        x = x[np.abs(x) <= 0.5]
    expected = np.empty((1, len(x)), dtype)
    loop(expected, x)
    assert_same_bits(on_device(ours, x), expected, x)


def aligned(shape, dtype):
    """An array of zeros that begins where a vector of the CPU may."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def call(subroutine, dtype, *arguments):
    """Call a subroutine of the CPU with integers and arrays."""
    values = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(values))
    signature(subroutine.address(np.dtype(dtype)))(*values)


def whole_vectors(x):
    """As many numbers as fill vectors, and how many vectors these are."""
    n = 64 // x.itemsize
    return x[: len(x) // n * n], len(x) // n


@each_dtype
@pytest.mark.parametrize("name", activations.NAMES)
def test_activations_have_the_bits_of_the_cpu(name, dtype):
    assert activations.NAMES == cpu.activations.NAMES
    number = activations.NAMES.index(name)
    z, vectors = whole_vectors(numbers(dtype, 500))
    expected = aligned((2, len(z)), dtype)
    expected[0] = z
    call(cpu.activations.activate, dtype, number, expected[0], expected[1], 0, 1, vectors)

    def ours(z):
        a, derivative = activations.activate(number, z)
        return elementary.flush(a), derivative

    assert_same_bits(on_device(ours, z), expected, z)


@each_dtype
@pytest.mark.parametrize("number", range(5))
def test_losses_have_the_bits_of_the_cpu(number, dtype):
    assert loss_functions.NAMES == cpu.loss_functions.NAMES
    assert loss_functions.SELECTED_OUTPUT == cpu.loss_functions.SELECTED_OUTPUT
    theirs = getattr(cpu.loss_functions, loss_functions.NAMES[number])

    @numba.njit
    def loop(losses, slopes, p, y):
        to_losses, to_slopes, outputs = pointer_to(losses), pointer_to(slopes), pointer_to(p)
        targets = pointer_to(y)
        for i in range(0, p.size, lanes(outputs)):
            count = min(lanes(outputs), p.size - i)
            loss, slope = theirs(load_first(outputs + i, count), load_first(targets + i, count))
            store_first(to_losses + i, loss, count)
            store_first(to_slopes + i, slope, count)

    p = numbers(dtype, 300)
    y = np.random.default_rng(1).permutation(numbers(dtype, 300))
    y[::3] = p[::3]  # a difference of 0
    expected = np.empty((2, len(p)), dtype)
    loop(*expected, p, y)
    found = on_device(lambda p, y: loss_functions.elementwise(number, p, y), p, y)
    assert_same_bits(found, expected, p, y)


OPTIMIZERS = [
    SGD(0.1), SGD(0.1, momentum=0.9, weight_decay=1e-3),
    SGD(0.1, momentum=0.9, nesterov=True), Adam(weight_decay=1e-2), AdamW(),
    RMSprop(), RMSprop(momentum=0.9), RMSprop(centered=True),
    RMSprop(momentum=0.9, centered=True, weight_decay=1e-2), Adagrad(lr_decay=1e-2), SGLD(1e-3),
]  # fmt: skip
each_optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)


@each_dtype
@each_optimizer
def test_updates_have_the_bits_of_the_cpu(optimizer, dtype):
    assert optimizers.RULES == cpu.optimizers.RULES
    rule = optimizers.rule_of(optimizer)
    k = aligned(8, dtype)
    k[:] = optimizers.constants(optimizer, 7, [0.01])[0]
    x = numbers(dtype, 100)
    rng = np.random.default_rng(rule)
    theta, *rest = (whole_vectors(rng.permutation(x))[0] for _ in range(5))
    for values in rest:  # gradients and states that meet where subnormal numbers begin
        values[-64:] = rng.normal(scale=np.finfo(dtype).tiny, size=64)
    vectors = len(theta) // (64 // theta.itemsize)
    expected = aligned((4, len(theta)), dtype)  # theta, then the state
    gradient = aligned(len(theta), dtype)
    expected[:], gradient[:] = [theta, *rest[1:]], rest[0]
    call(
        cpu.optimizers.update, dtype,
        rule, expected[0], gradient, expected[1], len(theta), 0, 1, vectors, k,
    )  # fmt: skip
    update = optimizers.update_of(rule)
    found = on_device(lambda *numbers: update(*numbers, tuple(k)), theta, *rest)
    kept = 1 + optimizer.slots
    assert_same_bits(found[:kept], expected[:kept], theta, *rest)


HYPER_PARAMETERS = (
    "momentum", "nesterov", "beta1", "beta2", "alpha", "eps", "weight_decay", "lr_decay",
    "prior_precision", "temperature",
)  # fmt: skip
Job = namedtuple("Job", ("rule", "step", *HYPER_PARAMETERS))


@numba.njit
def work_out(k, deviations, job, rate):
    cpu.optimizers.work_out_constants(k, job, rate)
    deviations[0] = cpu.optimizers.noise_deviation(job, rate)


@each_optimizer
def test_constants_of_updates_have_the_bits_of_the_cpu(optimizer):
    rates = np.array([0.1, 0.03, 1e-3, 0.0, 0.7])
    values = [float(getattr(optimizer, name, 0.0)) for name in HYPER_PARAMETERS]
    for first_step in (0, 999, 10**9):
        k = optimizers.constants(optimizer, first_step, rates)
        deviations = np.zeros(len(rates))
        if optimizer.name == "sgld":
            deviations = optimizers.noise_deviations(optimizer, rates)
        for i, rate in enumerate(rates):
            expected, deviation = np.zeros(8), np.zeros(1)
            work_out(
                expected, deviation, Job(optimizers.rule_of(optimizer), first_step + i, *values),
                rate,
            )  # fmt: skip
            np.testing.assert_array_equal(k[i], expected)
            assert deviations[i] == deviation[0]


@each_dtype
def test_subnormal_numbers_become_zero_where_the_cpu_wants_it(dtype):
    info = np.finfo(dtype)
    below = info.tiny - info.smallest_subnormal
    x = np.array([below, -below, info.tiny, np.nan, np.inf, 0.0], dtype)
    expected = np.array([[0.0, 0.0, info.tiny, np.nan, np.inf, 0.0]], dtype)
    np.testing.assert_array_equal(on_device(elementary.flush, x), expected)
