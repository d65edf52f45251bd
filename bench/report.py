"""One report from the results of one machine: ``python -m bench.report [--readme]``.

Reads what `make bench` leaves in bench/results/ and writes report.md there.  With ``--readme`` it
rewrites the speed table of README.md instead, from race.json.
"""

import argparse
import json
from pathlib import Path
from statistics import median

from bench.markdown import bullets, number, spread, table
from bench.peers import CONTENDERS, OURS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
BEGIN = "<!-- speed table: made by python -m bench.report --readme -->"
END = "<!-- end of the speed table -->"
TASKS = {
    "train": (
        "Training",
        "Microseconds a step: a whole shuffled epoch, gather included, over its batches.",
    ),
    "forward": (
        "Forward",
        "Microseconds a batch: the outputs of all examples in one call, over the batches that "
        "these would make.",
    ),
    "clip": (
        "Training with per-example clipping",
        "Microseconds a step of plain gradient descent that clips the gradient of each example to "
        "norm 1: a whole shuffled epoch (of four steps in wide), gather included, over its "
        "batches.",
    ),
    "sgld": (
        "Sampling by Langevin dynamics",
        "Microseconds a step of stochastic gradient Langevin dynamics: a whole shuffled epoch, "
        "gather included, over its batches.",
    ),
    "vae": (
        "Training a variational autoencoder",
        "Microseconds a step of Adam; the third layer draws 8 numbers by 16, the loss is binary "
        "cross-entropy: a whole shuffled epoch, gather included, over its batches.",
    ),
    "gram": (
        "Inner products of gradients",
        "Microseconds for the inner products of all pairs of gradients of 2,000 examples.",
    ),
}
PEERS = [name for name in CONTENDERS if name != OURS]
README_COLUMNS = {
    "fastbatch": [OURS],
    "JAX, best of three ways": [name for name in PEERS if name.startswith("jax")],
    "PyTorch": ["torch"],
    "torch.compile": ["torch-compile"],
    "scikit-learn": ["scikit-learn"],
}


def report(folder):
    """The whole report, of what there is in the folder."""
    parts = ["# How fast fastbatch is", "Made by `python -m bench.report` from the files beside."]
    if (path := folder / "race.json").exists():
        parts += race_sections(json.loads(path.read_text()))
    if (path := folder / "own.json").exists():
        parts += own_sections(json.loads(path.read_text()))
    if (folder / "growth.json").exists():
        from bench import growth  # which imports this module

        parts.append(growth.section(folder))
    if (path := folder / "choices.json").exists():
        from bench import choices  # which imports this module

        parts += choices.section(json.loads(path.read_text()))
    return "\n\n".join(parts) + "\n"


def race_sections(race):
    """Where the race was, who took part, a table for each task, and who is missing in it."""
    facts = race["machine"]
    peaks = [
        f"fused multiply-adds of {dtype}: {rate:.0f} GFLOP/s on {threads} thread(s)"
        for dtype, rates in race["peak"].items()
        for threads, rate in rates.items()
    ]
    yield bullets(
        [
            f"{facts['cores']} cores of {facts['processor']}; caches: {facts['caches'] or '?'}",
            f"{facts['system']}, Python {facts['python']}, {facts['date']}",
            versions(race),
            *peaks,
        ]
    )
    for task, (title, unit) in TASKS.items():
        results = [result for result in race["results"] if result["task"] == task]
        if results:
            yield f"## {title}"
            yield from task_section(unit, race["cells"], results)
    failures = [
        f"{r['contender']} in {r['cell']} ({r['task']}): {r['failure']}"
        for r in race["results"]
        if r["failure"]
    ]
    if notes := race["absences"] + failures:
        yield bullets(notes)


def task_section(unit, cells, results):
    """Median and quartiles of each contender, and in which cells we lose."""
    names = list(dict.fromkeys(result["contender"] for result in results))
    exhausted = {(r["cell"], r["contender"]): r.get("exhausted") for r in results}
    # Few users would have the idea of jax-host, so there is a ratio without it.
    rivals = {"best peer": names}
    if "jax-host" in names:
        rivals["best but jax-host"] = [name for name in names if name != "jax-host"]
    rows, lost = [["cell", "network, batch", *names, *rivals]], []
    for cell in dict.fromkeys(result["cell"] for result in results):
        times = times_in(cell, results)
        ratio, best = best_peer(times, names)
        if ratio and ratio < 1:
            lost.append(f"{cell} ({best}, {ratio:.2f})")
        columns = [exhausted.get((cell, name)) or spread(times.get(name)) for name in names]
        verdicts = (verdict(times, these) for these in rivals.values())
        rows.append([cell, cells[cell], *columns, *verdicts])
    yield (
        f"{unit} Median (and quartiles) of {turns(results)} turn(s); beside them the time of the "
        f"best peer over that of {OURS}."
    )
    yield table(rows)
    yield f"A peer is faster in: {', '.join(lost) or 'none of these cells'}."


