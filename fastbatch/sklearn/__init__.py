"""scikit-learn's multi-layer perceptrons, trained by fastbatch: change one import line."""

try:
    from fastbatch.sklearn.classifier import MLPClassifier
    from fastbatch.sklearn.regressor import MLPRegressor
except ImportError as error:
    raise ImportError(
        "fastbatch.sklearn needs scikit-learn 1.7 or later: install fastbatch with its extra, "
        "pip install 'fastbatch[sklearn]'"
    ) from error

__all__ = ["MLPClassifier", "MLPRegressor"]
