"""How tests call commands."""

import csv

from fastbatch.commands import main

QUICK = ["--backend", "reference", "--epochs", "5"]


def status(*argv):
    """The exit status of a command."""
    try:
        return main([str(argument) for argument in argv])
    except SystemExit as leaving:
        return leaving.code


def refused(capsys, *argv, expected=2):
    """The one line with which a command fails."""
    assert status(*argv) == expected
    (line,) = capsys.readouterr().err.splitlines()
    return line


def write(path, **columns):
    """A CSV file of these columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


def rows(path):
    """The header and the other lines of a CSV file."""
    with path.open(newline="") as file:
        header, *lines = csv.reader(file)
    return header, lines
