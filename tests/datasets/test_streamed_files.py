"""A file that is streamed has the features, text and classes that it has as a whole."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from fastbatch import datasets
from fastbatch.data import PreparedSource

MANY = datasets.MOST_CLASSES + 1


@pytest.fixture
def table(tmp_path):
    """A function that writes a CSV file, or a Parquet file of columns, and returns its path."""

    def write(text=None, **columns):
        if text is None:
            path = tmp_path / "data.parquet"
            parquet.write_table(pa.table(columns), path, row_group_size=7)
        else:
            path = tmp_path / "data.csv"
            path.write_text(text)
        return str(path)

    return write


def lines(*targets):
    """A CSV file of a number, a text and these targets."""
    rows = [f"{i % 5},{'abc'[i % 3]},{target}\n" for i, target in enumerate(targets)]
    return "a,b,t\n" + "".join(rows)


CSV = {
    "text": lines("x", " y", "x"),
    "text with a comma": lines('"x, y"', "z"),
    "text among numbers": lines(*[7] * 1100, "x"),
    "no number": lines("7", "1_0"),
    "truth values": lines(True, False, True),
    "few whole numbers": lines(3, 5, -3),
    "many whole numbers": lines(*range(MANY)),
    "the last of many behind the first lines": lines(*[k % (MANY - 1) for k in range(1100)], MANY),
    "whole numbers that are written as others": lines("1.0", "2.0"),
    "numbers": lines(3, 5.5, 7),
    "a number behind the first lines": lines(*[k % 3 for k in range(1100)], 0.5),
}
PARQUET = {
    "text": pa.array(["x", "y", "x"]),
    "categories": pa.array(["x", "y", "x"]).dictionary_encode(),
    "truth values": pa.array([True, False, True]),
    "few whole numbers": pa.array([3, 5, 3], "int8"),
    "many whole numbers": pa.array(range(MANY)),
    "whole numbers that are floating": pa.array([1.0, 2.0, 1.0]),
    "numbers": pa.array([0.5, 2.0, 1.0], "float32"),
}


def assert_same(path, **options):
    whole, source = datasets.read(path, **options), datasets.stream(path, **options)
    prepared = PreparedSource(source)
    learnt = prepared.preparation
    assert (source.features, learnt.texts) == (whole.features, whole.texts)
    assert sorted(learnt.classes or ()) == sorted(whole.classes or ())
    X, y, weights = prepared.read(0, len(prepared))
    np.testing.assert_array_equal(X, learnt.inputs(whole.X))
    if whole.classes:
        assert [learnt.classes[k] for k in y] == [whole.classes[k] for k in whole.y]
    else:
        np.testing.assert_array_equal(y, learnt.targets(whole.y))
    np.testing.assert_array_equal(weights, whole.weights)


@pytest.mark.parametrize("case", CSV)
def test_csv_is_understood_as_when_it_is_read(case, table):
    assert_same(table(CSV[case]), target="t")


@pytest.mark.parametrize("case", PARQUET)
def test_parquet_is_understood_as_when_it_is_read(case, table):
    targets = PARQUET[case]
    b = pa.array(["u", "v", "w"] * 40)[: len(targets)]
    assert_same(table(a=range(len(targets)), b=b, t=targets), target="t")


def test_columns_have_names_or_indices_and_may_be_weights_or_categories(table):
    path = table("zip,w,t\n1,2,0.5\n2,0,1.5\n2,1,3.5\n")
    assert_same(path, target="-1", weights="w")
    assert_same(path, target="t", categorical=["zip"], weights="1")


def test_features_are_found_by_name_in_any_order(table):
    path = table(lines(1, 2))
    source = datasets.stream_features(path, ["t", "b"], categorical=["b"])
    assert source.read(0, 2)[0].tolist() == [[1, "a"], [2, "b"]]


def test_a_file_is_known_again_by_what_it_holds(table, tmp_path):
    digests = {datasets.digest(table(lines(*targets))) for targets in ([1, 2], [1, 3], [1, 2])}
    assert len(digests) == 2
    (tmp_path / "data.csv").rename(tmp_path / "other.csv")
    assert datasets.digest(tmp_path / "other.csv") in digests


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,t\n1,x\n", {}, "say which column to predict, --target 't'"),
        ("a,t\n1,x\n", {"target": "u"}, "no column 'u': its columns are a, t"),
        ("t\n1\n", {"target": "t"}, "no column but the target, expected features, too"),
        (",a,t\n0,1,x\n", {"target": "t"}, "column 1 has no name, such as the index"),
        ("a,t\n1,x\n", {"target": "t", "weights": "t"}, "t is the target, the weights must be"),
        ("a,t\n1,x\n", {"target": "t", "categorical": ["b"]}, "no column 'b': its columns are a"),
        ('a,t\n"1,5",1\n', {"target": "t"}, "column a has decimal commas, such as '1,5'"),
        ("a;t\n1;2\n", {"target": "t"}, "one column, 'a;t': expected commas"),
        ("a,t\n", {"target": "t"}, "has no examples"),
    ],
)
def test_what_cannot_be_streamed_says_why(table, text, options, message):
    with pytest.raises(ValueError, match=message):
        datasets.stream(table(text), **options)


@pytest.mark.parametrize("name", ["iris", "data.npz", "nothing"])
def test_other_sources_are_not_streamed(name):
    with pytest.raises(ValueError, match=f"--stream reads .csv and .parquet files, found {name}:"):
        datasets.stream(name, "t")


def test_files_without_examples_are_not_predicted(table):
    with pytest.raises(ValueError, match="has no examples"):
        datasets.stream_features(table("a,t\n"))
