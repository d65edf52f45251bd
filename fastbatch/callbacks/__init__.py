"""Callbacks: what `fit` calls after each epoch, and in between.

A callback is called with the trainer and the `EpochRecord` after each epoch; a true answer ends
fit. It may have two methods more, which a function has not:

- ``before_steps(trainer)`` is called before the first step of each fit: the place to find out
  whether a file can be written.
- ``between_steps(trainer)`` is called between two steps: at the start of an epoch and, within one
  that is longer, about every 10 ms. A true answer ends fit there; the next fit goes on with the
  epoch, to the same bits as if nothing had been.
"""

from fastbatch.callbacks.callback import Callback, Callbacks
from fastbatch.callbacks.checkpoints import Checkpoint
from fastbatch.callbacks.early_stopping import EarlyStopping
from fastbatch.callbacks.logs import CSVLog, JSONLinesLog, read_log
from fastbatch.callbacks.tensorboard import TensorBoardLog
from fastbatch.callbacks.time_limit import TimeLimit

__all__ = [
    "CSVLog",
    "Callback",
    "Callbacks",
    "Checkpoint",
    "EarlyStopping",
    "JSONLinesLog",
    "TensorBoardLog",
    "TimeLimit",
    "read_log",
]
