"""``fastbatch explain``: the report, the page, the pictures, and what is refused."""

import errno
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fastbatch import pictures
from fastbatch.claims import CLAIMS, OF_DIGITS, Claim, Table
from fastbatch.commands import explain, main

ROOT = Path(__file__).parents[2]


def claims(*truths):
    """Claims that hold or not, with a table and a picture each, numbered from 1."""

    def make(index, holds):
        table = Table("Rates < 1", ("kind", "a rate per step"), (("x & y", 0.123456), ("n", 12345)))

        def claim():
            return Claim(
                f"Title {index}",
                "One <and> two.",
                (table,),
                holds,
                lambda f: f.subplots().plot([1]),
            )

        claim.__name__ = f"claim_{index}"
        return claim

    return {index: make(index, holds) for index, holds in enumerate(truths, start=1)}


@pytest.fixture
def known(monkeypatch):
    def put(*truths):
        monkeypatch.setattr(explain, "CLAIMS", claims(*truths))

    return put


def test_a_report_has_verdicts_and_numbers(known, capsys):
    known(True, True)
    assert main(["explain"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1. Title 1: holds"
    assert lines[2] == "   One <and> two."
    assert [line.split() for line in lines[4:9]] == [
        ["Rates", "<", "1"],
        ["a", "rate", "per"],
        ["kind", "step"],
        ["x", "&", "y", "0.1235"],
        ["n", "12,345"],
    ]
    assert re.fullmatch(r"2 claims in \d+ s: all hold", lines[-1])


def test_a_claim_that_fails_fails_the_command(known, capsys):
    known(True, False, True)
    assert main(["explain"]) == 1
    out = capsys.readouterr().out
    assert "2. Title 2: DOES NOT HOLD" in out
    assert out.endswith("DO NOT HOLD: 2\n")
    assert main(["explain", "1", "3"]) == 0
    assert "Title 2" not in capsys.readouterr().out


def test_a_page_holds_all_in_itself(known, tmp_path, capsys):
    known(True, False)
    page = tmp_path / "page.html"
    assert main(["explain", "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 and "<?xml" not in text
    assert "One &lt;and&gt; two." in text and "x &amp; y" in text and "DOES NOT HOLD" in text
    assert not re.search(r"(src|href)=\"(?!#)", text)  # nothing is fetched
    assert f"saved to {page}" in capsys.readouterr().out


def test_pictures_are_the_same_each_time(known, tmp_path):
    known(True)
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        assert main(["explain", "--pictures", str(folder)]) == 0
    assert [path.name for path in first.iterdir()] == ["claim_1.svg"]
    assert (first / "claim_1.svg").read_bytes() == (second / "claim_1.svg").read_bytes()


def test_a_claim_without_a_picture_is_a_section_all_the_same(monkeypatch, tmp_path):
    bare = Claim("Title", "Statement.", (), True)
    monkeypatch.setattr(explain, "CLAIMS", {1: lambda: bare})
    assert main(["explain", "--html", str(tmp_path / "page.html")]) == 0
    assert "Statement." in (tmp_path / "page.html").read_text()


def test_a_page_that_cannot_be_written_leaves_the_older_one(monkeypatch, tmp_path, capsys):
    def full(*names):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    bare = Claim("Title", "Statement.", (), True)
    monkeypatch.setattr(explain, "CLAIMS", {1: lambda: bare})
    monkeypatch.setattr(os, "replace", full)
    page = tmp_path / "page.html"
    page.write_text("older")
    assert main(["explain", "--html", str(page)]) == 1
    assert page.read_text() == "older" and list(tmp_path.iterdir()) == [page]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["99"], "no claim 99, expected some of 1, 2"),
        (["one"], "invalid int value: 'one'"),
        (["--html", "nowhere/page.html"], "--html nowhere/page.html: no such folder"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message, capsys):
    try:
        status = main(["explain", *options])
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("option", ["--html", "--pictures"])
def test_without_matplotlib_the_extra_is_named(option, known, monkeypatch, tmp_path, capsys):
    known(True)
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    assert main(["explain", option, str(tmp_path / "x")]) == 2
    assert "pip install 'fastbatch[plot]'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["explain"]) == 0


def test_without_scikit_learn_the_claims_on_digits_are_named(monkeypatch, capsys):
    monkeypatch.setattr(explain, "find_spec", lambda name: None)
    assert main(["explain", "4", "9", "6"]) == 2
    captured = capsys.readouterr()
    assert "the digits of claims 6, 9 come with scikit-learn" in captured.err
    assert captured.out == ""
    assert main(["explain", "4"]) == 0
    modules = {number: sys.modules[claim.__module__] for number, claim in CLAIMS.items()}
    assert {number for number in CLAIMS if hasattr(modules[number], "datasets")} == OF_DIGITS


def test_numbers_of_all_kinds_are_written_short():
    entries = [0.0, 1e-20, 1234567, np.int64(1234), np.float32(0.1), "text", 1.0]
    written = ["0", "1e-20", "1,234,567", "1,234", "0.1", "text", "1"]
    assert [explain._text(entry) for entry in entries] == written


def test_the_guides_show_pictures_of_claims_that_are_there():
    guides = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
    shown = set(re.findall(r"\(minibatch/(\w+)\.svg\)", guides))
    there = {path.stem for path in (ROOT / "docs/minibatch").iterdir()}
    assert shown == there
    assert there <= {claim.__name__ for claim in CLAIMS.values()}
    for name in there:
        path = ROOT / "docs/minibatch" / f"{name}.svg"
        assert path.stat().st_size < 100_000
        assert ElementTree.parse(path).getroot().tag.endswith("svg")
