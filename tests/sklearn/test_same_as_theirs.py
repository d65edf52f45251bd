"""From the same `random_state`, the estimators do what scikit-learn's own do."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor

from fastbatch.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# Some 60 steps in float64 amplify the rounding of one.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}
# Of adam, whose epsilon is another by a little, while it matters.
NO_EPSILON = {"solver": "adam", "epsilon": 1e-200}


def problem(kind):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(150, 6))
    z = np.tanh(X @ rng.normal(size=(6, 3))) + 0.1 * rng.normal(size=(150, 3))
    targets = {
        "binary": z[:, 0] > 0,
        "classes": np.array(["b", "c", "a"])[z.argmax(axis=1)],
        "labels": (z > 0).astype(int),
        "numbers": z[:, 0],
        "vectors": z,
        "counts": rng.poisson(np.exp(z[:, 0])).astype(float),
    }
    return X, targets[kind]


def both(kind, sample_weight=None, **options):
    """The two estimators, fitted."""
    X, y = problem(kind)
    ours, theirs = MLPClassifier, TheirClassifier
    if y.dtype.kind == "f":
        ours, theirs = MLPRegressor, TheirRegressor
        options["loss"] = "poisson" if kind == "counts" else "squared_error"
    options = {"hidden_layer_sizes": (9, 5), "batch_size": 40, "random_state": 1, **options}
    return [kind(**options).fit(X, y, sample_weight) for kind in (ours, theirs)]


def assert_same_parameters(ours, theirs, **tolerance):
    for name in "coefs_", "intercepts_":
        for own, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
            np.testing.assert_allclose(own, other, **tolerance)


@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "numbers", "vectors", "counts"])
@pytest.mark.parametrize("solver", [{"solver": "sgd"}, NO_EPSILON], ids=["sgd", "adam"])
def test_parameters_and_losses_go_the_same_way(kind, solver):
    ours, theirs = both(kind, max_iter=15, alpha=0.0, **solver)
    assert_same_parameters(ours, theirs, **CLOSE)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, **CLOSE)
    for name in "n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_":
        assert getattr(ours, name) == getattr(theirs, name), name
    X, _ = problem(kind)
    assert ours.predict(X).dtype == theirs.predict(X).dtype
    assert ours.predict(X).shape == theirs.predict(X).shape


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"momentum": 0.0},
        {"nesterovs_momentum": False, "alpha": 0.3},
        {"learning_rate": "invscaling", "learning_rate_init": 0.2, "power_t": 0.25},
        {"learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2},
        {"activation": "logistic"},
        {"activation": "tanh", "early_stopping": True},
        {"activation": "identity", "batch_size": "auto", "hidden_layer_sizes": 4},
        {"learning_rate_init": 0.1, "early_stopping": True, "n_iter_no_change": 2, "max_iter": 99},
        {"tol": 0.05, "n_iter_no_change": 3, "max_iter": 99},
        {"hidden_layer_sizes": []},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["binary", "classes", "vectors", "counts"])
def test_every_option_of_sgd_means_the_same(kind, options):
    ours, theirs = both(kind, **{"solver": "sgd", "max_iter": 15, **options})
    assert_same_parameters(ours, theirs, **CLOSE)
    assert ours.n_iter_ == theirs.n_iter_
    assert ours._no_improvement_count == theirs._no_improvement_count
    if options.get("early_stopping"):
        np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, **CLOSE)
        assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_)
    # As if the penalty of an epoch changed evenly.
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=5e-5)


def test_a_rate_that_falls_to_nothing_stands_still_as_theirs():
    """In float32, with gradients of 1e9 and a rate that falls to 151**-20 of the first."""
    X, y = problem("numbers")
    options = {"hidden_layer_sizes": [], "solver": "sgd", "learning_rate": "invscaling"}
    ours, theirs = (
        kind(power_t=20.0, max_iter=3, random_state=1, **options).fit(np.float32(X), 1e9 * y)
        for kind in (MLPRegressor, TheirRegressor)
    )
    assert_same_parameters(ours, theirs, rtol=1e-4)


@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "numbers", "vectors", "counts"])
def test_weights_of_examples_mean_the_same(kind):
    weights = np.arange(150) % 4 + 0.5
    ours, theirs = both(kind, weights, solver="sgd", max_iter=5)
    assert_same_parameters(ours, theirs, **CLOSE)


@pytest.mark.parametrize("kind", ["binary", "classes", "labels", "numbers", "counts"])
def test_lbfgs_finds_the_same_minimum(kind):
    weights = np.arange(150) % 3 + 1.0
    options = {"hidden_layer_sizes": 3, "activation": "tanh", "alpha": 3.0, "tol": 1e-7}
    ours, theirs = both(kind, weights, solver="lbfgs", max_iter=3000, **options)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=1e-6)
    assert_same_parameters(ours, theirs, rtol=0, atol=0.01)


def test_lbfgs_ends_where_the_gradient_vanishes_for_several_outputs():
    """Where scikit-learn's loss is a third of what its gradient belongs to."""
    options = {"hidden_layer_sizes": 3, "activation": "tanh", "alpha": 3.0, "tol": 1e-7}
    ours, theirs = both("vectors", solver="lbfgs", max_iter=3000, **options)
    X, y = problem("vectors")
    residual = ((ours.predict(X) - y) ** 2).sum() / 2
    penalty = 1.5 * sum((weight**2).sum() for weight in ours.coefs_)
    assert ours.loss_ == pytest.approx((residual / 3 + penalty) / 150, rel=1e-12)
    found = ((theirs.predict(X) - y) ** 2).sum() / 2
    found += 1.5 * sum((weight**2).sum() for weight in theirs.coefs_)
    assert residual + penalty <= found * (1 + 1e-6)


