"""Whatever a file holds, loading it gives a sound trainer or a CheckpointError, and no surprise.

FASTBATCH_FUZZ=10000 python -m pytest tests/trust/test_fuzzed_checkpoints.py tries more files.
"""

import contextlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import fuzzed
import numpy as np
import pytest
from fuzzed import X, Y, at, changed, parts, places, same, signed
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbatch as fb

EXAMPLES = int(os.environ.get("FASTBATCH_FUZZ", "400"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES == 400, database=None)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("fuzzed") / "good"
    fuzzed.trainer().save(path)
    return path


def loaded(good, content):
    """The trainer in a file with that content, or None if it is refused."""
    path = good.with_name("bad")
    path.write_bytes(content)
    try:
        return fb.Trainer.load(path)
    except fb.CheckpointError as error:
        assert str(path) in str(error)
        return None


def test_the_good_file_is_good(good):
    trainer = fuzzed.trainer()
    trainer.save(good)
    assert same(fb.Trainer.load(good), trainer)
    tensors, description = parts(good)
    assert same(loaded(good, signed(tensors, json.dumps(description))), trainer)


# Damaged by accident: the checksum tells


@st.composite
def damages(draw, content):
    """Some bytes that are other, more, fewer, or elsewhere."""
    content = bytearray(content)
    header, size = int.from_bytes(content[:8], "little"), len(content)
    for _ in range(draw(st.integers(1, 2))):
        first, behind = draw(st.sampled_from(list(itertools.pairwise([0, 8, 8 + header, size]))))
        start, length = draw(st.integers(first, behind)), draw(st.sampled_from([0, 1, 4, 64, 512]))
        action = draw(st.sampled_from(["flipped", "other", "zeros", "gone", "moved"]))
        before = content[start : start + length]
        if action == "flipped":
            bits = draw(st.integers(1, 255))
            replacement = bytes(byte ^ bits for byte in before)
        elif action == "moved":
            other = draw(st.integers(0, len(content)))
            replacement = content[other : other + length]
        else:
            some = draw(st.binary(max_size=20))
            replacement = {"other": some, "zeros": bytes(length), "gone": b""}[action]
        content[start : start + length] = replacement
    return bytes(content)


@fuzz
@given(st.data())
def test_a_damaged_file_is_refused_or_harmless(good, data):
    trainer = loaded(good, data.draw(damages(good.read_bytes())))
    assert trainer is None or same(trainer, fb.Trainer.load(good))


# Changed on purpose: the checksum is right


VALUES = [
    *(None, True, False, 0, 1, -1, 3, 2**31, 2**62, 2**63, 2**64, 10**30, 10**400, -(10**400)),
    *(0.5, -0.5, 1e-300, 5e-324, 1e308, float("nan"), float("inf"), -float("inf")),
    *("", "b", "\0", "float64", "cross_entropy", "poisson", "x" * 10_000, "[1]", '{"a": 1}'),
    *([], {}, [[]], [None], [0.5], [1, 2, 3], {"a": 1}, {"type": "user_function"}),
    *({"type": name} for name in ("Dense", "Adam", "Ledger", "PerExampleClip", "Nothing", 1, [])),
    {"type": "Constant", "lr": 0.1},
    {"type": "Dense", "units": 3, "activation": "tanh"},
]


@st.composite
def descriptions(draw, description):
    """With values that are other, gone, twice, or from elsewhere."""
    for _ in range(draw(st.integers(1, 2))):
        ways = list(places(description))
        if not ways:
            break
        way = draw(st.sampled_from(ways))
        action = draw(st.sampled_from(["kin", "kin", "other", "gone", "twice", "moved"]))
        if action == "gone":
            description = changed(description, way)
            continue
        before = at(description, way)
        if action == "twice":
            value = [before, before]
        elif action == "moved":
            value = at(description, draw(st.sampled_from(ways)))
        else:
            kin = [value for value in VALUES if type(value) is type(before)]
            value = draw(st.sampled_from(kin if action == "kin" and kin else VALUES))
        description = changed(description, way, value)
    return description


DTYPES = ["float16", "float32", "float64", "int32", "int64", "uint8", "bool", "complex64"]
NAMES = ["theta", "slots", "example_losses", "example_norms", "probabilities", "surplus"]
NUMBERS = [np.nan, np.inf, -np.inf, 3e38, -1.0, 0.0, 1e-45]


@st.composite
def tensors_like(draw, tensors):
    """With tensors that are gone, renamed, of another dtype or shape, or hold what they may not."""
    tensors = dict(tensors)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(tensors)))
        tensor = tensors.pop(name).copy()
        action = draw(st.sampled_from(["gone", "named", "dtype", "bits", "shape", "size", "fill"]))
        if action == "gone":
            continue
        if action == "named":
            name = draw(st.sampled_from(NAMES))
        elif action == "dtype":
            with np.errstate(all="ignore"):
                tensor = np.nan_to_num(tensor.real).astype(draw(st.sampled_from(DTYPES)))
        elif action == "bits":
            tensor = tensor.view(f"int{8 * tensor.itemsize}")
        elif action == "shape":
            tensor = tensor.reshape(draw(st.sampled_from([(-1,), (1, -1), (-1, 1), (1, 1, -1)])))
        elif action == "size":
            tensor = tensor.reshape(-1)[: draw(st.integers(0, tensor.size))].copy()
        elif tensor.size and tensor.dtype.kind == "f":
            place, number = draw(st.integers(0, tensor.size - 1)), draw(st.sampled_from(NUMBERS))
            with np.errstate(over="ignore"):  # of float16
                tensor.flat[place] = number
        tensors[name] = tensor
        if not tensors:
            break
    return tensors


