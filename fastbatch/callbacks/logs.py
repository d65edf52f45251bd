"""Logs of a run as text files: one line for each epoch, on the disk as soon as it is over."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastbatch.history import EpochRecord, checked

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer

Row = dict[str, Any]

_NORMS = [f"gradient_norm_{what}" for what in ("min", "quartile_1", "median", "quartile_3", "max")]
_NESTED = ("gradient_norms", "metrics")
_PLAIN = [field.name for field in fields(EpochRecord) if field.name not in _NESTED]


def as_row(record: EpochRecord) -> Row:
    """A record as columns: its fields, quantiles of norms and metrics each in one of its own."""
    row = {name: getattr(record, name) for name in _PLAIN}
    if record.gradient_norms is not None:
        row |= zip(_NORMS, record.gradient_norms, strict=True)
    return row | (record.metrics or {})


def as_record(row: Row) -> EpochRecord:
    """The way back from `as_row`."""
    plain = {name: row[name] for name in _PLAIN}
    norms = tuple(row[name] for name in _NORMS) if _NORMS[0] in row else None
    metrics = {name: row[name] for name in row if name not in (*_PLAIN, *_NORMS)}
    return EpochRecord(**plain, gradient_norms=norms, metrics=metrics or None)


class _Log:
    """Appends a line for each epoch; opened for each line anew, since nobody says which is last."""

    _beginning: ClassVar[bytes]  # of each such file

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def before_steps(self, trainer: "Trainer") -> None:
        """Find out whether the file can be written, and drop a line that was cut off in it."""
        with self.path.open("a+b") as file:
            file.seek(0)
            content = file.read()
            if not content.startswith(self._beginning[: len(content)]):
                raise ValueError(
                    f"{self.path} is not a log that {type(self).__name__} has written: "
                    "give another path"
                )
            file.truncate(content.rfind(b"\n") + 1)


class CSVLog(_Log):
    """Append each epoch to a CSV file.

    What is there stays: a run that goes on after it was killed appends to its log, and may have
    some epochs in it twice, if its checkpoint is older. All digits of a number are written.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError
        Before the first step, if the file cannot be written.
    ValueError
        Then, if it is no such log; after an epoch, if that has other columns than the file.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(f"{folder}/run.csv")
    ...     _ = Trainer(net).fit([[1.0]], [1.0], callbacks=[log])
    ...     print(log.path.read_text()[:42])
    epoch,step,loss,validation_loss,validation
    """

    _beginning = b"epoch,step,loss,"

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Write down a finished epoch."""
        row = as_row(record)
        header = _csv_line(row)
        with self.path.open("a+", encoding="utf-8", newline="") as file:
            file.seek(0)
            found = file.readline()
            if found and found != header:
                raise ValueError(
                    f"{self.path} has the columns {found.strip()}, but this run has "
                    f"{header.strip()}: give another path"
                )
            file.write(("" if found else header) + _csv_line(row.values()))


class JSONLinesLog(_Log):
    """Append each epoch to a file of JSON objects, one a line.

    As `CSVLog`; but epochs may differ in what is known of them. JSON has no NaN and no infinities,
    so these are strings: ``"nan"``, ``"inf"``.

    Parameters
    ----------
    path : str or path

    Raises
    ------
    OSError, ValueError
        Before the first step, if the file cannot be written or is no such log.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = JSONLinesLog(f"{folder}/run.jsonl")
    ...     _ = Trainer(net, theta=[0, 0]).fit([[1.0]], [2.0], callbacks=[log])
    ...     print(log.path.read_text()[:47])
    {"epoch": 1, "step": 1, "loss": 4.0, "validatio
    """

    _beginning = b'{"epoch": '

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Write down a finished epoch."""
        row = {
            name: repr(value) if isinstance(value, float) and not isfinite(value) else value
            for name, value in as_row(record).items()
        }
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(json.dumps(row) + "\n")


def read_log(path: str | Path) -> list[EpochRecord]:
    """Read what `CSVLog` or `JSONLinesLog` has written.

    Of an epoch that is there more than once, and of those that followed it, what was written last
    counts. A line that was cut off at the end is left out.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    list of EpochRecord

    Raises
    ------
    ValueError
        If it is no such log.
    OSError
        If it cannot be opened.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = CSVLog(f"{folder}/run.csv")
    ...     history = Trainer(net).fit([[1.0]], [1.0], epochs=2, callbacks=[log])
    ...     read_log(log.path) == history
    True
    """
    history: list[EpochRecord] = []
    try:
        text = Path(path).read_text(encoding="utf-8")
        text = text[: text.rfind("\n") + 1]
        if text.startswith("{"):
            rows = [json.loads(line) for line in text.splitlines()]
        else:
            rows = list(csv.DictReader(io.StringIO(text), strict=True))
        for row in rows:
            record = checked(as_record({name: _value(name, row[name]) for name in row}))
            while history and history[-1].epoch >= record.epoch:
                history.pop()
            history.append(record)
    except (AttributeError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a log that CSVLog or JSONLinesLog has written") from error
    return history


def _value(name: str, entry: Any) -> Any:
    """What an entry of a file stands for: in CSV all are text, in JSON what is not finite."""
    if not isinstance(entry, str):
        return entry
    kind: Callable[[str], Any] = {"metric_name": str, "epoch": int, "step": int}.get(name, float)
    return kind(entry) if entry else None


def _csv_line(entries: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(entries)
    return text.getvalue()
