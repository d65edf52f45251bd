"""Who may know whom, and that all backends look alike."""

import ast
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fastbatch.kernels import cpu, cuda, reference
from fastbatch.layers import ACTIVATIONS
from fastbatch.losses import LOSSES
from fastbatch.optimizers import OPTIMIZERS

ROOT = Path(__file__).parents[1]
# Imported where they are needed.
EXTRAS = {"argcomplete", "dp_accounting", "matplotlib", "pyarrow", "sklearn", "tensorboardX"}


def test_import_contracts_are_kept(tmp_path):
    package = tmp_path / "fastbatch"
    shutil.copytree(ROOT / "fastbatch", package)
    shutil.copytree(ROOT / "kernels", package / "kernels")
    linter = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as f; f()"]
    result = subprocess.run(
        [*linter, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Contracts: 3 kept, 0 broken" in result.stdout


@pytest.mark.parametrize(
    ("folder", "allowed"),
    [
        ("kernels/reference", {"numpy", "scipy", "..plan"}),
        ("kernels/cpu", {"numpy", "numba", "llvmlite", "..coefficients", "..plan"}),
        ("kernels/cuda", {"numpy", "numba", "llvmlite", "..coefficients", "..plan"}),
        ("fastbatch", {"numpy", "scipy", "safetensors", "tqdm", "fastbatch"} | EXTRAS),
    ],
)
def test_packages_import_only_what_they_may(folder, allowed):
    allowed = allowed | sys.stdlib_module_names
    for path in (ROOT / folder).rglob("*.py"):
        for module in imported(path):
            beside = module.startswith(".") and not module.startswith("..")
            assert beside or module in allowed, f"{path} imports {module}"


def imported(path):
    """Top-level names of what a file imports; relative imports with their dots, in full."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.ImportFrom):
            yield node.module.partition(".")[0]


def test_importing_the_package_loads_nothing_that_is_slow():
    slow = {"numba", "llvmlite", "scipy", "tqdm"}
    code = f"import sys, fastbatch; assert not {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


COMPILED = pytest.mark.parametrize("backend", [cpu, cuda], ids=["cpu", "cuda"])


@pytest.mark.parametrize(
    ("backend", "more"),
    [
        (cpu, {"describe", "get_threads", "set_threads"}),
        (cuda, {"describe", "all_finite", "as_device_array"}),
    ],
    ids=["cpu", "cuda"],
)
def test_backends_offer_what_the_reference_does(backend, more):
    assert set(backend.__all__) == set(reference.__all__) | more


@COMPILED
@pytest.mark.parametrize("name", [name for name in reference.__all__ if name != "Training"])
def test_functions_take_the_same_arguments(backend, name):
    assert inspect.signature(getattr(backend, name)) == inspect.signature(getattr(reference, name))


@COMPILED
def test_trainings_have_the_same_methods_with_the_same_arguments(backend):
    ours, theirs = methods(backend.Training), methods(reference.Training)
    assert ours.keys() == theirs.keys()
    for name, method in theirs.items():
        assert inspect.signature(ours[name]) == inspect.signature(method), name


def methods(training):
    """The public methods of a class, and what it takes to make one."""
    members = inspect.getmembers(training, inspect.isfunction)
    return {name: f for name, f in members if name == "__init__" or not name.startswith("_")}


@COMPILED
def test_activations_have_the_same_names_and_arguments(backend):
    names = list(reference.activations.ACTIVATIONS)
    assert sorted(ACTIVATIONS) == sorted(names)
    for name, function in reference.activations.ACTIVATIONS.items():
        compiled = getattr(backend.activations, name)
        assert inspect.signature(compiled.py_func) == inspect.signature(function)


@COMPILED
def test_losses_have_the_same_names(backend):
    assert LOSSES.keys() == reference.loss_functions.LOSSES.keys()
    # Compiled, labels and probabilities are two kernels.
    assert LOSSES.keys() == {name.partition("_of_")[0] for name in backend.loss_functions.NAMES}


def test_optimizers_have_the_same_names():
    assert OPTIMIZERS.keys() == reference.optimizers.OPTIMIZERS.keys()
