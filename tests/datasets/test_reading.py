"""Data sets: read as they stand, split alike everywhere, and refused with a reason."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from fastbatch import datasets
from fastbatch.datasets import Dataset, Preparation


@pytest.fixture
def table(tmp_path):
    """A function that writes a CSV file and returns its path."""

    def write(text, name="data.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return str(path)

    return write


@pytest.fixture
def arrays(tmp_path):
    """A function that writes an NPZ file and returns its path."""

    def write(**named):
        path = tmp_path / "data.npz"
        np.savez(path, **named)
        return str(path)

    return write


@pytest.mark.parametrize("name", datasets.BUNDLED)
def test_bundled_data_sets_are_tables_of_finite_numbers(name):
    data = datasets.read(name)
    assert data.X.dtype == np.float64
    assert data.X.shape == (len(data.y), len(data.features))
    assert np.isfinite(data.X).all()
    if data.classes:
        assert data.y.dtype == np.int64
        assert set(data.y) == set(range(len(data.classes)))


def test_a_missing_scikit_learn_is_one_sentence_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"pip install 'fastbatch\[demo\]'"):
        datasets.read("iris")


def test_text_targets_of_a_csv_are_classes(table):
    path = table('a,kind,b\n1,cat,2\n3,"dog, big",4\n5,cat,6\n')
    data = datasets.read(path, "kind")
    assert data.features == ("a", "b")
    assert data.classes == ("cat", "dog, big")
    assert data.y.tolist() == [0, 1, 0]
    assert data.X.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("target", ["kind", "1", "-2"])
def test_a_target_column_has_a_name_or_an_index(table, target):
    data = datasets.read(table("a,kind,b\n1,x,2\n3,y,4\n"), target)
    assert data.features == ("a", "b")


def test_whole_numbers_are_classes_if_they_are_few(table):
    few = table("a,t\n1,3\n2,5\n3,3\n")
    assert datasets.read(few, "t").classes == ("3", "5")
    many = table("a,t\n" + "".join(f"{i},{i}\n" for i in range(datasets.MOST_CLASSES + 1)))
    assert datasets.read(many, "t").classes is None


def test_other_numbers_are_values(table):
    data = datasets.read(table("a,t\n1,3\n2,5.5\n"), "t")
    assert data.classes is None
    assert data.y.tolist() == [3.0, 5.5]


@pytest.mark.parametrize("text", ["--5", "+-3", "\u0663", "1_0"])
def test_what_only_looks_like_a_whole_number_is_text(table, text):
    assert datasets.read(table(f"a,t\n1,7\n2,{text}\n"), "t").classes == tuple(sorted(["7", text]))


def test_a_csv_may_begin_with_a_byte_order_mark_and_have_empty_lines(table):
    data = datasets.read(table("a,t\r\n1,x\r\n\r\n2,y\r\n", encoding="utf-8-sig"), "t")
    assert data.features == ("a",)
    assert data.X.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "t", "must name its columns"),
        ("1,2\n3,4\n", "0", "must name its columns"),
        ("a,a\n1,2\n", "a", "two columns called 'a'"),
        ("a,t\n", "t", "no examples"),
        ("t\n1\n", "t", "no column but the target, expected features, too"),
        ("a,t\n1,x\n", None, "say which column to predict, --target 't'"),
        ("a,t\n1,x\n", "u", "no column 'u': its columns are a, t"),
        ("a,t\n1,x\n", "2", "no column '2'"),
        ("a,t\n1,x\nq,y\n", "t", "example 2 has 'q' in column a, expected a number"),
        ("a,t\n1,x\n,y\n", "t", "example 2 has no value in column a: remove the row, fill"),
        ("a,b,t\n1,2,x\n3,y\n", "t", "example 2 has 2 columns, expected 3"),
        ("a,b,t\n1,2,x\n3,4,y,5\n", "t", "example 2 has 4 columns, expected 3"),
        ("a,t\n1,x\n1_000,y\n", "t", "example 2 has '1_000' in column a"),
        ("a,t\n1,x\n\u0663,y\n", "t", "example 2 has '\u0663' in column a"),  # an Arabic 3
        ("a,t\n1,x\nnan,y\n", "t", "example 2 has no value in column a"),
        ("a,t\n1,x\ninf,y\n", "t", "example 2 has inf in column a, expected finite numbers"),
        ("a,t\n1,1.5\n2,inf\n", "t", "example 2 has the target inf, expected finite numbers"),
        ("a,t\n1,x\n2, \n", "t", "example 2 has no target: remove the row"),
        ("a,b,t\nq,1,x\n7,2,y\n", "t", "example 1 has 'q' in column a, expected a number"),
        ("a,t\n,x\n,y\n", "t", "example 1 has no value in column a"),
        ("a;b;t\n1;2;x\n", "t", "one column, 'a;b;t': expected commas between columns"),
        ('a,t\n1,"x\n2,y\n', "t", "example 1 cannot be read .*: mend its quotes"),
        ('a,t\n1,x\n2,"y"z\n', "t", "example 2 cannot be read .*: mend its quotes"),
        (",a,t\n0,1,x\n1,2,y\n", "t", "column 1 has no name, such as the index of a data frame"),
        ("a,t\n1,x\n2,x\n", "t", "all targets are x, expected several classes"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(table, text, target, message):
    with pytest.raises(ValueError, match=message):
        datasets.read(table(text), target)


def test_a_csv_that_is_not_text_says_so(table):
    with pytest.raises(ValueError, match="not UTF-8 text"):
        datasets.read(table("a,t\n", encoding="utf-16"), "t")


def test_columns_without_names_may_stand_beside_those_that_are_asked_for(table):
    path = table(",a,t\n0,1,x\n1,2,y\n")
    assert datasets.read(path, "t", features=["a"]).X.tolist() == [[1], [2]]
    assert datasets.read_features(path, ["a"]).tolist() == [[1], [2]]


def test_a_folder_is_not_taken_for_a_file(tmp_path):
    (tmp_path / "data.csv").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder, expected a file"):
        datasets.read(str(tmp_path / "data.csv"), "t")


@pytest.mark.parametrize("source", ["nothing", "data.txt", "data.csv", "data.npz"])
def test_a_source_that_is_not_there_says_so(source):
    with pytest.raises(ValueError, match=r"no such file|no data set"):
        datasets.read(source)


def test_an_npz_has_examples_of_any_shape(arrays):
    X = np.arange(24).reshape(3, 2, 4)
    data = datasets.read(arrays(X=X, y=np.array([0, 1, 1])))
    assert data.X.tolist() == X.reshape(3, 8).tolist()
    assert data.features == tuple(f"x{i}" for i in range(8))
    assert data.classes == ("0", "1")


def test_an_npz_may_have_its_targets_under_another_key(arrays):
    data = datasets.read(arrays(X=np.ones((2, 1)), price=np.array([1.5, 2.5])), "price")
    assert data.classes is None
    assert data.y.tolist() == [1.5, 2.5]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"y": [1, 2]}, "no array 'X': it holds y"),
        ({"X": [[1.0], [2.0]]}, "no array 'y': it holds X"),
        ({"X": [1.0, 2.0], "y": [0, 1]}, "X must be a table of numbers"),
        ({"X": np.ones((0, 2)), "y": []}, "X must be a table of numbers"),
        ({"X": [["a"], ["b"]], "y": [0, 1]}, "X must be a table of numbers"),
        ({"X": [[1.0], [2.0]], "y": [0, 1, 2]}, r"y must have shape \(2,\)"),
        ({"X": [[1.0], [2.0]], "y": [1j, 2j]}, "targets must be numbers or text"),
        ({"X": [[1.0], [np.nan]], "y": [0, 1]}, "example 2 has no value in column x0"),
        ({"X": np.array([[None]]), "y": [0]}, "cannot be read as an NPZ file of plain arrays"),
    ],
)
def test_an_npz_that_cannot_be_used_says_why(arrays, named, message):
    with pytest.raises(ValueError, match=message):
        datasets.read(arrays(**named))


def test_a_file_that_is_no_npz_says_so(table):
    with pytest.raises(ValueError, match="cannot be read as an NPZ file"):
        datasets.read(table("a,b\n", name="data.npz"))


def test_features_are_found_by_name_in_any_order(table):
    path = table("t,b,extra,a\nx,2,9,1\ny,4,9,3\n")
    assert datasets.read_features(path, ["a", "b"]).tolist() == [[1, 2], [3, 4]]


def test_a_missing_feature_is_named(table, arrays):
    with pytest.raises(ValueError, match="no column 'b'"):
        datasets.read_features(table("a\n1\n"), ["a", "b"])
    with pytest.raises(ValueError, match=r"has no column 'x1': its columns are x0$"):
        datasets.read_features(arrays(X=np.ones((2, 1))), ["x0", "x1"])


@pytest.mark.parametrize("name", ["data.csv", "data.npy", "data.npz", "data.parquet"])
def test_a_file_that_may_not_be_read_is_not_taken_for_a_damaged_one(name, tmp_path, monkeypatch):
    def forbidden(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / name).touch()
    monkeypatch.setattr("pathlib.Path.open", forbidden)
    with pytest.raises(PermissionError):
        datasets.read(str(tmp_path / name), "0")


@pytest.mark.parametrize("options", [{"target": "kind"}, {"weights": "w"}])
def test_bundled_data_sets_have_targets_of_their_own(options):
    with pytest.raises(ValueError, match="iris has targets of its own and no weights"):
        datasets.read("iris", **options)


@pytest.mark.parametrize("weights", ["w", "-1"])
def test_weights_are_a_column_that_is_no_feature(table, weights):
    data = datasets.read(table("a,t,w\n1,x,0\n2,y, 1.5\n3,x,2e3\n"), "t", weights=weights)
    assert data.features == ("a",)
    assert data.weights.tolist() == [0.0, 1.5, 2000.0]
    assert datasets.read(table("a,t\n1,x\n2,y\n"), "t").weights is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,t,w\n1,x,1\n2,y,-1\n", "example 2 has the weight '-1', expected a number"),
        ("a,t,w\n1,x,1\n2,y,\n", "example 2 has the weight ''"),
        ("a,t,w\n1,x,1\n2,y,much\n", "example 2 has the weight 'much'"),
        ("a,t,w\n1,x,inf\n2,y,1\n", "example 1 has the weight 'inf'"),
        ("a,t,w\n1,x,0\n2,y,0\n", "all weights are 0"),
        ("a,t\n1,x\n2,y\n", "has no column 'w'"),
        ("w,t\n1,x\n2,y\n", "has no column but the target and the weights"),
    ],
)
def test_weights_that_cannot_be_used_say_why(table, text, message):
    with pytest.raises(ValueError, match=message):
        datasets.read(table(text), "t", weights="w")


def test_the_target_is_no_weight(table, arrays):
    for path in (table("a,t\n1,5\n2,6\n"), arrays(X=np.ones((2, 1)), t=np.array([1, 2]))):
        with pytest.raises(ValueError, match="t is the target, the weights must be another"):
            datasets.read(path, "t", weights="t")


def test_weights_go_with_their_examples(table):
    rows = "".join(f"{i},{i}.5,{i}\n" for i in range(20))
    data = datasets.read(table(f"a,t,w\n{rows}"), "t", weights="w")
    for part in datasets.split(data, 0.3, 0, "reference"):
        assert part.weights.tolist() == part.X[:, 0].tolist()
    other = replace(data, weights=data.weights + 1)
    assert len({data.digest(), other.digest(), replace(data, weights=None).digest()}) == 3


def test_an_npz_to_predict_needs_no_targets(arrays):
    assert datasets.read_features(arrays(X=np.ones((2, 3))), ["x0", "x1", "x2"]).shape == (2, 3)


def test_the_parts_of_a_split_are_the_whole():
    data = datasets.read("iris")
    training, validation = datasets.split(data, 0.2, seed=3, backend="reference")
    assert len(validation.y) == 30
    both = np.concatenate([training.X, validation.X])
    assert sorted(map(tuple, both)) == sorted(map(tuple, data.X))


def test_the_split_depends_on_the_seed_only():
    data = datasets.read("iris")
    one, same, other = (datasets.split(data, 0.2, seed, "reference")[1].X for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 1.5, 0.001])
def test_a_split_with_an_empty_part_is_refused(share):
    with pytest.raises(ValueError, match="leaves one part empty"):
        datasets.split(datasets.read("iris"), share, 0, "reference")


def test_standardised_features_have_mean_0_and_deviation_1():
    data = datasets.read("wine")
    inputs = Preparation.of(data).inputs(data.X)
    assert np.allclose(inputs.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(inputs.std(axis=0), 1)


@pytest.mark.parametrize("value", [3.0, 0.1])  # the mean of many 0.1 is another number
def test_a_constant_feature_becomes_0_and_keeps_its_unit(value):
    data = Dataset(np.full((10, 1), value), np.arange(10.0), ("x",), None)
    preparation = Preparation.of(data)
    np.testing.assert_allclose(preparation.inputs(data.X), 0, atol=1e-15)
    np.testing.assert_allclose(preparation.inputs(data.X + 2), 2)


@pytest.mark.parametrize(
    ("x", "y", "name"), [(1e300, 1.5, "column x"), (1.5, -1e300, "the target")]
)
def test_numbers_whose_squares_overflow_are_refused(x, y, name):
    data = Dataset(np.array([[x], [0.0]]), np.array([y, 0.0]), ("x",), None)
    with pytest.raises(ValueError, match=rf"{name} has 1e\+300, expected numbers up to 1e\+100"):
        Preparation.of(data)


def test_values_are_the_way_back_from_targets():
    data = datasets.read("diabetes")
    preparation = Preparation.of(data)
    targets = preparation.targets(data.y)
    assert np.allclose([targets.mean(), targets.std()], [0, 1])
    assert np.allclose(preparation.values(targets[:, None]), data.y)


@pytest.mark.parametrize("name", ["iris", "diabetes", "digits"])
def test_a_preparation_survives_json(name):
    preparation = Preparation.of(datasets.read(name))
    assert Preparation.from_json(preparation.to_json()) == preparation


@pytest.mark.parametrize("stored", [None, {}, {"features": 3}, []])
def test_a_model_without_preparation_says_so(stored):
    with pytest.raises(ValueError, match="expected one written by 'fastbatch train'"):
        Preparation.from_json(stored)


def test_a_preparation_with_missing_numbers_is_refused():
    stored = Preparation.of(datasets.read("iris")).to_json() | {"mean": [0.0]}
    with pytest.raises(ValueError, match="expected one written by 'fastbatch train'"):
        Preparation.from_json(stored)
