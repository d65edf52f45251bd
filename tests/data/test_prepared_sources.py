"""What is learnt and prepared by blocks is what scikit-learn makes of the whole."""

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastbatch as fb
from fastbatch.data import ArraySource, CSVSource, ParquetSource, PreparedSource, Stream
from fastbatch.datasets import Dataset, Preparation

ROWS = 2500  # more than two blocks of lines
RNG = np.random.default_rng(7)
AGE = RNG.integers(0, 64, ROWS) / 4  # and so are sums and means of squares exact
AGE[1] = 0.125
PET = RNG.choice(["cat", "dog", " emu", ""], ROWS, p=[0.5, 0.3, 0.1, 0.1])
PET[2400] = "yak"  # in the last block only
TOWN = RNG.integers(1, 9, ROWS)
KIND = RNG.choice(["old", "new"], ROWS)
WEIGHTS = np.arange(ROWS) / 8 + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    columns = {"pet": PET, "age": AGE, "town": TOWN, "kind": KIND, "w": WEIGHTS}
    pq.write_table(pa.table(columns), folder / "plain.parquet", row_group_size=700)
    named = pa.array([name or None for name in PET]).dictionary_encode()
    pq.write_table(pa.table(columns | {"pet": named}), folder / "coded.parquet", row_group_size=700)
    lines = [",".join(map(str, line)) for line in zip(*columns.values(), strict=True)]
    (folder / "plain.csv").write_text("\n".join([",".join(columns), *lines]))
    german = [line.replace(",", ";").replace(".", ",") for line in lines]
    (folder / "german.csv").write_text("\n".join([";".join(columns), *german]))
    return folder


SOURCES = {
    "plain.parquet": (ParquetSource, {}),
    "coded.parquet": (ParquetSource, {}),
    "plain.csv": (CSVSource, {}),
    "german.csv": (CSVSource, {"delimiter": ";", "decimal": ","}),
}


@pytest.fixture(params=SOURCES)
def source(request, folder):
    kind, options = SOURCES[request.param]
    categorical = ["pet", "town", "kind"]
    columns = {"target": "kind", "sample_weight": "w", "categorical": categorical}
    return kind(folder / request.param, **columns, **options)


def whole():
    """The same as the command line has it: all in memory."""
    texts = np.char.strip(PET).astype(object), TOWN.astype(str).astype(object)
    X = np.column_stack([texts[0], AGE.astype(object), texts[1]])
    classes, y = np.unique(KIND, return_inverse=True)
    return Dataset(X, y, ("pet", "age", "town"), tuple(classes), ("pet", "town"))


def test_blocks_are_prepared_as_the_whole_is(source):
    """Means and deviations by blocks are rounded a few times more, which 20 roundings cover."""
    data = whole()
    known, prepared = Preparation.of(data, gaps=True), PreparedSource(source, impute=True)
    found = prepared.preparation
    assert (found.categories, found.classes) == (known.categories, known.classes)
    assert found.categories[0] == ("", "cat", "dog", "emu", "yak")
    np.testing.assert_allclose(found.mean, known.mean, rtol=20 * np.finfo(float).eps)
    np.testing.assert_allclose(found.scale, known.scale, rtol=20 * np.finfo(float).eps)
    X, y, weights = prepared.read(100, 2450)
    np.testing.assert_array_equal(X, found.inputs(data.X[100:2450]))
    np.testing.assert_array_equal(y, data.y[100:2450])
    np.testing.assert_array_equal(weights, WEIGHTS[100:2450])
    assert len(prepared) == ROWS
    np.testing.assert_array_equal(prepared.bounds, source.bounds)