def own_sections(own):
    """What pytest-benchmark has measured: fastbatch beside limits, beside itself, and the rest."""
    shares, ratios, rest = {}, {}, [["", "median, seconds", ""]]
    for entry in own["benchmarks"]:
        what = entry["name"].partition("[")[0].removeprefix("test_").replace("_", " ")
        info = entry["extra_info"]
        if entry["param"] and "fraction_of_peak" in info:
            share = f"{number(info['microseconds_per_step'])} ({info['fraction_of_peak']:.0%})"
            shares.setdefault(entry["param"], {})[what] = share
        elif "aim" in info:
            ratios.setdefault(what, {})[entry["param"]] = info["ratio"], info["aim"]
        else:
            what = ", ".join(filter(None, (what, entry["param"])))
            facts = ", ".join(f"{key.replace('_', ' ')} {x:.3g}" for key, x in info.items())
            rest.append([what, f"{entry['stats']['median']:.3g}", facts])
    if shares:
        kinds = list(dict.fromkeys(what for row in shares.values() for what in row))
        yield "## Fraction of the peak"
        yield (
            "Microseconds a batch, and the rate of its multiply-adds as a fraction of the peak of "
            "all threads, measured right after each."
        )
        rows = ([cell, *(row.get(what, "-") for what in kinds)] for cell, row in shares.items())
        yield table([["cell", *kinds], *rows])
    if ratios:
        yield "## What it costs to look at single examples, and to sample"
        yield "One time, or peak of memory, over another (and what it should be at most)."
        yield from _ratio_table(ratios)
    if len(rest) > 1:
        yield "## Start-up and the rest"
        yield table(rest)


def _ratio_table(ratios):
    """A row for each ratio, a column for each cell, and which are above their aim."""
    cells = list(dict.fromkeys(cell for row in ratios.values() for cell in row))
    rows = [["", *cells]]
    for what, row in ratios.items():
        pairs = (row.get(cell) for cell in cells)
        rows.append([what, *("{:.2f} ({:.2f})".format(*pair) if pair else "-" for pair in pairs)])
    yield table(rows)
    above = [
        f"{what} in {cell}"
        for what, row in ratios.items()
        for cell, (ratio, aim) in row.items()
        if ratio > aim
    ]
    yield bullets([f"above what it should be: {', '.join(above) or 'none'}"])


def readme_table(race):
    """What stands in README.md between the two marks."""
    results = [result for result in race["results"] if result["task"] == "train"]
    rows = [["cell", "network, batch", *README_COLUMNS, "ratio"]]
    for cell in dict.fromkeys(result["cell"] for result in results):
        times = times_in(cell, results)
        columns = [
            min((median(times[name]) for name in names if name in times), default=None)
            for names in README_COLUMNS.values()
        ]
        ratio, _ = best_peer(times, PEERS)
        label = race["cells"][cell]
        rows.append([cell, label, *map(number, columns), f"{ratio:.2f}" if ratio else "-"])
    facts = race["machine"]
    return (
        f"{facts['cores']} cores of {facts['processor']}, {facts['date']}; {versions(race)}. "
        f"Microseconds a step, medians of {turns(results)} turns; the ratio is the time of the "
        f"best peer over ours.\n\n{table(rows)}"
    )


def with_table(text, race):
    """The text of README.md, its table being that of this race."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{readme_table(race)}\n\n{END}{tail}"


def versions(race):
    """The libraries that took part."""
    return ", ".join(dict.fromkeys(r["version"] for r in race["results"] if r["version"]))


def turns(results):
    """How many turns of each contender counted: "7", or "3 to 7" if the slow have fewer."""
    counts = {len(result["microseconds"]) for result in results} - {0} or {0}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def times_in(cell, results):
    """The turns of each contender that has any in this cell."""
    return {
        r["contender"]: r["microseconds"]
        for r in results
        if r["cell"] == cell and r["microseconds"]
    }


def best_peer(times, names):
    """Median of the fastest peer among `names` over ours, and who it is; None, "" without one."""
    medians = {name: median(times[name]) for name in names if name in times and name != OURS}
    if OURS not in times or not medians:
        return None, ""
    best = min(medians, key=medians.get)
    return medians[best] / median(times[OURS]), best


def verdict(times, names):
    """The ratio of `best_peer`, and who it is."""
    ratio, best = best_peer(times, names)
    return f"{ratio:.2f} ({best})" if ratio else "-"


def main(argv=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of JSON files")
    parser.add_argument("--readme", action="store_true", help="rewrite the table in README.md")
    options = parser.parse_args(argv)
    if options.readme:
        path = ROOT / "README.md"
        race = json.loads((options.results / "race.json").read_text())
        path.write_text(with_table(path.read_text(), race))
    else:
        path = options.results / "report.md"
        path.write_text(report(options.results))
    print(path)


if __name__ == "__main__":
    main()
