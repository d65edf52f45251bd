"""What the estimators offer beyond scikit-learn's, and where they end."""

import threading
import warnings
from collections import Counter

import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_array
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_sample_weight

import fastbatch as fb
from fastbatch.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SOLVERS = ("sgd", "adam", "lbfgs")


X = np.random.default_rng(0).normal(size=(200, 5))
LEVELS = np.array(["low", "middle", "high"])[np.digitize(X[:, 0], [-0.5, 1.0])]


def assert_same_bits(one, other):
    for name in "coefs_", "intercepts_":
        for a, b in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", SOLVERS)
def test_float32_stays_float32(solver):
    monitor = ["losses", "gradient_norms"]
    single = MLPClassifier(8, solver=solver, max_iter=30, monitor=monitor, random_state=0)
    single.fit(X.astype(np.float32), LEVELS)
    found = *single.coefs_, *single.intercepts_, single.example_losses_
    assert {part.dtype for part in (*found, single.example_gradient_norms_)} == {np.dtype("f4")}
    assert single.predict_proba(X).dtype == np.float32
    double = MLPClassifier(8, solver=solver, max_iter=30, random_state=0).fit(X, LEVELS)
    assert double.predict_proba(X).dtype == np.float64
    assert single.loss_ == pytest.approx(double.loss_, rel=0.01)


def test_lbfgs_converges_in_float32():
    """Where arithmetic ends before SciPy's own tolerance."""
    options = {"solver": "lbfgs", "alpha": 5.0, "activation": "tanh", "max_iter": 5000}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLPClassifier(4, **options, tol=0.0, random_state=0).fit(X.astype(np.float32), LEVELS)


@pytest.mark.parametrize("activation", ["gelu", "silu", "softplus", "elu", "leaky_relu", "sigmoid"])
def test_activations_are_those_of_the_library(activation):
    estimator = MLPClassifier(6, activation, max_iter=3, random_state=0).fit(X, LEVELS)
    (hidden, weight), (bias, last) = estimator.coefs_, estimator.intercepts_
    net = fb.Network([fb.Dense(6, activation), fb.Dense(3)], 5, "cross_entropy", "float64")
    theta = np.concatenate([hidden.ravel(), bias, weight.ravel(), last])
    logits = net.predict(theta, X)
    np.testing.assert_array_equal(estimator.predict(X), estimator.classes_[logits.argmax(axis=1)])


@pytest.mark.parametrize("solver", SOLVERS)
def test_class_weights_are_weights_of_examples(solver):
    options = {"hidden_layer_sizes": 5, "solver": solver, "max_iter": 8, "random_state": 0}
    weights = np.random.default_rng(1).uniform(size=200)
    for class_weight in "balanced", {"low": 3.0, "middle": 0.5, "high": 1.0}:
        by_class = MLPClassifier(class_weight=class_weight, **options).fit(X, LEVELS, weights)
        of_examples = compute_sample_weight(class_weight, LEVELS) * weights
        assert_same_bits(by_class, MLPClassifier(**options).fit(X, LEVELS, of_examples))


def test_balanced_weights_cannot_be_had_bit_by_bit():
    estimator = MLPClassifier(class_weight="balanced")
    with pytest.raises(ValueError, match="not supported for partial_fit"):
        estimator.partial_fit(X, LEVELS, classes=np.unique(LEVELS))


def test_any_number_of_threads_gives_the_same_bits():
    before = fb.get_threads()
    one, two = (
        MLPClassifier(40, n_threads=n, max_iter=5, random_state=0).fit(X, LEVELS) for n in (1, 2)
    )
    assert_same_bits(one, two)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    assert fb.get_threads() == before


def test_fits_that_overlap_leave_the_threads_that_there_were():
    before = fb.get_threads()
    both_train, seen = [threading.Event(), threading.Event()], []

    def wait_for_the_second(trainer, record):
        both_train[0].set()
        assert both_train[1].wait(60)

    def outlast_the_first(trainer, record):
        both_train[1].set()
        thread.join()
        seen.append(fb.get_threads())

    options = {"hidden_layer_sizes": 3, "max_iter": 1, "n_threads": 1}
    first = MLPClassifier(callbacks=[wait_for_the_second], **options)
    thread = threading.Thread(target=first.fit, args=(X, LEVELS))
    thread.start()
    assert both_train[0].wait(60)
    MLPClassifier(callbacks=[outlast_the_first], **options).fit(X, LEVELS)
    assert seen == [1]
    assert fb.get_threads() == before


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_dropout_depends_on_the_random_state_alone(solver):
    options = {"solver": solver, "max_iter": 3, "dropout": 0.5}
    one, two = (
        MLPClassifier(n_threads=n, random_state=0, **options).fit(X, LEVELS) for n in (1, 2)
    )
    assert_same_bits(one, two)
    np.testing.assert_array_equal(one.predict_proba(X), two.predict_proba(X))
    other = MLPClassifier(random_state=1, **options).fit(X, LEVELS)
    assert (one.coefs_[-1] != other.coefs_[-1]).all()