def assert_sound(trainer, good):
    """It can be saved and loaded again, and trains or says why not."""
    path = good.with_name("again")
    trainer.save(path)
    options = {
        name: getattr(trainer, name)
        for name in ("optimizer", "sampler")
        if "user_function" in repr(getattr(trainer, name))
    }
    assert same(fb.Trainer.load(path, **options), trainer)
    assert np.isfinite(trainer.theta).all() and trainer.theta.dtype == trainer.network.dtype
    for record in trainer.history:
        assert min(record.epoch, record.step) >= 0
        assert type(record.loss) in (int, float)
    if trainer.network.inputs == X.shape[1]:
        with np.errstate(all="ignore"):
            trainer.predict(X)
            with contextlib.suppress(ValueError, fb.DivergenceError):
                trainer.fit(X, Y if trainer.network.loss == "cross_entropy" else X[:, :3] ** 2)
        assert np.isfinite(trainer.theta).all()


@fuzz
@given(st.data())
def test_a_changed_file_is_refused_or_sound(good, data):
    tensors, description = parts(good)
    description = data.draw(descriptions(description))
    tensors = data.draw(tensors_like(tensors))
    trainer = loaded(good, signed(tensors, json.dumps(description)))
    if trainer is not None:
        assert_sound(trainer, good)


@pytest.mark.parametrize("number", NUMBERS[:3])
def test_parameters_that_are_no_numbers_are_refused(good, number):
    tensors, description = parts(good)
    tensors["theta"][7] = number
    assert loaded(good, signed(tensors, json.dumps(description))) is None


def test_a_schedule_in_place_of_a_sampler_is_refused(good):
    tensors, description = parts(good)
    description["sampler"] = {"type": "Constant", "lr": 0.1}
    assert loaded(good, signed(tensors, json.dumps(description))) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells how much memory is in use")
def test_hostile_files_are_refused_with_little_memory_and_time_and_run_nothing(tmp_path):
    script = Path(fuzzed.__file__)
    command = [sys.executable, script, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"after {done.stdout[-300:]}{done.stderr}"
    seconds = [float(line.rpartition(" ")[2]) for line in done.stdout.splitlines()]
    assert len(seconds) > 100 and max(seconds) < 5
