"""Metrics are scikit-learn's, of the outputs as the loss means them."""

import importlib.util
import math
import sys

import numpy as np
import pytest
import sklearn.metrics as theirs
from scipy.special import expit, softmax

import fastbatch as fb
from fastbatch import metrics
from fastbatch.history import EpochRecord

RNG = np.random.default_rng(0)
N, K = 50, 4
OUTPUTS = RNG.normal(size=(N, K)).astype("float32")
LABELS = RNG.integers(0, K, N)
P = softmax(OUTPUTS.astype("float64"), axis=1)
ANSWERS = RNG.integers(0, 2, (N, K)).astype("float32")
VALUES = RNG.exponential(size=(N, K)).astype("float32")


def value(name, loss, outputs, y):
    found = metrics.evaluate([name], loss, outputs, y)
    assert list(found) == [name] and type(found[name]) is float
    return found[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", theirs.accuracy_score(LABELS, P.argmax(axis=1))),
        ("balanced_accuracy", theirs.balanced_accuracy_score(LABELS, P.argmax(axis=1))),
        ("top_2_accuracy", theirs.top_k_accuracy_score(LABELS, P, k=2)),
        ("top_3_accuracy", theirs.top_k_accuracy_score(LABELS, P, k=3)),
        ("auc", theirs.roc_auc_score(LABELS, P, multi_class="ovr")),
        ("log_loss", theirs.log_loss(LABELS, P)),
    ],
)
def test_of_classes(name, expected):
    assert value(name, "cross_entropy", OUTPUTS, LABELS) == pytest.approx(expected, rel=1e-12)
    one_hot = np.eye(K)[LABELS] * 0.6 + 0.1  # a probability for each class
    assert value(name, "cross_entropy", OUTPUTS, one_hot) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("accuracy", lambda y, p: theirs.accuracy_score(y, p > 0.5)),
        ("balanced_accuracy", lambda y, p: theirs.balanced_accuracy_score(y, p > 0.5)),
        ("auc", theirs.roc_auc_score),
        ("log_loss", theirs.log_loss),
    ],
)
@pytest.mark.parametrize("columns", [1, K])
def test_of_answers(name, function, columns):
    outputs, answers = OUTPUTS[:, :columns], ANSWERS[:, :columns]
    p = expit(outputs.astype("float64"))
    expected = np.mean([function(answers[:, k], p[:, k]) for k in range(columns)])
    found = value(name, "binary_cross_entropy", outputs, answers)
    assert found == pytest.approx(expected, rel=1e-12)
    softened = np.where(answers, 0.7, 0.4)
    assert value(name, "binary_cross_entropy", outputs, softened) == found


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("r2", theirs.r2_score),
        ("mean_absolute_error", theirs.mean_absolute_error),
        ("mean_squared_error", theirs.mean_squared_error),
    ],
)
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "poisson"])
def test_of_values(name, function, loss):
    predictions = OUTPUTS.astype("float64")
    if loss == "poisson":
        predictions = np.exp(predictions)
    expected = function(VALUES.astype("float64"), predictions)
    rel = 1e-6 if name == "r2" else 1e-12  # ours takes the outputs in float32, as they are
    assert value(name, loss, OUTPUTS, VALUES) == pytest.approx(expected, rel=rel)


def test_targets_of_one_output_may_be_a_vector():
    assert value("mean_absolute_error", "huber", [[1.0], [5.0]], [2.0, 5.0]) == 0.5
    assert value("auc", "binary_cross_entropy", [[1.0], [5.0]], [0, 1]) == 1.0


def test_probabilities_at_the_ends_are_no_harm():
    assert value("log_loss", "cross_entropy", [[3e4, 0.0, 0.0]] * 3, [0, 1, 2]) == 2e4
    assert value("log_loss", "binary_cross_entropy", [[100.0], [-100.0]], [0, 1]) == 100.0
    assert value("auc", "cross_entropy", np.eye(3) * 1e30, [0, 1, 2]) == 1.0
    assert value("auc", "binary_cross_entropy", [[40.0], [50.0]], [0, 1]) == 1.0


