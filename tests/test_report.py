"""The report of the benchmarks, made of results that nobody measured."""

import pytest

from bench.cells import CELLS, batches
from bench.report import BEGIN, END, own_sections, race_sections, with_table


def result(cell, contender, microseconds, failure="", exhausted="", task="train"):
    return {
        "cell": cell,
        "contender": contender,
        "task": task,
        "version": contender,
        "failure": failure,
        "exhausted": exhausted,
        "microseconds": microseconds,
    }


@pytest.fixture
def race():
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


def test_who_is_too_slow_is_told_in_the_place_of_the_time(race):
    race["results"] += [
        result("wide", "fastbatch", [30.0, 30.0], task="clip"),
        result("wide", "opacus", [], "no answer within 180 s", "too slow", task="clip"),
        result("wide", "torch-func", [3000.0], task="clip"),
    ]
    text = "\n".join(race_sections(race))
    _, _, clipped = text.partition("## Training with per-example clipping")
    label = race["cells"]["wide"]
    times = "30.0 (30.0 to 30.0) | too slow | 3,000"
    assert f"| wide | {label} | {times} | 100.00 (torch-func) |" in clipped
    assert "* opacus in wide (clip): no answer within 180 s" in clipped
    assert "of 1 to 2 turn(s)" in clipped
    assert "| tiny |" not in clipped


def test_ratios_stand_beside_their_aims():
    def entry(name, cell, **info):
        return {
            "name": f"test_{name}[{cell}]",
            "param": cell,
            "stats": {"median": 1.0},
            "extra_info": info,
        }

    own = {
        "benchmarks": [
            entry("norms_over_value_and_grad", "tiny", ratio=0.9, aim=1.25),
            entry("norms_over_value_and_grad", "wide", ratio=1.5, aim=1.08),
            entry("clipped_over_plain_step", "wide", ratio=1.0, aim=1.12),
            entry("per_example_gradients", "wide", written_gb_per_second=20.0),
        ]
    }
    text = "\n".join(own_sections(own))
    assert "| norms over value and grad | 0.90 (1.25) | 1.50 (1.08) |" in text
    assert "| clipped over plain step | - | 1.00 (1.12) |" in text
    assert "* above what it should be: norms over value and grad in wide" in text
    assert "| per example gradients, wide | 1 | written gb per second 20 |" in text


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
