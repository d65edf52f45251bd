"""What `verbose` shows: a bar over the steps and a line for each epoch."""

from types import TracebackType
from typing import Any, Self

from fastbatch.history import EpochRecord


class Progress:
    """Shows nothing unless `verbose`; the bar appears on terminals only.

    Parameters
    ----------
    verbose : bool
    steps : int
        How many are to be done.
    last_epoch : int
        The epoch at which they end.
    """

    def __init__(self, verbose: bool, steps: int, last_epoch: int) -> None:
        self._last_epoch = last_epoch
        self._bar: Any = None
        if verbose:
            from tqdm import tqdm  # half of the time of `import fastbatch`, and rarely needed

            self._bar = tqdm(total=steps, unit="step", disable=None, leave=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.update(steps)

    def report(self, record: EpochRecord) -> None:
        """Write a line above the bar."""
        if self._bar is not None:
            self._bar.write(line(record, self._last_epoch))


def line(record: EpochRecord, last_epoch: int) -> str:
    """One epoch in words."""
    parts = [f"epoch {record.epoch:{len(str(last_epoch))}}/{last_epoch}", f"loss {record.loss:.4f}"]
    if record.validation_loss is not None:
        parts.append(f"validation loss {record.validation_loss:.4f}")
        parts.append(f"{record.metric_name} {record.validation_metric:.4f}")
    parts.append(f"{record.examples_per_second:,.0f} examples/s")
    return "  ".join(parts)