@pytest.mark.parametrize("kind", ["binary", "counts"])
def test_verbose_prints_the_same_lines(kind, capsys):
    said = []
    options = {"solver": "sgd", "alpha": 0.0, "tol": 0.1, "n_iter_no_change": 2, "verbose": True}
    X, y = problem(kind)
    pair = (MLPClassifier, TheirClassifier)
    if kind == "counts":
        pair = (MLPRegressor, TheirRegressor)
        options["learning_rate"] = "adaptive"
    for estimator in pair:
        estimator(random_state=1, max_iter=20, **options).fit(X, y)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "did not improve more than tol=0.1" in said[0]


@pytest.mark.parametrize("options", [{"solver": "sgd"}, NO_EPSILON], ids=["sgd", "adam"])
def test_partial_fit_goes_on_as_theirs_does(options):
    X, y = problem("classes")
    ours, theirs = (
        MLPClassifier(random_state=2, **options),
        TheirClassifier(random_state=2, **options),
    )
    for part in np.array_split(np.arange(150), [30, 100]):
        for estimator in ours, theirs:
            estimator.partial_fit(X[part], y[part], classes=["a", "b", "c"])
    assert_same_parameters(ours, theirs, **CLOSE)
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_) == (1, 150)


def test_a_warm_start_goes_on_as_theirs_does():
    X, y = problem("numbers")
    options = {"solver": "sgd", "max_iter": 4, "warm_start": True, "random_state": 2}
    ours, theirs = MLPRegressor(**options), TheirRegressor(**options)
    for _ in range(3):
        for estimator in ours, theirs:
            estimator.fit(X, y)
    assert_same_parameters(ours, theirs, **CLOSE)
    assert len(ours.loss_curve_) == len(theirs.loss_curve_) == 12
    assert (ours.n_iter_, ours.t_) == (theirs.n_iter_, theirs.t_)


def test_the_default_estimator_learns_as_well_as_theirs():
    """Adam as it is, to the noise of training."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    X = X / 16
    scores = [
        kind(random_state=0, max_iter=30).fit(X[::2], y[::2]).score(X[1::2], y[1::2])
        for kind in (MLPClassifier, TheirClassifier)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "adam"}, r"Maximum iterations \(2\) reached"),
        ({"solver": "lbfgs"}, r"lbfgs failed to converge after 2 iteration"),
    ],
)
def test_ending_too_early_warns_as_theirs(options, words):
    X, y = problem("binary")
    for kind in MLPClassifier, TheirClassifier:
        with pytest.warns(ConvergenceWarning, match=words):
            kind(max_iter=2, **options).fit(X, y)