def test_what_is_dropped_is_scaled_up_for_the_others():
    """A single unit of value 1, kept with probability 1/4, comes out as 4 or 0."""
    X, y = np.zeros((1000, 1)), np.zeros(1000)
    estimator = MLPRegressor(
        hidden_layer_sizes=(1,), activation="identity", dropout=0.75, alpha=0.0, max_iter=1
    )
    estimator.set_params(warm_start=True, batch_size=1000, random_state=np.random.RandomState(0))
    losses = []
    for _ in range(3):
        estimator.fit(X, y)
        losses.append(estimator.loss_)
        estimator.coefs_ = [np.zeros((1, 1)), np.ones((1, 1))]
        estimator.intercepts_ = [np.ones(1), np.zeros(1)]
    # Half of 16 for a quarter of the examples: 2 on average, of standard deviation 0.11.
    np.testing.assert_allclose(losses[1:], 2.0, atol=5 * 0.11)
    assert losses[1] != losses[2]
    np.testing.assert_array_equal(estimator.predict(X), 1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dropout": 0.1}, "dropout needs steps that differ"),
        ({"callbacks": [print]}, "callbacks need epochs"),
    ],
)
def test_some_options_are_not_for_lbfgs(options, words):
    with pytest.raises(ValueError, match=words + ", found solver='lbfgs'"):
        MLPClassifier(solver="lbfgs", **options).fit(X, LEVELS)


def test_callbacks_see_the_trainer_and_may_end_training():
    seen = []

    def third(trainer, record):
        seen.append((type(trainer), record.epoch, record.validation_metric))
        return record.epoch == 3

    estimator = MLPClassifier(callbacks=[third], early_stopping=True, random_state=0).fit(X, LEVELS)
    assert estimator.n_iter_ == 3
    assert [(kind, epoch) for kind, epoch, _ in seen] == [(fb.Trainer, n) for n in (1, 2, 3)]
    assert [metric for *_, metric in seen] == pytest.approx(estimator.validation_scores_)


def test_a_fit_that_ends_before_its_first_epoch_has_no_loss():
    estimator = MLPClassifier(callbacks=[fb.callbacks.TimeLimit(0)]).fit(X, LEVELS)
    assert estimator.n_iter_ == 0
    assert np.isnan(estimator.loss_)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_losses_of_examples_make_up_the_loss(solver, loss):
    y = np.abs(X[:, :2])
    estimator = MLPRegressor(
        loss, 5, solver=solver, max_iter=9, monitor=["losses", "gradient_norms"], random_state=0
    ).fit(X, y)
    predictions = estimator.predict(X)
    if loss == "squared_error":
        losses = ((predictions - y) ** 2).mean(axis=1) / 2
    else:
        losses = (y * np.log(y / predictions) - y + predictions).sum(axis=1)
    np.testing.assert_allclose(estimator.example_losses_, losses, rtol=1e-9, atol=1e-12)
    expected = losses.mean()
    if solver == "lbfgs":
        penalty = estimator.alpha / 2 * sum((part**2).sum() for part in estimator.coefs_) / 200
        assert estimator.loss_ == pytest.approx(expected + penalty, rel=1e-9)


def test_gradient_norms_of_examples_are_those_of_what_is_minimised():
    """Of a linear network: the error times the length of (x, 1)."""
    y = X @ [1.0, 2.0, 3.0, 4.0, 5.0]
    estimator = MLPRegressor(hidden_layer_sizes=[], max_iter=3, monitor=["gradient_norms"])
    error = estimator.fit(X, y).predict(X) - y
    expected = np.abs(error) * np.sqrt((X**2).sum(axis=1) + 1.0)
    np.testing.assert_allclose(estimator.example_gradient_norms_, expected, rtol=1e-9)


def test_examples_are_looked_at_by_known_names_only():
    with pytest.raises(ValueError, match="did you mean 'losses'"):
        MLPClassifier(max_iter=1, monitor=["loss"]).fit(X, LEVELS)


def test_predictions_follow_assigned_parameters():
    estimator = MLPClassifier(5, max_iter=2, random_state=0).fit(X, LEVELS)
    estimator.coefs_[-1] = np.zeros((5, 3))
    estimator.intercepts_[-1] = np.array([0.0, 1.0, 0.0])
    assert set(estimator.predict(X)) == {estimator.classes_[1]}
    estimator.intercepts_[-1][2] = 2.0
    assert set(estimator.predict(X)) == {estimator.classes_[2]}


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("mode", ["constant", "invscaling"])
def test_epochs_one_by_one_are_epochs_together(solver, mode):
    options = {"solver": solver, "learning_rate": mode, "max_iter": 6, "batch_size": 30}
    options |= {"shuffle": False, "random_state": 4}
    together = MLPClassifier(5, **options).fit(X, LEVELS)
    apart = MLPClassifier(5, **options)
    for _ in range(6):
        apart.partial_fit(X, LEVELS, classes=np.unique(LEVELS))
    assert_same_bits(together, apart)
    assert apart.loss_curve_ == together.loss_curve_


