"""How the time of a step grows: ``python -m bench.growth [--quick] [--curves batch width]``.

Measures the points of `bench.curves`, fastbatch beside its best peers and the machine's limits,
and leaves growth.json with its pictures in bench/results/, where `bench.report` finds them.
"""

import argparse
import json
import statistics
import sys
from itertools import groupby, pairwise
from math import log
from pathlib import Path
from time import perf_counter

from bench import pictures
from bench.curves import curves, measure
from bench.machine import machine
from bench.markdown import bullets, number, table
from bench.peers import OURS
from bench.race import missing
from bench.report import RESULTS

CONTENDERS = [OURS, "jax-scan", "torch"]
TITLES = {
    "batch": "examples in a batch (64-64-64-10)",
    "width": "width w (w-w-w-10, batch 64)",
    "depth": "hidden layers of 64 (batch 64)",
    "threads-digits": "cores (64-64-64-10, batch 32)",
    "threads-mnist": "cores (784-256-128-10, batch 128)",
    "threads-wide": "cores (784-1024-1024-10, batch 512)",
}


def medians(point):
    """Microseconds a step of each contender and way, and the larger bound."""
    turns = point["race"] | point["ways"]
    times = {name: statistics.median(values) for name, values in turns.items() if values}
    return times | {"bound": max(point["bounds"].values())}


def series(points):
    """Sizes and microseconds of each contender and way, and of the bound."""
    lines = {}
    for point in points:
        for name, time in medians(point).items():
            sizes, times = lines.setdefault(name, ([], []))
            sizes.append(point["size"])
            times.append(time)
    return lines


def kinks(sizes, times, jump=0.5):
    """Where the slope of a curve, d log(time) / d log(size), changes by more than `jump`.

    Returns a list of (size, slope before, slope after).

    >>> kinks([1, 2, 4, 8], [1, 1, 1, 2])
    [(4, 0.0, 1.0)]
    """
    points = pairwise(zip(sizes, times, strict=True))
    slopes = [log(t / s) / log(n / m) for (m, s), (n, t) in points]
    return [
        (size, before, after)
        for size, (before, after) in zip(sizes[1:-1], pairwise(slopes), strict=True)
        if abs(after - before) > jump
    ]


def section(folder=RESULTS):
    """Markdown of what growth.json in the folder says."""
    document = json.loads((folder / "growth.json").read_text())
    facts, points = document["machine"], document["points"]
    versions = dict.fromkeys(version for point in points for version in point["versions"])
    parts = [
        "## How cost grows",
        "Microseconds a step of whole shuffled epochs (Adam, float32, ReLU, cross-entropy), "
        f"medians of {document['rounds']} turns: {', '.join(versions)}; {facts['cores']} cores of "
        f"{facts['processor']}, {facts['date']}. Then the kernels alone, by how they use the "
        "threads. The bound is what no step can do without, its multiply-adds at the peak or "
        "Adam's memory traffic, whichever takes longer.",
        _verdict_on_choice(points),
    ]
    for curve, group in groupby(points, key=lambda point: point["curve"]):
        parts += _curve(curve, list(group), folder)
    return "\n\n".join(parts)


def _curve(curve, points, folder):
    """Paragraphs about one curve."""
    lines = series(points)
    names = [name for name in lines if name != "bound"]
    rows = [[TITLES[curve], *names, "bound", "fastbatch / bound"]]
    for point in points:
        times = medians(point)
        bound = f"{number(times['bound'])} ({max(point['bounds'], key=point['bounds'].get)})"
        columns = [number(times.get(name)) for name in names]
        rows.append([f"{point['size']:,}", *columns, bound, _over(times, "bound")])
    yield f"### By {TITLES[curve]}"
    if (folder / _picture(curve)).exists():
        yield f"![microseconds a step by {TITLES[curve]}]({_picture(curve)})"
    yield table(rows)
    remarks = [
        f"kink of {OURS} at {size:,}: the slope goes from {before:.2f} to {after:.2f}"
        for size, before, after in kinks(*lines.get(OURS, ([], [])))
    ]
    for point in points:
        remarks += [
            f"{name} at {point['size']:,}: {why}" for name, why in point["failures"].items()
        ]
    if remarks:
        yield bullets(remarks)


def _over(times, other):
    """Our time over another."""
    return f"{times[OURS] / times[other]:.2f}" if OURS in times else "-"


def _verdict_on_choice(points):
    """How much the automatic choice of threads loses where it loses most."""
    losses = {}
    for point in points:
        times = {way: statistics.median(turns) for way, turns in point["ways"].items()}
        losses[times["automatic"] / min(times.values())] = point
    worst = max(losses)
    point = losses[worst]
    return (
        f"Where it does worst ({point['network']} on {point['threads']} threads), the automatic "
        f"choice takes {worst:.2f} times as long as the best way."
    )


def _picture(curve):
    return f"growth-{curve}.svg"


def draw(points, folder):
    """Pictures of all curves."""
    for curve, group in groupby(points, key=lambda point: point["curve"]):
        lines = series(group)
        sizes, times = lines.get(OURS, ([], []))
        rings = [(size, times[sizes.index(size)]) for size, _, _ in kinks(sizes, times)]
        drawn = {name: line for name, line in lines.items() if name in pictures.STYLES}
        pictures.draw(folder / _picture(curve), TITLES[curve], drawn, rings)


def main(argv=None):
    """Run from the command line; 1 if a contender failed or computed something else."""
    groups = list(dict.fromkeys(curve.partition("-")[0] for curve in TITLES))
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--curves", nargs="+", choices=groups, default=groups)
    parser.add_argument("--quick", action="store_true", help="few small sizes, two turns each")
    parser.add_argument("--json", type=Path, default=RESULTS / "growth.json")
    options = parser.parse_args(argv)

    chosen = [
        points[: len(points) // 2 + 1 : 2] if options.quick else points
        for curve, points in curves().items()
        if curve.partition("-")[0] in options.curves
    ]
    todo = [point for points in chosen for point in points]
    rounds, seconds = (2, 0.05) if options.quick else (5, 0.1)
    names = [name for name in CONTENDERS if not missing(name)]
    points, start = [], perf_counter()
    for point in todo:
        place = f"{len(points)} of {len(todo)} done, after {perf_counter() - start:.0f} s"
        print(f"{point.curve} {point.size} ({place})", file=sys.stderr, flush=True)
        points.append(measure(point, names, rounds, seconds))

    folder = options.json.parent
    folder.mkdir(parents=True, exist_ok=True)
    document = {"machine": machine(), "rounds": rounds, "points": points}
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    try:
        draw(points, folder)
    except ImportError as error:
        print(f"no pictures: {error}", file=sys.stderr)
    print(section(folder))
    return int(any(point["failures"] for point in points))


if __name__ == "__main__":
    sys.exit(main())
