"""Compiled kernels are kept on disk, and never run when their sources say something else."""

import shutil
from pathlib import Path

import pytest
from numba.core import config
from processes import output_of

import fastbatch
from fastbatch import kernels
from fastbatch.kernels.cpu import jit

KERNEL = """
from .jit import entry
from .part import part


@entry
def kernel(x):
    return part(x)
"""
PART = """
from .jit import jit


@jit
def part(x):
    return x + 1
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the package that may be edited, with a small kernel more."""
    package = tmp_path / "fastbatch"
    without = shutil.ignore_patterns("__pycache__", "kernels")
    shutil.copytree(Path(fastbatch.__file__).parent, package, ignore=without)
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(kernels.__path__[0]), package / "kernels", ignore=without)
    (package / "kernels" / "cpu" / "kernel.py").write_text(KERNEL)
    (package / "kernels" / "cpu" / "part.py").write_text(PART)
    return package


def run_copy(package):
    """What the kernel gives in a new process, and the files in the cache afterwards."""
    cache = package.with_name("cache")
    code = "from fastbatch.kernels.cpu.kernel import kernel; print(kernel(1))"
    printed = output_of("-c", code, PYTHONPATH=str(package.parent), FASTBATCH_CACHE_DIR=str(cache))
    return int(printed), {path for path in cache.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_an_edited_source_is_compiled_again_and_an_unchanged_one_is_not(copy):
    found, files = run_copy(copy)
    assert found == 2
    assert files
    assert run_copy(copy) == (found, files)

    # Numba itself would watch kernel.py; so another file is edited.
    (copy / "kernels" / "cpu" / "part.py").write_text(PART.replace("+ 1", "+ 2"))
    found, more_files = run_copy(copy)
    assert found == 3
    assert files < more_files


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the kernels that the fingerprint is taken of."""
    folder = tmp_path / "sources"
    shutil.copytree(jit.SOURCES, folder, ignore=shutil.ignore_patterns("__pycache__"))
    before = jit.fingerprint()
    monkeypatch.setattr(jit, "SOURCES", folder)
    assert jit.fingerprint() == before
    return folder


@pytest.mark.parametrize("name", sorted(path.name for path in jit.SOURCES.glob("*.py")))
def test_fingerprint_changes_with_every_source(name, sources):
    before = jit.fingerprint()
    with (sources / name).open("a") as file:
        file.write("\n")
    assert jit.fingerprint() != before


def test_fingerprint_changes_with_the_coefficients(tmp_path, monkeypatch):
    before, copy = jit.fingerprint(), tmp_path / jit.COEFFICIENTS.name
    copy.write_text(jit.COEFFICIENTS.read_text() + "\n")
    monkeypatch.setattr(jit, "COEFFICIENTS", copy)
    assert jit.fingerprint() != before


def test_fingerprint_changes_with_new_and_renamed_sources(sources):
    prints = {jit.fingerprint()}
    (sources / "new.py").touch()
    prints.add(jit.fingerprint())
    (sources / "new.py").rename(sources / "other.py")
    prints.add(jit.fingerprint())
    assert len(prints) == 3


def test_fingerprint_changes_with_processor_features_and_tile(monkeypatch):
    prints = {jit.fingerprint()}
    monkeypatch.setattr(config, "CPU_NAME", "nocona")
    prints.add(jit.fingerprint())
    monkeypatch.setattr(config, "CPU_FEATURES", "+sse4.2")
    prints.add(jit.fingerprint())
    monkeypatch.setenv("FASTBATCH_TILE", "wide")
    prints.add(jit.fingerprint())
    assert len(prints) == 4


def test_tiles_are_as_large_as_the_processor_has_registers(monkeypatch):
    monkeypatch.delenv("FASTBATCH_TILE", raising=False)
    monkeypatch.setattr(config, "CPU_FEATURES", "+avx2,+fma")
    assert jit.tile_shape() == "narrow"
    monkeypatch.setattr(config, "CPU_FEATURES", "+avx2,+fma,+avx512f")
    assert jit.tile_shape() == "wide"


def test_an_unknown_tile_shape_is_refused(monkeypatch):
    monkeypatch.setenv("FASTBATCH_TILE", "round")
    with pytest.raises(ValueError, match="'wide' or 'narrow', found 'round'"):
        jit.tile_shape()


def test_the_cache_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTBATCH_CACHE_DIR", str(tmp_path))
    assert jit.cache_root() == tmp_path


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_CACHE_HOME", "fastbatch"),
        ("win32", "LOCALAPPDATA", "fastbatch"),
    ],
)
def test_the_cache_is_in_the_users_cache_folder_otherwise(
    platform, variable, folder, monkeypatch, tmp_path
):
    monkeypatch.delenv("FASTBATCH_CACHE_DIR", raising=False)
    monkeypatch.setattr(jit.sys, "platform", platform)
    monkeypatch.setenv(variable, str(tmp_path))
    assert jit.cache_root() == tmp_path / folder


def test_the_caches_of_a_mac_are_in_the_library(monkeypatch):
    monkeypatch.delenv("FASTBATCH_CACHE_DIR", raising=False)
    monkeypatch.setattr(jit.sys, "platform", "darwin")
    assert jit.cache_root() == Path.home() / "Library" / "Caches" / "fastbatch"