def test_an_interrupted_fit_keeps_what_it_has():
    def interrupt(trainer, record):
        if record.epoch == 2:
            raise KeyboardInterrupt

    estimator = MLPClassifier(5, callbacks=[interrupt], random_state=0)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        estimator.fit(X, LEVELS)
    assert len(estimator.loss_curve_) == estimator.n_iter_ == 2
    assert_same_bits(estimator, MLPClassifier(5, max_iter=2, random_state=0).fit(X, LEVELS))
    estimator.set_params(callbacks=()).partial_fit(X[:7], LEVELS[:7])  # whatever the data are


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_divergence_is_an_error(solver):
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(solver=solver, learning_rate_init=1e3).fit(1e200 * X, X[:, 0])


def test_divergence_after_a_good_epoch_keeps_the_best():
    estimator = MLPRegressor(
        "squared_error",
        (5,),
        "identity",
        solver="sgd",
        learning_rate_init=0.6,
        early_stopping=True,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match="is not finite"):
        estimator.fit(X, X[:, 0])
    assert np.isnan(estimator.loss_curve_[-1])
    assert estimator.n_iter_ == len(estimator.loss_curve_) == len(estimator.validation_scores_)
    assert np.isfinite(estimator.predict(X)).all()


def test_a_single_class_is_all_there_is_to_predict():
    estimator = MLPClassifier(3, max_iter=2).fit(X, ["only"] * 200)
    assert set(estimator.predict(X)) == {"only"}
    assert estimator.predict_proba(X).shape == (200, 1)


def test_logarithms_of_probabilities_are_finite_where_probabilities_vanish():
    estimator = MLPClassifier(3, max_iter=2, random_state=0).fit(X, X[:, 0] > 0)
    estimator.coefs_[-1] *= 1e6
    assert (estimator.predict_proba(X) == 0.0).any()
    assert np.isfinite(estimator.predict_log_proba(X)).all()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.linspace(0, 1, 200), "Unknown label type: continuous"),
        (np.arange(400).reshape(200, 2) % 5, "one classifier for each column"),
    ],
)
def test_what_are_no_labels_is_refused(y, words):
    with pytest.raises(ValueError, match=words):
        MLPClassifier().fit(X, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_negative_counts_are_refused(solver):
    with pytest.raises(ValueError, match=r"expected targets in \[0, inf\]"):
        MLPRegressor("poisson", solver=solver).fit(X, X[:, 0])


def test_a_fit_that_is_refused_leaves_the_classes_that_there_were():
    estimator = MLPClassifier(3, max_iter=1).fit(X, LEVELS)
    with pytest.raises(ValueError, match="expected no negative weights"):
        estimator.fit(X, X[:, 0] > 0, -np.ones(200))
    assert set(estimator.predict(X)) <= set(estimator.classes_) == set(LEVELS)


def test_both_parts_of_the_examples_need_weight():
    """Of 200 examples 20 are set aside; here one alone has weight."""
    said = Counter()
    for weights in np.eye(200):
        with pytest.raises(ValueError, match="sample_weight is 0 for all") as error:
            MLPRegressor(early_stopping=True, random_state=0).fit(X, X[:, 0], weights)
        said["trained on" in str(error.value)] += 1
    assert said == {True: 20, False: 180}


def test_columns_of_labels_must_stay_as_many():
    estimator = MLPClassifier(3)
    estimator.partial_fit(X, X[:, :3] > 0, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="must have 3 columns"):
        estimator.partial_fit(X, X[:, :2] > 0)


@pytest.mark.parametrize("early_stopping", [True, False])
def test_options_may_change_between_warm_starts(early_stopping):
    estimator = MLPClassifier(
        3, solver="lbfgs", max_iter=2, warm_start=True, early_stopping=early_stopping
    ).fit(X, LEVELS)
    estimator.set_params(solver="adam").fit(X, LEVELS)
    estimator.set_params(early_stopping=not early_stopping).fit(X, LEVELS)
    assert len(estimator.loss_curve_) == 2


def test_sparse_examples_are_as_good_as_dense():
    thin = np.where(np.abs(X) < 0.8, 0.0, X)
    for solver in SOLVERS:
        options = {"solver": solver, "max_iter": 5, "random_state": 0}
        options["early_stopping"] = solver != "lbfgs"
        dense = MLPClassifier(5, **options).fit(thin, LEVELS)
        for container in csr_array, csc_matrix:
            sparse = MLPClassifier(5, **options).fit(container(thin), LEVELS)
            assert_same_bits(dense, sparse)
            np.testing.assert_array_equal(
                dense.predict_proba(thin), sparse.predict_proba(container(thin))
            )
