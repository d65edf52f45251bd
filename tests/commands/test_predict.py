"""``fastbatch predict``: labels, probabilities and values, of models from here and from Python."""

import sys

import numpy as np
import pytest
from calling import QUICK, refused, rows, write
from scipy.special import expit, softmax
from sklearn.datasets import load_iris

import fastbatch as fb
from fastbatch.commands import kept, main
from fastbatch.data import CSVSource, PreparedSource, Stream


@pytest.fixture
def flowers(tmp_path):
    """Iris as a CSV file with text labels."""
    iris = load_iris()
    columns = dict(zip(iris.feature_names, iris.data.T, strict=True))
    return write(tmp_path / "flowers.csv", species=iris.target_names[iris.target], **columns)


def predict(model, source, path):
    assert main(["predict", str(model), str(source), "--output", str(path)]) == 0
    return path


def test_a_model_of_a_csv_predicts_its_labels(flowers, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train = ["train", str(flowers), "--target", "species", "--lr", "0.02", "--output", str(model)]
    assert main([*train, "--backend", "reference"]) == 0
    assert f"saved to {model}" in capsys.readouterr().out
    header, lines = rows(predict(model, flowers, tmp_path / "answers.csv"))
    names = ["setosa", "versicolor", "virginica"]
    assert header == ["prediction", *(f"probability_{name}" for name in names)]
    truth = load_iris().target_names[load_iris().target]
    assert np.mean(np.array(lines)[:, 0] == truth) > 0.9
    probabilities = np.array([line[1:] for line in lines], dtype=float)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-8)
    best = probabilities.argmax(axis=1)
    assert [names[index] for index in best] == [line[0] for line in lines]


def test_parquet_has_the_same_answers(flowers, tmp_path):
    from pyarrow import parquet

    model = tmp_path / "model.safetensors"
    train = ["train", str(flowers), "--target", "species", *QUICK, "--output", str(model)]
    assert main(train) == 0
    header, lines = rows(predict(model, flowers, tmp_path / "answers.csv"))
    table = parquet.read_table(predict(model, flowers, tmp_path / "answers.parquet"))
    assert table.column_names == header
    assert table.column(0).to_pylist() == [line[0] for line in lines]
    for name, texts in zip(header[1:], np.array(lines).T[1:], strict=True):
        assert [f"{p:.9g}" for p in table.column(name).to_pylist()] == list(texts)


