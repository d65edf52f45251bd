"""The operations that kernels are written with: what they round to, and what they refuse."""

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from test_examples_on_the_device import OfAnotherLibrary

from fastbatch.kernels.cuda import toolkit
from fastbatch.kernels.cuda.toolkit import cuda, kernel, load4, shared_array, store4, to_device

each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
BITS = {np.float32: np.int32, np.float64: np.int64}


def some_numbers(dtype, count, seed):
    """Of all magnitudes whose products and sums stay finite, some of which cancel."""
    rng = np.random.default_rng(seed)
    exponents = rng.integers(-40, 40, count)
    x, y = (np.ldexp(rng.normal(size=count), exponents).astype(dtype) for _ in range(2))
    z = (-x * y * rng.choice([0.0, 1.0, 1.0 + 2.0**-20, 1e-6], count)).astype(dtype)
    return x, y, z


def is_nearest(found, exact):
    """Whether no other number of its dtype is nearer to a fraction; to a tie, the even one is."""
    error = abs(Fraction(float(found)) - exact)
    for end in (-np.inf, np.inf):
        other = abs(Fraction(float(np.nextafter(found, found.dtype.type(end)))) - exact)
        odd = found.view(BITS[found.dtype.type]) & 1
        if other < error or (other == error and odd):
            return False
    return True


@each_dtype
def test_every_operation_is_rounded_once(dtype):
    for x, y, z in zip(*some_numbers(dtype, 500, seed=1), strict=True):
        a, b, c = (Fraction(float(value)) for value in (x, y, z))
        assert is_nearest(toolkit.fma(x, y, z), a * b + c), (x, y, z)
        assert is_nearest(toolkit.mul(x, y), a * b)
        assert is_nearest(toolkit.add(x, y), a + b)
        assert is_nearest(toolkit.sub(x, z), a - c)
        assert is_nearest(toolkit.div(x, y), a / b)


BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")


@pytest.mark.parametrize("name", BINARY)
def test_a_float32_makes_its_companions_one(name):
    operation = getattr(toolkit, name)
    third = np.float32(1 / 3)
    for companion in (0.1, 2, np.float64(0.1)):
        for arguments in ((third, companion), (companion, third)):
            found = operation(*arguments)
            assert found.dtype == np.float32
            assert found == operation(*map(np.float32, arguments))
    assert operation(np.float64(1 / 3), 0.1).dtype == np.float64


def test_fma_and_select_follow_the_same_rule():
    for place in range(3):
        arguments = [0.1, 0.2, 0.3]
        arguments[place] = np.float32(arguments[place])
        found = toolkit.fma(*arguments)
        assert found.dtype == np.float32
        assert found == toolkit.fma(*map(np.float32, arguments))
    assert toolkit.fma(0.1, 0.2, 0.3).dtype == np.float64
    assert toolkit.select(True, 0.1, np.float32(0.0)) == np.float32(0.1)
    assert toolkit.select(False, np.float32(0.0), 0.1).dtype == np.float32


@each_dtype
def test_of_a_nan_and_a_number_the_second_is_the_extreme(dtype):
    nan, one = dtype(np.nan), dtype(1.0)
    for extreme in (toolkit.maximum, toolkit.minimum):
        assert extreme(nan, one) == one
        assert np.isnan(extreme(one, nan))
        for zeros in ((0.0, -0.0), (-0.0, 0.0)):
            assert np.signbit(extreme(*map(dtype, zeros))) == np.signbit(zeros[1])


@each_dtype
def test_bits_go_there_and_back(dtype):
    for x in np.array([0.0, -0.0, 1.5, -np.inf, np.finfo(dtype).smallest_subnormal], dtype):
        bits = toolkit.as_bits(x)
        assert bits == x.view(BITS[dtype])
        for n in (bits, bits + 2**70):  # bits beyond those of the dtype make no difference
            back = toolkit.from_bits(n, x)
            assert back.dtype == dtype
            assert back == x and np.signbit(back) == np.signbit(x)
    array = np.zeros(3, dtype)
    assert toolkit.to_float(-7, array) == -7 and toolkit.to_float(3, array).dtype == dtype
    assert toolkit.splat(0.1, array) == dtype(0.1)
    assert toolkit.lanes(array) == 64 // array.itemsize