def test_classes_that_are_missing():
    outputs = np.eye(3, dtype="float32")[[0, 1, 1, 2]]
    assert value("balanced_accuracy", "cross_entropy", outputs, [0, 1, 1, 1]) == (1 + 2 / 3) / 2
    assert math.isnan(value("auc", "cross_entropy", outputs, [0, 1, 1, 1]))
    assert math.isnan(value("auc", "binary_cross_entropy", outputs[:, :1], [1, 1, 1, 1]))
    assert math.isfinite(value("log_loss", "cross_entropy", outputs, [0, 1, 1, 1]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_not_finite_have_no_metric_and_end_no_run(bad):
    outputs = OUTPUTS.copy()
    outputs[3, 1] = bad
    names = ["balanced_accuracy", "top_2_accuracy", "auc", "log_loss"]
    assert np.isnan(list(metrics.evaluate(names, "cross_entropy", outputs, LABELS).values())).all()
    assert math.isnan(value("mean_absolute_error", "huber", outputs, VALUES))
    assert math.isnan(value("mean_squared_error", "poisson", OUTPUTS + 1e3, VALUES))
    assert value("mean_squared_error", "huber", OUTPUTS + np.float64(1e200), VALUES) == math.inf


@pytest.mark.parametrize(
    ("names", "loss", "error", "message"),
    [
        ("auc", "cross_entropy", TypeError, "metrics must be a list of names, found 'auc'"),
        (3, "cross_entropy", TypeError, "metrics must be a list of names, found 3"),
        ([3], "cross_entropy", TypeError, "metric must be a name"),
        (["auk"], "cross_entropy", ValueError, "unknown metric 'auk': did you mean 'auc'"),
        (["r2"], "cross_entropy", ValueError, "r2 is no metric of a network with loss 'cross_en"),
        (["auc"], "huber", ValueError, "expected some of r2, mean_absolute_error, mean_squared"),
        (["top_2_accuracy"], "binary_cross_entropy", ValueError, "for loss 'cross_entropy', found"),
        (["top_4_accuracy"], "cross_entropy", ValueError, r"K in top_4_.* integer in \[2, 4\)"),
        (["top_1_accuracy"], "cross_entropy", ValueError, r"K in top_1_.* integer in \[2, 4\)"),
        (["top_x_accuracy"], "cross_entropy", ValueError, "unknown metric 'top_x_accuracy'"),
        (["top_K_accuracy"], "cross_entropy", ValueError, "give a number for K"),
    ],
)
def test_what_does_not_fit_is_refused(names, loss, error, message):
    with pytest.raises(error, match=message):
        metrics.check(names, loss, K)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0, K], rf"y\[1\] is {K}, expected labels in \[0, {K}\)"),
        ([0, -1], r"y\[1\] is -1, expected labels"),
        ([0], "one entry for each of the 2 examples"),
        (np.zeros((2, 3)), r"y must have shape labels \(2,\) or probabilities \(2, 4\)"),
    ],
)
def test_targets_that_do_not_fit_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(["log_loss"], "cross_entropy", OUTPUTS[:2], y)


def test_without_scikit_learn_our_own_remain(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        metrics, "find_spec", lambda name: None if name == "sklearn" else find_spec(name)
    )
    for module in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert 0 < value("accuracy", "cross_entropy", OUTPUTS, LABELS) < 1
    assert value("r2", "huber", OUTPUTS, VALUES) < 1
    assert value("mean_absolute_error", "huber", OUTPUTS, OUTPUTS) == 0
    assert value("log_loss", "cross_entropy", [[0.0, 0.0]], [1]) == math.log(2)
    with pytest.raises(ImportError, match=r"auc is scikit-learn's: pip install 'fastbatch\[sk"):
        metrics.check(["auc"], "cross_entropy", K)


def test_fit_takes_them_of_the_validation_data(classifier, classes):
    X, y = classes
    names = ["accuracy", "auc", "top_2_accuracy"]
    trainer = fb.Trainer(classifier)
    history = trainer.fit(X[:60], y[:60], epochs=2, validation=(X[60:], y[60:]), metrics=names)
    last = history[-1]
    expected = metrics.evaluate(names, "cross_entropy", trainer.predict(X[60:]), y[60:])
    assert last.metrics == expected and last.metrics["accuracy"] == last.validation_metric
    assert history[0].metrics.keys() == set(names)
    assert trainer.fit(X, y, validation=classes)[0].metrics is None


def test_fit_wants_validation_data_for_them(classifier, classes):
    trainer = fb.Trainer(classifier)
    with pytest.raises(ValueError, match=r"give fit validation=\(X, y\)"):
        trainer.fit(*classes, metrics=["auc"])
    with pytest.raises(ValueError, match="unknown metric 'acc'"):
        trainer.fit(*classes, validation=classes, metrics=["acc"])
    assert trainer.step == 0


def test_a_checkpoint_keeps_them(classifier, classes, tmp_path):
    trainer = fb.Trainer(classifier)
    trainer.fit(*classes, validation=classes, metrics=["auc", "log_loss"])
    trainer.fit(*classes)
    trainer.save(tmp_path / "run")
    assert fb.Trainer.load(tmp_path / "run").history == trainer.history


def test_a_checkpoint_from_before_there_were_metrics_loads(
    classifier, classes, tmp_path, monkeypatch
):
    from fastbatch.trainer import saving as module

    trainer = fb.Trainer(classifier)
    trainer.fit(*classes)
    with monkeypatch.context() as patch:
        known = module.fields(EpochRecord)
        patch.setattr(module, "fields", lambda kind: [f for f in known if f.name != "metrics"])
        trainer.save(tmp_path / "run")
    assert b"metrics" not in (tmp_path / "run").read_bytes()
    assert fb.Trainer.load(tmp_path / "run").history == trainer.history
