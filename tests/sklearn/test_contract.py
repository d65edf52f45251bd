"""scikit-learn's contract of an estimator, and the tools that rest on it."""

import pickle
import subprocess
import sys

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastbatch.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def checks():
    """All of scikit-learn's checks, of which none is expected to fail."""
    for estimator in MLPClassifier(max_iter=100), MLPRegressor(max_iter=100):
        for _, check in estimator_checks_generator(estimator):
            name = f"{type(estimator).__name__}-{check.func.__name__}"
            yield pytest.param(estimator, check, id=name)


@pytest.mark.parametrize(("estimator", "check"), list(checks()))
def test_scikit_learns_check(estimator, check):
    check(estimator)


X = np.random.default_rng(5).normal(size=(120, 4)) * [1, 5, 20, 0.2]
Y = np.where(X[:, 0] + X[:, 1] / 5 > 0, "yes", "no")


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_pickled_estimators_predict_the_same_and_go_on_the_same(solver):
    estimator = MLPClassifier(8, solver=solver, max_iter=5, random_state=0).fit(X, Y)
    copy = pickle.loads(pickle.dumps(estimator))
    np.testing.assert_array_equal(copy.predict_proba(X), estimator.predict_proba(X))
    if solver != "lbfgs":
        copy.partial_fit(X, Y)
        estimator.partial_fit(X, Y)
        np.testing.assert_array_equal(copy.predict_proba(X), estimator.predict_proba(X))


def test_clones_have_the_parameters_and_nothing_else():
    options = {"max_iter": 5, "monitor": ["losses"], "callbacks": [lambda trainer, record: False]}
    estimator = MLPClassifier(8, "gelu", **options).fit(X, Y)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "coefs_") and not hasattr(copy, "example_losses_")


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_grid_search_by_two_workers_finds_what_one_finds(backend):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(4, max_iter=20, random_state=0)),
        {"mlpclassifier__alpha": [1e-4, 10.0], "mlpclassifier__solver": ["adam", "lbfgs"]},
        cv=2,
    )
    alone = clone(search).fit(X, Y)
    with joblib.parallel_backend(backend, n_jobs=2):
        together = clone(search).fit(X, Y)
    for name in "mean_test_score", "std_test_score":
        np.testing.assert_array_equal(together.cv_results_[name], alone.cv_results_[name])
    assert together.best_params_ == alone.best_params_


def test_probabilities_can_be_calibrated():
    calibrated = CalibratedClassifierCV(MLPClassifier(4, solver="lbfgs", random_state=0), cv=2)
    calibrated.fit(StandardScaler().fit_transform(X), Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)


def test_features_that_matter_have_importance():
    estimator = make_pipeline(StandardScaler(), MLPClassifier(solver="lbfgs", random_state=0))
    importance = permutation_importance(estimator.fit(X, Y), X, Y, n_repeats=3, random_state=0)
    assert importance.importances_mean[:2].min() > 0.1 > importance.importances_mean[2:].max()


def test_weights_are_routed():
    weights = np.where(Y == "yes", 1.0, 0.0)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = MLPClassifier(4, solver="lbfgs", random_state=0, max_iter=50)
        estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        search = GridSearchCV(estimator, {"alpha": [1.0]}, cv=2)
        search.fit(X, Y, sample_weight=weights)
    assert set(search.predict(X)) == {"yes"}


@pytest.mark.parametrize(
    "missing",
    [
        "import sys; sys.modules['sklearn'] = None",
        "from sklearn.utils import validation; del validation.validate_data",  # as before 1.6
    ],
)
def test_the_missing_extra_is_named(missing):
    code = (
        f"{missing}\n"
        "try: import fastbatch.sklearn\n"
        "except ImportError as error: assert 'fastbatch[sklearn]' in str(error)\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