@kernel
def _copy_four(out, x, to, source):
    store4(out, to, load4(x, source))


def test_four_elements_are_copied_at_once():
    out = to_device(np.zeros(12, np.float32))
    _copy_four[1, 1](out, to_device(np.arange(8, dtype=np.float32)), 8, 4)
    np.testing.assert_array_equal(out.copy_to_host(), [0] * 8 + [4, 5, 6, 7])


@pytest.mark.parametrize(
    ("to", "source", "message"),
    [(2, 0, "from 2 on"), (0, 3, "from 3 on"), (12, 0, "12 of 12"), (0, 8, "8 of 8")],
)
def test_four_elements_out_of_line_or_out_of_bounds_are_refused(to, source, message):
    x, out = np.arange(8, dtype=np.float32), to_device(np.zeros(12, np.float32))
    with pytest.raises(AssertionError, match=message):
        _copy_four[1, 1](out, to_device(x), to, source)
    with pytest.raises(AssertionError, match="shape"):
        _copy_four[1, 1](out, to_device(x.reshape(2, 4)), 0, 0)


@kernel
def _pass_around(out):
    """Two arrays, each with the thread's number in the thread's place, are read by a neighbour."""
    here = shared_array(8, np.float32)
    there = shared_array(8, np.float32)
    thread = cuda.threadIdx.x
    neighbour = (thread + 1) % 8
    here[thread] = thread
    there[thread] = 10 * thread
    cuda.syncthreads()  # what is read below has been written by others
    out[cuda.blockIdx.x, thread] = here[neighbour] + there[neighbour]


@pytest.mark.usefixtures("any_order")
def test_a_line_that_asks_for_shared_memory_gets_the_same_in_all_threads():
    out = toolkit.empty((2, 8), np.float32)
    _pass_around[2, 8](out)
    expected = 11.0 * ((np.arange(8) + 1) % 8)
    np.testing.assert_array_equal(out.copy_to_host(), [expected, expected])


@kernel
def _read_before_writing(out):
    shared = shared_array(4, np.float32)
    out[cuda.blockIdx.x] = shared[0]
    shared[0] = 1.0


def test_a_block_does_not_see_what_another_left():
    out = toolkit.empty(2, np.float32)
    _read_before_writing[2, 1](out)
    assert np.isnan(out.copy_to_host()).all()


def test_arrays_of_other_libraries_are_used_where_they_lie():
    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    theirs = OfAnotherLibrary(values)
    assert toolkit.is_device_array(theirs)
    assert toolkit.is_device_array(toolkit.empty(1, np.float32))
    assert not toolkit.is_device_array(values)
    ours = toolkit.as_device_array(theirs)
    assert ours.shape == (2, 4) and ours.dtype == np.float32
    values[1, 2] = 50.0
    assert ours.copy_to_host()[1, 2] == 50.0


def test_copies_for_the_device_are_copies():
    x = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    there = to_device(x)
    x[0, 0] = 7.0
    np.testing.assert_array_equal(there.copy_to_host(), np.arange(6.0).reshape(2, 3))
    assert there.is_c_contiguous()


def test_the_simulator_is_a_device():
    assert toolkit.SIMULATED
    assert toolkit.why_not() is None
    assert toolkit.devices() == ["Numba's CUDA simulator"]
    assert toolkit.limits().shared_memory == 48 * 1024


FOLDER = Path(toolkit.__file__).parent


def defined(tree):
    """Public names that a module's code defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def test_the_simulator_and_the_compiler_offer_what_is_taken_of_them():
    door, *rooms = (
        ast.parse((FOLDER / f"{name}.py").read_text())
        for name in ("toolkit", "simulated", "intrinsics")
    )
    taken = {
        node.attr
        for node in ast.walk(door)
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "operations"
    }
    assert len(taken) > 20
    for room in rooms:
        assert taken - {"cuda"} <= set(defined(room))


def test_nobody_else_knows_of_numba():
    for path in FOLDER.glob("*.py"):
        if path.stem not in ("toolkit", "simulated", "intrinsics"):
            modules = [
                module
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for module in [getattr(node, "module", None) or "", *(n.name for n in node.names)]
            ]
            assert not any(m.startswith(("numba", "llvmlite")) for m in modules), path
