"""Parquet and NPY files, read as CSV files are."""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastbatch import datasets


@pytest.fixture
def stored(tmp_path):
    """A function that writes a Parquet file of some columns and returns its path."""

    def write(**columns):
        path = tmp_path / "data.parquet"
        parquet.write_table(pa.table(columns), path, row_group_size=2)
        return str(path)

    return write


def test_columns_of_parquet_keep_their_kinds(stored):
    path = stored(
        a=pa.array([1, 2, 3], "int16"),
        b=pa.array([True, False, True]),
        c=pa.array([decimal.Decimal("1.25"), decimal.Decimal(2), decimal.Decimal(3)]),
        d=pa.array(["x ", "y", "x"]).dictionary_encode(),
        e=pa.array(["u", "v", "w"], "large_string"),
        t=pa.array([0.5, 1.5, 2.5], "float32"),
    )
    data = datasets.read(path, "t")
    assert data.features == ("a", "b", "c", "d", "e")
    assert data.texts == ("d", "e")
    assert data.X.tolist() == [
        [1, 1, 1.25, "x", "u"],
        [2, 0, 2.0, "y", "v"],
        [3, 1, 3.0, "x", "w"],
    ]
    assert data.y.tolist() == [0.5, 1.5, 2.5]


@pytest.mark.parametrize(
    ("targets", "classes", "values"),
    [
        (["no", "yes", "no"], ("no", "yes"), [0, 1, 0]),
        ([3, 5, 3], ("3", "5"), [0, 1, 0]),
        ([False, True, True], ("False", "True"), [0, 1, 1]),
        ([0.5, 1.0, 2.0], None, [0.5, 1.0, 2.0]),
        ([decimal.Decimal("0.5"), decimal.Decimal(1), decimal.Decimal(2)], None, [0.5, 1.0, 2.0]),
    ],
)
def test_targets_of_parquet_are_classes_or_values(stored, targets, classes, values):
    data = datasets.read(stored(a=[1.0, 2.0, 3.0], t=targets), "t")
    assert data.classes == classes
    assert data.y.tolist() == values


def test_nulls_are_gaps(stored):
    path = stored(a=[1, None, 3], pet=["cat", "dog", None], t=[0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match="example 2 has no value in column a"):
        datasets.read(path, "t")
    X = datasets.read(path, "t", gaps=True).X
    assert np.isnan(X[1, 0])
    assert X[2].tolist() == [3.0, ""]


@pytest.mark.parametrize("weights", [[0, 2, 5], [0.0, 2.0, 5.0], ["0", "2.0", "5"]])
def test_all_files_have_the_same_weights(weights, stored, tmp_path):
    a, t = [1.0, 2.0, 3.0], [0.5, 1.5, 2.5]
    sources = {stored(a=a, t=t, w=weights): ("t", "w"), str(tmp_path / "data.npz"): ("t", "w")}
    np.savez(tmp_path / "data.npz", X=np.array([a]).T, t=t, w=weights)
    np.save(tmp_path / "data.npy", np.array([a, t, weights], float).T)
    sources[str(tmp_path / "data.npy")] = ("x1", "-1")
    for source, (target, column) in sources.items():
        data = datasets.read(source, target, weights=column)
        assert data.weights.tolist() == [0.0, 2.0, 5.0]
        assert (data.y.tolist(), data.X.tolist()) == (t, [[1.0], [2.0], [3.0]])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"a": [datetime.date(2026, 1, 1)], "t": [1.5]}, "column a holds date32.*, expected numb"),
        ({"a": [[1, 2]], "t": [1.5]}, "column a holds list<.*>, expected numbers or text"),
        ({"a": [1, 2], "t": ["x", None]}, "example 2 has no target: remove the row"),
        ({"a": [1, 2], "t": [1.5, None]}, "example 2 has the target nan"),
        ({"a": [1, 2], "t": [1, None]}, "example 2 has the target nan"),
        ({"t": [1.5]}, "no column but the target"),
        ({"a": pa.array([], "int8"), "t": pa.array([], "int8")}, "has no examples"),
    ],
)
def test_parquet_that_cannot_be_used_says_why(stored, columns, message):
    with pytest.raises(ValueError, match=message):
        datasets.read(stored(**columns), "t")


def test_columns_that_are_not_asked_for_may_be_anything(stored):
    path = stored(when=[datetime.date(2026, 1, 1)] * 2, b=[1, 2], a=[3.5, 4.5], t=["x", "y"])
    assert datasets.read_features(path, ["a", "b"]).tolist() == [[3.5, 1], [4.5, 2]]
    with pytest.raises(ValueError, match="column t holds text, expected numbers"):
        datasets.read_features(path, ["t"])
    assert datasets.read_features(path, ["b"], categorical=["b"]).tolist() == [["1"], ["2"]]


def test_a_file_that_is_damaged_says_so(stored, tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"no\.parquet is damaged or not a Parquet file"):
        datasets.read(str(tmp_path / "no.parquet"), "t")
    path = Path(stored(a=np.arange(999.0), t=np.arange(999.0)))
    content = bytearray(path.read_bytes())
    content[4:60] = bytes(56)  # the header of the first page
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"data\.parquet is damaged or not a Parquet file"):
        datasets.read(str(path), "t")


def test_the_target_of_an_npy_file_is_one_of_its_columns(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.array([[1, 5, 0.5], [2, 6, 0.5], [1, 7, 1.5]], "float32"))
    data = datasets.read(str(path), "-1")
    assert data.features == ("x0", "x1")
    assert data.classes is None
    assert data.y.tolist() == [0.5, 0.5, 1.5]
    data = datasets.read(str(path), "x0")
    assert data.features == ("x1", "x2")
    assert data.classes == ("1", "2")
    assert datasets.read_features(str(path), ["x2", "x0"]).tolist() == [
        [0.5, 1],
        [0.5, 2],
        [1.5, 1],
    ]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones(3), r"the array must be a table of numbers.* found float64 of shape \(3,\)"),
        (np.array([["a"]]), "the array must be a table of numbers"),
        (np.array([[None]]), "cannot be read as an NPY file of a plain array"),
        (np.array([[1, np.nan], [1, 2]]), "example 1 has the target nan"),
    ],
)
def test_an_npy_that_cannot_be_used_says_why(array, message, tmp_path):
    np.save(tmp_path / "data.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        datasets.read(str(tmp_path / "data.npy"), "-1")


def test_an_npz_under_the_name_of_an_npy_is_none(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.ones((2, 2)))
    (tmp_path / "data.npz").rename(tmp_path / "data.npy")
    with pytest.raises(ValueError, match="cannot be read as an NPY file"):
        datasets.read(str(tmp_path / "data.npy"), "-1")
