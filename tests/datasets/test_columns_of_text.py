"""Text among the features, gaps, and what becomes of both."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbatch import datasets
from fastbatch.datasets import Dataset, Preparation


@pytest.fixture
def table(tmp_path):
    """A function that writes a CSV file and returns its path."""

    def write(text):
        path = tmp_path / "data.csv"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_columns_without_numbers_are_text(table):
    data = datasets.read(table('a,pet,t\n1," cat ",2.5\n2,"dog, big",3.5\n'), "t")
    assert data.texts == ("pet",)
    assert data.X.tolist() == [[1.0, "cat"], [2.0, "dog, big"]]
    assert data.X.dtype == object


def test_numbers_are_text_where_that_is_asked_for(table):
    path = table("zip,t\n01,1.5\nx,2.5\n")
    with pytest.raises(ValueError, match="example 2 has 'x' in column zip, expected a number"):
        datasets.read(path, "t")
    assert datasets.read(path, "t", categorical=["zip"]).X.tolist() == [["01"], ["x"]]
    found = datasets.read("iris", categorical=["petal width (cm)"])
    assert found.texts == ("petal width (cm)",)
    assert found.X[0].tolist() == [5.1, 3.5, 1.4, "0.2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,t\n"1,5",1\n"1.002,5",2\n,3\n', "column a has decimal commas, such as '1,5': write p"),
        (
            'a,t\n"1,5",1\n2,2\n',
            "'1,5' in column a, expected a number: write a decimal point, leave",
        ),
        ('a,t\n1,"1,5"\n2,2\n', "targets have decimal commas, such as '1,5': write points"),
    ],
)
def test_numbers_with_decimal_commas_are_no_text(table, text, message):
    with pytest.raises(ValueError, match=message):
        datasets.read(table(text), "t", gaps=True)


def test_names_may_look_like_numbers_with_commas(table):
    path = table('a,t\n"1,5",1.5\n"2,5",2.5\n')
    assert datasets.read(path, "t", categorical=["a"]).X.tolist() == [["1,5"], ["2,5"]]
    classes = datasets.read(table('a,t\n1,"1,5"\n2,"x"\n'), "t").classes
    assert classes == ("1,5", "x")


def test_a_trained_model_says_what_is_text(table):
    path = table("size,pet,t\n1,7,1.5\n2,8,2.5\n")
    asked = {"features": ["pet", "size"], "categorical": ["pet"]}
    assert datasets.read(path, "t", **asked).X.tolist() == [["7", 1.0], ["8", 2.0]]
    assert datasets.read_features(path, **asked).tolist() == [["7", 1.0], ["8", 2.0]]
    path = table("size,pet,t\n1,cat,1.5\n")
    with pytest.raises(ValueError, match="'cat' in column pet, expected a number"):
        datasets.read(path, "t", features=["pet"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,pet,t\n1,cat,1.5\n,dog,2.5\n", "example 2 has no value in column a: .* --impute"),
        ("a,pet,t\n1,,1.5\n2,dog,2.5\n", "example 1 has no value in column pet: .* --impute"),
    ],
)
def test_gaps_are_refused_unless_allowed(table, text, message):
    path = table(text)
    with pytest.raises(ValueError, match=message):
        datasets.read(path, "t")
    X = datasets.read(path, "t", gaps=True).X
    assert np.isnan(X[1, 0]) or X[0, 1] == ""


def test_infinities_are_no_gaps(table):
    path = table("a,t\n,1.5\n-inf,2.5\n")
    with pytest.raises(ValueError, match="example 2 has -inf in column a"):
        datasets.read(path, "t", gaps=True)


def pets(kinds, ages, gaps=False):
    X = np.array(list(zip(kinds, ages, strict=True)), dtype=object)
    data = Dataset(X, np.arange(len(X)) * 1.0, ("kind", "age"), None, texts=("kind",))
    return data, Preparation.of(data, gaps)


def test_text_is_one_hot_behind_standardised_numbers():
    data, preparation = pets(["dog", "cat", "dog"], [1.0, 3.0, 5.0])
    deviation = np.sqrt(8 / 3)
    expected = [[-2 / deviation, 0, 1], [0, 1, 0], [2 / deviation, 0, 1]]
    np.testing.assert_allclose(preparation.inputs(data.X), expected, rtol=1e-15)
    assert preparation.width == 3
    assert preparation.categories == (("cat", "dog"),)


def test_unknown_text_is_no_category():
    _, preparation = pets(["dog", "cat"], [1.0, 3.0])
    found = preparation.inputs(np.array([["emu", 2.0], ["", 2.0]], dtype=object))
    assert found.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_missing_number_is_the_mean_of_the_others():
    data, preparation = pets(["dog", "", "dog"], [1.0, np.nan, 5.0], gaps=True)
    assert preparation.inputs(data.X).tolist() == [[-1, 0, 1], [0, 1, 0], [1, 0, 1]]
    numbers = Dataset(np.array([[1.0], [np.nan], [5.0]]), np.arange(3.0), ("age",), None)
    preparation = Preparation.of(numbers, gaps=True)
    assert preparation.inputs(numbers.X).tolist() == [[-1], [0], [1]]


def test_a_column_of_gaps_has_no_mean():
    with pytest.raises(ValueError, match="no example to train on has a value in column age"):
        pets(["dog", "cat"], [np.nan, np.nan], gaps=True)


def test_names_of_examples_are_no_categories():
    names = [f"n{i}" for i in range(1001)]
    with pytest.raises(ValueError, match="column kind has 1,001 different texts such as 'n0'"):
        pets(names, np.zeros(1001))


def test_text_alone_needs_no_numbers():
    X = np.array([["a", "x"], ["b", "x"]], dtype=object)
    data = Dataset(X, np.arange(2.0), ("one", "two"), None, texts=("one", "two"))
    preparation = Preparation.of(data)
    assert preparation.mean == ()
    again = Preparation.from_json(json.loads(json.dumps(preparation.to_json())))
    for each in (preparation, again):
        assert each.inputs(X).tolist() == [[1, 0, 1], [0, 1, 1]]


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(
    st.lists(st.tuples(texts, st.floats(-1e6, 1e6), st.sampled_from(["on", "off"])), min_size=2),
    texts,
)
def test_what_is_loaded_prepares_to_the_same_bits(rows, unknown):
    X = np.array(rows, dtype=object)
    features, others = ("name", "size", "switch"), ("name", "switch")
    data = Dataset(X, np.arange(len(X)) * 1.0, features, None, texts=others)
    preparation = Preparation.of(data)
    again = Preparation.from_json(json.loads(json.dumps(preparation.to_json())))
    assert again == preparation
    asked = np.vstack([X, np.array([[unknown, 0.5, ""]], dtype=object)])
    assert np.array_equal(again.inputs(asked), preparation.inputs(asked))
    assert again.inputs(asked).shape == (len(asked), again.width)
    # As scikit-learn does where it has been fitted itself.
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    scaler = StandardScaler().fit(X[:, 1:2])
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(X[:, [0, 2]])
    expected = np.hstack([scaler.transform(asked[:, 1:2]), encoder.transform(asked[:, [0, 2]])])
    assert np.array_equal(again.inputs(asked), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"categories": [["a"], ["b"]]},
        {"categories": [[]]},
        {"texts": ["town"]},
        {"mean": []},
        {"texts": 3},
    ],
)
def test_a_preparation_that_is_not_whole_is_refused(change):
    _, preparation = pets(["dog", "cat"], [1.0, 3.0])
    with pytest.raises(ValueError, match="expected one written by 'fastbatch train'"):
        Preparation.from_json(preparation.to_json() | change)


def test_a_missing_scikit_learn_is_one_sentence_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.compose", None)
    with pytest.raises(ImportError, match=r"column kind holds text.*'fastbatch\[sklearn\]'"):
        pets(["dog", "cat"], [1.0, 3.0])


def test_a_digest_tells_data_apart():
    base, _ = pets(["dog", "cat"], [1.0, 3.0])
    others = [
        pets(["dog", "cow"], [1.0, 3.0])[0],
        pets(["dog", "cat"], [1.0, 3.5])[0],
        pets(["cat", "dog"], [3.0, 1.0])[0],
        Dataset(base.X, base.y + 1, base.features, None, base.texts),
        Dataset(base.X, base.y, ("kind", "years"), None, base.texts),
    ]
    digests = {data.digest() for data in (base, *others)}
    assert len(digests) == 6
    assert pets(["dog", "cat"], [1.0, 3.0])[0].digest() == base.digest()


def test_quoted_fields_may_hold_commas_and_lines(table):
    data = datasets.read(table('a,note,t\n1,"x, y",1.5\n2,"two\nlines, and",2.5\n'), "t")
    assert data.X.tolist() == [[1.0, "x, y"], [2.0, "two\nlines, and"]]
    assert data.y.tolist() == [1.5, 2.5]
