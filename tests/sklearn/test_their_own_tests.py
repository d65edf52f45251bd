"""scikit-learn's own tests of its perceptrons, with one import line changed, as users change it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

LEFT_OUT = {
    "test_gradient",  # of a private method
    "test_predict_proba_multilabel",  # our logarithms tell apart what is rounded to probability 1
}
IMPORT = re.compile(r"^from sklearn\.neural_network import (MLPClassifier, MLPRegressor)$", re.M)


def their_tests():
    where = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp").origin
    source, count = IMPORT.subn(r"from fastbatch.sklearn import \1", Path(where).read_text())
    assert count == 1
    module = ModuleType("test_mlp_of_fastbatch")
    exec(compile(source, where, "exec"), vars(module))
    return module


for name, member in vars(their_tests()).items():
    if name.startswith("test_") and name not in LEFT_OUT:
        globals()[name] = member

pytestmark = [  # they expect some, and do not mind others
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


@pytest.fixture
def global_random_seed():
    return 42