def test_a_stream_of_prepared_rows_trains_as_their_arrays_do(source):
    prepared = PreparedSource(source, impute=True)
    net = fb.Network([fb.Dense(2)], prepared.preparation.width, "cross_entropy")
    known, trainer = fb.Trainer(net), fb.Trainer(net)
    options = {"seed": 1, "block_size": 100, "buffer_size": 500}
    known.fit(batches=Stream(ArraySource(*prepared.read(0, ROWS)), 100, **options))
    trainer.fit(batches=Stream(prepared, 100, **options))
    np.testing.assert_array_equal(trainer.theta, known.theta)


def test_what_was_learnt_is_saved_and_prepares_other_rows(folder, tmp_path):
    columns = {"target": "kind", "categorical": ["pet", "kind"], "features": ["age", "pet"]}
    source = ParquetSource(folder / "plain.parquet", **columns)
    learnt = PreparedSource(source, impute=True).preparation
    again = Preparation.from_json(json.loads(json.dumps(learnt.to_json())))
    rows = {"pet": ["gnu", None], "age": [2.5, None], "kind": ["old", "new"]}
    pq.write_table(pa.table(rows), tmp_path / "few.parquet")
    X, y, _ = PreparedSource(ParquetSource(tmp_path / "few.parquet", **columns), again).read(0, 2)
    age = (2.5 - learnt.mean[0]) / learnt.scale[0]
    assert X.tolist() == [[age, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]
    assert y.tolist() == [1, 0]
    new = ParquetSource(tmp_path / "few.parquet", None, again.features, categorical=again.texts)
    found, y, _ = PreparedSource(new, again).read(0, 2)
    assert (found.tolist(), y.shape) == (X.tolist(), (2, 0))


def test_numbers_alone_and_text_alone_are_prepared(folder):
    path = folder / "plain.parquet"
    numbers = PreparedSource(ParquetSource(path, "w", ["town", "age"]))
    found, y, _ = numbers.read(0, ROWS)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-13)
    mean, deviation = WEIGHTS.mean(), WEIGHTS.std()
    np.testing.assert_allclose(y, (WEIGHTS - mean) / deviation, rtol=0, atol=1e-13)
    np.testing.assert_allclose(numbers.preparation.values(y[:, np.newaxis]), WEIGHTS, rtol=1e-14)
    counts = PreparedSource(ParquetSource(path, "w", ["town", "age"]), scale_target=False)
    np.testing.assert_array_equal(counts.read(0, ROWS)[1], WEIGHTS)
    assert counts.preparation.mean == numbers.preparation.mean
    several = PreparedSource(ParquetSource(path, ["w", "age"], ["town"]))
    np.testing.assert_array_equal(several.read(0, ROWS)[1], np.stack([WEIGHTS, AGE], axis=1))
    text = PreparedSource(ParquetSource(path, "w", ["town"], categorical=["town"]))
    np.testing.assert_array_equal(text.read(0, ROWS)[0].argmax(axis=1) + 1, TOWN)


def test_a_source_of_ones_own_needs_no_bounds():
    class Own(ArraySource):
        features = ("a", "b")

    prepared = PreparedSource(Own([[1, 5], [3, 5]], [0, 1]))
    found, y, _ = prepared.read(0, 2)
    assert (found.tolist(), y.tolist()) == ([[-1, 0], [1, 0]], [-1, 1])
    with pytest.raises(ValueError, match=r"found read\(1, 3\) of 2 rows"):
        prepared.read(1, 3)


def of(path, categorical=("x",), target="y", **columns):
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return ParquetSource(path, target, categorical=categorical)


