"""scikit-learn's multi-layer perceptrons, trained by fastbatch: change one import line."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastbatch.sklearn needs scikit-learn: install fastbatch with its extra, "
        "pip install 'fastbatch[sklearn]'"
    ) from error

from fastbatch.sklearn.classifier import MLPClassifier
from fastbatch.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
