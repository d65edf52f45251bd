"""Pictures in files: which files, and how all of them look."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fastbatch.replacement import replacement

# Of Okabe and Ito: colour-blind readers can tell them apart. Drawing takes them one after the
# other, and knows them as C0, C1 and so on.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def need_matplotlib() -> None:
    """Refuse what cannot be drawn before anything is computed."""
    if find_spec("matplotlib") is None:
        raise ImportError("pictures are drawn with matplotlib: pip install 'fastbatch[plot]'")


def check(path: str | Path) -> None:
    """Refuse a file that cannot be drawn before anything is computed.

    Examples
    --------
    >>> check("curves.bmp")
    Traceback (most recent call last):
    ValueError: curves.bmp: expected a name that ends with .png or .svg
    """
    if Path(path).suffix.lower() not in (".png", ".svg"):
        raise ValueError(f"{path}: expected a name that ends with .png or .svg")
    need_matplotlib()


@contextmanager
def picture(path: str | Path, height: float = 4.5) -> Iterator[Any]:
    """A figure to draw on; then the file is made, and takes the place of an older one.

    The same numbers give the same file.
    """
    check(path)
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.rcsetup import cycler

    path = Path(path)
    kind = path.suffix.lower()[1:]
    with matplotlib.rc_context(
        {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "legend.frameon": False,
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": path.stem,
        }
    ):
        figure = Figure(figsize=(7, height), dpi=150, layout="constrained")
        yield figure
        with replacement(path) as new:
            figure.savefig(new, format=kind, metadata={"Date": None} if kind == "svg" else None)
