"""The report of the benchmarks, made of results that nobody measured."""

import pytest

from bench.cells import CELLS, batches
from bench.report import BEGIN, END, race_sections, with_table


@pytest.fixture
def race():
    def result(cell, contender, microseconds, failure=""):
        return {
            "cell": cell,
            "contender": contender,
            "task": "train",
            "version": contender,
            "failure": failure,
            "microseconds": microseconds,
        }

    return {
        "machine": {
            "processor": "abacus",
            "cores": 2,
            "caches": "",
            "system": "wood",
            "python": "3.11",
            "date": "2026-11-23",
        },
        "peak": {"float32": {"1": 100.0}},
        "cells": {"tiny": "8-32-32-1, 32", "wide": "784-1024-1024-10, 512"},
        "absences": ["scikit-learn did not run"],
        "results": [
            result("tiny", "fastbatch", [9.0, 10.0, 11.0]),
            result("tiny", "jax-host", [25.0, 25.0, 25.0]),
            result("tiny", "torch", [390.0, 400.0, 400.0]),
            result("wide", "fastbatch", [30_000.0, 30_000.0, 30_000.0]),
            result("wide", "jax-host", [], "ended without a word"),
            result("wide", "torch", [24_000.0, 24_000.0, 24_000.0]),
        ],
    }


def test_ratios_are_those_of_medians_with_and_without_jax_host(race):
    text = "\n".join(race_sections(race))
    assert "| 10.0 (9.50 to 10.5) | 25.0 (25.0 to 25.0) |" in text
    assert "| 2.50 (jax-host) | 40.00 (torch) |" in text


def test_lost_cells_failures_and_absences_are_told(race):
    text = "\n".join(race_sections(race))
    assert "A peer is faster in: wide (torch, 0.80)." in text
    assert "* jax-host in wide (train): ended without a word" in text
    assert "* scikit-learn did not run" in text


def test_only_what_is_between_the_marks_is_rewritten(race):
    text = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", race)
    assert text.startswith(f"before\n{BEGIN}\n") and text.endswith(f"\n{END}\nafter\n")
    assert "| wide | 784-1024-1024-10, 512 | 30,000 | - | 24,000 | - | - | 0.80 |" in text
    assert with_table(text, race) == text


@pytest.mark.parametrize(
    ("cell", "label"),
    [
        ("deep", "64-(16 x 64)-10, 64"),
        ("mnist-tanh", "784-256-128-10 tanh, 128"),
        ("digits-float64", "64-64-64-10, 32, float64"),
    ],
)
def test_labels_say_what_is_not_the_rule(cell, label):
    assert CELLS[cell].label == label


def test_no_cell_has_a_partial_batch():
    assert all(batches(cell) > 1 for cell in CELLS.values())
