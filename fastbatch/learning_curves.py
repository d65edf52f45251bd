"""Learning curves: how losses and metrics went, epoch by epoch, as a picture."""

from collections.abc import Sequence
from math import isfinite, nan
from pathlib import Path

from fastbatch import metrics
from fastbatch.history import EpochRecord
from fastbatch.pictures import picture

Curves = dict[str, list[float]]  # what each is called in the legend, and its value at each epoch


def draw(history: Sequence[EpochRecord], path: str | Path) -> None:
    """Draw a history: a panel for the losses, one for all scores, one for each other metric.

    Parameters
    ----------
    history : sequence of EpochRecord
        Such as ``trainer.history``, or what `read_log` returns.
    path : str or path
        A PNG or SVG file.

    Raises
    ------
    ValueError
        If there is no epoch, or the file is to be of another kind.
    ImportError
        If matplotlib is not installed (extra ``plot``).

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Dense, Network, Trainer
    >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
    >>> history = Trainer(net).fit([[1.0]], [1.0], epochs=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     draw(history, f"{folder}/curves.png")
    """
    if not history:
        raise ValueError("there is nothing to draw: no epoch is finished")
    epochs = [record.epoch for record in history]
    panels = _panels(history)
    marker = "o" if len(epochs) == 1 else None
    with picture(path, height=1.5 + 3 * len(panels)) as figure:
        axes = figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0]
        for ax, (label, curves) in zip(axes, panels.items(), strict=True):
            for name, values in curves.items():
                ax.plot(epochs, values, marker=marker, label=name)
            ax.set_ylabel(label)
            ax.legend()
        known = [value for curve in panels["loss"].values() for value in curve if isfinite(value)]
        if known and 0 < 100 * min(known) < max(known):
            axes[0].set_yscale("log")
        axes[-1].set_xlabel("epoch")
        axes[-1].xaxis.get_major_locator().set_params(integer=True)


def _panels(history: Sequence[EpochRecord]) -> dict[str, Curves]:
    """What stands beside the vertical axis of each panel, and its curves; losses come first."""
    panels: dict[str, Curves] = {"loss": {"training": [record.loss for record in history]}}
    validation = [_known(record.validation_loss) for record in history]
    if any(map(isfinite, validation)):
        panels["loss"]["validation"] = validation
    scores: Curves = {}
    metric = [_known(record.validation_metric) for record in history]
    if any(map(isfinite, metric)):
        scores[history[-1].metric_name] = metric
    for name in dict.fromkeys(name for record in history for name in record.metrics or ()):
        values = [(record.metrics or {}).get(name, nan) for record in history]
        if metrics.find("metric", name).rises:
            scores[name] = values
        else:
            panels[f"validation {name}"] = {name: values}
    if scores:
        panels["validation score"] = scores
    return panels


def _known(value: float | None) -> float:
    return nan if value is None else value
