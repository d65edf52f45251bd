"""Show what a mini-batch averages: claims, each put to the test on this machine."""

import argparse
import textwrap
import time
from collections.abc import Iterator
from html import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fastbatch.claims import CLAIMS, OF_DIGITS, Claim, Table
from fastbatch.commands.output import tell
from fastbatch.commands.paths import check_file
from fastbatch.pictures import need_matplotlib, picture
from fastbatch.replacement import replacement

LINE = 100

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>What a mini-batch averages</title>
<style>
body {{ max-width: 60em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif; }}
table {{ border-collapse: collapse; margin: 1em 0; font-size: 14px; }}
caption {{ text-align: left; font-style: italic; }}
th, td {{ padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; text-align: right; }}
th {{ vertical-align: bottom; }}
th:first-child, td:first-child {{ text-align: left; }}
.holds {{ color: #060; }}
.fails {{ color: #b00; font-weight: bold; }}
svg {{ max-width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>What a mini-batch averages</h1>
{body}
</body>
</html>
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    known = ", ".join(map(str, CLAIMS))
    add("numbers", nargs="*", type=int, metavar="NUMBER", help=f"which of {known} (default: all)")
    add("--html", metavar="FILE", help="write one page with all numbers and pictures")
    add("--pictures", metavar="FOLDER", help="write the pictures as SVG")
    parser.epilog = """\
examples:
  fastbatch explain 1 2
  fastbatch explain --html page.html

Everything is computed when it is asked for. The exit status is 1 if any claim does not hold.
docs/minibatch.md tells why they are true."""


def run(arguments: argparse.Namespace) -> int:
    """Put the claims to the test, one after the other."""
    for number in arguments.numbers:
        if number not in CLAIMS:
            known = ", ".join(map(str, CLAIMS))
            raise ValueError(f"no claim {number}, expected some of {known}")
    draws = arguments.html or arguments.pictures
    if draws:
        need_matplotlib()
    numbers = arguments.numbers or list(CLAIMS)
    on_digits = sorted(OF_DIGITS.intersection(numbers))
    if on_digits and find_spec("sklearn") is None:
        which = ", ".join(map(str, on_digits))
        raise ImportError(
            f"the digits of claims {which} come with scikit-learn: pip install 'fastbatch[demo]'"
        )
    check_file("--html", arguments.html)

    start = time.perf_counter()
    sections, failed = [], []
    with TemporaryDirectory() as scratch:
        folder = Path(arguments.pictures or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for number in numbers:
            claim = CLAIMS[number]()
            tell(*_report(number, claim))
            if not claim.holds:
                failed.append(number)
            drawn = _draw(claim, folder / f"{CLAIMS[number].__name__}.svg") if draws else ""
            sections.append("\n".join(_section(number, claim, drawn)))
    if arguments.html:
        with replacement(arguments.html) as new:
            new.write_text(PAGE.format(body="\n".join(sections)), encoding="utf-8")
        tell(f"saved to {arguments.html}")
    verdict = f"DO NOT HOLD: {', '.join(map(str, failed))}" if failed else "all hold"
    count = f"{len(sections)} claim{'s' if len(sections) > 1 else ''}"
    tell(f"{count} in {time.perf_counter() - start:.0f} s: {verdict}")
    return 1 if failed else 0


def _verdict(claim: Claim) -> str:
    return "holds" if claim.holds else "DOES NOT HOLD"


def _report(number: int, claim: Claim) -> Iterator[str]:
    """The lines of a claim."""
    yield f"{number}. {claim.title}: {_verdict(claim)}"
    yield ""
    yield from textwrap.wrap(claim.statement, LINE, initial_indent="   ", subsequent_indent="   ")
    for table in claim.tables:
        yield ""
        yield from textwrap.wrap(table.title, LINE, initial_indent="   ", subsequent_indent="   ")
        yield from _columns(table)
    yield ""


def _columns(table: Table) -> Iterator[str]:
    """A table's lines, the headings broken into several where columns are narrow."""
    rows = [[_text(entry) for entry in row] for row in table.rows]
    widths = [max(14, *map(len, column)) for column in zip(*rows, strict=True)]
    headings = [
        textwrap.wrap(heading, width) for heading, width in zip(table.headings, widths, strict=True)
    ]
    height = max(map(len, headings))
    lines = [[""] * (height - len(heading)) + heading for heading in headings]
    for cells in [*zip(*lines, strict=True), *rows]:
        first, *others = zip(cells, widths, strict=True)
        texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        yield "     " + "  ".join(texts).rstrip()


def _text(entry: Any) -> str:
    """A number to four digits, but whole ones in full."""
    if isinstance(entry, float | np.floating):
        return f"{entry:.4g}"
    return f"{entry:,}" if isinstance(entry, int | np.integer) else str(entry)


def _section(number: int, claim: Claim, drawn: str) -> Iterator[str]:
    """The same as a part of a page."""
    kind = "holds" if claim.holds else "fails"
    yield f"<h2>{number}. {escape(claim.title)}</h2>"
    yield f'<p>{escape(claim.statement)} <span class="{kind}">{_verdict(claim)}</span></p>'
    if drawn:
        yield drawn[drawn.index("<svg") :]  # without what belongs to a file of its own
    for table in claim.tables:
        yield f"<table><caption>{escape(table.title)}</caption>"
        yield f"<tr>{''.join(f'<th>{escape(heading)}</th>' for heading in table.headings)}</tr>"
        for row in table.rows:
            yield f"<tr>{''.join(f'<td>{escape(_text(entry))}</td>' for entry in row)}</tr>"
        yield "</table>"


def _draw(claim: Claim, path: Path) -> str:
    """Draw the picture, if there is one, and return it as SVG."""
    if claim.draw is None:
        return ""
    with picture(path) as figure:
        claim.draw(figure)
    return path.read_text(encoding="utf-8")
