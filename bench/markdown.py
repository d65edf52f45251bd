"""How figures look in a report."""

import statistics


def number(microseconds):
    """About three digits; "-" for None."""
    if microseconds is None:
        return "-"
    digits = 2 if microseconds < 10 else 1 if microseconds < 100 else 0
    return f"{microseconds:,.{digits}f}"


def spread(times):
    """Median and quartiles."""
    if not times:
        return "-"
    if len(times) == 1:
        return number(times[0])
    low, middle, high = map(number, statistics.quantiles(times, n=4, method="inclusive"))
    return f"{middle} ({low} to {high})"


def table(rows):
    """Rows of strings; the first row is the head, all columns but the first are of numbers."""
    head, *rest = rows
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rest))


def bullets(lines):
    """A list."""
    return "\n".join(f"* {line}" for line in lines)
