"""What a race has brought, in words."""

import datetime
import platform
import statistics

from bench.peers import OURS
from bench.peers.contest import cores
from fastbatch.kernels.cpu.jit import hardware


def machine():
    """Where and when this is."""
    return {
        "processor": f"{hardware()[0]}, {platform.machine()}",
        "cores": cores(),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def table(results, names):
    """Markdown: microseconds a step, median and quartiles of the turns, a row for each cell."""
    rows = [["cell", *names, "best peer / fastbatch"], ["---", *["---:"] * len(names), "---"]]
    for cell in dict.fromkeys(result.cell for result in results):
        here = {r.contender: r for r in results if r.cell == cell}
        rows.append([cell, *(_times(here[name]) for name in names), _ratio(here)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def notes(results, lacking):
    """Lines that belong under the table."""
    facts = machine()
    turns = max(len(result.microseconds) for result in results)
    yield (
        f"Microseconds a step, median (and quartiles) of {turns} turns; {facts['processor']}, "
        f"{facts['cores']} cores, {facts['system']}, Python {facts['python']}, {facts['date']}"
    )
    yield ", ".join(dict.fromkeys(result.version for result in results if result.version))
    for result in results:
        if result.failure:
            yield f"{result.contender} in cell {result.cell}: {result.failure}"
    for name, modules in lacking.items():
        if modules:
            yield (
                f"{name} did not run, for want of {', '.join(modules)}: "
                "pip install 'fastbatch[bench]'"
            )


def _times(result):
    times = result.microseconds
    if len(times) < 2:
        return _number(times[0]) if times else "-"
    low, middle, high = statistics.quantiles(times, n=4, method="inclusive")
    return f"{_number(middle)} ({_number(low)} to {_number(high)})"


def _number(microseconds):
    return f"{microseconds:.1f}" if microseconds < 100 else f"{microseconds:.0f}"


def _ratio(here):
    medians = {
        name: statistics.median(r.microseconds) for name, r in here.items() if r.microseconds
    }
    ours = medians.pop(OURS, None)
    if not ours or not medians:
        return "-"
    best = min(medians, key=medians.get)
    return f"{medians[best] / ours:.2f} ({best})"
