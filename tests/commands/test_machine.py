"""``fastbatch doctor``, ``warmup`` and ``verify``: what they find on this machine."""

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
from calling import refused

import fastbatch as fb
from fastbatch import commands, verification
from fastbatch.commands import doctor, main
from fastbatch.verification import Check


def test_the_doctor_knows_the_machine(capsys):
    assert main(["doctor"]) == 0
    report = dict(
        re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert report["fastbatch"] == fb.__version__
    assert report["threads"] == str(fb.get_threads())
    assert report["extra demo"] == "present"
    assert {"processor", "vectors", "threading layer", "kernel cache"} <= report.keys()


def facts(**others):
    return {
        "cpu": "haswell",
        "features": ["+avx2", "+fma"],
        "vector_bits": 512,
        "tile": "narrow",
        "threading_layer": "omp",
        "threads": 2,
        "cache": "/nowhere",
        **others,
    }


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ({}, "256 bits (avx2, fma), the kernels think in 512; narrow register tiles"),
        ({}, "/nowhere is empty: the first training compiles the kernels"),
        ({"threading_layer": "omp"}, "omp; OpenMP"),
        (
            {"threading_layer": "workqueue"},
            "networks use more than one; install libgomp",
        ),
        ({"features": []}, "none of AVX-512, AVX2 and FMA"),
    ],
)
def test_the_doctor_explains_what_it_finds(fact, sentence):
    assert sentence in "\n".join(text for _, text in doctor.machine(facts(**fact)))


def test_the_doctor_names_the_extra_of_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ['nopackage>=1; extra == "demo"', "numpy"])
    assert list(doctor.extras()) == [
        ("extra demo", "missing nopackage: pip install 'fastbatch[demo]'")
    ]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A backend of two kernels, one of them compiled."""
    (tmp_path / "first-1.nbc").touch()
    facts = {"cache": str(tmp_path), "cache_is_writable": True}
    kernels = SimpleNamespace(
        describe=lambda: facts,
        compilations=lambda dtypes: [
            ("first", lambda: None),
            (f"second ({', '.join(dtypes)})", (tmp_path / "second-1.nbc").touch),
        ],
    )
    monkeypatch.setattr(commands.warmup.backends, "load", lambda name: kernels)
    return facts


def test_warmup_compiles_what_is_missing_and_says_so(cache, capsys):
    assert main(["warmup"]) == 0
    out, err = capsys.readouterr()
    assert re.match(r"compiled in \d+\.\d s: second\n", out)
    assert out.endswith(f"{cache['cache']} holds 2 compiled kernels, 0.0 MB\n")
    assert err == ""
    assert main(["warmup", "--dtype", "float32"]) == 0
    assert capsys.readouterr().out.startswith("nothing to compile: all 2 kernels are there\n")


def test_warmup_refuses_a_folder_that_cannot_be_written(cache, capsys):
    cache["cache_is_writable"] = False
    assert "FASTBATCH_CACHE_DIR" in refused(capsys, "warmup")


def test_verification_prints_the_worst_of_each_kernel(monkeypatch, capsys):
    few = dict(itertools.islice(verification.CASES.items(), 9))
    monkeypatch.setattr(verification, "CASES", few)
    assert main(["verify", "--backend", "reference"]) == 0
    header, *rows, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["kernel", "dtype", "error", "worst", "case"]
    assert len(rows) == 40
    assert "all within their bounds" in summary


def test_a_wrong_kernel_is_reported_with_status_1(monkeypatch, capsys):
    results = [Check("outputs", "float32", "a", 0.5), Check("losses", "float32", "b", np.inf)]
    monkeypatch.setattr(commands.verify, "checks", lambda backend: iter(results))
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"losses .* inf  b  WRONG", out)
    assert out.endswith("wrong are losses (float32)\n")
