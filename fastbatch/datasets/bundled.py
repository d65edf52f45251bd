"""The data sets that scikit-learn bundles: nothing is ever downloaded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BUNDLED = ("digits", "iris", "wine", "breast_cancer", "diabetes")

Array = NDArray[Any]


def load(name: str) -> tuple[tuple[str, ...], Array, Array, tuple[str, ...] | None]:
    """Names of the features, X, y and classes."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ImportError(
            f"the data set {name!r} comes with scikit-learn: pip install 'fastbatch[demo]'"
        ) from None
    bunch = getattr(datasets, f"load_{name}")()
    features = tuple(map(str, bunch.feature_names))
    X = bunch.data.astype(np.float64)
    if name == "diabetes":
        return features, X, bunch.target.astype(np.float64), None
    return features, X, bunch.target.astype(np.int64), tuple(map(str, bunch.target_names))
