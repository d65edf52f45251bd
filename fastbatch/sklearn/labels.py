"""Class labels of any kind as targets of a network, and its outputs as labels."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

Array = NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """The classes of a problem, in order.

    Two classes are one logit, above 0 for the second; more are as many; and where an example may
    be in several of K classes, K logits, each of a class against its absence.
    """

    classes: Array
    multilabel: bool = False

    @classmethod
    def of(cls, y: Any, classes: Array | None = None) -> Self:
        """The labels that occur in y, or those `classes` of which it has some."""
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "y has several columns of labels, expected one, or columns of 0 and 1: "
                "fit one classifier for each column (sklearn.multioutput.MultiOutputClassifier)"
            )
        return cls(unique_labels(y) if classes is None else classes, kind.startswith("multilabel"))

    @property
    def outputs(self) -> int:
        """Number of logits."""
        return len(self.classes) if self.multilabel or len(self.classes) > 2 else 1

    @property
    def is_softmax(self) -> bool:
        """Whether the logits exclude each other."""
        return self.outputs > 1 and not self.multilabel

    def targets(self, y: Array) -> Array:
        """Numbers of classes (N,), or for logits that are apart, bools (N, K)."""
        if self.multilabel:
            if y.ndim != 2 or y.shape[1] != self.outputs:
                raise ValueError(
                    f"y must have {self.outputs} columns of 0 and 1, one for each class, "
                    f"found shape {y.shape}"
                )
            return y.astype(bool)
        numbers = np.searchsorted(self.classes, y)
        return numbers if self.is_softmax else numbers.reshape(-1, 1).astype(bool)

    def decide(self, outputs: Array) -> Array:
        """What the targets most probably are."""
        return outputs.argmax(axis=1) if self.is_softmax else outputs > 0

    def named(self, targets: Array) -> Array:
        """The way back from `targets`."""
        if self.multilabel:
            return targets.astype(int)
        numbers = targets.reshape(-1).astype(np.intp)
        return self.classes[np.minimum(numbers, len(self.classes) - 1)]  # there may be only one
