"""The pictures of ``fastbatch inspect``: norms of gradients, and noise scale over training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastbatch.pictures import COLOURS, picture
from fastbatch.trainer import Trainer

Array = NDArray[Any]

BINS = 50
BLUE, ORANGE = COLOURS[:2]
BELOW: dict[str, Any] = {"loc": "outside lower center", "ncols": 3}  # where legends stand


def draw(prefix: str, norms: Array, trainer: Trainer) -> Iterator[str]:
    """Write the pictures that there is something for, and yield the path of each."""
    path = f"{prefix}-norms.png"
    with picture(path) as figure:
        _histogram(figure.subplots(), norms)
        figure.legend(**BELOW)
    yield path
    monitored = [record for record in trainer.history if record.noise_scale is not None]
    if monitored:
        path = f"{prefix}-noise-scale.png"
        with picture(path) as figure:
            epochs = np.array([record.epoch for record in monitored])
            scales = np.array([record.noise_scale for record in monitored])
            _noise_scales(figure.subplots(), epochs, scales, trainer.batch_size)
            figure.legend(**BELOW)
        yield path


def _histogram(ax: Any, norms: Array) -> None:
    """How many gradients are how long, on a logarithmic axis where they differ by decades."""
    shown = norms[np.isfinite(norms)].astype(np.float64)
    edges: Array = np.linspace(0, shown.max(initial=0) or 1, BINS + 1)
    positive = shown[shown > 0]
    if len(positive) and positive.max() > 100 * positive.min():
        shown, edges = positive, np.geomspace(positive.min(), positive.max(), BINS + 1)
        ax.set_xscale("log")
    ax.hist(shown, edges, color=BLUE, label="examples")
    if len(shown):
        for share, line in ((0.5, "-"), (0.99, "--")):
            value = np.quantile(shown, share)
            ax.axvline(value, color=ORANGE, linestyle=line, label=f"{share:.0%} below {value:.3g}")
    left_out = len(norms) - len(shown)
    note = f" ({left_out:,} that are 0 or not finite left out)" if left_out else ""
    ax.set_title(f"Gradients of {len(norms):,} examples{note}")
    ax.set_xlabel("norm of the gradient of an example's loss (loss per unit of the parameters)")
    ax.set_ylabel("examples in a bin")


def _noise_scales(ax: Any, epochs: Array, scales: Array, batch_size: int) -> None:
    """The batch size up to which more examples pay, epoch by epoch, beside the one in use."""
    known = (scales > 0) & np.isfinite(scales)
    line = np.where(known, scales, np.nan)
    ax.plot(epochs, line, color=BLUE, marker="o", markersize=3, label="gradient noise scale")
    if not known.all():
        hidden, at_the_top = epochs[~known], ax.get_xaxis_transform()
        (marks,) = ax.plot(hidden, np.ones(len(hidden)), "^", color=BLUE, transform=at_the_top)
        marks.set(clip_on=False, label="the noise hides the mean gradient")
    ax.axhline(batch_size, color=ORANGE, linestyle="--", label=f"batch size {batch_size:,}")
    values = [*scales[known], batch_size]
    if max(values) > 100 * min(values):
        ax.set_yscale("log")
    ax.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_title("The batch size up to which more examples pay", pad=12)
    ax.set_xlabel("epochs")
    ax.set_ylabel("gradient noise scale (examples in a batch)")
