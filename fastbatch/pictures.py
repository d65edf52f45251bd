"""Pictures in files: which files, and how all of them look."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Of Okabe and Ito: colour-blind readers can tell them apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def check(path: str | Path) -> None:
    """Refuse what cannot be drawn before anything is computed.

    Examples
    --------
    >>> check("curves.bmp")
    Traceback (most recent call last):
    ValueError: curves.bmp: expected a name that ends with .png or .svg
    """
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"{path}: expected a name that ends with .png or .svg")
    if find_spec("matplotlib") is None:
        raise ImportError("pictures are drawn with matplotlib: pip install 'fastbatch[plot]'")


@contextmanager
def picture(path: str | Path, panels: int = 1) -> Iterator[Any]:
    """Axes below one another to draw on, a list; then legends and the file are made.

    The same numbers give the same file.
    """
    check(path)
    import matplotlib
    from matplotlib.figure import Figure

    name = Path(path).name
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure = Figure(figsize=(7, 1.5 + 3 * panels), dpi=150, layout="constrained")
        axes = figure.subplots(panels, squeeze=False, sharex=True)[:, 0]
        yield axes
        for ax in axes:
            ax.spines[["top", "right"]].set_visible(False)
            ax.legend(frameon=False)
        figure.savefig(path, metadata={"Date": None} if name.lower().endswith("svg") else None)
