"""Numbers from outside, in whatever holds them: each right, or refused in one sentence."""

import array

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import fastbatch as fb

# Numbers that all dtypes below hold exactly; the last column is 0 or 1.
X = np.array([[3, 1, 0], [-2, 5, 1], [0, 7, 1], [4, -6, 0], [1, 1, 1], [2, 9, 0]], np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0])
WEIGHTS = np.array([1, 2, 0, 3, 1, 2], np.float32)


class OnlyDLPack:
    """What another library's array is like."""

    def __init__(self, values):
        self._values = np.ascontiguousarray(values)

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


class OnlyArray:
    def __init__(self, values):
        self._values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self._values, dtype)


class OnAnotherDevice:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("can't convert a cuda tensor to numpy.\nUse Tensor.cpu().")


class Squares:
    """A source."""

    def __len__(self):
        return 6

    def read(self, start, stop):
        raise AssertionError


def every_second(values):
    """The values as a strided view."""
    wide = np.repeat(np.repeat(values, 2, axis=0), 3, axis=1) if values.ndim > 1 else None
    return np.repeat(values, 2)[::2] if wide is None else wide[::2, ::3]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


def unaligned(values):
    raw = np.zeros(values.nbytes + 1, np.uint8)
    view = raw[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


MATRICES = {
    "int8": lambda: X.astype("int8"),
    "int64": lambda: X.astype("int64"),
    "float16": lambda: X.astype("float16"),
    "float64": lambda: X.astype("float64"),
    "long double": lambda: X.astype("longdouble"),
    "big-endian": lambda: X.astype(">f4"),
    "big-endian integers": lambda: X.astype(">i2"),
    "Fortran order": lambda: np.asfortranarray(X),
    "strided": lambda: every_second(X),
    "backwards": lambda: X[::-1, ::-1].copy()[::-1, ::-1],
    "unaligned": lambda: unaligned(X),
    "read-only": lambda: read_only(X),
    "masked, nothing is": lambda: np.ma.array(X, mask=False),
    "matrix": lambda: X.astype(float).view(np.matrix),
    "lists": lambda: X.tolist(),
    "tuple of arrays": lambda: tuple(X),
    "memoryview": lambda: memoryview(X),
    "DLPack": lambda: OnlyDLPack(X),
    "__array__": lambda: OnlyArray(X),
    "pandas": lambda: pd.DataFrame(X),
    "pandas, mixed": lambda: pd.DataFrame(
        {"a": X[:, 0].astype("int8"), "b": X[:, 1].astype(float), "c": X[:, 2].astype(bool)}
    ),
    "pandas, its own dtypes": lambda: pd.DataFrame(X).astype(
        {0: "Int8", 1: "Float64", 2: "boolean"}
    ),
    "pandas, twice the same name": lambda: pd.DataFrame(X, columns=["a", "a", "b"]),
    "pandas, other index": lambda: pd.DataFrame(X, index=[5, 3, 1, 9, 0, 2]),
    "polars": lambda: pl.DataFrame(X, schema=["a", "b", "c"], orient="row"),
    "polars, mixed": lambda: pl.DataFrame(
        {"a": X[:, 0].astype("int8"), "b": X[:, 1], "c": X[:, 2].astype(bool)}
    ),
    "pyarrow": lambda: pa.table({name: X[:, i] for i, name in enumerate("abc")}),
}
VECTORS = {
    "bool": lambda y: y.astype(bool),
    "int8": lambda y: y.astype("int8"),
    "uint64": lambda y: y.astype("uint64"),
    "float16": lambda y: y.astype("float16"),
    "big-endian": lambda y: y.astype(">i4"),
    "strided": every_second,
    "list": lambda y: y.tolist(),
    "array.array": lambda y: array.array("i", y.astype(int).tolist()),
    "DLPack": OnlyDLPack,
    "__array__": OnlyArray,
    "masked, nothing is": lambda y: np.ma.array(y, mask=np.zeros(len(y), bool)),
    "pandas": lambda y: pd.Series(y, index=[5, 3, 1, 9, 0, 2]),
    "pandas, its own dtype": lambda y: pd.Series(y).astype("Int64"),
    "pandas, categories": lambda y: pd.Series(y).astype("category"),
    "polars": lambda y: pl.Series(y),
    "pyarrow": lambda y: pa.array(y),
}


def network(backend="reference", loss="cross_entropy", outputs=2):
    return fb.Network([fb.Dense(outputs)], 3, loss, backend=backend)


def fitted(net, *data, **options):
    trainer = fb.Trainer(net, batch_size=4)
    trainer.fit(*data, epochs=2, **options)
    return trainer.theta


@pytest.mark.parametrize("name", MATRICES)
def test_examples_are_right_in_whatever_holds_them(backend, name):
    net, values = network(backend), MATRICES[name]()
    theta = net.init(seed=0)
    np.testing.assert_array_equal(net.predict(theta, values), net.predict(theta, X))
    np.testing.assert_array_equal(fitted(net, values, LABELS), fitted(net, X, LABELS))


@pytest.mark.parametrize("name", VECTORS)
def test_labels_are_right_in_whatever_holds_them(backend, name):
    net, values = network(backend), VECTORS[name](LABELS)
    np.testing.assert_array_equal(fitted(net, X, values), fitted(net, X, LABELS))


@pytest.mark.parametrize("name", VECTORS)
def test_targets_of_one_output_are_right_in_whatever_holds_them(name):
    net, values = network(loss="squared_error", outputs=1), VECTORS[name](LABELS)
    expected = fitted(net, X, LABELS)
    np.testing.assert_array_equal(fitted(net, X, values), expected)


def test_targets_of_one_output_may_be_a_column():
    net, column = network(loss="squared_error", outputs=1), LABELS.reshape(-1, 1)
    expected = fitted(net, X, LABELS)
    for values in column, column.tolist(), pd.DataFrame(column), pl.DataFrame(column):
        np.testing.assert_array_equal(fitted(net, X, values), expected)


@pytest.mark.parametrize("name", sorted(set(VECTORS) - {"bool", "pandas, its own dtype"}))
def test_weights_are_right_in_whatever_holds_them(name):
    net, values = network(), VECTORS[name](WEIGHTS)
    expected = fitted(net, X, LABELS, sample_weight=WEIGHTS)
    np.testing.assert_array_equal(fitted(net, X, LABELS, sample_weight=values), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_fits_is_used_in_place(dtype):
    net = fb.Network([fb.Dense(2)], 3, "cross_entropy", dtype=dtype)
    values = X.astype(dtype)
    for held in values, read_only(values), np.ma.array(values), OnlyDLPack(values):
        found, labels = net.check_examples(held, LABELS)
        origin = held._values if isinstance(held, OnlyDLPack) else held
        assert np.shares_memory(found, origin) and type(found) is np.ndarray
        assert np.shares_memory(labels, LABELS)


def test_no_rows_are_predicted():
    net = network()
    theta = net.init(seed=0)
    for nothing in np.empty((0, 3)), pd.DataFrame(X)[:0], pl.DataFrame(X)[:0]:
        assert net.predict(theta, nothing).shape == (0, 2)
        with pytest.raises(ValueError, match="X has no examples"):
            fb.Trainer(net).fit(nothing, [])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ma.masked_less(X, 0), ValueError, r"X has 2 masked entries.*X\.filled\(value\), or"),
        (np.ma.masked_invalid(np.full((6, 3), np.nan)), ValueError, "X has 18 masked entries"),
        (np.empty((6, 0)), ValueError, r"X must have shape \(N, 3\), found \(6, 0\)"),
        (pd.DataFrame(index=range(6)), ValueError, r"X must have shape \(N, 3\), found \(6, 0\)"),
        ([[1, 2, 3], [4, 5]], TypeError, r"X cannot be read as an array, found list \(setting an"),
        (
            OnAnotherDevice(),
            TypeError,
            r"found OnAnotherDevice \(can't convert a cuda .*numpy\): g",
        ),
        (
            Squares(),
            TypeError,
            r"X must be an array, found Squares: .* fit\(batches=Stream\(source, batch_size\)\)",
        ),
        ({"a": [1, 2]}, TypeError, "X must hold real numbers, found dtype object"),
        (X.astype([("a", "f4")]), TypeError, "X must hold real numbers, found dtype .*convert it"),
        (X.astype("m8[s]"), TypeError, r"found dtype timedelta64\[s\]: convert it to numbers"),
        (X.astype("S"), TypeError, "X must hold real numbers, found dtype |S"),
        (
            pd.DataFrame({"size": [1] * 6, "b": [2] * 6, "city": ["a"] * 6}),
            TypeError,
            r"X\['city'\] must hold real numbers, found dtype object: .* encode names as numbers",
        ),
        (
            pl.DataFrame({"size": [1] * 6, "b": [2] * 6, "city": ["a"] * 6}),
            TypeError,
            r"X\['city'\] must hold real numbers, found dtype .* encode names as numbers",
        ),
        (
            pd.DataFrame({"a": [1, 2], "b": pd.array([3, None], "Int64"), "c": [1, 2]}),
            ValueError,
            r"X\['b'\] has missing values, expected none: fill or drop them",
        ),
        (
            pd.DataFrame({"a": [1, 2], "b": [np.nan, 1], "c": [1, 2]}),
            ValueError,
            r"X\[0, 1\] is nan, expected finite",
        ),
        (
            pl.DataFrame({"a": [1, 2], "b": [None, 1], "c": [1, 2]}),
            ValueError,
            r"X\[0, 1\] is nan, expected finite",
        ),
        (
            pd.DataFrame({"a": pd.to_datetime(["2020-01-01"]), "b": [1], "c": [1]}),
            TypeError,
            r"X\['a'\] must hold real numbers, found dtype datetime64",
        ),
        (pd.Series([1, 2, 3]), ValueError, r"X must be a matrix of shape \(N, 3\), found shape"),
    ],
)
def test_examples_that_are_no_numbers_are_refused(values, error, message):
    net = network()
    with pytest.raises(error, match=message):
        net.predict(net.init(seed=0), values)
    with pytest.raises(error, match=message):
        fb.Trainer(net).fit(values, LABELS)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (LABELS.reshape(-1, 1), ValueError, r"y must have shape labels \(6,\) .* found \(6, 1\)"),
        (pd.DataFrame(LABELS), ValueError, r"y must have shape labels \(6,\) .* found \(6, 1\)"),
        (np.ma.masked_equal(LABELS, 1), ValueError, "y has 3 masked entries, expected none"),
        (pd.array([0, 1, None, 0, 1, 0]), ValueError, "y has missing values"),
        (pd.Series(list("abcabc")), TypeError, "y must hold real numbers, found dtype object"),
        (pl.Series(list("abcabc")), TypeError, "y must hold real numbers, found dtype .* encode"),
        (LABELS + 0.5j, TypeError, "y must hold real numbers, found dtype complex"),
    ],
)
def test_labels_that_are_no_numbers_are_refused(values, error, message):
    with pytest.raises(error, match=message):
        fb.Trainer(network()).fit(X, values)


def test_masked_weights_are_refused():
    with pytest.raises(ValueError, match="sample_weight has 1 masked entries"):
        fb.Trainer(network()).fit(X, LABELS, sample_weight=np.ma.masked_equal(WEIGHTS, 3))
