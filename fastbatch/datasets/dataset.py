"""Examples with their targets, and the part of them that is held out."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.backends import load

Array = NDArray[Any]

# The shuffle that splits off validation data belongs to an epoch that no training reaches.
_SPLIT = 2**32 - 1


@dataclass(frozen=True)
class Dataset:
    """Examples as they stand in the source.

    Attributes
    ----------
    X : ndarray, shape (N, features)
        float64, or object where columns of text are among them; NaN and "" stand in gaps.
    y : ndarray, shape (N,)
        int64 indices into `classes`, or float64 values.
    features : tuple of str
        The names of the columns of X.
    classes : tuple of str, or None
        None for regression.
    texts : tuple of str
        Which features are text.
    pixels : bool
        Whether the features are all of one kind, so that their scales may be compared.
    weights : ndarray, shape (N,), optional
        What each example counts in training.
    """

    X: Array
    y: Array
    features: tuple[str, ...]
    classes: tuple[str, ...] | None
    texts: tuple[str, ...] = ()
    pixels: bool = False
    weights: Array | None = None

    def digest(self) -> str:
        """A hash by which these examples are known again.

        Examples
        --------
        >>> data = Dataset(np.ones((2, 1)), np.array([0.0, 1.0]), ("size",), None)
        >>> data.digest() == replace(data, y=np.array([0.0, 2.0])).digest()
        False
        """
        digest = hashlib.sha256(repr((self.X.shape, self.features, self.classes)).encode())
        for name, column in zip(self.features, self.X.T, strict=True):
            if name in self.texts:
                digest.update(repr(column.tolist()).encode())
            else:
                digest.update(column.astype(np.float64).tobytes())
        digest.update(self.y.tobytes())
        if self.weights is not None:
            digest.update(self.weights.tobytes())
        return digest.hexdigest()

    def part(self, rows: Array) -> "Dataset":
        """Only these examples."""
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, X=self.X[rows], y=self.y[rows], weights=weights)


def count_held_out(count: int, share: float) -> int:
    """How many examples of so many a share is; it must leave some, and not all."""
    held_out = round(share * count)
    if not 0 < held_out < count:
        raise ValueError(
            f"a validation share of {share:g} of {count} examples leaves one part empty: "
            "expected a share between 0 and 1, and more examples"
        )
    return held_out


def split(data: Dataset, share: float, seed: int, backend: str = "cpu") -> tuple[Dataset, Dataset]:
    """Split off a random `share` of the examples for validation.

    The same data, seed and share give the same parts on every machine.

    Returns
    -------
    training, validation : Dataset

    Raises
    ------
    ValueError
        If one of the parts would be empty.

    Examples
    --------
    >>> from fastbatch.datasets import read
    >>> training, validation = split(read("iris"), 0.2, seed=0, backend="reference")
    >>> len(training.y), len(validation.y)
    (120, 30)
    """
    count = len(data.y)
    held_out = count_held_out(count, share)
    order = load(backend).permutation(count, seed, _SPLIT)
    return data.part(order[held_out:]), data.part(order[:held_out])