def test_a_regression_predicts_in_the_units_of_its_target(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    assert main(["train", "diabetes", *QUICK, "--hidden", "--output", str(model)]) == 0
    capsys.readouterr()
    assert main(["predict", str(model), "diabetes"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == "prediction"
    assert len(lines) == 442
    assert 100 < np.mean([float(line) for line in lines]) < 200  # the targets' mean is 152


def test_texts_that_training_has_not_seen_are_no_category(tmp_path):
    kinds, weights = ["cat", "dog"] * 20, [4.0, 20.0] * 20
    ages = np.arange(40)
    table = write(tmp_path / "pets.csv", kind=kinds, age=ages, weight=weights)
    model = tmp_path / "model.safetensors"
    assert main(["train", str(table), "--target=weight", *QUICK, "--output", str(model)]) == 0
    found = write(tmp_path / "found.csv", age=[3, 3, 3], kind=["emu", "dog", "yak"])
    _, lines = rows(predict(model, found, tmp_path / "answers.csv"))
    assert lines[0] == lines[2] != lines[1]
    trainer = fb.Trainer.load(model)
    known = kept.preparation(trainer)
    scaled = (3 - known.mean[0]) / known.scale[0]
    outputs = trainer.predict([[scaled, 0, 0], [scaled, 0, 1]])[:, 0].astype(float)
    values = outputs * known.target_scale + known.target_mean
    assert [f"{value:.9g}" for value in values] == [lines[0][0], lines[1][0]]


@pytest.mark.parametrize(
    ("loss", "units", "expected"),
    [
        ("cross_entropy", 3, lambda z: (["0", "1", "2"], softmax(z, axis=1))),
        ("binary_cross_entropy", 1, lambda z: (["0", "1"], np.hstack([expit(-z), expit(z)]))),
    ],
)
def test_a_classifier_saved_in_python_numbers_its_classes(loss, units, expected, tmp_path):
    network = fb.Network([fb.Dense(units)], 4, loss, backend="reference")
    trainer = fb.Trainer(network)
    trainer.save(tmp_path / "model")
    header, lines = rows(predict(tmp_path / "model", "iris", tmp_path / "answers.csv"))
    names, probabilities = expected(trainer.predict(load_iris().data).astype(float))
    assert header == ["prediction", *(f"probability_{name}" for name in names)]
    assert [line[0] for line in lines] == [names[k] for k in probabilities.argmax(axis=1)]
    found = np.array([line[1:] for line in lines], float)
    np.testing.assert_allclose(found, probabilities, rtol=1e-8)  # nine digits


@pytest.mark.parametrize(
    ("loss", "units", "function"),
    [
        ("squared_error", 1, lambda z: z),
        ("huber", 2, lambda z: z),
        ("poisson", 1, np.exp),
        ("binary_cross_entropy", 2, expit),
    ],
)
def test_other_models_saved_in_python_tell_values(loss, units, function, tmp_path):
    trainer = fb.Trainer(fb.Network([fb.Dense(units)], 4, loss, backend="reference"))
    trainer.save(tmp_path / "model")
    header, lines = rows(predict(tmp_path / "model", "iris", tmp_path / "answers.csv"))
    assert header == (["prediction"] if units == 1 else ["prediction_0", "prediction_1"])
    expected = function(trainer.predict(load_iris().data).astype(float))
    np.testing.assert_allclose(np.array(lines, float), expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("loss", "target", "expected"),
    [
        ("squared_error", "weight", lambda z, known: known.values(z)),
        ("poisson", "weight", lambda z, known: np.exp(z)[:, 0]),
        ("cross_entropy", "kind", lambda z, known: np.array(known.classes)[z.argmax(axis=1)]),
        ("binary_cross_entropy", "kind", lambda z, _: np.where(z[:, 0] > 0, "dog", "cat")),
    ],
)
def test_a_prepared_source_tells_predict_and_inspect_of_its_data(loss, target, expected, tmp_path):
    size = 1 + (loss == "cross_entropy")
    targets = {"weight": range(40), "kind": ["cat", "dog"] * 20}[target]
    columns = {"town": ["ulm", "bonn"] * 20, "age": range(40), target: targets}
    table = write(tmp_path / "pets.csv", **columns)
    names = {"weight": ["town"], "kind": ["town", "kind"]}[target]
    source = CSVSource(table, target, categorical=names)
    prepared = PreparedSource(source, scale_target=loss == "squared_error")
    network = fb.Network([fb.Dense(size)], prepared.preparation.width, loss, backend="reference")
    trainer = fb.Trainer(network, fb.Adam(0.1))
    trainer.fit(batches=Stream(prepared, 8), epochs=5)
    trainer.extra["preparation"] = prepared.preparation.to_json()
    trainer.save(tmp_path / "model")
    inputs, _, _ = prepared.read(0, 40)
    values = expected(trainer.predict(inputs).astype(float), prepared.preparation)
    _, lines = rows(predict(tmp_path / "model", table, tmp_path / "answers.csv"))
    found = np.array([line[0] for line in lines]).astype(values.dtype)
    ranks = tmp_path / "ranks.csv"
    options = [str(tmp_path / "model"), str(table), "--target", target, "--output", str(ranks)]
    assert main(["inspect", *options]) == 0
    inspected = [(int(line[0]), line[2]) for line in rows(ranks)[1]]
    again = np.array([prediction for _, prediction in sorted(inspected)]).astype(values.dtype)
    if target == "kind":
        assert found.tolist() == again.tolist() == values.tolist()
        assert set(values) == {"cat", "dog"}
    else:
        np.testing.assert_allclose(found, values, rtol=1e-8)  # nine digits
        np.testing.assert_allclose(again, values, rtol=1e-6)  # of float32


def test_a_model_of_more_classes_than_its_data_had_is_refused(tmp_path, capsys):
    table = write(tmp_path / "pets.csv", age=[1, 2], kind=["cat", "dog"])
    prepared = PreparedSource(CSVSource(table, "kind", categorical=["kind"]))
    trainer = fb.Trainer(fb.Network([fb.Dense(3)], 1, "cross_entropy", backend="reference"))
    trainer.extra["preparation"] = prepared.preparation.to_json()
    trainer.save(tmp_path / "model")
    line = refused(capsys, "predict", tmp_path / "model", table)
    assert "the model tells 3 classes apart, but its data had 2: give its last layer" in line
    trainer.extra["preparation"] = "logarithms"
    trainer.save(tmp_path / "model")
    line = refused(capsys, "predict", tmp_path / "model", table)
    assert "the model does not say how its data were prepared" in line


@pytest.mark.parametrize("extra", [{"features": ["a", "b"]}, None, [kept.KEY], {kept.KEY: 3}])
def test_what_users_keep_with_a_model_is_theirs(extra, tmp_path):
    trainer = fb.Trainer(fb.Network([fb.Dense(1)], 4, "huber", backend="reference"))
    trainer.extra = extra
    trainer.save(tmp_path / "model")
    header, lines = rows(predict(tmp_path / "model", "iris", tmp_path / "answers.csv"))
    assert (header, len(lines)) == (["prediction"], 150)


def test_no_class_is_taken_for_the_prediction(tmp_path):
    kinds = ["prediction", "probability_"] * 20
    table, model = write(tmp_path / "data.csv", a=range(40), kind=kinds), tmp_path / "model"
    assert main(["train", str(table), "--target=kind", *QUICK, "--output", str(model)]) == 0
    header, _ = rows(predict(model, table, tmp_path / "answers.csv"))
    assert len(set(header)) == 3


def test_a_model_saved_in_python_wants_as_many_columns_as_it_has_inputs(tmp_path, capsys):
    fb.Trainer(fb.Network([fb.Dense(1)], 4, "huber", backend="reference")).save(tmp_path / "model")
    line = refused(capsys, "predict", tmp_path / "model", "wine")
    assert "wine has 13 columns, but the network has 4 inputs" in line
    pets = write(tmp_path / "pets.csv", a=[1], b=[2], c=[3], kind=["cat"])
    line = refused(capsys, "predict", tmp_path / "model", pets)
    assert "example 1 has 'cat' in column kind, expected a number" in line


def test_a_model_of_other_features_is_refused(flowers, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    assert main(["train", "wine", *QUICK, "--output", str(model)]) == 0
    assert "has no column 'alcohol'" in refused(capsys, "predict", model, flowers)


def test_a_failed_prediction_leaves_the_old_file_alone(monkeypatch, tmp_path, capsys):
    model, answers = tmp_path / "model.safetensors", tmp_path / "answers.csv"
    assert main(["train", "iris", *QUICK, "--output", str(model)]) == 0
    answers.write_text("the old ones")
    before = set(tmp_path.iterdir())

    def full(file, columns):
        file.write("half of the ")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastbatch.commands.predict._write_csv", full)
    line = refused(capsys, "predict", model, "iris", "--output", answers, expected=1)
    assert line.startswith(f"fastbatch predict: {answers}: No space left on device, so nothing")
    assert answers.read_text() == "the old ones"
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("nowhere/answers.csv", "--output nowhere/answers.csv: no such folder"),
        ("answers.txt", "--output answers.txt: expected a name that ends with .csv or .parquet"),
    ],
)
def test_an_output_that_cannot_be_is_refused(output, message, capsys):
    assert message in refused(capsys, "predict", "nothing", "iris", "--output", output)


def test_a_missing_pyarrow_is_one_sentence_that_names_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = refused(capsys, "predict", "nothing", "iris", "--output", tmp_path / "a.parquet")
    assert "pip install 'fastbatch[data]'" in line
    (tmp_path / "data.parquet").touch()
    line = refused(capsys, "train", tmp_path / "data.parquet", "--target", "y")
    assert "pip install 'fastbatch[data]'" in line
