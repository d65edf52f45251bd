"""All is compiled ahead of time, by two processes that need not trust each other."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from processes import output_of
from training_runs import all_bits

from fastbatch.kernels.cpu import partner
from fastbatch.kernels.cpu.cache import Cache
from fastbatch.kernels.cpu.jit import tile_shape

WARM_UP = "from fastbatch.commands import main; main(['warmup'])"
USE_EVERYTHING = """
import json
from numba.core import event
from training_runs import all_bits, cpu, use_all_threads
use_all_threads()
with event.install_recorder("numba:compile") as compilations:
    bits = all_bits()
    cpu.permutation(3, 0, 0), cpu.uniform(3, 0, 0)
print(json.dumps([len(compilations.buffer), bits]))
"""
# Who has wide tiles can do all that a Haswell can, which has narrow ones.
OTHER_TILES = {"FASTBATCH_TILE": "wide"}
if tile_shape() == "wide":
    OTHER_TILES = {
        "FASTBATCH_TILE": "narrow",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+sse4.2,+bmi,+bmi2,+f16c,+popcnt",
    }


def files(environment):
    """What is in the cache, and since when."""
    paths = Path(environment["FASTBATCH_CACHE_DIR"]).rglob("*")
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """Settings of a process with other tiles, and the files of a warm-up for them."""
    environment = {"FASTBATCH_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), **OTHER_TILES}
    assert "compiled" in output_of("-c", WARM_UP, **environment)
    return environment, files(environment)


@pytest.fixture(scope="module")
def used(warm):
    """How often such a process then compiles, and the bits of what it trains."""
    environment, _ = warm
    return json.loads(output_of("-c", USE_EVERYTHING, **environment))


@pytest.mark.slow
def test_after_a_warmup_nothing_is_ever_compiled(warm, used):
    environment, before = warm
    assert {path.suffix for path in before} == {".nbc"}
    compilations, _ = used
    assert compilations == 0
    assert "nothing to compile" in output_of("-c", WARM_UP, **environment)
    assert files(environment) == before


@pytest.mark.slow
def test_bits_do_not_depend_on_the_tiles_and_the_processor(used):
    _, bits = used
    assert bits == all_bits()


def twice(x):
    return 2 * x


def compiled_twice(folder):
    """`twice`, and whether its machine code was found in `folder`."""
    function = numba.njit(twice)
    function._cache = Cache(folder, twice)
    assert function(21) == 42
    return sum(function.stats.cache_hits.values()) == 1


def cut_short(data):
    return data[: len(data) // 2]


def emptied(data):
    return b""


def garbage(data):
    return bytes(range(256)) * 8


def one_bit_flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize("damage", [cut_short, emptied, garbage, one_bit_flipped])
def test_a_damaged_file_is_compiled_again_and_replaced(damage, tmp_path):
    assert not compiled_twice(tmp_path)
    (path,) = tmp_path.iterdir()
    assert compiled_twice(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert not compiled_twice(tmp_path)
    assert compiled_twice(tmp_path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_only_costs_time(tmp_path):
    assert not compiled_twice(tmp_path / "nowhere")
    assert not compiled_twice(tmp_path / "nowhere")


@pytest.fixture
def alone(monkeypatch):
    """As if no partner had been started yet."""
    monkeypatch.setattr(partner, "_folder", None)
    monkeypatch.setattr(partner, "_process", None)
    monkeypatch.setattr(partner, "config", SimpleNamespace(NUMBA_NUM_THREADS=2))


def test_who_has_no_partner_compiles_everything(alone):
    assert partner.claim("a")
    assert partner.claim("a")


def test_a_partner_stops_where_the_other_has_begun(alone, tmp_path):
    (tmp_path / "a").touch()
    partner.join(tmp_path)
    assert partner.claim("b")
    with pytest.raises(SystemExit):
        partner.claim("a")


def test_a_partner_that_fails_is_not_waited_for(alone, monkeypatch, tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(broken))
    partner.start(np.dtype(np.float32))
    assert partner.claim("a")
    assert not partner.claim("a")
    partner.wait_for(tmp_path / "never")
    assert partner._process.returncode is not None


@pytest.mark.parametrize("executable", ["/usr/bin/uwsgi", "/no/such/python", "", None])
def test_a_program_that_is_not_python_gets_no_partner(alone, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    partner.start(np.dtype(np.float32))
    assert partner._process is None
    assert partner.claim("a")


def test_a_single_core_gets_no_partner(alone):
    partner.config.NUMBA_NUM_THREADS = 1
    partner.start(np.dtype(np.float32))
    assert partner._process is None
