"""The number of an epoch by which a callback tells better epochs from worse ones."""

from fastbatch import metrics
from fastbatch.history import EpochRecord

_SIGNS = {"loss": 1.0, "validation_loss": 1.0, "validation_metric": -1.0}  # what is minimised


class Monitored:
    """A number of an `EpochRecord`, turned so that less is better.

    Parameters
    ----------
    name : str
        ``"loss"``, ``"validation_loss"``, ``"validation_metric"``, or a metric that fit takes.

    Examples
    --------
    >>> record = EpochRecord(1, 9, 0.5, 0.7, 0.9, "accuracy", 1.0, 10.0)
    >>> Monitored("loss").of(record), Monitored("validation_metric").of(record)
    (0.5, -0.9)
    """

    def __init__(self, name: str) -> None:
        sign = _SIGNS.get(name) if isinstance(name, str) else None
        if sign is None:
            sign = -1.0 if metrics.find("monitor", name, _SIGNS).rises else 1.0
        self._name, self._sign = name, sign

    def of(self, record: EpochRecord) -> float | None:
        """Its value at this epoch, None if there is none."""
        if self._name in _SIGNS:
            value = getattr(record, self._name)
        else:
            value = (record.metrics or {}).get(self._name)
        return None if value is None else self._sign * value

    def expected(self, record: EpochRecord, watcher: str) -> float:
        """Its value at this epoch.

        Raises
        ------
        ValueError
            If there is none, which the cure is named for.
        """
        value = self.of(record)
        if value is not None:
            return value
        if self._name in _SIGNS:
            raise ValueError(
                f"{watcher} watches {self._name}, but there is no validation data: "
                "give fit validation=(X, y), or watch monitor='loss'"
            )
        raise ValueError(
            f"{watcher} watches {self._name}, which fit does not take: "
            f"give fit validation=(X, y) and metrics=[{self._name!r}]"
        )