def of_another(path, **other):
    learnt = PreparedSource(of(path, x=["a", "b"], y=[1, 2])).preparation
    return PreparedSource(of(path, **other), learnt)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda p: of(p, ["z"], x=["a"], y=[1]), ValueError, "unknown categorical column 'z'"),
        (
            lambda p: of(p, ["y"], ["x", "y"], x=[1], y=["a"], z=[1]),
            ValueError,
            "one of several targets is categorical",
        ),
        (
            lambda p: PreparedSource(ArraySource([[1]], [1])),
            TypeError,
            "source must have the names of its features, .*, found ArraySource",
        ),
        (lambda p: PreparedSource(of(p, x=[], y=[])), ValueError, "source has no rows"),
        (
            lambda p: PreparedSource(of(p, x=pa.array([1], "date32"), y=[1])),
            TypeError,
            "column 'x' of .*t.parquet must hold real numbers, found dtype datetime64",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a", "b", " ", "c"], y=[1, 2, 3, 4])),
            ValueError,
            "row 2 of the source has no value in column 'x': .* impute=True",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a", "b", "c"], z=[1, 2, None], y=[1, 2, 3])),
            ValueError,
            "row 2 of the source has no value in column 'z'",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a"], z=[np.inf], y=[1])),
            ValueError,
            "rows 0 to 1 of the source: .*infinity",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a", "b"], z=[1e200, 0], y=[1, 2])),
            ValueError,
            "column z has no value at all, or numbers too large",
        ),
        (
            lambda p: PreparedSource(
                of(p, x=["a"], z=pa.array([None], "double"), y=[1]), None, True
            ),
            ValueError,
            "column z has no value at all",
        ),
        (
            lambda p: PreparedSource(of(p, x=[f"n{i}" for i in range(1003)], y=[0] * 1003)),
            ValueError,
            "column x has 1,002 different texts such as 'n0'",
        ),
        (
            lambda p: PreparedSource(of(p, ["x", "y"], x=["a"] * 3, y=["b", "c", None])),
            ValueError,
            "row 2 of the source has no target",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a"] * 3, y=[1, 2, None]), impute=True),
            ValueError,
            "row 2 of the source has no target",
        ),
        (
            lambda p: PreparedSource(of(p, x=["a"] * 2, y=[1e200, 1])),
            ValueError,
            "the target has no value at all, or numbers too large",
        ),
        (
            lambda p: of_another(p, x=["a", "b"], y=[1, None]).read(1, 2),
            ValueError,
            "row 1 of the source has no target: remove the row",
        ),
        (
            lambda p: PreparedSource(
                of(p, x=["a"], y=[1]), PreparedSource(of(p, x=["a"], y=[1])).preparation.to_json()
            ),
            TypeError,
            "preparation must be a Preparation, found dict: use Preparation.from_json",
        ),
        (
            lambda p: Stream(of(p, x=["a"], y=[1]), 1),
            TypeError,
            r"source gives objects.*: wrap it in PreparedSource\(source\)",
        ),
        (
            lambda p: Stream(of(p, ["y"], x=[1], y=["a"]), 1),
            TypeError,
            r"wrap it in PreparedSource\(source\)",
        ),
        (
            lambda p: fb.Trainer(fb.Network([fb.Dense(2)], 2, "cross_entropy")).fit(
                batches=Stream(PreparedSource(of(p, x=["a", "b"], y=[0, 1])), 1)
            ),
            ValueError,
            "standardised: name it in categorical .* scale_target=False .*y\\[0\\] is -1.0",
        ),
        (
            lambda p: of_another(p, x=["a", "b"], z=[1, 2], y=[1, 2]),
            ValueError,
            "must have the same features .*found \\('x', 'z'\\)",
        ),
        (
            lambda p: of_another(p, categorical=["x", "y"], x=["a"], y=["?"]).read(0, 1),
            ValueError,
            "row 0 of the source is of class '\\?', expected one of none",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused(make, error, message, tmp_path):
    with pytest.raises(error, match=message):
        make(tmp_path / "t.parquet")


def test_a_missing_scikit_learn_is_one_sentence_that_names_the_extra(tmp_path, monkeypatch):
    source = of(tmp_path / "t.parquet", x=["a"], y=[1])
    monkeypatch.setitem(sys.modules, "sklearn.preprocessing", None)
    with pytest.raises(ImportError, match=r"PreparedSource needs scikit-learn.*\[sklearn\]'"):
        PreparedSource(source)
