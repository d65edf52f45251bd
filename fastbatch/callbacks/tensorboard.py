"""A log that TensorBoard shows."""

import secrets
import time
import weakref
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastbatch.callbacks.logs import as_row
from fastbatch.history import EpochRecord

if TYPE_CHECKING:
    from fastbatch.trainer import Trainer

# It waits for the disk, some 3 ms, and TensorBoard looks every few seconds.
FLUSH_SECONDS = 1.0


class TensorBoardLog:
    """Write the numbers of each epoch as scalars for TensorBoard, with the epoch as the step.

    Each such log is one file of events, brought up to date about every second and when the log is
    let go of; the folder is one run. A run that goes on there hides the epochs that it does again.

    Parameters
    ----------
    folder : str or path
        Is made if it is not there.

    Raises
    ------
    ImportError
        If tensorboardX is not installed (extra ``tensorboard``).

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = TensorBoardLog(folder)
    ...     _ = Trainer(net).fit([[1.0]], [1.0], callbacks=[log])
    ...     [path.name[:19] for path in log.folder.iterdir()]
    ['events.out.tfevents']
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto import event_pb2
        except ImportError as error:
            raise ImportError(
                "TensorBoardLog needs tensorboardX: pip install 'fastbatch[tensorboard]'"
            ) from error
        # Not its SummaryWriter, which has a thread that nobody would ever end.
        self._new_file, self._event = EventsWriter, event_pb2.Event
        self.folder = Path(folder)
        self._file: Any = None
        self._flushed = -inf

    def before_steps(self, trainer: "Trainer") -> None:
        """Open the file, and say from which epoch on earlier ones no longer hold."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Without a suffix, two files of one second would be one.
            suffix = f".{secrets.token_hex(4)}"
            self._file = self._new_file(str(self.folder / "events"), suffix)
            weakref.finalize(self, self._file.close)
        self._write(trainer.epoch + 1, session_log={"status": "START"})

    def __call__(self, trainer: "Trainer", record: EpochRecord) -> None:
        """Write down a finished epoch."""
        row = as_row(record)
        row[f"validation_{row.pop('metric_name')}"] = row.pop("validation_metric")
        del row["epoch"], row["step"]
        values = [{"tag": tag, "simple_value": v} for tag, v in row.items() if v is not None]
        self._write(record.epoch, summary={"value": values})

    def _write(self, epoch: int, **what: Any) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=epoch, **what))
        if time.perf_counter() - self._flushed >= FLUSH_SECONDS:
            self._file.flush()
            self._flushed = time.perf_counter()
