"""Curves on logarithmic axes, with their names at their ends."""

from math import log10

from fastbatch.pictures import picture

STYLES = {  # colour, line and marker
    "fastbatch": ("C0", "-", "o"),
    "jax-scan": ("C1", "-", "s"),
    "torch": ("C2", "-", "^"),
    "one thread": ("C3", ":", ""),
    "bound": ("black", "--", ""),
}


def draw(path, title, series, rings):
    """Write a picture of microseconds a step to `path`.

    Parameters
    ----------
    path : pathlib.Path
    title : str
        Of the horizontal axis.
    series : dict
        Sizes and microseconds of each curve, by a name of STYLES.
    rings : list of (size, microseconds)
        What to draw a ring around.
    """
    with picture(path) as figure:
        ax = figure.subplots()
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        for name, (sizes, times) in series.items():
            colour, line, marker = STYLES[name]
            ax.plot(sizes, times, color=colour, linestyle=line, marker=marker, markersize=4)
        for size, time in rings:
            ax.plot(size, time, "o", color="0.4", markersize=11, fillstyle="none")
        ticks = sorted({size for sizes, _ in series.values() for size in sizes})
        ax.set_xticks(ticks, [f"{size:,}" for size in ticks])
        ax.set_xlabel(title)
        ax.set_ylabel("microseconds a step")
        ax.grid(alpha=0.3)
        _name_ends(ax, series)


def _name_ends(ax, series):
    """Write the names right of the ends of the curves, none over another."""
    low, high = map(log10, ax.get_ylim())
    names = sorted(series, key=lambda name: series[name][1][-1])
    ends = [log10(series[name][1][-1]) for name in names]
    places = []
    for end in ends:
        above = places[-1] + 0.05 * (high - low) if places else end
        places.append(max(end, above))
    shift = (sum(places) - sum(ends)) / len(ends)  # as many end up too low as too high
    for name, place in zip(names, places, strict=True):
        ax.annotate(
            name,
            (series[name][0][-1], 10 ** (place - shift)),
            xytext=(9, 0),
            textcoords="offset points",
            color=STYLES[name][0],
            verticalalignment="center",
            annotation_clip=False,
        )
